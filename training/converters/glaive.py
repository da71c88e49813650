"""glaiveai/glaive-function-calling-v2: one array of {"system", "chat"}; also as LLaMA-Factory rewrote it.

Covers: calls whose arguments are a JSON text in single quotes, declared functions that are not an array, "AI:" that was
replaced by an end of turn, the rewritten form with roles human, gpt, function_call, observation.
Does not cover: repairing calls; one that is cut off or holds no JSON refuses its row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from harness.parsing import load_strict
from training.converters._dialogues import Turn, make_examples
from training.converters._mapping import ForeignCall, snake_case
from training.converters.base import BadRow, Source, Unfit, read_conversation, read_text
from training.examples import Example

SOURCE = Source(
    url="https://huggingface.co/datasets/glaiveai/glaive-function-calling-v2",
    revision="e7f4b6456019f5d8bcb991ef0dd67d8ff23221ac",
    licence="Apache-2.0",
    author="glaiveai",
)
MARK = "<functioncall>"
END = "<|endoftext|>"

_SPEAKER = re.compile(r"(?:^|\n)[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE):[ \t]*")
_NAME = re.compile(r'"name"\s*:\s*"([^"\n]+)"')
_QUOTED = re.compile(r"\"(?:arguments|parameters)\"\s*:\s*'")
_CLOSED = re.compile(r"'\s*(?=\}|$)")
_OTHER_CALL = re.compile(r"\bAI to=|\bto=functions?\.|<function=|\[TOOL_CALLS\]|<tool_call>")
_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict) and "conversations" in row:
        yield from convert_conversation(row)
        return
    system, chat = read_text(row, "system"), read_text(row, "chat")
    declared = declared_names(system)
    turns = [read_turn(role, text, declared) for role, text in split_chat(chat)]
    yield from make_examples(
        turns, SOURCE, functions="no access to external functions" not in system and bool(declared)
    )


def convert_conversation(row: dict[str, Any]) -> Iterator[Example]:
    """The form of LLaMA-Factory: ``tools`` is a JSON text, a call is a turn of its own."""
    tools = row.get("tools")
    declared = declared_names(tools) if isinstance(tools, str) else set()
    turns: list[Turn] = []
    for role, text in read_conversation(row):
        if role in {"human", "user"}:
            turns.append(Turn("user", text))
        elif role in {"observation", "tool", "function_response"}:
            turns.append(Turn("tool", text))
        elif role == "function_call":
            turns.append(Turn("assistant", "", tuple(_check_declared(call, declared) for call in read_calls(text))))
        elif role in {"gpt", "assistant"}:
            turns.append(read_turn("assistant", text, declared))
        elif role != "system":
            raise BadRow("an unknown role")
    yield from make_examples(turns, SOURCE, functions=bool(declared))


def split_chat(chat: str) -> list[tuple[str, str]]:
    """The turns of a chat: it is cut where a line begins with a speaker, not at blank lines, which calls hold too."""
    chat = chat.replace("\r\n", "\n")
    marks = list(_SPEAKER.finditer(chat))
    if not marks or chat[: marks[0].start()].strip():
        raise BadRow("the chat does not begin with a speaker")
    turns: list[tuple[str, str]] = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        text = chat[mark.end() : following.start() if following else len(chat)].strip()
        role = _ROLES[mark[1]]
        if turns and turns[-1][0] != "assistant" and turns[-1][1].endswith(END) and role == "assistant":
            # The set was made by replacing "AI:" with an end of turn and a speaker, also where it stood inside a user's
            # turn or a function's result ("OpenAI: …"); only an assistant's turn ends with the token.
            before, rest = turns.pop()
            turns.append((before, rest.removesuffix(END).rstrip() + "AI: " + text))
        else:
            turns.append((role, text))
    return turns


def read_turn(role: str, text: str, declared: set[str]) -> Turn:
    """A turn, with the calls that stand inside it."""
    if role != "assistant":
        return Turn(role, text)
    text = text.strip().removesuffix(END).strip()
    if MARK not in text:
        if _OTHER_CALL.search(text):
            raise BadRow("a call in another syntax")
        return Turn(role, text)
    # What the assistant says before a call is dropped: the contract has blocks alone.
    calls = [_check_declared(read_call(part), declared) for part in text.split(MARK)[1:]]
    return Turn(role, "", tuple(calls))


def read_call(text: str) -> ForeignCall:
    """One call, as an object whose arguments are an object, a JSON text in single quotes, or nothing.

    Raises:
        BadRow: it cannot be read.
    """
    text = text.replace(END, "").strip()
    if text.startswith("{"):
        try:
            return _as_call(load_strict(text))
        except ValueError as error:
            if isinstance(error, BadRow):
                raise
        try:  # a brace too many at the end
            value, end = json.JSONDecoder().raw_decode(text)
            if not text[end:].strip("} \n"):
                return _as_call(load_strict(json.dumps(value, allow_nan=False)))
        except (ValueError, RecursionError) as error:
            if isinstance(error, BadRow):
                raise
    name, quoted = _NAME.search(text), _QUOTED.search(text)
    if name is None:
        raise BadRow("a call without a name")
    if quoted is None:
        raise BadRow("a call that is not JSON")
    # The last quotation mark closes: apostrophes inside are not escaped.
    closed = list(_CLOSED.finditer(text, quoted.end()))
    if not closed:
        raise BadRow("a call that is cut off")
    return ForeignCall(name[1], _read_arguments(text[quoted.end() : closed[-1].start()]), {})


def read_calls(text: str) -> list[ForeignCall]:
    """The calls of a turn that holds nothing else: an object or a list of objects."""
    try:
        value = load_strict(text)
    except ValueError:
        return [read_call(text)]
    return [_as_call(item) for item in (value if isinstance(value, list) else [value])]


def declared_names(text: str) -> set[str]:
    """Names of the functions in a system prompt or a list of tools; a name may stand there twice."""
    names: set[str] = set()
    text = text[:200_000]
    decoder, at = json.JSONDecoder(), 0
    while (at := min((i for i in (text.find("{", at), text.find("[", at)) if i >= 0), default=-1)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        for item in value if isinstance(value, list) else [value]:
            inner = item.get("function", item) if isinstance(item, dict) else {}
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                names.add(snake_case(inner["name"]))
    return names


def _check_declared(call: ForeignCall, declared: set[str]) -> ForeignCall:
    # Compared in snake_case: "create_to_do_list" is the declared "create_to-do_list".
    if declared and snake_case(call.name) not in declared:
        raise Unfit("calls a function that the row does not declare", call.name)
    return call


def _as_call(value: object) -> ForeignCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"].strip():
        raise BadRow("a call without a name")
    arguments = value.get("arguments", value.get("parameters"))
    if arguments is None:
        arguments = {}
    if isinstance(arguments, str):
        return ForeignCall(value["name"], _read_arguments(arguments), {})
    if not isinstance(arguments, dict):
        raise BadRow("arguments that are no object")
    return ForeignCall(value["name"], arguments, {})


def _read_arguments(text: str) -> dict[str, Any]:
    text = text.strip()
    # \' is not JSON; a brace too many, or none, happens at the end.
    for attempt in (text, text.replace("\\'", "'"), text.replace("\\'", "'").rstrip("} \n") + "}"):
        try:
            value = load_strict(attempt) if attempt else {}
        except ValueError:
            continue
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise BadRow("arguments that are no object")
        return value
    raise BadRow("arguments that are not JSON")
