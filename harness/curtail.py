"""A run that stops when it is lost: for looking, never for a receipt.

Covers: the order in which cases are asked (past failures first, then cheap suites), asking in small groups, stopping as
soon as nothing that is left could still open the gate.
Does not cover: an early "open": a gate opens on what was measured, so a run that could still pass asks every case. What
was not asked stays unmeasured, which keeps the gate closed in every other place too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ToolgateError
from harness.gate import Profile, find_lost
from harness.prompt import PromptSpec
from harness.runner import OnProgress, Progress, read_run, run_cases
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget
from harness.types import Case, Outcome, Verdict

GROUP = 16  # cases asked between two looks: the batch of a local model; all of a lost one's are asked
RUNS = 20  # of past runs the newest are read


@dataclass(frozen=True, slots=True)
class Curtailed:
    """How far a run came. ``reasons`` are empty when every case was asked."""

    outcomes: tuple[Outcome, ...]  # in the order of the cases given
    asked: int
    total: int
    reasons: tuple[str, ...]

    @property
    def stopped(self) -> bool:
        """True when cases were left out."""
        return self.asked < self.total


def run_curtailed(
    cases: Sequence[Case],
    target: LazyTarget,
    prompt: PromptSpec,
    store: ReplyStore,
    decoding: Decoding,
    *,
    profile: Profile,
    failures: Mapping[str, int] | None = None,
    group: int = GROUP,
    on_progress: OnProgress | None = None,
) -> Curtailed:
    """Ask the cases in ``order_cases`` order until all are asked or the gate of the profile can open no more.

    ``failures`` are those of ``count_failures``.

    Raises:
        SetupError, StoreError: as ``run_cases``.
    """
    left = order_cases(cases, failures or {})
    outcomes: dict[str, Outcome] = {}
    reasons: list[str] = find_lost([], left, profile, target.adapter_bytes)
    while left and not reasons:
        now, left = left[:group], left[group:]
        for outcome in run_cases(now, target, prompt, store, decoding):
            outcomes[outcome.case_id] = outcome
        if on_progress is not None:
            on_progress(Progress("generating", len(outcomes), len(cases)))
        reasons = find_lost(list(outcomes.values()), left, profile, target.adapter_bytes)
    if reasons and left:
        reasons.insert(0, f"curtailed: stopped after {len(outcomes)} of {len(cases)} cases, since the gate cannot open")
    found = tuple(outcomes[case.id] for case in cases if case.id in outcomes)
    return Curtailed(found, len(outcomes), len(cases), tuple(reasons) if left else ())


def order_cases(cases: Sequence[Case], failures: Mapping[str, int]) -> list[Case]:
    """Cases that failed most often first; among equals those of the suite with the shortest conversations."""
    sizes: dict[str, list[int]] = {}
    for case in cases:
        sizes.setdefault(case.suite, []).append(sum(len(message["content"]) for message in case.messages))
    cost = {suite: sum(lengths) / len(lengths) for suite, lengths in sizes.items()}
    return sorted(cases, key=lambda case: (-failures.get(case.id, 0), cost[case.suite]))


def count_failures(runs: Path, newest: int = RUNS) -> dict[str, int]:
    """How often each case was answered wrong in the newest finished runs of a folder; broken runs are left out."""
    found: Counter[str] = Counter()
    folders = sorted(_folders(runs), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for folder in folders[:newest]:
        try:
            run = read_run(folder)
        except ToolgateError:  # a run that was killed or edited only loses its say in the order
            continue
        found.update(outcome.case_id for outcome in run.outcomes if outcome.verdict is Verdict.WRONG)
    return dict(found)


def _folders(runs: Path) -> Iterable[Path]:
    return [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
