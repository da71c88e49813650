"""Example lines: what is read, what is refused and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SetupError
from harness.toolset import load_toolset
from training.examples import ExampleError, format_example, load_examples, parse_example, read_examples, write_examples

TOOLSET = load_toolset()
CALL = '```json\n{"tool": "createTask", "params": {"title": "call mom", "priority": "medium"}}\n```'
LIST = '```json\n{"tool": "listTasks", "params": {"status": "open"}}\n```'
DONE = '```json\n{"tool": "completeTask", "params": {"taskId": "t-7"}}\n```'
RESULT = '{"tasks": [{"id": "t-7", "title": "call mom", "priority": "medium", "status": "open"}]}'


def make_line(*contents: tuple[str, str], **changes: Any) -> str:
    """A good line, with some keys changed; a value of None removes the key."""
    raw = {
        "id": "x-1",
        "kind": "single",
        "now": "2026-03-02T09:00:00+00:00",
        "messages": [{"role": r, "content": c} for r, c in contents or (("user", "call mom"), ("assistant", CALL))],
        "tools": ["createTask"],
        "source": "handcrafted",
        "licence": "Apache-2.0",
        "author": "toolgate",
    }
    return json.dumps({key: value for key, value in (raw | changes).items() if value is not None}, ensure_ascii=False)


def listed(last: str, tools: list[str]) -> str:
    return make_line(
        ("user", "my tasks"), ("assistant", LIST), ("tool", RESULT), ("user", "done"), ("assistant", last),
        kind="crud", tools=tools,
    )  # fmt: skip


def test_a_line_survives_the_round_trip():
    """Reading and writing an example gives the same line and the same value."""
    line = listed(DONE, ["listTasks", "completeTask"])
    example = parse_example(line, TOOLSET)

    assert format_example(example) == line
    assert parse_example(format_example(example), TOOLSET) == example


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("{oops", "not JSON", id="broken JSON"),
        pytest.param("[1]", "one JSON object", id="not an object"),
        pytest.param(make_line(now=None), "missing key now", id="missing key"),
        pytest.param(make_line(colour="red"), "unknown key colour", id="unknown key"),
        pytest.param(make_line(kind="other"), "unknown kind 'other'", id="unknown kind"),
        pytest.param(make_line(now="2026-03-02"), "not a time with an offset", id="no offset"),
        pytest.param(make_line(author=" "), "author must be a text", id="blank author"),
        pytest.param(make_line(tools="createTask"), "tools must be a list", id="tools as text"),
        pytest.param(make_line(tools=[]), "tools lists [], but the replies call ['createTask']", id="tools differ"),
        pytest.param(make_line(("assistant", CALL)), "begin with a user turn", id="assistant first"),
        pytest.param(make_line(("user", "hi")), "end with an assistant turn", id="user last"),
        pytest.param(make_line(("system", "x"), ("assistant", CALL)), "begin with a user turn", id="system prompt"),
        pytest.param(
            make_line(("user", "a"), ("user", "b"), ("assistant", CALL)), "user turn cannot be followed", id="two users"
        ),
        pytest.param(
            make_line(("user", "a"), ("assistant", "hi"), ("tool", "{}"), ("assistant", CALL)),
            "1 tool results follow a turn of 0 calls",
            id="result without call",
        ),
        pytest.param(
            make_line(("user", "a"), ("assistant", CALL), ("tool", "{oops"), ("assistant", "Done.")),
            "a tool's result is JSON text",
            id="result not JSON",
        ),
        pytest.param(make_line(("user", "a<|eot_id|>"), ("assistant", CALL)), "special-token", id="forged turn"),
        pytest.param(make_line(("user", "a"), ("assistant", " ")), "is empty", id="empty reply"),
        pytest.param(make_line(("user", "a "), ("assistant", CALL)), "space at its ends", id="space at the end"),
        pytest.param(make_line(("user", "a"), ("assistant", CALL[:-4])), "fence is not closed", id="unclosed fence"),
        pytest.param(
            make_line(("user", "a"), ("assistant", CALL.replace("medium", "soon"))), "breaks the schema", id="schema"
        ),
        pytest.param(
            make_line(("user", "a"), ("assistant", "Sure!\n" + CALL)), "as its blocks alone", id="prose beside a call"
        ),
        pytest.param(
            make_line(("user", "a"), ("assistant", CALL.replace('": "', '":"'))), "as its blocks alone", id="spacing"
        ),
        pytest.param(
            make_line(
                ("user", "a"),
                ("assistant", '```json\n{"tool": "createTask", "params": {"priority": "low", "title": "a"}}\n```'),
            ),
            "params in the order priority, title; the schema's is title, priority",
            id="order of params",
        ),
        pytest.param(
            make_line(("user", "a"), ("assistant", DONE), tools=["completeTask"]),
            "taskId 't-7', which no earlier tool result holds",
            id="invented id",
        ),
        pytest.param(
            listed(DONE.replace("t-7", "t-8"), ["listTasks", "completeTask"]), "taskId 't-8'", id="id of no result"
        ),
        pytest.param(make_line(kind="negative"), "ends in plain text", id="negative with a call"),
        pytest.param(make_line(("user", "a"), ("assistant", "Hi."), tools=[]), "no reply does", id="single without"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(line, why):
    """What the harness would not accept from a model is not taught to one."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_example(line, TOOLSET)

    assert why in str(caught.value)


def test_a_bad_line_is_named_and_the_others_are_kept(tmp_path: Path):
    """One broken line costs one line, with its place; loading strictly stops."""
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join([make_line(id="a"), "{", "", make_line(id="b"), make_line(id="a")]), encoding="utf-8")

    examples, problems = read_examples(file)

    assert [example.id for example in examples] == ["a", "b"]
    assert problems[0].startswith(f"{file}:2: not JSON")
    assert problems[1] == f"{file}:5: id 'a' is taken by {file}:1; ids are unique"
    with pytest.raises(ExampleError, match=r"some\.jsonl:2: .*and 1 more bad lines"):
        load_examples(file)


def test_line_separators_inside_a_text_do_not_break_a_line(tmp_path: Path):
    """U+2028 is a character of a JSON string, not the end of a line."""
    example = parse_example(make_line(("user", "a\u2028b"), ("assistant", CALL)), TOOLSET)
    write_examples(tmp_path / "x.jsonl", [example])

    assert load_examples(tmp_path) == [example]


@pytest.mark.parametrize("name", ["nothing.jsonl", "."])
def test_nothing_to_read_is_said(tmp_path: Path, name):
    """A missing file and a folder without lines are errors, not empty sets."""
    with pytest.raises(SetupError, match="Give a file or a folder"):
        load_examples(tmp_path / name)
