"""The account's fine-tunes: which are ours, which were left half-made, which may go.

Covers: listing, choosing what to prune, removing it, what the journal knows of one.
Does not cover: uploading (upload), what is in use (the registry's aliases and the switch say).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.api import Finetune, WorkersAI
from deploy.export import NAME
from deploy.journal import open_journal, read_entries, read_journals, read_progress
from harness.errors import SetupError
from harness.targets.workers_ai_codes import ApiError


@dataclass(frozen=True, slots=True)
class Listed:
    """A fine-tune and what is known of it here. ``state``: ours, half-made, or foreign."""

    finetune: Finetune
    state: str


def list_finetunes(api: WorkersAI, state: Path) -> list[Listed]:
    """All fine-tunes of the account, the oldest first.

    Raises:
        ApiError: the API refused or is out of reach.
    """
    journals = read_journals(state / api.credentials.place)
    found = []
    for one in sorted(api.list_finetunes(), key=lambda one: (one.when, one.name)):
        known = journals.get(one.name)
        started = known is not None and known.state in {"creating", "sending"}
        if known and started and (one.id == known.id or not one.description or known.mark in one.description):
            found.append(Listed(one, "half-made"))
        else:
            found.append(Listed(one, "ours" if NAME.fullmatch(one.name) else "foreign"))
    return found


def listed_dict(one: Listed) -> dict[str, str]:
    """One line of the list for a program."""
    tune = one.finetune
    return {"name": tune.name, "id": tune.id, "model": tune.model, "created": tune.created, "state": one.state}


def find_listed(api: WorkersAI, name: str) -> Finetune:
    """The fine-tune of a name or an id.

    Raises:
        SetupError: the account has none, or several of that name.
        ApiError: the API refused or is out of reach.
    """
    found = [one for one in api.list_finetunes() if name in {one.name, one.id}]
    if len(found) != 1:
        raise SetupError(f"{len(found)} fine-tunes are called {name!r}. See them: python -m deploy list")
    return found[0]


def recorded_facts(api: WorkersAI, state: Path, one: Finetune) -> dict[str, object]:
    """What ties a fine-tune to bytes: name and id, and from its journal the digests that were uploaded."""
    facts: dict[str, object] = {"name": one.name, "id": one.id, "account": api.credentials.account}
    path = open_journal(api, state, one.name).path
    entries = read_entries(path.read_bytes(), path)[0] if path.is_file() else []
    if read_progress(entries).id == one.id:
        told = next(entry for entry in reversed(entries) if entry["step"] == "create")
        facts |= {key: told[key] for key in ("adapter", "receipt", "files")}
    return facts


def choose_pruned(listed: Sequence[Listed], keep: int, protected: Sequence[str]) -> list[Listed]:
    """What a prune would remove: half-made ones, and of ours all but the newest ``keep``.

    ``protected`` are digests of adapters (``sha256:<hex>``) that the registry's aliases stand for; foreign ones are
    never touched.
    """
    safe = {digest.removeprefix("sha256:")[:12] for digest in protected}
    half = [one for one in listed if one.state == "half-made"]
    ours = [one for one in listed if one.state == "ours"]
    spare = ours[: max(0, len(ours) - keep)]
    return half + [one for one in spare if _adapter_part(one.finetune.name) not in safe]


def prune_finetunes(api: WorkersAI, chosen: Sequence[Listed], state: Path) -> list[str]:
    """Remove fine-tunes; the names of those that are gone.

    Raises:
        ApiError: the API refused, or has no deletion.
    """
    gone = []
    for one in chosen:
        journal = open_journal(api, state, one.finetune.name)
        with journal.hold():
            try:
                api.delete_finetune(one.finetune.id)
            except ApiError as error:
                if error.no_route:
                    what = f"this API deletes no fine-tunes; {one.finetune.name} stays"
                    raise ApiError(what, "Remove it in the dashboard", status=error.status, code=error.code) from None
                raise
            journal.write("gone")
        gone.append(one.finetune.name)
    return gone


def _adapter_part(name: str) -> str:
    match = NAME.fullmatch(name)
    return match["adapter"] if match else ""
