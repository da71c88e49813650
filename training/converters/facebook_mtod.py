"""Facebook's multilingual task-oriented dialogues: tab-separated alarms, reminders and weather.

Covers: intent, slots as character spans ("12:17:location"), utterance, locale; English rows.
Does not cover: Spanish and Thai. Nobody has cleared its licence for training: it is "unknown", and a build
warns of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import BadRow, Source, Unfit
from training.examples import Example

SOURCE = Source(
    url="https://fb.me/multilingual_task_oriented_data",
    revision="",
    licence="unknown",
    author="S. Schuster and others",
    delimiter="\t",
    header=False,
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict):
        yield from make_utterance("facebook_mtod", SOURCE, read_plain(row))
        return
    if not isinstance(row, list) or len(row) < 3:
        raise BadRow("fewer than three cells")
    intent, spans, text = row[0].strip(), row[1], row[2]
    if len(row) > 3 and not row[3].lower().startswith("en"):
        raise Unfit("not English")
    slots = []
    for span in filter(None, spans.split(",")):
        match = re.fullmatch(r"\s*(\d{1,6}):(\d{1,6}):(\S+)\s*", span)
        if match is None or not int(match[1]) < int(match[2]) <= len(text):
            raise BadRow("a slot that is no span of the text")
        slots.append((match[3], text[int(match[1]) : int(match[2])]))
    yield from make_utterance("facebook_mtod", SOURCE, Utterance(text, intent, tuple(slots)))
