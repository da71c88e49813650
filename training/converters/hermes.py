r"""NousResearch/hermes-function-calling-v1: ShareGPT with <tool_call> blocks, as Python literals or as JSON.

Covers: several calls in one turn, literals that are not JSON (never mended by exchanging quotation marks), a name that
slipped into the arguments, literal "\n" around a call, tool responses.
Does not cover: the JSON-mode files, whose task stands in the system prompt that we drop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from training.converters._dialogues import Turn, make_examples
from training.converters._mapping import ForeignCall
from training.converters.apigen_mt import read_now
from training.converters.base import BadRow, Source, Unfit, read_conversation, read_literal
from training.examples import Example

SOURCE = Source(
    url="https://huggingface.co/datasets/NousResearch/hermes-function-calling-v1",
    revision="",
    licence="Apache-2.0",
    author="NousResearch",
)

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>(.*?)(?:</tool_response>|\Z)", re.DOTALL)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    turns: list[Turn] = []
    functions, now = False, None
    for role, text in read_conversation(row):
        if role == "system":
            if "<schema>" in text or "json mode" in text.lower():
                raise Unfit("a JSON-mode row: its task stands in the system prompt")
            functions, now = functions or "<tools>" in text, read_now(text)
        elif role in {"human", "user"}:
            turns.append(Turn("user", text))
        elif role in {"gpt", "assistant"}:
            turns.append(Turn("assistant", text, tuple(map(read_call, _CALL.findall(text)))))
        elif role in {"tool", "function", "observation"}:
            turns += [Turn("tool", _read_response(part)) for part in _RESPONSE.findall(text) or [text]]
        else:
            raise BadRow("an unknown role")
    yield from make_examples(turns, SOURCE, functions=functions, now=now)


def read_call(text: str) -> ForeignCall:
    """The call in a block.

    Raises:
        BadRow: it cannot be read.
    """
    text = _strip_ends(text)
    value: Any = None
    for attempt in (text, text + "}", text.removesuffix("}")):  # misplaced braces at the end
        try:
            value = read_literal(attempt)
            break
        except BadRow:
            continue
    else:
        raise BadRow("a call that is neither JSON nor a Python literal")
    if not isinstance(value, dict):
        raise BadRow("a call that is no object")
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = read_literal(arguments)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRow("arguments that are no object")
    if name is None and isinstance(arguments.get("name"), str):  # it slipped behind the wrong brace
        arguments = dict(arguments)
        name = arguments.pop("name")
    if not isinstance(name, str) or not name.strip():
        raise BadRow("a call without a name")
    return ForeignCall(name, arguments, {})


def _strip_ends(text: str) -> str:
    """A text without space and without line ends written as two characters, at both ends."""
    # Not a pattern: a search for space at the end takes quadratic time where there is much of it.
    while (shorter := text.strip().removeprefix("\\n").removesuffix("\\n")) != text:
        text = shorter
    return text


def _read_response(text: str) -> str:
    """The content of a tool response, as JSON text where it can be read."""
    text = _strip_ends(text)
    try:
        value = read_literal(text)
    except BadRow:
        return text
    if isinstance(value, dict) and value.keys() <= {"name", "content", "tool_call_id"} and "content" in value:
        value = value["content"]
    return json.dumps(value, ensure_ascii=False)
