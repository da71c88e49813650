"""hypervariance/function-calling-sharegpt: glaive v2 as ShareGPT, calls still inline in the gpt turn.

Covers: roles system, human, gpt, function_response.
Does not cover: removing what glaive holds too; the set is almost entirely glaive, so use one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator

from training.converters import glaive
from training.converters._dialogues import Turn, make_examples
from training.converters.base import BadRow, Source, read_conversation
from training.examples import Example

SOURCE = Source(
    url="https://huggingface.co/datasets/hypervariance/function-calling-sharegpt",
    revision="",
    licence="Apache-2.0",
    author="hypervariance",
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    declared: set[str] = set()
    turns: list[Turn] = []
    for role, text in read_conversation(row):
        if role == "system":
            declared |= glaive.declared_names(text)
        elif role in {"human", "user"}:
            turns.append(Turn("user", text))
        elif role in {"gpt", "assistant"}:
            turns.append(glaive.read_turn("assistant", text, declared))
        elif role in {"function_response", "function-response", "tool", "observation"}:
            turns.append(Turn("tool", text))
        elif role in {"function_call", "function-call"}:
            turns.append(Turn("assistant", "", tuple(glaive.read_calls(text))))
        else:
            raise BadRow("an unknown role")
    yield from make_examples(turns, SOURCE, functions=bool(declared))
