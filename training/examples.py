"""One training example and its JSON line, checked with the reader and the schema that judge a model's replies.

Covers: the format of a line, roles and their order, every assistant turn, ids that later calls use, files of lines.
Does not cover: whether the answer is the right one for the question (a person's work), or duplicates (training.data).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, SetupError
from harness.parsing import format_call, load_strict, parse_reply
from harness.prompt import has_special_tokens, weekday
from harness.toolset import Toolset, load_toolset
from harness.types import Message, Reply, ReplyKind

KINDS = ("single", "contrastive", "negative", "multi_turn", "crud", "compound", "general")
TEXT_KEYS = ("id", "kind", "now", "source", "licence", "author")
KEYS = (*TEXT_KEYS, "messages", "tools")  # "pair" is the only optional key
# What may stand after a role; a conversation begins with "user" and ends with "assistant".
FOLLOWERS = {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("tool", "assistant", "user")}


class ExampleError(DataError):
    """Lines of a file of examples are broken; the message starts with file and line number of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One conversation to learn from: every assistant turn in it is an answer that we want."""

    id: str
    kind: str  # one of KINDS
    now: str  # ISO 8601 with offset
    messages: tuple[Message, ...]  # without the system prompt; the last one is an assistant turn
    tools: tuple[str, ...]  # the tools called in it, in order
    source: str
    licence: str
    author: str
    pair: str | None = None  # both halves of a contrast share it


def parse_example(line: str, toolset: Toolset) -> Example:
    """Read one JSON line.

    Raises:
        ValueError: the line breaks the format or teaches a reply that the harness would not accept; says why.
    """
    raw = load_strict(line)
    if not isinstance(raw, dict):
        raise ValueError("a line holds one JSON object")
    if missing := [key for key in KEYS if key not in raw]:
        raise ValueError(f"missing key {', '.join(missing)}; a line has {', '.join(KEYS)} and perhaps pair")
    if unknown := [key for key in raw if key not in KEYS and key != "pair"]:
        raise ValueError(f"unknown key {', '.join(unknown)}; a line has {', '.join(KEYS)} and perhaps pair")
    messages, tools, pair = raw["messages"], raw["tools"], raw.get("pair")
    for key in TEXT_KEYS:
        if not isinstance(raw[key], str) or not raw[key].strip():
            raise ValueError(f"{key} must be a text that is not empty")
    if pair is not None and (not isinstance(pair, str) or not pair):
        raise ValueError("pair must be a text that is not empty, or left out")
    if not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools):
        raise ValueError("tools must be a list of tool names, [] for none")
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        raise ValueError("messages must be a list of {role, content}, both text")
    example = Example(
        id=raw["id"],
        kind=raw["kind"],
        now=raw["now"],
        messages=tuple(Message(role=m["role"], content=m["content"]) for m in messages),
        tools=tuple(tools),
        source=raw["source"],
        licence=raw["licence"],
        author=raw["author"],
        pair=pair,
    )
    if problems := check_example(example, toolset):
        raise ValueError("; ".join(problems))
    return example


def format_example(example: Example) -> str:
    """The JSON line of an example, without the newline; ``parse_example`` reads it back as an equal value."""
    head: dict[str, Any] = {"id": example.id, "kind": example.kind}
    if example.pair is not None:
        head["pair"] = example.pair
    body = {
        "now": example.now,
        "messages": [{"role": m["role"], "content": m["content"]} for m in example.messages],
        "tools": list(example.tools),
        "source": example.source,
        "licence": example.licence,
        "author": example.author,
    }
    return json.dumps(head | body, ensure_ascii=False)


def check_example(example: Example, toolset: Toolset) -> list[str]:
    """Why an example must not be trained on; empty when it may."""
    problems: list[str] = []
    if example.kind not in KINDS:
        problems.append(f"unknown kind {example.kind!r}; known: {', '.join(KINDS)}")
    try:
        weekday(example.now)
    except SetupError as error:
        problems.append(str(error))
    problems += _check_order(example.messages)
    if problems:
        return problems  # the turns cannot be judged
    replies, ids = [], set[str]()
    for place, message in enumerate(example.messages, 1):
        role, content = message["role"], message["content"]
        where = f"message {place} ({role})"
        if not content.strip():
            problems.append(f"{where} is empty; a reply is a call or a short text")
        elif content != content.strip():
            problems.append(f"{where} has space at its ends, which the prompt format strips")
        if has_special_tokens(content):
            problems.append(f"{where} holds a special-token string <|…|>, which would forge a turn")
        if role == "tool":
            found, why = _read_result(content)
            ids |= found
            problems += [f"{where} {why}"] if why else []
        elif role == "assistant":
            reply = parse_reply(content)
            replies.append(reply)
            problems += [f"{where} {why}" for why in _check_reply(content, reply, ids, toolset)]
    called = tuple(call.tool for reply in replies for call in reply.calls)
    if called != tuple(example.tools):
        problems.append(f"tools lists {list(example.tools)}, but the replies call {list(called)}")
    return problems + _check_kind(example, called)


def read_examples(path: Path, toolset: Toolset | None = None) -> tuple[list[Example], list[str]]:
    """All good examples of a file (or of the ``*.jsonl`` of a folder), and one ``file:line: reason`` per bad line.

    Raises:
        SetupError: nothing is there to read.
    """
    toolset = toolset or load_toolset()
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise SetupError(f"No *.jsonl in {path}. Give a file or a folder of example lines.")
    examples: list[Example] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for file in files:
        for number, line in _read_lines(file):
            place = f"{file}:{number}"
            try:
                example = parse_example(line, toolset)
                if example.id in seen:
                    raise ValueError(f"id {example.id!r} is taken by {seen[example.id]}; ids are unique")
            except ValueError as error:
                problems.append(f"{place}: {error}")
                continue
            seen[example.id] = place
            examples.append(example)
    return examples, problems


def load_examples(path: Path, toolset: Toolset | None = None) -> list[Example]:
    """All examples of a file or folder; one bad line stops it.

    Raises:
        ExampleError: a line is broken; names the first one and counts the others.
        SetupError: nothing is there to read.
    """
    examples, problems = read_examples(path, toolset)
    if problems:
        more = f" (and {len(problems) - 1} more bad lines)" if len(problems) > 1 else ""
        raise ExampleError(problems[0] + more)
    return examples


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(format_example(example) + "\n" for example in examples), encoding="utf-8", newline="\n")


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"Cannot read {file}: {error.strerror}. Give a file or a folder of example lines.") from None
    except UnicodeDecodeError as error:
        raise ExampleError(f"{file}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
    # Not splitlines(): it also breaks at U+2028 and other characters that JSON allows inside strings.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _is_message(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {"role", "content"}:
        return False
    return all(isinstance(text, str) for text in value.values())


def _check_order(messages: Sequence[Message]) -> list[str]:
    roles = [message["role"] for message in messages]
    if not roles or roles[0] != "user" or roles[-1] != "assistant":
        return ["messages begin with a user turn and end with an assistant turn"]
    if unknown := sorted(set(roles) - FOLLOWERS.keys()):
        known = ", ".join(FOLLOWERS)
        return [f"unknown role {', '.join(map(repr, unknown))}; known: {known} (the system prompt is added)"]
    wrong = [(a, b) for a, b in itertools.pairwise(roles) if b not in FOLLOWERS[a]]
    if wrong:
        return [f"a {wrong[0][0]} turn cannot be followed by a {wrong[0][1]} turn"]
    results, calls = 0, 0
    for message in messages:
        if message["role"] == "assistant":
            results, calls = 0, len(parse_reply(message["content"]).calls)
        elif message["role"] == "tool":
            results += 1
            if results > calls:
                return [f"{results} tool results follow a turn of {calls} calls"]
    return []


def _check_reply(content: str, reply: Reply, ids: set[str], toolset: Toolset) -> list[str]:
    """Why an assistant turn is not a reply that we want."""
    if reply.kind is ReplyKind.MALFORMED:
        return [f"is malformed: {reply.malformed[0].why}"]
    if reply.kind is ReplyKind.NONE:
        return []
    problems = []
    for call in reply.calls:
        errors = toolset.schema_errors(call.tool, call.params)
        problems += [f"breaks the schema of {call.tool}: {why}" for why in errors]
        if call.tool not in toolset.tools:
            continue
        wanted = [name for name in toolset.tools[call.tool].parameters["properties"] if name in call.params]
        if list(call.params) != wanted:
            problems.append(f"has params in the order {', '.join(call.params)}; the schema's is {', '.join(wanted)}")
        for name, value in call.params.items():
            if name.endswith("Id") and value not in ids:
                problems.append(f"uses {name} {value!r}, which no earlier tool result holds")
    # One spelling of every call: what varies here would be learned as a choice.
    if not problems and content != "\n".join(map(format_call, reply.calls)):
        problems.append("is not written as its blocks alone, one line of JSON each, joined by one newline")
    return problems


def _check_kind(example: Example, called: Sequence[str]) -> list[str]:
    """Kinds are counted and mixed by their name, so the name must be true."""
    last = parse_reply(example.messages[-1]["content"])
    if example.kind in {"negative", "general"} and last.calls:
        return [f"kind {example.kind} ends in plain text, but the last reply calls {last.calls[0].tool}"]
    if example.kind in {"single", "compound"} and not called:
        return [f"kind {example.kind} calls a tool, but no reply does"]
    return []


def _read_result(content: str) -> tuple[set[str], str]:
    """The ids in a tool's result, and why it is none."""
    try:
        value = load_strict(content)
    except ValueError as error:
        return set(), f"is {error}; a tool's result is JSON text"
    return set(_find_ids(value)), ""


def _find_ids(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if (key == "id" or key.endswith("Id")) and isinstance(inner, str | int):
                yield str(inner)
            yield from _find_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _find_ids(inner)
