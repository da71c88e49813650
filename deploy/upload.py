"""From an export to a fine-tune: only against a receipt, and never half of one left unseen.

Covers: comparing adapter, receipt and export; the upload over REST; resuming and cleaning after a kill.
Does not cover: whether the fine-tune acts (probe; an accepted upload is not yet a served adapter), moving traffic.

What is sent is hashed while it is sent: the last bytes of a file go out only when the whole has the digest that follows
from the receipt, so a file swapped after the check is never completed at the other side. Each step is in
the journal before it is taken; the upload's own mark in the description finds a fine-tune whose id was never heard.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.api import Finetune, WorkersAI
from deploy.export import NAME, SENT, Export, OnStep, derive_hashes, no_step, open_plain
from deploy.journal import Journal, Progressed, open_journal, read_progress
from deploy.preflight import Family, check_folder, check_room, failures, find_family
from harness.attestation import Verification, differences, hash_folder
from harness.errors import DataError, SetupError, ToolgateError
from harness.targets.workers_ai_codes import ApiError


@dataclass(frozen=True, slots=True)
class Checked:
    """An export that follows from a verified adapter: the only thing that is uploaded."""

    export: Export
    receipt: str  # sha256:<hex>
    signer: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """How an upload ended. ``state``: uploaded, or there already."""

    id: str
    name: str
    state: str
    notes: tuple[str, ...]


class RefusedError(ToolgateError):
    """The gate was closed for this adapter."""


# Evidence.


def check_export(export: Export, adapter: Path, verified: Verification) -> Checked:
    """Tie an export to a receipt: derive it again from the adapter that the receipt is about, and compare.

    Raises:
        RefusedError: the receipt says that the gate was closed.
        DataError: receipt and adapter differ, or the export does not follow from the adapter.
    """
    if verified.differing or verified.receipt is None:
        raise DataError(f"No upload: the receipt does not match. {_join(verified.differing)}. Promote the adapter.")
    if verified.refusals:
        raise RefusedError(f"No upload: the gate was closed. {_join(verified.refusals)}. Train a better adapter.")
    if not verified.signer:
        raise DataError("No upload: nobody whom you trust signed the receipt. Promote the adapter with --key FILE.")
    sealed = verified.receipt.files
    if export.source != verified.receipt.adapter:
        raise DataError(
            f"No upload: {export.path} was made from adapter {export.source[:19]}…, the receipt is about "
            f"{verified.receipt.adapter[:19]}…. Export that one."
        )
    wanted = derive_hashes(adapter, sealed, export.plan)
    found = {name: digest for name, digest in hash_folder(export.path).items() if name in SENT}
    for name, got in (("its files", found), ("its manifest", dict(export.files))):
        if lines := differences(wanted, got):
            why = "; ".join(lines).replace("the receipt", "the adapter")
            raise DataError(
                f"No upload: {export.path} does not follow from the promoted adapter ({name}: {why}). Export it again."
            )
    if export.plan.bf16 and (not export.replies.get("compared") or export.replies.get("differing")):
        raise DataError(f"No upload: the replies of {export.path} in bf16 were not compared. Export it again.")
    plan = export.plan
    family = find_family(plan.model) if plan.base else Family(plan.model, plan.model_type, "", {})
    if bad := failures(check_folder(export.path, family)):
        raise DataError(f"No upload: {bad[0].check}: {bad[0].what}. {bad[0].fix}.")
    return Checked(export, verified.receipt.digest, verified.signer, verified.notes)


def _join(lines: Sequence[str]) -> str:
    more = f"; {len(lines) - 3} more (python -m harness verify lists them)" if lines[3:] else ""
    return "; ".join(line.rstrip(".") for line in lines[:3]) + more


# What is sent.


class AssetBody:
    """One file as multipart/form-data, read as it is sent; memory does not grow with the file.

    The fields are ``file_name`` and then ``file``. Rewinding starts the hash anew: repeated requests are checked too.
    """

    def __init__(self, file: IO[bytes], name: str, wanted: str, on_step: OnStep = no_step) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file_name"\r\n\r\n{name}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file, self._name, self._wanted, self._on_step = file, name, wanted, on_step
        self._size = os.fstat(file.fileno()).st_size
        self.seek(0)

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(1 << 16):
            yield chunk

    def tell(self) -> int:
        """Bytes handed out."""
        return self._place

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to the beginning, or to the end to tell the length."""
        if whence == 2 and position == 0:
            self._place = len(self)
        elif whence == 0 and position == 0:
            self._file.seek(0)
            self._place, self._digest = 0, hashlib.sha256()
        else:
            raise OSError("only the beginning can be gone back to")
        return self._place

    def read(self, size: int = -1) -> bytes:
        """The next bytes; the last ones of the file only when all of it has the wanted digest.

        Raises:
            DataError: the file is not what was checked.
        """
        size = len(self) if size is None or size < 0 else size
        place, start = self._place, len(self._head)
        if place < start:
            data = self._head[place : place + size]
        elif place < start + self._size:
            data = self._file.read(min(size, start + self._size - place))
            self._digest.update(data)
            ended = place + len(data) == start + self._size
            if not data or (ended and self._digest.hexdigest() != self._wanted):
                raise DataError(f"{self._name} is not the file that was checked: it was replaced during the upload.")
            self._on_step(f"sending {self._name}", place + len(data) - start, self._size)
        else:
            data = self._tail[place - start - self._size :][:size]
        self._place += len(data)
        return data


# The upload.


def upload_export(
    api: WorkersAI, checked: Checked, state: Path, *, when: str, suffix: str = "", on_step: OnStep = no_step
) -> Uploaded:
    """Upload over REST, or go on where a killed upload stopped. ``state`` holds the journals.

    Should it fail, what was created is removed again; what cannot be removed stays in the journal, ``list`` shows it
    and ``prune`` or the next upload clears it.

    Raises:
        ApiError: the API refused or is out of reach.
        DataError: a file was replaced meanwhile.
        SetupError: no place or no name is left, or the export is for an emulator.
    """
    name = choose_name(api, checked.export, suffix)
    journal = open_journal(api, state, name)
    with journal.hold() as entries, _opened(checked.export) as files:
        found = read_progress(entries)
        present = find_started(api, journal, found, name)
        if present and found.state == "done":
            return Uploaded(present.id, name, "there already", checked.notes)
        if present:
            try:
                _send_files(api, journal, checked.export, present, files, found.sent, on_step)
                return Uploaded(present.id, name, "uploaded", checked.notes)
            except ApiError as error:
                # Killed between the API's yes and our note of it: a file that is there is not taken twice.
                if not error.refused or remove_finetune(api, journal, present.id):
                    raise leave_clean(api, journal, present.id, error) from None
            except DataError as error:
                raise leave_clean(api, journal, present.id, error) from None
        present = _create(api, journal, checked, name, when)
        try:
            _send_files(api, journal, checked.export, present, files, (), on_step)
        except (ApiError, DataError) as error:
            raise leave_clean(api, journal, present.id, error) from None
    return Uploaded(present.id, name, "uploaded", checked.notes)


# Steps.


def choose_name(api: WorkersAI, export: Export, suffix: str) -> str:
    """The fine-tune's name. SetupError for a bad suffix, and for an emulator's export on its way to Cloudflare."""
    if not export.plan.base and not api.credentials.local:
        raise SetupError(f"{export.path} was exported with --base, for an emulator. Export it again without.")
    name = f"{export.name}-{suffix}" if suffix else export.name
    if not NAME.fullmatch(name):
        raise SetupError(f"--suffix {suffix!r} must be 1 to 16 of a-z and 0-9.")
    return name


def refuse_no_room(api: WorkersAI, name: str) -> None:
    """SetupError where the quota is used up or the name is taken."""
    bad = failures(check_room(api.list_finetunes(), name))
    if bad:
        raise SetupError(f"No upload: {bad[0].what}. {bad[0].fix}.")


def announce_upload(api: WorkersAI, journal: Journal, checked: Checked, name: str, when: str) -> str:
    """Write down what is about to be created; returns the mark that finds it again."""
    mark = secrets.token_hex(8)
    facts = {"name": name, "model": checked.export.plan.model, "account": api.credentials.account, "when": when}
    digests = {"adapter": checked.export.source, "receipt": checked.receipt, "files": dict(checked.export.files)}
    journal.write("create", mark=mark, **facts, **digests)
    return mark


def _create(api: WorkersAI, journal: Journal, checked: Checked, name: str, when: str) -> Finetune:
    refuse_no_room(api, name)
    mark = announce_upload(api, journal, checked, name, when)
    description = f"toolgate {checked.export.source} upload {mark}"
    try:
        made = api.create_finetune(checked.export.plan.model, name, description)
    except ApiError as error:
        if error.refused or not error.sent:
            journal.write("gone")
            raise
        # No answer, and yet it may be there.
        with suppress(ApiError):
            if found := _find_marked(api, mark, name):
                journal.write("created", id=found.id)
                return found
        what = f"{error.what}; whether {name} was created is not known, and is in the journal"
        raise ApiError(what, "Upload again to go on", status=error.status, code=error.code) from None
    journal.write("created", id=made.id)
    return made


def find_started(api: WorkersAI, journal: Journal, found: Progressed, name: str) -> Finetune | None:
    """The fine-tune that an earlier upload left, whole or half, if the API still has it."""
    if found.state in {"none", "gone"}:
        return None
    if found.state == "creating":
        present = _find_marked(api, found.mark, name)
        if present is not None:
            journal.write("created", id=present.id)
    else:
        present = next((one for one in api.list_finetunes() if one.id == found.id), None)
    if present is None:
        journal.write("gone")
    return present


def _find_marked(api: WorkersAI, mark: str, name: str) -> Finetune | None:
    """By the mark; by the name where the API keeps no description (the name was free before)."""
    named = [one for one in api.list_finetunes() if one.name == name]
    return next((one for one in named if mark in one.description or not one.description), None)


def _send_files(
    api: WorkersAI,
    journal: Journal,
    export: Export,
    finetune: Finetune,
    files: Mapping[str, IO[bytes]],
    sent: Sequence[str],
    on_step: OnStep,
) -> None:
    for name in SENT:  # the config first
        if name not in sent:
            api.send_asset(finetune.id, AssetBody(files[name], name, export.files[name], on_step))
            journal.write("sent", file=name)
    _check_listed(api, finetune.id, finetune.name)
    journal.write("done")


def _check_listed(api: WorkersAI, finetune: str, name: str) -> None:
    listed = next((one for one in api.list_finetunes() if one.id == finetune), None)
    if listed is None or listed.name != name:
        raise ApiError(f"The API does not list {name} after its upload", "Upload again")


def remove_finetune(api: WorkersAI, journal: Journal, finetune: str) -> str:
    """Remove a half-made fine-tune; empty when it is gone, else what is to be said."""
    try:
        api.delete_finetune(finetune)
    except ApiError as error:
        why = "the API deletes none" if error.no_route else "it could not be removed"
        return f"The half-made fine-tune {finetune} is still there ({why}): upload again, or python -m deploy prune"
    journal.write("gone")
    return ""


def leave_clean(api: WorkersAI, journal: Journal, finetune: str, error: ToolgateError) -> ToolgateError:
    """Clean up after a failure; the error to raise says how that went."""
    left = remove_finetune(api, journal, finetune) or "Nothing was left behind"
    if isinstance(error, ApiError):
        return ApiError(error.what, f"{error.fix}. {left}", status=error.status, code=error.code)
    return DataError(f"{error} {left}.")


@contextmanager
def _opened(export: Export) -> Iterator[dict[str, IO[bytes]]]:
    files: dict[str, IO[bytes]] = {}
    try:
        for name in SENT:
            files[name] = open_plain(export.path / name)
        yield files
    finally:
        for file in files.values():
            file.close()
