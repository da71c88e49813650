"""What the harness adds to a target's own time: collection, proof, scoring and reporting of 2,000 cases."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cases import case_dict, load_cases
from harness.scoring import gold_reply
from harness.toolset import load_toolset

ROOT = Path(__file__).parents[2]
CASES = 2000
FEW = 10
LIMIT = 0.001  # seconds per case


def cpu_seconds(*command):
    """CPU time of a command and its children: a busy machine makes it no slower."""
    before = os.times()
    subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=False)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.fixture
def world(tmp_path):
    """The shipped cases, asked twice in other words where they are too few, with right replies."""
    shipped = load_cases(ROOT / "evals" / "cases")
    cases = []
    for copy in range(CASES // len(shipped) + 1):
        for case in shipped:
            first, *rest = case.messages
            turns = ({**first, "content": first["content"] + " please" * copy}, *rest)
            pair = f"{case.pair}-{copy}" if case.pair else None
            cases.append(replace(case, id=f"{case.id}-{copy}", messages=turns, pair=pair))
    toolset = load_toolset()
    # Whole pairs only: a cut through one would be refused.
    chosen = sorted(cases[: CASES + 1], key=lambda case: case.pair or "")[-CASES:]
    known = [case.pair for case in chosen]
    chosen = [case if known.count(case.pair) == 2 else replace(case, pair=None) for case in chosen]
    for name, part in (("many", chosen), ("few", [replace(case, pair=None) for case in chosen[:FEW]])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(case_dict(case)) + "\n" for case in part))
    (tmp_path / "replies.json").write_text(json.dumps({case.id: gold_reply(case, toolset) for case in chosen}))
    return tmp_path


@pytest.mark.slow
def test_the_harness_takes_less_than_a_millisecond_per_case(world):
    """The difference between 2,000 cases and ten, through pytest, with the whole report written."""

    def measure(name):
        options = ["--target=replay", f"--replies={world / 'replies.json'}", f"--run-store={world / 'store'}"]
        command = ["-m", "pytest", "evals/", "-q", "-p", "no:cacheprovider", f"--cases={world / name}.jsonl", *options]
        return min(cpu_seconds(*command) for _ in range(3))

    assert (measure("many") - measure("few")) / (CASES - FEW) < LIMIT
