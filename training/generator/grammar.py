"""A tiny grammar for phrasings: ``[one|two|]`` chooses, ``{slot}`` is filled afterwards.

Covers: expansion, and the noise of hasty typing, which never touches what a slot holds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping


def expand(rng: random.Random, text: str) -> str:
    """Choose one alternative of every bracket, from the inside out; brackets nest."""
    while "[" in text:
        close = text.index("]")
        start = text.rindex("[", 0, close)
        text = text[:start] + rng.choice(text[start + 1 : close].split("|")) + text[close + 1 :]
    return text


def phrase(rng: random.Random, pattern: str, slots: Mapping[str, str], *, typos: float = 0.04) -> str:
    """Expand a pattern, perhaps with one typing error, then fill its slots; spaces are tidied."""
    text = expand(rng, pattern)
    if rng.random() < typos:
        text = _typo(rng, text)
    for slot, value in slots.items():
        text = text.replace("{" + slot + "}", value)
    return " ".join(text.split()).replace(" ,", ",").replace(" ?", "?").replace(" .", ".")


def _typo(rng: random.Random, text: str) -> str:
    places = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 3].isalpha() and text.rfind("{", 0, i) <= text.rfind("}", 0, i)]
    if not places:
        return text
    i = rng.choice(places)
    return rng.choice((text[:i] + text[i + 1] + text[i] + text[i + 2 :], text[:i] + text[i + 1 :], text[:i] + text[i] + text[i:]))
