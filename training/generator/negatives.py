"""What no tool answers, and a plain reply to it.

Covers: drawing a category, a phrasing and a reply that fit together.
Does not cover: the phrasings themselves (refusals_near: close to a tool; refusals_far: other domains and chat).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime

from training.generator import refusals_far, refusals_near, times, words
from training.generator.grammar import phrase

NEAR_SHARE = 0.6
SLOT = re.compile(r"\{(\w+)\}")


def negative(rng: random.Random, now: datetime) -> tuple[str, str]:
    """A remark or request that no tool answers, and a plain reply."""
    table = refusals_near.CATEGORIES if rng.random() < NEAR_SHARE else refusals_far.CATEGORIES
    weight, patterns, replies = table[rng.choices(list(table), weights=[entry[0] for entry in table.values()])[0]]
    del weight
    return _pair(rng, now, rng.choice(patterns), rng.choice(replies))


def acknowledgement(rng: random.Random, now: datetime) -> tuple[str, str]:
    """What a person says after a finished action, and a plain reply."""
    said, replies = refusals_far.THANKS
    return _pair(rng, now, rng.choice(said), rng.choice(replies))


def _pair(rng: random.Random, now: datetime, pattern: str, reply: str) -> tuple[str, str]:
    slots = {slot: _value(rng, now, slot) for slot in dict.fromkeys(SLOT.findall(pattern + reply))}
    text = phrase(rng, pattern, slots)
    answer = phrase(rng, reply, slots, typos=0)
    roll = rng.random()
    if roll < 0.55:
        text = text.lower()
    elif roll < 0.9:
        text = text[:1].upper() + text[1:]
    if text[-1:] not in ".?!" and rng.random() < 0.25:
        text += "."
    elif text[-1:] in "?." and rng.random() < 0.45:
        text = text[:-1]
    return text, answer[:1].upper() + answer[1:]


def _value(rng: random.Random, now: datetime, slot: str) -> str:
    name = slot.removesuffix("2")  # a second thing of one kind
    if name in refusals_far.POOLS:
        return rng.choice(refusals_far.POOLS[name])
    makers: dict[str, Callable[[], str]] = {
        "name": lambda: words.name(rng),
        "person": lambda: words.person(rng),
        "event": lambda: words.event(rng),
        "todo": lambda: words.todo(rng),
        "thing": lambda: words.noun_phrase(rng),
        "day": lambda: times.pick_day(rng, now).text,
        "clock": lambda: times.pick_clock(rng, now)[0],
        "city": lambda: words.city(rng),
        "item": lambda: words.fill(rng, rng.choice(words.ITEM)),
        "num": lambda: str(rng.randint(2, 500)),
        "topic": lambda: words.topic(rng),
        "message": lambda: words.message(rng),
        "subject": lambda: words.fill(rng, rng.choice(words.SUBJECT)),
    }
    return makers[name]()
