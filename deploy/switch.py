"""Which adapter the Worker asks for: moved on evidence, and moved back at once.

Covers: what a switch asks for (champion, receipt, upload, fresh probe and parity, all of the same bytes), the KV key
that the Worker reads, the history, what a killed switch left.
Does not cover: gathering the evidence (upload, probe, parity), a share of the traffic (the key moves all of it, within
a minute, everywhere), changes of the key by hand, somebody who writes into the records' folder: they are not signed.

The history names each step before it is taken and again when it is done, so a kill in between is seen. What was under
way then is finished by the same command. By another one it is left: of the two names that may have been in the key, the
older one counts, since it is the one that was known to serve.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from deploy import parity, probe
from deploy.export import NAME
from deploy.journal import JOURNAL, Journal, read_entries, read_progress
from deploy.upload import RefusedError
from deploy.wrangler import PLACE
from harness.attestation import Verification
from harness.errors import DataError, SetupError
from harness.report import show_text
from harness.targets.workers_ai import Body, WorkersAIReader
from harness.targets.workers_ai_codes import ApiError

HISTORY = "switch.jsonl"
KEY = "adapter"  # deploy/worker/src/index.ts reads it; where it is missing or empty, the Worker's var ADAPTER
NAMESPACE = re.compile(r"[0-9a-f]{32}")
MAX_AGE = 24.0  # hours
AHEAD = timedelta(minutes=5)  # by which the clock of the machine that wrote a record may be ahead
NO_KEY, NO_NAMESPACE = 10009, 10013
FINISH = "whether the key was written is not known. Give the same command again to finish it"


# The key.


class SwitchAPI(WorkersAIReader):
    """A client that reads and writes the key; the token needs the permission Workers KV Storage Write."""

    def read_key(self, namespace: str) -> str:
        """The name that is set; empty where none is.

        Raises:
            ApiError: the API refused or is out of reach.
        """
        raw, failure = self._send("GET", self._account + _path(namespace), None, None, once=False)
        if raw is None:
            assert failure is not None
            raise failure
        if raw.status < 300:  # the value as it is, without an envelope
            return raw.body.decode("utf-8", "replace").strip()
        try:
            answer = json.loads(raw.body)
        except ValueError:
            answer = None
        error = self._explain("GET the KV key", raw, answer if isinstance(answer, dict) else None)
        if raw.status == 404 and error.code == NO_KEY:
            return ""
        raise _explain_kv(error)

    def write_key(self, namespace: str, name: str) -> None:
        """Set the name, or remove the key for an empty one; repeating it changes nothing.

        Raises:
            ApiError: the API refused or is out of reach.
        """
        value = cast("Body", _Text(name.encode()))
        try:
            if name:
                self._ask("PUT", _path(namespace), stream=value, root=self._account)
            else:
                self._ask("DELETE", _path(namespace), root=self._account)
        except ApiError as error:
            if name or error.code != NO_KEY:
                raise _explain_kv(error) from None

    @property
    def _account(self) -> str:
        return f"{self.credentials.base_url.rstrip('/')}/accounts/{self.credentials.account}"


def _path(namespace: str) -> str:
    return f"/storage/kv/namespaces/{namespace}/values/{KEY}"


class _Text(io.BytesIO):
    content_type = "text/plain"

    def __len__(self) -> int:
        return len(self.getvalue())


def _explain_kv(error: ApiError) -> ApiError:
    fix = error.fix
    if error.status in {401, 403}:
        fix = "Give the token the permission Workers KV Storage Write as well"
    elif error.code == NO_NAMESPACE:
        fix = "Give the id of the namespace that the Worker binds as SWITCH: npx wrangler kv namespace list"
    return ApiError(error.what, fix, status=error.status, code=error.code, sent=error.sent)


def show_command(namespace: str, name: str) -> str:
    """The command of the pinned wrangler that does the same. Without --remote it writes to this machine only."""
    what = f"put {KEY} {name}" if name else f"delete {KEY}"
    return f"{PLACE} kv key {what} --namespace-id {namespace} --remote"


# Evidence.


def check_receipt(verified: Verification) -> str:
    """The champion's receipt, compared with its bytes and with bars and cases at hand; gives the key id of its signer.

    Raises:
        DataError: it does not match, or nobody trusted signed it.
        RefusedError: it says that the gate was closed.
    """
    if verified.differing or verified.receipt is None:
        told = verified.differing[0].rstrip(".") if verified.differing else "it cannot be read"
        raise DataError(f"No switch: the champion's receipt does not match: {told}. See: python -m harness verify")
    if verified.refusals:
        raise RefusedError(f"No switch: the gate was closed for the champion: {verified.refusals[0].rstrip('.')}.")
    if not verified.signer:
        raise DataError("No switch: nobody whom you trust signed the champion's receipt. Promote it with --key FILE.")
    return verified.signer


def check_served(
    folder: Path,
    name: str,
    adapter: str,
    *,
    now: datetime,
    max_age: float = MAX_AGE,
    limit: float = parity.LIMIT,
    stored: bool = False,
) -> dict[str, str]:
    """Compare upload, probe and parity of a fine-tune with the champion (``sha256:<hex>`` of its folder).

    ``folder`` holds what is recorded about ``name``, ``max_age`` is in hours, ``limit`` the highest bound of the rate
    of disagreement; ``stored`` accepts a parity that asked the served adapter nothing. Returns when both were found.

    Raises:
        SetupError: there is no such upload, or it is not whole; a limit is none.
        RefusedError: it is not the champion, or probe or parity is missing, old, or did not prove it.
        DataError: a record is damaged, or about other bytes.
    """
    if not 0 < max_age < 10_000 or not 0 < limit < 1:
        raise SetupError(
            f"--max-age is {max_age:g} hours, --parity-limit {limit:g}; possible: 0 to 10,000, and 0 to 1."
        )
    path = folder / JOURNAL
    if not NAME.fullmatch(name) or not path.is_file():
        raise SetupError(f"{show_text(name, 80)!r} was not uploaded from here. See the names: python -m deploy list")
    entries, _ = read_entries(path.read_bytes(), path)
    progress = read_progress(entries)
    if progress.state != "done":
        raise SetupError(f"The upload of {name} did not end ({progress.state}). Upload it again.")
    made = next(entry for entry in reversed(entries) if entry["step"] == "create")
    if made.get("adapter") != adapter:
        told = str(made.get("adapter"))[:19]
        raise RefusedError(f"No switch: {name} is adapter {told}…, the champion is {adapter[:19]}…. Promote it first.")
    wanted = {"name": name, "id": progress.id, **{key: made.get(key) for key in ("account", "adapter", "files")}}
    found = {}
    for kind, file in (("probe", probe.RECORD), ("parity", parity.RECORD)):
        record = _read_record(folder / file, kind, name)
        if other := [key for key, value in wanted.items() if record.get(key) != value]:
            raise DataError(f"No switch: {folder / file} is about another upload ({other[0]}). {_run(kind, name)}")
        if record.get("ok") is not True:
            raise RefusedError(f"No switch: the {kind} of {name} did not prove it. {_run(kind, name)}")
        _check_age(record, kind, name, now, max_age)
        if kind == "parity":
            _check_parity(record, name, limit, stored)
        found[kind] = str(record["when"])
    return found


def _read_record(path: Path, kind: str, name: str) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or record.get("kind") != f"toolgate-{kind}":
            raise ValueError("it is of another kind")
        record["when"] = datetime.fromisoformat(record["when"]).astimezone(UTC).isoformat(timespec="seconds")
    except FileNotFoundError:
        raise RefusedError(f"No switch: there is no {kind} of {name}. {_run(kind, name)}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"No switch: {path} is damaged: {error}. {_run(kind, name)}") from None
    return record


def _check_age(record: Mapping[str, Any], kind: str, name: str, now: datetime, max_age: float) -> None:
    age = now - datetime.fromisoformat(record["when"])
    if age < -AHEAD:
        raise RefusedError(f"No switch: the {kind} of {name} is from the future ({record['when']}). Check the clocks.")
    if age > timedelta(hours=max_age):
        hours = age.total_seconds() / 3600
        raise RefusedError(f"No switch: the {kind} of {name} is {hours:.1f} h old, of {max_age:g}. {_run(kind, name)}")


def _check_parity(record: Mapping[str, Any], name: str, limit: float, stored: bool) -> None:
    disagreements, cases = record.get("disagreements"), record.get("cases")
    if not isinstance(disagreements, int) or not isinstance(cases, int) or not 0 <= disagreements <= cases:
        raise DataError(f"No switch: the parity of {name} counts nothing. {_run('parity', name)}")
    bound = parity.bound_rate(disagreements, cases)
    if bound is None or bound > limit:
        told = "nothing" if bound is None else f"at most {bound:.1%}"
        raise RefusedError(f"No switch: parity of {name} shows {told}, the limit is {limit:.1%}. Give it more cases.")
    if not record.get("asked") and not stored:
        raise RefusedError(
            f"No switch: the parity of {name} asked nothing, all replies were stored. Run it with another --run-store, "
            "or accept it with --stored-parity."
        )


def _run(kind: str, name: str) -> str:
    return f"Run: python -m deploy {kind} {name}"


# The history.


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a namespace stands: the names that served, the newest last (empty: none was set), the step under way."""

    names: tuple[str, ...] = ()
    open: Mapping[str, Any] | None = None


class History(Journal):
    """One account's switches; a journal, held by one process at a time, each line fsynced."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / HISTORY

    def read(self) -> list[dict[str, Any]]:
        """The entries, without holding it."""
        return read_entries(self.path.read_bytes(), self.path)[0] if self.path.is_file() else []


def replay_history(entries: Sequence[Mapping[str, Any]], namespace: str) -> Standing:
    """Follow the history of one namespace to its end.

    Raises:
        DataError: no switch writes such a history.
    """
    names: tuple[str, ...] = ()
    under_way: Mapping[str, Any] | None = None
    for number, entry in enumerate(entries, 1):
        if entry.get("namespace") != namespace:
            continue
        step, before, name = (entry.get(key) for key in ("step", "before", "name"))
        if step == "switch" and under_way is None and isinstance(name, str) and isinstance(before, str):
            names = names or (before,)
            good = names[-1] == before
            under_way = entry
        elif step == "rollback" and (under_way is None or under_way["step"] == "switch"):
            names = names if under_way is None else (*names, under_way["name"])
            good = names[-2:] == (name, before)
            under_way = entry
        else:
            good = under_way is not None and step in {"done", "refused", "left"}
            if good and under_way is not None:
                if under_way["step"] == "switch" and step == "done":
                    names = (*names, under_way["name"])
                elif under_way["step"] == "rollback" and step != "refused":
                    names = names[:-1]
            under_way = None
        if not good:
            raise DataError(f"The history of switches is damaged: line {number} cannot follow. Restore it.")
    return Standing(names, under_way)


def served_adapters(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Digests of the adapters that serve, that a rollback would put back, or that are on their way, of any namespace.

    Raises:
        DataError: no switch writes such a history.
    """
    names: set[object] = set()
    for namespace in {str(entry.get("namespace")) for entry in entries}:
        standing = replay_history(entries, namespace)
        names |= {*standing.names[-2:], standing.open["name"] if standing.open else ""}
    return sorted({str(entry["adapter"]) for entry in entries if entry.get("name") in names and "adapter" in entry})


def find_namespace(entries: Sequence[Mapping[str, Any]], given: str | None) -> str:
    """The namespace that was given, else the only one of the history.

    Raises:
        SetupError: it is none, or there are none or several.
    """
    if given is not None:
        if not NAMESPACE.fullmatch(given):
            raise SetupError(f"--namespace is {given[:80]!r}; expected 32 hex digits: npx wrangler kv namespace list")
        return given
    known = sorted({str(entry["namespace"]) for entry in entries if "namespace" in entry})
    if len(known) != 1:
        told = f"The history has {len(known)} namespaces" if known else "Nothing was switched yet"
        raise SetupError(f"{told}: give the one that the Worker binds as SWITCH with --namespace ID.")
    return known[0]


# The steps.


@dataclass(frozen=True, slots=True)
class Switched:
    """What is served now, and what before. ``state``: switched, finished, there already, rolled back."""

    state: str
    name: str
    before: str
    namespace: str


def switch_adapter(
    api: SwitchAPI, history: History, name: str, namespace: str | None, facts: Mapping[str, object], *, when: str
) -> Switched:
    """Let the Worker ask for ``name``, whose evidence was checked; ``facts`` about it go into the history.

    Raises:
        ApiError: the API refused (nothing was changed) or is out of reach.
        SetupError: another process holds the history, or there is no namespace.
        DataError, StoreError: the history is damaged or cannot be written.
    """
    with history.hold() as entries:
        place = find_namespace(entries, namespace)
        standing = replay_history(entries, place)
        begun = standing.open
        if begun is not None and (begun["step"], begun["name"]) == ("switch", name):
            _take(api, history, place, name, when)
            return Switched("finished", name, str(begun["before"]), place)
        if begun is not None:
            history.write("left", namespace=place, when=when)
            standing = replay_history([*entries, {"step": "left", "namespace": place}], place)
        before = standing.names[-1] if standing.names else api.read_key(place)
        if before == name:
            api.write_key(place, name)  # whatever somebody did by hand
            return Switched("there already", name, before, place)
        history.write("switch", namespace=place, before=before, name=name, when=when, **facts)
        _take(api, history, place, name, when)
        return Switched("switched", name, before, place)


def roll_back(api: SwitchAPI, history: History, namespace: str | None, *, when: str) -> Switched:
    """Put the name before back, on no other evidence than that it served.

    Raises:
        SetupError: there is none; else as ``switch_adapter``.
    """
    with history.hold() as entries:
        place = find_namespace(entries, namespace)
        before, name, begun = plan_rollback(entries, place)
        if not begun:
            history.write("rollback", namespace=place, before=before, name=name, when=when)
        _take(api, history, place, name, when)
        return Switched("finished" if begun else "rolled back", name, before, place)


def plan_rollback(entries: Sequence[Mapping[str, Any]], namespace: str) -> tuple[str, str, bool]:
    """What a rollback takes out of traffic, what it puts back, and whether it had begun.

    Raises:
        SetupError: there is no name before.
    """
    standing = replay_history(entries, namespace)
    begun, names = standing.open, standing.names
    if begun is not None and begun["step"] == "rollback":
        return str(begun["before"]), str(begun["name"]), True
    if begun is not None:
        names = (*names, str(begun["name"]))
    if len(names) < 2:
        raise SetupError(f"There is no name to go back to in the history of {namespace}. Switch to another instead.")
    return names[-1], names[-2], False


def _take(api: SwitchAPI, history: History, namespace: str, name: str, when: str) -> None:
    try:
        api.write_key(namespace, name)
    except ApiError as error:
        if error.refused or not error.sent:
            history.write("refused", namespace=namespace, when=when)
            raise
        raise ApiError(f"{error.what}; {FINISH}", error.fix, status=error.status, code=error.code) from None
    history.write("done", namespace=namespace, when=when)
