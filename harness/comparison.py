"""Two runs over the same cases: what was fixed, what was broken, and whether chance explains it.

Covers: flips in both directions with their suites, the exact McNemar test, the limits of gate.toml on what a candidate
may break that the champion gets right.
Does not cover: running anything (promotion), reading runs (cli), whether the questions behind equal ids are the same
(cli compares them for runs from files; promotion asks one and the same list).

A flip is a case whose verdict turns from right to wrong or back. Cases that either run did not measure are listed and
are no part of any count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import DataError
from harness.metrics import mcnemar_exact
from harness.types import Outcome, Verdict

ALPHA = 0.05  # two-sided, as in mcnemar_exact
NAMED = 12  # flips that a text spells out; JSON holds all


@dataclass(frozen=True, slots=True)
class Flip:
    """One case that turned. ``before`` and ``after`` are "right" or the type of the error."""

    case: str
    suite: str
    before: str
    after: str
    detail: str  # of the run after


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side. ``suites`` counts the cases in both, by suite."""

    cases: int
    before: int  # right ones
    after: int
    p: float
    fixed: tuple[Flip, ...]
    broken: tuple[Flip, ...]
    left_out: tuple[str, ...]  # in one run only, or not measured
    suites: Mapping[str, int]

    @property
    def worse(self) -> bool:
        """More was broken than fixed, and chance does not explain it."""
        return len(self.broken) > len(self.fixed) and self.p < ALPHA

    def broken_by_suite(self) -> dict[str, list[str]]:
        """The ids of the broken cases of each suite; a suite without any has an empty list."""
        found: dict[str, list[str]] = {suite: [] for suite in self.suites}
        for flip in self.broken:
            found[flip.suite].append(flip.case)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fixed = Counter(flip.suite for flip in self.fixed)
        broken = Counter(flip.suite for flip in self.broken)
        return {
            "cases": self.cases,
            "before": self.before,
            "after": self.after,
            "p": self.p,
            "fixed": [asdict(flip) for flip in self.fixed],
            "broken": [asdict(flip) for flip in self.broken],
            "left_out": list(self.left_out),
            "suites": {
                suite: {"cases": count, "fixed": fixed[suite], "broken": broken[suite]}
                for suite, count in self.suites.items()
            },
        }


def compare_outcomes(before: Iterable[Outcome], after: Iterable[Outcome]) -> Comparison:
    """Compare two runs case by case, by id.

    Raises:
        DataError: they share no measured case, or one of them has an id twice.
    """
    first, second = _by_id(before), _by_id(after)
    shared = [name for name in first if name in second and _measured(first[name]) and _measured(second[name])]
    if not shared:
        raise DataError("The two runs share no measured case. Compare runs over the same cases.")
    fixed = [name for name in shared if _right(second[name]) and not _right(first[name])]
    broken = [name for name in shared if _right(first[name]) and not _right(second[name])]
    return Comparison(
        cases=len(shared),
        before=sum(_right(first[name]) for name in shared),
        after=sum(_right(second[name]) for name in shared),
        p=mcnemar_exact(len(broken), len(fixed)),
        fixed=tuple(_flip(first[name], second[name]) for name in fixed),
        broken=tuple(_flip(first[name], second[name]) for name in broken),
        left_out=tuple(sorted((first.keys() | second.keys()) - set(shared))),
        suites=dict(sorted(Counter(second[name].suite for name in shared).items())),
    )


def judge_regressions(comparison: Comparison, limits: Mapping[str, int]) -> list[str]:
    """Reasons to refuse a candidate beside its champion; empty without limits.

    A suite without a limit is only printed. Beyond the limits, a candidate that is worse in all and not by chance is
    refused, and so is one of which some case could not be compared.
    """
    if not limits:
        return []
    reasons = []
    broken = comparison.broken_by_suite()
    for suite, limit in limits.items():
        ids = broken.get(suite, [])
        if len(ids) > limit:
            reasons.append(
                f"champion: {suite} loses {len(ids)} cases that the champion gets right, at most {limit} may be: "
                f"{_name(ids)}."
            )
    if comparison.worse:
        reasons.append(
            f"champion: {len(comparison.broken)} cases broken and {len(comparison.fixed)} fixed, which chance does not "
            f"explain (exact McNemar p = {comparison.p:.2g})."
        )
    if comparison.left_out:
        reasons.append(f"champion: not compared on {len(comparison.left_out)} cases: {_name(comparison.left_out)}.")
    return reasons


def show_comparison(comparison: Comparison, name: str = "") -> list[str]:
    """The comparison as lines for a person: counts, the test, every flip up to a length."""
    start = f"{name}: " if name else ""
    lines = [
        f"{start}{comparison.cases} cases in both runs, right before {comparison.before}, after {comparison.after}; "
        f"fixed {len(comparison.fixed)}, broken {len(comparison.broken)}, exact McNemar p = {comparison.p:.4g}"
    ]
    for title, flips in (("broken", comparison.broken), ("fixed", comparison.fixed)):
        lines += [f"  {title}: {flip.case}  {flip.before} -> {flip.after}" for flip in flips[:NAMED]]
        if len(flips) > NAMED:
            lines.append(f"  {title}: … and {len(flips) - NAMED} more")
    return lines


def _by_id(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        if outcome.case_id in found:
            raise DataError(f"Case {outcome.case_id} is there twice in one run. Run again.")
        found[outcome.case_id] = outcome
    return found


def _measured(outcome: Outcome) -> bool:
    return outcome.verdict is not Verdict.ERROR


def _right(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.RIGHT


def _flip(before: Outcome, after: Outcome) -> Flip:
    def name(outcome: Outcome) -> str:
        return outcome.error_type.value if outcome.error_type else outcome.verdict.value

    return Flip(after.case_id, after.suite, name(before), name(after), after.detail)


def _name(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
