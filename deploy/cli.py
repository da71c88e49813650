"""The commands of ``python -m deploy``: from a promoted adapter to traffic.

Covers: reading the command line, tables for people, JSON for programs, one line per error.
Does not cover: any of the work.

Exit status: 0 done, 1 an error, 2 wrong usage, 8 refused by preflight, probe, switch or the gate, 9 bytes or receipt
are not what they should be, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from deploy.api import MODEL, WorkersAI, check_model, load_credentials
from deploy.emulator.command import emulate
from harness.errors import DataError, SetupError, ToolgateError

if TYPE_CHECKING:
    from deploy.preflight import Finding
    from deploy.switch import Switched
    from harness.targets.workers_ai import Finetune
    from harness.types import Case

REFUSED, MISMATCH, INTERRUPTED = 8, 9, 130
STATE = Path("deployments")
EVALS = Path("evals")
RIVAL = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
COLOURS = {"ok": "green", "note": "yellow", "fail": "red"}
P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    name="deploy",
    help="From a promoted adapter to traffic on Workers AI: preflight, export, upload, probe, parity, switch. Account "
    "and token come from CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, the address from CLOUDFLARE_API_BASE_URL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Via(StrEnum):
    """How files reach the API."""

    REST = "rest"
    WRANGLER = "wrangler"


ModelOption = Annotated[str, typer.Option("--model", help="The served base model.")]
BaseOption = Annotated[
    Path | None, typer.Option("--base", help="Folder of the base, where an emulator serves another under that name.")
]
StateOption = Annotated[Path, typer.Option("--state", help="Folder of journals and records; keep it.")]
RegistryOption = Annotated[Path, typer.Option("--registry", help="Folder of the registry.")]
StoreOption = Annotated[Path, typer.Option("--run-store", help="Where replies are kept.")]
DryOption = Annotated[bool, typer.Option("--dry", help="Say what it would cost, and ask nothing.")]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", help="Id of the KV namespace that the Worker binds as SWITCH; default: the history's."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print wrangler's command that does the same, and do nothing.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text.")]


def one_line_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Errors raised on purpose become one line on stderr; others keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from deploy.upload import RefusedError

        # urllib3 tells of every repetition; what counts is how it ended.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        try:
            return command(*args, **kwargs)
        except ToolgateError as error:
            typer.echo(f"Error: {error}", err=True)
            status = REFUSED if isinstance(error, RefusedError) else MISMATCH if isinstance(error, DataError) else 1
            raise typer.Exit(status) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted. The same command goes on from here.", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


@app.command("preflight")
@one_line_errors
def preflight_command(
    adapter: Annotated[
        str | None, typer.Argument(help="Adapter folder, export, or an alias of the registry; none before training.")
    ] = None,
    model: ModelOption = MODEL,
    base: BaseOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody; use the bundled list of models.")] = False,
    registry: RegistryOption = Path("registry"),
    as_json: JsonOption = False,
) -> None:
    """Find what the platform would refuse or serve wrong. Run it before training, and again before an upload.

    Account: does the base take LoRAs, may the token write, is there room. Adapter: names, header, ranks, shapes, pairs,
    size, and what in its config a server does not know. Exit status 8 when something must be mended.
    """
    from deploy import preflight
    from deploy.export import read_export

    family = preflight.find_family(check_model(model), base)
    folder = _find_adapter(adapter, registry) if adapter else None
    findings = []
    if offline:
        findings += preflight.check_model_offline(model)
    else:
        name = read_export(folder).name if folder and (folder / preflight.MANIFEST).is_file() else ""
        with WorkersAI(load_credentials()) as api:
            findings += preflight.check_account(api, model, name, now=_now())
    if folder:
        findings += preflight.check_folder(folder, family)
    _show_findings(findings, as_json=as_json)
    if preflight.failures(findings):
        raise typer.Exit(REFUSED)


@app.command("export")
@one_line_errors
def export_command(
    adapter: Annotated[str, typer.Argument(help="Adapter folder, or an alias of the registry.", metavar="ADAPTER")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not be there yet.")],
    model: ModelOption = MODEL,
    base: BaseOption = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Halve the weights; greedy replies are compared.")] = False,
    local_base: Annotated[
        Path | None, typer.Option("--local-base", help="Where --bf16 finds the base to compare on.")
    ] = None,
    cases: Annotated[Path, typer.Option("--cases", help="Cases whose replies --bf16 compares.")] = EVALS / "cases",
    registry: RegistryOption = Path("registry"),
    as_json: JsonOption = False,
) -> None:
    """Write the folder that is uploaded: model_type added, the base's canonical name, nothing removed.

    The same adapter gives the same bytes, so an upload can derive them again from what was promoted.
    """
    from deploy.export import export_adapter
    from deploy.preflight import find_family

    with _Bar() as on_step:
        made = export_adapter(
            _find_adapter(adapter, registry),
            out,
            find_family(check_model(model), base),
            bf16=bf16,
            base=local_base or base,
            cases=cases,
            on_step=on_step,
        )
    body = {"out": str(out), "name": made.name, "adapter": made.source, "files": dict(made.files)}
    _print(body if as_json else f"export: {out}\nadapter: {made.source}\nname: {made.name}")


@app.command("upload")
@one_line_errors
def upload_command(
    export: Annotated[Path, typer.Argument(help="Folder that export wrote.", metavar="EXPORT")],
    trusted: Annotated[Path, typer.Option("--trusted", help="Folder of trusted public keys, *.pub.")],
    registry: RegistryOption = Path("registry"),
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="The promoted adapter; default: the registry's copy.")
    ] = None,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Receipt; default: the registry's.")] = None,
    profile: Annotated[str, typer.Option("--profile", help="Profile that the receipt must be of.")] = "release",
    cases: Annotated[Path, typer.Option("--cases", help="Cases to compare the receipt with.")] = EVALS / "cases",
    gate: Annotated[Path, typer.Option("--gate", help="Bars to compare the receipt with.")] = EVALS / "gate.toml",
    local_base: Annotated[
        str | None, typer.Option("--local-base", help="Base to compare the receipt with; default: where it is found.")
    ] = None,
    via: Annotated[Via, typer.Option("--via", help="rest, or the pinned wrangler.")] = Via.REST,
    wrangler: Annotated[Path | None, typer.Option("--wrangler", help="The wrangler to run.")] = None,
    suffix: Annotated[str, typer.Option("--suffix", help="Ending of the name, where the plain one is taken.")] = "",
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Upload an export, only against a receipt that verifies; a killed upload goes on with the same command.

    The receipt is compared with the promoted adapter, the export with what follows from it, and every byte again while
    it is sent. An upload that fails removes what it created.
    """
    from deploy import upload
    from deploy import wrangler as by_wrangler
    from deploy.export import read_export
    from harness.attestation import hash_folder, load_trusted
    from harness.promotion import find_receipt, verify_adapter
    from harness.registry import FolderRegistry

    made = read_export(export)
    place = FolderRegistry(registry)
    source = adapter or place.adapter_path(made.source)
    if not source.is_dir():
        raise SetupError(f"No adapter {made.source[:19]}… in {registry}. Promote it, or give --adapter DIR.")
    files = hash_folder(source)
    folder, data, _ = find_receipt(str(source), place, receipt, profile)
    keys = load_trusted(trusted)
    judged = {"gate": gate, "cases": cases}
    verified = verify_adapter(folder, data, **judged, trusted=keys, profile=profile, base=local_base, files=files)
    checked = upload.check_export(made, source, verified)
    when = _now().isoformat(timespec="seconds")
    with WorkersAI(load_credentials()) as api, _Bar() as on_step:
        if via is Via.REST:
            done = upload.upload_export(api, checked, state, when=when, suffix=suffix, on_step=on_step)
        else:
            tool = wrangler or by_wrangler.PLACE
            done = by_wrangler.upload_by_wrangler(api, checked, state, when=when, suffix=suffix, wrangler=tool)
    body = {
        "state": done.state,
        "name": done.name,
        "id": done.id,
        "model": made.plan.model,
        "adapter": made.source,
        "receipt": checked.receipt,
        "signer": checked.signer,
        "notes": list(done.notes),
    }
    lines = [*(f"note: {note}" for note in done.notes), f"{done.state}: {done.name}", f"id: {done.id}"]
    lines.append(f"next: python -m deploy probe {done.name}")
    _print(body if as_json else "\n".join(lines))


@app.command("list")
@one_line_errors
def list_command(state: StateOption = STATE, as_json: JsonOption = False) -> None:
    """List the account's fine-tunes, and which of them an upload left half-made."""
    from deploy.finetunes import list_finetunes, listed_dict
    from deploy.preflight import QUOTA

    with WorkersAI(load_credentials()) as api:
        found = list_finetunes(api, state)
    if as_json:
        _print({"quota": QUOTA, "finetunes": [listed_dict(one) for one in found]})
        return
    rows = [(one.finetune.name, one.state, one.finetune.id, one.finetune.model, one.finetune.created) for one in found]
    _print_table(("name", "state", "id", "model", "created"), rows)
    typer.echo(f"{len(found)} of {QUOTA} in use")


@app.command("prune")
@one_line_errors
def prune_command(
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of ours stay, the newest.")] = 10,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it they are only named.")] = False,
    registry: RegistryOption = Path("registry"),
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Remove half-made and old fine-tunes of ours.

    Never one of an adapter that the registry's aliases stand for, that a switch put in traffic or a rollback would, and
    never one that was not uploaded from here.
    """
    from deploy.finetunes import choose_pruned, list_finetunes, prune_finetunes
    from deploy.switch import History, served_adapters
    from harness.registry import FolderRegistry

    protected = [entry.adapter for entry in FolderRegistry(registry).read().aliases.values()]
    with WorkersAI(load_credentials()) as api:
        protected += served_adapters(History(state / api.credentials.place).read())
        chosen = choose_pruned(list_finetunes(api, state), keep, protected)
        gone = prune_finetunes(api, chosen, state) if yes else []
    if as_json:
        _print({"chosen": [one.finetune.name for one in chosen], "removed": gone})
        return
    for one in chosen:
        word = "removed" if one.finetune.name in gone else "would be removed"
        typer.echo(f"{word}: {one.finetune.name} ({one.state}, {one.finetune.created})")
    typer.echo(f"{len(gone)} removed" if yes else f"{len(chosen)} to remove; --yes removes them")


@app.command("probe")
@one_line_errors
def probe_command(
    name: Annotated[str, typer.Argument(help="Name or id of a fine-tune.", metavar="NAME")],
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Prove that the adapter acts on the served model, and keep the proof.

    The base is asked twice (equal), the adapter (different, in the reply contract), and an adapter that does not exist
    (refused). Exit status 8 when one of these fails.
    """
    from deploy import probe
    from harness.prompt import load_prompt

    with WorkersAI(load_credentials()) as api, _Bar() as on_step:
        one, facts, place = _find_uploaded(api, name, state)
        found = probe.probe_adapter(api, one.model, one.name, load_prompt(), on_step=on_step)
    facts["when"] = _now().isoformat(timespec="seconds")
    record = probe.write_probe(place / probe.RECORD, found, facts)
    if as_json:
        _print(record)
    else:
        _show_findings(found.findings, as_json=False)
        spent = "" if found.neurons is None else f", {found.neurons:.1f} neurons"
        typer.echo(f"{'acts' if found.ok else 'NOT PROVEN'}: {one.name}{spent}\nrecord: {place / probe.RECORD}")
    if not found.ok:
        raise typer.Exit(REFUSED)


@app.command("parity")
@one_line_errors
def parity_command(
    name: Annotated[str, typer.Argument(help="Name or id of a fine-tune.", metavar="NAME")],
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="The promoted adapter; default: the registry's copy.")
    ] = None,
    local_base: Annotated[
        str | None, typer.Option("--local-base", help="Base of the local replies; default: the one the adapter names.")
    ] = None,
    cases: Annotated[Path, typer.Option("--cases", help="Case file, or a folder of them.")] = EVALS / "cases",
    sample: Annotated[int, typer.Option("--sample", min=0, help="How many cases, always the same; 0 for all.")] = 200,
    limit: Annotated[
        float, typer.Option("--limit", help="Highest rate of disagreement, as the bound shows it.")
    ] = 0.05,
    run_store: StoreOption = Path(".toolgate"),
    dry: DryOption = False,
    registry: RegistryOption = Path("registry"),
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Compare the served adapter with the local one, reply against reply, and keep the proof.

    Replies that a run of pytest has stored are not asked again. Exit status 8 when the rate of disagreement is not
    shown to be at or below the limit.
    """
    from deploy import parity
    from harness.attestation import digest_files, hash_folder
    from harness.prompt import load_prompt
    from harness.registry import FolderRegistry
    from harness.store import ReplyStore
    from harness.targets import Decoding, LazyTarget, TargetSpec

    asked = _sample(cases, sample)
    with WorkersAI(load_credentials()) as api:
        one, facts, place = _find_uploaded(api, name, state)
    digest = facts.get("adapter")
    folder = adapter or (FolderRegistry(registry).adapter_path(digest) if isinstance(digest, str) else None)
    if folder is None or not folder.is_dir():
        raise SetupError(f"The adapter of {one.name} is not in {registry}. Give it with --adapter DIR.")
    parity.check_adapter(facts, digest_files(hash_folder(folder)), one.name)
    served = LazyTarget(TargetSpec("cloudflare", folder, None, {"lora": one.name}))
    if dry:
        _print_estimate([one.model], asked, as_json=as_json)
        return
    facts["when"] = _now().isoformat(timespec="seconds")
    with _Bar() as on_step:
        local = LazyTarget(TargetSpec("local", folder, local_base))
        asking = (local, served, load_prompt(), ReplyStore(run_store), Decoding())
        found = parity.compare_sides(asked, *asking, limit=limit, on_step=on_step)
    record = parity.write_parity(place / parity.RECORD, found, facts)
    if as_json:
        _print(record)
    else:
        rows = [(d.case_id, d.why, d.local, d.served) for d in found.disagreements]
        _print_table(("case", "why", "local", "served"), rows)
        bound = "nothing" if found.bound is None else f"at most {found.bound:.1%}"
        typer.echo(f"{len(rows)} of {found.cases} cases disagree ({bound}), {found.same_text} replies are equal")
        typer.echo(f"right: local {found.right_local}, served {found.right_served}, McNemar p = {found.p:.3g}")
        for reason in found.reasons:
            typer.echo(f"- {reason}")
        typer.echo(f"{'parity' if found.ok else 'NOT PROVEN'}: {one.name}\nrecord: {place / parity.RECORD}")
    if not found.ok:
        raise typer.Exit(REFUSED)


@app.command("ab")
@one_line_errors
def ab_command(
    name: Annotated[str, typer.Argument(help="Name or id of a fine-tune.", metavar="NAME")],
    rival: Annotated[str, typer.Option("--rival", help="The model to compare with; it gets no adapter.")] = RIVAL,
    cases: Annotated[Path, typer.Option("--cases", help="Case file, or a folder of them.")] = EVALS / "cases",
    sample: Annotated[int, typer.Option("--sample", min=0, help="How many prompts, always the same; 0 for all.")] = 10,
    dry: DryOption = False,
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Compare the adapter with a large model on the same prompts: validity, tools, latency, cost, with paired tests.

    Both are asked in turns, one request at a time. A killed comparison goes on with the same command.
    """
    from deploy import ab
    from harness.prompt import load_prompt
    from harness.targets import Decoding, TargetSpec, check_spec
    from harness.targets.cloudflare import NO_LORA, CloudflareTarget

    asked = _sample(cases, sample)
    check_model(rival)
    with WorkersAI(load_credentials()) as api:
        one, facts, place = _find_uploaded(api, name, state)
    _print_estimate([one.model, rival], asked, as_json=as_json and dry, err=not dry)
    if dry:
        return
    sides = [{"lora": one.name}, {"lora": NO_LORA, "model": rival}]
    specs = [check_spec(TargetSpec("cloudflare", options=options)) for options in sides]
    facts["when"] = _now().isoformat(timespec="seconds")
    with CloudflareTarget(specs[0]) as small, CloudflareTarget(specs[1]) as large, _Bar() as on_step:
        for side in (small, large):
            side.say = functools.partial(typer.echo, err=True)
        asking = (small, large, load_prompt(), Decoding(), place / ab.UNFINISHED)
        found = ab.compare_models(asked, *asking, on_step=on_step)
    ab.check_measured(found)
    record = ab.write_comparison(place, found, facts)
    if as_json:
        _print(record)
        return
    _print_table(("over both", one.name, rival, "paired"), ab.table_rows(found))
    for line in found.unmeasured:
        typer.echo(f"not measured: {line}")
    typer.echo(f"{found.prompts} prompts\nrecord: {place / ab.RECORD}")


@app.command("switch")
@one_line_errors
def switch_command(
    name: Annotated[str, typer.Argument(help="Name of a fine-tune.", metavar="NAME")],
    trusted: Annotated[Path, typer.Option("--trusted", help="Folder of trusted public keys, *.pub.")],
    namespace: NamespaceOption = None,
    max_age: Annotated[float, typer.Option("--max-age", help="Hours that probe and parity may be old.")] = 24.0,
    limit: Annotated[
        float, typer.Option("--parity-limit", help="Highest rate of disagreement that parity's bound may show.")
    ] = 0.05,
    stored: Annotated[
        bool, typer.Option("--stored-parity", help="Accept a parity whose replies were all stored before.")
    ] = False,
    dry_run: DryRunOption = False,
    registry: RegistryOption = Path("registry"),
    profile: Annotated[str, typer.Option("--profile", help="Profile that the receipt must be of.")] = "release",
    cases: Annotated[Path, typer.Option("--cases", help="Cases to compare the receipt with.")] = EVALS / "cases",
    gate: Annotated[Path, typer.Option("--gate", help="Bars to compare the receipt with.")] = EVALS / "gate.toml",
    local_base: Annotated[
        str | None, typer.Option("--local-base", help="Base to compare the receipt with; default: where it is found.")
    ] = None,
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Let the Worker ask for this adapter: only the champion, with receipt, upload, fresh probe and parity of it.

    Writes the key that the Worker reads; all traffic moves, within a minute, without a deployment. A killed switch is
    finished by the same command. Exit status 8 when evidence is missing, old or against it, 9 when it is about other
    bytes.

    A share of the traffic is not moved from here. wrangler does it, without this history and its checks, where the
    Worker binds no SWITCH: wrangler versions upload --var ADAPTER:NAME, then wrangler versions deploy ID@10 OLD@90.
    """
    from deploy import switch
    from harness.attestation import load_trusted
    from harness.promotion import verify_adapter
    from harness.registry import FolderRegistry

    credentials = load_credentials()
    place = FolderRegistry(registry)
    champion = place.read().aliases.get("champion")
    if champion is None:
        raise SetupError(f"{registry} has no champion. Promote an adapter.")
    folder = state / credentials.place
    terms: dict[str, Any] = {"max_age": max_age, "limit": limit, "stored": stored}
    found = switch.check_served(folder / name, name, champion.adapter, now=_now(), **terms)
    data, keys = place.read_receipt(champion.receipt).data, load_trusted(trusted)
    path = place.adapter_path(champion.adapter)
    verified = verify_adapter(path, data, trusted=keys, gate=gate, cases=cases, profile=profile, base=local_base)
    facts = {"adapter": champion.adapter, "receipt": champion.receipt, "signer": switch.check_receipt(verified)}
    history = switch.History(folder)
    if dry_run:
        typer.echo(switch.show_command(switch.find_namespace(history.read(), namespace), name))
        return
    with switch.SwitchAPI(credentials) as api:
        when = _now().isoformat(timespec="seconds")
        done = switch.switch_adapter(api, history, name, namespace, {**facts, **found}, when=when)
    _show_switched(done, history.path, as_json=as_json)


@app.command("rollback")
@one_line_errors
def rollback_command(
    namespace: NamespaceOption = None,
    dry_run: DryRunOption = False,
    state: StateOption = STATE,
    as_json: JsonOption = False,
) -> None:
    """Put the adapter before back. Needs the history and one request: no receipt, no probe, no registry.

    Where no adapter was set before, the key is removed, and the Worker's variable ADAPTER counts again. Given again, it
    goes one further back.
    """
    from deploy import switch

    credentials = load_credentials()
    history = switch.History(state / credentials.place)
    if dry_run:
        entries = history.read()
        place = switch.find_namespace(entries, namespace)
        typer.echo(switch.show_command(place, switch.plan_rollback(entries, place)[1]))
        return
    with switch.SwitchAPI(credentials) as api:
        done = switch.roll_back(api, history, namespace, when=_now().isoformat(timespec="seconds"))
    _show_switched(done, history.path, as_json=as_json)


@app.command("monitor")
@one_line_errors
def monitor_command(
    files: Annotated[list[Path], typer.Argument(help="Log files; /dev/stdin reads a pipe.", metavar="FILE...")],
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Folder of an eval run: the rates and the mix that it allows.")
    ] = None,
    adapter: Annotated[str, typer.Option("--adapter", help="Count this adapter's replies alone.")] = "",
    alpha: Annotated[
        float, typer.Option("--alpha", help="Probability that a healthy adapter is ever reported, however long.")
    ] = 0.01,
    allow: Annotated[float, typer.Option("--allow", help="Rate of each problem that is allowed at least.")] = 0.02,
    drift: Annotated[
        float, typer.Option("--drift", help="How much a tool's share may grow over the baseline's.")
    ] = 0.5,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is added, until an alarm.")] = False,
    hours: Annotated[float, typer.Option("--hours", min=0, help="How long --follow goes on; 0 for ever.")] = 48,
    webhook: Annotated[str | None, typer.Option("--webhook", help="https address that is told of an alarm.")] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="New file for replies that broke, as masked candidate cases.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch production without labels: unreadable, unknown, empty and failed replies, calls, latency, the mix of tools.

    Reads lines of the Worker, wrangler tail --format json, Workers Logs, Logpush, and AI Gateway logs. Exit status 0
    healthy, 8 alarm, 9 not readable. To switch back on an alarm:
    python -m deploy monitor FILE --follow; test $? -ne 8 || python -m deploy rollback
    """
    import time
    from contextlib import suppress

    from deploy import monitor
    from deploy.traffic import Lines, read_logs
    from harness.report import show_text
    from harness.runner import read_run
    from harness.toolset import load_toolset

    if webhook is not None:
        monitor.check_webhook(webhook)
    if export is not None:
        monitor.check_export(export)
    toolset, lines = load_toolset(), Lines()
    allowed = monitor.read_baseline(read_run(baseline), toolset) if baseline else None
    options = {"alpha": alpha, "allowed": allow, "drift": drift}
    watch = monitor.Monitor(toolset, allowed, adapter=adapter, keep=export is not None, **options)
    ends = time.monotonic() + hours * 3600 if hours else float("inf")
    with suppress(KeyboardInterrupt):  # the end of --follow: what was read until then is reported
        for reply in read_logs(files, lines, follow=follow, until=lambda: time.monotonic() >= ends):
            watch.add(reply)
            if follow and watch.alarms:
                break
    report = monitor.report_dict(watch, lines)
    if as_json:
        _print(report)
    else:
        _print_table(("replies", "found", "allowed", "state"), monitor.table_rows(watch))
        skipped = f"{lines.other} of {lines.read} log entries are no replies, {lines.bad} are not readable"
        typer.echo(f"{watch.replies} replies, {watch.left_out} of other adapters; {skipped}")
        for line in lines.named:
            typer.echo(f"not readable: {show_text(line)}")
        for line in watch.alarms:
            typer.echo(f"ALARM: {line}")
    if export is not None:
        count = monitor.write_candidates(export, watch)
        typer.echo(f"{count} candidates: {export}. Names in free text are not masked: read them first.", err=True)
    if watch.alarms:
        refused = monitor.send_alarm(webhook, report) if webhook else ""
        if refused:
            typer.echo(f"Error: the webhook was not told: {refused}.", err=True)
        raise typer.Exit(REFUSED)
    if 2 * lines.bad > lines.read or not watch.replies:
        named = ", ".join(map(str, files))
        counts = f"{watch.replies} replies in {lines.read} entries, {lines.bad} not readable"
        raise DataError(f"{named}: {counts}. Give the Worker's log.")


# Each command below belongs to its own module: replace the line by  app.command(NAME)(one_line_errors(FUNCTION)).
app.command("emulate")(emulate)


def _find_uploaded(api: WorkersAI, name: str, state: Path) -> tuple[Finetune, dict[str, object], Path]:
    """A fine-tune by name or id, what ties it to bytes, and the folder of its records."""
    from deploy.finetunes import find_listed, recorded_facts

    one = find_listed(api, name)
    return one, recorded_facts(api, state, one), state / api.credentials.place / one.name


def _find_adapter(name: str, registry: Path) -> Path:
    """A folder, or what an alias of the registry stands for."""
    from harness.registry import ALIASES, FolderRegistry

    folder = Path(name)
    if folder.exists() or name not in ALIASES:
        return folder
    place = FolderRegistry(registry)
    entry = place.read().aliases.get(name)
    if entry is None:
        raise SetupError(f"{registry} has no {name}. Promote an adapter, or give a folder.")
    return place.check_entry(entry)


def _sample(path: Path, size: int) -> list[Case]:
    """A fixed sample of the cases; all of them for 0."""
    from harness.cases import load_cases
    from harness.runner import sample_cases

    cases = load_cases(path)
    if not cases:
        raise SetupError(f"{path} holds no cases. Give a file with one case per line.")
    return sample_cases(cases, size or len(cases))


def _print_estimate(models: Sequence[str], cases: Sequence[Case], *, as_json: bool, err: bool = False) -> None:
    from dataclasses import asdict

    from harness.prompt import load_prompt
    from harness.runner import build_prompts
    from harness.targets import Decoding
    from harness.targets.neurons import estimate_cost

    texts = [one.text for one in build_prompts(cases, load_prompt())]
    found = {model: estimate_cost(model, texts, Decoding().max_tokens) for model in models}
    if as_json:
        _print({model: asdict(one) for model, one in found.items()})
        return
    for model, one in found.items():
        typer.echo(f"estimate for {model}: {one}", err=err)


def _show_switched(done: Switched, history: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    served, before = done.name or "the Worker's ADAPTER", done.before or "the Worker's ADAPTER"
    _print(asdict(done) if as_json else f"{done.state}: {served}\nbefore: {before}\nhistory: {history}")


def _show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    from deploy.preflight import findings_dict

    if as_json:
        _print(findings_dict(findings))
        return
    _print_table(("state", "check", "what", "fix"), [(one.state, one.check, one.what, one.fix) for one in findings])
    bad = sum(one.state == "fail" for one in findings)
    typer.echo(f"{bad} of {len(findings)} must be mended" if bad else f"{len(findings)} checks, nothing to mend")


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.report import show_text

    console = Console()
    if not console.is_terminal:  # a log has no width: nothing is cut
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        console = Console(width=sum(widths) + 4 * len(widths))
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(show_text(cell, 600), COLOURS.get(cell, "")) for cell in row))
    console.print(table)


def _print(value: object) -> None:
    typer.echo(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def _now() -> datetime:
    return datetime.now(UTC)


class _Bar:
    """A progress bar on stderr, so that stdout holds the answer alone."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self._show

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, phase: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress

            console = Console(stderr=True)
            self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
            self._bar.start()
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=total)
        self._bar.update(self._tasks[phase], completed=done, total=total)


def main() -> None:
    """Run the command line."""
    app(prog_name="python -m deploy")
