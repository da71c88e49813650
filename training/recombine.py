"""A hand-written example in other clothes: another title, place or person, other weeks, another offset, other casing.

Covers: swapping values that stand word for word in the request for values of the same kind from other examples, moving
the whole conversation by weeks where no date is spelt out, changing the offset of its clock, typing it in lower case.
Does not cover: other wordings; those are written by hand (training/handcrafted) or by grammar (training.generator).

The wording of the request stays a person's; a small model sees it with many values, and so learns what is wording and
what is value. Whatever is made is checked like any other example.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from harness.parsing import format_call, parse_reply
from harness.types import Message, ToolCall
from training.examples import Example
from training.generator.times import OFFSETS

# Fields whose value may be another one and the rest stays right. A subject follows from its body: neither is here.
SWAPPED = ("title", "summary", "location", "to", "attendees", "cc")
_CALENDAR = re.compile(  # a day, month or year that is spelt out, or a number that may be one
    r"\d(?:st|nd|rd|th)\b|\d{4}|\d[/.-]\d"
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b"
    r"|\b(?:first|second|third|[a-z]+teenth|[a-z]+tieth)\b"
    r"|\b(?:months?|years?|christmas|easter|eve|day of|the \d{1,2})\b"
    r"|\b\d{1,2}\b(?! ?(?:am|pm|a\.m|p\.m|:|h\b|min|hour|o'clock|uhr|days?|weeks?))",
    re.IGNORECASE,
)
_STAMP = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)(?=T|\b)")
_LOOSE = re.compile(r"(?<!\w)[,;!?]+|[,;!?]+(?!\w)|\.(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Pools:
    """Values by field and kind of wording, each with its own casing."""

    values: Mapping[tuple[str, str], tuple[str, ...]]
    verbs: frozenset[str]  # words that titles after "to" begin with


def gather_pools(examples: Iterable[Example]) -> Pools:
    """The values that stand word for word in the requests of single-turn examples."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    rows: list[tuple[str, str]] = []
    verbs: set[str] = set()
    for example in examples:
        if len(example.messages) != 2:
            continue
        text = example.messages[0]["content"]
        for call in parse_reply(example.messages[1]["content"]).calls:
            for field, value in _fields(call.params):
                if (at := _place(text, value)) is not None:
                    rows.append((f"{call.tool}.{field}", value))
                    if field == "title" and re.search(r"\bto $", text[:at], re.IGNORECASE):
                        verbs.add(value.split(maxsplit=1)[0].lower())
    for field, value in rows:
        found[field, _kind(value, verbs)].add(value)
    return Pools({key: tuple(sorted(values)) for key, values in found.items()}, frozenset(verbs))


def widen_pools(pools: Pools, more: Mapping[str, Iterable[str]]) -> Pools:
    """The pools with more values, given by field ("createTask.title")."""
    first = {value.split(maxsplit=1)[0].lower() for value in more.get("createTask.title", ())}
    verbs = pools.verbs | first
    found = {key: set(values) for key, values in pools.values.items()}
    for field, values in more.items():
        for value in values:
            found.setdefault((field, _kind(value, verbs)), set()).add(value)
    return Pools({key: tuple(sorted(values)) for key, values in found.items()}, frozenset(verbs))


def recombine(example: Example, pools: Pools, rng: random.Random) -> Example:
    """The example with other values, weeks and offset; as it was where nothing can be changed safely.

    The id, kind, pair and tools stay. Every change keeps the words of the request and the values of the calls in step.
    """
    changed = example
    if len(example.messages) == 2:
        changed = _swap_values(changed, pools, rng)
    if rng.random() < 0.7:
        changed = _move_weeks(changed, rng)
    if rng.random() < 0.7:
        changed = _change_offset(changed, rng)
    if len(example.messages) == 2 and rng.random() < 0.2:
        changed = _type_loosely(changed)
    return changed


def _fields(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, text) of what may be swapped; the items of lists one by one."""
    pairs = [(name, value) for name in SWAPPED if name in params for value in _texts(params[name])]
    return [(name, value) for name, value in pairs if value.strip()]


def _texts(value: Any) -> list[str]:
    """The texts of a value: itself, or the items of a list."""
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _place(text: str, value: str) -> int | None:
    """Where a value stands in a text, as whole words and once; None otherwise."""
    places = [m.start() for m in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text)]
    return places[0] if len(places) == 1 else None


def _kind(value: str, verbs: Iterable[str]) -> str:
    first = value.split(maxsplit=1)[0].lower()
    if "@" in value:
        return "address"
    if first in ("my", "the", "our", "a", "an"):
        return first
    return "deed" if first in verbs else "thing"


def _swap_values(example: Example, pools: Pools, rng: random.Random) -> Example:
    text = example.messages[0]["content"]
    calls = parse_reply(example.messages[1]["content"]).calls
    if not calls:
        return example
    slots: dict[str, tuple[int, str]] = {}  # value -> (place, field of the pool)
    for call in calls:
        for field, value in _fields(call.params):
            at = _place(text, value)
            if at is None or value in slots:
                slots.pop(value, None)
            else:
                slots[value] = (at, f"{call.tool}.{field}")
    texts = [text for call in calls for value in call.params.values() for text in _texts(value)]
    swaps: dict[str, str] = {}
    for value, (at, field) in slots.items():
        end = at + len(value)
        # A value within another one would be right in one place and wrong in the other.
        alone = not any(v != value and at < b + len(v) and b < end for v, (b, _) in slots.items())
        if rng.random() < 0.25 or not alone or sum(value in text for text in texts) > 1:
            continue
        pool = pools.values.get((field, _kind(value, pools.verbs)), ())
        if len(pool) < 5:
            continue
        new = rng.choice(pool)
        if value[0].isupper() and text[:at].strip(" \"'") == "":
            new = new[0].upper() + new[1:]
        elif value == value.lower() and text == text.lower():
            new = new.lower()
        if new not in text and new not in swaps.values():
            swaps[value] = new
    if not swaps:
        return example
    for value in sorted(swaps, key=lambda v: slots[v][0], reverse=True):
        at = slots[value][0]
        text = text[:at] + swaps[value] + text[at + len(value) :]

    def swap(value: Any) -> Any:
        if isinstance(value, list):
            return [swap(item) for item in value]
        return swaps.get(value, value) if isinstance(value, str) else value

    made = [ToolCall(call.tool, {name: swap(value) for name, value in call.params.items()}) for call in calls]
    return _with(example, text, made)


def _with(example: Example, text: str, calls: Iterable[ToolCall]) -> Example:
    content = "\n".join(format_call(call) for call in calls)
    return replace(example, messages=(Message(role="user", content=text), Message(role="assistant", content=content)))


def _says_text(message: Message) -> bool:
    return message["role"] == "assistant" and not parse_reply(message["content"]).calls


def _move_weeks(example: Example, rng: random.Random) -> Example:
    """Weeks later or earlier, all dates with it; a spelt-out date would not follow."""
    spoken = {place for place, m in enumerate(example.messages) if m["role"] == "user" or _says_text(m)}
    if any(_CALENDAR.search(example.messages[place]["content"]) for place in spoken):
        return example
    weeks = timedelta(weeks=rng.randint(-60, 60))

    def move(match: re.Match[str]) -> str:
        return (datetime(*(int(part) for part in match.groups())) + weeks).date().isoformat()  # type: ignore[arg-type]

    try:
        moved = [
            m if place in spoken else Message(role=m["role"], content=_STAMP.sub(move, m["content"]))
            for place, m in enumerate(example.messages)
        ]
        now = _STAMP.sub(move, example.now)
    except (ValueError, OverflowError):
        return example
    return replace(example, now=now, messages=tuple(moved))


def _change_offset(example: Example, rng: random.Random) -> Example:
    """The same clock times under another offset."""
    old = example.now[-6:]
    minutes = rng.choice(OFFSETS)
    new = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    pattern = re.compile(rf"(?<=T\d\d:\d\d:\d\d){re.escape(old)}")
    messages = tuple(
        m if m["role"] == "user" else Message(role=m["role"], content=pattern.sub(new, m["content"]))
        for m in example.messages
    )
    return replace(example, now=example.now[:-6] + new, messages=messages)


def _type_loosely(example: Example) -> Example:
    """In lower case without punctuation, as speech recognition or a hurried thumb writes; the values with it."""
    text = example.messages[0]["content"]
    calls = parse_reply(example.messages[1]["content"]).calls

    def loosen(words: str) -> str:
        return " ".join(_LOOSE.sub(" ", words).lower().split())

    loose = loosen(text)

    def follow(value: Any) -> Any:
        if isinstance(value, list):
            return [follow(item) for item in value]
        fits = isinstance(value, str) and value in text and loosen(value) and loosen(value) in loose
        return loosen(value) if fits else value

    if not loose:
        return example
    if not calls:
        return replace(example, messages=(Message(role="user", content=loose), example.messages[1]))
    made = [ToolCall(call.tool, {name: follow(value) for name, value in call.params.items()}) for call in calls]
    return _with(example, loose, made)
