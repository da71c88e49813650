"""Generated training examples: many phrasings over wide pools of values, labelled by construction.

Covers: every kind of example but general chat, in stated proportions, reproducibly from a seed.
Does not cover: what a person would write on purpose (training/handcrafted), removal of near-duplicates (training.data).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from harness.parsing import format_call
from harness.types import Message, ToolCall
from training.examples import Example
from training.generator import dialogues, mixed, negatives, requests, times
from training.generator.dialogues import Dialogue, Turn

# Shares of the kinds; singles are spread evenly over the five tools that one sentence can call.
MIX: dict[str, float] = {
    "single": 0.38,
    "contrastive": 0.12,
    "compound": 0.08,
    "crud": 0.20,
    "multi_turn": 0.08,
    "negative": 0.14,
}


def dialogue(rng: random.Random, now: datetime, kind: str) -> Dialogue:
    """One conversation of a kind (a key of ``MIX``) as turns, not yet as text."""
    return MAKERS[kind](rng, now)


def generate(count: int, seed: int, mix: Mapping[str, float] | None = None) -> Iterator[Example]:
    """Yield ``count`` examples; the same seed and mix give the same examples.

    Raises:
        ValueError: ``mix`` names a kind that the generator does not know.
    """
    shares = dict(mix or MIX)
    if unknown := sorted(shares.keys() - MAKERS.keys()):
        raise ValueError(f"unknown kind {', '.join(unknown)} in the generator's mix; known: {', '.join(MAKERS)}")
    rng = random.Random(seed)
    kinds = rng.choices(list(shares), weights=list(shares.values()), k=count)
    for number, kind in enumerate(kinds):
        now = times.moment(rng)
        turns = dialogue(rng, now, kind)
        yield Example(
            id=f"gen-{seed}-{number:05d}",
            kind=kind,
            now=now.isoformat(timespec="seconds"),
            messages=tuple(message(turn) for turn in turns),
            tools=tuple(tool for turn in turns for tool, _ in turn.calls),
            source="generator",
            licence="Apache-2.0",
            author="toolgate",
        )


def message(turn: Turn) -> Message:
    """A turn as a message: calls become blocks of the reply contract."""
    if turn.role == "call":
        return Message(role="assistant", content="\n".join(format_call(ToolCall(tool, params)) for tool, params in turn.calls))
    return Message(role={"say": "assistant"}.get(turn.role, turn.role), content=turn.text)


def _single(rng: random.Random, now: datetime) -> Dialogue:
    return dialogues.single(requests.SINGLE[rng.choice(tuple(requests.SINGLE))](rng, now))


def _contrastive(rng: random.Random, now: datetime) -> Dialogue:
    if rng.random() < 0.12:
        return dialogues.single(requests.both(rng, now))
    return dialogues.single(rng.choice(requests.contrast(rng, now)))


def _multi_turn(rng: random.Random, now: datetime) -> Dialogue:
    return dialogues.report(rng, now) if rng.random() < 0.25 else dialogues.follow_up(rng, now)


def _negative(rng: random.Random, now: datetime) -> Dialogue:
    # A quarter in or about a conversation, nearly all near misses; of the rest NEAR_SHARE.
    return mixed.refusal(rng, now) if rng.random() < 0.25 else dialogues.plain(*negatives.negative(rng, now))


MAKERS: dict[str, Callable[[random.Random, datetime], Dialogue]] = {
    "single": _single,
    "contrastive": _contrastive,
    "compound": mixed.compound,
    "crud": dialogues.crud,
    "multi_turn": _multi_turn,
    "negative": _negative,
}
