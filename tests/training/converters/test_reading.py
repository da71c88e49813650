"""Files of rows: layouts, damage, size."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SetupError
from training.converters import _reading
from training.converters._reading import Broken, read_rows
from training.converters._running import open_rows
from training.converters.base import Source

ABOUT = Source(url="", revision="", licence="x", author="x")
ROWS = [
    {"system": 'a [b] {c}, {"system": 1}', "chat": "x" * 50},
    {"system": "é\u2028", "chat": "}, {"},
    {"system": "", "chat": ""},
]


def read(folder: Path, body: str | bytes, name: str = "rows.json") -> list[Any]:
    file = folder / name
    file.write_bytes(body.encode() if isinstance(body, str) else body)
    return list(read_rows(file, ABOUT))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps(ROWS), id="array"),
        pytest.param(json.dumps(ROWS, indent=4), id="pretty array"),
        pytest.param("\n".join(map(json.dumps, ROWS)), id="lines"),
        pytest.param("\r\n\r\n".join(map(json.dumps, ROWS)) + "\r\n", id="CRLF and blank lines"),
        pytest.param("\n".join(json.dumps(row, indent=2) for row in ROWS), id="pretty objects"),
        pytest.param("\ufeff" + json.dumps(ROWS, ensure_ascii=False), id="BOM"),
        pytest.param(gzip.compress(json.dumps(ROWS).encode()), id="gzip"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_every_layout_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any, chunk: int):
    """Wherever a chunk ends, nothing is lost or doubled."""
    monkeypatch.setattr(_reading, "CHUNK", chunk)

    assert read(tmp_path, body) == ROWS


@pytest.mark.parametrize("layout", ["array", "lines"])
@pytest.mark.parametrize(
    "damage", ['{"system": oops}', '{"system": "a", "chat": [{"b": 1}, {"c": }]}', '{"system": ' + "[" * 100_000]
)
def test_one_bad_row_costs_itself_alone(tmp_path: Path, layout: str, damage: str):
    """Reading goes on behind a row that is no JSON."""
    texts = [json.dumps(ROWS[0]), damage, json.dumps(ROWS[1]), json.dumps(ROWS[2])]
    body = "[" + ", ".join(texts) + "]" if layout == "array" else "\n".join(texts)

    first, broken, *rest = read(tmp_path, body)

    assert (ROWS[0], ROWS[1:]) == (first, rest)
    assert isinstance(broken, Broken)


def test_a_file_that_ends_early_loses_its_last_row(tmp_path: Path):
    """A download that was cut off."""
    *rows, last = read(tmp_path, json.dumps(ROWS)[:-20])

    assert ROWS[:2] == rows
    assert Broken("not JSON: cut off") == last
    assert [Broken("the compressed file ends early")] == read(tmp_path, gzip.compress(b"[" + b'{"a": 1}' * 99)[:20])[
        -1:
    ]


def test_memory_does_not_grow_with_the_file(tmp_path: Path):
    """20 MB of one array are read in less than 8."""
    file = tmp_path / "big.json"
    row = json.dumps({"system": "s", "chat": "word " * 800})
    file.write_text("[" + ",\n".join([row] * 5000) + "]")

    tracemalloc.start()
    assert sum(1 for _ in read_rows(file, ABOUT)) == 5000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20


def test_parquet_is_read_where_pyarrow_is(tmp_path: Path):
    """As the hub stores many sets."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")

    assert list(read_rows(tmp_path / "rows.parquet", ABOUT)) == ROWS


def test_what_is_no_file_is_one_clear_line(tmp_path: Path):
    """A wrong name, a folder, an archive."""
    with pytest.raises(SetupError, match=r"No file nowhere\.json"):
        open_rows("nowhere.json", ABOUT)
    with pytest.raises(SetupError, match="is a folder"):
        open_rows(str(tmp_path), ABOUT)
    with pytest.raises(SetupError, match="zip archive"):
        read(tmp_path, b"PK\x03\x04rest")
    assert [] == read(tmp_path, "") == read(tmp_path, " \n") == read(tmp_path, "[]")
