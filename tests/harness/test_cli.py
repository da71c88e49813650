"""``python -m harness``: what it prints, what it writes, how it fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cases import load_cases
from harness.cli import app
from harness.metrics import mcnemar_exact
from harness.scoring import gold_reply
from harness.toolset import load_toolset

ROOT = Path(__file__).parents[2]
CASES = ["--cases", "cases.jsonl"]
REPLAY = [*CASES, "--target", "replay"]
TITLES = ["call mom", "buy stamps", "water the plants", "renew my passport"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with cases and right replies, and the place where the commands run."""
    monkeypatch.chdir(tmp_path)
    lines = [
        {
            "id": f"selection-{i:03}",
            "suite": "selection",
            "messages": [{"role": "user", "content": f"remind me to {title}"}],
            "now": "2026-03-02T09:00:00+00:00",
            "expect": [{"tool": "createTask", "params": {"title": [title], "priority": ["medium"]}}],
            "tags": [],
            "why": "a test of the command line",
            "source": "hand-written",
        }
        for i, title in enumerate(TITLES, 1)
    ]
    Path("cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    toolset = load_toolset()
    gold = {case.id: gold_reply(case, toolset) for case in load_cases(Path("cases.jsonl"))}
    Path("gold.json").write_text(json.dumps(gold))
    Path("worse.json").write_text(json.dumps(gold | {"selection-002": "No.", "selection-003": ""}))
    return tmp_path


def call(*args):
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


def measure(out, replies="gold.json", *args):
    common = ["--cases", "cases.jsonl", "--target", "replay", "--run-store", "store"]
    return call("run", *common, "--replies", replies, "--out", out, *args)


def test_run_measures_any_file_of_cases(world):
    """A table, no verdict, and a folder that holds the whole run."""
    result = measure("out")

    assert result.exit_code == 0, result.output
    assert "4 of 4 cases right" in result.stdout
    assert "measured, no verdict" in result.stdout
    assert {path.name for path in Path("out").iterdir()} >= {"manifest.json", "metrics.json", "outcomes.jsonl"}


def test_a_run_is_the_same_bytes_twice(world):
    """metrics.json, outcomes.jsonl and the manifest hold nothing that varies."""
    measure("one", "worse.json")
    measure("two", "worse.json")

    for name in ("metrics.json", "outcomes.jsonl", "cases.jsonl", "manifest.json"):
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()


def test_run_prints_json_alone(world):
    """stdout is one JSON value."""
    result = measure("out", "worse.json", "--json", "--latency")

    rate = json.loads(result.stdout)["rates"]["tool_selection"]

    assert (rate["k"], rate["n"]) == (2, 4)


def test_report_shows_a_finished_run_again(world):
    """As text, as a page, as Markdown and as JSON."""
    first = measure("out", "worse.json").stdout
    again = call("report", "out")
    page = call("report", "out", "--html", "page.html", "--markdown", "summary.md")
    data = call("report", "out", "--json")

    assert again.stdout.strip() == first.replace("run: out", "").strip()
    assert page.stdout == "page: page.html\nsummary: summary.md\n"
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert Path("summary.md").read_text().startswith("## Toolgate: measured, no verdict")
    assert json.loads(data.stdout) == json.loads(Path("out/metrics.json").read_text())


def test_report_refuses_a_run_that_was_changed(world):
    """The file that differs is named."""
    measure("out")
    with Path("out/outcomes.jsonl").open("a") as file:
        file.write("\n")
    result = call("report", "out")

    assert result.exit_code == 1
    assert "out/outcomes.jsonl was changed after the run" in result.stderr


def test_compare_lists_the_flips(world):
    """Both directions, with an exact p-value."""
    measure("before", "worse.json")
    measure("after")
    text = call("compare", "before", "after").stdout
    data = json.loads(call("compare", "after", "before", "--json").stdout)

    assert "4 cases in both runs, right before 2, after 4" in text
    assert "fixed 2, broken 0, exact McNemar p = 0.5" in text
    assert "fixed: selection-002  missed_call -> right" in text
    assert [flip["case"] for flip in data["broken"]] == ["selection-002", "selection-003"]
    assert data["fixed"] == []
    assert data["p"] == mcnemar_exact(2, 0)


def test_compare_refuses_other_questions_under_the_same_ids(world):
    """A changed case is not a changed model."""
    measure("before")
    Path("cases.jsonl").write_text(Path("cases.jsonl").read_text().replace("call mom", "call dad"))
    measure("after")
    result = call("compare", "before", "after")

    assert result.exit_code == 1
    assert "1 cases differ between the runs, the first is selection-001" in result.stderr


def test_compare_refuses_runs_that_share_nothing(world):
    """Zero of zero is no comparison."""
    measure("before")
    Path("cases.jsonl").write_text(Path("cases.jsonl").read_text().replace("selection-00", "other-00"))
    measure("after", "gold.json")
    result = call("compare", "before", "after")

    assert result.exit_code == 1
    assert "share no measured case" in result.stderr


def write_examples(path, *texts):
    lines = [{"messages": [{"role": "user", "content": t}, {"role": "assistant", "content": "ok"}]} for t in texts]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_duplicates_names_file_line_and_case(world):
    """Case, punctuation and a letter more or less do not hide a copy."""
    write_examples("train.jsonl", "what is the weather", "Remind me to call Mom!", "remind me to watr the plants")
    result = call("duplicates", "train.jsonl", "--cases", "cases.jsonl")
    text = result.stdout
    data = json.loads(call("duplicates", "train.jsonl", "--cases", "cases.jsonl", "--json").stdout)

    assert "100.0  train.jsonl:2  selection-001  Remind me to call Mom!" in text
    assert text.endswith("2 near-duplicates\n")
    assert result.exit_code == 1
    assert data["count"] == 2
    assert {item["line"] for item in data["duplicates"]} == {2, 3}


def test_no_duplicates_are_a_count_of_zero(world):
    """The aim, and it is said."""
    write_examples("train.jsonl", "what is the weather")

    result = call("duplicates", "train.jsonl", "--cases", "cases.jsonl")

    assert (result.exit_code, result.stdout) == (0, "0 near-duplicates\n")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        pytest.param(["run", *REPLAY, "--cases", "none"], "No cases at none", id="no cases"),
        pytest.param(["run", *REPLAY, "--target", "x"], "Unknown target 'x'. Known targets", id="target"),
        pytest.param(["run", *REPLAY], "needs a recording", id="no replies"),
        pytest.param(["run", *REPLAY, "--target-option", "x"], "is no NAME=VALUE", id="option"),
        pytest.param(["report", "none"], "No finished run in none", id="no run"),
        pytest.param(["compare", "none", "none"], "No finished run in none", id="nothing to compare"),
        pytest.param(["duplicates", "--cases", "empty.jsonl", "gold.json"], "empty.jsonl holds no cases", id="nothing"),
        pytest.param(["duplicates", *CASES, "none.jsonl"], "Cannot read none.jsonl", id="no file"),
        pytest.param(["duplicates", *CASES, "gold.json"], "gold.json:1: no example", id="no examples"),
        pytest.param(["duplicates", *CASES, "gold.json", "--threshold", "0"], "--threshold 0 is not", id="threshold"),
    ],
)
def test_errors_are_one_line_and_exit_status_1(world, args, line):
    """On stderr, without a traceback."""
    Path("empty.jsonl").touch()
    result = call(*args)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert line in result.stderr
    assert result.stdout == ""


def test_the_module_runs(world):
    """``python -m harness`` from outside, with an error's exit status."""
    command = [sys.executable, "-m", "harness"]
    good = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    bad = subprocess.run([*command, "report", "none"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert good.returncode == 0
    assert all(name in good.stdout for name in ("run", "report", "compare", "duplicates"))
    assert (bad.returncode, bad.stdout) == (1, "")


def test_no_training_text_is_close_to_a_case():
    """The command of the README: the count is 0."""
    files = sorted((ROOT / "training" / "handcrafted").glob("*.jsonl"))
    result = call("duplicates", *map(str, files), "--cases", str(ROOT / "evals" / "cases"))

    assert result.stdout.endswith("\n0 near-duplicates\n") or result.stdout == "0 near-duplicates\n", result.stdout
