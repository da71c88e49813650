"""Sizes and chances against brute force, and against published tables."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import SetupError
from harness.metrics import clopper_pearson_lower
from harness.planning import (
    expected_prompts,
    fewest_right,
    find_size,
    further_prompts,
    luck_of_many,
    make_plan,
    pass_chance,
)

calm = settings(deadline=None)  # the first example pays for importing scipy


def exact_chance(n: int, right: int, true: float) -> float:
    return math.fsum(math.comb(n, i) * true**i * (1 - true) ** (n - i) for i in range(right, n + 1))


@calm
@given(st.integers(1, 120), st.floats(0.02, 0.98))
def test_the_fewest_right_are_those_whose_bound_clears_the_bar(n, bar):
    """The tail probability and the gate's bound say the same of every k."""
    proving = [k for k in range(n + 1) if clopper_pearson_lower(k, n) > bar]

    assert fewest_right(n, bar) == (proving[0] if proving else None)


@calm
@given(st.integers(1, 60), st.floats(0.0, 1.0), st.data())
def test_the_chance_to_pass_is_the_binomial_tail(n, true, data):
    """Summed term by term."""
    right = data.draw(st.integers(0, n))

    assert pass_chance(n, right, true) == pytest.approx(exact_chance(n, right, true), abs=1e-9)
    assert pass_chance(n, None, true) == 0.0


@pytest.mark.parametrize(
    ("bar", "counts"),
    [
        (0.90, "29/29 49/50 73/75 96/100 141/149 188/200 279/300 462/500 916/1000"),
        (0.95, "59/59 75/75 99/100 147/149 196/200 292/300 484/500 962/1000"),
        (0.98, "149/149 200/200 299/300 397/400 496/500 988/1000"),
    ],
)
def test_known_fewest_right(bar, counts):
    """Clopper-Pearson, one-sided 95 %."""
    for count in counts.split():
        right, n = map(int, count.split("/"))
        assert fewest_right(n, bar) == right


@pytest.mark.parametrize(
    ("bar", "sizes"),
    [
        (0.90, {0.93: (593, 792), 0.94: (333, 436), 0.95: (203, 263), 0.96: (142, 179), 0.97: (89, 116)}),
        (0.90, {0.98: (61, 89), 0.99: (46, 61)}),
        (0.95, {0.97: (694, 900), 0.98: (286, 361), 0.99: (124, 181)}),
        (0.98, {0.99: (1091, 1390), 0.995: (386, 523), 0.999: (236, 236)}),
    ],
)
def test_known_sizes(bar, sizes):
    """For a power of 0.8 and 0.9: from there on every n serves, and the n before does not."""
    for true, wanted in sizes.items():
        assert (find_size(bar, true, 0.8), find_size(bar, true, 0.9)) == wanted
        for n, power in zip(wanted, (0.8, 0.9), strict=True):
            assert pass_chance(n - 1, fewest_right(n - 1, bar), true) < power
            assert all(pass_chance(m, fewest_right(m, bar), true) >= power for m in range(n, n + 60))


@settings(calm, max_examples=30)
@given(st.floats(0.3, 0.9), st.floats(0.06, 0.5), st.floats(0.3, 0.95))
def test_a_size_serves_from_there_on(bar, above, power):
    """By brute force up to five times the size."""
    true = min(bar + above, 0.99)
    size = find_size(bar, true, power)
    chances = {n: pass_chance(n, fewest_right(n, bar), true) for n in [*range(1, size + 3), *range(size, 5 * size, 7)]}

    assert all(chance >= power for n, chance in chances.items() if n >= size)
    assert size == 1 or chances[size - 1] < power


@pytest.mark.parametrize(
    ("bar", "sizes"),
    [
        (0.90, {91: 2679, 92: 715, 93: 345, 94: 203, 95: 142, 96: 103, 97: 76, 98: 61, 99: 46, 100: 29}),
        (0.95, {96: 1503, 97: 410, 98: 208, 99: 124, 100: 59}),
        (0.98, {99: 719, 98.5: 2541, 99.5: 313, 100: 149}),
    ],
)
def test_known_numbers_of_further_prompts(bar, sizes):
    """At an observed rate; seen on ten prompts or on a thousand, the whole is the same."""
    for percent, size in sizes.items():
        right, n = (round(percent * 2), 200)
        if n < size:
            assert n + further_prompts(right, n, bar) == size


@calm
@given(st.integers(1, 80), st.data(), st.sampled_from([0.5, 0.75, 0.9]), st.integers(1, 120), st.booleans())
def test_further_prompts_decide(n, data, bar, min_n, proven):
    """Asked so many more at the same rate, the bar is proven; one fewer is not enough."""
    right = data.draw(st.integers(0, n))
    further = further_prompts(right, n, bar, min_n=min_n, proven=proven)

    def decided(size: int) -> bool:
        if size < min_n:
            return False
        above = right / n > bar and proven
        return not above or clopper_pearson_lower(right * size // n, size) > bar

    if further is None:
        assert right / n <= bar * 1.002 or not proven
    else:
        assert all(decided(n + further + more) for more in range(40))
        assert further == 0 or not decided(n + further - 1)


def test_what_is_not_above_the_bar_is_never_proven():
    """Only what is missing to min_n is said; nothing observed says nothing."""
    assert further_prompts(90, 100, 0.9) is None
    assert further_prompts(9, 10, 0.9, min_n=50) == 40
    assert further_prompts(0, 0, 0.9, min_n=50) is None
    assert further_prompts(90_001, 100_000, 0.9) is None


@calm
@given(st.integers(1, 12), st.data(), st.floats(0.0, 1.0))
def test_expected_prompts_against_every_sequence(n, data, true):
    """All 2^n sequences of right and wrong, each with its probability."""
    right = data.draw(st.integers(1, n))
    total = 0.0
    for bits in range(2**n):
        answers = [bits >> i & 1 for i in range(n)]
        wrong = asked = 0
        for answer in answers:
            asked += 1
            wrong += not answer
            if wrong > n - right:
                break
        total += asked * math.prod(true if answer else 1 - true for answer in answers)

    assert expected_prompts(n, right, true) == pytest.approx(total, abs=1e-9)


def test_known_expected_prompts():
    """49 of 50, stopped at the second failure."""
    found = [round(expected_prompts(50, 49, true), 1) for true in (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)]

    assert found == [4.0, 6.7, 10.0, 13.3, 19.6, 32.9, 45.0]


def test_known_luck_of_many_tries():
    """A model of 0.88 against 46 of 50, and against the exact 49 of 50."""
    naive, exact = pass_chance(50, 46, 0.88), pass_chance(50, 49, 0.88)

    assert [round(luck_of_many(naive, n), 2) for n in (1, 3, 5, 10)] == [0.27, 0.61, 0.79, 0.96]
    assert [round(luck_of_many(exact, n), 3) for n in (1, 3, 5, 10)] == [0.013, 0.039, 0.064, 0.124]
    assert [luck_of_many(p, 0) for p in (0.0, 0.3, 1.0)] == [0.0, 0.0, 0.0]
    assert luck_of_many(1.0, 2) == 1.0


def test_a_plan_says_what_it_takes():
    """The numbers of one plan fit each other."""
    plan = make_plan(0.9, 0.95, 0.8)

    assert (plan.n, plan.right) == (203, 190)
    assert plan.chance >= 0.8
    assert plan.luck < 0.05
    assert dict(plan.sizes)[0.9] == 263
    assert dict(plan.curve)[0.95] == pytest.approx(plan.chance)
    assert plan.curtailed[1] < plan.curtailed[0] <= plan.n


def test_the_command_prints_a_plan():
    """For a person and for a program."""
    args = ["plan", "--bar", "0.9", "--true", "0.95", "--power", "0.9"]
    text, data = CliRunner().invoke(app, args), CliRunner().invoke(app, [*args, "--json"])

    assert text.exit_code == data.exit_code == 0
    assert text.stdout.startswith("263 prompts: a model that is right 0.95 of the time")
    assert json.loads(data.stdout)["n"] == 263
    assert {"power": 0.8, "n": 203} in json.loads(data.stdout)["sizes"]


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ((0.9, 0.9, 0.8), "is not above --bar"),
        ((0.9, 0.8, 0.8), "is not above --bar"),
        ((1.0, 0.9, 0.8), "--bar 1 is no share"),
        ((0.9, 1.5, 0.8), "--true 1.5 is no share"),
        ((0.9, 0.95, 1.0), "--power 1 is no share"),
        ((float("nan"), 0.95, 0.8), "--bar nan is no share"),
        ((0.9, 0.9001, 0.8), "More than 100000 prompts"),
    ],
)
def test_what_no_number_proves_is_refused(numbers, line):
    """With one line that says what to give."""
    with pytest.raises(SetupError, match=line):
        make_plan(*numbers)
