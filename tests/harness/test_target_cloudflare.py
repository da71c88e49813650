"""The targets cloudflare and worker: against small servers on loopback, and against the emulator with its faults."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
from api_server import ACCOUNT, MODELS, TOKEN, ApiServer, cut_short, drop, echo_token, limited, reply_with
from emulated import TOKEN as EMULATED_TOKEN
from emulated import edit_json, running, write_adapter, write_base
from lora_folders import write_lora

from harness.attestation import digest_files, hash_folder
from harness.errors import SetupError, TargetError
from harness.prompt import load_prompt, render_llama3
from harness.runner import answer_prompts
from harness.store import ReplyStore
from harness.targets import Decoding, LazyTarget, Prompt, TargetSpec, check_spec, load_target
from harness.targets.neurons import Meter, count_neurons, estimate_cost
from harness.targets.remote import GoneError, Pace, ask_all
from harness.types import Message

NAME = "toolgate-0123456789ab-01234567"
NOW = "2026-03-02T09:00:00+00:00"
RUN = "POST .*/run/"


def ask(text: str) -> Prompt:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content=text))
    return Prompt(messages, render_llama3(messages), text)


def spec(*, adapter: Path | None = None, **options: str) -> TargetSpec:
    return TargetSpec("cloudflare", adapter, None, {"per_minute": "100000", **options})


def add_finetune(server: ApiServer, name: str, model: str = MODELS[0]) -> str:
    with server.client() as api:
        made = api.create_finetune(model, name, "d")
    server.files[made.id] = {"adapter_config.json": b"", "adapter_model.safetensors": b""}
    return made.id


@pytest.fixture
def server(monkeypatch):
    """An account with one fine-tune of ours; its replies repeat the last words of the prompt."""
    with ApiServer() as one:
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)
        add_finetune(one, NAME)
        one.say = lambda inputs: "said: " + inputs["prompt"].split("<|end_header_id|>\n\n")[2].split("<|")[0]
        forget(one)
        yield one


def forget(server: ApiServer) -> None:
    server.asked.clear()
    server.bodies.clear()


def runs(server: ApiServer) -> list[dict]:
    return [json.loads(b) for a, b in zip(server.asked, server.bodies, strict=True) if "/run/" in a]


# Asking.


def test_our_prompt_is_sent_raw_and_greedy_with_the_only_finetune_of_ours(server):
    """The one that deploy uploaded needs no name; the smallest seed that the API takes is 1."""
    with load_target(spec()) as target:
        found = dict(target.generate([ask("one"), ask("two")], Decoding(max_tokens=17)))

    assert [found[i].text for i in range(2)] == ["said: one", "said: two"]
    assert all(reply.tokens == 5 and reply.seconds > 0 and not reply.truncated for reply in found.values())
    body = next(body for body in runs(server) if "one" in body["prompt"])
    assert body == {
        "prompt": ask("one").text,
        "raw": True,
        "max_tokens": 17,
        "temperature": 0,
        "seed": 1,
        "lora": next(iter(server.tunes)),  # the id, not the name
    }


def test_a_reply_as_long_as_it_may_be_counts_as_cut(server):
    """The API does not tell; 5 tokens were written."""
    with load_target(spec()) as target:
        assert target.time_one(ask("x"), Decoding(max_tokens=5)).truncated
        assert not target.time_one(ask("x"), Decoding(max_tokens=6)).truncated


def test_the_base_alone_is_asked_without_lora(server):
    lazy = LazyTarget(spec(lora=NAME))
    base = lazy.without_adapter()
    with base:
        base.load().time_one(ask("x"), Decoding())

    assert "lora" not in runs(server)[0]
    assert base.identity["lora"] == base.identity["adapter"] == "none"
    assert base.without_adapter() is None
    assert base.identity != lazy.identity


def test_the_served_adapter_is_in_the_identity_and_the_token_is_not(server):
    """Fine-tunes cannot be changed: the id stands for the bytes. Another one has other keys."""
    other = add_finetune(server, "other")
    first, second = LazyTarget(spec(lora=NAME)).identity, LazyTarget(spec(lora="other")).identity

    assert first["lora"] == NAME
    assert first["finetune"] != second["finetune"] == other
    assert first["model"] == MODELS[0]
    assert TOKEN not in str(first)
    assert ACCOUNT not in str(first)


def test_the_finetune_is_found_by_the_adapters_digest(server, tmp_path):
    """Of several of ours the one that was uploaded from this adapter; another adapter's name is refused."""
    adapter = write_lora(tmp_path / "adapter")
    name = f"toolgate-{digest_files(hash_folder(adapter)).removeprefix('sha256:')[:12]}-89abcdef"
    with pytest.raises(SetupError, match=r"0 fine-tunes fit .*The account has: toolgate-0123456789ab"):
        _ = LazyTarget(spec(adapter=adapter)).identity
    add_finetune(server, name)

    assert LazyTarget(spec(adapter=adapter)).identity["lora"] == name
    with pytest.raises(SetupError, match="is of another adapter than"):
        _ = LazyTarget(spec(adapter=adapter, lora=NAME)).identity
    with pytest.raises(SetupError, match=r"2 fine-tunes are deploy's.*lora=NAME"):
        _ = LazyTarget(spec()).identity
    with pytest.raises(SetupError, match="0 fine-tunes are called 'nobody'"):
        _ = LazyTarget(spec(lora="nobody")).identity
    with pytest.raises(SetupError, match="was made for"):
        _ = LazyTarget(spec(lora=NAME, model=MODELS[1])).identity


def test_a_model_is_taken_from_the_finetune(server):
    add_finetune(server, "guard", MODELS[1])

    assert LazyTarget(spec(lora="guard")).identity["model"] == MODELS[1]


@pytest.mark.parametrize(
    ("options", "base", "why"),
    [
        pytest.param({"lorra": "x"}, None, "no option 'lorra'", id="unknown"),
        pytest.param({"model": "gpt"}, None, "'gpt' is no model", id="model"),
        pytest.param({"per_minute": "0"}, None, "per_minute='0'", id="number"),
        pytest.param({"dry": "maybe"}, None, "not a switch", id="switch"),
        pytest.param({}, "x/y", "takes no --base", id="base"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_is_asked(server, options, base, why):
    with pytest.raises(SetupError, match=why):
        check_spec(TargetSpec("cloudflare", None, base, options))
    assert server.asked == []


def test_an_adapter_and_no_adapter_do_not_go_together(server, tmp_path):
    with pytest.raises(SetupError, match="do not go together"):
        check_spec(spec(adapter=write_lora(tmp_path / "adapter"), lora="none"))


def test_missing_credentials_are_one_line(server, monkeypatch):
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")
    with pytest.raises(SetupError, match="CLOUDFLARE_API_TOKEN is not set"):
        check_spec(spec())


# Limits and failures.


def test_todays_neurons_end_the_run_and_the_store_resumes_it(server, tmp_path):
    """3036 is met once by each request in flight; what was answered is not asked again."""
    prompts = [ask(f"q{i}") for i in range(20)]
    server.faults += [(RUN, lambda handler: False)] * 5 + [(RUN, limited(3036))] * 15
    with LazyTarget(spec(concurrency="2")) as lazy:
        first = answer_prompts(prompts, lazy, ReplyStore(tmp_path), Decoding())
    refused = [answer for answer in first if isinstance(answer, TargetError)]
    asked = len(runs(server))
    server.faults.clear()
    forget(server)
    with LazyTarget(spec(concurrency="2")) as lazy:
        second = answer_prompts(prompts, lazy, ReplyStore(tmp_path), Decoding())

    assert len(refused) == 15
    assert all("10,000 free neurons" in str(answer) for answer in refused)
    assert asked <= 5 + 3
    assert [answer.text for answer in second] == [f"said: q{i}" for i in range(20)]
    assert len(runs(server)) == 15


@pytest.mark.parametrize("fault", [limited(3040, Retry_After="0"), limited(971, Retry_After="0"), drop, cut_short])
def test_what_passes_is_asked_again(server, fault):
    server.fail(RUN, fault)
    with load_target(spec()) as target:
        assert target.time_one(ask("x"), Decoding()).text == "said: x"
    assert len(runs(server)) == 2


def test_too_many_requests_hold_all_threads_back(server):
    """What the server asks for is waited for by those that were not refused, too."""
    server.fail(RUN, limited(971, Retry_After="1"))
    times = []
    say = server.say
    server.say = lambda inputs: (times.append(time.monotonic()), say(inputs))[1]
    with load_target(spec(concurrency="2")) as target:
        started = time.monotonic()
        found = dict(target.generate([ask(f"q{i}") for i in range(6)], Decoding()))

    assert {reply.text for reply in found.values()} == {f"said: q{i}" for i in range(6)}
    assert sum(at - started < 0.9 for at in times) <= 2  # those that were under way


def test_an_adapter_that_lacks_a_file_ends_the_run(server):
    server.files[next(iter(server.files))].clear()
    with load_target(spec(concurrency="1")) as target:
        found = dict(target.generate([ask(f"q{i}") for i in range(9)], Decoding()))

    assert all("the fine-tune lacks a file" in str(error) for error in found.values())
    assert len(runs(server)) <= 2


def test_one_prompt_that_is_too_long_is_the_only_one_without_reply(server):
    too_large = reply_with(413, {"success": False, "errors": [{"code": 3006, "message": "long"}]})
    server.fail(RUN, too_large)
    with load_target(spec(concurrency="1")) as target:
        found = dict(target.generate([ask(f"q{i}") for i in range(4)], Decoding()))

    assert [isinstance(found[i], TargetError) for i in range(4)] == [True, False, False, False]


def test_an_api_that_is_not_there_is_asked_once(server, monkeypatch):
    target = load_target(spec(concurrency="1"))
    server.faults = [("/run/", limited(10000))] * 99
    server.faults = [("/run/", reply_with(403, {"success": False, "errors": [{"code": 10000, "message": "no"}]}))] * 99
    found = dict(target.generate([ask(f"q{i}") for i in range(9)], Decoding()))
    target.close()

    assert all("the token is refused" in str(error) for error in found.values())
    assert len(runs(server)) <= 2


def test_failures_in_a_row_end_the_asking():
    """Of 100 prompts 5 are asked; the others have the last one's error."""
    asked = []

    def fail(prompt):
        asked.append(prompt)
        time.sleep(0.01)
        raise TargetError("500")

    found = dict(ask_all([ask(str(i)) for i in range(100)], fail, 1, give_up=5))

    assert len(found) == 100
    assert {str(error) for error in found.values()} == {"500"}
    assert len(asked) <= 7


def test_the_token_is_nowhere(server, tmp_path):
    """Not where the server repeats it in a page, nor in what is said, stored or shown of the target."""
    server.fail(RUN, echo_token)
    said = []
    with LazyTarget(spec(concurrency="1")) as lazy:
        lazy.say = said.append
        answers = answer_prompts([ask("a"), ask("b")], lazy, ReplyStore(tmp_path), Decoding())
        shown = repr(vars(lazy.load())) + str(lazy.identity)
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.json"))

    assert any(isinstance(answer, TargetError) and "[token]" in str(answer) for answer in answers)
    assert TOKEN not in "".join(map(str, answers)) + "".join(said) + shown + stored


class _Clock:
    """A time of its own for Pace: sleeping moves it."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.lists(st.floats(0, 20), min_size=1, max_size=400))
def test_no_minute_holds_more_requests_than_allowed(per_minute, burst, gaps):
    """Whatever a caller's own rhythm is, and also right after a long silence."""
    clock = _Clock()
    pace = Pace(per_minute, burst, clock=clock, sleep=clock.sleep)
    times = []
    for gap in gaps:
        clock.now += 0 if gap < 10 else gap
        pace.take()
        times.append(clock.now)

    assert max(sum(at <= other < at + 59.999 for other in times) for at in times) <= max(per_minute, 2)


def test_a_pause_holds_those_that_wait_already():
    clock = _Clock()
    pace = Pace(60, 1, clock=clock, sleep=clock.sleep)
    pace.take()
    pace.pause(30)
    pace.take()

    assert clock.now >= 1030


# Cost.


def test_cost_is_said_before_and_after(server):
    """0.25 neurons a reply; before, the price of the prompt and a usual reply."""
    said = []
    with LazyTarget(spec()) as lazy:
        lazy.say = said.append
        dict(lazy.load().generate([ask("one"), ask("two")], Decoding()))
        before = list(said)

    assert len(before) == 1
    assert before[0].startswith(f"estimate for {MODELS[0]}, adapter {NAME}: 2 requests, about ")
    assert "at most" in before[0]
    assert said[1] == f"spent: 2 replies of {MODELS[0]}, 20 + 10 tokens: 0.5 neurons ($0.0000)"


def test_a_dry_run_asks_nothing(server):
    said = []
    with LazyTarget(spec(dry="true")) as lazy:
        lazy.say = said.append
        found = dict(lazy.load().generate([ask("one")], Decoding()))
        with pytest.raises(TargetError, match="dry run"):
            lazy.load().time_one(ask("one"), Decoding())

    assert "dry run: nothing was asked" in str(found[0])
    assert len(said) == 1
    assert runs(server) == []


def test_prices_are_those_that_were_seen():
    """38 + 8 tokens cost 0.4195 neurons live, with an adapter; unknown models have no price."""
    meter = Meter("@cf/unknown/model")
    meter.add(10, 5, None)

    assert count_neurons(MODELS[0], 38, 8) == pytest.approx(0.4195, abs=1e-4)
    assert estimate_cost("@cf/unknown/model", ["x" * 41], 256).likely is None
    assert estimate_cost(MODELS[0], ["x" * 41], 256).prompt_tokens == 10
    assert str(meter).endswith("an unknown number of neurons; 1 replies did not tell their neurons, the price list did")


# The Worker.


class WorkerServer:
    """What a deployed Worker looks like from outside; ``answer`` gets the request's JSON."""

    def __init__(self, health=None):
        self.health = health
        self.bodies, self.headers = [], []
        self.answer = lambda body: (200, {"text": "said: " + body["messages"][-1]["content"], "truncated": False})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                found = self.path == "/api/health" and outer.health is not None
                self.reply(200 if found else 404, outer.health if found else {"error": "no such page"})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append((self.path, body))
                outer.headers.append(dict(self.headers.items()))
                self.reply(*outer.answer(body))

            def reply(self, status, body):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def worker():
    with WorkerServer({"adapter": NAME, "model": MODELS[0]}) as one:
        yield one


def case_prompt(text: str) -> Prompt:
    conversation = [Message(role="user", content=text)]
    prompt = load_prompt()
    return Prompt(tuple(prompt.messages(conversation, NOW)), prompt.render(conversation, NOW), text)


def to_worker(server: WorkerServer, **options: str) -> TargetSpec:
    return TargetSpec("worker", options={"url": server.url + "/", **options})


def test_a_worker_gets_the_conversation_and_the_time(worker):
    """Not our system prompt: it has its own."""
    with load_target(to_worker(worker)) as target:
        reply = dict(target.generate([case_prompt("hi")], Decoding()))[0]

    assert reply.text == "said: hi"
    assert worker.bodies == [("/api/reply", {"messages": [{"role": "user", "content": "hi"}], "now": NOW})]
    assert not reply.truncated


def test_a_worker_that_cut_its_reply_says_so(worker):
    worker.answer = lambda body: (200, {"text": "half", "truncated": True})
    with load_target(to_worker(worker)) as target:
        assert target.time_one(case_prompt("hi"), Decoding()).truncated


def test_what_a_worker_serves_is_in_the_key(worker):
    """One that does not tell is never taken for what it was in another process, unless its version is named."""
    told = LazyTarget(to_worker(worker)).identity
    worker.health = None
    untold, named = LazyTarget(to_worker(worker)).identity, LazyTarget(to_worker(worker, version="v3")).identity

    assert (told["adapter"], told["worker model"], told["target"]) == (NAME, MODELS[0], "worker")
    assert untold["worker version"].startswith("untold ")
    assert named["worker version"] == "v3"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param((400, {"error": {"code": "bad-request", "message": "no"}}), "answered 400", id="400"),
        pytest.param((200, b"<html>"), "answered 200: <html>", id="a page"),
        pytest.param((200, {"reply": "x"}), "answered 200", id="no text"),
        pytest.param((302, b""), "answered 302: nothing", id="redirect"),
        pytest.param((200, {"text": "x", "adapter": "other"}), "answered with other, not toolgate-", id="switched"),
    ],
)
def test_what_is_no_reply_is_an_error_and_no_answer(worker, answer, why):
    """Also a good reply of another adapter: traffic was switched, or is split."""
    worker.answer = lambda body: answer
    with load_target(to_worker(worker)) as target, pytest.raises(TargetError, match=why):
        target.time_one(case_prompt("hi"), Decoding())
    assert len(worker.bodies) == 1


@pytest.mark.parametrize("status", [429, 502, 504])
def test_a_worker_that_is_busy_is_asked_again(worker, status):
    answers = iter([(status, {"error": {"code": 3040, "message": "busy"}}), (200, {"text": "at last"})])
    worker.answer = lambda body: next(answers)
    with load_target(to_worker(worker)) as target:
        assert target.time_one(case_prompt("hi"), Decoding()).text == "at last"


@pytest.mark.parametrize(("status", "code"), [(429, 3036), (503, "no-adapter"), (502, 5033)])
def test_a_worker_that_cannot_answer_today_is_asked_no_more(worker, status, code):
    """No neurons, no adapter set, an adapter that is gone."""
    worker.answer = lambda body: (status, {"error": {"code": code, "message": "no"}})
    with load_target(to_worker(worker, concurrency="1")) as target:
        found = dict(target.generate([case_prompt(f"q{i}") for i in range(9)], Decoding()))

    assert all(isinstance(error, TargetError) for error in found.values())
    assert len(worker.bodies) == 1


def test_a_workers_usage_is_summed_up(worker):
    """It tells tokens, not neurons; the price list stands in."""
    usage = {"prompt_tokens": 400, "completion_tokens": 40}
    worker.answer = lambda body: (200, {"text": "x", "adapter": NAME, "usage": usage})
    said = []
    with LazyTarget(to_worker(worker)) as lazy:
        lazy.say = said.append
        found = dict(lazy.load().generate([case_prompt("hi")], Decoding()))

    assert found[0].tokens == 40
    assert said[1].startswith(f"spent: 1 replies of {MODELS[0]}, 400 + 40 tokens: 3.1 neurons")


def test_a_worker_with_another_adapter_than_the_given_one_is_refused(worker, tmp_path):
    adapter = write_lora(tmp_path / "adapter")
    with pytest.raises(SetupError, match="is of another adapter than"):
        _ = LazyTarget(TargetSpec("worker", adapter, None, {"url": worker.url})).identity


def test_a_worker_that_refuses_us_is_asked_no_more(worker):
    worker.answer = lambda body: (401, {"error": "who are you?"})
    with load_target(to_worker(worker, concurrency="1")) as target:
        found = dict(target.generate([case_prompt(f"q{i}") for i in range(9)], Decoding()))

    assert all("answered 401" in str(error) for error in found.values())
    assert len(worker.bodies) <= 2


def test_a_workers_token_is_sent_and_never_shown(worker, monkeypatch):
    monkeypatch.setenv("WORKER_TOKEN", "hush-4711")
    worker.answer = lambda body: (400, {"error": f"you sent {worker.headers[-1]['Authorization']}"})
    with (
        load_target(to_worker(worker, key_env="WORKER_TOKEN")) as target,
        pytest.raises(TargetError) as caught,
    ):
        target.time_one(case_prompt("hi"), Decoding())

    assert worker.headers[0]["Authorization"] == "Bearer hush-4711"
    assert "[token]" in str(caught.value)
    assert "hush" not in str(caught.value) + str(target.identity)
    with pytest.raises(SetupError, match="in clear"):
        check_spec(TargetSpec("worker", options={"url": "http://example.org", "key_env": "WORKER_TOKEN"}))


@pytest.mark.parametrize("url", ["", "ftp://x", "worker.example.org", "http://u:p@x"])
def test_a_wrong_address_of_a_worker_is_told(url):
    with pytest.raises(SetupError, match="is no address of a Worker"):
        check_spec(TargetSpec("worker", options={"url": url}))


def test_a_worker_that_is_not_there_is_told():
    with WorkerServer() as gone:
        url = gone.url
    with pytest.raises(SetupError, match="refused the connection"):
        _ = LazyTarget(TargetSpec("worker", options={"url": url})).identity


def test_a_prompt_without_a_time_cannot_be_put_to_a_worker(worker):
    with load_target(to_worker(worker)) as target, pytest.raises(TargetError, match="names no time"):
        target.time_one(ask("x"), Decoding())
    assert not isinstance(TargetError("x"), GoneError)


# The emulator: real inference, the API's quirks, faults.


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulator")
    base = write_base(folder / "base", max_position_embeddings=4096)
    adapter = write_adapter(folder / "adapter", base)
    edit_json(adapter / "adapter_config.json", model_type="llama")
    with running(folder / "state", base) as client:
        client.upload(adapter, NAME)
        yield client


@pytest.fixture
def emulated(emulator, monkeypatch):
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", emulator.account)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", EMULATED_TOKEN)
    monkeypatch.setenv("CLOUDFLARE_API_BASE_URL", emulator.api)
    yield emulator
    emulator.http.delete(f"{emulator.url}/emulator/faults", timeout=9)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["429-3040", "429-rate", "500", "html", "reset", "lost", "slow", "truncated", "cut"])
def test_the_emulators_passing_faults_change_no_reply(emulated, fault):
    """Whatever happens on the way, the replies are those of a quiet day."""
    prompts = [ask(f"remind me {i}") for i in range(4)]
    with load_target(spec()) as target:
        quiet = dict(target.generate(prompts, Decoding(max_tokens=6)))
        emulated.plan(fault, on="run", after=1, seconds=1)
        found = dict(target.generate(prompts, Decoding(max_tokens=6)))

    assert {i: reply.text for i, reply in found.items()} == {i: reply.text for i, reply in quiet.items()}


@pytest.mark.slow
def test_the_emulators_lasting_faults_end_in_one_line(emulated):
    """A day without neurons, and a server that hangs."""
    with load_target(spec(timeout="1", concurrency="1")) as target:
        target.time_one(ask("warm up"), Decoding(max_tokens=1))
        emulated.plan("429-3036", on="run", times=None)
        found = dict(target.generate([ask(f"q{i}") for i in range(5)], Decoding(max_tokens=4)))
        emulated.http.delete(f"{emulated.url}/emulator/faults", timeout=9)
        emulated.plan("hang", on="run", seconds=3)
        with pytest.raises(TargetError, match="gave no whole answer within 1 s"):
            target.time_one(ask("x"), Decoding(max_tokens=4))

    assert all("10,000 free neurons" in str(error) for error in found.values())


@pytest.mark.slow
def test_the_emulator_tells_what_it_cost_and_serves_the_adapter(emulated):
    said = []
    with LazyTarget(spec()) as lazy:
        lazy.say = said.append
        mine = lazy.load().time_one(ask("remind me"), Decoding(max_tokens=8))
        base = lazy.without_adapter()
        with base:
            plain = base.load().time_one(ask("remind me"), Decoding(max_tokens=8))

    assert mine.text != plain.text
    assert mine.truncated
    assert "neurons ($" in said[0]


@pytest.mark.slow
@pytest.mark.node
def test_a_real_worker_answers_as_the_rest_api_does(emulated, monkeypatch):
    """workerd with the Worker of this repository, its AI binding at the emulator: the same prompt, the same reply."""
    from test_worker import WORKER, started

    if not (shutil.which("node") and (WORKER / "node_modules" / "miniflare").exists()):
        pytest.skip("deploy/worker/node_modules is missing; run npm ci in deploy/worker")
    prompt = case_prompt("remind me to call mom tomorrow")
    with started(f"--ai={emulated.url}", f"--adapter={NAME}", "--timeout=60000") as url:
        to = TargetSpec("worker", options={"url": url})
        with pytest.raises(SetupError, match="refused us"):
            _ = LazyTarget(to).identity
        monkeypatch.setenv("WORKER_ACCESS_TOKEN", EMULATED_TOKEN)
        with load_target(to) as through, load_target(spec()) as direct:
            served, wanted = through.time_one(prompt, Decoding()), direct.time_one(prompt, Decoding())
            identity = through.identity

    assert (served.text, served.tokens, served.truncated) == (wanted.text, wanted.tokens, wanted.truncated)
    assert (identity["adapter"], identity["worker prompt"]) == (NAME, load_prompt().digest)
