"""The gate gates itself: adapters known to be bad are stopped, each by the metric that is meant for it."""

import json
from pathlib import Path

import pytest
from bad_replies import EXACT, FULL, gold

from harness.cases import load_cases
from harness.gate import decide, load_gate, select_cases
from harness.metrics import compute_metrics
from harness.prompt import load_prompt
from harness.runner import measure_latency, prove_adapter_acts, run_cases
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget, TargetSpec

EVALS = Path(__file__).parents[2] / "evals"
PROFILES = ["release", "iterate"]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def prompt():
    return load_prompt()


@pytest.fixture(scope="module")
def gate():
    return load_gate(EVALS / "gate.toml")


@pytest.fixture(scope="module")
def all_cases():
    return load_cases(EVALS / "cases")


@pytest.fixture
def judge(tmp_path, prompt, gate, all_cases):
    """From replies to a decision, as a gate run does it; ``size`` is that of the adapter's file in bytes."""

    def judge(bad, *, profile="release", size=10 * MEGABYTE, cases=None):
        adapter = tmp_path / "adapter"
        adapter.mkdir(exist_ok=True)
        with (adapter / "adapter_model.safetensors").open("wb") as file:
            file.truncate(size)  # sparse: no disk is used
        bars = gate.profile(profile)
        chosen = select_cases(bars, all_cases if cases is None else cases)
        recording = tmp_path / "replies.json"
        recording.write_text(json.dumps(bad(chosen, prompt.toolset)))
        target = LazyTarget(TargetSpec("replay", adapter, options={"file": str(recording)}))
        asking = (target, prompt, ReplyStore(tmp_path / "store"), Decoding())
        outcomes = run_cases(chosen, *asking)
        latencies = measure_latency(chosen, *asking) if chosen else None
        metrics = compute_metrics(outcomes, latencies=latencies, adapter_bytes=target.adapter_bytes)
        return decide([case.id for case in select_cases(bars, all_cases)], outcomes, metrics, bars)

    return judge


def stopped_by(decision):
    """The metrics whose rows close the gate."""
    return {row.metric for row in decision.rows if row.reason}


@pytest.mark.parametrize("profile", PROFILES)
def test_right_replies_open_the_gate(judge, profile):
    """The control: without it a gate that is always closed would pass every test below."""
    decision = judge(gold, profile=profile)

    assert decision.open, decision.reasons


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("bad", "metric"), FULL.values(), ids=FULL.keys())
def test_a_bad_adapter_is_stopped_by_the_metric_meant_for_it(judge, bad, metric, profile):
    """The fault at full strength; other metrics may see it as well."""
    decision = judge(bad, profile=profile)

    assert not decision.open
    assert metric in stopped_by(decision)


@pytest.mark.parametrize(("bad", "metric"), EXACT.values(), ids=EXACT.keys())
def test_a_fault_in_one_respect_is_stopped_by_one_metric(judge, bad, metric):
    """The fault dosed so that all else is good: this metric alone closes the gate."""
    decision = judge(bad)

    assert {metric} == stopped_by(decision)
    assert len(decision.reasons) == sum(bool(row.reason) for row in decision.rows)


@pytest.mark.parametrize(
    ("size", "is_open"), [(300 * MEGABYTE - 1, True), (300 * MEGABYTE, False), (301 * MEGABYTE, False)]
)
def test_an_adapter_of_300_megabytes_is_stopped_by_its_size_alone(judge, size, is_open):
    """The limit itself is too much."""
    decision = judge(gold, size=size)

    assert is_open == decision.open
    assert (set() if is_open else {"adapter_size"}) == stopped_by(decision)


def test_the_big_adapter_uses_no_disk(judge, tmp_path):
    """The file of the test above is sparse."""
    judge(gold, size=301 * MEGABYTE)

    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_blocks < 1000


@pytest.mark.parametrize("suite", ["selection", "disambiguation", "negatives", "general"])
def test_a_suite_left_out_closes_the_gate(judge, all_cases, suite):
    """Right replies to the rest are not enough, and the suite is named."""
    decision = judge(gold, cases=[case for case in all_cases if case.suite != suite])

    assert not decision.open
    assert any(f"suite {suite} has no outcome" in reason for reason in decision.reasons)
    assert any(reason.startswith("not measured: ") for reason in decision.reasons)


def test_one_missing_case_closes_the_gate(judge, all_cases):
    """Also when it is one of a thousand."""
    decision = judge(gold, cases=all_cases[1:])

    assert not decision.open
    assert set() == stopped_by(decision)
    assert all_cases[0].id in " ".join(decision.reasons)


def test_no_cases_at_all_close_the_gate(judge):
    """Nothing to check means closed, for every metric."""
    decision = judge(gold, cases=[])

    assert not decision.open
    assert {row.metric for row in decision.rows} - {"adapter_size"} == stopped_by(decision)


def test_an_adapter_that_changes_nothing_does_not_act(tmp_path, prompt, all_cases):
    """The base's replies in an adapter's place are noticed before any metric."""
    for name in ("adapter", "base"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"*": "I am the base model."}))
    options = {"file": str(tmp_path / "adapter.json"), "base_file": str(tmp_path / "base.json")}
    asking = (LazyTarget(TargetSpec("replay", options=options)), prompt, ReplyStore(tmp_path / "store"), Decoding())
    alive = prove_adapter_acts(all_cases, *asking)

    assert not alive.acts
    assert "does not act" in alive.reasons[0]
