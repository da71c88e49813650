"""mlabonne/FineTome-100k: general conversations, against forgetting.

Covers: ShareGPT turns, also with role and content, with or without a system prompt (it is dropped).
Does not cover: its rows with functions (they come from glaive), or judging an answer. The card names no licence.
"""

from __future__ import annotations

from collections.abc import Iterator

from training.converters import glaive
from training.converters._dialogues import Turn, make_examples
from training.converters.base import BadRow, Source, Unfit, read_conversation
from training.examples import Example

SOURCE = Source(
    url="https://huggingface.co/datasets/mlabonne/FineTome-100k",
    revision="",
    licence="unknown",
    author="mlabonne",
)
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict) and "conversations" not in row and isinstance(row.get("value"), dict):
        row = row["value"]  # as notebooks print it
    turns = []
    for role, text in read_conversation(row):
        if role == "system":
            if glaive.declared_names(text):
                raise Unfit("a row with functions; they come from glaive")
        elif role not in _ROLES:
            raise BadRow("an unknown role")
        elif glaive.MARK in text:
            raise Unfit("a row with functions; they come from glaive")
        else:
            turns.append(Turn(_ROLES[role], text))
    yield from make_examples(turns, SOURCE, functions=False)
