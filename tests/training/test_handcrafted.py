"""The hand-written examples of the repository."""

from __future__ import annotations

from collections import Counter

from training.data import HANDCRAFTED
from training.examples import read_examples

EXAMPLES, PROBLEMS = read_examples(HANDCRAFTED)


def test_every_line_is_a_good_example():
    """All lines of all files are read, and their ids are unique over the files."""
    assert PROBLEMS == []


def test_pairs_are_complete():
    """A contrast has two halves that are answered differently."""
    pairs = Counter(example.pair for example in EXAMPLES if example.pair is not None)
    answers = {(e.pair, e.messages[-1]["content"]) for e in EXAMPLES if e.pair is not None}

    assert [e.id for e in EXAMPLES if e.kind == "contrastive" and e.pair is None] == []
    assert {pair: count for pair, count in pairs.items() if count != 2} == {}
    assert {pair: count for pair, count in Counter(pair for pair, _ in answers).items() if count != 2} == {}


def test_there_are_enough_of_them():
    """At least 400 examples by hand, all ten tools among them, and plain text as well."""
    tools = {tool for example in EXAMPLES for tool in example.tools}

    assert len(EXAMPLES) >= 400
    assert len(tools) == 10
    assert sum(not example.tools for example in EXAMPLES) >= 60
