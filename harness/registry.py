"""Adapters by digest, and the aliases that say which one serves: candidate, champion, previous.

Covers: copying an adapter in, moving an alias with its receipt, rolling back, who moved what and when, many processes
at once, kill -9 and power cuts at any moment.
Does not cover: whether an adapter deserves the move (promotion), signatures and configuration (attestation).

    REGISTRY/registry.json      the whole state in one file: replaced at once, so it is the old one or the new one
             adapters/<hex>/    files of an adapter, by the digest of them all; never changed once they are there
             receipts/<hex>.json
             staging/           copies that are not admitted yet; what a killed process left goes with the next one
             lock

The aliases follow from the history: a move of champion puts the one before on ``previous``, a rollback takes the last
move back. A state where they do not was edited by hand and is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from harness.attestation import Receipt, differences, digest_files, hash_folder, open_files, read_receipt
from harness.errors import DataError, SetupError, StoreError
from harness.files import sync_folder

FORMAT = 1
STATE = "registry.json"
ALIASES = ("candidate", "champion", "previous")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """What an alias stands for: an adapter and the receipt that brought it there, each ``sha256:<hex>``."""

    adapter: str
    receipt: str


@dataclass(frozen=True, slots=True)
class Move:
    """One line of the history. ``action`` is promote (an alias now stands for this entry) or rollback."""

    number: int
    action: str
    alias: str
    adapter: str
    receipt: str
    who: str
    when: str


@dataclass(frozen=True, slots=True)
class State:
    """Aliases and history at one moment."""

    aliases: Mapping[str, Entry]
    history: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True)
class Staged:
    """A private copy of an adapter: what is measured and admitted is this, whatever happens to the original."""

    path: Path
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the copy."""
        return digest_files(self.files)


class FolderRegistry:
    """A registry in a folder on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self) -> State:
        """The state as it is now; empty where no adapter was ever admitted.

        Raises:
            DataError: the file is damaged, or its aliases do not follow from its history.
            StoreError: it cannot be read.
        """
        path = self.root / STATE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return State({})
        except OSError as error:
            raise _store_error("read", path, error) from None
        try:
            raw = json.loads(data)
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']!r}")
            aliases = {str(name): Entry(**entry) for name, entry in raw["aliases"].items()}
            state = State(aliases, tuple(Move(**move) for move in raw["history"]))
            derived = replay_history(state.history)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {error}. Restore it from a backup.") from None
        if derived != aliases:
            raise DataError(f"{path} was edited: its aliases do not follow from its history. Restore it.")
        return state

    def adapter_path(self, digest: str) -> Path:
        """Where an adapter's files are."""
        return self.root / "adapters" / _hex(digest)

    def receipt_path(self, digest: str) -> Path:
        """Where a receipt is."""
        return self.root / "receipts" / f"{_hex(digest)}.json"

    def read_receipt(self, digest: str) -> Receipt:
        """A receipt of the history.

        Raises:
            DataError: it is missing or was changed.
        """
        path = self.receipt_path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"Cannot read the receipt {path}: {error.strerror}. Restore it from a backup.") from None
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise DataError(f"{path} was changed: its bytes do not have its digest. Restore it from a backup.")
        return read_receipt(data)

    def find_receipt(self, files: Mapping[str, str], profile: str) -> Receipt | None:
        """The receipt to compare an adapter's files with; None where the registry holds none at all.

        It is the newest of those files and that profile; for files that no receipt is about, the one that fits best, so
        that a check can name what was changed.
        """
        digests = dict.fromkeys(move.receipt for move in reversed(self.read().history))
        receipts = [self.read_receipt(digest) for digest in digests]
        return min(receipts, key=lambda one: (len(differences(one.files, files)), one.profile != profile), default=None)

    def check_entry(self, entry: Entry) -> Path:
        """The folder of an entry's adapter, after comparing every file with the receipt.

        Raises:
            DataError: a file or the receipt differs; names it.
        """
        receipt, path = self.read_receipt(entry.receipt), self.adapter_path(entry.adapter)
        if receipt.adapter != entry.adapter:
            raise DataError(f"Receipt {entry.receipt[:19]}… is about another adapter than {entry.adapter[:19]}….")
        try:
            found = hash_folder(path)
        except SetupError as error:
            raise DataError(str(error)) from None
        if lines := differences(receipt.files, found):
            raise DataError(f"The registry's copy {path} was changed: {'; '.join(lines)}. Restore it from a backup.")
        return path

    @contextmanager
    def stage(self, adapter: Path) -> Iterator[Staged]:
        """Copy an adapter aside for measuring; the copy is gone afterwards unless it was admitted.

        Raises:
            SetupError, DataError: the folder cannot be read, or holds links or misleading names.
            StoreError: the registry cannot be written.
        """
        staging = self.root / "staging"
        token = secrets.token_hex(8)
        folder = staging / token
        try:
            with self._lock():
                staging.mkdir(parents=True, exist_ok=True)
                self._sweep(staging)
                # Held for as long as the copy is in use: whoever can lock it may remove the copy.
                handle = os.open(staging / f"{token}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise _store_error("write", staging, error) from None
        try:
            yield Staged(folder, _copy_files(adapter, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                (staging / f"{token}.lock").unlink()
            os.close(handle)

    def promote(
        self,
        staged: Staged,
        receipt: bytes,
        alias: str,
        *,
        who: str,
        when: str,
        rival: Entry | Literal["any"] | None = "any",
    ) -> State:
        """Admit a staged adapter with its receipt and move an alias to it, all or nothing.

        The caller has checked signature and configuration; here the receipt must be about these very bytes and its gate
        open. ``rival`` is the champion that the caller compared it with (None: there was none); should another be
        champion by now, nothing is moved.

        Raises:
            DataError: the receipt is about other bytes, or the gate was closed.
            SetupError: there is no such alias to move.
            StoreError: the registry cannot be written; the state is the old one.
        """
        if alias not in ("candidate", "champion"):
            raise SetupError(f"Alias {alias!r} cannot be moved to an adapter. Possible: candidate, champion.")
        read = read_receipt(receipt)
        if lines := differences(read.files, hash_folder(staged.path)):
            raise DataError(f"The adapter is not the one of the receipt: {'; '.join(lines)}. Promote again.")
        if not read.about["decision"]["open"]:
            raise DataError("The receipt says that the gate was closed. Nothing is moved.")
        with self._lock():
            state = self.read()
            if rival != "any" and state.aliases.get("champion") != rival:
                raise DataError(
                    "Another process moved champion meanwhile: this adapter was compared with the one before. Promote "
                    "again."
                )
            self._admit(staged, read)
            move = Move(len(state.history) + 1, "promote", alias, read.adapter, read.digest, who, when)
            return self._write(state, move)

    def rollback(self, *, who: str, when: str, expected: Entry | None = None) -> State:
        """Move champion back to the one before it, after comparing that one's bytes with its receipt.

        ``expected`` is the entry that the caller has checked; should another be previous by now, nothing is moved.

        Raises:
            SetupError: there is none to go back to.
            DataError: its files or its receipt were changed.
        """
        with self._lock():
            state = self.read()
            if "previous" not in state.aliases:
                raise SetupError("There is no previous champion to go back to. Promote an adapter instead.")
            entry = state.aliases["previous"]
            if expected is not None and entry != expected:
                raise DataError("Another process moved the aliases meanwhile. Look at them and roll back again.")
            self.check_entry(entry)
            move = Move(len(state.history) + 1, "rollback", "champion", entry.adapter, entry.receipt, who, when)
            return self._write(state, move)

    def _admit(self, staged: Staged, receipt: Receipt) -> None:
        """Put adapter and receipt in place; without an alias they mean nothing, so a kill here changes nothing."""
        path = self.adapter_path(receipt.adapter)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                if lines := differences(receipt.files, hash_folder(path)):
                    raise DataError(
                        f"The registry's copy {path} was changed: {'; '.join(lines)}. Move it away and promote again."
                    )
            else:
                staged.path.rename(path)
                sync_folder(path.parent)
        except OSError as error:
            raise _store_error("write", path, error) from None
        _write_file(self.receipt_path(receipt.digest), receipt.data)

    def _write(self, state: State, move: Move) -> State:
        history = (*state.history, move)
        new = State(replay_history(history), history)
        body = {
            "format": FORMAT,
            "aliases": {name: asdict(entry) for name, entry in sorted(new.aliases.items())},
            "history": [asdict(one) for one in history],
        }
        _write_file(self.root / STATE, json.dumps(body, indent=1).encode() + b"\n")
        return new

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the registry alone among all processes; the kernel frees it when a process dies."""
        path = self.root / "lock"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise _store_error("lock", path, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _sweep(self, staging: Path) -> None:
        """Remove the copies of processes that are gone."""
        for path in staging.glob("*.lock"):
            try:
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)
            except OSError:  # in use
                continue
            finally:
                os.close(handle)


def replay_history(history: Sequence[Move]) -> dict[str, Entry]:
    """The aliases that a history leads to.

    Raises:
        ValueError: no registry writes such a history.
    """
    candidate: Entry | None = None
    champions: list[Entry] = []
    for number, move in enumerate(history, 1):
        if move.number != number or not DIGEST.fullmatch(move.adapter) or not DIGEST.fullmatch(move.receipt):
            raise ValueError(f"move {number} is none")
        entry = Entry(move.adapter, move.receipt)
        if move.action == "rollback" and move.alias == "champion" and len(champions) > 1 and champions[-2] == entry:
            champions.pop()
        elif move.action == "promote" and move.alias == "candidate":
            candidate = entry
        elif move.action == "promote" and move.alias == "champion":
            # Promoted again it stays where it is, with a new receipt: the previous one is kept.
            champions[-1 if champions and champions[-1].adapter == entry.adapter else len(champions) :] = [entry]
            candidate = None if candidate and candidate.adapter == entry.adapter else candidate
        else:
            raise ValueError(f"move {number} is none")
    found = {"candidate": candidate, "champion": champions[-1] if champions else None}
    found["previous"] = champions[-2] if len(champions) > 1 else None
    return {name: entry for name, entry in found.items() if entry is not None}


def _copy_files(source: Path, folder: Path) -> dict[str, str]:
    """Copy all files while hashing them: what is hashed is what was copied."""
    found = {}
    for name, handle in open_files(source):
        digest = hashlib.sha256()
        target = folder / name
        with os.fdopen(handle, "rb") as file:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as copy:
                    while chunk := file.read(CHUNK):
                        digest.update(chunk)
                        copy.write(chunk)
                    copy.flush()
                    os.fsync(copy.fileno())
            except OSError as error:
                raise _store_error("write", target, error) from None
        found[name] = digest.hexdigest()
    if not found:
        raise SetupError(f"{source} holds no file. Give a folder with an adapter.")
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))
    return found


def _write_file(path: Path, data: bytes) -> None:
    """Replace a file at once; after a kill or a power cut it is the old one or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")  # one name: the lock is held, and a killed writer's is overwritten
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise _store_error("write", path, error) from None


def _hex(digest: str) -> str:
    """The name of a digest's file; only a digest becomes part of a path."""
    if not DIGEST.fullmatch(digest):
        raise DataError(f"{digest[:80]!r} is no digest. Expected sha256:<64 hex digits>.")
    return digest.removeprefix("sha256:")


def _store_error(verb: str, path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    return StoreError(f"Cannot {verb} {path}: {reason}. Free or allow that place, or choose another with --registry.")
