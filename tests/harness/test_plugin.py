"""pytest's side, from outside: each test runs pytest on evals/ with cases, bars and replies of its own."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.cases import load_cases
from harness.scoring import gold_reply
from harness.toolset import load_toolset

ROOT = Path(__file__).parents[2]
OPEN, TESTS_FAILED, INTERRUPTED, USAGE, CLOSED = 0, 1, 2, 4, 8

TASKS = ["call mom", "buy stamps", "water the plants", "renew my passport", "pay the rent", "book a dentist"]
CHATS = ["hello there", "tell me a joke", "who are you", "play some jazz"]

GATE = """
[profiles.release]
[profiles.release.metrics]
tool_selection = { bar = 0.9, min_n = 2, require = "met" }
negative_precision = { bar = 0.9, min_n = 2, require = "met" }
latency_p95 = { bar = 2.0, min_n = 1, require = "met" }
adapter_size = { bar = 300, min_n = 1, require = "proven" }
[profiles.tasks]
[profiles.tasks.suites]
selection = 1
[profiles.tasks.metrics]
tool_selection = { bar = 0.9, min_n = 2, require = "met" }
"""


def case_line(case_id, suite, question, expect):
    return {
        "id": case_id,
        "suite": suite,
        "messages": [{"role": "user", "content": question}],
        "now": "2026-03-02T09:00:00+00:00",
        "expect": expect,
        "tags": [],
        "why": "a test of the plugin",
        "source": "hand-written",
    }


def make_lines():
    tasks = [
        case_line(
            f"selection-{i:03}",
            "selection",
            f"remind me to {title}",
            [{"tool": "createTask", "params": {"title": [title], "priority": ["medium"]}}],
        )
        for i, title in enumerate(TASKS, 1)
    ]
    chats = [case_line(f"negatives-{i:03}", "negatives", text, []) for i, text in enumerate(CHATS, 1)]
    return tasks + chats


class World:
    """A folder with cases, bars, an adapter and replies; ``run`` runs pytest there and keeps what came out."""

    def __init__(self, folder):
        self.folder = folder
        self.write_cases(make_lines())
        (folder / "gate.toml").write_text(GATE)
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"x" * 1000)
        toolset = load_toolset()
        self.gold = {case.id: gold_reply(case, toolset) for case in load_cases(folder / "cases.jsonl")}
        self.write_replies({})

    def write_cases(self, lines):
        (self.folder / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def write_replies(self, changed):
        (self.folder / "replies.json").write_text(json.dumps(self.gold | changed))

    def replay(self, *args, store="store", **kwargs):
        return self.run(
            *("--target=replay", f"--replies={self.folder / 'replies.json'}", f"--adapter={self.folder / 'adapter'}"),
            *(f"--run-store={self.folder / store}", *args),
            **kwargs,
        )

    def run(self, *args, paths=("evals/",), env=None, plugins=()):
        given = [f"--cases={self.folder / 'cases.jsonl'}", f"--gate={self.folder / 'gate.toml'}"]
        command = [sys.executable, *plugins, "-m", "pytest", "-p", "no:cacheprovider"]
        result = subprocess.run(
            [*command, *paths, *given, *args],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", "GITHUB_STEP_SUMMARY": "", **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        result.out = result.stdout + result.stderr
        return result

    def run_folder(self, store="store"):
        (folder,) = (self.folder / store / "runs").iterdir()
        return folder


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_right_replies_open_the_gate(world):
    """All right: exit status 0, dots, one test per case and per metric, and the word open."""
    result = world.replay()

    assert result.returncode == OPEN, result.out
    assert "gate open: profile release" in result.stdout
    assert "15 passed" in result.stdout
    assert "evals/test_cases.py ..........." in result.stdout


def test_a_wrong_answer_is_a_measurement_and_no_failure(world):
    """It is a "w", and the gate stays open as long as the metrics clear their bars."""
    world.write_cases([*make_lines(), *[case_line(f"n-{i}", "negatives", f"fact {i}?", []) for i in range(30)]])
    world.write_replies({f"n-{i}": "A fact." for i in range(30)} | {"n-3": world.gold["selection-001"]})
    result = world.replay()

    assert result.returncode == OPEN, result.out
    assert "1 wrong" in result.stdout
    assert "w" in result.stdout.split("evals/test_cases.py ")[1].split("[")[0]
    assert "phantom_call (1)" in result.stdout
    assert "FAILED" not in result.stdout


def test_a_metric_under_its_bar_closes_the_gate_and_fails_its_test(world):
    """Exit status 8; the other metrics pass; the failure says what is missing."""
    world.write_replies({f"selection-{i:03}": "I would rather not." for i in range(1, 4)})
    result = world.replay()

    assert result.returncode == CLOSED, result.out
    assert "FAILED evals/test_metrics.py::test_metric[tool_selection]" in result.stdout
    assert "tool_selection: 3/6 = 0.5000 is not above the bar 0.9." in result.stdout
    assert "gate closed: profile release, 2 reasons" in result.stdout  # plain text for them hurts precision as well
    assert "test_metric[adapter_size]" not in result.stdout


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("-k", "negatives"), id="-k"),
        pytest.param(("--deselect", "evals/test_cases.py::test_case[negatives-001]"), id="deselect"),
        pytest.param(("--suite=selection",), id="suite"),
        pytest.param(("-k", "nothing_at_all"), id="nothing left"),
        pytest.param(("--maxfail=1", "-p", "no:randomly", "evals/test_metrics.py"), id="metrics only"),
    ],
)
def test_cases_left_out_close_the_gate(world, args):
    """Right answers to a part are no verdict, whichever way the rest was left out."""
    paths = ("evals/",) if not args[-1].startswith("evals/test_metrics") else ()
    result = world.replay(*args, paths=paths)

    assert result.returncode == CLOSED, result.out
    assert "not measured: " in result.stdout
    assert "gate closed" in result.stdout


def test_stopping_at_the_first_failure_closes_the_gate(world):
    """-x stops at a case that could not be measured; those after it have not reported. Workers change no status."""
    world.write_replies({"selection-002": {"error": "the server is on fire"}})
    result, shared = world.replay("-x"), world.replay("-x", "-n2")

    assert result.returncode == CLOSED, result.out
    assert "not measured: the server is on fire" in result.stdout
    assert "8 cases (selection-003" in result.stdout
    assert shared.returncode == CLOSED, shared.out
    assert "not measured: the server is on fire" in shared.stdout


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_metrics_of_nothing_fail(world, workers):
    """Where no case is asked, no metric's test passes for want of numbers."""
    result = world.replay(workers, "--profile=tasks", paths=("evals/test_metrics.py",))

    assert result.returncode == CLOSED, result.out
    assert "tool_selection: nothing to count (0/0)" in result.stdout
    assert "1 failed" in result.stdout
    assert "passed" not in result.stdout
    assert "Error" not in result.stdout


def test_a_missing_reply_closes_the_gate(world):
    """A target that fails for one case is an error of that case: neither right nor wrong."""
    del world.gold["selection-003"]
    world.write_replies({})
    result = world.replay()

    assert result.returncode == CLOSED, result.out
    assert "no reply: 1 case (selection-003)." in result.stdout
    assert "9 of 10 cases right, 1 not measured" in result.stdout


def test_an_empty_suite_closes_the_gate(world):
    """A file without cases is nothing to check."""
    world.write_cases([])
    result = world.replay()

    assert result.returncode == CLOSED, result.out
    assert "no cases: a gate with nothing to check is closed." in result.stdout


def test_slow_replies_close_the_gate(world):
    """Latency is judged as any other metric."""
    world.write_replies({name: {"text": text, "seconds": 3.0} for name, text in world.gold.items()})
    result = world.replay()

    assert result.returncode == CLOSED, result.out
    assert "p95 of 10 replies is 3.000 s, not under 2 s." in result.stdout


def test_an_adapter_over_300_mb_closes_the_gate(world):
    """The size is read from the file."""
    with (world.folder / "adapter" / "adapter_model.safetensors").open("wb") as file:
        file.truncate(301_000_000)
    result = world.replay()

    assert result.returncode == CLOSED, result.out
    assert "adapter_size: 301.0 MB is not under 300 MB." in result.stdout


def test_an_adapter_that_does_not_act_closes_the_gate(world):
    """The base model answers every probe in the same words."""
    result = world.replay(f"--base-replies={world.folder / 'replies.json'}")

    assert result.returncode == CLOSED, result.out
    assert "it does not act" in result.stdout


def test_workers_change_no_byte(world):
    """-n0, -n2 and -n4 write the same metrics.json and outcomes.jsonl, and reach the same verdict."""
    world.write_replies({"selection-002": "No.", "negatives-001": world.gold["selection-001"]})
    runs = {}
    for workers in ("0", "2", "4"):
        result = world.replay(f"-n{workers}", store=f"store{workers}")
        assert result.returncode == CLOSED, result.out
        assert "2 wrong" in result.stdout
        folder = world.run_folder(f"store{workers}")
        runs[workers] = {
            name: (folder / name).read_bytes() for name in ("metrics.json", "outcomes.jsonl", "cases.jsonl")
        }

    assert runs["0"] == runs["2"] == runs["4"]


def test_a_crashed_worker_closes_the_gate(world):
    """The case whose worker died is not measured, though its answer is known."""
    (world.folder / "crash.py").write_text(
        "import os\n\ndef pytest_runtest_call(item):\n    if 'negatives-002' in item.nodeid:\n        os._exit(1)\n"
    )
    result = world.replay("-n2", "-p", "crash", env={"PYTHONPATH": str(world.folder)})

    assert result.returncode == CLOSED, result.out
    assert "not measured: 1 case (negatives-002)." in result.stdout


def test_a_skipped_case_closes_the_gate(world):
    """A skip is no answer."""
    (world.folder / "skipper.py").write_text(
        "import pytest\n\ndef pytest_runtest_setup(item):\n"
        "    if 'negatives-002' in item.nodeid:\n        pytest.skip('no')\n"
    )
    result = world.replay("-p", "skipper", env={"PYTHONPATH": str(world.folder)})

    assert result.returncode == CLOSED, result.out
    assert "not measured: 1 case (negatives-002)." in result.stdout


def test_an_interrupted_run_keeps_its_exit_status(world):
    """Ctrl-C is no verdict: status 2, and what was not measured is named."""
    (world.folder / "breaker.py").write_text(
        "def pytest_runtest_call(item):\n    if 'negatives-002' in item.nodeid:\n        raise KeyboardInterrupt\n"
    )
    result = world.replay("-p", "breaker", env={"PYTHONPATH": str(world.folder)})

    assert result.returncode == INTERRUPTED, result.out
    assert "not measured: " in result.stdout


def test_cases_that_are_no_suite_are_refused(world):
    """The same question under two ids counts once too often."""
    lines = make_lines()
    world.write_cases([*lines, lines[0] | {"id": "selection-099"}])
    judged, proven = world.replay(), world.run()

    assert judged.returncode == USAGE, judged.out
    assert "selection-099: asks word for word what selection-001 asks" in judged.stderr
    assert proven.returncode == TESTS_FAILED, proven.out
    assert "FAILED evals/test_cases.py::test_the_cases_form_a_suite" in proven.stdout


def test_other_failing_tests_keep_their_exit_status(world):
    """An open gate does not hide a failed test, and a closed one says so first."""
    (world.folder / "test_other.py").write_text("def test_other():\n    assert False\n")
    other = str(world.folder / "test_other.py")

    assert world.replay(paths=("evals/", other)).returncode == TESTS_FAILED
    world.write_replies({"selection-001": "No."})
    assert world.replay(paths=("evals/", other)).returncode == CLOSED


def test_a_target_without_a_path_collects_the_evals_only(world):
    """The tests of the harness itself are not run, with and without workers."""
    for workers in ("-n0", "-n2"):
        result = world.replay(workers, paths=())
        assert result.returncode == OPEN, result.out
        assert "15 passed" in result.stdout


def test_a_profile_chooses_its_cases(world):
    """Another profile has other cases and other bars."""
    result = world.replay("--profile=tasks")

    assert result.returncode == OPEN, result.out
    assert "6 of 6 cases right" in result.stdout


@pytest.mark.parametrize(
    ("args", "line"),
    [
        pytest.param(["--target=nowhere"], "Unknown target 'nowhere'. Known targets: ", id="target"),
        pytest.param(["--target=replay"], "needs a recording", id="no recording"),
        pytest.param(["--target=replay", "--replies=none.json"], "No recording at none.json", id="missing recording"),
        pytest.param(["--replies=x.json"], "--replies needs a target. Add e.g. --target=local.", id="no target"),
        pytest.param(["--profile=release"], "--profile needs a target.", id="profile without target"),
        pytest.param(["--target=replay", "--target-option=x"], "is no NAME=VALUE", id="option"),
    ],
)
def test_usage_errors_are_one_line(world, args, line):
    """Exit status 4, before anything is collected."""
    result = world.run(*args)

    assert result.returncode == USAGE, result.out
    errors = [text for text in result.stderr.splitlines() if text.strip()]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: ")
    assert line in errors[0]
    assert "Traceback" not in result.out


@pytest.mark.parametrize(
    ("args", "line"),
    [
        pytest.param(["--profile=nowhere"], "Unknown profile 'nowhere'. Profiles of ", id="profile"),
        pytest.param(["--suite=nowhere"], "Unknown suite 'nowhere'. Suites in ", id="suite"),
        pytest.param(["--gate=none.toml"], "Cannot read the gate none.toml", id="gate"),
        pytest.param(["--cases=none"], "No cases at none", id="cases"),
        pytest.param(["--adapter=none"], "No adapter folder at none", id="adapter"),
    ],
)
def test_names_that_do_not_exist_are_named(world, args, line):
    """With a target all else is checked at once, also under xdist."""
    for workers in ("-n0", "-n2"):
        result = world.replay(workers, *args)
        assert result.returncode == USAGE, result.out
        assert line in result.stderr
        assert "Traceback" not in result.out


def test_a_broken_case_line_is_named_with_file_and_line(world):
    """With a target: exit status 4. Without one: an error of collection in one line."""
    with (world.folder / "cases.jsonl").open("a") as file:
        file.write("{oops\n")
    judged, proven = world.replay(), world.run()

    assert judged.returncode == USAGE, judged.out
    assert "cases.jsonl:11: not JSON" in judged.stderr
    assert proven.returncode == INTERRUPTED, proven.out
    assert "cases.jsonl:11: not JSON" in proven.stdout
    assert "Traceback" not in judged.out + proven.out


def test_cases_that_do_not_prove_themselves_are_refused(world):
    """A case that no reply can answer rightly would only measure its author."""
    lines = make_lines()
    lines[0]["expect"][0]["params"]["priority"] = ["urgent"]
    world.write_cases(lines)
    judged, proven = world.replay(), world.run()

    assert judged.returncode == USAGE, judged.out
    assert "The cases do not prove themselves: selection-001: " in judged.stderr
    assert proven.returncode == TESTS_FAILED, proven.out
    assert "FAILED evals/test_cases.py::test_case[selection-001]" in proven.stdout


def test_without_a_target_the_cases_are_proven_and_nothing_is_judged(world):
    """Metrics are skipped with a reason; there is no verdict and no run."""
    result = world.run("-rs")

    assert result.returncode == OPEN, result.out
    assert "11 passed" in result.stdout
    assert "no target: nothing was measured" in result.stdout
    assert "gate" not in result.stdout.split("collected")[1].replace("gate.toml", "")


def test_collecting_only_asks_nobody(world):
    """--collect-only lists the tests; a replay without replies would close the gate."""
    world.gold.clear()
    world.write_replies({})
    result = world.replay("--collect-only", "-q")

    assert result.returncode == OPEN, result.out
    assert "evals/test_cases.py::test_case[selection-001]" in result.stdout
    assert not (world.folder / "store").exists()


def test_junit_tells_the_verdict_of_each_case(world):
    """A wrong answer is no failure there either; its verdict and reason are properties."""
    world.write_replies({"selection-002": "\x1b[31mNo\x00.", "selection-004": {"error": "gone"}})
    for workers in ("-n0", "-n2"):
        result = world.replay(workers, f"--junitxml={world.folder / 'junit.xml'}")
        assert result.returncode == CLOSED, result.out
        cases = {node.get("name"): node for node in ET.parse(world.folder / "junit.xml").iter("testcase")}
        found = {p.get("name"): p.get("value") for p in cases["test_case[selection-002]"].iter("property")}
        assert found["verdict"] == "wrong"
        assert found["error_type"] == "missed_call"
        assert cases["test_case[selection-002]"].find("failure") is None
        assert cases["test_case[selection-004]"].find("failure") is not None


def test_the_run_is_written(world):
    """Everything that a person or a program may want, and a manifest of it."""
    world.write_replies({"selection-002": "<script>alert(1)</script>"})
    world.replay()
    folder = world.run_folder()
    files = {path.name for path in folder.iterdir()}
    metrics = json.loads((folder / "metrics.json").read_text())
    decision = json.loads((folder / "decision.json").read_text())

    assert files == {
        *("metrics.json", "decision.json", "latency.json", "outcomes.jsonl", "cases.jsonl"),
        *("summary.md", "report.html", "manifest.json"),
    }
    assert metrics["rates"]["tool_selection"] == {
        "k": 5,
        "n": 6,
        "value": 5 / 6,
        "lower": pytest.approx(0.4182, abs=1e-4),
    }
    assert "latency" not in (folder / "metrics.json").read_text()
    assert decision["open"] is False
    assert "<script>" not in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_run_that_generates_nothing_repeats_the_latency_and_says_when_it_was_measured(world):
    """Only the same question on the same machine, never where replies were generated, and not when told otherwise."""
    pytest.importorskip("peft", reason="the local target needs torch, transformers and peft")
    from tiny_models import write_adapter, write_base

    base = write_base(world.folder / "base", max_position_embeddings=4096)
    adapter = write_adapter(world.folder / "lora", base)
    # The end of a reply is far off for a random model; its latency is judged by no bar here.
    (world.folder / "gate.toml").write_text(GATE.replace("bar = 2.0", "bar = 1000"))
    (world.folder / "torchless.py").write_text(
        "import sys\n\ndef pytest_unconfigure(config):\n    print('torch loaded:', 'torch' in sys.modules)\n"
    )

    def ask(*args):
        local = ("--target=local", f"--base={base}", f"--adapter={adapter}", f"--run-store={world.folder / 'store'}")
        result = world.run(*local, "-p", "torchless", *args, env={"PYTHONPATH": str(world.folder)})
        assert "latency_p95" in result.stdout, result.out
        return result.stdout, json.loads((world.run_folder() / "latency.json").read_text())

    first, measured = ask()
    again, repeated = ask()
    anew, second = ask("--measure-latency")
    path = world.run_folder() / "latency.json"
    path.write_text(json.dumps(second | {"machine": second["machine"] | {"cpu": "another"}}))
    moved, third = ask()

    assert "was measured on this machine at" not in first + anew + moved
    assert f"was measured on this machine at {measured['measured']} by run {world.run_folder().name}" in again
    assert repeated == measured
    assert "torch loaded: False" in again and "torch loaded: True" in anew
    assert second["seconds"] != measured["seconds"] and third["seconds"] != second["seconds"]


def test_a_recording_has_its_latency_from_the_recording(world):
    """It is never taken from an earlier run."""
    first, again = world.replay(), world.replay()

    assert "was measured on this machine" not in first.stdout + again.stdout


def test_the_summary_is_appended_for_github(world):
    """What stood in the file stays; a place that cannot be written is one line and changes no verdict."""
    path = world.folder / "step.md"
    path.write_text("before\n")
    good = world.replay(env={"GITHUB_STEP_SUMMARY": str(path)})
    bad = world.replay(env={"GITHUB_STEP_SUMMARY": str(world.folder)})

    assert path.read_text().startswith("before\n## Toolgate: gate open")
    assert (good.returncode, bad.returncode) == (OPEN, OPEN)
    assert "Cannot append to $GITHUB_STEP_SUMMARY" in bad.stdout


def test_a_store_that_cannot_be_written_is_one_line(world):
    """A file stands where the folder should be."""
    (world.folder / "store").write_text("")
    result = world.replay()

    assert result.returncode in {USAGE, CLOSED}, result.out
    assert "--run-store" in result.out
    assert "Traceback" not in result.out


def test_a_run_that_cannot_be_written_closes_the_gate(world):
    """A file stands where the runs should be: the summary names it and does not say open."""
    (world.folder / "store").mkdir()
    (world.folder / "store" / "runs").write_text("")
    result = world.replay()

    assert result.returncode == CLOSED, result.out
    assert "store/runs/" in result.stdout.partition("gate closed: profile release, 1 reason")[0]
    assert "gate open" not in result.stdout


def test_the_plugin_leaves_other_projects_alone(tmp_path):
    """A test_case of somebody else is theirs, and a run without our options prints nothing of ours."""
    (tmp_path / "test_cases.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('case', [1, 2])\ndef test_case(case):\n    assert case\n"
        "@pytest.mark.parametrize('metric', [1])\ndef test_metric(metric):\n    assert metric\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=."]
    result = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode == OPEN, result.stdout
    assert "3 passed" in result.stdout
    assert "toolgate =" not in result.stdout


# Cold start.

HEAVY = ("torch", "transformers", "peft", "scipy", "jsonschema", "pydantic", "requests", "rapidfuzz", "numpy", "rich")


def run_python(*args, env=None):
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )


def imported(result):
    """Top-level packages in the output of ``-X importtime``."""
    lines = [line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {name.partition(".")[0] for name in lines}


@pytest.mark.parametrize(
    ("args", "never"),
    [
        pytest.param(["-m", "pytest", "--help"], HEAVY, id="pytest --help"),
        pytest.param(["-m", "harness", "--help"], HEAVY[:-1], id="harness --help"),
        pytest.param(
            ["-m", "pytest", "evals/", "--collect-only", "-q"],
            ("torch", "transformers", "peft", "scipy", "numpy", "requests"),
            id="collecting the evals",
        ),
    ],
)
def test_a_cold_start_imports_nothing_heavy(args, never):
    """Neither torch nor anything else that the step does not need."""
    result = run_python("-X", "importtime", *args)

    assert result.returncode == OPEN, result.stdout
    assert not imported(result) & set(never)


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["-m", "pytest", "--help"], id="pytest --help"),
        pytest.param(["-m", "harness", "--help"], id="harness --help"),
        pytest.param(["-m", "pytest", "evals/", "--collect-only", "-q"], id="collecting the evals"),
    ],
)
def test_a_cold_start_is_quick(args):
    """Under 1.5 times ``import pytest`` plus a second, in CPU time and at the best of three."""

    def best(*command):
        return min(cpu_seconds(*command) for _ in range(3))

    assert best(*args) < 1.5 * best("-c", "import pytest") + 1.0


def cpu_seconds(*args):
    before = os.times()
    run_python(*args)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
