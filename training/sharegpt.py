"""Examples as ShareGPT lines ({"conversations": [{"from", "value"}, …]}) and back, without loss.

Covers: writing our examples with the project's system prompt and all that is known of them beside the conversation;
reading such lines back as equal examples; reading lines of others, whose system prompt is replaced by ours.
Does not cover: calls in a foreign syntax; those are for training.converters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError, SetupError
from harness.parsing import load_strict, parse_reply
from harness.prompt import PromptSpec, load_prompt
from harness.types import Message
from training.converters._dialogues import name_kind
from training.converters.base import DEFAULT_NOW
from training.examples import Example, format_example, parse_example

ROLES = {"user": "human", "assistant": "gpt", "tool": "tool"}
# Names that others give to the roles.
READ_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "tool": "tool",
              "observation": "tool", "function_response": "tool"}  # fmt: skip
KEYS = ("id", "kind", "pair", "now", "tools", "source", "licence", "author")
_TIME = re.compile(r"^Current time: (\S+)", re.MULTILINE)


def format_sharegpt(example: Example, prompt: PromptSpec) -> str:
    """The ShareGPT line of an example; ``parse_sharegpt`` reads it back as an equal value."""
    turns = [{"from": "system", "value": prompt.system(example.now)}]
    turns += [{"from": ROLES[message["role"]], "value": message["content"]} for message in example.messages]
    known = json.loads(format_example(example))
    return json.dumps({"conversations": turns} | {key: known[key] for key in KEYS if key in known}, ensure_ascii=False)


def parse_sharegpt(line: str, prompt: PromptSpec, *, name: str = "sharegpt", licence: str = "unknown") -> Example:
    """Read one ShareGPT line; ``name`` and ``licence`` are for lines that do not say their own.

    Raises:
        ValueError: the line breaks the format, or teaches a reply that the harness would not accept; says why.
    """
    raw = load_strict(line)
    if not isinstance(raw, dict) or not isinstance(raw.get("conversations"), list):
        raise ValueError("a line holds one JSON object with a list of conversations")
    if unknown := sorted(raw.keys() - {"conversations", *KEYS}):
        raise ValueError(f"unknown key {', '.join(unknown)}; a line has conversations and perhaps {', '.join(KEYS)}")
    messages: list[Message] = []
    now = DEFAULT_NOW
    for turn in raw["conversations"]:
        if not isinstance(turn, dict) or turn.keys() != {"from", "value"}:
            raise ValueError("a turn holds from and value")
        role, text = turn["from"], turn["value"]
        if not isinstance(role, str) or not isinstance(text, str):
            raise ValueError("from and value are texts")
        if role == "system":
            if messages:
                raise ValueError("a system turn stands first")
            found = _TIME.search(text)  # the prompt is replaced by ours; its time is part of the question
            now = found[1] if found else now
        elif role in READ_ROLES:
            messages.append(Message(role=READ_ROLES[role], content=text))
        else:
            raise ValueError(f"unknown role {role!r}; known: system, {', '.join(READ_ROLES)}")
    called = [call.tool for m in messages if m["role"] == "assistant" for call in parse_reply(m["content"]).calls]
    defaults: dict[str, Any] = {
        "id": name, "kind": name_kind(messages, called, functions=True), "now": now, "tools": called,
        "source": "sharegpt", "licence": licence, "author": "unknown",
    }  # fmt: skip
    body = defaults | {key: raw[key] for key in KEYS if key in raw} | {"messages": messages}
    return parse_example(json.dumps(body, ensure_ascii=False), prompt.toolset)


def read_sharegpt(
    path: Path, prompt: PromptSpec | None = None, *, licence: str = "unknown"
) -> tuple[list[Example], list[str]]:
    """All good examples of a file, and one ``file:line: reason`` per bad line.

    Raises:
        SetupError: the file cannot be read.
    """
    prompt = prompt or load_prompt()
    examples: list[Example] = []
    problems: list[str] = []
    for number, line in _read_lines(path):
        try:
            examples.append(parse_sharegpt(line, prompt, name=f"{path.stem}:{number}", licence=licence))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    return examples, problems


def write_sharegpt(path: Path, examples: Iterable[Example], prompt: PromptSpec | None = None) -> None:
    """Write examples as ShareGPT lines."""
    prompt = prompt or load_prompt()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(format_sharegpt(example, prompt) + "\n" for example in examples)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}. Give a file of ShareGPT lines.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
