"""Salesforce/xlam-function-calling-60k: one question, one or more calls, no answers in words and no negatives.

Covers: answers and tools as JSON texts, several calls (a compound example), answers that repeat a declared default.
Does not cover: rows of which only a part has a counterpart; they are refused whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from training.converters._dialogues import Turn, make_examples
from training.converters._mapping import ForeignCall
from training.converters.base import BadRow, Source, read_literal, read_text
from training.examples import Example

SOURCE = Source(
    url="https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k",
    revision="26d14eb",
    licence="CC-BY-4.0",
    author="Salesforce",
    gated=True,
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    query = read_text(row, "query")
    assert isinstance(row, dict)  # read_text refuses others
    defaults = _read_defaults(_read_list(row, "tools"))
    calls = []
    for answer in _read_list(row, "answers"):
        if not isinstance(answer, dict) or not isinstance(answer.get("name"), str):
            raise BadRow("a call without a name")
        arguments = answer.get("arguments", {})
        if not isinstance(arguments, dict):
            raise BadRow("arguments that are no object")
        calls.append(ForeignCall(answer["name"], arguments, defaults.get(answer["name"], {})))
    if not calls:
        raise BadRow("no call and no answer")
    turns = [Turn("user", query), Turn("assistant", "", tuple(calls))]
    yield from make_examples(turns, SOURCE, functions=True)


def _read_list(row: dict[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    value = read_literal(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise BadRow(f"{key} is not a list")
    return value


def _read_defaults(tools: list[Any]) -> dict[str, Mapping[str, Any]]:
    """Declared defaults by function. ``parameters`` is a flat map from names, of which one may be "type"."""
    defaults: dict[str, Mapping[str, Any]] = {}
    for tool in tools:
        if not isinstance(tool, dict) or not isinstance(tool.get("parameters"), dict):
            continue
        defaults[str(tool.get("name"))] = {
            name: schema["default"]
            for name, schema in tool["parameters"].items()
            if isinstance(schema, dict) and "default" in schema
        }
    return defaults
