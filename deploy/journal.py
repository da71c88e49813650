"""What is known of each upload, in files that survive a kill.

Covers: one file of JSON lines per fine-tune, each line fsynced before the step it announces; reading where an upload
stands; one process at a time.
Does not cover: the steps themselves (upload, wrangler).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deploy.api import WorkersAI
from harness.errors import DataError, SetupError, StoreError

JOURNAL = "upload.jsonl"


class Journal:
    """What is known of one fine-tune's upload, in a file that survives a kill; held by one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self._file: IO[bytes] | None = None

    @contextmanager
    def hold(self) -> Iterator[list[dict[str, Any]]]:
        """Open it alone; gives its entries so far.

        Raises:
            SetupError: another process holds it.
            StoreError: it cannot be written.
            DataError: it is damaged.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+b")
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(folder)  # else a power cut could take the whole file
            os.close(folder)
        except OSError as error:
            raise StoreError(f"Cannot write {self.path}: {error.strerror}. Choose another --state DIR.") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SetupError(f"Another process holds {self.path}. Wait until it has ended.") from None
            file.seek(0)
            entries, whole = read_entries(file.read(), self.path)
            file.truncate(whole)  # a line that a kill cut short announced nothing
            self._file = file
            try:
                yield entries
            finally:
                self._file = None

    def write(self, step: str, **facts: object) -> None:
        """Announce a step; it is on the disk before this returns.

        Raises:
            StoreError: the disk is full or gone; the step must not be taken.
        """
        assert self._file is not None
        try:
            self._file.write(json.dumps({"step": step, **facts}).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(
                f"Cannot write {self.path}: {error.strerror}. Free the disk and give the same command again."
            ) from None


@dataclass(frozen=True, slots=True)
class Progressed:
    """Where an upload stands, from its journal. ``state``: none, creating, sending, done or gone."""

    state: str
    mark: str = ""
    id: str = ""
    sent: tuple[str, ...] = ()


def read_progress(entries: Sequence[Mapping[str, Any]]) -> Progressed:
    """Follow a journal to its end."""
    now = Progressed("none")
    for entry in entries:
        step = entry["step"]
        if step == "create":
            now = Progressed("creating", str(entry["mark"]))
        elif step == "created":
            now = Progressed("sending", now.mark, str(entry["id"]))
        elif step == "sent":
            now = Progressed("sending", now.mark, now.id, (*now.sent, str(entry["file"])))
        elif step in {"done", "gone"}:
            now = Progressed(step, now.mark, now.id, now.sent)
    return now


def read_journals(folder: Path) -> dict[str, Progressed]:
    """Name of a fine-tune -> where its upload stands, of all journals of one account.

    Raises:
        DataError: one is damaged.
    """
    found = {}
    for path in sorted(folder.glob(f"*/{JOURNAL}")):
        found[path.parent.name] = read_progress(read_entries(path.read_bytes(), path)[0])
    return found


def read_entries(data: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """The entries of a journal and the length of its whole lines. DataError where it is damaged."""
    whole = data.rfind(b"\n") + 1
    try:
        entries = [json.loads(line) for line in data[:whole].splitlines()]
        if not all(isinstance(entry, dict) and isinstance(entry.get("step"), str) for entry in entries):
            raise ValueError("an entry has no step")
        read_progress(entries)
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}. Compare it with: python -m deploy list") from None
    return entries, whole


def open_journal(api: WorkersAI, state: Path, name: str) -> Journal:
    """The journal of one fine-tune of one account."""
    return Journal(state / api.credentials.place / name)
