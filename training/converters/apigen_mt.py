"""Salesforce/APIGen-MT-5k: long dialogues of an airline's and a shop's agent.

Covers: function_call and observation turns in any number, ``think`` with its empty observation, the stated time.
Does not cover: the policy in the system prompt; answers that rest on it are not ours. Non-commercial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from training.converters import glaive
from training.converters._dialogues import Turn, make_examples
from training.converters.base import BadRow, Source, read_conversation
from training.examples import Example

SOURCE = Source(
    url="https://huggingface.co/datasets/Salesforce/APIGen-MT-5k",
    revision="",
    licence="CC-BY-NC-4.0",
    author="Salesforce",
    gated=True,
)

_TIME = re.compile(r"current time is (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\s*([A-Z]{3,4}))?")
_ZONES = {"EST": "-05:00", "EDT": "-04:00", "CST": "-06:00", "CDT": "-05:00", "PST": "-08:00", "PDT": "-07:00"}


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    pairs = read_conversation(row)
    assert isinstance(row, dict)  # read_conversation refuses others
    system, tools = row.get("system"), row.get("tools")
    turns: list[Turn] = []
    thinking = False
    for role, text in pairs:
        if role in {"human", "user"}:
            turns.append(Turn("user", text))
        elif role in {"gpt", "assistant"}:
            turns.append(Turn("assistant", text))
        elif role == "function_call":
            calls = glaive.read_calls(text)
            thinking = bool(calls) and all(call.name == "think" for call in calls)
            if not thinking:
                turns.append(Turn("assistant", "", tuple(calls)))
        elif role in {"observation", "tool"}:
            if not thinking:
                turns.append(Turn("tool", text))
            thinking = False
        elif role != "system":
            raise BadRow("an unknown role")
    declared = glaive.declared_names(tools) if isinstance(tools, str) else set()
    yield from make_examples(turns, SOURCE, functions=bool(declared), now=read_now(system))


def read_now(system: object) -> str | None:
    """The time that a system prompt states, in ISO 8601; None where it states none."""
    match = _TIME.search(system) if isinstance(system, str) else None
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{_ZONES.get(match[3] or '', '+00:00')}").isoformat()
    except ValueError:
        return None
