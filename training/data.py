"""The training set of a recipe: hand-written and generated examples, without doubles and without evaluation questions.

Covers: gathering, dropping what is close to a case of evals/cases, dropping doubles, the order, the counts, the digest.
Does not cover: how a line is read (training.examples), held-out splits.
This is the only place where training reads the evaluation's cases, and it reads them to throw examples away.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.cases import load_cases, near_duplicates
from harness.errors import SetupError
from harness.prompt import PromptSpec
from harness.types import Message
from training.examples import Example, ExampleError, check_example, format_example, load_examples
from training.recipe import Recipe

ROOT = Path(__file__).parent
HANDCRAFTED = ROOT / "handcrafted"
CASES = ROOT.parent / "evals" / "cases"
GENERATOR = "training.generator"
CLOSE = 90.0  # of 100; at 90 two questions of 40 characters differ in about four
# "thanks" or "delete it" says nothing without what came before: such turns are compared as whole dialogues.
TELLING_WORDS = 4


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is trained on, and what was left out."""

    examples: tuple[Example, ...]
    close: tuple[tuple[str, str], ...]  # (example id, case id)
    doubles: tuple[tuple[str, str], ...]  # (example id, id of the one that stays)

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over the lines in their order."""
        text = "".join(format_example(example) + "\n" for example in self.examples)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def assemble_data(recipe: Recipe, prompt: PromptSpec) -> Dataset:
    """The training set that a recipe describes; a function of the recipe and of the files in the repository."""
    examples: list[Example] = []
    if recipe.data.handcrafted:
        examples += load_examples(HANDCRAFTED, prompt.toolset)
    examples += generate_examples(recipe, prompt)
    if not examples:
        raise SetupError("The recipe asks for no examples. Set data.handcrafted = true or data.generator.count.")
    return clean_data(examples, seed=recipe.seed)


def generate_examples(recipe: Recipe, prompt: PromptSpec) -> list[Example]:
    """The generator's part, each example checked as if it came from a file.

    Raises:
        ExampleError: the generator made an example that must not be trained on.
        SetupError: the mix names a kind that it does not make.
    """
    part = recipe.data.generator
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


def clean_data(examples: Sequence[Example], *, seed: int, cases: Path = CASES) -> Dataset:
    """Drop doubles and what is close to a case, and shuffle."""
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
    close = find_close(kept, cases)
    names = {example for example, _ in close}
    # A contrast teaches by its two halves, so they go together.
    pairs = {e.pair for e in kept if e.pair is not None and e.id in names}
    kept = [e for e in kept if e.id not in names and (e.pair is None or e.pair not in pairs)]
    ids = Counter(example.id for example in kept)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise ExampleError(f"id {twice[0]!r} stands for {ids[twice[0]]} different examples; ids are unique.")
    random.Random(seed).shuffle(kept)
    return Dataset(tuple(kept), tuple(close), tuple(doubles))


def find_close(examples: Sequence[Example], cases: Path = CASES) -> list[tuple[str, str]]:
    """(example id, case id) where the question of an example is nearly that of a case."""
    if not cases.exists():
        raise SetupError(f"No cases at {cases}; without them nobody can tell that training data is not the test.")
    known = load_cases(cases)
    found: dict[str, str] = {}
    for read in (last_question, whole_question):
        ours, theirs = [read(e.messages) for e in examples], [read(c.messages) for c in known]
        for i, j, _ in near_duplicates(ours, theirs, CLOSE):
            found.setdefault(examples[i].id, known[j].id)
    return list(found.items())


def last_question(messages: Sequence[Message]) -> str:
    """The final user turn, "" where it says nothing on its own within a dialogue."""
    turns = [message["content"] for message in messages if message["role"] == "user"]
    return turns[-1] if len(turns) == 1 or len(turns[-1].split()) >= TELLING_WORDS else ""


def whole_question(messages: Sequence[Message]) -> str:
    """All user turns of a dialogue, "" for a single question."""
    turns = [message["content"] for message in messages if message["role"] == "user"]
    return "\n".join(turns) if len(turns) > 1 else ""


def repeat_examples(examples: Iterable[Example], times: int) -> list[Example]:
    """The examples of one epoch: hand-written ones come several times when the recipe says so."""
    return [e for e in examples for _ in range(times if e.source == "handcrafted" else 1)]


def count_data(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Counts by kind, by tool (examples that call it) and by source, sorted by name."""

    def tally(names: Iterable[str]) -> dict[str, int]:
        return dict(sorted(Counter(names).items()))

    examples = dataset.examples
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
    return table
