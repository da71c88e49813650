"""``python -m training convert``: the progress on the terminal, the table at the end.

Covers: public sets, and our own two formats (``sharegpt`` reads ShareGPT lines, ``examples`` writes them).
Does not cover: how a row is converted.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from harness.errors import DataError, SetupError
from training.converters import CONVERTERS
from training.converters._running import Report, convert_source
from training.examples import read_examples, write_examples
from training.sharegpt import read_sharegpt, write_sharegpt

OURS = ("sharegpt", "examples")


def run_convert(source: str, file: str, out: Path, report: Path, *, strict: bool, console: Console) -> None:
    """Convert a file or a set of the hub and say what became of its rows.

    Raises:
        SetupError: an unknown source, or nothing to read.
        DataError: ``strict``, and a row is broken.
    """
    if len({Path(file).resolve(), out.resolve(), report.resolve()}) < 3:
        raise SetupError("FILE, --out and --report must be three files.")
    if source in OURS:
        _convert_ours(source, Path(file), out, report, strict=strict)
        return
    if source not in CONVERTERS:
        raise SetupError(f"Unknown source {source!r}. Known sources: {', '.join((*CONVERTERS, *OURS))}.")
    size = os.path.getsize(file) if os.path.isfile(file) else None  # noqa: PTH202, PTH113 - a hub id is no path
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(source, total=size)
        done = convert_source(
            source, file, out, report, strict=strict, on_bytes=lambda place: progress.update(task, completed=place)
        )
    console.print(_tabulate(done))


def _tabulate(report: Report) -> Table:
    table = Table(title=f"{report.source}: {report.rows} rows, licence {report.about.licence}")
    table.add_column("row")
    table.add_column("count", justify="right")
    table.add_row(f"kept, as {report.examples} examples", str(report.kept))
    for kind, count in report.kinds.most_common():
        table.add_row(f"  {kind}", str(count))
    for reason, count in list(report.counts().items())[:15]:
        table.add_row(f"left out: {reason}", str(count))
    if len(report.rejected) > 15:
        rest = sum(list(report.counts().values())[15:])
        table.add_row(f"left out for {len(report.rejected) - 15} other reasons", str(rest))
    return table


def _convert_ours(source: str, file: Path, out: Path, report: Path, *, strict: bool) -> None:
    """Our two formats; every line that is refused stands in the report with its reason."""
    examples, problems = read_sharegpt(file) if source == "sharegpt" else read_examples(file)
    if strict and problems:
        raise DataError(f"{problems[0]}. Without --strict it is left out and reported.")
    if source == "sharegpt":
        write_examples(out, examples)
    else:
        write_sharegpt(out, examples)
    refused = []
    for problem in problems:  # "file:line: reason"
        line, _, reason = problem.removeprefix(f"{file}:").partition(": ")
        refused.append([int(line) if line.isdigit() else line, reason])
    body = {
        "source": source,
        "rows": len(examples) + len(problems),
        "kept": len(examples),
        "examples": len(examples),
        "rejected": dict(Counter(str(reason) for _, reason in refused).most_common()),
        "rows_rejected": refused,
    }
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(body, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
