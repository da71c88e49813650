"""Metrics: published tables of the exact bounds, and what each rate counts."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.metrics import (
    CONFIDENCE,
    LATENCY_QUANTILE,
    NO_CALL,
    RATES,
    UNREADABLE,
    Rate,
    clopper_pearson_lower,
    compute_metrics,
    compute_retention,
    count_rate,
    find_quantiles,
    mcnemar_exact,
    wilson,
)
from harness.types import ErrorType, Outcome, ReplyKind, Verdict

calm = settings(deadline=None)  # the first example pays for importing scipy
numbers = itertools.count()

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("right", "bound", "low"),
    [
        (45, 0.801, 0.786),
        (46, 0.826, 0.812),
        (47, 0.852, 0.838),
        (48, 0.879, 0.865),
        (49, 0.909, 0.895),
        (50, 0.942, 0.929),
    ],
)
def test_bounds_of_fifty_prompts(right, bound, low):
    """One-sided Clopper-Pearson and two-sided Wilson at n = 50, to the three digits that are published."""
    assert bound == round(clopper_pearson_lower(right, 50), 3)
    assert low == round(wilson(right, 50)[0], 3)


@pytest.mark.parametrize(
    ("bar", "fewest"),
    [
        (0.90, [(29, 29), (49, 50), (73, 75), (96, 100), (141, 149), (188, 200), (279, 300), (462, 500), (916, 1000)]),
        (0.95, [(59, 59), (75, 75), (99, 100), (147, 149), (196, 200), (292, 300), (484, 500), (962, 1000)]),
        (0.98, [(149, 149), (200, 200), (299, 300), (397, 400), (496, 500), (988, 1000)]),
    ],
)
def test_fewest_right_that_prove_a_bar(bar, fewest):
    """The least k of n whose bound is above the bar, as tabled; one less does not do."""
    for k, n in fewest:
        assert clopper_pearson_lower(k, n) > bar >= clopper_pearson_lower(k - 1, n)


@calm
@given(counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_bound_is_the_beta_quantile(count, confidence):
    """Clopper-Pearson is the beta quantile; at the bound, k or more has exactly the leftover probability."""
    k, n = count
    bound = clopper_pearson_lower(k, n, confidence)

    if k == 0:
        assert bound == 0.0
        return
    assert bound == pytest.approx(stats.beta.ppf(1 - confidence, k, n - k + 1), rel=1e-9)
    assert stats.binom.sf(k - 1, n, bound) == pytest.approx(1 - confidence, rel=1e-6)
    assert bound < k / n


@calm
@given(counts)
def test_more_right_is_never_a_lower_bound(count):
    """The bound grows with k, and shrinks when the same k is reached of more."""
    k, n = count

    if k > 0:
        assert clopper_pearson_lower(k, n) > clopper_pearson_lower(k, n + 1)
    if k < n:
        assert clopper_pearson_lower(k, n) < clopper_pearson_lower(k + 1, n)


@calm
@given(counts, st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_is_scipys(count, confidence):
    """The score interval equals scipy's, and holds the point."""
    k, n = count
    low, high = wilson(k, n, confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")

    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= k / n <= high <= 1


@calm
@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_is_the_exact_binomial_test(b, c):
    """The p-value is scipy's two-sided binomial test at an even chance, and does not know which model is which."""
    p = mcnemar_exact(b, c)

    assert p == mcnemar_exact(c, b)
    assert p == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0, abs=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(0, 6), (1, 8), (2, 10), (3, 12), (5, 15)])
def test_fewest_gains_that_outweigh_losses(lost, gained):
    """The published two-sided table at 0.05: one gain less is no significant gain."""
    assert mcnemar_exact(lost, gained) < 0.05 <= mcnemar_exact(lost, gained - 1)


@pytest.mark.parametrize("call", [clopper_pearson_lower, wilson, lambda k, n: mcnemar_exact(k, n - k)])
@pytest.mark.parametrize(
    ("k", "n"),
    [
        pytest.param(-1, 5, id="negative"),
        pytest.param(0.5, 5, id="half a case"),
        pytest.param(6, 5, id="more right than asked"),
        pytest.param(True, True, id="no count"),
    ],
)
def test_impossible_counts_are_refused(call, k, n):
    """What is no count never becomes a number."""
    with pytest.raises(ValueError, match=r"count|greater"):
        call(k, n)


@pytest.mark.parametrize("confidence", [0, 1, -1, 95, math.nan])
def test_impossible_confidence_is_refused(confidence):
    """Confidence is a share, not a percentage."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        clopper_pearson_lower(1, 2, confidence)


def test_nothing_has_no_rate():
    """Zero of zero is neither 0 nor 1."""
    assert Rate(0, 0, None, None) == count_rate(0, 0)
    assert clopper_pearson_lower(0, 0) is None
    assert wilson(0, 0) == (None, None)
    assert mcnemar_exact(0, 0) == 1.0
    assert all(rate == Rate(0, 0, None, None) for rate in compute_metrics([]).rates.values())


def outcome(expected: str = "", called: str = "", **changes: object) -> Outcome:
    """An outcome from the initials of tool names; no ``called`` is a plain answer."""
    right = sorted(expected) == sorted(called)
    kind = ReplyKind.CALL if called else ReplyKind.NONE
    values = {
        "case_id": f"c{next(numbers)}",
        "suite": "selection",
        "verdict": Verdict.RIGHT if right else Verdict.WRONG,
        "error_type": None if right else ErrorType.WRONG_TOOL,
        "detail": "",
        "kind": kind,
        "expected": tuple(expected),
        "called": tuple(called),
        "tools_right": right,
        "schema_valid": True if called else None,
        "arguments_right": len(expected) if right else 0,
        "arguments_total": len(expected),
    }
    return Outcome(**(values | changes))


def malformed(expected: str = "") -> Outcome:
    return outcome(
        expected, "", kind=ReplyKind.MALFORMED, verdict=Verdict.WRONG, error_type=ErrorType.MALFORMED, tools_right=False
    )


def empty(expected: str = "") -> Outcome:
    return outcome(expected, "", verdict=Verdict.WRONG, error_type=ErrorType.EMPTY_REPLY, tools_right=False)


def failed(expected: str = "") -> Outcome:
    return outcome(
        expected, "", kind=None, verdict=Verdict.ERROR, error_type=ErrorType.TARGET_ERROR, tools_right=False, pair="1"
    )


@pytest.mark.parametrize(
    ("outcomes", "rate", "k", "n"),
    [
        pytest.param(
            [outcome("A", "A"), outcome("A", "B"), outcome("A"), outcome("", "")],
            "tool_selection",
            1,
            3,
            id="selection",
        ),
        pytest.param([outcome("AB", "BA"), outcome("AA", "A")], "tool_selection", 1, 2, id="selection as a multiset"),
        pytest.param([malformed("A"), empty("A")], "tool_selection", 0, 2, id="unreadable and empty are not right"),
        pytest.param(
            [outcome("A", "A"), outcome("", "A"), malformed(), outcome("A"), empty()],
            "json_validity",
            2,
            3,
            id="validity",
        ),
        pytest.param([outcome("A"), empty()], "json_validity", 0, 0, id="validity without attempts"),
        pytest.param(
            [outcome("A", "A", pair="1"), outcome("B", "A", pair="1"), outcome("A", "A")],
            "disambiguation",
            1,
            2,
            id="pairs by case",
        ),
        pytest.param(
            [
                outcome("A", "A", pair="1"),
                outcome("B", "B", pair="1"),
                outcome("A", "A", pair="2"),
                outcome("B", "A", pair="2"),
                outcome("A", "A", pair="3"),
            ],
            "disambiguation_pairs",
            1,
            2,
            id="whole pairs",
        ),
        pytest.param(
            [outcome("A", "A", pair="1"), outcome("B", "B", pair="1", suite="other")],
            "disambiguation_pairs",
            0,
            0,
            id="pairs per suite",
        ),
        pytest.param(
            [outcome(), outcome("", "A"), malformed(), empty()], "no_tool_recall", 1, 4, id="recall of no tool"
        ),
        pytest.param(
            [outcome(), outcome("A"), outcome("", "A"), malformed(), empty(), empty("A")],
            "no_tool_precision",
            1,
            4,
            id="precision of no tool",
        ),
        pytest.param([outcome("", "A")], "no_tool_precision", 0, 0, id="precision when all is called"),
        pytest.param(
            [outcome("AB", "AB"), outcome("A", "B"), outcome("A"), malformed("A"), outcome("", "A")],
            "argument_accuracy",
            2,
            5,
            id="arguments of all expected calls",
        ),
        pytest.param(
            [outcome("A", "A", arguments_right=0, arguments_total=0)],
            "argument_accuracy",
            0,
            0,
            id="unscored arguments",
        ),
        pytest.param(
            [outcome("A", "A"), outcome("A", "B", schema_valid=False), outcome("A")],
            "schema_validity",
            1,
            2,
            id="schema",
        ),
        *[pytest.param([failed("A"), failed()], rate, 0, 0, id=f"{rate} leaves errors out") for rate in RATES],
    ],
)
def test_each_rate_counts_what_the_table_says(outcomes, rate, k, n):
    """Numerator and denominator of every rate, and what is not measured is in none."""
    found = compute_metrics(outcomes).rates[rate]

    assert (k, n) == (found.k, found.n)
    assert (found.value, found.lower) == ((k / n, clopper_pearson_lower(k, n)) if n else (None, None))


def test_retention_is_relative_to_the_base():
    """Only what the base answers can be forgotten; calls, silence and malformed replies forget it."""
    base = [outcome(case_id=f"g{i}", suite="general") for i in range(4)]
    base.append(outcome("", "A", case_id="g4", suite="general"))
    adapter = [
        outcome(case_id="g0", suite="general"),
        outcome("", "A", case_id="g1", suite="general"),
        failed(),
        outcome(case_id="g3", suite="general"),
        outcome(case_id="g4", suite="general"),
        outcome(case_id="g2", suite="selection"),
    ]

    assert (compute_retention(base, adapter).k, compute_retention(base, adapter).n) == (2, 3)
    kept = compute_retention(base, adapter)
    assert kept is compute_metrics([], retention=kept).rates["general_retention"]


def test_tools_are_counted_one_by_one():
    """Precision, recall and confusion per tool, also within compound calls."""
    metrics = compute_metrics(
        [outcome("AB", "AC"), outcome("A", "AA"), outcome("A"), malformed("B"), outcome("", "A"), outcome()]
    )

    assert (metrics.per_tool["A"].precision.k, metrics.per_tool["A"].precision.n) == (2, 4)
    assert (metrics.per_tool["A"].recall.k, metrics.per_tool["A"].recall.n) == (2, 3)
    assert (metrics.per_tool["B"].precision.k, metrics.per_tool["B"].precision.n) == (0, 0)
    assert metrics.confusion["A"] == {"A": 2, NO_CALL: 1}
    assert metrics.confusion["B"] == {"C": 1, UNREADABLE: 1}
    assert metrics.confusion[NO_CALL] == {"A": 2, NO_CALL: 1}


def test_errors_are_counted_and_the_file_has_no_latency():
    """Every outcome is accounted for; what differs between runs is not in the file's values."""
    metrics = compute_metrics([outcome("A", "A"), empty(), failed(), failed()], latencies=[0.1], adapter_bytes=7)

    assert metrics.errors == {"empty_reply": 1, "target_error": 2}
    assert (metrics.total, metrics.measured, metrics.right) == (4, 2, 1)
    assert "latency" not in metrics.as_dict()
    assert list(RATES) == list(metrics.as_dict()["rates"])


@calm
@given(
    st.permutations([outcome("A", "A", pair="1"), outcome("B", "A", pair="1"), malformed("A"), empty(), failed("A")])
)
def test_the_order_of_outcomes_does_not_matter(outcomes):
    """Workers finish in any order; the numbers are the same."""
    assert compute_metrics(outcomes).as_dict() == compute_metrics(sorted(outcomes, key=lambda o: o.case_id)).as_dict()


@pytest.mark.parametrize(("n", "largest"), [(58, None), (59, 1), (92, 1), (93, 2)])
def test_the_latency_bound_is_an_order_statistic(n, largest):
    """59 measurements bound the 95th percentile by the slowest, 93 by the second slowest; fewer not at all."""
    seconds = [float(i) for i in range(n)]
    random.Random(7).shuffle(seconds)

    assert (None if largest is None else float(n - largest)) == find_quantiles(seconds).p95_upper


@calm
@given(st.integers(59, 3000))
def test_the_latency_bound_has_the_confidence_it_claims(n):
    """The chosen rank is the least whose binomial probability reaches 95 %."""
    rank = int(find_quantiles([float(i) for i in range(n)]).p95_upper) + 1

    assert stats.binom.cdf(rank - 1, n, LATENCY_QUANTILE) >= CONFIDENCE > stats.binom.cdf(rank - 2, n, LATENCY_QUANTILE)


def test_quantiles_are_measurements():
    """Nearest rank: half and 95 % of the measurements are no slower than the quantiles."""
    quantiles = find_quantiles([float(i) for i in range(1, 101)])

    assert (quantiles.n, quantiles.p50, quantiles.p95, quantiles.under(95.0)) == (100, 50.0, 95.0, 94)
    assert find_quantiles([float(i) for i in range(1, 21)]).p95 == 19.0
    assert find_quantiles([]) is None


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -0.1])
def test_impossible_latencies_are_refused(seconds):
    """A clock that went wrong is not a fast reply."""
    with pytest.raises(ValueError, match="Latencies"):
        find_quantiles([0.1, seconds])
