"""Cases x target -> outcomes, through the store.

Covers: generating each missing reply once (also among many processes), scoring, retention against the base model,
proof that the adapter acts, latency and where it was measured, writing and reading a run's folder.
Does not cover: verdicts about a run (gate), tables (report), which cases are asked (cases, plugin, cli).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from harness.errors import DataError, SetupError, TargetError
from harness.parsing import parse_reply
from harness.prompt import PromptSpec
from harness.scoring import score_reply, target_error
from harness.store import ReplyStore, StoredReply, request_key, write_file
from harness.targets import Completion, Decoding, LazyTarget, Prompt
from harness.types import Case, ErrorType, Outcome, ReplyKind, Verdict

LATENCY_SAMPLE = 64  # the smallest n whose p95 has a distribution-free 95 % upper bound is 59
WARM_UP = 3
PROBES = 8
MANIFEST = "manifest.json"
OUTCOMES = "outcomes.jsonl"
LATENCY_FILE = "latency.json"
CPU_INFO = Path("/proc/cpuinfo")

Answer = StoredReply | TargetError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is. ``waiting``: replies are missing and another process may be generating them."""

    phase: Literal["waiting", "loading", "generating", "timing"]
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def _silent(progress: Progress) -> None:
    pass


def build_prompts(cases: Sequence[Case], prompt: PromptSpec) -> list[Prompt]:
    """What each case's target is asked."""
    prompts = []
    for case in cases:
        messages = tuple(prompt.messages(case.messages, case.now))
        prompts.append(Prompt(messages, prompt.render(case.messages, case.now), case.id))
    return prompts


def run_cases(
    cases: Sequence[Case],
    target: LazyTarget,
    prompt: PromptSpec,
    store: ReplyStore,
    decoding: Decoding,
    *,
    on_progress: OnProgress = _silent,
) -> list[Outcome]:
    """One outcome per case, in the order of the cases.

    The target is loaded only when the store lacks a reply. A case whose target failed is an error: not measured.

    Raises:
        SetupError: the target cannot be loaded.
        StoreError: a reply cannot be read or kept.
    """
    answers = answer_prompts(build_prompts(cases, prompt), target, store, decoding, on_progress=on_progress)
    return [score_answer(case, answer, prompt) for case, answer in zip(cases, answers, strict=True)]


def score_answer(case: Case, answer: Answer, prompt: PromptSpec) -> Outcome:
    """The outcome of one case."""
    if isinstance(answer, TargetError):
        return target_error(case, str(answer))
    reply = parse_reply(answer.text)
    return score_reply(case, reply, prompt.toolset, text=answer.text, truncated=answer.truncated)


def answer_prompts(
    prompts: Sequence[Prompt],
    target: LazyTarget,
    store: ReplyStore,
    decoding: Decoding,
    *,
    on_progress: OnProgress = _silent,
) -> list[Answer]:
    """One answer per prompt, from the store or generated now.

    Generation happens under the store's lock: of several processes that miss the same replies one generates, the
    others wait and read. Each reply is kept the moment it is known, so a killed run goes on where it stopped.
    """
    if not target.remember:
        return _generate_all(prompts, target, decoding, on_progress)
    keys = [request_key(target.identity, p.messages, p.text, asdict(decoding)) for p in prompts]
    answers: dict[str, Answer] = {}
    if _missing(keys, store, answers):
        on_progress(Progress("waiting", len(answers), len(set(keys))))
        with store.lock():
            missing = _missing(keys, store, answers)
            if missing:
                _generate_missing(missing, keys, prompts, answers, target, store, decoding, on_progress)
    return [answers[key] for key in keys]


def _missing(keys: Iterable[str], store: ReplyStore, answers: dict[str, Answer]) -> list[str]:
    missing = []
    for key in dict.fromkeys(keys):
        if key not in answers:
            reply = store.get(key)
            if reply is None:
                missing.append(key)
            else:
                answers[key] = reply
    return missing


def _generate_missing(
    missing: Sequence[str],
    keys: Sequence[str],
    prompts: Sequence[Prompt],
    answers: dict[str, Answer],
    target: LazyTarget,
    store: ReplyStore,
    decoding: Decoding,
    on_progress: OnProgress,
) -> None:
    by_key = dict(zip(reversed(keys), reversed(prompts), strict=True))  # reversed: the first of equal prompts is asked
    total = len(by_key)
    on_progress(Progress("loading", len(answers), total))
    loaded = target.load()
    for index, completion in loaded.generate([by_key[key] for key in missing], decoding):
        answer = _to_answer(completion)
        if isinstance(answer, StoredReply):
            store.put(missing[index], answer)
        answers[missing[index]] = answer
        on_progress(Progress("generating", len(answers), total))
    for key in missing:
        answers.setdefault(key, TargetError(f"Target {target.name!r} gave no answer to this prompt."))


def _generate_all(
    prompts: Sequence[Prompt], target: LazyTarget, decoding: Decoding, on_progress: OnProgress
) -> list[Answer]:
    answers: list[Answer] = [TargetError(f"Target {target.name!r} gave no answer to this prompt.")] * len(prompts)
    for done, (index, completion) in enumerate(target.load().generate(prompts, decoding), 1):
        answers[index] = _to_answer(completion)
        on_progress(Progress("generating", done, len(prompts)))
    return answers


def _to_answer(completion: Completion | TargetError) -> Answer:
    if isinstance(completion, TargetError):
        return completion
    return StoredReply(completion.text, completion.truncated, completion.tokens)


@dataclass(frozen=True, slots=True)
class Retention:
    """Of the general cases that the base model gets right, how many the adapter still gets right."""

    kept: int
    total: int
    lost: tuple[str, ...]  # ids that the base gets right and the adapter does not


def measure_retention(
    cases: Sequence[Case],
    target: LazyTarget,
    prompt: PromptSpec,
    store: ReplyStore,
    decoding: Decoding,
    *,
    on_progress: OnProgress = _silent,
) -> Retention | None:
    """Run the base model beside the adapter on the same cases; None where the base alone cannot be asked.

    Raises:
        TargetError: a case was not measured, so that nothing can be said.
    """
    base = target.without_adapter()
    if base is None:
        return None
    with base:
        before = run_cases(cases, base, prompt, store, decoding, on_progress=on_progress)
    after = run_cases(cases, target, prompt, store, decoding, on_progress=on_progress)
    for outcome in [*before, *after]:
        if outcome.verdict is Verdict.ERROR:
            raise TargetError(f"Retention was not measured: {outcome.case_id}: {outcome.detail}")
    pairs = [
        (a.verdict is Verdict.RIGHT, a.case_id)
        for b, a in zip(before, after, strict=True)
        if b.verdict is Verdict.RIGHT
    ]
    return Retention(sum(right for right, _ in pairs), len(pairs), tuple(i for right, i in pairs if not right))


@dataclass(frozen=True, slots=True)
class Liveness:
    """Does the adapter act? ``reasons`` say why not; empty when it does."""

    probes: int
    differing: int
    reasons: tuple[str, ...]

    @property
    def acts(self) -> bool:
        """True when at least one probe is answered differently with the adapter."""
        return not self.reasons


def prove_adapter_acts(
    cases: Sequence[Case],
    target: LazyTarget,
    prompt: PromptSpec,
    store: ReplyStore,
    decoding: Decoding,
    *,
    on_progress: OnProgress = _silent,
) -> Liveness | None:
    """Ask some cases with and without the adapter; equal replies to all of them mean that it does not act.

    That every tensor lands in the model and that lora_B is not all zero is checked when the target is resolved and
    loaded. None where the base alone cannot be asked.
    """
    base = target.without_adapter()
    if base is None:
        return None
    # Cases that expect calls: there an adapter that acts differs most from a base that never learnt the format.
    probes = sample_cases([c for c in cases if c.expect] or list(cases), PROBES)
    if not probes:
        return Liveness(0, 0, ("no probes: there is no case to ask",))
    prompts = build_prompts(probes, prompt)
    with base:
        before = answer_prompts(prompts, base, store, decoding, on_progress=on_progress)
    after = answer_prompts(prompts, target, store, decoding, on_progress=on_progress)
    failed = [str(answer) for answer in [*before, *after] if isinstance(answer, TargetError)]
    if failed:
        return Liveness(len(probes), 0, (f"a probe was not answered: {failed[0]}",))
    differing = sum(b != a for b, a in zip(before, after, strict=True))
    reasons = () if differing else (f"the adapter changes none of {len(probes)} probe replies: it does not act",)
    return Liveness(len(probes), differing, reasons)


def sample_cases(cases: Iterable[Case], size: int) -> list[Case]:
    """A fixed sample: the cases whose ids have the lowest hashes. Adding a case changes at most one of the sample."""
    return sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).hexdigest())[:size]


def measure_latency(
    cases: Sequence[Case],
    target: LazyTarget,
    prompt: PromptSpec,
    store: ReplyStore,
    decoding: Decoding,
    *,
    size: int = LATENCY_SAMPLE,
    on_progress: OnProgress = _silent,
) -> list[float]:
    """Seconds per reply as a user waits for it: one request at a time, warm, never from the store.

    The sample is fixed by the case ids. Warm-up asks cases beyond the sample where there are any. What all prompts
    share (tools and rules) may be in the target's prefix cache, as a server would hold it. The store is held alone
    meanwhile, so that no other process generates on the same cores.

    Raises:
        TargetError: a request failed; a latency over the requests that worked would flatter the target.
    """
    chosen = sample_cases(cases, size + WARM_UP)
    sample, warm_up = chosen[:size], chosen[size:] or chosen[:1]
    with store.lock():
        loaded = target.load()
        loaded.prepare(build_prompts(chosen, prompt))
        for one in build_prompts(warm_up, prompt):
            loaded.time_one(one, decoding)
        seconds = []
        for done, one in enumerate(build_prompts(sample, prompt), 1):
            seconds.append(loaded.time_one(one, decoding).seconds)
            on_progress(Progress("timing", done, len(sample)))
    return seconds


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency as it was measured once: ``seconds`` per reply, ``measured`` is ISO 8601 with an offset."""

    seconds: tuple[float, ...]
    measured: str
    machine: Mapping[str, str]

    def as_dict(self) -> dict[str, object]:
        """What latency.json says of it beside the numbers."""
        return {"measured": self.measured, "machine": dict(self.machine)}


def describe_machine() -> dict[str, str]:
    """What decides a latency besides the target's digests: this machine, its threads, and the code that answers."""
    system = os.uname()
    model = ""
    if CPU_INFO.is_file():
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    code = b"".join(path.read_bytes() for path in sorted((Path(__file__).parent / "targets").glob("*.py")))
    return {
        "host": system.nodename,
        "system": f"{system.sysname} {system.release} {system.machine}",
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "python": platform.python_version(),
        "code": "sha256:" + hashlib.sha256(code + Path(__file__).read_bytes()).hexdigest(),
    }


def read_timing(folder: Path, machine: Mapping[str, str]) -> Timing | None:
    """What the finished run in a folder measured on this machine; None where there is no such run or measurement.

    The folder's name is to stand for everything else: target, prompt, decoding and cases.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        raw = json.loads((folder / LATENCY_FILE).read_bytes())
        timing = Timing(tuple(map(float, raw["seconds"])), str(raw["measured"]), dict(raw["machine"]))
        dated = datetime.fromisoformat(timing.measured).tzinfo is not None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    usable = dated and timing.seconds and all(math.isfinite(s) and s > 0 for s in timing.seconds)
    return timing if usable and timing.machine == machine else None


def write_run(
    folder: Path,
    outcomes: Sequence[Outcome],
    documents: Mapping[str, object],
    *,
    about: Mapping[str, object],
    varying: Mapping[str, object] | None = None,
) -> Path:
    """Write a run's folder and return the path of its manifest.

    ``documents`` maps file names (metrics.json, summary.md) to a JSON value, a text or bytes; with equal input every
    byte is equal. ``varying`` holds what differs from run to run (latency.json): the manifest names those files
    without their digests. ``about`` is what the run was: identity of the target, digests of cases, prompt, toolset.

    Raises:
        StoreError: a file cannot be written.
    """
    varying = varying or {}
    files = {OUTCOMES: encode_outcomes(outcomes), **{name: _encode(value) for name, value in documents.items()}}
    manifest = folder / MANIFEST
    # The old manifest goes first and the new one comes last: where one stands, the run is complete.
    _remove(manifest)
    for name, data in files.items():
        write_file(folder / name, data)
    for name, value in varying.items():
        write_file(folder / name, _encode(value))
    digests = {name: "sha256:" + hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    body = {"format": 1, "about": dict(about), "files": digests, "varying": sorted(varying)}
    write_file(manifest, _encode(body))
    return manifest


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run as read back."""

    folder: Path
    about: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]


def read_run(folder: Path) -> Run:
    """Read a run's folder back, after comparing each file with the manifest.

    Raises:
        SetupError: there is no finished run.
        DataError: a file is missing or was changed; the message names it.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        about, files = dict(manifest["about"]), dict(manifest["files"])
        if OUTCOMES not in files:
            raise KeyError(OUTCOMES)
    except FileNotFoundError:
        raise SetupError(
            f"No finished run in {folder}: it has no {MANIFEST}. Give a folder written by a run."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / MANIFEST} is not a manifest: {error!r}. Run again into an empty folder.") from None
    contents = {}
    for name, sealed in files.items():
        path = folder / name
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror}. Run again into an empty folder.") from None
        found = "sha256:" + hashlib.sha256(contents[name]).hexdigest()
        if found != sealed:
            raise DataError(f"{path} was changed after the run: {sealed[:19]}… became {found[:19]}…. Run again.")
    return Run(folder, about, tuple(decode_outcomes(contents[OUTCOMES], folder / OUTCOMES)))


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """JSON Lines, one outcome each, in the given order."""
    # Not asdict: it copies every value, which takes longer than writing them.
    names = [field.name for field in fields(Outcome)]
    lines = [json.dumps({name: getattr(outcome, name) for name in names}) for outcome in outcomes]
    return "".join(f"{line}\n" for line in lines).encode()


def decode_outcomes(data: bytes, path: Path) -> list[Outcome]:
    """The outcomes of ``encode_outcomes``; ``path`` is for messages.

    Raises:
        DataError: a line is no outcome; names the line.
    """
    outcomes = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        try:
            row = json.loads(line)
            for name in ("expected", "called", "tags"):
                row[name] = tuple(row[name])
            row["verdict"] = Verdict(row["verdict"])
            row["error_type"] = None if row["error_type"] is None else ErrorType(row["error_type"])
            row["kind"] = None if row["kind"] is None else ReplyKind(row["kind"])
            outcomes.append(Outcome(**row))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: not an outcome: {error}. Run again into an empty folder.") from None
    return outcomes


def _encode(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"Cannot replace {path}: {error.strerror}. Choose another folder with --out DIR.") from None
