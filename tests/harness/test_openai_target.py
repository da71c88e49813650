"""The OpenAI-compatible target against a small server on loopback, and against a real ``transformers serve``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from loopback import LoopbackServer, complete

from harness.errors import SetupError, TargetError
from harness.prompt import render_llama3
from harness.targets import Decoding, LazyTarget, Prompt, TargetSpec, check_spec, load_target
from harness.types import Message


def ask(text: str) -> Prompt:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content=text))
    return Prompt(messages, render_llama3(messages))


def at(server: LoopbackServer | str, **options: str) -> TargetSpec:
    url = server if isinstance(server, str) else server.url
    return TargetSpec("openai", options={"url": url, **options})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_requests_are_greedy_and_carry_the_whole_conversation():
    with LoopbackServer() as server, load_target(at(server)) as target:
        found = dict(target.generate([ask("one"), ask("two")], Decoding(max_tokens=17, seed=5)))

    assert [found[i].text for i in range(2)] == ["said: one", "said: two"]
    assert all(reply.seconds > 0 and reply.tokens == 3 and not reply.truncated for reply in found.values())
    body = next(body for body in server.bodies if body["messages"][-1]["content"] == "one")
    assert {"model": "tiny", "temperature": 0, "seed": 5, "max_tokens": 17, "stream": False}.items() <= body.items()
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_each_prompt_is_asked_once_and_within_the_bound():
    """Not more requests at once than the option allows."""
    running, most = [], []

    def answer(body):
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return 200, complete("ok")

    with LoopbackServer(answer) as server, load_target(at(server, concurrency="3")) as target:
        found = dict(target.generate([ask(f"q{i}") for i in range(20)], Decoding()))

    assert set(range(20)) == set(found)
    assert {1} == set(server.asked.values())
    assert 1 < max(most) <= 3


def test_a_reply_at_the_limit_is_flagged():
    with LoopbackServer(lambda body: (200, complete("cut", "length"))) as server, load_target(at(server)) as target:
        assert target.time_one(ask("x"), Decoding()).truncated


def test_a_busy_server_is_asked_again():
    """503 is retried; the reply counts as one."""
    answers = iter([(503, {}), (429, {}), (200, complete("at last"))])

    with LoopbackServer(lambda body: next(answers)) as server, load_target(at(server)) as target:
        assert target.time_one(ask("x"), Decoding()).text == "at last"
    assert server.asked["x"] == 3


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        pytest.param(400, {"error": "bad\nrequest"}, "answered 400", id="refused"),
        pytest.param(503, {}, "answered 503", id="busy to the end"),
        pytest.param(200, b"<html>", "no chat completion: <html>", id="no JSON"),
        pytest.param(200, {"choices": []}, "no chat completion", id="no choice"),
        pytest.param(200, complete([1]), "no text", id="content of another type"),  # type: ignore[arg-type]
    ],
)
def test_an_answer_that_is_none_is_an_error_of_its_case(status, body, message):
    with (
        LoopbackServer(lambda request: (status, body)) as server,
        load_target(at(server, retries="1")) as target,
        pytest.raises(TargetError, match=message) as caught,
    ):
        target.time_one(ask("x"), Decoding())
    assert "\n" not in str(caught.value)


def test_a_reply_that_takes_too_long_is_not_asked_again():
    """A timeout is an error of its case at once: asking again would take as long again."""

    def answer(body):
        time.sleep(1.5)
        return 200, complete("late")

    with (
        LoopbackServer(answer) as server,
        load_target(at(server, timeout="1")) as target,
        pytest.raises(TargetError, match="gave no reply within 1 s"),
    ):
        target.time_one(ask("x"), Decoding())
    assert server.asked["x"] == 1


def test_no_content_is_an_empty_reply():
    """null is silence: scored, not an error."""
    with LoopbackServer(lambda body: (200, complete(None))) as server, load_target(at(server)) as target:  # type: ignore[arg-type]
        assert target.time_one(ask("x"), Decoding()).text == ""


def test_a_refused_connection_is_one_line_with_the_address():
    url = f"http://127.0.0.1:{free_port()}/v1"

    with pytest.raises(SetupError) as caught:
        _ = LazyTarget(at(url)).identity
    assert f"{url}/models refused the connection. Start the server there" in str(caught.value)


def test_a_server_that_goes_away_fails_the_rest_quickly():
    """Once the connection is refused the remaining prompts are not tried one by one."""
    with LoopbackServer() as server:
        target = load_target(at(server, concurrency="2"))
    started = time.perf_counter()
    with target:
        found = dict(target.generate([ask(f"q{i}") for i in range(200)], Decoding()))

    assert set(range(200)) == set(found)
    assert all(isinstance(answer, TargetError) for answer in found.values())
    assert time.perf_counter() - started < 10


def test_the_key_comes_from_the_named_variable(monkeypatch):
    monkeypatch.setenv("MY_SERVER_KEY", "sesame")
    with LoopbackServer() as server, load_target(at(server, key_env="MY_SERVER_KEY")) as target:
        target.time_one(ask("x"), Decoding())

    assert server.headers[0]["Authorization"] == "Bearer sesame"
    assert "sesame" not in str(target.identity)
    with pytest.raises(SetupError, match="no such environment variable"):
        check_spec(at(server, key_env="NOT_THERE"))


def test_the_model_is_named_or_the_only_one():
    with LoopbackServer(models=("base", "lora")) as server:
        with pytest.raises(SetupError, match=r"several models or none: base, lora. Choose one"):
            _ = LazyTarget(at(server)).identity
        target = LazyTarget(at(server, model="lora", base_model="base"))
        alone = target.without_adapter()
        assert alone is not None
        assert (target.identity["model"], alone.identity["model"]) == ("lora", "base")
        assert target.identity["server"] == "loopback 1"
        assert LazyTarget(at(server, model="lora")).without_adapter() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"url": "localhost:8000"}, "is no http address", id="no scheme"),
        pytest.param({"timeout": "soon"}, "not a positive whole number", id="timeout"),
        pytest.param({"temperature": "1"}, "no option 'temperature'", id="sampling"),
    ],
)
def test_an_impossible_option_is_one_line(options, message):
    with pytest.raises(SetupError, match=message):
        check_spec(TargetSpec("openai", options=options))


@pytest.mark.slow
def test_transformers_serve_gives_the_replies_of_the_local_target(tmp_path):
    """Over a real server with our chat template in its tokenizer: same prompt, same greedy replies."""
    for module in ("torch", "peft", "fastapi", "uvicorn", "openai"):
        pytest.importorskip(module, reason="transformers serve needs it")
    from tiny_models import write_base

    base = write_base(tmp_path / "base")
    prompts = [ask(f"remind me to call mom, item {i}") for i in range(4)]
    with load_target(TargetSpec("local", base=str(base))) as local:
        wanted = dict(local.generate(prompts, Decoding(12)))
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(base), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu", "--dtype", "float32"]
    log = tmp_path / "server.log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, log)
            spec = at(f"http://127.0.0.1:{port}/v1", model=str(base), concurrency="1")
            with load_target(spec) as target:
                found = dict(target.generate(prompts, Decoding(12)))
        finally:
            server.terminate()
            server.wait(30)
    assert not [answer for answer in found.values() if isinstance(answer, TargetError)], log.read_text()[-2000:]
    for index, reply in wanted.items():
        # The server takes special tokens out of its text; the rest has to be the same.
        text = reply.text
        for special in (
            "<|python_tag|>",
            "<|finetune_right_pad_id|>",
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
        ):
            text = text.replace(special, "")
        assert text == found[index].text


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers; a server that stopped fails the test with its log."""
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    pytest.fail(f"no server at {url}: {log.read_text()[-2000:]}")
