"""The runner: each prompt generated once, killed runs that go on, runs that are byte for byte the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import LoopbackServer, complete

from harness.errors import DataError, SetupError, StoreError, TargetError
from harness.prompt import load_prompt
from harness.runner import (
    LATENCY_SAMPLE,
    WARM_UP,
    Progress,
    Timing,
    describe_machine,
    measure_latency,
    measure_retention,
    prove_adapter_acts,
    read_run,
    read_timing,
    run_cases,
    sample_cases,
    write_run,
)
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget, TargetSpec
from harness.types import Case, ErrorType, ExpectedCall, Message, Verdict

CALL = '```json\n{"tool": "completeTask", "params": {"taskId": "t1"}}\n```'
PROMPT = load_prompt()


def make_case(name: str, text: str | None = None, *, call: bool = False, suite: str = "selection") -> Case:
    expect = (ExpectedCall("completeTask", {"taskId": ("t1",)}),) if call else ()
    messages = (Message(role="user", content=text or f"ask {name}"),)
    return Case(name, suite, messages, "2026-03-02T09:00:00+00:00", expect)


CASES = [make_case(f"selection-{i:03}") for i in range(12)]


def served(server: LoopbackServer, **options: str) -> LazyTarget:
    return LazyTarget(TargetSpec("openai", options={"url": server.url, "model": "tiny", "concurrency": "1", **options}))


def recorded(tmp_path: Path, replies: dict[str, object], base: dict[str, object] | None = None) -> LazyTarget:
    path = tmp_path / f"replies-{len(list(tmp_path.iterdir()))}.json"
    path.write_text(json.dumps(replies), encoding="utf-8")
    options = {"file": str(path)}
    if base is not None:
        other = tmp_path / "base.json"
        other.write_text(json.dumps(base), encoding="utf-8")
        options["base_file"] = str(other)
    return LazyTarget(TargetSpec("replay", options=options))


def test_outcomes_come_in_the_order_of_the_cases(tmp_path):
    cases = [make_case("a", call=True), make_case("b"), make_case("c", call=True)]
    target = recorded(tmp_path, {"a": CALL, "b": "Hello.", "c": "No idea."})

    outcomes = run_cases(cases, target, PROMPT, ReplyStore(tmp_path / "store"), Decoding())
    assert [outcome.case_id for outcome in outcomes] == ["a", "b", "c"]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.RIGHT, Verdict.RIGHT, Verdict.WRONG]
    assert ErrorType.MISSED_CALL is outcomes[2].error_type


def test_a_second_run_asks_nothing(tmp_path):
    """All replies come from the store; the target is not even loaded."""
    store = ReplyStore(tmp_path / "store")
    with LoopbackServer() as server:
        first = run_cases(CASES, served(server), PROMPT, store, Decoding())
        again = served(server)
        second = run_cases(CASES, again, PROMPT, store, Decoding())
        other = run_cases(CASES[:2], served(server), PROMPT, store, Decoding(max_tokens=9))

    assert first == second
    assert not again.loaded
    assert server.asked.total() == 14  # 12, none, and 2 under another decoding
    assert [o.text for o in first[:2]] == [o.text for o in other]


def test_equal_prompts_are_asked_once(tmp_path):
    cases = [make_case("a", "same"), make_case("b", "same"), make_case("c", "other")]
    with LoopbackServer() as server:
        outcomes = run_cases(cases, served(server), PROMPT, ReplyStore(tmp_path), Decoding())

    assert dict(server.asked) == {"same": 1, "other": 1}
    assert [outcome.text for outcome in outcomes] == ["said: same", "said: same", "said: other"]


def test_a_failed_reply_is_not_measured_and_asked_again_later(tmp_path):
    """An error is never stored: the next run tries again."""
    broken = {"ask selection-003"}

    def answer(body):
        text = body["messages"][-1]["content"]
        return (400, {"error": "no"}) if text in broken else (200, complete("fine"))

    store = ReplyStore(tmp_path)
    with LoopbackServer(answer) as server:
        first = run_cases(CASES, served(server), PROMPT, store, Decoding())
        broken.clear()
        second = run_cases(CASES, served(server), PROMPT, store, Decoding())

    assert Verdict.ERROR is first[3].verdict
    assert "answered 400" in first[3].detail
    assert [outcome.verdict for outcome in second] == [Verdict.RIGHT] * 12
    assert {2} == {server.asked["ask selection-003"]}
    assert server.asked.total() == 13


def test_progress_tells_how_far_it_is(tmp_path):
    seen: list[Progress] = []
    with LoopbackServer() as server:
        run_cases(CASES, served(server), PROMPT, ReplyStore(tmp_path), Decoding(), on_progress=seen.append)

    assert [progress.phase for progress in seen[:2]] == ["waiting", "loading"]
    assert list(range(1, 13)) == [progress.done for progress in seen[2:]]
    assert {12} == {progress.total for progress in seen}


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_runner import CASES, PROMPT, served, Decoding, LazyTarget, ReplyStore, TargetSpec, run_cases
options = {{"url": {url!r}, "model": "tiny", "concurrency": "1"}}
outcomes = run_cases(CASES, LazyTarget(TargetSpec("openai", options=options)), PROMPT, ReplyStore(Path({store!r})),
    Decoding())
print("|".join(outcome.text for outcome in outcomes))
"""


def start_run(server: LoopbackServer, store: Path) -> subprocess.Popen[str]:
    code = RUN.format(tests=str(Path(__file__).parent), url=server.url, store=str(store))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def wait_until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_run_goes_on_without_asking_twice(tmp_path):
    """kill -9 while the sixth reply is being made: the five stored ones are not asked again."""
    hold, reached = threading.Event(), threading.Event()

    def answer(body):
        if server.asked.total() == 6 and not hold.is_set():
            reached.set()
            hold.wait(30)
        return 200, complete("said: " + body["messages"][-1]["content"])

    store = ReplyStore(tmp_path)
    with LoopbackServer(answer) as server:
        run = start_run(server, tmp_path)
        assert reached.wait(60)
        # The sixth request may be on its way before the fifth reply is written.
        wait_until(lambda: len(list(tmp_path.rglob("[!.]*.json"))) == 5)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        finished = set(server.asked) - {server.bodies[-1]["messages"][-1]["content"]}
        hold.set()
        outcomes = run_cases(CASES, served(server), PROMPT, store, Decoding())

    assert len(finished) == 5
    assert {1} == {server.asked[text] for text in finished}
    assert server.asked.total() == 13  # only the one that was cut off is asked a second time
    assert [f"said: ask {case.id}" for case in CASES] == [outcome.text for outcome in outcomes]


def test_two_processes_at_once_ask_each_prompt_once(tmp_path):
    """One generates, the other waits and reads: same outcomes, no prompt twice."""
    with LoopbackServer() as server:
        runs = [start_run(server, tmp_path) for _ in range(2)]
        outputs = [run.communicate(timeout=120)[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0] == outputs[1]
    assert {case.messages[0]["content"]: 1 for case in CASES} == dict(server.asked)


def test_a_full_disk_stops_the_run_with_one_line(tmp_path):
    """A store that cannot be written is said at once, not after all replies are lost."""
    (tmp_path / "store").write_text("in the way")
    with LoopbackServer() as server, pytest.raises(StoreError, match=r"Cannot read .*Not a directory"):
        run_cases(CASES, served(server), PROMPT, ReplyStore(tmp_path / "store"), Decoding())


def test_retention_counts_what_the_base_could_do(tmp_path):
    """Of the general cases that the base gets right, those that the adapter keeps."""
    cases = [make_case(name, suite="general") for name in "abcd"]
    base = {"a": "Paris.", "b": "Blue.", "c": "Ten.", "d": ""}
    target = recorded(tmp_path, {"a": "Paris.", "b": CALL, "c": "Ten", "d": "Hi."}, base)

    retention = measure_retention(cases, target, PROMPT, ReplyStore(tmp_path / "store"), Decoding())
    assert retention is not None
    assert (retention.kept, retention.total, retention.lost) == (2, 3, ("b",))


def test_retention_without_a_base_is_nothing_and_with_an_error_an_error(tmp_path):
    cases, store = [make_case("a", suite="general")], ReplyStore(tmp_path / "store")

    assert measure_retention(cases, recorded(tmp_path, {"*": "x"}), PROMPT, store, Decoding()) is None
    with pytest.raises(TargetError, match="Retention was not measured: a: "):
        measure_retention(cases, recorded(tmp_path, {"*": "x"}, {"other": "y"}), PROMPT, store, Decoding())


def test_an_adapter_acts_when_a_probe_differs(tmp_path):
    cases = [make_case(name, call=True) for name in "abcdefghijkl"]
    store = ReplyStore(tmp_path / "store")
    living = prove_adapter_acts(cases, recorded(tmp_path, {"*": CALL}, {"*": "Hm."}), PROMPT, store, Decoding())
    dead = prove_adapter_acts(cases, recorded(tmp_path, {"*": "Hm."}, {"*": "Hm."}), PROMPT, store, Decoding())
    failed = prove_adapter_acts(cases, recorded(tmp_path, {"*": "Hm."}, {}), PROMPT, store, Decoding())
    empty = prove_adapter_acts([], recorded(tmp_path, {"*": CALL}, {"*": "Hm."}), PROMPT, store, Decoding())

    assert living is not None and living.acts and (living.probes, living.differing) == (8, 8)
    assert dead is not None and not dead.acts and "does not act" in dead.reasons[0]
    assert failed is not None and not failed.acts and "not answered" in failed.reasons[0]
    assert empty is not None and not empty.acts


def test_latency_is_measured_alone_and_never_from_the_store(tmp_path):
    """After a run that stored everything each sampled case is asked again, after warm-up with other cases."""
    cases = [make_case(f"c{i}") for i in range(LATENCY_SAMPLE + WARM_UP + 5)]
    store = ReplyStore(tmp_path)
    with LoopbackServer() as server:
        run_cases(cases, served(server), PROMPT, store, Decoding())
        server.asked.clear()
        seconds = measure_latency(cases, served(server), PROMPT, store, Decoding())

    assert LATENCY_SAMPLE == len(seconds) >= 60
    assert LATENCY_SAMPLE + WARM_UP == server.asked.total() == len(server.asked)
    assert all(value > 0 for value in seconds)


def test_recorded_latency_is_given_back(tmp_path):
    target = recorded(tmp_path, {"*": {"text": "x", "seconds": 2.5}})

    assert measure_latency(CASES, target, PROMPT, ReplyStore(tmp_path / "s"), Decoding()) == [2.5] * 12


def write_timed_run(folder: Path, machine: dict[str, str], changes: dict[str, object] | None = None) -> Path:
    content = {"seconds": [0.5, 0.25], "measured": "2026-03-02T09:00:00+00:00", "machine": machine} | (changes or {})
    write_run(folder, [], {}, about={}, varying={"latency.json": content})
    return folder


def test_a_timing_is_read_back_on_the_machine_that_measured_it(tmp_path):
    """Another machine, other threads or other code measure anew."""
    machine = describe_machine()
    timing = read_timing(write_timed_run(tmp_path / "run", machine), machine)

    assert machine == describe_machine() == {name: str(value) for name, value in machine.items()}
    assert timing == Timing((0.5, 0.25), "2026-03-02T09:00:00+00:00", machine)
    for name in machine:
        assert read_timing(tmp_path / "run", machine | {name: "other"}) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seconds": []}, id="no measurements"),
        pytest.param({"seconds": [0.5, 0.0]}, id="no time at all"),
        pytest.param({"seconds": [float("nan")]}, id="not a number"),
        pytest.param({"seconds": 3}, id="not a list"),
        pytest.param({"measured": "2026-03-02"}, id="a date without its hour"),
        pytest.param({"measured": None}, id="no date"),
        pytest.param({"machine": None}, id="no machine"),
    ],
)
def test_a_timing_that_does_not_say_what_it_is_is_none(tmp_path, changes):
    """It is measured again."""
    assert read_timing(write_timed_run(tmp_path / "run", {}, changes), {}) is None


def test_a_timing_of_an_unfinished_run_is_none(tmp_path):
    folder = write_timed_run(tmp_path / "run", {})
    (folder / "manifest.json").unlink()

    assert read_timing(folder, {}) is None
    assert read_timing(tmp_path / "nowhere", {}) is None


def test_a_failed_request_ends_the_measurement(tmp_path):
    """A p95 over the requests that worked would flatter the target."""
    target = recorded(tmp_path, {case.id: "x" for case in CASES[1:]})

    with pytest.raises(TargetError):
        measure_latency(CASES, target, PROMPT, ReplyStore(tmp_path / "s"), Decoding())


def test_the_sample_is_fixed_and_stable():
    """It depends on neither order nor on more than one case that is added."""
    chosen = sample_cases(CASES, 5)

    assert chosen == sample_cases(reversed(CASES), 5)
    more = sample_cases([*CASES, make_case("new")], 5)
    assert len({case.id for case in chosen} - {case.id for case in more}) <= 1


def run_into(folder: Path, tmp_path: Path, text: str = "Hello.") -> Path:
    outcomes = run_cases(CASES, recorded(tmp_path, {"*": text}), PROMPT, ReplyStore(tmp_path / "store"), Decoding())
    documents = {"metrics.json": {"b": 1, "a": [0.5, None]}, "summary.md": "# Sümmary\n"}
    return write_run(folder, outcomes, documents, about={"cases": "sha256:1"}, varying={"latency.json": [0.1]})


def test_two_runs_are_byte_for_byte_the_same(tmp_path):
    """No time and no path in them; latency.json is named, and not sealed."""
    for name in ("one", "two"):
        run_into(tmp_path / name, tmp_path)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())

    assert names == ["latency.json", "manifest.json", "metrics.json", "outcomes.jsonl", "summary.md"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["varying"] == ["latency.json"]
    assert {"metrics.json", "outcomes.jsonl", "summary.md"} == set(manifest["files"])


def test_a_run_can_be_read_back(tmp_path):
    outcomes = run_cases(CASES, recorded(tmp_path, {"*": CALL}), PROMPT, ReplyStore(tmp_path / "store"), Decoding())
    write_run(tmp_path / "run", outcomes, {}, about={"cases": "sha256:1"})

    run = read_run(tmp_path / "run")
    assert tuple(outcomes) == run.outcomes
    assert run.about == {"cases": "sha256:1"}


def test_a_run_without_its_manifest_is_not_finished(tmp_path):
    """The manifest is written last and removed first."""
    run_into(tmp_path / "run", tmp_path).unlink()

    with pytest.raises(SetupError, match="No finished run"):
        read_run(tmp_path / "run")


def test_a_manifest_without_outcomes_is_refused(tmp_path):
    """A run's folder always has outcomes."""
    run_into(tmp_path / "run", tmp_path).write_text('{"about": {}, "files": {}}')

    with pytest.raises(DataError, match="is not a manifest"):
        read_run(tmp_path / "run")


def test_an_interrupted_rewrite_leaves_no_manifest(tmp_path):
    """A folder whose files are being replaced is not taken for the old run."""
    run_into(tmp_path / "run", tmp_path)
    (tmp_path / "run" / "summary.md").unlink()
    (tmp_path / "run" / "summary.md").mkdir()  # cannot be replaced by a file

    with pytest.raises(StoreError, match="Cannot write"):
        run_into(tmp_path / "run", tmp_path, "Other.")
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_changed_file_is_named(tmp_path):
    run_into(tmp_path / "run", tmp_path)
    path = tmp_path / "run" / "metrics.json"
    path.write_text(path.read_text() + " ")

    with pytest.raises(DataError, match=r"metrics.json was changed after the run"):
        read_run(tmp_path / "run")


@pytest.mark.slow
def test_the_local_target_is_asked_once_and_resumes(tmp_path):
    """The same promises with a real model: the second run loads nothing, and replies are stored batch by batch."""
    pytest.importorskip("peft", reason="the local target needs torch, transformers and peft")
    from tiny_models import write_adapter, write_base

    base = write_base(tmp_path / "base", max_position_embeddings=4096)
    adapter = write_adapter(tmp_path / "adapter", base)
    spec = TargetSpec("local", adapter, str(base), {"batch_size": "4"})
    store = ReplyStore(tmp_path / "store")

    def stop_early(progress: Progress) -> None:
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), LazyTarget(spec) as target:
        run_cases(CASES, target, PROMPT, store, Decoding(8), on_progress=stop_early)
    assert len(list((tmp_path / "store").rglob("*.json"))) == 4
    seen: list[Progress] = []
    with LazyTarget(spec) as target:
        first = run_cases(CASES, target, PROMPT, store, Decoding(8), on_progress=seen.append)
        again = LazyTarget(spec)
        assert first == run_cases(CASES, again, PROMPT, store, Decoding(8))
        acts = prove_adapter_acts(CASES, target, PROMPT, store, Decoding(8))
        seconds = measure_latency(CASES, target, PROMPT, store, Decoding(8), size=5)

    assert [p.done for p in seen if p.phase == "generating"] == [5, 6, 7, 8, 9, 10, 11, 12]
    assert not again.loaded
    assert acts is not None and acts.acts
    assert len(seconds) == 5
