"""NLU-Evaluation-Data: the crowd's requests behind SLURP, a CSV with semicolons and annotated answers.

Covers: the annotated file (scenario, intent, answer_annotation), rows without an answer, status "drop".
Does not cover: suggested entities, and the unannotated file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.converters._utterances import Utterance, make_utterance, read_plain
from training.converters.base import BadRow, Source, Unfit, read_text
from training.converters.slurp import read_annotated
from training.examples import Example

SOURCE = Source(
    url="https://github.com/xliuhw/NLU-Evaluation-Data",
    revision="",
    licence="CC-BY-4.0",
    author="X. Liu and others",
    delimiter=";",
)


def convert(row: object) -> Iterator[Example]:
    """Yield the example of a row; a row that does not fit raises BadRow with its reason."""
    if isinstance(row, dict) and "scenario" not in row:
        yield from make_utterance("nlu_eval", SOURCE, read_plain(row))
        return
    scenario, intent = read_text(row, "scenario"), read_text(row, "intent")
    assert isinstance(row, dict)  # read_text refuses others
    if re.match(r"IRR|DRO|drop", str(row.get("status", ""))):
        raise Unfit("marked as irrelevant by the set")
    annotated = " ".join(str(row.get("answer_annotation") or "").split())[:1000]
    text = str(
        row.get("answer") or row.get("answer_normalised") or re.sub(r"\[[^:\]]*:\s*([^\]]*?)\s*\]", r"\1", annotated)
    )
    if not text.strip() or text.strip().lower() == "null":
        raise BadRow("no words in the text")
    yield from make_utterance("nlu_eval", SOURCE, Utterance(text, f"{scenario}_{intent}", read_annotated(annotated)))
