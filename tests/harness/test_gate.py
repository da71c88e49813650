"""The gate: states at the bar, every reason to refuse, and files of bars that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError, SetupError
from harness.gate import (
    KNOWN_METRICS,
    Bar,
    Decision,
    MetricRow,
    Profile,
    Require,
    State,
    decide,
    load_gate,
    select_cases,
)
from harness.metrics import compute_metrics, count_rate
from harness.types import Case, ErrorType, Outcome, ReplyKind, Verdict

SHIPPED = Path(__file__).parents[2] / "evals" / "gate.toml"
calm = settings(deadline=None)  # the first example pays for importing scipy


def outcome(
    case_id: str, *, right: bool = True, tool: str | None = "A", suite: str = "selection", **changes: object
) -> Outcome:
    values = {
        "case_id": case_id,
        "suite": suite,
        "verdict": Verdict.RIGHT if right else Verdict.WRONG,
        "error_type": None if right else ErrorType.WRONG_TOOL if tool else ErrorType.PHANTOM_CALL,
        "detail": "",
        "kind": ReplyKind.CALL if tool or not right else ReplyKind.NONE,
        "expected": (tool,) if tool else (),
        "called": (tool,) if tool and right else () if right else ("B",),
        "tools_right": right,
        "schema_valid": True if tool or not right else None,
        "arguments_right": int(right and tool is not None),
        "arguments_total": int(tool is not None),
    }
    return Outcome(**(values | changes))


def outcomes_of(right: int, n: int, *, tool: str | None = "A", name: str = "c") -> list[Outcome]:
    return [outcome(f"{name}{i}", right=i < right, tool=tool) for i in range(n)]


def failed(case_id: str) -> Outcome:
    return replace(
        outcome(case_id),
        verdict=Verdict.ERROR,
        error_type=ErrorType.TARGET_ERROR,
        kind=None,
        detail="connection refused",
    )


def profile_of(**bars: Bar) -> Profile:
    return Profile("test", bars, suites={})


def decide_on(outcomes, profile, *, expected=None, latencies=None, adapter_bytes=1, **options) -> Decision:
    metrics = compute_metrics(outcomes, latencies=latencies, adapter_bytes=adapter_bytes)
    ids = [o.case_id for o in outcomes] if expected is None else expected
    return decide(ids, outcomes, metrics, profile, **options)


@pytest.mark.parametrize(
    ("right", "n", "min_n", "state"),
    [
        pytest.param(45, 50, 1, "below", id="exactly at the bar"),
        pytest.param(46, 50, 1, "met", id="above the bar"),
        pytest.param(48, 50, 1, "met", id="bound below the bar"),
        pytest.param(49, 50, 1, "proven", id="bound above the bar"),
        pytest.param(49, 50, 51, "too few", id="one short of min_n"),
        pytest.param(28, 28, 1, "met", id="all right of too few to prove"),
        pytest.param(0, 50, 1, "below", id="none right"),
    ],
)
@pytest.mark.parametrize("require", list(Require))
def test_a_rate_has_one_state(right, n, min_n, state, require):
    """Below, met, proven or too few; what is required decides whether it closes the gate."""
    decision = decide_on(outcomes_of(right, n), profile_of(tool_selection=Bar(0.9, min_n, require)))

    assert state == decision.rows[0].state
    assert decision.open == (state == "proven" or (state == "met" and require is Require.MET))
    if not decision.open:
        assert "tool_selection" in decision.reasons[0]
        assert f"{right}/{n}" in decision.reasons[0]


BOTH = [*outcomes_of(10, 10), *outcomes_of(10, 10, tool=None, name="n")]


def test_both_readings_of_negative_precision_must_clear():
    """Never answering in text and answering everything in text each fail one reading."""
    profile = profile_of(negative_precision=Bar(0.9))
    phantom = [*outcomes_of(10, 10), *outcomes_of(5, 10, tool=None, name="n")]
    missed = [replace(outcome(f"m{i}", right=False), kind=ReplyKind.NONE, called=()) for i in range(2)]
    decision = decide_on(BOTH, profile)

    assert decision.open
    assert [row.label for row in decision.rows] == [
        "negative_precision (no_tool_recall)",
        "negative_precision (no_tool_precision)",
    ]
    (reason,) = decide_on(phantom, profile).reasons
    assert "(no_tool_recall): 5/10" in reason
    (reason,) = decide_on([*BOTH, *missed], profile).reasons
    assert "(no_tool_precision): 10/12" in reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"expected": []}, "no cases", id="no cases"),
        pytest.param({"outcomes": [], "expected": ["a"]}, "not measured: 1 case (a)", id="nothing measured"),
        pytest.param({"expected": ["c0", "c1", "gone"]}, "not measured: 1 case (gone)", id="a case is missing"),
        pytest.param({"expected": ["c0"]}, "measured and not expected: 1 case (c1)", id="a foreign case"),
        pytest.param({"expected": ["c0", "c1", "c1"]}, "expected twice: 1 case (c1)", id="expected twice"),
        pytest.param(
            {"outcomes": [outcome("c0"), outcome("c1"), outcome("c1")], "expected": ["c0", "c1"]},
            "measured twice: 1 case (c1)",
            id="measured twice",
        ),
        pytest.param(
            {"outcomes": [outcome("c0"), failed("c1")]},
            "no reply: 1 case (c1). The first says: connection refused",
            id="error",
        ),
        pytest.param(
            {"profile": replace(profile_of(tool_selection=Bar(0.5)), suites={"crud": 60})},
            "suite crud has no outcome",
            id="a suite left out",
        ),
        pytest.param(
            {"profile": replace(profile_of(tool_selection=Bar(0.5)), suites={"selection": 3})},
            "suite selection has 2 outcomes",
            id="a suite cut short",
        ),
        pytest.param(
            {"profile": replace(profile_of(tool_selection=Bar(0.5)), min_cases=50)},
            "2 cases are too few",
            id="a filtered run",
        ),
        pytest.param({"profile": profile_of()}, "profile test has no bars", id="no bars"),
        pytest.param(
            {"profile": profile_of(disambiguation=Bar(0.5))}, "disambiguation: nothing to count", id="no pairs"
        ),
        pytest.param({"profile": profile_of(negative_precision=Bar(0.5))}, "nothing to count", id="no negatives"),
        pytest.param({"profile": profile_of(general_retention=Bar(0.5))}, "nothing to count", id="no retention"),
        pytest.param({"profile": profile_of(latency_p95=Bar(2.0))}, "latency was not measured", id="no latency"),
        pytest.param(
            {"profile": profile_of(latency_p95=Bar(2.0)), "latencies": []},
            "latency was not measured",
            id="empty latency",
        ),
        pytest.param(
            {"profile": profile_of(adapter_size=Bar(300)), "adapter_bytes": None},
            "size of the adapter is unknown",
            id="no size",
        ),
        pytest.param({"profile": profile_of(adapter_size=Bar(300)), "adapter_bytes": 0}, "0 bytes", id="empty adapter"),
    ],
)
def test_the_gate_fails_closed(change, says):
    """Whatever is missing, doubled, foreign or unmeasured closes the gate and is named."""
    given_values = {"outcomes": outcomes_of(2, 2), "profile": profile_of(tool_selection=Bar(0.5))} | change
    decision = decide_on(given_values.pop("outcomes"), given_values.pop("profile"), **given_values)

    assert not decision.open
    assert says in " ".join(decision.reasons)


def test_the_same_run_without_the_fault_is_open():
    """The table above starts from an open gate, so each of its faults alone closes it."""
    assert decide_on(outcomes_of(2, 2), profile_of(tool_selection=Bar(0.5))).reasons == ()


def test_numbers_of_other_outcomes_are_refused():
    """Good metrics beside bad outcomes do not open the gate."""
    bad, good = outcomes_of(0, 50), outcomes_of(50, 50)
    decision = decide([o.case_id for o in bad], bad, compute_metrics(good), profile_of(tool_selection=Bar(0.9)))

    assert "tool_selection" in decision.reasons[0]
    assert "not those of the outcomes" in decision.reasons[0]


@pytest.mark.parametrize(
    ("seconds", "require", "state", "opens"),
    [
        pytest.param([1.0] * 60, "proven", "proven", True, id="all under"),
        pytest.param([1.0] * 58, "proven", "met", False, id="too few for a bound"),
        pytest.param([1.0] * 58, "met", "met", True, id="too few for a bound, met is enough"),
        pytest.param([1.0] * 59 + [9.0], "proven", "met", False, id="the slowest is the bound"),
        pytest.param([1.0] * 92 + [9.0], "proven", "proven", True, id="the second slowest is the bound"),
        pytest.param([2.0] * 60, "met", "below", False, id="exactly at the bar"),
        pytest.param([1.0] * 19, "met", "too few", False, id="under min_n"),
    ],
)
def test_latency_is_judged_by_its_percentile_and_bound(seconds, require, state, opens):
    """Met by the percentile, proven by its distribution-free bound."""
    bar = Bar(2.0, 20, Require(require))
    decision = decide_on(outcomes_of(1, 1), profile_of(latency_p95=bar), latencies=seconds)

    assert (state, opens) == (decision.rows[0].state, decision.open)


@pytest.mark.parametrize(("size", "state"), [(299_999_999, "proven"), (300_000_000, "below"), (314_572_799, "below")])
def test_a_megabyte_has_a_million_bytes(size, state):
    """300 MB is 300,000,000 bytes, not 300 MiB, and exactly the limit is over it."""
    decision = decide_on(outcomes_of(1, 1), profile_of(adapter_size=Bar(300)), adapter_bytes=size)

    assert (state, state == "proven") == (decision.rows[0].state, decision.open)


def test_a_base_model_on_its_own_has_no_size_to_judge():
    """Only where the caller says that there is no adapter is its size not asked for."""
    profile = profile_of(adapter_size=Bar(300), tool_selection=Bar(0.5))

    assert decide_on(outcomes_of(1, 1), profile, adapter_bytes=None, has_adapter=False).open
    assert not decide_on(outcomes_of(1, 1), profile, adapter_bytes=None).open


def test_many_missing_cases_are_one_reason():
    """A reason names a few of many and counts the rest."""
    (reason, *_) = decide_on([], profile_of(tool_selection=Bar(0.5)), expected=[f"c{i}" for i in range(900)]).reasons

    assert reason.startswith("not measured: 900 cases (c0, c1")
    assert "and 892 more" in reason


def test_a_decision_cannot_contradict_itself():
    """A row that closes the gate without a reason in the decision cannot be built."""
    row = MetricRow("tool_selection", 0, 1, 0.0, 0.0, 0.9, State.BELOW, reason="tool_selection: 0/1")

    with pytest.raises(ValueError, match="does not say so"):
        Decision("test", (), (row,))


outcome_lists = st.lists(
    st.builds(
        lambda i, right, tool, error, pair: replace(
            failed(f"c{i}") if error else outcome(f"c{i}", right=right, tool=tool), pair=pair
        ),
        st.integers(0, 30),
        st.booleans(),
        st.sampled_from(["A", None]),
        st.integers(0, 9).map(lambda n: n == 0),
        st.sampled_from([None, "1", "2"]),
    )
)
bars = st.builds(Bar, st.floats(0.01, 0.99), st.integers(1, 5), st.sampled_from(Require))


@calm
@given(
    outcome_lists,
    st.lists(st.integers(0, 30).map(lambda i: f"c{i}")),
    st.dictionaries(st.sampled_from(KNOWN_METRICS), bars),
    st.none() | st.lists(st.floats(0, 5), max_size=5),
    st.none() | st.integers(0, 10**6),
)
def test_open_means_no_reason_and_every_row_cleared(outcomes, extra, bars, latencies, adapter_bytes):
    """Over any run: open exactly without reasons, and then everything was measured once and every bar cleared."""
    ids = [o.case_id for o in outcomes]
    for expected in (ids, ids + extra, extra):
        decision = decide_on(
            outcomes, profile_of(**bars), expected=expected, latencies=latencies, adapter_bytes=adapter_bytes
        )

        assert decision.open == (not decision.reasons)
        assert all(reason.strip() and "\n" not in reason for reason in decision.reasons)
        if decision.open:
            assert bars
            assert sorted(set(expected)) == sorted(ids)
            assert all(o.verdict is not Verdict.ERROR for o in outcomes)
            assert len(decision.rows) == len(bars) + ("negative_precision" in bars)
            for row in decision.rows:
                assert row.state is State.PROVEN or (row.state is State.MET and row.require is Require.MET)
                assert row.value < row.bar if row.metric in {"latency_p95", "adapter_size"} else row.value > row.bar
                assert row.n >= row.min_n or row.metric == "adapter_size"


def test_the_shipped_gate_has_the_bars_of_the_mission():
    """Both profiles read; release proves every bar that the mission states, at sizes where that can be done."""
    gate = load_gate(SHIPPED)
    release, iterate = gate.profile("release"), gate.profile("iterate")
    mission = {"tool_selection": 0.9, "json_validity": 0.98, "disambiguation": 0.95, "negative_precision": 0.9}

    assert mission.items() <= {name: bar.bar for name, bar in release.metrics.items()}.items()
    assert {2.0, 300.0} == {release.metrics["latency_p95"].bar, release.metrics["adapter_size"].bar}
    assert {Require.PROVEN} == {bar.require for name, bar in release.metrics.items() if name != "argument_accuracy"}
    for name in mission:
        assert count_rate(release.metrics[name].min_n, release.metrics[name].min_n).lower > release.metrics[name].bar
    assert {Require.MET} == {bar.require for bar in iterate.metrics.values()}
    assert (iterate.tags, iterate.min_cases) == (("core",), 50)
    assert gate.digest.startswith("sha256:")


def test_an_unknown_profile_names_those_there_are():
    """The error lists what can be asked for."""
    with pytest.raises(SetupError, match=r"Unknown profile 'prod'. Profiles of .*: iterate, release"):
        load_gate(SHIPPED).profile("prod")


GOOD = '[profiles.p.metrics]\ntool_selection = {bar = 0.9, min_n = 1, require = "met"}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("x = ", "not TOML", id="not TOML"),
        pytest.param("", "has no profile", id="empty file"),
        pytest.param("[profile.p]", "unknown key 'profile'. Known: profiles", id="misspelt table"),
        pytest.param("profiles.p = 3", "profile p is not a table", id="profile is a number"),
        pytest.param("[profiles.p]", "profile p has no bars", id="no bars"),
        pytest.param(GOOD + "[profiles.p]\nsuite = 1", "unknown key 'suite'. Known: tags, suites", id="misspelt key"),
        pytest.param('[profiles.p]\ntags = "core"\n' + GOOD, "Expected a list of words", id="tags are text"),
        pytest.param("[profiles.p]\nsuites = []\n" + GOOD, "least numbers of cases", id="suites are a list"),
        pytest.param("[profiles.p]\nsuites.crud = 0\n" + GOOD, "suites.crud is 0", id="suite of none"),
        pytest.param("[profiles.p]\nmin_cases = true\n" + GOOD, "min_cases is True", id="true cases"),
        pytest.param(
            GOOD.replace("tool_selection", "accuracy"),
            "unknown metric 'accuracy'. Known metrics: tool_sel",
            id="metric",
        ),
        pytest.param(GOOD.replace("0.9", "1.0"), "bar is 1.0. A rate's bar lies between 0 and 1", id="bar of 1"),
        pytest.param(GOOD.replace("0.9", "0.0"), "bar is 0.0. A rate's bar", id="bar of 0"),
        pytest.param(GOOD.replace("0.9", "90"), "bar is 90. A rate's bar", id="bar in percent"),
        pytest.param(GOOD.replace("0.9", "nan"), "bar is nan", id="bar is nan"),
        pytest.param(GOOD.replace("0.9", "true"), "bar is True. Expected a number", id="bar is true"),
        pytest.param(GOOD.replace("0.9", '"0.9"'), "bar is '0.9'. Expected a number", id="bar is text"),
        pytest.param(
            GOOD.replace("tool_selection", "latency_p95").replace("0.9", "inf"), "bar is inf", id="endless latency"
        ),
        pytest.param(GOOD.replace("tool_selection", "adapter_size").replace("0.9", "0"), "bar is 0", id="no size"),
        pytest.param(GOOD.replace("min_n = 1", "min_n = 0"), "min_n is 0. Expected a whole number", id="min_n of 0"),
        pytest.param(GOOD.replace("min_n = 1,", ""), "has no min_n", id="min_n is missing"),
        pytest.param(GOOD.replace('"met"', '"sure"'), "require is 'sure'. Possible: met, proven", id="unknown require"),
        pytest.param(GOOD.replace('"met"', '["met"]'), "require is ['met']", id="require is a list"),
        pytest.param(GOOD.replace("min_n", "n"), "unknown key 'n'", id="misspelt part of a bar"),
    ],
)
def test_a_broken_gate_file_is_refused_in_one_line(tmp_path, text, says):
    """The error names the file, the place, what stands there and what is possible."""
    path = tmp_path / "gate.toml"
    path.write_text(text)

    with pytest.raises(DataError) as caught:
        load_gate(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_gate_file_is_refused(tmp_path):
    """Without bars there is no gate."""
    with pytest.raises(SetupError, match="Cannot read the gate"):
        load_gate(tmp_path / "none.toml")


def test_a_profile_selects_by_suite_and_tag():
    """All tags are needed; without suites every suite is meant."""
    cases = [
        Case(f"c{i}", suite, ({"role": "user", "content": "x"},), "2026-03-02T09:00:00+00:00", (), tags=tags)
        for i, (suite, tags) in enumerate([("crud", ("core",)), ("crud", ()), ("general", ("core", "typo"))])
    ]
    profile = profile_of(tool_selection=Bar(0.9))

    assert cases == select_cases(profile, cases)
    assert [cases[0], cases[2]] == select_cases(replace(profile, tags=("core",)), cases)
    assert cases[:2] == select_cases(replace(profile, suites={"crud": 1}), cases)
    assert [cases[2]] == select_cases(replace(profile, tags=("core", "typo")), cases)
