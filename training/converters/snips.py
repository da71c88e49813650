"""SNIPS 2017: one file per intent, {"GetWeather": [{"data": [{"text", "entity"?}, …]}, …]}.

Covers: text in pieces with slots, files that are Latin-1 and not UTF-8, rows as {"text", "intent"}.
Does not cover: the 2016 benchmark's nested queries.
"""

from __future__ import annotations

from collections.abc import Iterator

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import BadRow, Source
from training.examples import Example

SOURCE = Source(
    url="https://github.com/sonos/nlu-benchmark",
    revision="",
    licence="CC0-1.0",
    author="Snips",
    layout="sections",
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict):
        yield from make_utterance("snips", SOURCE, read_plain(row))
        return
    if not isinstance(row, tuple) or not isinstance(row[1], dict) or not isinstance(row[1].get("data"), list):
        raise BadRow("a row is not {data: [...]}")
    text, slots = "", []
    for piece in row[1]["data"]:
        if not isinstance(piece, dict) or not isinstance(piece.get("text"), str):
            raise BadRow("a piece without text")
        words = _repair(piece["text"])
        text += words
        if isinstance(piece.get("entity"), str):
            slots.append((piece["entity"], words.strip()))
    yield from make_utterance("snips", SOURCE, Utterance(text, row[0], tuple(slots)))


def _repair(text: str) -> str:
    """Text of a file that is Latin-1: its bytes beyond ASCII were kept as lone surrogates."""
    if not any("\udc80" <= mark <= "\udcff" for mark in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
