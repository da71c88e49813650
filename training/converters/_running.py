"""One conversion: rows in, checked example lines and a report out.

Covers: files and sets of the Hugging Face hub, one reason for each row that is left out, constant memory, output that
appears only when all is done.
Does not cover: duplicates, the split, and what is close to a case (training.data).
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import logging
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, SetupError
from harness.toolset import Toolset, load_toolset
from training.converters import CONVERTERS
from training.converters._reading import Broken, read_rows
from training.converters.base import DEFAULT_NOW, BadRow, Source, Unfit
from training.examples import Example, format_example, parse_example

MAX_NAMES = 5000  # foreign functions that are counted by name
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?::[\w.-]+)?")


@dataclass
class Report:
    """What became of every row: ``rows`` is ``kept`` and all of ``rejected``."""

    source: str
    origin: str
    about: Source
    rows: int = 0
    kept: int = 0
    examples: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    rejected: dict[str, array[int]] = field(default_factory=dict)  # reason -> row numbers, 4 to 8 bytes each
    functions: Counter[str] = field(default_factory=Counter)

    def reject(self, row: int, reason: str) -> None:
        """Count a row that is left out."""
        self.rejected.setdefault(reason, array("L")).append(row)

    def counts(self) -> dict[str, int]:
        """Rejected rows by reason, most frequent first."""
        ordered = sorted(self.rejected.items(), key=lambda item: (-len(item[1]), item[0]))
        return {reason: len(rows) for reason, rows in ordered}

    def write(self, path: Path) -> None:
        """Write the report as JSON; row numbers are counted from 1."""
        head = {
            "source": self.source, "origin": self.origin, "url": self.about.url, "revision": self.about.revision,
            "licence": self.about.licence, "rows": self.rows, "kept": self.kept, "examples": self.examples,
            "rejected": self.counts(), "kinds": dict(self.kinds.most_common()), "tools": dict(self.tools.most_common()),
            "functions_without_counterpart": dict(self.functions.most_common(100)),
            "now": f"where a row states no time: {DEFAULT_NOW}, moved by its words' checksum (to 700 days, 135 minutes)",  # noqa: E501
        }  # fmt: skip
        pairs = sorted((row, reason) for reason, rows in self.rejected.items() for row in rows)
        text = json.dumps(head, ensure_ascii=False, indent=2)
        listed = ",\n    ".join(json.dumps(pair, ensure_ascii=False) for pair in pairs)
        rows = f"[\n    {listed}\n  ]" if pairs else "[]"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text[:-2]},\n  "rows_rejected": {rows}\n}}\n', encoding="utf-8", newline="\n")


def convert_source(
    name: str,
    origin: str,
    out: Path,
    report_file: Path,
    *,
    strict: bool = False,
    on_bytes: Callable[[int], None] | None = None,
) -> Report:
    """Convert a file, or a set of the hub ("owner/name" or "owner/name:config"), into example lines.

    Raises:
        SetupError: the source is unknown, or there is nothing to read.
        DataError: ``strict``, and a row is broken; names it. Nothing is written then.
    """
    if name not in CONVERTERS:
        raise SetupError(f"Unknown source {name!r}. Known sources: {', '.join(CONVERTERS)}.")
    module = importlib.import_module(CONVERTERS[name])
    about: Source = module.SOURCE
    report = Report(name, Path(origin).name if Path(origin).exists() else origin, about)
    toolset = load_toolset()
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        rows = open_rows(origin, about, on_bytes)
        with partial.open("w", encoding="utf-8", newline="\n") as lines:
            for number, row in enumerate(rows, 1):
                report.rows = number
                for line in _convert_row(module.convert, row, number, report, toolset, strict=strict):
                    lines.write(line)
        os.replace(partial, out)  # noqa: PTH105 - Path.replace is the same; this one names what happens
        report.write(report_file)
    except OSError as error:
        raise SetupError(f"Cannot write {error.filename or out}: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
    return report


def _convert_row(
    convert: Callable[[object], Iterator[Example]],
    row: Any,
    number: int,
    report: Report,
    toolset: Toolset,
    *,
    strict: bool,
) -> list[str]:
    """The lines of a row; none, and its reason in the report, when it is left out."""
    reason, broken = "", True
    try:
        if isinstance(row, Broken):
            raise BadRow(row.why)
        found = list(convert(row))
        if not found:
            raise Unfit("no example in the row")
        lines = []
        for example, part in zip(found, itertools.count(1), strict=False):
            suffix = f"#{part}" if len(found) > 1 else ""
            named = dataclasses.replace(example, id=f"{report.source}:{number}{suffix}", source=report.source)
            lines.append(check_line(named, toolset))
    except Unfit as error:
        reason, broken = str(error), False
        if error.function and (error.function in report.functions or len(report.functions) < MAX_NAMES):
            report.functions[error.function] += 1
    except BadRow as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - a row must not stop the other hundred thousand
        reason = type(error).__name__
    if reason:
        if strict and broken:
            raise DataError(f"{report.origin}: row {number}: {reason}. Without --strict it is left out and reported.")
        report.reject(number, reason)
        return []
    report.kept += 1
    report.examples += len(found)
    report.kinds.update(example.kind for example in found)
    report.tools.update(tool for example in found for tool in example.tools)
    return lines


def check_line(example: Example, toolset: Toolset) -> str:
    """The line of an example that is as good as a hand-written one.

    Raises:
        BadRow: it is not; says why without the row's own words, so that reasons can be counted.
    """
    line = format_example(example)
    try:
        line.encode()
    except UnicodeEncodeError:
        raise BadRow("characters that are not Unicode text") from None
    try:
        parse_example(line, toolset)
    except ValueError as error:
        words = re.sub(r"^message \d+ \((\w+)\) ", r"\1 turn ", str(error).split("; ")[0])
        words = re.sub(r"\d+", "n", re.split(r"['\"`{\[<]", words)[0]).strip(" :,")
        raise BadRow(f"no example: {words[:80]}") from None
    return line + "\n"


def open_rows(origin: str, about: Source, on_bytes: Callable[[int], None] | None = None) -> Iterator[Any]:
    """Rows of a file, or of a set on the hub.

    Raises:
        SetupError: there is no such file, and no set that can be loaded.
    """
    path = Path(origin)
    if path.is_dir():
        raise SetupError(f"{origin} is a folder. Give one file of rows.")
    if path.exists():
        return read_rows(path, about, on_bytes)
    if not _HUB_ID.fullmatch(origin) or path.suffix.lower() in {".json", ".jsonl", ".csv", ".tsv", ".gz", ".parquet"}:
        raise SetupError(f"No file {origin}. Give a file of rows, or a hub id such as {_hub_example(about)}.")
    return _hub_rows(origin, about)


def _hub_example(about: Source) -> str:
    at = about.url.find("huggingface.co/datasets/")
    return about.url[at + 24 :] if at >= 0 else "owner/name"


def _hub_rows(origin: str, about: Source) -> Iterator[Any]:
    try:
        import datasets
    except ImportError:
        raise SetupError("Hub ids need the datasets package: pip install 'toolgate[train]', or give a file.") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its five retries; the error says it once
    name, _, config = origin.partition(":")
    # The revision that the quirks were read from, where one is pinned.
    revision = about.revision if about.url.endswith(name) and about.revision else None
    try:
        loaded = datasets.load_dataset(name, config or None, streaming=True, revision=revision)
        for split in loaded.values():
            features = split.features or {}
            labels = {key: value for key, value in features.items() if isinstance(value, datasets.ClassLabel)}
            for row in split:
                for key, label in labels.items():
                    if isinstance(row.get(key), int) and row[key] >= 0:
                        row[key] = label.int2str(row[key])
                yield row
    except Exception as error:  # noqa: BLE001 - network, gate, names: the library raises of all kinds
        why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        if "gated" in str(error).lower() or "401" in why or (about.gated and "doesn't exist" in why):
            why = f"it is gated: accept the terms at huggingface.co/datasets/{name} and log in with `hf auth login`"
        raise SetupError(
            f"Cannot load {origin} from the hub: {why}. A downloaded file works without a network."
        ) from None
