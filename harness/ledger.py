"""Who asked which suite how often: the more often one is asked, the less a pass is worth.

Covers: one line per consultation in a file that only grows (locked, fsynced, each line sealed to the one before), the
lineage of an adapter, how often it asked, and the chance that luck alone would have passed by now.
Does not cover: consultations that were never written (another ledger, another machine, replies read in the store),
measuring (runner), deciding (gate).

A line holds the sha256 of itself and of the line before it. An edited, removed or reordered line breaks the chain, and
reading says where. Whoever can write the file can write a whole new chain, or cut the end off: therefore a receipt
records the last seal, and ``holds`` tells whether a ledger still contains it. A last line without its newline was being
written when the process died; nobody was told of it, so the next one takes its place.

Adapters are of one lineage when they share data, recipe, recipe name, or bytes, directly or over others of the ledger:
changing one thing at a time stays in the family. An adapter that tells nothing about its training is its own lineage.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.cases import digest_cases
from harness.errors import DataError, StoreError
from harness.files import sync_folder
from harness.gate import NEGATIVE_PRECISION, READINGS, Profile, Require
from harness.metrics import Metrics
from harness.planning import fewest_right, luck_of_many, pass_chance
from harness.types import Case

LEDGER = "attempts.jsonl"
START = "sha256:" + hashlib.sha256(b"").hexdigest()  # what the first line follows
MAX_FACTS = 4 << 20  # bytes of training.json or a model card that are read
CARD_DATA = re.compile(r"examples, `(sha256:[0-9a-f]{64})`")
SEALED_SUITE = "(sealed)"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One consultation. ``marks`` tie it to its lineage; ``suites`` maps each suite to ``[cases, digest]``."""

    number: int
    time: str
    by: str  # promote, pytest or run
    profile: str  # empty for a run without a verdict
    open: bool
    marks: tuple[str, ...]  # the first is the adapter's own
    suites: Mapping[str, tuple[int, str]]
    previous: str
    seal: str

    @property
    def adapter(self) -> str:
        """The mark of the adapter itself."""
        return self.marks[0]


@dataclass(frozen=True, slots=True)
class Luck:
    """What chance alone does at one bar: once, and in as many tries as were made."""

    metric: str
    n: int
    right: int
    once: float
    by_now: float


@dataclass(frozen=True, slots=True)
class Consultations:
    """How often a profile's suites were asked by one lineage and by all.

    ``tries`` counts adapters: the same bytes asked again give the same answers and are no new chance.
    """

    profile: str
    times: int
    tries: int
    all_times: int
    all_tries: int
    luck: tuple[Luck, ...] = ()
    sealed_times: int | None = None  # openings of the profile's sealed suite by all, None where it has none

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"luck": [asdict(one) for one in self.luck]}


class Ledger:
    """A file of attempts, for many processes of one machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Attempt]:
        """All attempts so far; none where there is no file.

        Raises:
            DataError: the chain is broken; names the line.
            StoreError: the file cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed("read", error) from None
        return self._parse(data)

    def append(
        self,
        *,
        time: str,
        by: str,
        profile: str,
        opened: bool,
        marks: Sequence[str],
        suites: Mapping[str, tuple[int, str]],
    ) -> Attempt:
        """Add one attempt and return it; it is on the disk then.

        Raises:
            DataError: the chain is broken, or there is nothing to write down.
            StoreError: the file cannot be written; what was there stays.
        """
        if not marks or not suites:
            raise DataError("An attempt without an adapter or without a suite is none. Give both.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise self._failed("write", error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with os.fdopen(os.dup(handle), "rb") as file:
                data = file.read()
            known = self._parse(data)
            whole = data.rfind(b"\n") + 1
            body = {
                "number": len(known) + 1,
                "time": time,
                "by": by,
                "profile": profile,
                "open": opened,
                "marks": list(marks),
                "suites": {name: list(suites[name]) for name in sorted(suites)},
                "previous": known[-1].seal if known else START,
            }
            line = _encode(body | {"seal": _seal(body)})
            if whole < len(data):
                os.ftruncate(handle, whole)
            try:
                _write_all(handle, line)
                os.fsync(handle)
            except OSError:
                with suppress(OSError):  # half a line would be dropped by the next writer anyway
                    os.ftruncate(handle, whole)
                raise
            sync_folder(self.path.parent)
            return _read_line(line)
        except OSError as error:
            raise self._failed("write", error) from None
        finally:
            os.close(handle)  # frees the lock

    def holds(self, seal: str) -> bool:
        """Whether a line with this seal is in the file: False when it was cut off, or another ledger was put here."""
        return seal == START or any(attempt.seal == seal for attempt in self.read())

    def _parse(self, data: bytes) -> list[Attempt]:
        attempts: list[Attempt] = []
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(keepends=True), 1):
            try:
                attempt = _read_line(line)
                expected = attempts[-1].seal if attempts else START
                if attempt.number != number or attempt.previous != expected:
                    raise ValueError("it does not follow the line before it")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{self.path}:{number}: the ledger was changed here: {error}. Restore it from a backup."
                ) from None
            attempts.append(attempt)
        return attempts

    def _failed(self, verb: str, error: OSError) -> StoreError:
        return StoreError(
            f"Cannot {verb} the ledger {self.path}: {error.strerror or error}. Free or allow that place, or choose "
            "another with --ledger FILE."
        )


def read_marks(adapter: Path | None, identity: Mapping[str, str]) -> tuple[str, ...]:
    """What ties an adapter to its lineage; its own mark comes first.

    Data, recipe and name are read from training.json, the data from the model card where there is none. ``identity`` is
    the target's; where it names an adapter that is its mark, else (a server, a recording) the whole identity is.
    """
    own = identity.get("adapter") or "sha256:" + hashlib.sha256(_encode(sorted(identity.items()))).hexdigest()
    marks = [f"adapter:{own}"]
    if adapter is None:
        return tuple(marks)
    raw = _read_small(adapter / "training.json")
    with suppress(ValueError, RecursionError, TypeError, AttributeError):  # what cannot be read says nothing
        facts = json.loads(raw)
        recipe, data = facts.get("recipe") or {}, facts.get("data") or {}
        found = {"data": data.get("digest"), "recipe": facts.get("recipe_digest"), "name": recipe.get("name")}
        marks += [f"{kind}:{value}" for kind, value in found.items() if isinstance(value, str) and value]
    if len(marks) == 1:
        card = CARD_DATA.search(_read_small(adapter / "README.md").decode("utf-8", "replace"))
        marks += [f"data:{card[1]}"] if card else []
    return tuple(marks)


def count_suites(cases: Iterable[Case]) -> dict[str, tuple[int, str]]:
    """The suites of the cases that were asked, each with their number and digest."""
    by_suite: dict[str, list[Case]] = {}
    for case in cases:
        by_suite.setdefault(case.suite, []).append(case)
    return {suite: (len(found), digest_cases(found)) for suite, found in sorted(by_suite.items())}


def find_lineage(attempts: Sequence[Attempt], marks: Iterable[str]) -> list[Attempt]:
    """The attempts that hang together with these marks, in their order."""
    known, before = set(marks), -1
    while len(known) != before:
        before = len(known)
        for attempt in attempts:
            if not known.isdisjoint(attempt.marks):
                known.update(attempt.marks)
    return [attempt for attempt in attempts if not known.isdisjoint(attempt.marks)]


def count_consultations(
    attempts: Sequence[Attempt], marks: Iterable[str], profile: Profile, metrics: Metrics
) -> Consultations:
    """How often the profile was asked, by the lineage of these marks and by all, and what luck could have done.

    ``metrics`` are those of the newest attempt: their n says how hard each bar is to pass by luck.
    """
    everyone = [attempt for attempt in attempts if attempt.profile == profile.name]
    # The lineage may hang together over attempts of other profiles.
    own = [attempt for attempt in find_lineage(attempts, marks) if attempt.profile == profile.name]
    tries = len({attempt.adapter for attempt in own})
    sealed = profile.sealed
    openings = [one for one in everyone if sealed and one.suites.get(SEALED_SUITE, (0, ""))[1] == sealed.digest]
    return Consultations(
        profile=profile.name,
        times=len(own),
        tries=tries,
        all_times=len(everyone),
        all_tries=len({attempt.adapter for attempt in everyone}),
        luck=find_luck(profile, metrics, tries),
        sealed_times=len(openings) if sealed else None,
    )


def find_luck(profile: Profile, metrics: Metrics, tries: int) -> tuple[Luck, ...]:
    """For each proven bar: the chance that a model exactly at it, and better elsewhere, clears it in so many tries.

    Once it is p = P(X >= k), X ~ Binomial(n, bar), with k the fewest right that prove the bar (Clopper & Pearson 1934),
    so at most 5 %; by now it is 1 - (1 - p)^n (``planning.luck_of_many``). A bar that only has to be met proves nothing
    and is left out: there a model at the bar passes about every second time.
    """
    found = []
    for name, bar in profile.metrics.items():
        for reading in READINGS if name == NEGATIVE_PRECISION else (name,):
            rate = metrics.rates.get(reading)
            if bar.require is not Require.PROVEN or rate is None:
                continue
            right = fewest_right(rate.n, bar.bar)
            if right is not None and rate.n >= bar.min_n:
                once = pass_chance(rate.n, right, bar.bar)
                found.append(Luck(reading, rate.n, right, once, luck_of_many(once, tries)))
    return tuple(found)


def show_consultations(found: Consultations) -> str:
    """One line for a summary."""
    line = (
        f"Attempts: profile {found.profile} was asked {_times(found.times)} by {_adapters(found.tries)} of this "
        f"lineage ({_times(found.all_times)} by {_adapters(found.all_tries)} in all)."
    )
    if found.luck:
        worst = max(found.luck, key=lambda one: one.by_now)
        line += (
            f" A model just under the bar of {worst.metric} passes it by luck with {worst.once:.1%} each time, so by "
            f"now with {worst.by_now:.1%}."
        )
    if found.sealed_times is not None:
        line += f" The sealed suite was opened {_times(found.sealed_times)}."
    return line


def _times(count: int) -> str:
    return f"{count} time{'s' if count != 1 else ''}"


def _adapters(count: int) -> str:
    return f"{count} adapter{'s' if count != 1 else ''}"


def _read_line(line: bytes) -> Attempt:
    raw = json.loads(line)
    seal = raw.pop("seal")
    if seal != _seal(raw):
        raise ValueError("its seal does not fit")
    if line != _encode(raw | {"seal": seal}):
        raise ValueError("it is not spelled as Toolgate writes it")
    suites = {str(name): (int(count), str(digest)) for name, (count, digest) in raw.pop("suites").items()}
    marks = tuple(str(mark) for mark in raw.pop("marks"))
    if not marks or not suites:
        raise ValueError("it names no adapter or no suite")
    return Attempt(**_fields(raw), marks=marks, suites=suites, seal=seal)


def _fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"number": int, "time": str, "by": str, "profile": str, "open": bool, "previous": str}
    if raw.keys() != kinds.keys() or any(type(raw[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("it has other fields than an attempt")
    return dict(raw)


def _seal(body: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(_encode(body)).hexdigest()


def _encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def _read_small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FACTS + 1)
    except OSError:
        return b""
    return data if len(data) <= MAX_FACTS else b""


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
