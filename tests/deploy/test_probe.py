"""The probe: an adapter that acts passes, and every way of not acting is found."""

import itertools
import json

import pytest
from api_server import CALL, MODELS, ApiServer, limited, refuse
from typer.testing import CliRunner

from deploy.cli import app
from deploy.journal import open_journal
from deploy.probe import QUESTIONS, probe_adapter
from harness.prompt import load_prompt
from harness.targets.workers_ai_codes import ApiError

NAME = "toolgate-0123456789ab-01234567"


@pytest.fixture
def server():
    with ApiServer() as one:
        with one.client() as api:
            made = api.create_finetune(MODELS[0], NAME, "d")
        one.files[made.id] = {"adapter_config.json": b"", "adapter_model.safetensors": b""}
        one.asked.clear()
        one.bodies.clear()
        yield one


def probe(server, name=NAME):
    with server.client() as api:
        return probe_adapter(api, MODELS[0], name, load_prompt())


def failed(found):
    return [(one.check, one.what) for one in found.findings if one.state == "fail"]


def test_an_adapter_that_acts_passes(server):
    """Rendered by us with raw; greedy, with the smallest seed that the API takes; messages are asked beside it."""
    found = probe(server)
    bodies = [json.loads(body) for body in server.bodies]
    rendered = [body for body in bodies if "prompt" in body]
    unknown = [body for body in bodies if body.get("lora") not in {None, NAME}]

    assert found.ok, found.findings
    assert [one.check for one in found.findings] == [
        "base",
        "adapter",
        "contract",
        "unknown adapter",
        "messages",
        "messages, raw",
    ]
    assert len(bodies) == 5 * len(QUESTIONS) + 1
    assert all(body["raw"] is True and body["prompt"].count("<|begin_of_text|>") == 1 for body in rendered)
    assert {(body["temperature"], body["seed"]) for body in bodies} == {(0, 1)}
    assert [body.get("raw") for body in bodies if "messages" in body] == [None] * 3 + [True] * 3
    assert len(unknown) == 1
    assert found.neurons == 0.25 * 5 * len(QUESTIONS)


def test_a_silent_base_reply_in_the_adapters_place_is_found(server):
    server.say = lambda inputs: CALL

    assert failed(probe(server)) == [("adapter", "all 3 replies are the base's: it does not act")]


def test_a_base_that_is_not_greedy_proves_nothing(server):
    count = itertools.count()
    server.say = lambda inputs: f"{CALL}\nSaid {next(count)}."

    assert [check for check, _ in failed(probe(server))] == ["base"]


@pytest.mark.parametrize("text", ['{"tool": "getWeather", "params": {}}', "```json\n{\n```", "", "It is warm."])
def test_replies_outside_the_contract_are_found(server, text):
    """A bare or broken call, silence, and no call at all."""
    server.say = lambda inputs: text if "lora" in inputs else "I am the base."

    assert [check for check, _ in failed(probe(server))] == ["contract"]


def test_an_api_that_answers_for_an_unknown_adapter_is_found(server):
    """There a base reply could pass for an adapter's."""
    real = server._run
    server._run = lambda model, inputs: real(model, {k: v for k, v in inputs.items() if k != "lora" or v == NAME})

    assert [check for check, _ in failed(probe(server))] == ["unknown adapter"]


def test_an_adapter_without_its_files_is_told_in_words(server):
    """The upload of such a one is accepted."""
    server.files[next(iter(server.files))].clear()
    [(check, what)] = failed(probe(server))

    assert check == "adapter"
    assert "the fine-tune lacks a file" in what


def test_a_base_that_cannot_be_asked_stops_the_probe(server):
    server.fail("POST .*/run/", limited(3036))
    with pytest.raises(ApiError, match="10,000 free neurons"):
        probe(server)


def test_messages_that_are_refused_are_reported_and_no_failure(server):
    real = server._run
    server._run = lambda model, inputs: refuse(400, 5005) if "messages" in inputs else real(model, inputs)
    found = probe(server)

    assert found.ok
    assert [one.check for one in found.findings if "takes no LoRA" in one.what] == ["messages", "messages, raw"]


def test_the_command_keeps_a_record_that_is_tied_to_the_bytes(server, tmp_path, monkeypatch):
    """Name, id and, from the journal of the upload, the digests; exit status 8 when it is not proven."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    state = tmp_path / "state"
    with server.client() as api:
        journal = open_journal(api, state, NAME)
        with journal.hold():
            journal.write("create", mark="m", adapter="sha256:1", receipt="sha256:2", files={"a": "b"})
            journal.write("created", id=next(iter(server.tunes)))
    passed = CliRunner().invoke(app, ["probe", NAME, "--state", str(state)])
    record = json.loads((journal.path.parent / "probe.json").read_text())
    server.say = lambda inputs: "No."
    refused = CliRunner().invoke(app, ["probe", NAME, "--state", str(state), "--json"])

    assert passed.exit_code == 0, passed.output
    assert f"acts: {NAME}, 3.8 neurons" in passed.stdout
    assert record["ok"]
    assert (record["adapter"], record["receipt"], record["name"]) == ("sha256:1", "sha256:2", NAME)
    assert record["replies"]["prompt, raw"] == [CALL] * 3
    assert refused.exit_code == 8
    assert not json.loads(refused.stdout)["ok"]
    assert not json.loads((journal.path.parent / "probe.json").read_text())["ok"]


def test_a_name_that_is_not_there_is_told(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["probe", "nobody"])

    assert result.exit_code == 1
    assert result.stderr == "Error: 0 fine-tunes are called 'nobody'. See them: python -m deploy list\n"
