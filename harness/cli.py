"""``python -m harness``: run, report, compare, duplicates, plan, attempts, seal, keygen, promote, verify, rollback.

Covers: measuring any file of cases without a verdict, showing a run again, comparing two runs case by case, finding
training texts that are too close to the cases, planning sizes, the ledger of attempts, promoting an
adapter with a receipt and checking one.
Does not cover: verdicts case by case; ``pytest evals/ --target=NAME`` gives them. Errors are one line on stderr and
exit status 1. keygen, promote, verify and rollback end with 0 done or verified, 8 refused by the gate, 9 evidence does
not match, 4 usage.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from harness.cases import ALIKE, close_to_cases, load_cases
from harness.errors import DataError, SetupError, ToolgateError

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

    from harness.comparison import Comparison
    from harness.report import Report
    from harness.runner import Progress, Run

EVALS = Path("evals")
STORE = Path(".toolgate")
REGISTRY = Path("registry")
GATE_CLOSED, MISMATCH, USAGE = 8, 9, 4
P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    name="harness",
    help="Measure a tool-calling adapter. The verdict is pytest's: pytest evals/ --target=local",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CasesOption = Annotated[Path, typer.Option("--cases", help="Case file, or a folder of them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")]


def one_line_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Errors raised on purpose become one line on stderr and exit status 1; others keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except ToolgateError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped


class _TrustCommand(typer.core.TyperCommand):
    """A command whose wrong usage ends with exit status 4, as it does in pytest."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            if getattr(error, "exit_code", None) == 2:  # click's UsageError, wherever typer keeps it
                vars(error)["exit_code"] = USAGE
            raise


def trust_errors(command: Callable[P, T]) -> Callable[P, T]:
    """As ``one_line_errors``, with 4 for what cannot be done and 9 for evidence that is not what it should be."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except ToolgateError as error:
            typer.echo(f"Error: {error}", err=True)
            status = USAGE if isinstance(error, SetupError) else MISMATCH if isinstance(error, DataError) else 1
            raise typer.Exit(status) from None

    return wrapped


@app.command("run")
@one_line_errors
def run_command(
    cases: CasesOption,
    target: Annotated[str, typer.Option("--target", help="cloudflare, local, openai, replay or worker.")],
    adapter: Annotated[Path | None, typer.Option("--adapter", help="LoRA adapter folder.")] = None,
    base: Annotated[str | None, typer.Option("--base", help="Base model: hub id or folder.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the run's files.")] = None,
    run_store: Annotated[Path, typer.Option("--run-store", help="Where replies are kept.")] = STORE,
    replies: Annotated[Path | None, typer.Option("--replies", help="Recorded replies (target replay).")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Address of the Worker or API (worker, openai).")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Name of the model there (cloudflare, openai).")] = None,
    option: Annotated[list[str] | None, typer.Option("--target-option", help="NAME=VALUE of the target.")] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longest reply.")] = 256,
    latency: Annotated[bool, typer.Option("--latency", help="Also measure seconds per reply.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask a target all cases of a file and measure its replies; no verdict."""
    from harness import runner
    from harness.cases import digest_cases
    from harness.ledger import LEDGER, Ledger, count_suites, read_marks
    from harness.metrics import compute_metrics
    from harness.prompt import load_prompt
    from harness.report import Report, metrics_dict
    from harness.store import ReplyStore
    from harness.targets import Decoding, LazyTarget, TargetSpec

    named = {"file": str(replies) if replies else None, "url": url, "model": model}
    options = {name: value for name, value in named.items() if value} | _read_options(option or [])
    asked = load_cases(cases)
    if not asked:
        raise SetupError(f"{cases} holds no cases. Give a file with one case per line.")
    prompt, decoding = load_prompt(), Decoding(max_tokens=max_tokens)
    with LazyTarget(TargetSpec(target, adapter, base, options)) as lazy, _Bar() as on_progress:
        asking = (lazy, prompt, ReplyStore(run_store), decoding)
        outcomes = runner.run_cases(asked, *asking, on_progress=on_progress)
        seconds = runner.measure_latency(asked, *asking, on_progress=on_progress) if latency else None
        metrics = compute_metrics(outcomes, latencies=seconds, adapter_bytes=lazy.adapter_bytes)
        marks = read_marks(lazy.spec.adapter, lazy.identity)
        Ledger(run_store / LEDGER).append(
            time=_now(), by="run", profile="", opened=False, marks=marks, suites=count_suites(asked)
        )
        about = {
            "cases": digest_cases(asked),
            "prompt": prompt.digest,
            "toolset": prompt.toolset.digest,
            "max_tokens": str(max_tokens),
            **lazy.identity,
        }
    report = Report(metrics, outcomes, {case.id: case for case in asked}, about=about)
    if out is not None:
        _write_run(out, report)
    if as_json:
        typer.echo(json.dumps(metrics_dict(report), indent=2))
    else:
        _print_report(report)
        if out is not None:
            typer.echo(f"run: {out}")


@app.command("report")
@one_line_errors
def report_command(
    run: RunArgument,
    html: Annotated[Path | None, typer.Option("--html", help="Write one static page here.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write Markdown here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a finished run again; its files are compared with its manifest first."""
    from harness.report import metrics_dict, render_html, render_markdown
    from harness.store import write_file

    report = _read_report(run)
    if html is not None:
        write_file(html, render_html(report).encode("utf-8", "replace"))
        typer.echo(f"page: {html}", err=as_json)
    if markdown is not None:
        write_file(markdown, render_markdown(report).encode("utf-8", "replace"))
        typer.echo(f"summary: {markdown}", err=as_json)
    if as_json:
        typer.echo(json.dumps(metrics_dict(report), indent=2))
    elif html is None and markdown is None:
        _print_report(report)


@app.command("compare")
@one_line_errors
def compare_command(
    before: RunArgument,
    after: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs over the same cases: exact McNemar test and every flip."""
    from harness.runner import read_run

    found = compare_runs(read_run(before), read_run(after))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    broken = found.broken_by_suite()
    typer.echo(f"{found.cases} cases in both runs, right before {found.before}, after {found.after}")
    if found.left_out:
        typer.echo(f"{len(found.left_out)} cases left out: in one run only, or not measured")
    typer.echo(f"fixed {len(found.fixed)}, broken {len(found.broken)}, exact McNemar p = {found.p:.4g}")
    for suite, ids in broken.items():
        if ids:
            typer.echo(f"  {suite}: {len(ids)} of {found.suites[suite]} broken")
    for name, flips in (("broken", found.broken), ("fixed", found.fixed)):
        for flip in flips:
            typer.echo(f"  {name}: {flip.case}  {flip.before} -> {flip.after}")


@app.command("plan")
@one_line_errors
def plan_command(
    bar: Annotated[float, typer.Option("--bar", help="What is to be proven, e.g. 0.9.")],
    true: Annotated[float, typer.Option("--true", help="How often the model is really right, e.g. 0.95.")],
    power: Annotated[float, typer.Option("--power", help="How often such a model shall pass.")] = 0.8,
    as_json: JsonOption = False,
) -> None:
    """Print how many prompts it takes to prove a bar, from exact binomial probabilities.

    A bar is proven when the exact one-sided 95 % bound (Clopper-Pearson) lies above it. With few prompts a good model
    often fails to prove what it can do, and near the bar no reasonable number is enough: plan before writing cases.
    """
    from harness.planning import make_plan, show_plan

    plan = make_plan(bar, true, power)
    typer.echo(json.dumps(plan.as_dict(), indent=2) if as_json else "\n".join(show_plan(plan)))


@app.command("attempts")
@one_line_errors
def attempts_command(
    ledger: Annotated[Path, typer.Option("--ledger", help="The ledger of attempts.")] = STORE / "attempts.jsonl",
    as_json: JsonOption = False,
) -> None:
    """Show who asked which suites when, after checking that no line of the ledger was changed."""
    from dataclasses import asdict

    from harness.ledger import Ledger, find_lineage
    from harness.report import show_text

    if not ledger.is_file():
        raise SetupError(f"No ledger at {ledger}. Promotions and runs of pytest evals/ write one.")
    attempts = Ledger(ledger).read()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in attempts], indent=2))
        return
    for one in attempts:
        lineage = find_lineage(attempts, one.marks)[0].number
        suites = ", ".join(f"{name} {count}" for name, (count, _) in one.suites.items())
        state = "open" if one.open else "closed"
        who = f"lineage {lineage}  {one.adapter[8:27]}…"
        typer.echo(
            show_text(f"{one.number}  {one.time}  {one.by}  {one.profile or '-'}  {state}  {who}  {suites}", 400)
        )
    typer.echo(f"{len(attempts)} attempts; the chain is whole")


@app.command("seal")
@one_line_errors
def seal_command(
    cases: Annotated[Path, typer.Argument(help="Case file, or a folder of them.", metavar="CASES")],
    as_json: JsonOption = False,
) -> None:
    """Print the digest of a sealed suite, for [profiles.release.sealed] in gate.toml; no case is shown."""
    from harness.cases import digest_cases

    found = load_cases(cases)
    if not found:
        raise SetupError(f"{cases} holds no cases. Give a file with one case per line.")
    digest = digest_cases(found)
    if as_json:
        typer.echo(json.dumps({"digest": digest, "cases": len(found)}))
    else:
        typer.echo(f'digest = "{digest}"\nmin_cases = {len(found)}')


@app.command("duplicates")
@one_line_errors
def duplicates_command(
    files: Annotated[list[Path], typer.Argument(help="Training files, JSON Lines.", metavar="FILE...")],
    cases: CasesOption = EVALS / "cases",
    threshold: Annotated[float, typer.Option("--threshold", help="How alike, of 100, is too close.")] = ALIKE,
    as_json: JsonOption = False,
) -> None:
    """Print training texts that are near-duplicates of a case's question, and their count; the aim is 0.

    Every user turn of a training line is compared with the last user turn of every case. The trainer leaves out what is
    found here. Exit status 1 when there are any.
    """
    found = find_duplicates(files, cases, threshold)
    if as_json:
        typer.echo(json.dumps({"threshold": threshold, "count": len(found), "duplicates": found}, indent=2))
    else:
        from harness.report import show_text

        for item in found:
            place = f"{item['file']}:{item['line']}"
            typer.echo(f"{item['score']:5.1f}  {place}  {item['case']}  {show_text(item['text'])}")
        typer.echo(f"{len(found)} near-duplicates")
    if found:
        raise typer.Exit(1)


RegistryOption = Annotated[Path, typer.Option("--registry", help="Folder of the registry.")]
TrustedOption = Annotated[Path | None, typer.Option("--trusted", help="Folder of trusted public keys, *.pub.")]
UnsignedOption = Annotated[bool, typer.Option("--unsigned", help="Do without a signature, and say so.")]
ProfileOption = Annotated[str, typer.Option("--profile", help="Profile of gate.toml.")]
GateOption = Annotated[Path, typer.Option("--gate", help="Profiles and bars.")]
BaseOption = Annotated[str | None, typer.Option("--base", help="Base model: hub id or folder.")]


@app.command("keygen", cls=_TrustCommand)
@trust_errors
def keygen_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the two keys.")],
) -> None:
    """Make a key pair: toolgate.key signs receipts, toolgate.pub belongs into a folder of trusted keys."""
    from harness.attestation import generate_keys

    secret, public, keyid = generate_keys(out)
    typer.echo(f"secret key: {secret} (mode 0600; keep it out of the repository)\npublic key: {public}\nid: {keyid}")


@app.command("promote", cls=_TrustCommand)
@trust_errors
def promote_command(
    adapter: Annotated[Path, typer.Argument(help="LoRA adapter folder.", metavar="ADAPTER")],
    profile: ProfileOption = "release",
    registry: RegistryOption = REGISTRY,
    key: Annotated[Path | None, typer.Option("--key", help="Secret key that signs the receipt.")] = None,
    trusted: TrustedOption = None,
    unsigned: UnsignedOption = False,
    target: Annotated[str, typer.Option("--target", help="cloudflare, local, openai, replay or worker.")] = "local",
    base: BaseOption = None,
    cases: CasesOption = EVALS / "cases",
    gate: GateOption = EVALS / "gate.toml",
    run_store: Annotated[Path, typer.Option("--run-store", help="Where replies are kept.")] = STORE,
    replies: Annotated[Path | None, typer.Option("--replies", help="Recorded replies (target replay).")] = None,
    base_replies: Annotated[Path | None, typer.Option("--base-replies", help="The base's (target replay).")] = None,
    option: Annotated[list[str] | None, typer.Option("--target-option", help="NAME=VALUE of the target.")] = None,
    champion_replies: Annotated[
        Path | None, typer.Option("--champion-replies", help="The champion's recorded replies (target replay).")
    ] = None,
    champion_option: Annotated[
        list[str] | None, typer.Option("--champion-option", help="NAME=VALUE where the champion is asked (a server).")
    ] = None,
    champion_base: Annotated[
        str | None, typer.Option("--champion-base", help="The champion's base, where it is another one.")
    ] = None,
    sealed: Annotated[
        Path | None, typer.Option("--sealed", help="Cases of the sealed suite that gate.toml names by digest.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="Ledger of attempts. Default: attempts.jsonl in the run store.")
    ] = None,
    curtail: Annotated[bool, typer.Option("--curtail", hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure an adapter; with an open gate write its receipt and make it champion (candidate, if not for release).

    Once its own bars are cleared, the base and the present champion answer the same cases: flips are listed in both
    directions, and max_regressions in gate.toml limits what may be lost. Every attempt is written into the ledger.
    """
    from harness.attestation import load_signer, load_trusted
    from harness.ledger import LEDGER, Ledger
    from harness.promotion import Rivals, load_question, promote
    from harness.registry import FolderRegistry
    from harness.store import ReplyStore
    from harness.targets import TargetSpec

    if curtail:
        raise SetupError("A receipt needs every case: --curtail is for pytest evals/, never for promote.")
    if (key is None) != unsigned:
        raise SetupError("Give either --key FILE, or --unsigned for a receipt that production refuses.")
    signer = load_signer(key) if key else None
    if trusted and signer and signer.public_key.keyid not in {one.keyid for one in load_trusted(trusted)}:
        raise SetupError(f"{key} is not among the trusted keys of {trusted}: nobody there would accept its receipt.")
    named = {"file": replies, "base_file": base_replies}
    options = {name: str(path) for name, path in named.items() if path} | _read_options(option or [])
    beside = _read_options(champion_option or [], "--champion-option")
    beside |= {"file": str(champion_replies)} if champion_replies else {}
    place = FolderRegistry(registry)
    place.read()  # a damaged registry is told before hours of measuring
    with _Bar() as on_progress:
        done = promote(
            TargetSpec(target, adapter, base, options),
            load_question(gate, cases, profile),
            place,
            ReplyStore(run_store),
            ledger=Ledger(ledger or run_store / LEDGER),
            signer=signer,
            who=_who(),
            when=_now(),
            on_progress=on_progress,
            rivals=Rivals(beside, champion_base, sealed),
        )
    entry = done.state.aliases[done.alias] if done.state else None
    if as_json:
        body = {
            "promoted": entry is not None,
            "adapter": done.adapter,
            "alias": done.alias,
            "receipt": entry.receipt if entry else None,
            "receipt_file": str(place.receipt_path(entry.receipt)) if entry else None,
            "verdict": done.report.decision.verdict if done.report.decision else None,
            "reasons": list(done.report.decision.reasons) if done.report.decision else [],
            "notes": list(done.notes),
            "champion": done.champion.as_dict() if done.champion else None,
            "base": done.base.as_dict() if done.base else None,
            "attempts": done.attempts.as_dict() if done.attempts else None,
        }
        typer.echo(json.dumps(body, indent=2))
    else:
        _print_report(done.report)
        for note in done.notes:
            typer.echo(f"note: {note}")
        if entry:
            typer.echo(f"{done.alias}: {done.adapter}\nreceipt: {place.receipt_path(entry.receipt)}")
    if entry is None:
        raise typer.Exit(GATE_CLOSED)


@app.command("verify", cls=_TrustCommand)
@trust_errors
def verify_command(
    adapter: Annotated[str, typer.Argument(help="Adapter folder, or an alias of the registry.", metavar="ADAPTER")],
    registry: RegistryOption = REGISTRY,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Receipt; default: the registry's.")] = None,
    trusted: TrustedOption = None,
    unsigned: UnsignedOption = False,
    profile: ProfileOption = "release",
    cases: CasesOption = EVALS / "cases",
    gate: GateOption = EVALS / "gate.toml",
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare an adapter and all that judged it with a receipt, and name what differs."""
    from harness.promotion import find_receipt, verify_adapter
    from harness.registry import FolderRegistry
    from harness.report import show_text

    keys = _load_trust(trusted, unsigned)
    folder, data, files = find_receipt(adapter, FolderRegistry(registry), receipt, profile)
    judged = {"gate": gate, "cases": cases}
    found = verify_adapter(folder, data, **judged, trusted=keys, profile=profile, base=base, files=files)
    status = MISMATCH if found.differing else GATE_CLOSED if found.refusals else 0
    if as_json:
        body = {
            "verified": found.verified,
            "adapter": found.receipt.adapter if found.receipt else None,
            "receipt": found.receipt.digest if found.receipt else None,
            "signer": found.signer or None,
            "differing": list(found.differing),
            "refusals": list(found.refusals),
            "notes": list(found.notes),
        }
        typer.echo(json.dumps(body, indent=2))
    else:
        for title, lines in (("differs", found.differing), ("refused", found.refusals), ("note", found.notes)):
            for line in lines:
                typer.echo(f"{title}: {show_text(line, 600)}")
        if found.verified and found.receipt:
            typer.echo(f"verified: {found.receipt.adapter}, signed by {found.signer or 'nobody (UNSIGNED)'}")
        else:
            typer.echo("not verified: " + ("evidence does not match" if found.differing else "refused by the gate"))
    raise typer.Exit(status)


@app.command("rollback", cls=_TrustCommand)
@trust_errors
def rollback_command(
    registry: RegistryOption = REGISTRY,
    trusted: TrustedOption = None,
    unsigned: UnsignedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the previous champion champion again, after comparing its files with its receipt."""
    from harness.promotion import roll_back
    from harness.registry import FolderRegistry

    state, signer = roll_back(FolderRegistry(registry), trusted=_load_trust(trusted, unsigned), who=_who(), when=_now())
    entry = state.aliases["champion"]
    if as_json:
        body = {"champion": entry.adapter, "receipt": entry.receipt, "signer": signer or None}
        typer.echo(json.dumps(body, indent=2))
    else:
        typer.echo(f"champion: {entry.adapter}, signed by {signer or 'nobody (UNSIGNED)'}")


def _load_trust(trusted: Path | None, unsigned: bool) -> list[SSlibKey] | None:
    from harness.attestation import load_trusted

    if (trusted is None) != unsigned:
        raise SetupError("Give either --trusted DIR with public keys, or --unsigned to do without a signature.")
    return load_trusted(trusted) if trusted else None


def _who() -> str:
    import getpass
    import platform

    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}@{platform.node()}"


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


def compare_runs(before: Run, after: Run) -> Comparison:
    """What changed between two runs.

    Raises:
        DataError: the runs share no measured case, or a shared case is not the same question.
    """
    from harness.comparison import compare_outcomes

    try:
        found = compare_outcomes(before.outcomes, after.outcomes)
    except DataError as error:
        raise DataError(f"{before.folder} and {after.folder}: {error}") from None
    old, new = _read_questions(before), _read_questions(after)
    left_out = set(found.left_out)
    shared = [one.case_id for one in before.outcomes if one.case_id not in left_out]
    changed = [case_id for case_id in shared if old.get(case_id) != new.get(case_id)]
    if changed:
        raise DataError(
            f"{len(changed)} cases differ between the runs, the first is {changed[0]}. Run both over the same cases."
        )
    return found


def find_duplicates(files: Sequence[Path], cases: Path, threshold: float = ALIKE) -> list[dict[str, Any]]:
    """User texts of training files that ``close_to_cases`` finds, the closest first, with their file and line.

    Raises:
        SetupError: a file is missing or the threshold is impossible.
        DataError: a line is not an example with messages.
    """
    if not 0 < threshold <= 100:
        raise SetupError(f"--threshold {threshold:g} is not above 0 and at most 100. Usual is {ALIKE:g}.")
    asked = load_cases(cases)
    if not asked:
        raise SetupError(f"{cases} holds no cases. Give a file with one case per line.")
    lines = [(file, number, turns) for file in files for number, turns in _read_user_turns(file)]
    found = [
        {
            "file": str(lines[close.index][0]),
            "line": lines[close.index][1],
            "case": close.case_id,
            "score": round(close.score, 1),
            "text": close.text,
            "question": close.question,
        }
        for close in close_to_cases([turns for _, _, turns in lines], asked, threshold)
    ]
    return sorted(found, key=lambda item: (-float(str(item["score"])), str(item["file"]), int(str(item["line"]))))


def _read_user_turns(file: Path) -> list[tuple[int, list[str]]]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"Cannot read {file}: {error}. Give JSON Lines in UTF-8.") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            found.append((number, [str(turn["content"]) for turn in messages if turn["role"] == "user"]))
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{file}:{number}: no example. Expected a JSON object with messages.") from None
    return found


def _read_options(pairs: Sequence[str], name_of: str = "--target-option") -> dict[str, str]:
    options = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not name or not sign:
            raise SetupError(f"{name_of} {pair!r} is no NAME=VALUE. Write e.g. {name_of} batch_size=16.")
        options[name] = value
    return options


def _write_run(folder: Path, report: Report) -> None:
    from harness.cases import case_dict
    from harness.report import latency_dict, metrics_dict, render_html, render_markdown
    from harness.runner import write_run

    cases = "".join(json.dumps(case_dict(report.cases[outcome.case_id])) + "\n" for outcome in report.outcomes)
    documents = {"metrics.json": metrics_dict(report), "cases.jsonl": cases}
    varying = {
        "latency.json": latency_dict(report.metrics),
        "summary.md": render_markdown(report),
        "report.html": render_html(report),
    }
    write_run(folder, report.outcomes, documents, about=report.about, varying=varying)


def _read_report(folder: Path) -> Report:
    """A run's report from its files; bars and reasons are those that were decided then."""
    from harness.metrics import Rate, compute_metrics
    from harness.report import Report, read_decision
    from harness.runner import read_run

    run = read_run(folder)
    cases = {case.id: case for case in load_cases(folder / "cases.jsonl")}
    metrics = _read_json(folder / "metrics.json")
    latency = _read_json(folder / "latency.json", missing={"seconds": []})
    decision = _read_json(folder / "decision.json", missing=None)
    try:
        retention = metrics["rates"]["general_retention"]
        again = compute_metrics(
            run.outcomes,
            latencies=latency["seconds"],
            adapter_bytes=metrics["adapter_bytes"],
            retention=Rate(**retention) if retention["n"] else None,
        )
        judged = read_decision(decision) if decision else None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The files of {folder} are not those of a run: {error!r}. Run again.") from None
    about = {str(name): str(value) for name, value in run.about.items()}
    return Report(again, run.outcomes, cases, judged, about)


def _read_json(path: Path, **default: Any) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        if "missing" in default:
            return default["missing"]
        raise DataError(f"{path} is missing. Run again into an empty folder.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Run again into an empty folder.") from None


def _read_questions(run: Run) -> dict[str, Any]:
    path = run.folder / "cases.jsonl"
    return {case.id: (case.now, case.messages) for case in load_cases(path)} if path.is_file() else {}


def _print_report(report: Report) -> None:
    from harness.report import render_terminal

    typer.echo(render_terminal(report))


class _Bar:
    """A progress bar on stderr, so that stdout holds the answer alone."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[Progress], None]:
        return self._show

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, progress: Progress) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            console = Console(stderr=True)
            self._bar = Bar(console=console, transient=True, disable=not console.is_terminal)
            self._bar.start()
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = self._bar.add_task(progress.phase, total=progress.total)
        self._bar.update(self._tasks[progress.phase], completed=progress.done, total=progress.total)


def main() -> None:
    """Run the command line."""
    app()
