"""From sources to training examples: hand-written and generated ones, without doubles and without evaluation questions.

Covers: gathering, dropping what is close to a case of evals/cases, dropping doubles, the order, the counts, the digest.
Does not cover: how a line is read (training.examples), which side an example is on (training.split), converted and
synthetic examples and the files of a build (training.compose, which sends them through ``clean_data`` as well).
This is the only place where training reads the evaluation's cases, and it reads them to throw examples away.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.cases import close_to_cases, load_cases
from harness.errors import SetupError
from harness.prompt import PromptSpec
from training.examples import Example, ExampleError, check_example, format_example, load_examples
from training.recipe import DataPart, GeneratorPart, Recipe
from training.recombine import gather_pools, recombine
from training.split import LeftOut, Lock, content_key, drop_near, read_lock, split_examples, unit_key

ROOT = Path(__file__).parent
HANDCRAFTED = ROOT / "handcrafted"
CASES = ROOT.parent / "evals" / "cases"
READ = ROOT / "nano" / "read.lock"  # what the nano base has read, as lines of a lock
GENERATOR = "training.generator"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is trained on, and what was left out."""

    examples: tuple[Example, ...]
    close: tuple[tuple[str, str], ...]  # (example id, case id); the other half of a pair is named as well
    doubles: tuple[tuple[str, str], ...]  # (example id, id of the one that stays)
    near: tuple[LeftOut, ...] = ()  # near-duplicates, and what is too close to the held-out side
    validation: tuple[Example, ...] = ()  # held out
    lock: Lock = field(default_factory=dict)  # the side of every example that was split
    passed: int = 0  # how many the recipe's shares of read and unread examples passed over

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over the lines of ``examples`` in their order."""
        text = "".join(format_example(example) + "\n" for example in self.examples)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def assemble_data(recipe: Recipe, prompt: PromptSpec) -> Dataset:
    """The training set that a recipe describes; a function of the recipe and of the files in the repository."""
    examples = gather_examples(recipe.data, prompt)
    if not examples:
        raise SetupError("The recipe asks for no examples. Set data.handcrafted = true or data.generator.count.")
    dataset = clean_data(examples, seed=recipe.seed, lock=read_lock())
    return choose_read(dataset, recipe.data, READ)


def choose_read(dataset: Dataset, part: DataPart, path: Path) -> Dataset:
    """The set with the recipe's shares of the hand-written examples that the base has read, and of the others.

    A base learns its text by heart, and an adapter learns little from what the base knows (docs/LOG.md, "What do 4
    billion tokens and four times the hand-written examples change?"). ``path`` is a lock file that names what was read.
    An example is taken by its id or its pair, so that a larger share holds the smaller one and pairs stay whole.

    Raises:
        SetupError: there is no such file, or nothing would be left.
    """
    if part.read is None and part.unread == 1:
        return dataset
    known = read_lock(path)
    if not known:
        raise SetupError(f"No {path}, which lists what the base has read. Restore it, or leave out data.read.")

    def taken(example: Example) -> bool:
        share = part.unread
        if content_key(example) in known:
            share = 1.0 if part.read is None else part.read.get(example.kind, 0.0)
        return int(hashlib.sha256(unit_key(example).encode()).hexdigest()[:8], 16) < share * 2**32

    left = tuple(e for e in dataset.examples if e.source != "handcrafted" or taken(e))
    if not left:
        raise SetupError("data.read and data.unread leave no example. Give larger shares, or write new examples.")
    return replace(dataset, examples=left, passed=len(dataset.examples) - len(left))


def gather_examples(part: DataPart, prompt: PromptSpec) -> list[Example]:
    """The repository's own examples, hand-written ones first: of near-duplicates the first stays."""
    examples = load_examples(HANDCRAFTED, prompt.toolset) if part.handcrafted else []
    return examples + generate_examples(part.generator, prompt)


def generate_examples(part: GeneratorPart, prompt: PromptSpec) -> list[Example]:
    """The generator's part, each example checked as if it came from a file.

    Raises:
        ExampleError: the generator made an example that must not be trained on.
        SetupError: the mix names a kind that it does not make.
    """
    if part.count == 0:
        return []
    generate: Callable[..., Iterator[Example]] = import_module(GENERATOR).generate
    try:
        examples = list(generate(part.count, part.seed, part.mix))
    except ValueError as error:
        raise SetupError(f"data.generator.mix is not possible: {error}.") from None
    for place, example in enumerate(examples):
        if problems := check_example(example, prompt.toolset):
            raise ExampleError(f"generator, seed {part.seed}, example {place} ({example.id}): {problems[0]}")
    return examples


def clean_data(examples: Sequence[Example], *, seed: int, cases: Path = CASES, lock: Lock | None = None) -> Dataset:
    """Drop doubles and what is close to a case, hold out, drop near-duplicates from what is left, and shuffle that.

    What is close is the rule of ``harness.cases.close_to_cases``, which ``python -m harness duplicates`` shows.
    Without a lock nothing is held out: the examples are training lines already. Cleaning twice is cleaning once.

    Raises:
        SetupError: there are no cases, so nobody can tell that training is not on the test.
        ExampleError: two different examples have one id.
    """
    known = load_cases(cases)
    if not known:
        raise SetupError(f"No cases in {cases}; without them nobody can tell that training data is not the test.")
    kept: list[Example] = []
    first: dict[str, str] = {}
    doubles: list[tuple[str, str]] = []
    for example in examples:
        # The time is left out: the same words with the same answer teach the same thing.
        key = repr([(m["role"], m["content"]) for m in example.messages])
        if key in first:
            doubles.append((example.id, first[key]))
            continue
        first[key] = example.id
        kept.append(example)
    ids = Counter(example.id for example in kept)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise ExampleError(f"id {twice[0]!r} stands for {ids[twice[0]]} different examples; ids are unique.")
    asked: dict[str, str] = {}  # example id or pair -> case id
    for found in close_to_cases([user_turns(example) for example in kept], known):
        asked.setdefault(unit_key(kept[found.index]), found.case_id)
    close = tuple((e.id, asked[unit_key(e)]) for e in kept if unit_key(e) in asked)
    kept = [example for example in kept if unit_key(example) not in asked]
    validation: list[Example] = []
    near: list[LeftOut] = []
    frozen: Lock = {}
    if lock is not None:
        split = split_examples(kept, lock)
        kept, frozen = list(split.train), split.lock
        validation = sorted(split.validation, key=lambda example: example.id)
        near += split.left_out
    kept, dropped = drop_near(kept, validation)
    kept.sort(key=lambda example: example.id)  # so that the order is the same when they come from a written file
    random.Random(seed).shuffle(kept)
    return Dataset(tuple(kept), close, tuple(doubles), (*near, *dropped), tuple(validation), frozen)


def user_turns(example: Example) -> list[str]:
    """What the user says in an example, turn by turn."""
    return [message["content"] for message in example.messages if message["role"] == "user"]


def repeat_examples(
    examples: Sequence[Example], times: int, *, recombined: bool = False, seed: int = 0, cases: Path = CASES
) -> list[Example]:
    """The examples of one epoch: hand-written ones come several times when the recipe says so.

    With ``recombined`` hand-written examples have other values each time (training.recombine), drawn by ``seed`` and
    taken from these examples alone; one that came too close to a case is the original again.
    """
    if not recombined:
        return [e for e in examples for _ in range(times if e.source == "handcrafted" else 1)]
    written = [e for e in examples if e.source == "handcrafted"]
    pools = gather_pools(written)
    made = [(e, recombine(e, pools, random.Random(f"{seed} {e.id} {n}"))) for e in written for n in range(times)]
    close = {found.index for found in close_to_cases([user_turns(copy) for _, copy in made], load_cases(cases))}
    copies: dict[str, list[Example]] = {}
    for place, (original, copy) in enumerate(made):
        copies.setdefault(original.id, []).append(original if place in close else copy)
    return [one for e in examples for one in copies.get(e.id, (e,))]


def count_data(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Counts of what is trained on by kind, by tool (examples that call it) and by source, sorted by name."""
    return count_examples(dataset.examples)


def count_examples(examples: Iterable[Example]) -> dict[str, dict[str, int]]:
    """Counts by kind, by tool (examples that call it) and by source, sorted by name."""
    examples = list(examples)

    def tally(names: Iterable[str]) -> dict[str, int]:
        return dict(sorted(Counter(names).items()))

    return {
        "kind": tally(e.kind for e in examples),
        "tool": tally(tool for e in examples for tool in (set(e.tools) or {"(none)"})),
        "source": tally(e.source for e in examples),
    }


def summarise_data(dataset: Dataset) -> Any:
    """A rich table of the counts."""
    from rich.table import Table

    table = Table("", "what", "examples", title=f"{len(dataset.examples)} training examples")
    table.columns[2].justify = "right"
    for group, counts in count_data(dataset).items():
        for place, (name, count) in enumerate(counts.items()):
            table.add_row(group if place == 0 else "", name, str(count))
        table.add_section()
    table.add_row("left out", "close to a case", str(len(dataset.close)))
    table.add_row("", "doubles", str(len(dataset.doubles)))
    table.add_row("", "near-duplicates", str(len(dataset.near)))
    table.add_row("", "beyond the recipe's shares", str(dataset.passed))
    table.add_row("held out", "for validation", str(len(dataset.validation)))
    return table
