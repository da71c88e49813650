"""The real command and the real anthropic SDK against a loopback server: what is asked, paid, kept and asked again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from messages_server import Fault, MessagesServer, serve_messages
from typer.testing import CliRunner

from training.cli import app
from training.examples import load_examples
from training.synthetic import asking, clients
from training.synthetic import ledger as ledger_module
from training.synthetic.ledger import load_state, spent
from training.synthetic.plan import read_plan

ROOT = Path(__file__).parents[2]
KEY = "sk-ant-loopback-4711"
TASKS = ("--kind", "single", "--tool", "createTask", "--style", "casual", "--seed", "1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    with serve_messages() as state:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", state.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
        yield state


def synthesize(out: Path, *words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["synthesize", "--out", str(out), *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def report_of(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def no_key_in(out: Path, *texts: str) -> bool:
    return not any(KEY in text for text in (*texts, *(p.read_text() for p in out.rglob("*") if p.is_file())))


def test_a_run_brings_examples_for_what_it_says_it_cost(server: MessagesServer, tmp_path: Path):
    """Estimate before, the replies' own tokens after, and nothing of the key anywhere."""
    out = tmp_path / "run"

    code, text, err = synthesize(out, *TASKS, "--count", "25", "--concurrency", "3", "--json")

    report = json.loads(text)
    assert code == 0, err
    assert (report["answered"], report["lines"], report["examples"], report["stopped"]) == (3, 25, 25, None)
    assert report == report_of(out)
    assert len(load_examples(out)) == 25
    tokens = report["tokens"]
    assert report["cost_usd"] == pytest.approx((tokens["input"] * 2 + tokens["output"] * 10) / 1e6)
    assert report["cost_usd"] < report["estimate"]["cost_usd"] < report["estimate"]["cost_usd_at_most"]
    assert tokens["input"] < report["estimate"]["input_tokens"]
    assert 1 <= server.most_busy <= 3
    assert {header["anthropic-version"] for header in server.headers} == {"2026-10-21"}
    assert no_key_in(out, text, err)


def test_a_dry_run_sends_and_writes_nothing(server: MessagesServer, tmp_path: Path):
    """Only the estimate, also for machines, and without a key."""
    os.environ.pop("ANTHROPIC_API_KEY")
    code, text, _ = synthesize(tmp_path / "run", "--count", "500", "--dry-run", "--json")

    estimate = json.loads(text)
    assert (code, estimate["examples"], server.posts) == (0, 500, 0)
    assert 0 < estimate["cost_usd"] < estimate["cost_usd_at_most"]
    assert not (tmp_path / "run").exists()


def test_nothing_that_is_paid_is_asked_again(server: MessagesServer, tmp_path: Path):
    """A refused key stops the run after what was on its way; --resume asks for the rest, once."""
    out = tmp_path / "run"
    server.faults = [Fault("slow"), Fault("slow"), Fault("status", 401, message="invalid key {key}")]

    code, _, err = synthesize(out, *TASKS, "--count", "50", "--concurrency", "1")

    assert code == 1
    assert err.strip().splitlines()[-1] == "error: The API answered 401: invalid key ***. Check the key."
    assert (server.posts, report_of(out)["answered"], report_of(out)["stopped"]) == (3, 2, "error")
    assert no_key_in(out, err)
    assert synthesize(out, "--resume")[0] == 0
    assert (server.posts, report_of(out)["answered"], report_of(out)["examples"]) == (6, 5, 50)
    assert max(Counter(server.asked).values()) == 1
    assert synthesize(out, "--resume")[0] == 0  # everything is there: the files are made anew without a request
    assert server.posts == 6


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_what_is_wrong_with_the_request_is_not_tried_again(server: MessagesServer, tmp_path: Path, status):
    """One request, one clear line."""
    server.faults = [Fault("status", status, message="Your credit balance is too low")] * 9

    code, _, err = synthesize(tmp_path / "run", *TASKS, "--count", "30", "--concurrency", "1")

    assert (code, server.posts) == (1, 1)
    assert f"error: The API answered {status}: Your credit balance is too low." in err


def test_what_may_pass_is_tried_again(server: MessagesServer, tmp_path: Path):
    """429, 529 and 5xx, after the time that the server asks for."""
    server.faults = [Fault("status", status, "0.3" if status == 429 else "0.02") for status in (429, 529, 500, 503)]
    started = time.monotonic()

    code, _, err = synthesize(tmp_path / "run", *TASKS, "--count", "10")

    assert (code, server.posts) == (0, 5), err
    assert time.monotonic() - started > 0.3
    assert "answered 529" in err
    assert report_of(tmp_path / "run")["lost"] == 0  # none of these is paid


def test_a_server_that_stays_busy_ends_the_run(server: MessagesServer, tmp_path: Path):
    """After the last attempt, with what to do; a wait that is too long is not waited for."""
    server.faults = [Fault("status", 529, "0.01")] * clients.ATTEMPTS
    code, _, err = synthesize(tmp_path / "run", *TASKS, "--count", "10")
    assert (code, server.posts) == (1, clients.ATTEMPTS)
    assert "answered 529: a fault of the test, 6 times. Nothing is lost: go on later with --resume." in err

    server.faults = [Fault("status", 429, "86400")]
    code, _, err = synthesize(tmp_path / "run", "--resume")
    assert (code, server.posts) == (1, clients.ATTEMPTS + 1)
    assert "asks to wait 86400 s" in err


@pytest.mark.parametrize("kind", ["reset", "torn"])
def test_a_lost_reply_is_asked_again_and_counts_as_paid(server: MessagesServer, tmp_path: Path, kind):
    """The server may have worked for it, so the budget must not believe that it was free."""
    out = tmp_path / "run"
    server.faults = [Fault(kind)]

    code, _, err = synthesize(out, *TASKS, "--count", "10")

    report = report_of(out)
    assert (code, server.posts, report["lost"], report["examples"]) == (0, 2, 1, 10), err
    assert report["cost_usd"] > read_plan(out / "plan.json").at_most(read_plan(out / "plan.json").requests[0])


def test_the_budget_holds(server: MessagesServer, tmp_path: Path):
    """Sent is only what fits at its most; more money goes on from there."""
    out = tmp_path / "run"

    code, _, err = synthesize(out, *TASKS, "--count", "100", "--budget", "0.15", "--concurrency", "8")

    report = report_of(out)
    assert (code, report["stopped"]) == (0, "budget")
    assert 0 < report["answered"] < 10
    assert report["cost_usd"] <= 0.15
    assert "--resume --budget MORE" in err
    assert server.most_busy == 1  # two at their most would not fit
    assert synthesize(out, "--resume", "--budget", "5")[0] == 0
    assert report_of(out)["answered"] == 10
    assert max(Counter(server.asked).values()) == 1


def test_a_temperature_goes_with_the_version_that_knows_it(server: MessagesServer, tmp_path: Path):
    """Also in a batch; the effort goes as output_config."""
    code, _, err = synthesize(tmp_path / "a", *TASKS, "--count", "1", "--model", "claude-sonnet-4-6",
                              "--temperature", "0.7", "--effort", "low")  # fmt: skip
    assert code == 0, err
    assert (server.bodies[0]["temperature"], server.bodies[0]["output_config"]) == (0.7, {"effort": "low"})
    assert server.headers[0]["anthropic-version"] == "2023-06-01"
    code, _, err = synthesize(tmp_path / "b", *TASKS, "--count", "1", "--model", "claude-haiku-4-5",
                              "--temperature", "0.7", "--batch", "--poll", "0.02")  # fmt: skip
    assert code == 0, err
    assert server.bodies[1]["requests"][0]["params"]["temperature"] == 0.7


def test_a_batch_costs_half(server: MessagesServer, tmp_path: Path):
    """Results come in any order and find their requests."""
    out = tmp_path / "run"

    code, _, err = synthesize(out, *TASKS, "--count", "40", "--batch", "--poll", "0.02")

    report = report_of(out)
    assert (code, len(server.batches), report["examples"]) == (0, 1, 40), err
    tokens = report["tokens"]
    assert report["cost_usd"] == pytest.approx((tokens["input"] * 1 + tokens["output"] * 5) / 1e6)
    assert [example.id.split("-")[2] for example in load_examples(out)][::10] == ["0001", "0002", "0003", "0004"]


def test_what_a_batch_did_not_answer_is_asked_in_the_next(server: MessagesServer, tmp_path: Path):
    """Overloaded and expired requests are not paid; invalid ones stop the run."""
    out = tmp_path / "run"
    server.fates = {"0002": "errored", "0003": "expired"}

    code, _, err = synthesize(out, *TASKS, "--count", "40", "--batch", "--poll", "0.02")

    assert (code, report_of(out)["answered"]) == (0, 4), err
    assert len(server.batches["msgbatch_01"]["requests"]) == 4
    assert {r["custom_id"][-4:] for r in server.batches["msgbatch_02"]["requests"]} == {"0002", "0003"}

    server.fates = {"0001": "invalid"}
    code, _, err = synthesize(tmp_path / "other", *TASKS, "--count", "20", "--batch", "--poll", "0.02")
    assert code == 1
    assert "1 of 2 requests were not answered: errored: invalid_request_error: no." in err
    assert report_of(tmp_path / "other")["answered"] == 1


def test_results_that_break_off_are_fetched_again(server: MessagesServer, tmp_path: Path):
    """What came is kept, and is not there twice."""
    out = tmp_path / "run"
    server.result_faults = [Fault("torn"), Fault("status", 503)]

    code, _, err = synthesize(out, *TASKS, "--count", "60", "--batch", "--poll", "0.02")

    assert (code, report_of(out)["examples"], len(server.batches)) == (0, 60, 1), err
    lines = (out / "raw" / "replies.jsonl").read_text().splitlines()
    assert Counter(json.loads(line)["event"] for line in lines) == {"submit": 1, "batch": 1, "result": 6, "done": 1}


def test_a_batch_that_nobody_heard_of_is_found(server: MessagesServer, tmp_path: Path):
    """The reply to its making got lost: the batch is looked for, and not paid twice."""
    out = tmp_path / "run"
    assert synthesize(out, *TASKS, "--count", "20", "--batch", "--poll", "0.02")[0] == 0
    ledger = out / "raw" / "replies.jsonl"
    ledger.write_text(ledger.read_text().splitlines()[0] + "\n")  # as if killed right after the batch was made

    code, _, err = synthesize(out, "--resume", "--poll", "0.02")

    assert (code, len(server.batches), report_of(out)["examples"]) == (0, 1, 20), err
    assert "was made by this run before it was killed" in err


def test_several_batches_that_fit_are_a_persons_choice(server: MessagesServer, tmp_path: Path):
    """Their ids are named, and one can be given."""
    runs = [tmp_path / "a", tmp_path / "b"]
    for out in runs:
        assert synthesize(out, *TASKS[:-1], out.name, "--count", "20", "--batch", "--poll", "0.02")[0] == 0
    ledger = runs[0] / "raw" / "replies.jsonl"
    ledger.write_text(ledger.read_text().splitlines()[0] + "\n")

    code, _, err = synthesize(runs[0], "--resume", "--poll", "0.02")
    assert code == 1
    assert "it may be msgbatch_02 or msgbatch_01. Give the right one with --resume --batch-id." in err
    assert synthesize(runs[0], "--resume", "--batch-id", "msgbatch_01", "--poll", "0.02")[0] == 0
    assert (len(server.batches), report_of(runs[0])["answered"]) == (2, 2)


def test_a_batch_can_be_ended(server: MessagesServer, tmp_path: Path):
    """What it has brought is kept, and no other is made."""
    out = tmp_path / "run"
    server.polls_to_end = 10**9
    with pytest.MonkeyPatch.context() as patch:  # Ctrl-C while waiting: a signal to this process would end the tests
        patch.setattr(asking, "_collect", _press_ctrl_c)
        code, _, err = synthesize(out, *TASKS, "--count", "40", "--batch", "--poll", "0.02")
    assert code == 130
    assert "goes on at the server, and is paid; --resume fetches it" in err

    code, _, err = synthesize(out, "--resume", "--cancel", "--poll", "0.02")

    assert (code, report_of(out)["answered"], report_of(out)["stopped"]) == (0, 2, "cancelled"), err
    assert len(server.batches) == 1


def _press_ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_open_model_of_ones_own(server: MessagesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Over the chat API, with a key of its own, free of charge."""
    monkeypatch.setenv("MY_KEY", KEY)
    out = tmp_path / "run"

    own = ("--base-url", f"{server.url}/v1", "--model", "Qwen/Qwen3-8B", "--key-env", "MY_KEY")
    code, _, err = synthesize(out, *TASKS, "--count", "10", *own, "--temperature", "1.2", "--licence", "Apache-2.0")

    assert code == 0, err
    assert (report_of(out)["examples"], report_of(out)["cost_usd"]) == (10, 0)
    assert {example.author for example in load_examples(out)} == {"Qwen/Qwen3-8B"}
    assert (server.headers[0]["Authorization"], server.bodies[0]["temperature"]) == (f"Bearer {KEY}", 1.2)
    assert no_key_in(out, err)


def test_openai_behind_another_name_is_found_out(server: MessagesServer, tmp_path: Path):
    """The reply names its model; the run stops there, and nothing of it becomes an example."""
    server.model = "gpt-4o-2024-08-06"

    code, _, err = synthesize(tmp_path / "run", *TASKS, "--count", "30", "--base-url", f"{server.url}/v1", "--model",
                              "house-model", "--concurrency", "1")  # fmt: skip

    assert (code, server.posts) == (1, 1)
    assert "Refused: 'gpt-4o-2024-08-06' names a model of OpenAI." in err
    assert report_of(tmp_path / "run")["rejected"] == {"output of an OpenAI model": 1}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(
            ("--base-url", "https://api.openai.com/v1", "--model", "x"), "terms of use", id="server of OpenAI"
        ),
        pytest.param(("--model", "gpt-5"), "terms of use", id="model of OpenAI"),
        pytest.param(("--base-url", "http://127.0.0.1:9/v1"), "needs --model", id="no model"),
        pytest.param(("--base-url", "http://x/v1", "--model", "m", "--batch"), "--batch is for Claude", id="batch"),
        pytest.param(("--model", "claude-0"), "No price is known", id="price"),
        pytest.param(("--temperature", "1"), "takes no --temperature", id="temperature"),
        pytest.param(("--batch-id", "x"), "Add --resume", id="batch id"),
        pytest.param(("--resume", "--count", "5"), "--resume takes --count from", id="planned twice"),
        pytest.param(("--resume",), "No run to go on with", id="no run"),
        pytest.param(("--kind", "odd"), "Possible: single", id="kind"),
        pytest.param((), "No API key. Export ANTHROPIC_API_KEY", id="key"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, why):
    """On stderr, with exit status 1 and nothing on stdout."""
    for name in clients.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    code, out, err = synthesize(tmp_path / "run", *words)

    assert (code, out) == (1, "")
    assert why in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_a_run_is_not_begun_twice(server: MessagesServer, tmp_path: Path):
    """A folder with a run is only gone on with."""
    assert synthesize(tmp_path / "run", *TASKS, "--count", "1")[0] == 0

    code, _, err = synthesize(tmp_path / "run", *TASKS, "--count", "1")

    assert code == 1
    assert "holds a run. Go on with --resume" in err


def test_other_runs_beside_count_as_known(server: MessagesServer, tmp_path: Path):
    """The same answers in a second run are near-duplicates of the first."""
    assert synthesize(tmp_path / "a", *TASKS, "--count", "5")[0] == 0
    assert synthesize(tmp_path / "b", *TASKS, "--count", "5")[0] == 0

    assert report_of(tmp_path / "b")["rejected"] == {"close to a known example": 5}


@pytest.mark.parametrize("words", [(), ("--batch",)], ids=["live", "batch"])
def test_a_full_disk_stops_before_anything_is_paid(
    server: MessagesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words
):
    """A reply that cannot be kept is not asked for."""
    monkeypatch.setattr(ledger_module, "ROOM", 2**60)

    code, _, err = synthesize(tmp_path / "run", *TASKS, "--count", "5", *words)

    assert (code, server.posts) == (1, 0)
    assert "Free that place, then go on with --resume." in err


def start(out: Path, url: str, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}
    line = [sys.executable, "-m", "training", "synthesize", "--out", str(out), *words]
    return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


@pytest.mark.slow
def test_kill_9_loses_no_paid_answer(tmp_path: Path):
    """Killed again and again: what the ledger holds is never asked for again, and the run comes to its end."""
    out = tmp_path / "run"
    with serve_messages() as server:
        server.delay = 0.05
        words: tuple[str, ...] = (*TASKS, "--count", "200", "--concurrency", "2")
        for kill_at in (3, 9):
            process = start(out, server.url, *words)
            wait_for(lambda at=kill_at: len(server.asked) >= at, process)
            process.kill()
            process.communicate()
            plan, state = read_plan(out / "plan.json"), load_state(out / "raw" / "replies.jsonl")
            kept = {request.prompt for request in plan.requests if request.id in state.replies}
            # Two at once: at most these two were on their way when it died.
            assert len(server.asked) - len(kept) <= 4
            asked_before = len(server.asked)
            words = ("--resume", "--concurrency", "2")
        process = start(out, server.url, *words)
        _, err = process.communicate(timeout=300)

        assert process.returncode == 0, err
        assert not kept & set(server.asked[asked_before:])
        assert set(server.asked) == {request.prompt for request in plan.requests}
        report = report_of(out)
        assert (report["answered"], report["examples"]) == (20, 200)
        assert len(server.asked) <= 20 + 4
        assert no_key_in(out, err)


@pytest.mark.slow
def test_kill_9_while_a_batch_runs(tmp_path: Path):
    """The batch is paid once, whenever the kill came."""
    out = tmp_path / "run"
    with serve_messages() as server:
        server.polls_to_end = 10**9
        process = start(out, server.url, *TASKS, "--count", "40", "--batch", "--poll", "0.05")
        wait_for(lambda: server.batches and next(iter(server.batches.values()))["polls"] > 1, process)
        process.kill()
        process.communicate()
        server.polls_to_end = 2
        process = start(out, server.url, "--resume", "--poll", "0.05")
        _, err = process.communicate(timeout=300)

        assert (process.returncode, len(server.batches)) == (0, 1), err
        assert report_of(out)["examples"] == 40


@pytest.mark.slow
def test_ctrl_c_waits_for_what_is_paid(tmp_path: Path):
    """Once: nothing more is sent, what is on its way is kept, exit status 130 and the command to go on with."""
    out = tmp_path / "run"
    with serve_messages() as server:
        server.delay = 2.0
        process = start(out, server.url, *TASKS, "--count", "200", "--concurrency", "3")
        wait_for(lambda: server.busy == 3, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)

        assert process.returncode == 130, err
        assert f"python -m training synthesize --resume --out {out}" in err
        assert (server.posts, report_of(out)["answered"], report_of(out)["stopped"]) == (3, 3, "interrupted")


def test_the_sum_of_a_run_is_the_ledgers(server: MessagesServer, tmp_path: Path):
    """The report can be made again from the folder alone."""
    out = tmp_path / "run"
    assert synthesize(out, *TASKS, "--count", "15")[0] == 0

    plan, state = read_plan(out / "plan.json"), load_state(out / "raw" / "replies.jsonl")

    assert report_of(out)["cost_usd"] == pytest.approx(spent(plan, state))
