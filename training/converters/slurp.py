"""SLURP: spoken requests to a home assistant, JSON Lines with intent and entities over tokens.

Covers: train, devel and test files; slots from ``entities`` and ``tokens``, else from the annotated sentence.
Does not cover: the audio, or the synthetic sentences' recordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import Source, read_text
from training.examples import Example

SOURCE = Source(
    url="https://github.com/pswietojanski/slurp", revision="", licence="CC-BY-4.0", author="E. Bastianelli and others"
)
_ANNOTATED = re.compile(r"\[\s*([\w ]+?)\s*:\s*([^\]]+?)\s*\]")


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict) and "sentence" not in row:
        yield from make_utterance("slurp", SOURCE, read_plain(row))
        return
    text = read_text(row, "sentence")
    assert isinstance(row, dict)  # read_text refuses others
    intent = row.get("intent")
    if not isinstance(intent, str) or "_" not in intent:
        intent = f"{read_text(row, 'scenario')}_{read_text(row, 'action')}"
    slots = _read_entities(row) or read_annotated(row.get("sentence_annotation"))
    yield from make_utterance("slurp", SOURCE, Utterance(text, intent, slots))


def read_annotated(text: object) -> tuple[tuple[str, str], ...]:
    """Slots of a sentence in which they stand as ``[date : tomorrow]``."""
    # Short and with single spaces: the pattern takes its time where much space follows a bracket.
    found = _ANNOTATED.findall(" ".join(text.split())[:1000]) if isinstance(text, str) else []
    return tuple((name.strip(), value.strip()) for name, value in found)


def _read_entities(row: dict[str, object]) -> tuple[tuple[str, str], ...]:
    entities, tokens = row.get("entities"), row.get("tokens")
    if not isinstance(entities, list) or not isinstance(tokens, list):
        return ()
    slots = []
    for entity in entities:
        span = entity.get("span") if isinstance(entity, dict) else None
        if not isinstance(span, list) or not isinstance(entity.get("type"), str):
            return ()
        words = [tokens[i] for i in span if isinstance(i, int) and 0 <= i < len(tokens)]
        surfaces = [word.get("surface") if isinstance(word, dict) else None for word in words]
        if not all(isinstance(surface, str) for surface in surfaces):
            return ()
        slots.append((entity["type"], " ".join(map(str, surfaces))))
    return tuple(slots)
