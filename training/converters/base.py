"""What every converter shares: where a set comes from, why a row is refused, small safe readers of values.

Covers: Source, BadRow and Unfit, reading fields of untrusted rows, JSON or Python literals without evaluating code.
Does not cover: files (_reading), the table of tools (_mapping), dialogues (_dialogues), a run (_running).
"""

from __future__ import annotations

import ast
import json
import math
import warnings
from dataclasses import dataclass
from typing import Any

from harness.parsing import load_strict

# Rows that state no time get this one; a row whose calls hold full dates gets a morning shortly before the first.
DEFAULT_NOW = "2026-03-02T09:00:00+00:00"
MAX_CHARS = 6000  # of one conversation: with the tool docs it must fit into 2,048 tokens
MAX_LITERAL = 50_000  # characters that ast.literal_eval may see


class BadRow(ValueError):  # noqa: N818 - "refused row" is what it says
    """A row cannot be used; the message is the reason that the report counts."""


class Unfit(BadRow):
    """A sound row that has nothing to teach about the ten tools; ``--strict`` passes over it."""

    def __init__(self, reason: str, function: str = "") -> None:
        super().__init__(reason)
        self.function = function  # the foreign function that has no counterpart, for the report


@dataclass(frozen=True, slots=True)
class Source:
    """Where a public data set comes from, what it may be used for, and how its file is laid out."""

    url: str
    revision: str  # "" where nobody has pinned one
    licence: str
    author: str
    layout: str = "rows"  # "sections": one object whose values are lists of rows
    delimiter: str = ","  # of CSV files
    header: bool = True  # whether the first line of a CSV file names its columns
    gated: bool = False


def read_text(row: object, key: str) -> str:
    """The text under a key of a row.

    Raises:
        BadRow: the row is no object, or holds no text there.
    """
    if not isinstance(row, dict):
        raise BadRow("a row is not an object")
    value = row.get(key)
    if not isinstance(value, str):
        raise BadRow(f"no text under {key}")
    return value


def read_conversation(row: object) -> list[tuple[str, str]]:
    """The (role, text) pairs of a ShareGPT row; ``role``/``content`` are read as ``from``/``value``.

    Raises:
        BadRow: the row has another shape.
    """
    if not isinstance(row, dict):
        raise BadRow("a row is not an object")
    turns = row.get("conversations", row.get("messages"))
    if not isinstance(turns, list) or not turns:
        raise BadRow("no conversation")
    pairs = []
    for turn in turns:
        if not isinstance(turn, dict):
            raise BadRow("a turn is not an object")
        role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if not isinstance(role, str) or not isinstance(text, str):
            raise BadRow("a turn has no role or no text")
        pairs.append((role.strip().lower(), text))
    return pairs


def read_literal(text: str) -> Any:
    """A value written as JSON or as a Python literal; nothing is evaluated.

    Raises:
        BadRow: it is neither, is too long, or holds what JSON cannot.
    """
    try:
        return load_strict(text)
    except ValueError:
        pass
    if len(text) > MAX_LITERAL:
        raise BadRow("a literal is too long to be read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in somebody's text is no concern of ours
            value = ast.literal_eval(text.strip())
        return load_strict(json.dumps(value, allow_nan=False))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise BadRow("neither JSON nor a Python literal") from None


def is_sane(value: object) -> bool:
    """False for numbers that JSON cannot write, anywhere inside."""
    if isinstance(value, dict):
        return all(map(is_sane, value.values()))
    if isinstance(value, list):
        return all(map(is_sane, value))
    return not isinstance(value, float) or math.isfinite(value)
