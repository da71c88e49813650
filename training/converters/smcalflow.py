"""SMCalFlow: dialogues about calendars and weather, each turn with its meaning as a Lispress program.

Covers: the first question of each dialogue; its intent is read from the names of functions in the program, its title
from a literal there. The program is searched for strings, never run.
Does not cover: later turns, and times as the program computes them (they are read from the words again).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import BadRow, Source, Unfit, read_text
from training.examples import Example

SOURCE = Source(
    url="https://github.com/microsoft/task_oriented_dialogue_as_dataflow_synthesis",
    revision="",
    licence="CC-BY-SA-4.0",
    author="Semantic Machines",
)
# The first that is found decides; what is outside the assistant's reach stands first.
_INTENTS = (
    ("FenceReminder", "reminder"),
    ("FenceWeather", "fence_weather"),
    ("Fence", "fence"),
    ("Pleasantry", "pleasantry"),
    ("CreateCommitEvent", "create_event"),
    ("CreatePreflightEvent", "create_event"),
    ("UpdateCommitEvent", "update_event"),
    ("UpdatePreflightEvent", "update_event"),
    ("DeleteCommitEvent", "delete_event"),
    ("DeletePreflightEvent", "delete_event"),
    ("WeatherQueryApi", "weather"),
    ("FindEvent", "find_event"),
    ("FindNumNextEvent", "find_event"),
    ("QueryEvent", "find_event"),
)
_SUBJECT = re.compile(r'Event\.subject_\?\s*\(\?[=~]\s*"((?:[^"\\]|\\.)*)"')
_PLACE = re.compile(r'LocationKeyphrase(?:\.apply)?\s*"((?:[^"\\]|\\.)*)"')


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict) and "turns" not in row:
        yield from make_utterance("smcalflow", SOURCE, read_plain(row))
        return
    if not isinstance(row, dict) or not isinstance(row["turns"], list) or not row["turns"]:
        raise BadRow("a dialogue without turns")
    turn = row["turns"][0]
    said = turn.get("user_utterance") if isinstance(turn, dict) else None
    text, program = read_text(said, "original_text"), read_text(turn, "lispress")
    intent = next((name for mark, name in _INTENTS if mark in program), "")
    if not intent:
        raise Unfit("a program that asks for nothing we name")
    if "RecipientWithNameLike" in program or "AttendeeListHasRecipient" in program:
        raise Unfit("people beside the event")
    slots = [("event_name", title.strip()) for title in _SUBJECT.findall(program)]
    slots += [("location", place.strip()) for place in _PLACE.findall(program)]
    yield from make_utterance("smcalflow", SOURCE, Utterance(text, intent, tuple(slots)))
