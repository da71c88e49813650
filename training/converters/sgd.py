"""Schema-Guided Dialogue: arrays of dialogues between a person and a service's agent.

Covers: the first question of each dialogue, with the intent and the spans of its frames.
Does not cover: later turns, which need what was said before; schema.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import BadRow, Source, Unfit, read_text
from training.examples import Example

SOURCE = Source(
    url="https://github.com/google-research-datasets/dstc8-schema-guided-dialogue",
    revision="",
    licence="CC-BY-SA-4.0",
    author="A. Rastogi and others",
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict) and "turns" not in row:
        yield from make_utterance("sgd", SOURCE, read_plain(row))
        return
    if not isinstance(row, dict) or not isinstance(row["turns"], list) or not row["turns"]:
        raise BadRow("a dialogue without turns")
    turn = row["turns"][0]
    if read_text(turn, "speaker").upper() != "USER":
        raise BadRow("the dialogue begins without a question")
    text = read_text(turn, "utterance")
    frames = turn.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise BadRow("a turn without frames")
    asked = [(frame, _intent_of(frame)) for frame in frames]
    asked = [(frame, intent) for frame, intent in asked if intent]
    if len(asked) != 1:
        raise Unfit("no intent yet in the first question" if not asked else "two intents in one question")
    frame, intent = asked[0]
    slots = tuple(_read_slots(frame, text))
    yield from make_utterance("sgd", SOURCE, Utterance(text, intent, slots))


def _intent_of(frame: dict[str, Any]) -> str:
    state, service = frame.get("state"), frame.get("service")
    intent = state.get("active_intent") if isinstance(state, dict) else None
    if not isinstance(intent, str) or not isinstance(service, str) or intent == "NONE":
        return ""
    return f"{service}/{intent}"


def _read_slots(frame: dict[str, Any], text: str) -> Iterator[tuple[str, str]]:
    for slot in frame.get("slots") or []:
        start, end = slot.get("start"), slot.get("exclusive_end")
        if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
            raise BadRow("a slot that is no span of the text")
        yield str(slot.get("slot")), text[start:end]
