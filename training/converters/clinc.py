"""CLINC-150: one object of lists ("train", "oos_test", …) whose items are [text, intent].

Covers: data_full.json and its kin, rows as {"text", "intent"}.
Does not cover: intents as bare numbers; their names are in the original file.
"""

from __future__ import annotations

from collections.abc import Iterator

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import BadRow, Source
from training.examples import Example

SOURCE = Source(
    url="https://github.com/clinc/oos-eval",
    revision="",
    licence="CC-BY-3.0",
    author="S. Larson and others",
    layout="sections",
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, tuple) and len(row) == 2:
        row = row[1]  # the section is not needed
    if isinstance(row, dict):
        if isinstance(row.get("intent"), int):
            raise BadRow("an intent without a name")
        utterance = read_plain(row)
    elif isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row):
        utterance = Utterance(row[0], row[1])
    else:
        raise BadRow("a row is not [text, intent]")
    yield from make_utterance("clinc", SOURCE, utterance)
