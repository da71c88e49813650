"""What no tool answers, and a plain reply to it.

Covers: drawing a category, a phrasing and a reply that fit together.
Does not cover: the phrasings themselves (refusals_near: close to a tool; refusals_far: other domains and chat).
"""

from __future__ import annotations

import random
from datetime import datetime

from training.generator import refusals_far, refusals_near, times, words
from training.generator.grammar import phrase

NEAR_SHARE = 0.6


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
    slots = {name: value for name, value in _values(rng, now).items() if "{" + name + "}" in pattern + reply}
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


def _values(rng: random.Random, now: datetime) -> dict[str, str]:
    values = {
        "name": words.name(rng),
        "person": words.person(rng),
        "event": words.event(rng),
        "todo": words.todo(rng),
        "thing": words.noun_phrase(rng),
        "day": times.pick_day(rng, now).text,
        "clock": times.pick_clock(rng, now)[0],
        "city": words.city(rng),
        "item": words.fill(rng, rng.choice(words.ITEM)),
        "num": str(rng.randint(2, 500)),
        "topic": words.topic(rng),
        "message": words.message(rng),
        "subject": words.fill(rng, rng.choice(words.SUBJECT)),
    }
    return values | {name: rng.choice(pool) for name, pool in refusals_far.POOLS.items()}
