"""The finetunes and the KV values of the emulator, on disk.

Covers: one folder per finetune, written so that kill -9 at any moment leaves it whole or not there; the files of an
adapter, each written once; a lock, so that two emulators cannot share a folder.
Does not cover: what the API answers (``app``), which adapters can be served (``inference``).

    STATE/lock
    STATE/partial/                               what is being written; emptied at every start
    STATE/accounts/<account>/<id>/finetune.json  the record
    STATE/accounts/<account>/<id>/adapter/       adapter_config.json, adapter_model.safetensors, once uploaded
    STATE/kv/<account>/<namespace>/<key>         a value
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from deploy.emulator.quirks import ASSUMED, CONFIG, WEIGHTS, WorkersAIError, check_create, now_text
from harness.errors import DataError, SetupError
from harness.files import sync_folder

RECORD = "finetune.json"
COPY_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Finetune:
    """The record of one finetune; nothing in it ever changes."""

    id: str
    name: str
    model: str
    description: str
    public: bool
    created_at: str

    def listed(self) -> dict[str, Any]:
        """As the live list has it: no modified_at, no public. [live]"""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "created_at": self.created_at,
            "model": self.model,
        }

    def created(self) -> dict[str, Any]:
        """As the reply to its creation has it."""
        return {**asdict(self), "modified_at": self.created_at}


class FinetuneStore:
    """All finetunes of all accounts; every method may be called from any thread."""

    def __init__(self, root: Path) -> None:
        """Open the folder, or make it.

        Raises:
            SetupError: it cannot be made, or another emulator has it open.
            DataError: a record in it is damaged.
        """
        self.root = root
        self._lock = threading.RLock()
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._held = _lock_file(root / "lock")
            shutil.rmtree(root / "partial", ignore_errors=True)
            (root / "partial").mkdir()
        except BlockingIOError:
            raise SetupError(f"Another emulator runs on {root}. Stop it, or give another --state.") from None
        except OSError as error:
            raise SetupError(f"Cannot use {root}: {error.strerror}. Give another folder with --state.") from None
        self._known: dict[str, dict[str, Finetune]] = {}
        for path in sorted(root.glob(f"accounts/*/*/{RECORD}")):
            self._account(path.parent.parent.name)[path.parent.name] = _read_record(path)

    def close(self) -> None:
        """Let another emulator have the folder."""
        self._held.close()

    def list(self, account: str) -> list[Finetune]:
        """The finetunes of an account, the oldest first."""
        with self._lock:
            return sorted(self._known.get(account, {}).values(), key=lambda found: (found.created_at, found.id))

    def accounts(self) -> tuple[str, ...]:
        """The accounts that have finetunes."""
        with self._lock:
            return tuple(sorted(self._known))

    def find(self, account: str, wanted: str) -> Finetune | None:
        """A finetune by id or by name, as ``lora`` and the paths of the API take either. [docs]"""
        with self._lock:
            known = self._known.get(account, {})
            return known.get(wanted) or next((found for found in known.values() if found.name == wanted), None)

    def create(self, account: str, body: Any) -> Finetune:
        """Make a finetune without files.

        Raises:
            WorkersAIError: see ``quirks.check_create``.
        """
        with self._lock:
            known = self._known.get(account, {})
            model, name, description, public = check_create(body, len(known), {found.name for found in known.values()})
            made = Finetune(str(uuid.uuid4()), name, model, description, public, now_text())
            partial = self.root / "partial" / made.id
            (partial / "adapter").mkdir(parents=True)
            _write_synced(partial / RECORD, lambda file: file.write(json.dumps(asdict(made), indent=1).encode()))
            home = self.root / "accounts" / account / made.id
            home.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(home)
            sync_folder(home.parent)
            self._account(account)[made.id] = made
            return made

    def add_file(self, account: str, finetune: Finetune, name: str, data: IO[bytes]) -> None:
        """Keep a file of an adapter; a name that is not one of the two is accepted and ignored. [live]

        Raises:
            WorkersAIError: the finetune has that file already; assets cannot be changed. [docs] Its code is [assumed].
        """
        if name not in (CONFIG, WEIGHTS):
            return
        partial = self.root / "partial" / f"{uuid.uuid4()}"
        try:
            _write_synced(partial, lambda file: shutil.copyfileobj(data, file, COPY_CHUNK))
            with self._lock:
                path = self.folder(account, finetune) / name
                if path.exists():
                    raise WorkersAIError(ASSUMED, f"{name} of finetune {finetune.id} exists and cannot be changed")
                if not path.parent.is_dir():
                    raise WorkersAIError(5033, finetune.id, status=404)  # deleted while its file came in
                partial.rename(path)
                sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)

    def delete(self, account: str, finetune: Finetune) -> None:
        """Drop a finetune with its files, at once for every reader."""
        with self._lock:
            if self._account(account).pop(finetune.id, None) is None:
                return
            home, grave = self.root / "accounts" / account / finetune.id, self.root / "partial" / finetune.id
            home.rename(grave)
            sync_folder(home.parent)
        shutil.rmtree(grave, ignore_errors=True)

    def folder(self, account: str, finetune: Finetune) -> Path:
        """Where the adapter's files are."""
        return self.root / "accounts" / account / finetune.id / "adapter"

    def missing(self, account: str, finetune: Finetune) -> tuple[str, ...]:
        """The files that were never uploaded."""
        return tuple(name for name in (CONFIG, WEIGHTS) if not (self.folder(account, finetune) / name).is_file())

    def _account(self, account: str) -> dict[str, Finetune]:
        return self._known.setdefault(account, {})


class ValueStore:
    """Values of Workers KV; the folder is the FinetuneStore's, which holds the lock. Names are safe for paths."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()

    def read(self, account: str, namespace: str, key: str) -> bytes:
        """A value; WorkersAIError where there is none."""
        try:
            return self._path(account, namespace, key).read_bytes()
        except FileNotFoundError:
            raise WorkersAIError(10009) from None

    def write(self, account: str, namespace: str, key: str, value: bytes) -> None:
        """Set a value: after kill -9 it is the old one or the new one."""
        path, partial = self._path(account, namespace, key), self.root / "partial" / f"{uuid.uuid4()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            _write_synced(partial, lambda file: file.write(value))
            partial.replace(path)
            sync_folder(path.parent)

    def delete(self, account: str, namespace: str, key: str) -> None:
        """Remove a value; one that is not there is no error. [assumed]"""
        with self._lock:
            self._path(account, namespace, key).unlink(missing_ok=True)

    def _path(self, account: str, namespace: str, key: str) -> Path:
        return self.root / "kv" / account / namespace / key


def _lock_file(path: Path) -> IO[str]:
    """Hold a lock that the kernel gives back with the process, however that ends; BlockingIOError where it is held."""
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise
    return handle


def _read_record(path: Path) -> Finetune:
    try:
        return Finetune(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is damaged: {error}. Delete that finetune's folder, or give another --state."
        ) from None


def _write_synced(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
