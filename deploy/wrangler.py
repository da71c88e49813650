"""The upload through Cloudflare's own wrangler.

Covers: its command and environment, judging by its output, the list and one request.
Does not cover: installing it; `npm ci --prefix deploy/worker` does.

wrangler's create ends with 0 whatever happens (refused, no connection, a file missing), looks into no file, and leaves
half a fine-tune behind: 4.86.0 and 4.164.0 were tried against a local server. So its exit status is never read.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.api import WorkersAI
from deploy.export import SENT, Export, open_plain
from deploy.journal import open_journal, read_progress
from deploy.upload import (
    Checked,
    Uploaded,
    announce_upload,
    choose_name,
    find_started,
    leave_clean,
    refuse_no_room,
    remove_finetune,
)
from harness.attestation import differences, hash_folder
from harness.errors import DataError, SetupError
from harness.report import show_text
from harness.targets.workers_ai_codes import ApiError

VERSION = "4.86.0"  # the last that runs on Node 20; later ones need 22
PLACE = Path("deploy/worker/node_modules/.bin/wrangler")
TIMEOUT = 900  # seconds
READY = re.compile(r'✅ Assets uploaded, finetune "(?P<name>[^"]*)" is ready to use\.')


def upload_by_wrangler(
    api: WorkersAI, checked: Checked, state: Path, *, when: str, suffix: str = "", wrangler: Path = PLACE
) -> Uploaded:
    """Upload through the pinned wrangler, from a private copy of the files.

    wrangler's create ends with 0 whatever happens, checks no file, and leaves half a fine-tune behind. So it is judged
    by what it prints, by the list, and by one request to the model.

    Raises:
        SetupError: wrangler is not there or of another version; else as ``upload_export``.
        ApiError, DataError: as ``upload_export``.
    """
    export = checked.export
    name = choose_name(api, export, suffix)
    environment = wrangler_environment(api)
    version = _run_wrangler([str(wrangler), "--version"], environment, 60).strip()
    if VERSION not in version.split():
        said = show_text(version, 60)
        raise SetupError(f"{wrangler} is {said!r}; pinned is {VERSION}. Run: npm ci --prefix deploy/worker")
    journal = open_journal(api, state, name)
    with journal.hold() as entries, tempfile.TemporaryDirectory(prefix="toolgate-") as place:
        found = read_progress(entries)
        present = find_started(api, journal, found, name)
        if present and found.state == "done":
            return Uploaded(present.id, name, "there already", checked.notes)
        # wrangler cannot go on with one that is there.
        if present and (left := remove_finetune(api, journal, present.id)):
            raise ApiError(f"An upload before left {name} half-made", left)
        refuse_no_room(api, name)
        copy = Path(place, "files")
        _copy_files(export, copy)
        announce_upload(api, journal, checked, name, when)
        for own in ("WRANGLER_LOG_PATH", "XDG_CONFIG_HOME"):
            environment[own] = place
        said = _run_wrangler(wrangler_command(wrangler, export.plan.model, name, copy), environment)
        present = next((one for one in api.list_finetunes() if one.name == name), None)
        if present is None:
            journal.write("gone")
        else:
            journal.write("created", id=present.id)
        try:
            if present is None or not judge_wrangler(said, name):
                lines = " ".join(line.strip() for line in said.splitlines() if line.strip())
                raise ApiError(f"wrangler did not upload {name}; it said: {show_text(lines[-300:], 300)}", "Try again")
            _compare_copy(export, copy)
            api.run(export.plan.model, {"prompt": "Hello", "max_tokens": 1, "lora": present.id})
            journal.write("done")
        except (ApiError, DataError) as error:
            raise (leave_clean(api, journal, present.id, error) if present else error) from None
    return Uploaded(present.id, name, "uploaded", checked.notes)


def wrangler_command(wrangler: Path, model: str, name: str, folder: Path) -> list[str]:
    """The command that creates a fine-tune."""
    return [str(wrangler), "ai", "finetune", "create", model, name, str(folder)]


def wrangler_environment(api: WorkersAI) -> dict[str, str]:
    """What wrangler is told, and nothing else of ours."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "NODE_EXTRA_CA_CERTS") if key in os.environ}
    return {
        **kept,
        "CLOUDFLARE_API_BASE_URL": api.credentials.base_url,
        "CLOUDFLARE_ACCOUNT_ID": api.credentials.account,
        "CLOUDFLARE_API_TOKEN": api.credentials.token,
        "WRANGLER_SEND_METRICS": "false",
        "CI": "1",
        "NO_COLOR": "1",
    }


def judge_wrangler(said: str, name: str) -> bool:
    """Whether wrangler's output claims this upload; its exit status is 0 on every failure of create."""
    return any(match["name"] == name for match in READY.finditer(said)) and "🚨" not in said


def _copy_files(export: Export, folder: Path) -> None:
    folder.mkdir()
    for name in SENT:
        with open_plain(export.path / name) as file, (folder / name).open("xb") as copy:
            while chunk := file.read(1 << 20):
                copy.write(chunk)
    _compare_copy(export, folder)


def _compare_copy(export: Export, folder: Path) -> None:
    found = {name: digest for name, digest in hash_folder(folder).items() if name in SENT}
    if lines := differences(export.files, found):
        raise DataError(f"The files for wrangler are not those that were checked: {'; '.join(lines)}.")


def _run_wrangler(command: Sequence[str], environment: Mapping[str, str], timeout: float = TIMEOUT) -> str:
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
        said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        said = f"nothing within {timeout:g} s"
    except OSError as error:
        raise SetupError(f"Cannot run {command[0]}: {error.strerror}. Run: npm ci --prefix deploy/worker") from None
    return said.replace(environment["CLOUDFLARE_API_TOKEN"], "[token]")
