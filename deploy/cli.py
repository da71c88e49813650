"""The commands of ``python -m deploy``: from a promoted adapter to traffic.

Covers: reading the command line, tables for people, JSON for programs, one line per error.
Does not cover: any of the work.

Exit status: 0 done, 1 an error, 2 wrong usage, 8 refused by preflight, probe or the gate, 9 bytes or receipt are
not what they should be, 130 interrupted.
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

REFUSED, MISMATCH, INTERRUPTED = 8, 9, 130
STATE = Path("deployments")
EVALS = Path("evals")
COLOURS = {"ok": "green", "note": "yellow", "fail": "red"}
P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    name="deploy",
    help="From a promoted adapter to traffic on Workers AI: preflight, export, upload, probe. Account and token come "
    "from CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, the address from CLOUDFLARE_API_BASE_URL.",
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

    Never one of an adapter that the registry's aliases stand for, and never one that was not uploaded from here.
    """
    from deploy.finetunes import choose_pruned, list_finetunes, prune_finetunes
    from harness.registry import FolderRegistry

    protected = [entry.adapter for entry in FolderRegistry(registry).read().aliases.values()]
    with WorkersAI(load_credentials()) as api:
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
    from deploy.finetunes import find_listed, recorded_facts
    from harness.prompt import load_prompt

    with WorkersAI(load_credentials()) as api, _Bar() as on_step:
        one = find_listed(api, name)
        found = probe.probe_adapter(api, one.model, one.name, load_prompt(), on_step=on_step)
        place = state / api.credentials.place / one.name
        facts = recorded_facts(api, state, one)
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


# Each command below belongs to its own module: replace the line by  app.command(NAME)(one_line_errors(FUNCTION)).
# parity    deploy/parity.py
# ab        deploy/ab.py
# switch    deploy/switch.py
# rollback  deploy/switch.py
# monitor   deploy/monitor.py
app.command("emulate")(emulate)


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
