"""Files in the original formats, written by us, and what a conversion makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.converters._running import convert_source
from training.examples import Example, load_examples


class Converted:
    """The examples and the report of one conversion, checked for what holds for all of them."""

    def __init__(self, source: str, file: Path, folder: Path, *, strict: bool = False) -> None:
        out, report = folder / "out.jsonl", folder / "report.json"
        convert_source(source, str(file), out, report, strict=strict)
        # load_examples stops at the first line that the project would not train on.
        self.examples: list[Example] = load_examples(out) if out.stat().st_size else []
        self.report: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        self.reasons: dict[int, str] = dict(self.report["rows_rejected"])
        assert self.report["rows"] == self.report["kept"] + sum(self.report["rejected"].values())
        assert len(self.reasons) == sum(self.report["rejected"].values())
        assert self.report["examples"] == len(self.examples)
        assert all(example.id.startswith(f"{source}:") and example.source == source for example in self.examples)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """All calls of the examples, in order."""
        blocks = [
            line
            for example in self.examples
            for message in example.messages
            if message["role"] == "assistant"
            for line in message["content"].split("\n")
            if line.startswith('{"tool"')
        ]
        return [json.loads(block) for block in blocks]


def convert_rows(source: str, rows: list[Any], folder: Path, *, array: bool = False) -> Converted:
    """Convert rows written as JSON Lines or as one array."""
    file = folder / "rows.json"
    body = json.dumps(rows, indent=1) if array else "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(body, encoding="utf-8")
    return Converted(source, file, folder)
