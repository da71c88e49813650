"""What a person decided about examples, and whether that is enough for a build.

Covers: the content hash, the sample that has to be read, the append-only file of decisions, the check of a build.
Does not cover: the page (training.review.server); whether a decision was a good one; lines that somebody deletes from
a file of examples after reading them: what is not given counts nowhere.

A stratum is a kind and a tool, such as single / createTask. An example that calls several tools stands in
several strata.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, SetupError
from harness.files import sync_folder
from harness.parsing import load_strict
from harness.toolset import Toolset, load_toolset
from training.examples import Example, format_example, parse_example

SHARE = 0.15  # of every stratum is read
LIMIT = 0.05  # of what was read in a stratum may be rejected
VERDICTS = ("accept", "reject", "edit")
# draw: it belongs to the sample for good. skip: later. undo: this reviewer's last decision on it does not count.
ACTIONS = ("draw", *VERDICTS, "skip", "undo")

Stratum = tuple[str, str]  # kind, tool; "(none)" for no tool


class ReviewError(DataError):
    """Examples were not reviewed enough, or rejected too often; ``problems`` has one line per stratum."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f"; and {len(problems) - 3} more strata" if len(problems) > 3 else ""
        super().__init__(
            f"Synthetic examples may not enter a build: {'; '.join(problems[:3])}{more}. "
            "Read on with: python -m training review FILE (a larger --share draws more); "
            "write a stratum anew where too much of it is wrong."
        )
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One line of the file of decisions."""

    time: str  # ISO 8601, UTC
    reviewer: str
    action: str  # one of ACTIONS
    hash: str  # of the example as its file has it
    id: str = ""
    level: float | None = None  # of a draw: it is in every sample whose share is above it
    reasons: tuple[str, ...] = ()
    note: str = ""
    example: Example | None = None  # of an edit: what replaces the example
    becomes: str | None = None  # of an edit: the hash of what replaces it


@dataclass(frozen=True, slots=True)
class Count:
    """How the review of one stratum stands; numbers of examples."""

    kind: str
    tool: str
    total: int
    drawn: int
    unread: int  # drawn, and not decided
    read: int  # decided, drawn or not
    rejected: int
    edited: int

    @property
    def name(self) -> str:
        """As people see it: ``single / createTask``."""
        return f"{self.kind} / {self.tool}"


def content_hash(example: Example) -> str:
    """``sha256:<hex>`` over kind, time and conversation: what is taught, whatever its id and source."""
    turns = [[message["role"], message["content"]] for message in example.messages]
    return "sha256:" + hashlib.sha256(json.dumps([example.kind, example.now, turns]).encode()).hexdigest()


def list_strata(example: Example) -> list[Stratum]:
    """The strata that an example stands in: one per tool that it calls."""
    return [(example.kind, tool) for tool in sorted(set(example.tools)) or ["(none)"]]


def draw_sample(examples: Iterable[Example], *, share: float = SHARE, decisions: Sequence[Decision] = ()) -> list[str]:
    """The content hashes to read, in the order of reading: at least ``share`` of every stratum, rounded up.

    It depends on the contents alone, not on their order. What ``decisions`` records as drawn stays drawn when more
    examples come.

    Raises:
        SetupError: ``share`` is not above 0 and at most 1.
    """
    levels = draw_levels(examples, share=share, decisions=decisions)
    return sorted(levels, key=_shuffle_key)


def draw_levels(
    examples: Iterable[Example], *, share: float = SHARE, decisions: Sequence[Decision] = ()
) -> dict[str, float]:
    """The level of every drawn example by its content hash: the largest share that would not draw it.

    Raises:
        SetupError: ``share`` is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise SetupError(f"--share {share} is not possible. Give a share above 0 and at most 1, e.g. {SHARE}.")
    strata = _group_strata(examples)
    levels: dict[str, float] = {}
    for hashes in strata.values():
        for rank, key in enumerate(sorted(hashes, key=_shuffle_key)):
            levels[key] = min(levels.get(key, 1.0), rank / len(hashes))
    for decision in decisions:
        if decision.action == "draw" and decision.level is not None and decision.hash in levels:
            levels[decision.hash] = min(levels[decision.hash], decision.level)
    return {key: level for key, level in levels.items() if level < share}


def find_verdicts(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """The decision that counts for every content hash that has one: the last that was not undone."""
    last: dict[str, Decision] = {}
    for decision in list_standing(decisions):
        last[decision.hash] = decision
    verdicts = {key: decision for key, decision in last.items() if decision.action in VERDICTS}
    for decision in list(verdicts.values()):
        if decision.becomes is not None and decision.becomes not in last:
            verdicts[decision.becomes] = decision  # what a person wrote has been read by a person
    return verdicts


def list_standing(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions, skips included, that were not undone, in their order."""
    standing: list[Decision] = []
    for decision in decisions:
        if decision.action == "undo":
            for place in range(len(standing) - 1, -1, -1):
                if (standing[place].hash, standing[place].reviewer) == (decision.hash, decision.reviewer):
                    del standing[place]
                    break
        elif decision.action != "draw":
            standing.append(decision)
    return standing


def count_strata(examples: Iterable[Example], decisions: Sequence[Decision], *, share: float = SHARE) -> list[Count]:
    """How the review of every stratum stands, sorted by kind and tool.

    Raises:
        SetupError: ``share`` is not above 0 and at most 1.
    """
    examples = list(examples)
    drawn, verdicts = draw_levels(examples, share=share, decisions=decisions), find_verdicts(decisions)
    counts = []
    for (kind, tool), hashes in sorted(_group_strata(examples).items()):
        found = [(key, verdicts[key]) for key in hashes if key in verdicts]
        counts.append(
            Count(
                kind,
                tool,
                total=len(hashes),
                drawn=len(hashes & drawn.keys()),
                unread=len((hashes & drawn.keys()) - verdicts.keys()),
                read=len(found),
                rejected=sum(decision.action == "reject" for _, decision in found),
                edited=sum(decision.action == "edit" for _, decision in found),
            )
        )
    return counts


def list_problems(counts: Iterable[Count], *, limit: float = LIMIT) -> list[str]:
    """Why strata may not enter a build, one line each; empty when all may."""
    problems = []
    for count in counts:
        if count.unread:
            problems.append(f"{count.name}: {count.unread} of {count.drawn} drawn examples are not read")
        elif count.rejected > limit * count.read:
            rate = f"{count.rejected} of {count.read} read examples were rejected ({count.rejected / count.read:.0%})"
            problems.append(f"{count.name}: {rate}, over the limit of {limit:.0%}")
    return problems


def check_review(
    examples: Iterable[Example], decisions: Sequence[Decision], *, share: float = SHARE, limit: float = LIMIT
) -> list[Example]:
    """The synthetic examples that may enter a build, in their order: without the rejected, edited ones as edited.

    Raises:
        ReviewError: a stratum's sample is not read, or more than ``limit`` of what was read of it was rejected.
        SetupError: ``share`` or ``limit`` is not possible.
    """
    if not 0 <= limit < 1:
        raise SetupError(f"A limit of {limit} is not possible. Give a share of at least 0 and below 1, e.g. {LIMIT}.")
    examples = list(examples)
    if problems := list_problems(count_strata(examples, decisions, share=share), limit=limit):
        raise ReviewError(problems)
    verdicts = find_verdicts(decisions)
    passed = []
    for example in examples:
        key = content_hash(example)
        verdict = verdicts.get(key)
        if verdict is None or verdict.action == "accept" or verdict.becomes == key:
            passed.append(example)
        elif verdict.example is not None:
            passed.append(verdict.example)
    return passed


def name_decisions(file: Path) -> Path:
    """Where the decisions about a file of examples are kept: ``a.jsonl`` -> ``a.decisions``.

    Not ``*.jsonl``: a folder of examples is read by that ending.
    """
    return file.with_suffix(".decisions")


def read_decisions(path: Path, toolset: Toolset | None = None) -> list[Decision]:
    """The decisions of a file, in their order; edited examples are validated again.

    A last line that a crash cut short is left out; it was never confirmed to the reviewer.

    Raises:
        SetupError: the file cannot be read.
        DataError: a line is broken; the message starts with file and line number.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SetupError(
            f"Cannot read the decisions {path}: {error.strerror}. Make them with: python -m training review FILE"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}. Bring back the file as it was.") from None
    toolset = toolset or load_toolset()
    decisions = []
    for number, line in enumerate(text.split("\n")[:-1], 1):  # what follows the last newline is no whole line
        try:
            decisions.append(_parse_decision(line, toolset))
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}. Take the line out, or bring back the file as it was.") from None
    return decisions


class DecisionLog:
    """The file of decisions, held by one process at a time; every line is on the disk before ``append`` returns.

    Raises:
        SetupError: the file cannot be opened, or another process holds it.
        DataError: a line of it is broken.
    """

    def __init__(self, path: Path, toolset: Toolset | None = None) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise SetupError(
                f"Cannot write the decisions to {path}: {error.strerror}. Name a place: --decisions FILE."
            ) from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._handle, path.read_bytes().rfind(b"\n") + 1)  # a line that a crash cut short
            self.decisions = read_decisions(path, toolset)
            sync_folder(path.parent)
        except BlockingIOError:
            self.close()
            raise SetupError(
                f"Another review writes to {path}. Go on there, or name another file: --decisions FILE."
            ) from None
        except BaseException:
            self.close()
            raise

    def append(self, decisions: Sequence[Decision]) -> None:
        """Add lines: all of them, or none when the disk is full.

        Raises:
            DataError: nothing was written.
        """
        size = os.fstat(self._handle).st_size
        left = memoryview("".join(_format_decision(decision) + "\n" for decision in decisions).encode())
        try:
            while left:
                left = left[os.write(self._handle, left) :]
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, size)
            raise DataError(f"Nothing was saved: {self.path}: {error.strerror}. Make room and decide again.") from None
        self.decisions += decisions

    def close(self) -> None:
        """Let another process write."""
        os.close(self._handle)


def _group_strata(examples: Iterable[Example]) -> dict[Stratum, set[str]]:
    strata: dict[Stratum, set[str]] = defaultdict(set)
    for example in examples:
        key = content_hash(example)
        for stratum in list_strata(example):
            strata[stratum].add(key)
    return strata


def _shuffle_key(key: str) -> str:
    # Hashed again: a split that holds out by the content hash itself would hold out exactly what was reviewed.
    return hashlib.sha256(f"review {key}".encode()).hexdigest()


def _format_decision(decision: Decision) -> str:
    body: dict[str, Any] = {
        "time": decision.time,
        "reviewer": decision.reviewer,
        "action": decision.action,
        "hash": decision.hash,
        "id": decision.id,
    }
    if decision.level is not None:
        body["level"] = decision.level
    if decision.action == "reject":
        body |= {"reasons": list(decision.reasons), "note": decision.note}
    if decision.example is not None:
        body |= {"becomes": decision.becomes, "example": json.loads(format_example(decision.example))}
    return json.dumps(body)


def _parse_decision(line: str, toolset: Toolset) -> Decision:
    raw = load_strict(line)
    if not isinstance(raw, dict):
        raise ValueError("a line holds one JSON object")
    for key in ("time", "reviewer", "action", "hash"):
        if not isinstance(raw.get(key), str) or not raw[key]:
            raise ValueError(f"{key} must be a text that is not empty")
    if raw["action"] not in ACTIONS:
        raise ValueError(f"unknown action {raw['action']!r}; known: {', '.join(ACTIONS)}")
    level, reasons = raw.get("level"), raw.get("reasons", [])
    if (raw["action"] == "draw") != isinstance(level, int | float):
        raise ValueError("a draw, and nothing else, has a level, which is a number")
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        raise ValueError("reasons must be a list of texts")
    example = None
    if raw["action"] == "edit":
        example = parse_example(json.dumps(raw.get("example")), toolset)
        if raw.get("becomes") != content_hash(example):
            raise ValueError("becomes is not the hash of the edited example")
    return Decision(
        time=raw["time"],
        reviewer=raw["reviewer"],
        action=raw["action"],
        hash=raw["hash"],
        id=str(raw.get("id", "")),
        level=level,
        reasons=tuple(reasons),
        note=str(raw.get("note", "")),
        example=example,
        becomes=raw.get("becomes") if example else None,
    )
