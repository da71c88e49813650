"""Which side an example is on: groups stay whole, strata get their share, and nothing ever moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cases import ALIKE, near_duplicates
from harness.errors import DataError, SetupError
from harness.prompt import load_prompt
from harness.types import Message
from training.data import HANDCRAFTED
from training.examples import Example, load_examples
from training.split import (
    LOCK,
    SHARE,
    TRAIN,
    VALIDATION,
    content_key,
    drop_near,
    format_lock,
    freeze_split,
    group_examples,
    group_keys,
    read_lock,
    split_examples,
    stratum_of,
)

WORDS = ("tea", "milk", "rice", "salt", "jam")


def make_example(name: str, text: str, reply: str = "Fine.", *, tool: str = "", pair: str | None = None) -> Example:
    return Example(
        id=name, kind="single" if tool else "negative", now="2026-03-02T09:00:00+00:00",
        messages=(Message(role="user", content=text), Message(role="assistant", content=reply)),
        tools=(tool,) if tool else (), source="x", licence="CC0-1.0", author="x", pair=pair,
    )  # fmt: skip


def call(tool: str, **params: str) -> str:
    inner = ", ".join(f'"{name}": "{value}"' for name, value in params.items())
    return f'```json\n{{"tool": "{tool}", "params": {{{inner}}}}}\n```'


@st.composite
def example_sets(draw: st.DrawFn) -> list[Example]:
    """Examples that share rows, first words and pairs in all ways; their contents differ."""
    makers = st.tuples(
        st.sampled_from(WORDS), st.sampled_from(("", "row1", "row2")), st.sampled_from((None, None, "p", "q")),
        st.sampled_from(("", "createTask", "getWeather")),
    )  # fmt: skip
    return [
        make_example(f"{row}#{place}" if row else f"e{place}", word, f"reply {place}", tool=tool, pair=pair)
        for place, (word, row, pair, tool) in enumerate(draw(st.lists(makers, max_size=25)))
    ]


def ids(examples: tuple[Example, ...]) -> set[str]:
    return {example.id for example in examples}


@settings(max_examples=50)
@given(example_sets(), st.data())
def test_additions_never_move_an_example(examples: list[Example], data: st.DataObject):
    """Whatever comes later, what was held out stays held out, and what was trained on stays."""
    early = [e for e in examples if data.draw(st.booleans())]
    before = split_examples(early, {})
    after = split_examples(examples, before.lock)

    assert ids(before.train) <= ids(after.train)
    assert ids(before.validation) <= ids(after.validation)
    assert before.lock.items() <= after.lock.items()


@settings(max_examples=50)
@given(example_sets(), st.data())
def test_groups_never_straddle(examples: list[Example], data: st.DataObject):
    """No pair, row or first words on both sides, even under a lock that somebody else's examples made."""
    sides = st.sampled_from((TRAIN, VALIDATION))
    lock = {content_key(e): data.draw(sides) for e in examples if data.draw(st.booleans())}
    split = split_examples(examples, lock)
    here, there = ({key for e in side for key in group_keys(e)} for side in (split.train, split.validation))

    assert not here & there
    assert ids(split.train) | ids(split.validation) | {item.id for item in split.left_out} == ids(tuple(examples))
    assert not ids(split.train) & ids(split.validation)
    assert all(lock.get(key, side) == side for key, side in split.lock.items())
    held = {e.id for e in examples if lock.get(content_key(e)) == VALIDATION}
    assert not held & {item.id for item in split.left_out}


@settings(max_examples=50)
@given(example_sets(), st.randoms())
def test_the_split_is_a_function_of_the_set(examples: list[Example], chance):
    """Order does not matter, and splitting again under the new lock changes nothing."""
    first = split_examples(examples, {})
    mixed = chance.sample(examples, len(examples))

    assert split_examples(mixed, {}).lock == first.lock
    assert split_examples(examples, first.lock) == first


@pytest.mark.parametrize("count", [7, 20, 33, 400])
def test_every_stratum_gets_its_share(count: int):
    """Kind by kind and tool by tool, to the nearest example."""
    examples = [
        make_example(f"{tool}{i}", f"{tool} question {i}", tool=tool)
        for tool in ("", "createTask", "getWeather")
        for i in range(count)
    ]
    held = Counter(map(stratum_of, split_examples(examples, {}).validation))

    assert set(held.values()) == {round(SHARE * count)}
    assert len(held) == 3


def test_a_new_example_joins_its_group():
    """The other half of a held-out pair is held out, however many are already."""
    old = [make_example(f"e{i}", f"question {i}", f"reply {i}", pair=f"p{i}") for i in range(20)]
    before = split_examples(old, {})
    new = [replace(e, id=e.id + "b", messages=make_example("", f"other {e.id}").messages) for e in before.validation]
    after = split_examples([*old, *new], before.lock)

    assert ids(after.validation) == ids(before.validation) | {e.id for e in new}


def test_a_new_example_between_the_sides_is_left_out():
    """What belongs to a held-out and to a training example can be on neither side."""
    held, kept = make_example("row#1", "tea"), make_example("b", "milk", pair="p")
    between = make_example("row#2", "rice", pair="p")
    split = split_examples([held, kept, between], {content_key(held): VALIDATION, content_key(kept): TRAIN})

    assert (ids(split.train), ids(split.validation)) == ({"b"}, {"row#1"})
    assert [(item.id, item.other) for item in split.left_out] == [("row#2", "row#1")]
    assert content_key(between) not in split.lock


def test_near_duplicates_leave_the_training_side():
    """Of the held-out side whatever the answer, of one another where the answer is alike; a contrast stays."""
    train = [
        make_example("a", "turn the lights on when I arrive"),
        make_example("b", "turn the lights on when I arrive!"),
        make_example("c", "remind me about the lunch with Priya", call("createTask", title="x"), pair="1"),
        make_example("d", "remind me about a lunch with Priya?", call("createCalendarEvent", summary="x"), pair="1"),
        make_example("e", "finish the second one", call("completeTask", taskId="t1")),
        make_example("f", "finish the second one", call("completeTask", taskId="t2")),
        make_example("g", "what is the capital of Peru"),
    ]
    kept, left_out = drop_near(train, [make_example("v", "What is the capital of Peru?", call("getWeather"))])

    assert [e.id for e in kept] == ["a", "c", "d", "e", "f"]
    assert [(item.id, item.other) for item in left_out] == [("b", "a"), ("g", "v")]


def test_both_halves_of_a_near_duplicate_pair_go():
    """A contrast with one half gone would teach the other half alone."""
    train = [
        make_example("a", "book the big room at noon"),
        make_example("p1", "Book the big room at noon.", pair="1"),
        make_example("p2", "something else", pair="1"),
    ]

    assert [e.id for e in drop_near(train, [])[0]] == ["a"]


@settings(max_examples=50)
@given(st.lists(st.text(alphabet="abc d", min_size=1, max_size=14), max_size=15), st.integers(0, 15))
def test_what_stays_has_no_near_duplicates(texts: list[str], held: int):
    """Whatever is dropped, nothing alike is left, and dropping again drops nothing."""
    examples = [make_example(f"e{i}", text) for i, text in enumerate(texts)]
    kept, left_out = drop_near(examples[held:], examples[:held])
    questions = [e.messages[0]["content"] for e in kept]

    assert not near_duplicates(questions, questions, ALIKE)
    assert not near_duplicates(questions, texts[:held], ALIKE)
    assert drop_near(kept, examples[:held]) == (kept, [])
    assert len(kept) + len(left_out) == len(examples[held:])


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.text(alphabet="0123456789abcdef", min_size=16, max_size=16), st.sampled_from((TRAIN, VALIDATION))
    )
)
def test_a_lock_is_read_back(tmp_path_factory: pytest.TempPathFactory, lock: dict[str, str]):
    """What is written is what is read, whatever the order."""
    file = tmp_path_factory.getbasetemp() / "any.lock"
    file.write_text(format_lock(lock))

    assert read_lock(file) == lock
    assert format_lock(dict(reversed(lock.items()))) == format_lock(lock)


def test_freezing_adds_and_never_changes(tmp_path: Path):
    """An old line wins over a new one; without news the file is not touched."""
    file = tmp_path / "deep" / "split.lock"
    assert freeze_split(file, {}, {"a" * 16: TRAIN}) == 1
    assert freeze_split(file, read_lock(file), {"a" * 16: VALIDATION, "b" * 16: VALIDATION}) == 1
    assert read_lock(file) == {"a" * 16: TRAIN, "b" * 16: VALIDATION}
    stamp = file.stat().st_mtime_ns
    assert freeze_split(file, read_lock(file), read_lock(file)) == 0
    assert file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("0123 train\n", ":1: '0123 train' is no line of a lock", id="short key"),
        pytest.param(f"# x\n{'a' * 16} test\n", ":2: .* is no line of a lock", id="unknown side"),
        pytest.param(f"{'a' * 16} train\n{'a' * 16} validation\n", ":2: a+ is on both sides", id="merge conflict"),
        pytest.param(f"<<<<<<< HEAD\n{'a' * 16} train\n", ":1: .* is no line of a lock", id="conflict marks"),
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, text: str, why: str):
    """File and line, and what to do."""
    (tmp_path / "split.lock").write_text(text)

    with pytest.raises(DataError, match=r"split\.lock" + why):
        read_lock(tmp_path / "split.lock")


def test_a_lock_that_cannot_be_written_says_so(tmp_path: Path):
    """One line that names another way."""
    (tmp_path / "file").touch()

    with pytest.raises(SetupError, match="Name another place: --lock FILE"):
        freeze_split(tmp_path / "file" / "split.lock", {}, {"a" * 16: TRAIN})


def test_every_hand_written_example_has_its_side():
    """New ones get theirs by `python -m training build --out DIR`, which adds lines to training/split.lock."""
    examples = load_examples(HANDCRAFTED, load_prompt().toolset)
    lock = read_lock(LOCK)
    missing = [e.id for e in examples if content_key(e) not in lock]

    assert missing == []
    held = [e for e in examples if lock[content_key(e)] == VALIDATION]
    assert abs(len(held) / len(examples) - SHARE) < 0.02
    assert split_examples(examples, lock).left_out == ()
    assert max(map(len, group_examples(examples))) < 50  # else one opening line would decide over a stratum
