"""The plugin's side of attempts: a line in the ledger per run, ``--curtail``, and what stays closed then."""

from __future__ import annotations

import json

import pytest
from test_plugin import CLOSED, OPEN, TASKS, USAGE, World

from harness.ledger import Ledger


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def attempts(world, name="store/attempts.jsonl"):
    return Ledger(world.folder / name).read()


def test_each_run_is_an_attempt(world):
    """With its verdict, its suites, and how often they were asked in the summary."""
    first = world.replay()
    world.replay("--suite=selection", "--ledger", str(world.folder / "other.jsonl"))
    second = world.replay("-n1")
    written = attempts(world)

    assert first.returncode == second.returncode == OPEN, second.out
    assert [(one.by, one.profile, one.open) for one in written] == [("pytest", "release", True)] * 2
    assert {name: count for name, (count, _) in written[0].suites.items()} == {"selection": 6, "negatives": 4}
    assert "Attempts: profile release was asked 2 times by 1 adapter of this lineage" in second.stdout
    assert [list(one.suites) for one in attempts(world, "other.jsonl")] == [["selection"]]
    assert not attempts(world, "other.jsonl")[0].open


def test_a_changed_ledger_stops_the_run(world):
    """One line, before a verdict is told."""
    world.replay()
    path = world.folder / "store" / "attempts.jsonl"
    path.write_text(path.read_text().replace('"open":true', '"open":false'))
    result = world.replay()

    assert result.returncode == USAGE
    assert "the ledger was changed here" in result.out
    assert "gate open" not in result.out


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_a_lost_run_stops_and_stays_closed(world, workers):
    """What was not asked is skipped; the next run asks the failures first."""
    extra = [f"thing {i}" for i in range(60)]
    lines = [json.loads(line) for line in (world.folder / "cases.jsonl").read_text().splitlines()]
    for i, title in enumerate(extra, len(TASKS) + 1):
        line = json.loads(json.dumps(lines[0]).replace("call mom", title).replace("-001", f"-{i:03}"))
        lines.append(line)
        world.gold[line["id"]] = world.gold["selection-001"].replace("call mom", title)
    world.write_cases(lines)
    world.write_replies({f"selection-{i:03}": "No." for i in range(50, 58)})
    first = world.replay("--curtail", *workers)
    second = world.replay("--curtail", *workers)

    assert first.returncode == second.returncode == CLOSED, second.out
    assert "curtailed: stopped after 64 of 70 cases" in first.stdout
    assert "curtailed: stopped after 16 of 70 cases" in second.stdout
    assert "54 skipped" in second.stdout
    assert "Curtailed: the rates are those of the cases asked" in second.stdout


def test_a_curtailed_run_that_passes_has_asked_everything(world):
    """It is the whole run in another order."""
    result = world.replay("--curtail")

    assert result.returncode == OPEN, result.out
    assert "skipped" not in result.stdout
    assert "curtailed:" not in result.stdout.lower()


def test_too_little_evidence_is_said(world):
    """Closed, with what would decide."""
    gate = world.folder / "gate.toml"
    gate.write_text(gate.read_text().replace('min_n = 2, require = "met"', 'min_n = 2, require = "proven"'))
    result = world.replay()

    assert result.returncode == CLOSED
    assert "gate closed, not enough evidence: profile release" in result.stdout
    assert "tool_selection: 6/6 = 1.0000 is above 0.9, but not proven" in result.stdout
    assert "23 further prompts would decide at 1.0000." in result.stdout
