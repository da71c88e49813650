"""The table of targets, replay, and the chat template that servers get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import DataError, SetupError, TargetError
from harness.prompt import EOT, render_llama3
from harness.targets import TARGETS, Decoding, LazyTarget, Prompt, TargetSpec, check_spec, load_target, target_class
from harness.types import Message

TEMPLATE = Path(__file__).parents[2] / "harness" / "embedded" / "chat_template.jinja"


def ask(text: str, case_id: str = "") -> Prompt:
    messages = (Message(role="user", content=text),)
    return Prompt(messages, render_llama3(messages), case_id)


def replay(path: Path, **options: str) -> TargetSpec:
    return TargetSpec("replay", options={"file": str(path), **options})


def write_recording(path: Path, replies: object) -> Path:
    path.write_text(json.dumps(replies), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_of_the_table_can_be_imported(name):
    """A line of the table names a class with the protocol's parts."""
    found = target_class(name)

    for part in ("resolve", "identify", "without_adapter", "prepare", "generate", "time_one", "close", "remember"):
        assert hasattr(found, part), part


def test_an_unknown_target_names_the_known_ones():
    with pytest.raises(SetupError) as caught:
        check_spec(TargetSpec("gpt"))
    assert str(caught.value) == "Unknown target 'gpt'. Known targets: cloudflare, local, openai, replay, worker."


def test_decoding_without_tokens_is_refused():
    with pytest.raises(SetupError, match="max_tokens is 0"):
        Decoding(max_tokens=0)


def test_replay_answers_by_case_digest_or_star(tmp_path):
    """A case's id goes before the prompt's digest, and that before the star."""
    by_digest = ask("two", "case-2")
    path = write_recording(tmp_path / "r.json", {"case-1": "one", by_digest.digest: "by digest", "*": "anything"})

    with load_target(replay(path)) as target:
        prompts = [ask("one", "case-1"), by_digest, ask("three", "case-3")]
        found = dict(target.generate(prompts, Decoding()))
    assert [found[i].text for i in range(3)] == ["one", "by digest", "anything"]


def test_replay_without_a_reply_is_an_error_and_no_guess(tmp_path):
    path = write_recording(tmp_path / "r.json", {"case-1": "one", "case-2": {"error": "server on fire"}})

    with load_target(replay(path)) as target:
        found = dict(target.generate([ask("x", "case-2"), ask("y", "case-9")], Decoding()))
    assert isinstance(found[0], TargetError)
    assert str(found[0]) == "server on fire"
    assert "no reply for case 'case-9'" in str(found[1])


def test_replay_gives_recorded_seconds_and_truncation(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "a", "reply": {"text": "slow", "seconds": 2.5, "truncated": true}}\n\n', encoding="utf-8")

    with load_target(replay(path)) as target:
        reply = target.time_one(ask("x", "a"), Decoding())
    assert (reply.seconds, reply.truncated) == (2.5, True)


def test_replay_reads_the_outcomes_of_a_run(tmp_path):
    """outcomes.jsonl of an earlier run is a recording."""
    path = tmp_path / "outcomes.jsonl"
    path.write_text('{"case_id": "a", "text": "hello", "verdict": "right", "truncated": false}\n', encoding="utf-8")

    with load_target(replay(path)) as target:
        assert target.time_one(ask("x", "a"), Decoding()).text == "hello"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("r.json", "{", "r.json:1: not JSON", id="broken JSON"),
        pytest.param("r.json", "[1]", "a recording is an object", id="a list"),
        pytest.param("r.json", '{"a": 1}', "r.json: a: a reply is a text", id="a number as reply"),
        pytest.param("r.jsonl", '{"id": "a", "reply": "x"}\n{"reply": "x"}', "r.jsonl:2: no id", id="no id"),
        pytest.param("r.jsonl", '{"id": "a", "reply": "x"}\n{"id": "a", "reply": "y"}', "recorded twice", id="twice"),
        pytest.param("r.json", '{"a": {"text": "x", "seconds": -1}}', "seconds is -1", id="negative time"),
    ],
)
def test_a_broken_recording_names_file_and_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        load_target(replay(tmp_path / name))


def test_replay_needs_a_recording(tmp_path):
    with pytest.raises(SetupError, match="needs a recording"):
        check_spec(TargetSpec("replay"))
    with pytest.raises(SetupError, match="No recording at"):
        check_spec(replay(tmp_path / "absent.json"))
    with pytest.raises(SetupError, match="no option 'seed'"):
        check_spec(replay(write_recording(tmp_path / "r.json", {}), seed="1"))


def test_a_lazy_target_loads_on_demand_and_knows_its_base(tmp_path):
    """Identity and size of the adapter come without loading; the base's recording is a target of its own."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"12345")
    path, base = write_recording(tmp_path / "r.json", {"*": "a"}), write_recording(tmp_path / "b.json", {"*": "b"})
    spec = TargetSpec("replay", adapter, options={"file": str(path), "base_file": str(base)})

    with LazyTarget(spec) as target:
        assert target.identity["recording"].startswith("sha256:")
        assert target.adapter_bytes == 5
        assert not target.loaded
        assert target.load().time_one(ask("x"), Decoding()).text == "a"
        assert target.loaded
        alone = target.without_adapter()
        assert alone is not None
        assert alone.load().time_one(ask("x"), Decoding()).text == "b"
    assert not target.loaded
    assert LazyTarget(replay(path)).without_adapter() is None


CONVERSATIONS = [
    [("system", "Be brief.\nCurrent time: 2026-03-02T09:00:00+00:00 (Monday)"), ("user", "  hi there \n")],
    [("user", "umlauts äöü, quotes \" and ' and {{ braces }}")],
    [
        ("system", "Rules."),
        ("user", "create a task"),
        ("assistant", '```json\n{"tool": "createTask", "params": {"title": "x"}}\n```'),
        ("tool", '{"id": "task_81", "title": "x"}'),
        ("assistant", "Done."),
        ("user", "thanks\u00a0"),
    ],
]


@pytest.mark.parametrize("generation_prompt", [True, False])
@pytest.mark.parametrize("turns", CONVERSATIONS, ids=["strip", "plain", "tools"])
def test_our_chat_template_is_our_rendering(turns, generation_prompt):
    """A server with this template reads the same prompt, byte for byte, as a local model."""
    template_utils = pytest.importorskip("transformers.utils.chat_template_utils", reason="renders with transformers")
    messages = [Message(role=role, content=content) for role, content in turns]
    rendered, _ = template_utils.render_jinja_template(
        conversations=[messages],
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
        add_generation_prompt=generation_prompt,
    )

    assert [render_llama3(messages, add_generation_prompt=generation_prompt)] == rendered
    assert rendered[0].count(EOT) == len(messages)
