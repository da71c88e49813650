"""Two runs side by side: flips, the test, the limits of gate.toml."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.comparison import compare_outcomes, judge_regressions, show_comparison
from harness.errors import DataError
from harness.gate import load_gate
from harness.metrics import mcnemar_exact
from harness.types import ErrorType, Outcome, ReplyKind, Verdict

calm = settings(deadline=None)
GATE = Path(__file__).parents[2] / "evals" / "gate.toml"
VERDICTS = {"r": Verdict.RIGHT, "w": Verdict.WRONG, "e": Verdict.ERROR}


def run(letters: str, suite: str = "crud") -> list[Outcome]:
    """One outcome per letter: right, wrong, error; a dot leaves the case out."""
    return [
        Outcome(
            case_id=f"{suite}-{i}",
            suite=suite,
            verdict=VERDICTS[letter],
            error_type=None if letter == "r" else ErrorType.WRONG_TOOL if letter == "w" else ErrorType.TARGET_ERROR,
            detail="",
            kind=None if letter == "e" else ReplyKind.CALL,
            expected=("A",),
            called=("A",),
            tools_right=letter == "r",
            schema_valid=True,
            arguments_right=0,
            arguments_total=0,
        )
        for i, letter in enumerate(letters)
        if letter != "."
    ]


def ids(flips):
    return [flip.case for flip in flips]


def test_flips_are_listed_in_both_directions():
    """A case that one run did not measure is in no count."""
    found = compare_outcomes(run("rrwwrwe.r"), run("rwrwwrrr"))

    assert (found.cases, found.before, found.after) == (6, 3, 3)
    assert ids(found.fixed) == ["crud-2", "crud-5"]
    assert ids(found.broken) == ["crud-1", "crud-4"]
    assert (found.broken[0].before, found.broken[0].after) == ("right", "wrong_tool")
    assert found.left_out == ("crud-6", "crud-7", "crud-8")
    assert found.p == 1.0
    assert found.as_dict()["suites"] == {"crud": {"cases": 6, "fixed": 2, "broken": 2}}


@calm
@given(st.lists(st.tuples(st.sampled_from("rwe."), st.sampled_from("rwe.")), min_size=1, max_size=40))
def test_swapping_the_runs_swaps_the_flips(pairs):
    """Counts add up, and p does not care which run came first."""
    before, after = (run("".join(letters)) for letters in zip(*pairs, strict=True))
    shared = [pair for pair in pairs if set(pair) <= {"r", "w"}]
    if not shared:
        with pytest.raises(DataError, match="share no measured case"):
            compare_outcomes(before, after)
        return
    found, back = compare_outcomes(before, after), compare_outcomes(after, before)

    assert (ids(found.fixed), ids(found.broken)) == (ids(back.broken), ids(back.fixed))
    assert found.after - found.before == len(found.fixed) - len(found.broken)
    assert found.cases == len(shared)
    assert found.p == back.p == mcnemar_exact(pairs.count(("r", "w")), pairs.count(("w", "r")))
    assert len(found.left_out) == sum(set(pair) != {"."} for pair in pairs) - len(shared)


def test_a_limit_counts_the_losses_of_a_suite():
    """At the limit is allowed, one more is not; what was fixed does not make up for it."""
    before, after = run("rrrwww"), run("wwrrrr")
    found = compare_outcomes(before, after)

    assert judge_regressions(found, {"crud": 2}) == []
    assert judge_regressions(found, {"selection": 0}) == []
    (reason,) = judge_regressions(found, {"crud": 1})
    assert "crud loses 2 cases that the champion gets right, at most 1 may be: crud-0, crud-1." in reason


def test_without_limits_nothing_is_refused():
    """A profile that says nothing asks for nothing."""
    assert judge_regressions(compare_outcomes(run("r" * 20), run("w" * 20)), {}) == []


@pytest.mark.parametrize(
    ("broken", "fixed", "refused"),
    [(5, 0, False), (6, 0, True), (7, 1, False), (8, 1, True), (1, 8, False), (0, 0, False)],
)
def test_worse_and_not_by_chance_is_refused(broken, fixed, refused):
    """Two-sided 5 %: 6 against 0, 8 against 1."""
    before, after = run("r" * broken + "w" * fixed + "r"), run("w" * broken + "r" * fixed + "r")
    reasons = judge_regressions(compare_outcomes(before, after), {"crud": 50})

    assert bool(reasons) == refused
    assert not refused or "which chance does not explain" in reasons[0]


def test_a_case_that_was_not_compared_is_refused():
    """Errors of the champion do not make its losses disappear."""
    found = compare_outcomes(run("rrre"), run("rrrr"))

    (reason,) = judge_regressions(found, {"crud": 5})
    assert "not compared on 1 cases: crud-3" in reason


def test_a_case_twice_is_no_run():
    """Else one of the two would decide."""
    with pytest.raises(DataError, match="crud-0 is there twice"):
        compare_outcomes([*run("rr"), *run("w")], run("rr"))


def test_a_text_spells_out_some_flips():
    """JSON holds all of them."""
    found = compare_outcomes(run("r" * 30), run("w" * 30))
    lines = show_comparison(found, "Against the champion")

    assert lines[0].startswith(
        "Against the champion: 30 cases in both runs, right before 30, after 0; fixed 0, broken 30"
    )
    assert lines[-1] == "  broken: … and 18 more"
    assert len(found.as_dict()["broken"]) == 30


def test_the_shipped_limits_name_every_suite():
    """A suite without a limit could be lost whole."""
    profile = load_gate(GATE).profile("release")

    assert profile.max_regressions.keys() == profile.suites.keys()
    assert all(limit <= 0.04 * profile.suites[name] for name, limit in profile.max_regressions.items())


def test_flips_keep_their_suites():
    """A limit of one suite does not see the losses of another."""
    after = [*run("rr"), *[replace(o, suite="general") for o in run("ww", "general")]]
    found = compare_outcomes([*run("rr"), *run("rr", "general")], after)

    assert found.broken_by_suite() == {"crud": [], "general": ["general-0", "general-1"]}
    assert judge_regressions(found, {"crud": 0, "general": 2}) == []
