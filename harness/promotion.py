"""From an adapter folder to a champion with a receipt, and the check of one against what is at hand.

Covers: measuring a private copy of the adapter on every case of a profile, deciding, comparing it with champion and
base on the same cases, opening the sealed suite, the ledger's entry, the statement, moving the alias; the configuration
that a receipt is compared with.
Does not cover: pytest's report of the same measurement (plugin), keeping files (registry), the statement's form and
signature (attestation), what a comparison amounts to (comparison).

Replies come from the store where they are there, so a finished run is reused; latency is measured anew, and nothing is
taken from a run's files, which anyone may write. Champion, base and the sealed suite are asked only when everything
before is open: they cost as much as the candidate, and a sealed suite is worn out by every look.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from harness import runner
from harness.attestation import (
    PROFILE,
    Receipt,
    Setting,
    Verification,
    build_statement,
    describe_facts,
    describe_settings,
    expected_tests,
    find_signer,
    hash_folder,
    seal_statement,
    verify,
)
from harness.cases import digest_cases, load_cases, prove_case, prove_suite
from harness.comparison import Comparison, compare_outcomes, judge_regressions, show_comparison
from harness.errors import DataError, SetupError, TargetError, ToolgateError
from harness.gate import LATENCY, Decision, Gate, MetricRow, Profile, Sealed, decide, load_gate, select_cases
from harness.ledger import (
    SEALED_SUITE,
    Consultations,
    Ledger,
    count_consultations,
    count_suites,
    read_marks,
    show_consultations,
)
from harness.metrics import GENERAL_SUITE, compute_metrics, count_rate
from harness.prompt import PromptSpec, load_prompt
from harness.registry import ALIASES, Entry, FolderRegistry, State
from harness.report import Report
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget, TargetSpec, check_spec, target_class
from harness.types import Case, Outcome, Verdict

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

PACKAGES = ("toolgate", "torch", "transformers", "peft", "tokenizers", "safetensors", "scipy")
EVIDENCE = {"local": "bytes", "replay": "recording"}  # any other target is a server
BASE, ATTEMPTS, CHAMPION, SEALED = "base", "attempts", "champion", "sealed suite"


@dataclass(frozen=True, slots=True)
class Question:
    """What an adapter is asked and judged by."""

    gate: Gate
    profile: str
    cases: Sequence[Case]  # all; the profile selects
    prompt: PromptSpec
    decoding: Decoding

    @property
    def asked(self) -> list[Case]:
        """The cases of the profile."""
        return select_cases(self.gate.profile(self.profile), self.cases)

    @property
    def settings(self) -> list[Setting]:
        """What a receipt seals of it; the sealed suite by its digest in gate.toml, so that a check need not open it."""
        settings = describe_settings(self.gate, self.profile, self.cases, self.prompt, asdict(self.decoding))
        sealed = self.gate.profile(self.profile).sealed
        return [*settings, Setting(SEALED, sealed.digest.removeprefix("sha256:"))] if sealed else settings

    @property
    def tests(self) -> list[str]:
        """The tests that a receipt accounts for."""
        return expected_tests(self.gate, self.profile, self.cases)


@dataclass(frozen=True, slots=True)
class Rivals:
    """How base and champion can be asked beside the candidate, and where the sealed suite lies.

    A local target loads the champion from the registry's copy; any other needs ``options`` (a recording, a served
    model) that replace those of the candidate. ``base`` is the champion's base where it is not the candidate's.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    sealed: Path | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """How a promotion ended: ``state`` and ``receipt`` are None when the gate was closed.

    ``champion`` and ``base`` are None where there was nothing to compare with.
    """

    report: Report
    adapter: str
    alias: str
    notes: tuple[str, ...]
    receipt: bytes | None = None
    state: State | None = None
    champion: Comparison | None = None
    base: Comparison | None = None
    attempts: Consultations | None = None


def load_question(gate: Path, cases: Path, profile: str) -> Question:
    """Read bars, cases and prompt.

    Raises:
        SetupError: one of them is missing or broken, or the profile does not exist.
    """
    try:
        question = Question(load_gate(gate), profile, load_cases(cases), load_prompt(), Decoding())
    except DataError as error:
        raise SetupError(str(error)) from None
    question.gate.profile(profile)
    return question


def prove_question(question: Question) -> None:
    """Let every case prove itself, as pytest does before it asks anything.

    Raises:
        SetupError: one does not.
    """
    problems = [line for case in question.asked for line in prove_case(case, question.prompt.toolset)]
    problems += prove_suite(list(question.cases), question.prompt.toolset)
    if problems:
        raise SetupError(f"The cases do not prove themselves: {problems[0]} ({len(problems)} in all)")


def promote(
    spec: TargetSpec,
    question: Question,
    registry: FolderRegistry,
    store: ReplyStore,
    *,
    ledger: Ledger,
    signer: CryptoSigner | None,
    who: str,
    when: str,
    on_progress: runner.OnProgress,
    rivals: Rivals | None = None,
) -> Promotion:
    """Measure an adapter and, when the gate is open, admit it with a receipt and move its alias.

    The release profile moves champion; any other is no permission to release and moves candidate. The attempt is in the
    ledger before anyone hears of its result.

    Raises:
        SetupError: what is asked cannot be done.
        DataError: the adapter holds links or misleading names, or changed under our hands; the ledger or the sealed
            suite was changed; another process moved champion meanwhile.
        StoreError: a reply, the ledger or the registry cannot be written.
    """
    if spec.adapter is None:
        raise SetupError("Promotion needs an adapter. Give its folder.")
    rivals = rivals or Rivals()
    profile = question.gate.profile(question.profile)
    alias = "champion" if question.profile == PROFILE else "candidate"
    prove_question(question)
    hidden = _open_sealed(question, rivals.sealed)  # opened here to be compared, asked only when all else is open
    ledger.read()  # a changed ledger is told before hours of measuring
    champion = registry.read().aliases.get(CHAMPION)
    hash_folder(spec.adapter)  # links and misleading names are refused before anything is read through them
    # Resolved where it stands: an adapter may name its base relative to itself, and errors name the caller's path.
    checked = check_spec(spec)
    with registry.stage(spec.adapter) as staged:
        with LazyTarget(replace(checked, adapter=staged.path)) as target:
            asking = (question, store, on_progress)
            report, liveness = _measure(target, *asking)
            settings = [*question.settings, *describe_target(target)]
            beside = base = None
            if _is_open(report):
                report, base = _compare_with_base(report, target, *asking)
                report, beside, found = _compare_with_champion(
                    report, checked, champion, staged.digest, registry, *asking, rivals
                )
                settings += found
            opened: dict[str, tuple[int, str]] = {}
            if profile.sealed and _is_open(report):
                report = _ask_sealed(report, target, question, profile.sealed, hidden, on_progress)
                opened[SEALED_SUITE] = (len(hidden), profile.sealed.digest)
            # The target's own name of the adapter, where it has one, is the one that pytest writes down as well.
            identity = {"adapter": staged.digest, **target.identity}
        attempts = None
        if report.outcomes:  # an adapter that does not act asked nothing
            marks = read_marks(staged.path, identity)
            entry = ledger.append(
                time=when,
                by="promote",
                profile=question.profile,
                opened=_is_open(report),
                marks=marks,
                suites=count_suites(question.asked) | opened,
            )
            attempts = count_consultations(ledger.read(), marks, profile, report.metrics)
            report = replace(report, notes=(*report.notes, show_consultations(attempts)))
            settings.append(Setting(ATTEMPTS, entry.seal.removeprefix("sha256:"), {"count": str(entry.number)}))
        notes = []
        evidence = EVIDENCE.get(spec.name, "server")
        if evidence != "bytes":
            notes.append(f"Evidence is {evidence!r}: nothing ties these replies to the adapter's bytes.")
        if signer is None:
            notes.append("UNSIGNED: the receipt has no signature, as asked.")
        notes += _check_anchor(ledger, registry, champion)
        done = Promotion(report, staged.digest, alias, tuple(notes), champion=beside, base=base, attempts=attempts)
        if not _is_open(report):
            return done
        statement = build_statement(staged.files, report, settings, liveness=liveness, evidence=evidence, time=when)
        receipt = seal_statement(statement, signer)
        state = registry.promote(staged, receipt, alias, who=who, when=when, rival=champion)
    return replace(done, receipt=receipt, state=state)


def verify_adapter(
    adapter: Path,
    data: bytes,
    *,
    trusted: Sequence[SSlibKey] | None,
    gate: Path,
    cases: Path,
    profile: str = PROFILE,
    base: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Verification:
    """Compare a receipt with an adapter, with bars, cases, prompt and toolset at hand, and with the base where it is.

    ``files`` are the adapter's hashes where they have just been taken.

    Raises:
        SetupError: adapter, cases or bars are not there at all.
    """
    for path in (gate, cases):
        if not path.exists():
            raise SetupError(f"Nothing to compare with at {path}. Give --gate FILE and --cases PATH.")
    try:
        question = load_question(gate, cases, profile)
    except ToolgateError as error:
        # What cannot be read is not what was sealed; the rest is compared all the same.
        found = verify(adapter, data, trusted=trusted, profile=profile, packages=package_versions(), files=files)
        return replace(found, differing=(*found.differing, f"configuration: {error}"))
    found = verify(
        adapter,
        data,
        trusted=trusted,
        settings=question.settings,
        tests=question.tests,
        profile=profile,
        packages=package_versions(),
        files=files,
    )
    if found.receipt is None:
        return found
    differing, notes = _compare_base(adapter, found.receipt, base)
    return replace(found, differing=(*found.differing, *differing), notes=(*found.notes, *notes))


def find_receipt(
    name: str, registry: FolderRegistry, file: Path | None = None, profile: str = PROFILE
) -> tuple[Path, bytes, dict[str, str] | None]:
    """The folder of an adapter, the bytes of the receipt to compare it with, and the hashes of its files if taken.

    ``name`` is a folder, or an alias of the registry where no such folder is. Without ``file`` the registry's receipt
    is taken: that of these bytes, else the one that fits best.

    Raises:
        SetupError: there is no such adapter, registry or file.
        DataError: the registry is damaged, or holds no receipt.
    """
    folder, receipt, files = Path(name), None, None
    if not folder.exists() and name in ALIASES:
        entry = registry.read().aliases.get(name)
        if entry is None:
            raise SetupError(f"{registry.root} has no {name}. Promote an adapter, or give a folder.")
        folder, receipt = registry.adapter_path(entry.adapter), registry.read_receipt(entry.receipt)
    if file is not None:
        try:
            return folder, file.read_bytes(), None
        except OSError as error:
            raise SetupError(f"Cannot read the receipt {file}: {error.strerror}. Give a file of promote.") from None
    if receipt is None:
        if not registry.root.is_dir():
            raise SetupError(f"No registry at {registry.root}. Give --registry DIR, or --receipt FILE.")
        files = hash_folder(folder)
        receipt = registry.find_receipt(files, profile)
    if receipt is None:
        raise DataError(f"{registry.root} holds no receipt: nothing was ever promoted there.")
    return folder, receipt.data, files


def roll_back(
    registry: FolderRegistry, *, trusted: Sequence[SSlibKey] | None, who: str, when: str
) -> tuple[State, str]:
    """Move champion back; the new state, and the key id that signed its receipt (empty when unsigned).

    ``trusted`` None accepts an unsigned receipt.

    Raises:
        SetupError: there is no previous champion.
        DataError: its receipt has no trusted signature, or its files were changed.
    """
    entry = registry.read().aliases.get("previous")
    signer = ""
    if entry is not None and trusted is not None:
        signer = find_signer(registry.read_receipt(entry.receipt), trusted)
        if not signer:
            raise DataError("The previous champion's receipt is unsigned. Give --unsigned to accept it.")
    return registry.rollback(who=who, when=when, expected=entry), signer


def describe_target(target: LazyTarget) -> list[Setting]:
    """Base, target and packages, as a receipt states them."""
    return [
        _describe_base(target.identity),
        describe_facts("target", target.identity),
        describe_facts("packages", package_versions()),
    ]


def package_versions() -> dict[str, str]:
    """Versions of what decides replies and numbers; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _measure(
    target: LazyTarget, question: Question, store: ReplyStore, on_progress: runner.OnProgress
) -> tuple[Report, dict[str, object]]:
    cases, asking = question.asked, (target, question.prompt, store, question.decoding)
    reasons: list[str] = []
    notes: list[str] = []
    latencies = retention = None
    # Before any score: what does not act is not measured.
    alive = runner.prove_adapter_acts(cases, *asking, on_progress=on_progress) if cases else None
    if alive is None:
        reasons.append("liveness: the base model alone cannot be asked, so nothing shows that the adapter acts.")
        liveness: dict[str, object] = {"probes": 0, "differing": 0}
    else:
        reasons += alive.reasons
        notes.append(f"The adapter changes {alive.differing} of {alive.probes} probe replies.")
        liveness = {"probes": alive.probes, "differing": alive.differing}
    outcomes = [] if reasons else runner.run_cases(cases, *asking, on_progress=on_progress)
    general = [case for case in cases if case.suite == GENERAL_SUITE]
    if outcomes:
        try:
            if LATENCY in question.gate.profile(question.profile).metrics:
                latencies = runner.measure_latency(cases, *asking, on_progress=on_progress)
            kept = runner.measure_retention(general, *asking, on_progress=on_progress) if general else None
            retention = count_rate(kept.kept, kept.total) if kept else None
        except TargetError as error:
            reasons.append(f"a request failed: {error}")
    metrics = compute_metrics(outcomes, latencies=latencies, adapter_bytes=target.adapter_bytes, retention=retention)
    decision = decide([case.id for case in cases], outcomes, metrics, question.gate.profile(question.profile))
    decision = replace(decision, reasons=(*reasons, *decision.reasons))
    about = {"profile": question.profile, **target.identity}
    report = Report(metrics, outcomes, {case.id: case for case in cases}, decision, about, tuple(notes))
    return report, liveness


def _is_open(report: Report) -> bool:
    return report.decision is not None and report.decision.open


def _refuse(report: Report, reasons: Sequence[str], rows: Sequence[MetricRow] = ()) -> Report:
    """The report with further reasons and rows."""
    decision = report.decision
    assert decision is not None
    return replace(
        report,
        decision=Decision(decision.profile, (*decision.reasons, *reasons), (*decision.rows, *rows)),
    )


def _compare_with_base(
    report: Report, target: LazyTarget, question: Question, store: ReplyStore, on_progress: runner.OnProgress
) -> tuple[Report, Comparison | None]:
    """The base alone on the same cases, for the reader: what the adapter taught, and what it cost."""
    base = target.without_adapter()
    if base is None:
        return report, None
    with base:
        outcomes = runner.run_cases(
            question.asked, base, question.prompt, store, question.decoding, on_progress=on_progress
        )
    if all(outcome.verdict is Verdict.ERROR for outcome in outcomes):
        return replace(report, notes=(*report.notes, "Base: it answered no case, so it was not compared.")), None
    found = compare_outcomes(outcomes, report.outcomes)
    kept = report.metrics.rates["general_retention"]
    line = show_comparison(found, "Against the base")[0]
    return replace(report, notes=(*report.notes, f"{line}; retention {kept.k}/{kept.n}")), found


def _compare_with_champion(
    report: Report,
    spec: TargetSpec,
    champion: Entry | None,
    candidate: str,
    registry: FolderRegistry,
    question: Question,
    store: ReplyStore,
    on_progress: runner.OnProgress,
    rivals: Rivals,
) -> tuple[Report, Comparison | None, list[Setting]]:
    """The champion on the same cases; the report with flips and reasons, and what the receipt says of it.

    Where the profile sets limits, a champion that cannot be asked closes the gate.
    """
    if champion is None:
        return replace(report, notes=(*report.notes, "Champion: there is none yet to compare with.")), None, []
    if champion.adapter == candidate:
        return replace(report, notes=(*report.notes, "Champion: it is this adapter.")), None, []
    limits = question.gate.profile(question.profile).max_regressions
    try:
        outcomes = _ask_champion(spec, champion, registry, question, store, on_progress, rivals)
        found = compare_outcomes(outcomes, report.outcomes)
    except (SetupError, TargetError) as error:
        line = f"champion: not compared: {error}"
        if limits:
            return _refuse(report, [line]), None, []
        return replace(report, notes=(*report.notes, line)), None, []
    report = replace(report, notes=(*report.notes, *show_comparison(found, "Against the champion")))
    facts = {"fixed": len(found.fixed), "broken": len(found.broken), "p": f"{found.p:.4g}"}
    about = {name: str(value) for name, value in facts.items()}
    setting = Setting(CHAMPION, champion.adapter.removeprefix("sha256:"), about)
    return _refuse(report, judge_regressions(found, limits)), found, [setting]


def _ask_champion(
    spec: TargetSpec,
    champion: Entry,
    registry: FolderRegistry,
    question: Question,
    store: ReplyStore,
    on_progress: runner.OnProgress,
    rivals: Rivals,
) -> list[Outcome]:
    path = registry.check_entry(champion)
    local = EVIDENCE.get(spec.name) == "bytes"
    if not local and not rivals.options:
        raise SetupError(
            f"target {spec.name!r} does not load it from its bytes. Give --champion-replies FILE or --champion-option."
        )
    base = rivals.base or spec.base
    rival = replace(spec, adapter=path, base=base, options={**spec.options, **rivals.options})
    with LazyTarget(rival) as target:
        sealed = registry.read_receipt(champion.receipt).settings.get(BASE)
        found = _describe_base(target.identity)
        if local and sealed is not None and sealed.digest != found.digest:
            raise SetupError(
                f"it was measured on the base {_show(sealed)}, and here is {_show(found)}. Give --champion-base."
            )
        return runner.run_cases(
            question.asked, target, question.prompt, store, question.decoding, on_progress=on_progress
        )


def _open_sealed(question: Question, path: Path | None) -> list[Case]:
    """The cases of the profile's sealed suite, after comparing them with its digest and proving them; none without one.

    Messages name no case: what they say may stand in a log.

    Raises:
        SetupError: the suite is not given, or given where none is asked for.
        DataError: the cases are not those of the digest, do not prove themselves, or are asked in the open as well.
    """
    sealed = question.gate.profile(question.profile).sealed
    if sealed is None:
        if path is not None:
            raise SetupError(
                f"Profile {question.profile} names no sealed suite. Give gate.toml its digest (seal CASES)."
            )
        return []
    if path is None:
        raise SetupError(
            f"Profile {question.profile} has a sealed suite. Give --sealed PATH; its cases are kept elsewhere."
        )
    if not path.exists():
        raise SetupError(f"No sealed cases at {path}. Give --sealed PATH with a case file, or a folder of them.")
    try:
        cases = load_cases(path)
    except DataError:
        raise DataError(f"{path}: a line is no case. Run pytest evals/ --cases there to see which.") from None
    digest = digest_cases(cases)
    if digest != sealed.digest:
        raise DataError(
            f"{path} does not hold the sealed suite: gate.toml says {sealed.digest[:19]}…, found {digest[:19]}…. "
            "Restore it, or record the new digest and rotate (docs/attempts.md)."
        )
    known, asked = {case.id for case in question.cases}, {case.messages[-1]["content"] for case in question.cases}
    told = sum(case.id in known or case.messages[-1]["content"] in asked for case in cases)
    if told:
        raise DataError(f"{path}: {told} sealed cases have an id or a question of the open suites. Replace them.")
    toolset = question.prompt.toolset
    problems = [line for case in cases for line in prove_case(case, toolset)] + prove_suite(cases, toolset)
    if problems:
        raise DataError(f"{path}: {len(problems)} problems with sealed cases. Run pytest evals/ --cases there.")
    return cases


def _ask_sealed(
    report: Report,
    target: LazyTarget,
    question: Question,
    sealed: Sealed,
    cases: Sequence[Case],
    on_progress: runner.OnProgress,
) -> Report:
    """The report with the rows of the sealed suite; its replies are kept nowhere."""
    with tempfile.TemporaryDirectory(prefix="toolgate-") as folder:
        outcomes = runner.run_cases(
            cases, target, question.prompt, ReplyStore(Path(folder)), question.decoding, on_progress=on_progress
        )
    profile = Profile(question.profile, sealed.metrics, {}, min_cases=sealed.min_cases)
    decision = decide([case.id for case in cases], outcomes, compute_metrics(outcomes), profile, has_adapter=False)
    rows = [
        replace(row, reading=f"{row.reading} sealed".strip(), reason=row.reason and f"sealed suite: {row.reason}")
        for row in decision.rows
    ]
    about_rows = {row.reason for row in decision.rows}
    # Reasons about cases name them; here they only say that there are some.
    failed = sum(outcome.verdict is Verdict.ERROR for outcome in outcomes)
    reasons = [row.reason for row in rows if row.reason]
    if failed:
        reasons.insert(0, f"sealed suite: {failed} of {len(cases)} cases were not measured.")
    elif any(reason not in about_rows for reason in decision.reasons):
        reasons.insert(0, f"sealed suite: {len(cases)} cases are too few: gate.toml asks for {sealed.min_cases}.")
    return _refuse(report, reasons, rows)


def _check_anchor(ledger: Ledger, registry: FolderRegistry, champion: Entry | None) -> list[str]:
    """A note where this ledger does not hold the attempts that led to the champion."""
    if champion is None:
        return []
    recorded = registry.read_receipt(champion.receipt).settings.get(ATTEMPTS)
    if recorded is None or ledger.holds(f"sha256:{recorded.digest}"):
        return []
    return [
        f"{ledger.path} does not hold the attempts that the champion's receipt counted "
        f"({recorded.facts.get('count', '?')}): it was cut, or is another ledger."
    ]


def _compare_base(adapter: Path, receipt: Receipt, base: str | None) -> tuple[list[str], list[str]]:
    sealed = receipt.settings.get(BASE)
    if sealed is None:
        return ["base: missing from the receipt"], []
    if receipt.about["target"] != "local" and base is None:
        return [], [f"the base was not compared: target {receipt.about['target']!r} does not show its bytes"]
    try:
        spec = check_spec(TargetSpec("local", adapter, base))
        # Without the adapter, whose bytes are compared already: identifying would hash them again.
        found = _describe_base(target_class("local").identify(replace(spec, adapter=None)))
    except ToolgateError as error:
        if base is not None:
            return [f"base: {error}"], []
        return [], [f"the base was not compared: {error}"]
    if found.digest == sealed.digest:
        return [], []
    return [f"base: changed; sealed as {_show(sealed)}, found {_show(found)}"], []


def _describe_base(identity: Mapping[str, str]) -> Setting:
    base = identity.get(BASE, "not known to the target")
    if base.startswith("sha256:"):
        return Setting(BASE, base.removeprefix("sha256:"))
    return describe_facts(BASE, {"name": base})


def _show(setting: Setting) -> str:
    return setting.facts.get("name") or f"sha256:{setting.digest[:12]}…"
