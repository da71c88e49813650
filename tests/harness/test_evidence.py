"""Not enough evidence, what is lost for certain, and runs that stop there."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.curtail import count_failures, order_cases, run_curtailed
from harness.errors import DataError
from harness.gate import (
    CLOSED,
    NOT_ENOUGH,
    OPEN,
    Bar,
    Profile,
    Require,
    Sealed,
    State,
    decide,
    find_lost,
    load_gate,
)
from harness.metrics import compute_metrics
from harness.prompt import load_prompt
from harness.runner import write_run
from harness.scoring import gold_reply
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget, TargetSpec
from harness.types import Case, ErrorType, ExpectedCall, Outcome, ReplyKind, Verdict

calm = settings(deadline=None)
DIGEST = "sha256:" + "0" * 64


def outcome(name: str, kind: str = "right") -> Outcome:
    """How a case that asks for one call of A went."""
    return Outcome(
        case_id=name,
        suite="selection",
        verdict=Verdict.RIGHT if kind == "right" else Verdict.ERROR if kind == "error" else Verdict.WRONG,
        error_type=None if kind == "right" else ErrorType.TARGET_ERROR if kind == "error" else ErrorType.WRONG_TOOL,
        detail="",
        kind=None if kind == "error" else ReplyKind.MALFORMED if kind == "malformed" else ReplyKind.CALL,
        expected=("A",),
        called=("A",) if kind == "right" else (),
        tools_right=kind == "right",
        schema_valid=True if kind == "right" else None,
        arguments_right=int(kind == "right"),
        arguments_total=1,
    )


def outcomes_of(right: int, n: int) -> list[Outcome]:
    return [outcome(f"c{i}", "right" if i < right else "wrong") for i in range(n)]


def judge(outcomes, latencies=None, **bars):
    profile = Profile("test", bars, {})
    metrics = compute_metrics(outcomes, latencies=latencies, adapter_bytes=1)
    return decide([o.case_id for o in outcomes], outcomes, metrics, profile)


# The third verdict.


@pytest.mark.parametrize(
    ("right", "n", "min_n", "verdict", "needed"),
    [
        pytest.param(49, 50, 1, OPEN, None, id="proven"),
        pytest.param(48, 50, 1, NOT_ENOUGH, 53, id="not proven: 103 at 0.96"),
        pytest.param(10, 10, 1, NOT_ENOUGH, 19, id="all right of ten: 29"),
        pytest.param(10, 10, 200, NOT_ENOUGH, 190, id="fewer than min_n"),
        pytest.param(5, 10, 200, NOT_ENOUGH, 190, id="below the bar, and too few to say so"),
        pytest.param(45, 50, 1, CLOSED, None, id="at the bar"),
        pytest.param(20, 50, 1, CLOSED, None, id="below"),
    ],
)
def test_too_little_evidence_is_its_own_verdict(right, n, min_n, verdict, needed):
    """It closes the gate and says how many more would decide."""
    decision = judge(outcomes_of(right, n), tool_selection=Bar(0.9, min_n, Require.PROVEN))

    assert decision.verdict == verdict
    assert decision.open == (verdict == OPEN)
    assert decision.rows[0].needed == needed
    if needed:
        assert f"{needed} further prompts would decide at {right / n:.4f}." in decision.reasons[0]


def test_one_bar_that_was_missed_is_no_lack_of_evidence():
    """Nor is a case without a reply."""
    few, low = Bar(0.9, 200, Require.PROVEN), Bar(0.9999, 1)

    assert judge(outcomes_of(9, 10), tool_selection=few, argument_accuracy=low).verdict == CLOSED
    assert judge([*outcomes_of(10, 10), outcome("e", "error")], tool_selection=few).verdict == CLOSED
    assert judge([], tool_selection=few).verdict == CLOSED


def test_latency_says_how_many_more():
    """59 under the bar prove the 95th percentile."""
    decision = judge(outcomes_of(1, 1), [0.5] * 20, latency_p95=Bar(2.0, 1, Require.PROVEN))

    assert decision.verdict == NOT_ENOUGH
    assert (decision.rows[0].state, decision.rows[0].needed) == (State.MET, 39)
    assert judge(outcomes_of(1, 1), [0.5] * 59, latency_p95=Bar(2.0, 1, Require.PROVEN)).open


def test_a_rate_too_near_the_bar_says_so():
    """No number of prompts that anyone writes."""
    decision = judge(outcomes_of(901, 1000), tool_selection=Bar(0.9009, 1, Require.PROVEN))

    assert "More than 100000 further prompts would be needed at 0.9010." in decision.reasons[0]


# The gate's file.


def write_gate(folder: Path, lines: str) -> Path:
    path = folder / "gate.toml"
    path.write_text(f"""
[profiles.release]
suites.crud = 2
metrics.tool_selection = {{bar = 0.9, min_n = 1, require = "met"}}
metrics.latency_p95 = {{bar = 2.0, min_n = 1, require = "met"}}
metrics.general_retention = {{bar = 0.9, min_n = 1, require = "met"}}
{lines}
""")
    return path


def test_limits_and_sealed_suites_are_read(tmp_path):
    """Both are left out where the file does not name them."""
    bars = 'metrics.tool_selection = {bar = 0.9, min_n = 5, require = "proven"}'
    lines = f'max_regressions.crud = 0\n[profiles.release.sealed]\ndigest = "{DIGEST}"\nmin_cases = 5\n{bars}'
    profile = load_gate(write_gate(tmp_path, lines)).profile("release")
    bare = load_gate(write_gate(tmp_path, "")).profile("release")

    assert profile.max_regressions == {"crud": 0}
    assert profile.sealed == Sealed(DIGEST, {"tool_selection": Bar(0.9, 5, Require.PROVEN)}, 5)
    assert (bare.max_regressions, bare.sealed) == ({}, None)


BAR = '{bar = 0.9, min_n = 1, require = "met"}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("max_regressions = 3", "Expected a number per suite"),
        ("max_regressions.crud = -1", "max_regressions.crud is -1"),
        ("max_regressions.crud = true", "max_regressions.crud is True"),
        ("max_regressions.other = 1", "the profile does not ask for that suite"),
        ("sealed = 3", "Expected a table"),
        ("sealed.digest = 'abc'", "sealed: digest is 'abc'"),
        (f"sealed.digest = '{DIGEST}'", "has no bars"),
        (f"sealed.digest = '{DIGEST}'\nsealed.other = 1", "unknown key 'other'"),
        (f"sealed.digest = '{DIGEST}'\nsealed.metrics.json_validity = {BAR}", "no bar in the profile itself"),
        (f"sealed.digest = '{DIGEST}'\nsealed.metrics.latency_p95 = {BAR}", "latency_p95 is no rate"),
        (f"sealed.digest = '{DIGEST}'\nsealed.metrics.general_retention = {BAR}", "general_retention is no rate"),
        (f"sealed.digest = '{DIGEST}'\nsealed.min_cases = 0\nsealed.metrics.tool_selection = {BAR}", "min_cases is 0"),
    ],
)
def test_limits_that_are_none_are_refused(tmp_path, lines, message):
    """With the place in the file."""
    with pytest.raises(DataError, match="profile release") as found:
        load_gate(write_gate(tmp_path, lines))
    assert message in str(found.value)


# What is lost for certain.


def ask(name: str, tools: int = 1, *, plain: bool = False, text: str = "hi", suite: str = "selection") -> Case:
    call = ExpectedCall("A", "any")
    return Case(
        name,
        suite,
        ({"role": "user", "content": text},),
        "2026-03-02T09:00:00+00:00",
        (call,) * tools,
        alternatives=((),) if plain else (),
    )


@calm
@given(
    st.lists(st.sampled_from(["right", "wrong", "malformed"]), max_size=6),
    st.integers(0, 4),
    st.sampled_from(["tool_selection", "json_validity", "argument_accuracy", "schema_validity"]),
    st.sampled_from([0.2, 0.5, 0.75, 0.9]),
    st.integers(1, 8),
)
def test_lost_means_that_no_way_on_opens_the_gate(seen, left, metric, bar, min_n):
    """Against every way in which the cases that are left can go."""
    profile = Profile("test", {metric: Bar(bar, min_n)}, {})
    before = [outcome(f"s{i}", kind) for i, kind in enumerate(seen)]
    cases = [ask(f"l{i}") for i in range(left)]
    ways = product(["right", "wrong", "malformed"], repeat=left)
    open_ways = []
    for way in ways:
        every = before + [outcome(case.id, kind) for case, kind in zip(cases, way, strict=True)]
        decision = decide([o.case_id for o in every], every, compute_metrics(every), profile)
        open_ways.append(not any(row.reason for row in decision.rows))

    assert bool(find_lost(before, cases, profile)) == (not any(open_ways))


def test_an_error_or_a_size_is_lost_at_once():
    """Nothing that comes later makes up for it."""
    profile = Profile("test", {"adapter_size": Bar(1.0)}, {})

    assert find_lost([], [ask("a")], profile, 999_999) == []
    assert find_lost([], [ask("a")], profile, None) == []
    assert "is not under 1 MB" in find_lost([], [ask("a")], profile, 1_000_001)[0]
    assert "no reply: 1 case (c)" in find_lost([outcome("c", "error")], [ask("a")], profile)[0]


def test_a_case_that_may_go_either_way_gives_hope_to_both():
    """Plain text and a call are both right for it."""
    bars = {"no_tool_recall": Bar(0.5), "tool_selection": Bar(0.5)}

    assert find_lost([], [ask("a", plain=True)], Profile("test", bars, {})) == []
    assert len(find_lost([], [ask("a", tools=0)], Profile("test", bars, {}))) == 1


# Runs that stop.


@pytest.fixture
def world(tmp_path):
    """Forty reminders, a recording of right answers, and one of wrong answers to the first three."""
    prompt = load_prompt()
    cases = [
        replace(
            ask(f"selection-{i:03}", text=f"remind me to do thing {i}"), expect=(ExpectedCall("deleteTask", "any"),)
        )
        for i in range(40)
    ]
    gold = {case.id: gold_reply(case, prompt.toolset) for case in cases}
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    (tmp_path / "bad.json").write_text(json.dumps(gold | {case.id: "No." for case in cases[20:23]}))
    return tmp_path, cases, prompt


def curtailed(world, name, bar, **options):
    folder, cases, prompt = world
    with LazyTarget(TargetSpec("replay", options={"file": str(folder / name)})) as target:
        return run_curtailed(
            cases,
            target,
            prompt,
            ReplyStore(folder / "store"),
            Decoding(),
            profile=Profile("test", {"tool_selection": Bar(bar)}, {}),
            **options,
        )


def test_a_lost_run_stops_and_says_where(world):
    """After the group in which the last hope went."""
    found = curtailed(world, "bad.json", 0.94, group=4)

    assert found.stopped
    assert (found.asked, found.total) == (24, 40)
    assert "curtailed: stopped after 24 of 40 cases" in found.reasons[0]
    assert "tool_selection: at best 37/40" in found.reasons[1]


def test_past_failures_come_first(world):
    """Then the same run stops at once."""
    found = curtailed(world, "bad.json", 0.94, group=4, failures={f"selection-{i:03}": 1 for i in range(20, 23)})

    assert found.asked == 4
    assert [one.case_id for one in found.outcomes] == ["selection-000", *(f"selection-{i:03}" for i in range(20, 23))]


@pytest.mark.parametrize("name", ["gold.json", "bad.json"])
def test_a_run_that_may_still_open_asks_every_case(world, name):
    """In the order of the cases, with the same outcomes as a whole run."""
    found = curtailed(world, name, 0.9, failures={"selection-039": 2})
    whole = curtailed(world, name, 0.9, group=1000)

    assert not found.stopped
    assert found.reasons == ()
    assert found.outcomes == whole.outcomes
    assert [one.case_id for one in found.outcomes] == [case.id for case in world[1]]


def test_nothing_is_asked_of_a_run_that_is_lost_before(world):
    """40 cases cannot be 50."""
    folder, cases, prompt = world
    profile = Profile("test", {"tool_selection": Bar(0.9, 50)}, {})
    target = LazyTarget(TargetSpec("replay", options={"file": str(folder / "gold.json")}))
    found = run_curtailed(cases, target, prompt, ReplyStore(folder), Decoding(), profile=profile)

    assert (found.asked, found.outcomes, target.loaded) == (0, (), False)
    assert "40/40" in found.reasons[1]


def test_failures_are_counted_over_past_runs(tmp_path):
    """What is no run, or was edited, is left out."""
    for name in ("one", "two"):
        write_run(tmp_path / name, [outcome("a", "wrong"), outcome("b"), outcome("c", "error")], {}, about={})
    write_run(tmp_path / "edited", [outcome("b", "wrong")], {}, about={})
    (tmp_path / "edited" / "outcomes.jsonl").write_text("")
    (tmp_path / "empty").mkdir()

    assert count_failures(tmp_path) == {"a": 2}
    assert count_failures(tmp_path / "none") == {}


def test_cheap_suites_come_before_dear_ones():
    """Among cases that failed equally often; else they keep their order."""
    cases = [ask("m1", suite="multi_turn", text="long " * 9), ask("s1"), ask("m2", suite="multi_turn"), ask("s2")]

    assert [case.id for case in order_cases(cases, {})] == ["s1", "s2", "m1", "m2"]
    assert [case.id for case in order_cases(cases, {"m2": 3, "s2": 1})] == ["m2", "s2", "s1", "m1"]
