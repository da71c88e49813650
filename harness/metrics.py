"""From outcomes to counted rates with exact bounds.

Covers: the metric table, exact one-sided Clopper-Pearson bounds, Wilson intervals, exact McNemar, quantiles of
latency with a distribution-free bound, precision and recall per tool, confusion.
Does not cover: what a number means for a release (gate). Outcomes are taken as independent; several calls of one case
and paraphrases of one prompt are not quite, so the bounds of argument_accuracy are a little too narrow.

An outcome with verdict ``error`` was not measured: it is counted in ``errors`` and is part of no rate.
A rate of nothing has neither value nor bound: None, never 0 or 1.

| rate | k | n |
|---|---|---|
| tool_selection | tools right, as a multiset | cases that expect calls, all suites |
| json_validity | replies of kind call | replies that attempt a call (call or malformed) |
| disambiguation | tools right | cases in pairs |
| disambiguation_pairs | tools right in both | pairs measured as a whole |
| no_tool_recall | plain replies that are not empty | no-tool cases |
| no_tool_precision | of them those where no tool is right | replies without a call |
| argument_accuracy | expected calls that came with accepted arguments | scored calls that cases expect |
| schema_validity | replies whose calls all fit their schema | replies of kind call |
| general_retention | of them those the adapter answers so too | general cases the base answers in plain text |

An empty reply is silence: in no_tool_recall it is no answer, in no_tool_precision a reply without a call that is not
rightly so. A call missed, malformed or of another tool counts against argument_accuracy: its denominator is what the
cases ask for, not what the model happened to try.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.types import ErrorType, Outcome, ReplyKind, Verdict

CONFIDENCE = 0.95
LATENCY_QUANTILE = 0.95
RATES = (
    "tool_selection",
    "json_validity",
    "disambiguation",
    "disambiguation_pairs",
    "no_tool_recall",
    "no_tool_precision",
    "argument_accuracy",
    "schema_validity",
    "general_retention",
)
GENERAL_SUITE = "general"
NO_CALL, EMPTY, UNREADABLE = "(no call)", "(empty)", "(malformed)"  # what stands in the confusion beside tool names


@dataclass(frozen=True, slots=True)
class Rate:
    """k of n, with the exact one-sided 95 % lower bound; value and bound are None when n is 0."""

    k: int
    n: int
    value: float | None
    lower: float | None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds per reply: order statistics, and an upper bound of the 95th percentile that assumes no distribution."""

    n: int
    p50: float
    p95: float
    p95_upper: float | None  # None when there are too few measurements for a bound
    ranked: tuple[float, ...] = ()  # all measurements, ascending

    def under(self, seconds: float) -> int:
        """How many replies took less than this."""
        return bisect_left(self.ranked, seconds)


@dataclass(frozen=True, slots=True)
class ToolRates:
    """How one tool fares: of its calls those expected, of the expected those called."""

    precision: Rate
    recall: Rate


@dataclass(frozen=True, slots=True)
class Metrics:
    """All numbers of one run.

    ``confusion[expected][called]`` counts calls; ``errors`` counts outcomes per error type, of which target_error is
    the one that is not measured.
    """

    rates: Mapping[str, Rate]
    latency: Quantiles | None
    adapter_bytes: int | None
    per_tool: Mapping[str, ToolRates] = field(default_factory=dict)
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    total: int = 0
    right: int = 0
    measured: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values in a fixed order for a file; without latency, which is not the same twice."""
        return {
            "total": self.total,
            "measured": self.measured,
            "right": self.right,
            "adapter_bytes": self.adapter_bytes,
            "rates": {name: _rate_dict(rate) for name, rate in self.rates.items()},
            "per_tool": {
                name: {"precision": _rate_dict(tool.precision), "recall": _rate_dict(tool.recall)}
                for name, tool in self.per_tool.items()
            },
            "confusion": {expected: dict(row) for expected, row in self.confusion.items()},
            "errors": dict(self.errors),
        }


def clopper_pearson_lower(k: int, n: int, confidence: float = CONFIDENCE) -> float | None:
    """Exact one-sided lower bound of a proportion: the p at which k or more of n has probability 1 - confidence.

    It is the (1 - confidence) quantile of Beta(k, n - k + 1); 0.0 for k = 0 and None for n = 0.
    Clopper & Pearson, Biometrika 26 (1934) 404-413.

    Raises:
        ValueError: k or n is no count, k is greater than n, or confidence is not between 0 and 1.
    """
    _check_counts(k, n, confidence)
    if n == 0:
        return None
    if k == 0:
        return 0.0
    from scipy.special import betaincinv  # scipy.stats gives the same and takes a second to import

    return float(betaincinv(k, n - k + 1, 1 - confidence))


def wilson(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float] | tuple[None, None]:
    """Two-sided score interval of a proportion as (low, high); (None, None) for n = 0.

    Unlike the mean +- 1.96 standard errors it has a width at 0 and 1. Wilson, JASA 22 (1927) 209-212.

    Raises:
        ValueError: k or n is no count, k is greater than n, or confidence is not between 0 and 1.
    """
    _check_counts(k, n, confidence)
    if n == 0:
        return None, None
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    p = k / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the formula is exact in theory; rounding would leave 1e-17 there.
    return 0.0 if k == 0 else (centre - half) / scale, 1.0 if k == n else (centre + half) / scale


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided p-value for b cases right only before and c right only after, against an even chance; 1.0 for none.

    McNemar, Psychometrika 12 (1947) 153-157, with the exact binomial distribution in place of the chi-square.

    Raises:
        ValueError: b or c is no count.
    """
    _check_counts(b, b + c, CONFIDENCE)
    if b + c == 0:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5)))


def count_rate(k: int, n: int) -> Rate:
    """A Rate of k in n with its exact bound."""
    return Rate(k, n, k / n if n else None, clopper_pearson_lower(k, n))


def find_quantiles(seconds: Sequence[float]) -> Quantiles | None:
    """Median, 95th percentile (nearest rank) and its distribution-free upper bound; None without measurements.

    The r-th smallest of n is an upper bound of the q-quantile with probability P(Binomial(n, q) < r) (David & Nagaraja,
    Order Statistics, 2003, section 7.1); the least r that reaches 95 % is taken. It exists from n = 59 on.

    Raises:
        ValueError: a measurement is negative or not a finite number.
    """
    if any(not math.isfinite(s) or s < 0 for s in seconds):
        raise ValueError("Latencies must be finite numbers of seconds, 0 or greater.")
    if not seconds:
        return None
    from scipy.special import bdtr

    ranked = sorted(map(float, seconds))
    n = len(ranked)
    # P(Binomial(n, q) < r) = bdtr(r - 1, n, q); ranks below q * n cannot reach 95 %, so the search starts there.
    first = max(1, math.floor(LATENCY_QUANTILE * n))
    rank = next((r for r in range(first, n + 1) if bdtr(r - 1, n, LATENCY_QUANTILE) >= CONFIDENCE), None)
    return Quantiles(
        n=n,
        p50=ranked[_nearest_rank(0.5, n) - 1],
        p95=ranked[_nearest_rank(LATENCY_QUANTILE, n) - 1],
        p95_upper=None if rank is None else ranked[rank - 1],
        ranked=tuple(ranked),
    )


def compute_retention(base: Iterable[Outcome], adapter: Iterable[Outcome], suite: str = GENERAL_SUITE) -> Rate:
    """Of the general cases that the base model answers rightly (plain, not empty), those that the adapter also does.

    A case that either run did not measure is left out.
    """
    kept = {
        o.case_id: o.verdict is Verdict.RIGHT for o in adapter if o.suite == suite and o.verdict is not Verdict.ERROR
    }
    known = [o.case_id for o in base if o.suite == suite and o.verdict is Verdict.RIGHT and o.case_id in kept]
    return count_rate(sum(kept[case_id] for case_id in known), len(known))


def compute_metrics(
    outcomes: Iterable[Outcome],
    *,
    latencies: Sequence[float] | None = None,
    adapter_bytes: int | None = None,
    retention: Rate | None = None,
) -> Metrics:
    """All numbers of a run; the table at the top of this module says what is counted.

    ``expected`` of an outcome is the alternative that fits best, so a case that accepts a call as well as none counts
    where its reply put it.

    Raises:
        ValueError: a latency is negative or not a finite number.
    """
    everything = list(outcomes)
    measured = [o for o in everything if o.verdict is not Verdict.ERROR]
    per_tool, confusion = _count_tools(measured)
    errors = Counter(o.error_type.value for o in everything if o.error_type is not None)
    return Metrics(
        rates=_count_rates(measured, retention),
        latency=find_quantiles(latencies or ()),
        adapter_bytes=adapter_bytes,
        per_tool=per_tool,
        confusion=confusion,
        errors={kind.value: errors[kind.value] for kind in ErrorType if errors[kind.value]},
        total=len(everything),
        right=sum(o.verdict is Verdict.RIGHT for o in measured),
        measured=len(measured),
    )


def _count_rates(measured: Sequence[Outcome], retention: Rate | None) -> dict[str, Rate]:
    with_calls = [o for o in measured if o.expected]
    without_tool = [o for o in measured if not o.expected]
    paired = [o for o in measured if o.pair is not None]
    pairs: dict[tuple[str, str | None], list[bool]] = {}
    for o in paired:
        pairs.setdefault((o.suite, o.pair), []).append(o.tools_right)
    whole = [both for both in pairs.values() if len(both) == 2]
    silent = [o for o in measured if o.kind is ReplyKind.NONE]
    called = sum(o.kind is ReplyKind.CALL for o in measured)
    broken = sum(o.kind is ReplyKind.MALFORMED for o in measured)
    checked = [o.schema_valid for o in measured if o.schema_valid is not None]
    # tools_right of a no-tool case says: plain text, and not empty.
    plain = sum(o.tools_right for o in without_tool)
    rates = {
        "tool_selection": count_rate(sum(o.tools_right for o in with_calls), len(with_calls)),
        "json_validity": count_rate(called, called + broken),
        "disambiguation": count_rate(sum(o.tools_right for o in paired), len(paired)),
        "disambiguation_pairs": count_rate(sum(all(both) for both in whole), len(whole)),
        "no_tool_recall": count_rate(plain, len(without_tool)),
        "no_tool_precision": count_rate(plain, len(silent)),
        "argument_accuracy": count_rate(
            sum(o.arguments_right for o in with_calls), sum(o.arguments_total for o in with_calls)
        ),
        "schema_validity": count_rate(sum(checked), len(checked)),
        "general_retention": retention or count_rate(0, 0),
    }
    return {name: rates[name] for name in RATES}


def _count_tools(measured: Sequence[Outcome]) -> tuple[dict[str, ToolRates], dict[str, dict[str, int]]]:
    matched: Counter[str] = Counter()
    expected_calls: Counter[str] = Counter()
    made_calls: Counter[str] = Counter()
    cells: Counter[tuple[str, str]] = Counter()
    for o in measured:
        wanted, called = Counter(o.expected), Counter(o.called)
        both = wanted & called
        matched += both
        expected_calls += wanted
        made_calls += called
        cells.update((tool, tool) for tool in both.elements())
        instead = _stand_in(o)
        missing, extra = list((wanted - called).elements()), list((called - wanted).elements())
        if not o.expected and not o.called:
            cells[NO_CALL, instead] += 1
        # Which wrong call came in place of which missing one is not known; they are paired in their order.
        for i in range(max(len(missing), len(extra))):
            cells[missing[i] if i < len(missing) else NO_CALL, extra[i] if i < len(extra) else instead] += 1
    tools = sorted(expected_calls.keys() | made_calls.keys())
    per_tool = {
        tool: ToolRates(
            precision=count_rate(matched[tool], made_calls[tool]),
            recall=count_rate(matched[tool], expected_calls[tool]),
        )
        for tool in tools
    }
    confusion: dict[str, dict[str, int]] = {}
    for (expected, called_tool), count in sorted(cells.items()):
        confusion.setdefault(expected, {})[called_tool] = count
    return per_tool, confusion


def _stand_in(outcome: Outcome) -> str:
    if outcome.kind is ReplyKind.MALFORMED:
        return UNREADABLE
    return EMPTY if outcome.error_type is ErrorType.EMPTY_REPLY else NO_CALL


def _nearest_rank(quantile: float, n: int) -> int:
    return max(1, math.ceil(round(quantile * n, 9)))  # rounded, since 0.95 * 20 is not 19 in floating point everywhere


def _rate_dict(rate: Rate) -> dict[str, Any]:
    return {"k": rate.k, "n": rate.n, "value": rate.value, "lower": rate.lower}


def _check_counts(k: int, n: int, confidence: float) -> None:
    for name, count in (("k", k), ("n", n)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"{name} = {count!r} is not a count. Expected an integer, 0 or greater.")
    if k > n:
        raise ValueError(f"k = {k} is greater than n = {n}. Expected k right ones among n.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence!r} is not between 0 and 1. Usual is 0.95.")
