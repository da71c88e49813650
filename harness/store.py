"""Replies by content hash: what was generated once is never generated again.

Covers: the key of a request, one small file per reply, a lock between processes, atomic writing of files.
Does not cover: latency. A stored reply has no time in it, so that none can be read back.

A reply file appears by ``os.replace``: other processes, and a run after kill -9, see all of it or nothing. It is not
fsynced, because a reply lost in a power cut costs one generation, while 1,000 fsyncs cost seconds in every run; its
checksum tells a torn file, which counts as missing and is written again. Files of a run (``write_file``) are fsynced.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.files import sync_folder
from harness.types import Message

FORMAT = 1
_count = itertools.count()


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as it is kept."""

    text: str
    truncated: bool
    tokens: int


def request_key(
    identity: Mapping[str, str], messages: Sequence[Message], text: str, decoding: Mapping[str, int]
) -> str:
    """The key of one request; changing this function makes every stored reply unreachable.

    ``identity`` is the target's (adapter and base digests, versions); ``messages`` and ``text`` are the prompt as a
    server and as a local model reads it, so template, toolset and system prompt are in the key as they were sent.
    """
    turns = [[message["role"], message["content"]] for message in messages]
    body = [FORMAT, sorted(identity.items()), turns, text, sorted(decoding.items())]
    return "sha256:" + hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()


class ReplyStore:
    """A folder of replies, safe for many processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> StoredReply | None:
        """The reply to a request, or None; a damaged entry is None as well, and is written again.

        Raises:
            StoreError: the store is there and cannot be read.
        """
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _store_error("read", path, error) from error
        try:
            entry = json.loads(raw)
            if entry["key"] != key or entry["check"] != _checksum(entry["reply"]):
                return None
            return StoredReply(**entry["reply"])
        except (ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, reply: StoredReply) -> None:
        """Keep a reply; the last of several writers wins, and a reader never sees half of one.

        Raises:
            StoreError: it cannot be written, for example because the disk is full.
        """
        body = asdict(reply)
        entry = {"key": key, "check": _checksum(body), "reply": body}
        write_file(self._path(key), json.dumps(entry, separators=(",", ":")).encode() + b"\n", sync=False)

    @contextmanager
    def lock(self, name: str = "generate") -> Iterator[None]:
        """Hold the store alone among all processes; the kernel frees it when a process dies.

        One lock for all targets: two generations on the same cores take longer together than one after the other,
        and latency has to be measured alone.

        Raises:
            StoreError: the lock file cannot be made.
        """
        path = self.root / f"{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _store_error("lock", path, error) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                raise _store_error("lock", path, error) from error
            yield
        finally:
            os.close(handle)

    def _path(self, key: str) -> Path:
        algorithm, _, digest = key.partition(":")
        # 256 folders, so that none grows beyond what a person or a backup can list.
        return self.root / algorithm / digest[:2] / f"{digest[2:]}.json"


def write_file(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file so that it is there whole or not at all, also after kill -9; with ``sync``, also after a power cut.

    Raises:
        StoreError: it cannot be written; nothing half-written stays behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_count)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        raise _store_error("write", path, error) from error


def _checksum(reply: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(reply, sort_keys=True).encode()).hexdigest()


def _store_error(verb: str, path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    return StoreError(
        f"Cannot {verb} {path}: {reason}. Free or allow that place, or choose another with --run-store DIR."
    )
