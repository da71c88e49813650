"""Which examples are held out: decided once, by group and stratum, and frozen by content in a lock file.

Covers: what belongs together, the choice of 15 % per kind and tool, the lock, near-duplicates within and across sides.
Does not cover: where examples come from and their order (training.data), files of a build (training.compose).

A line of the lock is a content key and its side. What stands there stays there, whatever is added later; a new example
joins the side of the group that it belongs to, and is left out when its group stands on both.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cases import ALIKE, near_duplicates
from harness.errors import DataError, SetupError, StoreError
from harness.parsing import parse_reply
from harness.scoring import normalise_text
from harness.store import write_file
from training.examples import Example

LOCK = Path(__file__).with_name("split.lock")
TRAIN, VALIDATION = "train", "validation"
SHARE = 0.15  # of every stratum is held out
HEAD = "# Which side an example is on. `python -m training build` adds lines and never changes one; commit them.\n"
DIGITS = 16  # of the sha256; two of a million examples share 64 bits with a chance of 1 in 30 million

Lock = Mapping[str, str]  # content key -> side


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An example that is in no part of the set, and the one (or the case) that it is too close to."""

    id: str
    other: str
    why: str


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides, in the order of the examples; ``lock`` has one line for each of them and for nothing else."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    left_out: tuple[LeftOut, ...]
    lock: dict[str, str]


def content_key(example: Example) -> str:
    """What an example is known by: its conversation, whatever its id, source and time; hexadecimal digits of sha256."""
    turns = [[message["role"], message["content"]] for message in example.messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()[:DIGITS]


def unit_key(example: Example) -> str:
    """What stays or goes as one: a contrast teaches by its two halves."""
    return f"id {example.id}" if example.pair is None else f"pair {example.source} {example.pair}"


def group_keys(example: Example) -> list[str]:
    """Examples that share one of these are on one side: a pair, the row that they come from, their first words."""
    first = normalise_text(example.messages[0]["content"])
    origin, part, _ = example.id.partition("#")  # "glaive:12#3" is the third example of a row
    keys = [f"origin {origin}"] if part else []
    keys += [unit_key(example)] if example.pair is not None else []
    return [*keys, f"words {first}"] if first else keys


def split_examples(examples: Sequence[Example], lock: Lock, *, share: float = SHARE) -> Split:
    """Hold out ``share`` of each stratum (kind and first tool), whole groups only; what ``lock`` names stays as it is.

    A function of the set of examples and of the lock: the order of the examples does not matter.
    """
    groups = group_examples(examples)
    sides: dict[str, str] = {}  # example id -> side
    left_out: list[LeftOut] = []
    free: list[list[Example]] = []
    for group in groups:
        known = {lock[content_key(example)] for example in group if content_key(example) in lock}
        if len(known) == 2:
            apart = _part_group(group, lock)
            left_out += apart
            names = {item.id for item in apart}
            sides |= {e.id: lock[content_key(e)] for e in group if e.id not in names}
        elif known:
            sides |= dict.fromkeys((example.id for example in group), known.pop())
        else:
            free.append(group)
    gone = {item.id for item in left_out}
    totals = Counter(stratum_of(example) for example in examples if example.id not in gone)
    wanted = {stratum: round(share * count) for stratum, count in totals.items()}
    held = Counter(stratum_of(example) for example in examples if sides.get(example.id) == VALIDATION)
    # The order of the keys is as good as chance, and the same for everybody.
    for group in sorted(free, key=lambda group: min(map(content_key, group))):
        here = Counter(map(stratum_of, group))
        gain = sum(min(count, max(0, wanted[stratum] - held[stratum])) for stratum, count in here.items())
        side = VALIDATION if 2 * gain > len(group) else TRAIN
        sides |= dict.fromkeys((example.id for example in group), side)
        if side == VALIDATION:
            held += here
    return Split(
        tuple(e for e in examples if sides.get(e.id) == TRAIN),
        tuple(e for e in examples if sides.get(e.id) == VALIDATION),
        tuple(left_out),
        {content_key(e): sides[e.id] for e in examples if e.id in sides},
    )


def stratum_of(example: Example) -> tuple[str, str]:
    """What the held-out part has its share of: kind and first tool."""
    return example.kind, example.tools[0] if example.tools else "(none)"


def group_examples(examples: Sequence[Example]) -> list[list[Example]]:
    """Examples that share a group key, directly or through others; every example is in one group."""
    parent = list(range(len(examples)))

    def find(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[str, int] = {}
    for place, example in enumerate(examples):
        for key in group_keys(example):
            parent[find(place)] = find(first.setdefault(key, place))
    groups: dict[int, list[Example]] = defaultdict(list)
    for place, example in enumerate(examples):
        groups[find(place)].append(example)
    return list(groups.values())


def drop_near(train: Sequence[Example], validation: Sequence[Example]) -> tuple[list[Example], list[LeftOut]]:
    """The training side without near-duplicates: of held-out questions, whatever the answer, and of one another.

    Within the side two examples are near-duplicates when their user turns are alike and they answer with the same tools
    and ids: a contrast, or the same request about another list, is no duplicate. The first of them stays. Every pair is
    compared by the rule of ``harness.cases.near_duplicates``; rapidfuzz does 60 million short pairs a second on one
    core, so that 100,000 examples take a minute or two and an approximate index (MinHash) would add only misses.
    """
    near: dict[int, dict[int, float]] = defaultdict(dict)
    for places in _group_answers(train):
        texts = [_question(train[place]) for place in places]
        for i, j, score in near_duplicates(texts, texts, ALIKE):
            near[places[i]][places[j]] = near[places[j]][places[i]] = score
    leaks: dict[int, tuple[float, str]] = {}
    for i, j, score in near_duplicates([*map(_question, train)], [*map(_question, validation)], ALIKE):
        leaks[i] = max(leaks.get(i, (0.0, "")), (score, validation[j].id))
    units: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(train):
        units[unit_key(example)].append(place)
    kept: set[int] = set()
    left_out: list[LeftOut] = []
    for places in units.values():
        held = [leaks[place] for place in places if place in leaks]
        mine = [(score, train[other].id) for place in places for other, score in near[place].items() if other in kept]
        if not held and not mine:
            kept.update(places)
            continue
        why = "near-duplicate of a held-out example" if held else "near-duplicate"
        left_out += [LeftOut(train[place].id, max(held or mine)[1], why) for place in places]
    return [example for place, example in enumerate(train) if place in kept], left_out


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """The lock of a file; empty where there is none yet.

    Raises:
        DataError: a line is no line of a lock, or one example is on both sides.
        SetupError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"Cannot read the lock {path}: {error}. Restore it from version control.") from None
    lock: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        key, _, side = line.partition(" ")
        if len(key) != DIGITS or set(key) - set("0123456789abcdef") or side not in {TRAIN, VALIDATION}:
            raise DataError(f"{path}:{number}: {line[:60]!r} is no line of a lock. Restore the file; do not edit it.")
        if lock.setdefault(key, side) != side:
            raise DataError(f"{path}:{number}: {key} is on both sides. Keep the older of the two lines.")
    return lock


def format_lock(lock: Lock, head: str = HEAD) -> str:
    """The text of a lock: sorted, so that additions of two people merge line by line."""
    return head + "".join(f"{key} {lock[key]}\n" for key in sorted(lock))


def write_read(path: Path, examples: Iterable[Example]) -> None:
    """A lock file that names what a base has read: all of it on the side to learn from."""
    lock = {content_key(example): TRAIN for example in examples}
    head = "# What a base has read (training.nano.pretrain wrote it): a recipe takes shares of it, data.read.\n"
    write_file(path, format_lock(lock, head).encode())


def freeze_split(path: Path, old: Lock, new: Lock) -> int:
    """Add the new lines to a lock file; returns how many there were.

    Raises:
        SetupError: the file cannot be written.
    """
    added = new.keys() - old.keys()
    if added:
        try:
            write_file(path, format_lock({**new, **old}).encode())
        except StoreError as error:
            cause = error.__cause__ or error
            raise SetupError(f"Cannot write the lock: {cause}. Name another place: --lock FILE.") from None
    return len(added)


def moved_examples(lock: Lock, examples: Iterable[Example], side: str) -> list[str]:
    """Ids of the examples that the lock has on the other side."""
    return [e.id for e in examples if lock.get(content_key(e), side) != side]


def _part_group(group: Sequence[Example], lock: Lock) -> list[LeftOut]:
    """What has to go so that no group stands on both sides: what is new in it, and old training lines that touch."""
    held = {key: e.id for e in group if lock.get(content_key(e)) == VALIDATION for key in group_keys(e)}
    gone = []
    for example in group:
        side = lock.get(content_key(example))
        shared = [held[key] for key in group_keys(example) if key in held]
        if side is None:
            gone.append(LeftOut(example.id, (shared or sorted(held.values()))[0], "its group is on both sides"))
        elif side == TRAIN and shared:
            gone.append(LeftOut(example.id, shared[0], "belongs to a held-out example"))
    return gone


def _group_answers(examples: Sequence[Example]) -> list[list[int]]:
    """Places of the examples whose replies call the same tools with the same ids."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        replies = [parse_reply(m["content"]) for m in example.messages if m["role"] == "assistant"]
        calls = [
            [(call.tool, [call.params[name] for name in call.params if name.endswith("Id")]) for call in reply.calls]
            for reply in replies
        ]
        groups[repr(calls)].append(place)
    return list(groups.values())


def _question(example: Example) -> str:
    return " / ".join(message["content"] for message in example.messages if message["role"] == "user")
