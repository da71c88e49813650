"""Putting a training set together."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import SetupError
from harness.prompt import load_prompt
from training.data import READ, Dataset, assemble_data, choose_read, clean_data, count_data, repeat_examples
from training.examples import Example, ExampleError, write_examples
from training.recipe import DataPart, GeneratorPart, Recipe
from training.split import TRAIN, read_lock, write_read


def make_example(name: str, question: str, answer: str = "Hello.", **changes: object) -> Example:
    example = Example(
        id=name,
        kind="general",
        now="2026-03-02T09:00:00+00:00",
        messages=({"role": "user", "content": question}, {"role": "assistant", "content": answer}),
        tools=(),
        source="handcrafted",
        licence="Apache-2.0",
        author="toolgate",
    )
    return replace(example, **changes)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """One case that asks for the capital of France, one dialogue that ends with thanks."""
    one = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    talk = [("user", "Who wrote Emma?"), ("assistant", "Jane Austen."), ("user", "thanks")]
    two = {"messages": [{"role": role, "content": content} for role, content in talk]}
    lines = [
        {"id": f"general-00{place}", "suite": "general", **case, "now": "2026-03-02T09:00:00+00:00", "expect": [],
         "tags": [], "why": "x", "source": "hand-written"}
        for place, case in enumerate((one, two), 1)
    ]  # fmt: skip
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "general.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "cases"


def test_what_is_close_to_a_case_is_dropped(cases: Path):
    """Case, punctuation and a letter do not hide a question of the evaluation, in whichever turn it is asked."""
    near = make_example("a", "what is the capitol of france")
    far = make_example("b", "what is the capital of Mongolia, and who founded it?")
    talk = make_example("c", "x")
    turns = ("What's the capital of France?", "Paris.", "and of Mongolia?", "Ulaanbaatar.")
    roles = ("user", "assistant", "user", "assistant")
    talk = replace(talk, messages=tuple({"role": r, "content": t} for r, t in zip(roles, turns, strict=True)))

    dataset = clean_data([near, far, talk], seed=0, cases=cases)

    assert dataset.close == (("a", "general-001"), ("c", "general-001"))
    assert {example.id for example in dataset.examples} == {"b"}


def test_what_is_kept_has_no_near_duplicates(cases: Path, tmp_path: Path):
    """What the trainer drops and what ``python -m harness duplicates`` prints is the same."""
    from harness.cli import find_duplicates

    texts = ["thanks", "Thank you", "what is the capital of france?", "Who wrote Persuasion?"]
    examples = [make_example(f"e{i}", text) for i, text in enumerate(texts)]
    dataset = clean_data(examples, seed=0, cases=cases)
    write_examples(tmp_path / "all.jsonl", examples)
    write_examples(tmp_path / "kept.jsonl", dataset.examples)

    assert [item["line"] for item in find_duplicates([tmp_path / "all.jsonl"], cases)] == [1, 3]
    assert [name for name, _ in dataset.close] == ["e0", "e2"]
    assert find_duplicates([tmp_path / "kept.jsonl"], cases) == []


def test_a_written_set_keeps_its_order(cases: Path):
    """Cleaning what was cleaned changes nothing, so that training from a written file is the same training."""
    examples = [make_example(f"e{i}", f"question number {i}") for i in range(20)]
    dataset = clean_data(examples, seed=3, cases=cases)

    assert clean_data(dataset.examples, seed=3, cases=cases).digest == dataset.digest


def test_both_halves_of_a_pair_go_together(cases: Path):
    """A contrast with one half gone would teach the other half alone."""
    halves = [
        make_example("p1", "what is the capital of France", pair="1"),
        make_example("p2", "what is the capital letter of the word France", pair="1"),
    ]

    dataset = clean_data(halves, seed=0, cases=cases)

    assert dataset.examples == ()
    assert [name for name, _ in dataset.close] == ["p1", "p2"]


def test_doubles_are_dropped_and_ids_are_unique(cases: Path):
    """The first of equal dialogues stays; two different ones under one id are an error."""
    dataset = clean_data([make_example("a", "hi"), make_example("b", "hi")], seed=0, cases=cases)

    assert dataset.doubles == (("b", "a"),)
    with pytest.raises(ExampleError, match="'a' stands for 2 different examples"):
        clean_data([make_example("a", "hi"), make_example("a", "hi there")], seed=0, cases=cases)


def test_without_cases_nothing_is_assembled(tmp_path: Path):
    """Where the evaluation cannot be read, nobody can tell that training is not on it."""
    (tmp_path / "empty.jsonl").touch()
    for name in ("none", "empty.jsonl"):
        with pytest.raises(SetupError, match=f"No cases (at|in) .*{name}"):
            clean_data([make_example("a", "hi")], seed=0, cases=tmp_path / name)


def test_the_set_is_a_function_of_the_recipe():
    """The same recipe gives the same lines in the same order; another seed another order of the same lines."""
    recipe = Recipe(name="x", base="b", data=DataPart(generator=GeneratorPart(count=50, seed=1)))
    prompt = load_prompt()
    first, again = assemble_data(recipe, prompt), assemble_data(recipe, prompt)
    other = assemble_data(recipe.model_copy(update={"seed": 9}), prompt)

    assert first.digest == again.digest != other.digest
    assert {e.id for e in first.examples} == {e.id for e in other.examples}
    assert first.close == other.close
    assert sum(count_data(first)["source"].values()) == len(first.examples)


def test_a_recipe_without_examples_is_refused():
    """Neither hand-written nor generated is a mistake."""
    with pytest.raises(SetupError, match="asks for no examples"):
        assemble_data(Recipe(name="x", base="b", data=DataPart(handcrafted=False)), load_prompt())


def test_only_hand_written_examples_are_repeated():
    """Repeating weighs what a person wrote against what a program did."""
    mine, made = make_example("a", "hi"), make_example("b", "hello", source="generator")

    assert [e.id for e in repeat_examples([mine, made], 3)] == ["a", "a", "a", "b"]


def test_what_the_base_has_read_is_left_out(cases: Path, tmp_path: Path):
    examples = [make_example(f"x-{n}", f"please {word} the boat") for n, word in enumerate(("paint", "sell", "rent"))]
    lock = tmp_path / "read.lock"
    write_read(lock, examples[:2])
    dataset = clean_data(examples, seed=0, cases=cases)
    left = choose_read(dataset, DataPart(read={}), lock)
    assert [e.id for e in left.examples] == ["x-2"]
    assert left.passed == 2
    assert choose_read(dataset, DataPart(read={"general": 1.0}), lock).examples == dataset.examples
    write_read(lock, examples)
    with pytest.raises(SetupError, match="leave no example"):
        choose_read(dataset, DataPart(read={"single": 1.0}), lock)
    with pytest.raises(SetupError, match=r"No .*missing\.lock"):
        choose_read(dataset, DataPart(read={}), tmp_path / "missing.lock")


def test_a_larger_share_holds_the_smaller_one_and_pairs_stay_whole(tmp_path: Path):
    lock = tmp_path / "read.lock"
    halves = [(n, half) for n in range(200) for half in "ab"]
    examples = [make_example(f"p-{n}-{h}", f"{n} {h}", kind="contrastive", pair=f"p{n}") for n, h in halves]
    write_read(lock, [make_example("other", "other")])
    dataset = Dataset(tuple(examples), (), ())
    few, more = (choose_read(dataset, DataPart(unread=share), lock).examples for share in (0.3, 0.6))
    assert {e.id for e in few} < {e.id for e in more}
    assert 80 < len(few) < 160
    assert all(count == 2 for count in Counter(e.pair for e in few).values())


def test_the_shipped_list_of_what_was_read_names_nothing_held_out():
    lock, read = read_lock(), read_lock(READ)
    assert len(read) > 10_000
    assert {lock.get(key, TRAIN) for key in read} == {TRAIN}
