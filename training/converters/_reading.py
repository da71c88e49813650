"""Rows of a file, one at a time and in constant memory.

Covers: JSON arrays of any size, JSON Lines, pretty-printed objects, objects of lists, CSV and TSV, parquet, gzip; rows
that are not readable come out as Broken, and reading goes on behind them.
Does not cover: what a row means.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.errors import SetupError
from training.converters.base import Source

CHUNK = 1 << 20
MAX_ROW = 16 << 20  # characters; what is longer is not one row of a data set

_GAP = re.compile(r"[\s,]*")
_BOUNDARY = re.compile(r"[}\]]\s*,\s*(?=[{\[])|\}\s*(?=\])")
_SECTIONS = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\[')
_SECTION = re.compile(r'[\s,]*"((?:[^"\\]|\\.)*)"\s*:\s*')
_DECODER = json.JSONDecoder()
# Errors that a row shows which merely ends with the buffer, wherever the decoder noticed.
_UNFINISHED = "Unterminated string"


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be read, and why."""

    why: str


def read_rows(path: Path, source: Source, on_bytes: Callable[[int], None] | None = None) -> Iterator[Any]:
    """The rows of a file; ``on_bytes`` hears how many bytes of it are behind us.

    Raises:
        SetupError: the file cannot be opened, or is of a kind that holds no rows.
    """
    tell = on_bytes or (lambda _: None)
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            if head[:4] == b"PAR1":
                yield from _read_parquet(path, tell)
                return
            if head[:2] == b"PK":
                raise SetupError(f"{path} is a zip archive. Unpack it and give the file of rows inside.")
            binary: IO[bytes] = gzip.GzipFile(fileobj=raw) if head[:2] == b"\x1f\x8b" else raw  # type: ignore[assignment]
            # Bytes that are not UTF-8 survive as lone surrogates: the row is refused or repaired, the file goes on.
            text = io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")
            for row in _read_text(text, path, source):
                yield row
                tell(raw.tell())
    except OSError as error:  # a damaged gzip file too
        raise SetupError(f"Cannot read {path}: {error.strerror or error}. Give a file of rows.") from None
    except EOFError:
        yield Broken("the compressed file ends early")
    except zlib.error:
        yield Broken("the compressed file is damaged")


def _read_text(text: io.TextIOWrapper, path: Path, source: Source) -> Iterator[Any]:
    suffix = next((s for s in reversed(path.suffixes) if s.lower() != ".gz"), "").lower()
    if suffix in {".csv", ".tsv"}:
        yield from _read_table(text, "\t" if suffix == ".tsv" else source.delimiter, header=source.header)
        return
    start = text.read(1 << 16)
    while start and not start.strip():
        start = text.read(1 << 16)
    first = start.lstrip()
    if not first:
        return
    if first[0] == "[":
        splitter = _Splitter(text, first)
        splitter.at = 1
        yield from splitter.values()
    elif source.layout == "sections" and _SECTIONS.match(first):
        yield from _Splitter(text, first).sections()
    elif first[0] == "{" and not first.split("\n", 1)[0].strip("{ \t\r"):
        yield from _Splitter(text, first).values()  # objects written over several lines
    elif first[0] == "{" or suffix in {".json", ".jsonl", ".ndjson"}:
        yield from _read_lines(text, start)
    else:
        yield from _read_table(_Rejoined(start, text), _guess_delimiter(first, source), header=source.header)


def _guess_delimiter(first: str, source: Source) -> str:
    return "\t" if "\t" in first.split("\n", 1)[0] else source.delimiter


class _Rejoined:
    """Lines of a text whose beginning was read already."""

    def __init__(self, start: str, rest: io.TextIOWrapper) -> None:
        self.start, self.rest = start, rest

    def __iter__(self) -> Iterator[str]:
        tail = self.start + self.rest.readline()
        yield from tail.splitlines(keepends=True)
        yield from self.rest


def _read_lines(text: io.TextIOWrapper, start: str) -> Iterator[Any]:
    pending = start
    while True:
        *lines, pending = pending.split("\n")
        for line in lines:
            if line.strip():
                yield _read_line(line)
        chunk = text.read(CHUNK)
        if not chunk:
            break
        if len(pending) > MAX_ROW:
            yield Broken("a line is too long to be a row")
            while chunk and "\n" not in chunk:
                chunk = text.read(CHUNK)
            pending = ""
            chunk = chunk.partition("\n")[2]
        pending += chunk
    if pending.strip():
        yield _read_line(pending)


def _read_line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return Broken("not JSON")


class _Splitter:
    """JSON values that follow each other in a text, cut off one by one."""

    def __init__(self, text: io.TextIOWrapper, start: str) -> None:
        self.text, self.buffer, self.at, self.eof = text, start, 0, False
        self.boundary = _BOUNDARY

    def fill(self) -> bool:
        """Read on; False at the end of the file."""
        # Grows with what is pending, so that a long value is not decoded again for every chunk.
        chunk = self.text.read(max(CHUNK, len(self.buffer) - self.at))
        if not chunk:
            self.eof = True
            return False
        self.buffer = self.buffer[self.at :] + chunk
        self.at = 0
        return True

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Pass over a pattern that matches the empty text too; the character behind it, "" at the end."""
        while True:
            match = pattern.match(self.buffer, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.fill():
                return ""

    def values(self) -> Iterator[Any]:
        """All values until the bracket that closes the list, or the end of the file."""
        while (mark := self.skip(_GAP)) != "":
            if mark in "]}":
                self.at += 1
                return
            value = self.value()
            if self.boundary is _BOUNDARY and isinstance(value, dict) and value:
                # Rows begin with the same key: behind a broken row that finds the next one, and not a part of it.
                key = re.escape(json.dumps(next(iter(value))))
                self.boundary = re.compile(r",\s*(?=\{\s*" + key + r"\s*:)")
            yield value

    def value(self) -> Any:
        """The value that begins here, or Broken when there is none; then all up to the next one is passed over."""
        while True:
            why = "not JSON"
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.at)
                if end < len(self.buffer) or self.eof or not self.fill():
                    self.at = min(end, len(self.buffer))
                    return value
                continue  # a number may go on behind the end of the buffer
            except json.JSONDecodeError as error:
                at_end = error.pos >= len(self.buffer) - 16 or error.msg.startswith(_UNFINISHED)
                if at_end and len(self.buffer) - self.at < MAX_ROW and not self.eof and self.fill():
                    continue
                if at_end and self.eof:
                    why = "not JSON: cut off"
            except RecursionError:
                why = "not JSON: nested too deep"
            self.recover()
            return Broken(why)

    def recover(self) -> None:
        """Go to where the next value seems to begin."""
        while True:
            match = self.boundary.search(self.buffer, self.at + 1)
            if match and (match.end() < len(self.buffer) or self.eof):
                self.at = match.end()
                return
            self.at = max(self.at, len(self.buffer) - 256)  # a boundary may lie across two chunks
            if not self.fill():
                self.at = len(self.buffer)
                return

    def sections(self) -> Iterator[Any]:
        """The items of the lists in one object, each with its key."""
        self.at = self.buffer.index("{") + 1
        while self.skip(_GAP) == '"':
            while (match := _SECTION.match(self.buffer, self.at)) is None or match.end() >= len(self.buffer):
                if not self.fill():
                    return
            self.at = match.end()
            if self.buffer[self.at] != "[":
                self.value()
                continue
            self.at += 1
            for value in self.values():
                yield value if isinstance(value, Broken) else (match[1], value)


def _read_table(lines: Any, delimiter: str, *, header: bool) -> Iterator[Any]:
    # Tab-separated sets quote nothing; a quotation mark there is a word's.
    if delimiter == "\t":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter)
    names: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Broken("not CSV")
            continue
        if not cells:
            continue
        if not header:
            yield cells
        elif names is None:
            names = cells
        elif len(cells) != len(names):
            yield Broken("another number of cells than columns")
        else:
            yield dict(zip(names, cells, strict=True))


def _read_parquet(path: Path, tell: Callable[[int], None]) -> Iterator[Any]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise SetupError(f"{path} is a parquet file; pip install 'toolgate[train]' reads it.") from None
    try:
        file = pq.ParquetFile(path)
        done = 0
        for batch in file.iter_batches(batch_size=256):
            for row in batch.to_pylist():
                done += 1
                yield row
                tell(path.stat().st_size * done // max(1, file.metadata.num_rows))
    except (OSError, ValueError) as error:
        raise SetupError(f"Cannot read {path}: {str(error).splitlines()[0]}. Is it a whole parquet file?") from None
