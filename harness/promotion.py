"""From an adapter folder to a champion with a receipt, and the check of one against what is at hand.

Covers: measuring a private copy of the adapter on every case of a profile, deciding, the statement, moving the alias;
the configuration that a receipt is compared with.
Does not cover: pytest's report of the same measurement (plugin), keeping files (registry), the statement's form and
signature (attestation).

Replies come from the store where they are there, so a finished run is reused; latency is measured anew, and nothing is
taken from a run's files, which anyone may write.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from harness.cases import load_cases, prove_case, prove_suite
from harness.errors import DataError, SetupError, TargetError, ToolgateError
from harness.gate import LATENCY, Gate, decide, load_gate, select_cases
from harness.metrics import GENERAL_SUITE, compute_metrics, count_rate
from harness.prompt import PromptSpec, load_prompt
from harness.registry import ALIASES, FolderRegistry, State
from harness.report import Report
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget, TargetSpec, check_spec, target_class
from harness.types import Case

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

PACKAGES = ("toolgate", "torch", "transformers", "peft", "tokenizers", "safetensors", "scipy")
EVIDENCE = {"local": "bytes", "replay": "recording"}  # any other target is a server
BASE = "base"


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
        """What a receipt seals of it."""
        return describe_settings(self.gate, self.profile, self.cases, self.prompt, asdict(self.decoding))

    @property
    def tests(self) -> list[str]:
        """The tests that a receipt accounts for."""
        return expected_tests(self.gate, self.profile, self.cases)


@dataclass(frozen=True, slots=True)
class Promotion:
    """How a promotion ended: ``state`` and ``receipt`` are None when the gate was closed."""

    report: Report
    adapter: str
    alias: str
    notes: tuple[str, ...]
    receipt: bytes | None = None
    state: State | None = None


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
    signer: CryptoSigner | None,
    who: str,
    when: str,
    on_progress: runner.OnProgress,
) -> Promotion:
    """Measure an adapter and, when the gate is open, admit it with a receipt and move its alias.

    The release profile moves champion; any other is no permission to release and moves candidate.

    Raises:
        SetupError: what is asked cannot be done.
        DataError: the adapter holds links or misleading names, or changed under our hands.
        StoreError: a reply or the registry cannot be written.
    """
    if spec.adapter is None:
        raise SetupError("Promotion needs an adapter. Give its folder.")
    alias = "champion" if question.profile == PROFILE else "candidate"
    prove_question(question)
    hash_folder(spec.adapter)  # links and misleading names are refused before anything is read through them
    # Resolved where it stands: an adapter may name its base relative to itself, and errors name the caller's path.
    checked = check_spec(spec)
    with registry.stage(spec.adapter) as staged:
        with LazyTarget(replace(checked, adapter=staged.path)) as target:
            report, liveness = _measure(target, question, store, on_progress)
            settings = [*question.settings, *describe_target(target)]
        notes = []
        evidence = EVIDENCE.get(spec.name, "server")
        if evidence != "bytes":
            notes.append(f"Evidence is {evidence!r}: nothing ties these replies to the adapter's bytes.")
        if signer is None:
            notes.append("UNSIGNED: the receipt has no signature, as asked.")
        if report.decision is None or not report.decision.open:
            return Promotion(report, staged.digest, alias, tuple(notes))
        statement = build_statement(staged.files, report, settings, liveness=liveness, evidence=evidence, time=when)
        receipt = seal_statement(statement, signer)
        state = registry.promote(staged, receipt, alias, who=who, when=when)
    return Promotion(report, staged.digest, alias, tuple(notes), receipt, state)


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
