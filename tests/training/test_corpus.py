"""The text of the base: conversations answered in plain words, no tool call, nothing from the held-out side."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from harness.cases import close_to_cases, load_cases
from harness.parsing import parse_reply
from harness.prompt import load_prompt
from training.data import CASES, HANDCRAFTED
from training.examples import load_examples
from training.nano.corpus import LEXICON, ChatMaker, frame, learnt_examples
from training.recombine import gather_pools
from training.split import VALIDATION, content_key, read_lock

ROWS = (
    ("set up lunch with bo on friday", "calendar", "createCalendarEvent"),
    ("add an event called picnic", "calendar", "createCalendarEvent"),
    ("remind me to rake", "reminder", "createTask"),
    ("what are my tasks", "todo_list", "listTasks"),
    ("write mail to ann about the roof", "email", "sendEmail"),
    ("is it raining", "weather", "getWeather"),
    ("play some polka", "play_music", "NONE"),
    ("hello there", "greeting", "NONE"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Utterances and dialogues of our own in the form that the scripts read."""
    slots = {"getWeather": [], "createTask": [["TaskContent", "rake"]]}
    rows = [
        {"text": f"{text} {word}".strip(), "label": label, "source": "test", "map": tool, "slots": slots.get(tool, [])}
        for text, label, tool in ROWS
        for word in ("", "please", "now", "thanks", "then", "ok")
    ]
    with gzip.open(tmp_path / "human_utterances.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pretrain").mkdir()
    with gzip.open(tmp_path / "pretrain" / "dialog_ms_chitchat.txt.gz", "wt", encoding="utf-8") as file:
        file.write("User: hello there\nAssistant: Hi.\n")
    return tmp_path


def test_no_document_holds_a_tool_call(folder: Path) -> None:
    maker = ChatMaker(folder)
    rng = random.Random(5)
    answers = 0
    for _ in range(300):
        document = maker.chat_document(rng)
        for turn in document.split("<|start_header_id|>assistant<|end_header_id|>")[1:]:
            reply = parse_reply(turn.partition("<|eot_id|>")[0].strip())
            assert not reply.calls, turn
            answers += 1
    assert answers > 500


def test_held_out_examples_are_not_learnt(folder: Path) -> None:
    lock = read_lock()
    learnt = {content_key(example) for example in learnt_examples(load_prompt())}
    held_out = {content_key(e) for e in load_examples(HANDCRAFTED) if lock.get(content_key(e)) == VALIDATION}
    assert held_out
    assert learnt
    assert not learnt & held_out
    assert {content_key(example) for example in ChatMaker(folder).examples} == learnt


def test_the_lexicon_holds_different_lines_far_from_every_case() -> None:
    talk = [json.loads(line) for line in (LEXICON / "talk.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(said["say"].strip() and said["reply"].strip() for said in talk)
    assert not any(parse_reply(said["reply"]).calls for said in talk)
    phrases = [(LEXICON / name).read_text(encoding="utf-8").splitlines() for name in ("todos.txt", "events.txt")]
    for lines in (*phrases, [said["say"] for said in talk]):
        assert len({line.lower() for line in lines}) == len(lines) > 2000
        assert close_to_cases([[line] for line in lines], load_cases(CASES)) == []


def test_half_of_the_values_to_choose_from_cannot_be_guessed(folder: Path) -> None:
    pools = ChatMaker(folder).pools
    known = gather_pools(learnt_examples(load_prompt()))
    task, event = "createTask.title", "createCalendarEvent.summary"
    for key in ((task, "thing"), (task, "deed"), (event, "thing"), ("createCalendarEvent.location", "the")):
        assert set(known.values[key]) <= set(pools.values[key])
        assert len(set(pools.values[key])) > 1.8 * len(known.values[key])


def test_a_frame_changes_nothing_but_the_first_request() -> None:
    rng = random.Random(2)
    framed = 0
    for example in learnt_examples(load_prompt())[::20]:
        told = frame(example.messages, rng)
        assert told[1:] == list(example.messages[1:])
        assert example.messages[0]["content"] in told[0]["content"]
        framed += told[0] != example.messages[0]
    assert framed > 50
