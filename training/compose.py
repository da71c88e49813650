"""``python -m training build``: from every source to one folder to train from, with a report and a manifest.

Covers: which files enter, licences, review, token lengths, the files of a build, reading one back with its digests.
Does not cover: cleaning and the order (training.data), sides (training.split), the report (training.proportions).

A build is a function of its inputs, the lock included: the same inputs give the same bytes, in every file. It is made
in ``OUT.partial`` and appears at once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.cases import digest_cases, load_cases
from harness.errors import DataError, SetupError, StoreError
from harness.prompt import EOT, PromptSpec, load_prompt
from harness.store import write_file
from training.data import CASES, HANDCRAFTED, Dataset, clean_data, count_examples, gather_examples, generate_examples
from training.examples import Example, format_example, load_examples, read_examples
from training.masking import CHUNK, IGNORED, read_vocabulary, tokenise_examples
from training.proportions import Row, compare_plan, format_report, name_reason
from training.recipe import BASES, DataPart, GeneratorPart
from training.split import (
    LOCK,
    TRAIN,
    VALIDATION,
    LeftOut,
    format_lock,
    freeze_split,
    moved_examples,
    read_lock,
    unit_key,
)

MANIFEST, LOCK_NAME = "manifest.json", "split.lock"
TOKENIZER = BASES["toolgate/nano-base"]
PACKAGES = ("datasets", "pyarrow", "rapidfuzz", "tokenizers", "transformers")
NONCOMMERCIAL = re.compile(r"(?<![a-z])(nc|non-?\s?commercial)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What goes into a build, as the command line names it."""

    handcrafted: bool = True
    converted: tuple[Path, ...] = ()
    synthetic: tuple[Path, ...] = ()
    decisions: tuple[Path, ...] = ()
    generator: GeneratorPart = field(default_factory=GeneratorPart)
    allow_nc: bool = False
    max_length: int = 2048
    tokenizer: Path = TOKENIZER
    lock: Path = LOCK
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """An example in tokens."""

    length: int
    labelled: int
    turns: int  # of the assistant; each ends with a labelled end-of-turn token


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build: what is in it and what is said about it."""

    dataset: Dataset
    rows: list[Row]
    warnings: list[str]
    manifest: dict[str, Any]


def build(
    out: Annotated[Path, typer.Option(help="The folder to write. It must not exist yet; it appears when all is done.")],
    handcrafted: Annotated[
        bool, typer.Option("--handcrafted/--no-handcrafted", help="Take training/handcrafted/*.jsonl.")
    ] = True,
    converted: Annotated[
        list[Path] | None, typer.Option(help="Example lines that `convert` wrote; may be given several times.")
    ] = None,
    synthetic: Annotated[
        list[Path] | None, typer.Option(help="Example lines that `synthesize` wrote; may be given several times.")
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(help="What `review` decided about them. Default: beside the first of them, ending .decisions."),
    ] = None,
    generator: Annotated[int, typer.Option(min=0, help="How many examples the generator adds.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The generator's seed.")] = 0,
    allow_nc: Annotated[
        bool, typer.Option("--allow-nc", help="Keep examples whose licence forbids commercial use.")
    ] = False,
    max_seq_length: Annotated[
        int, typer.Option(min=64, help="Tokens of the longest example; longer ones would be cut off and are left out.")
    ] = 2048,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer to count with. Default: the embedded base.")
    ] = None,
    lock: Annotated[
        Path, typer.Option(help="Which side every example is on; new ones are added. Keep it under version control.")
    ] = LOCK,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a broken line instead of leaving it out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Build a training set: 15 % held out first, near-duplicates dropped, counted against the plan.

    Without options it takes the hand-written examples. OUT holds train.jsonl, validation.jsonl, the same as a folder
    for the datasets library, split.lock, report.md (read it: it says what to write next) and manifest.json.

    python -m training train --recipe training/recipes/nano.toml --data OUT --out my-adapter
    """
    from training.cli import _one_line_errors, notes

    with _one_line_errors():
        made = build_dataset(
            Inputs(
                handcrafted=handcrafted, converted=tuple(converted or ()), synthetic=tuple(synthetic or ()),
                decisions=tuple(decisions or ()), generator=GeneratorPart(count=generator, seed=seed),
                allow_nc=allow_nc, max_length=max_seq_length, tokenizer=tokenizer or TOKENIZER,
                lock=lock, strict=strict,
            ),
            out,
            notes,
        )  # fmt: skip
        for warning in made.warnings:
            notes.out(f"- {warning}", highlight=False)
        if as_json:
            typer.echo(json.dumps(made.manifest, ensure_ascii=False, indent=2))
        else:
            sides = made.manifest["examples"]
            typer.echo(
                f"wrote {sides[TRAIN]} training and {sides[VALIDATION]} held-out examples; read {out / 'report.md'}"
            )


def build_dataset(inputs: Inputs, out: Path, console: Console) -> Build:
    """Make a build in ``out``.

    Raises:
        SetupError: there is nothing to build from, or a place cannot be read or written.
        DataError: a broken line in a hand-written file (or anywhere, with ``strict``), or synthetic examples that were
            not reviewed enough.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SetupError(f"{out} is not empty. Remove it, or give another --out.")
    prompt, old_lock, left_out = load_prompt(), read_lock(inputs.lock), list[LeftOut]()
    examples, sources, problems = _gather(inputs, prompt)
    if not inputs.allow_nc:
        examples, dropped = _leave_out(examples, lambda e: NONCOMMERCIAL.search(e.licence) and f"licence {e.licence}")
        left_out += dropped
    measured, facts = measure_tokens(examples, prompt, inputs.tokenizer, console)
    limit = inputs.max_length
    examples, dropped = _leave_out(
        examples, lambda e: measured[e.id].length > limit and f"{measured[e.id].length} tokens, more than {limit}"
    )
    left_out += dropped
    dataset = clean_data(examples, seed=0, lock=old_lock)
    if not dataset.examples:
        raise SetupError(
            "Of the examples none is left to train on. Give more with --converted, --synthetic or --generator."
        )
    dataset = replace(dataset, examples=tuple(sorted(dataset.examples, key=lambda example: example.id)))
    left_out += [LeftOut(name, case, "close to a case of evals/cases") for name, case in dataset.close]
    left_out += [LeftOut(name, first, "double") for name, first in dataset.doubles]
    left_out += dataset.near

    everything = [*dataset.examples, *dataset.validation]
    facts |= _token_facts([measured[example.id] for example in everything], limit)
    rows = compare_plan(everything, prompt.toolset)
    warnings = [f"{row.name}: {row.advice}" for row in rows if row.advice] + _warn(everything, problems)
    manifest = {
        "format": 1,
        "examples": {TRAIN: len(dataset.examples), VALIDATION: len(dataset.validation)},
        "counts": {TRAIN: count_examples(dataset.examples), VALIDATION: count_examples(dataset.validation)},
        "licences": dict(sorted(Counter(example.licence for example in everything).items())),
        "left_out": dict(sorted(Counter(name_reason(item) for item in left_out).items()))
        | {"broken lines": len(problems)},
        "sources": sources,
        "tokens": facts,
        "prompt_digest": prompt.digest,
        "toolset_digest": prompt.toolset.digest,
        "cases_digest": digest_cases(load_cases(CASES)),
        "versions": {name: metadata.version(name) for name in ("toolgate", *PACKAGES)},
    }
    report = format_report(dataset, rows, warnings, left_out, problems, manifest)
    added = freeze_split(inputs.lock, old_lock, dataset.lock)
    if added:
        console.out(f"{added} new examples have their side in {inputs.lock}", highlight=False)
    manifest["files"] = _write_files(out, dataset, report, manifest, prompt)
    return Build(dataset, rows, warnings, manifest)


def measure_tokens(
    examples: Sequence[Example], prompt: PromptSpec, folder: Path, console: Console
) -> tuple[dict[str, Measured], dict[str, Any]]:
    """Every example in tokens by its id, as training sees it, and the facts of the tokenizer.

    Raises:
        SetupError: there is no tokenizer, or one that cannot be trained with (training.masking says why), or a turn of
            the assistant does not end with an end-of-turn token that is learned.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise SetupError(f"No tokenizer in {folder} (tokenizer.json is missing). Give a folder with --tokenizer.")
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    vocabulary = read_vocabulary(loaded)  # refuses a pad token that ends a turn
    found: dict[str, Measured] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("counting tokens", total=len(examples))
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            for example, tokens in zip(
                chunk, tokenise_examples(chunk, prompt, vocabulary, max_length=2**62), strict=True
            ):
                labels = tokens.labels
                ends = [labels[end - 1] for _, end in tokens.spans]
                turns = sum(message["role"] == "assistant" for message in example.messages)
                if ends != [vocabulary.eot] * turns:
                    raise SetupError(f"{example.id}: a reply does not end with a learned {EOT}. Use another tokenizer.")
                labelled = sum(label != IGNORED for label in labels)
                found[example.id] = Measured(len(tokens.ids), labelled, turns)
            progress.advance(task, len(chunk))
    return found, {
        "tokenizer": folder.resolve().name,
        "digest": _digest(file),
        "pad": loaded.pad_token,
        "pad_id": vocabulary.pad,
        "eos": loaded.eos_token,
        "end_of_turn": EOT,
        "end_of_turn_id": vocabulary.eot,
    }


def load_data(path: Path, prompt: PromptSpec, *, seed: int, lock_file: Path = LOCK, cases: Path = CASES) -> Dataset:
    """What ``train --data`` trains on: a folder that ``build`` wrote, or a file or folder of training lines.

    Of plain lines those that the lock holds out are not trained on. A build that is not as it was written is refused.

    Raises:
        DataError: a build is not whole or was changed, or a line is broken.
        SetupError: a build for another prompt, toolset or lock; or nothing is left to train on.
    """
    lock = read_lock(lock_file)
    if path.is_dir() and any((path / name).exists() for name in (MANIFEST, LOCK_NAME, "validation.jsonl")):
        frozen = check_build(path, prompt, lock_file)
        train = load_examples(path / "train.jsonl", prompt.toolset)
        validation = read_examples(path / "validation.jsonl", prompt.toolset)[0]
        for side, examples in ((TRAIN, train), (VALIDATION, validation)):
            if moved := moved_examples(frozen, examples, side):
                raise DataError(f"{path}: {moved[0]} stands in {side}.jsonl, its {LOCK_NAME} disagrees. {REBUILD}")
    else:
        frozen = lock
        lines = load_examples(path, prompt.toolset)
        held = set(moved_examples(lock, lines, TRAIN))
        train = [example for example in lines if example.id not in held]
        validation = [example for example in lines if example.id in held]
        if not train:
            raise SetupError(f"All {len(held)} examples of {path} are held out by {lock_file.name}. Give others.")
    return replace(clean_data(train, seed=seed, cases=cases), validation=tuple(validation), lock=frozen)


REBUILD = "Build it anew: python -m training build --out DIR"


def check_build(folder: Path, prompt: PromptSpec, lock_file: Path = LOCK) -> dict[str, str]:
    """Check a build against its manifest, the prompt and the project's lock; returns the build's lock.

    Raises:
        DataError: the manifest is missing, or a file is missing, extra or changed; names it.
        SetupError: it was built for another prompt or toolset, or its sides are not those of the project's lock.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sealed = dict(manifest["files"])
    except FileNotFoundError:
        raise DataError(f"{folder} is no whole build: {MANIFEST} is missing. {REBUILD}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder / MANIFEST} is no manifest of a build. {REBUILD}") from None
    found = _digest_files(folder)
    for name in sorted(sealed.keys() | found.keys()):
        if sealed.get(name) != found.get(name):
            state = "missing" if name not in found else "not part of it" if name not in sealed else "changed"
            raise DataError(f"{folder} is not as it was built: {name} is {state}. {REBUILD}")
    for key, ours in (("prompt_digest", prompt.digest), ("toolset_digest", prompt.toolset.digest)):
        if manifest.get(key) != ours:
            what = key.removesuffix("_digest")
            raise SetupError(f"{folder} was built for another {what} ({manifest.get(key)}, now {ours}). {REBUILD}")
    frozen, lock = read_lock(folder / LOCK_NAME), read_lock(lock_file)
    if differ := [key for key, side in frozen.items() if lock.get(key, side) != side]:
        raise SetupError(
            f"The lock of {folder} does not match {lock_file.name}: {len(differ)} examples are on the other side, "
            f"e.g. {differ[0]}. {REBUILD}"
        )
    return frozen


def _gather(inputs: Inputs, prompt: PromptSpec) -> tuple[list[Example], list[dict[str, Any]], list[str]]:
    """All examples (of near-duplicates the first stays: what people wrote comes first), their sources, broken lines."""
    examples = gather_examples(DataPart(handcrafted=inputs.handcrafted), prompt)
    written = sorted(HANDCRAFTED.glob("*.jsonl")) if inputs.handcrafted else []
    sources = [_describe(file, "handcrafted") for file in written]
    taken = {example.id for example in examples}
    problems: list[str] = []
    for part, files in (("synthetic", inputs.synthetic), ("converted", inputs.converted)):
        found: list[Example] = []
        for file in files:
            good, bad = read_examples(file, prompt.toolset)
            if bad and inputs.strict:
                raise DataError(f"{bad[0]}. Without --strict the line is left out and reported.")
            if part == "converted" and any(example.source == "synthetic" for example in good):
                raise SetupError(f"{file} holds synthetic examples; they need a review. Give it with --synthetic.")
            problems += [problem.replace(str(file.parent) + os.sep, "") for problem in bad]
            found += _name_apart(good, file.stem, taken)
            sources.append(_describe(file, part) | {"examples": len(good), "broken": len(bad)})
        if part == "synthetic" and files:
            found = _check_review(found, inputs, prompt)
            sources += [_describe(file, "decisions") for file in _decision_files(inputs)]
        examples += found
    if inputs.generator.count:
        examples += generate_examples(inputs.generator, prompt)
        sources.append({"part": "generator", "count": inputs.generator.count, "seed": inputs.generator.seed})
    if not examples:
        raise SetupError("No examples. Give --handcrafted, --converted FILE, --synthetic FILE or --generator N.")
    return examples, sources, problems


def _check_review(examples: list[Example], inputs: Inputs, prompt: PromptSpec) -> list[Example]:
    from training.review import check_review, read_decisions

    decided = [d for file in _decision_files(inputs) for d in read_decisions(file, prompt.toolset)]
    return list(check_review(examples, decided))


def _decision_files(inputs: Inputs) -> tuple[Path, ...]:
    from training.review.decisions import name_decisions

    return inputs.decisions or (name_decisions(inputs.synthetic[0]),)


def _name_apart(examples: Iterable[Example], stem: str, taken: set[str]) -> list[Example]:
    """Two files of one set count their rows alike; the later one's ids get the name of its file."""
    named = []
    for example in examples:
        while example.id in taken:
            pair = example.pair and f"{stem}/{example.pair}"
            example = replace(example, id=f"{stem}/{example.id}", pair=pair)  # noqa: PLW2901
        taken.add(example.id)
        named.append(example)
    return named


def _leave_out(examples: Sequence[Example], why: Any) -> tuple[list[Example], list[LeftOut]]:
    """Take out what ``why`` has a reason for, and the other half of a pair with it."""
    reasons = {unit_key(e): (e.id, str(reason)) for e in examples if (reason := why(e))}
    gone = []
    for example in examples:
        if unit_key(example) in reasons:
            name, reason = reasons[unit_key(example)]
            gone.append(LeftOut(example.id, "" if name == example.id else name, reason))
    return [example for example in examples if unit_key(example) not in reasons], gone


def _token_facts(measured: Sequence[Measured], limit: int) -> dict[str, Any]:
    lengths = sorted(item.length for item in measured)
    tokens, labelled, turns = (sum(getattr(m, name) for m in measured) for name in ("length", "labelled", "turns"))
    return {
        "max_seq_length": limit,
        "longest": lengths[-1],
        "p99": lengths[math.ceil(0.99 * len(lengths)) - 1],
        "median": lengths[math.ceil(0.5 * len(lengths)) - 1],
        "assistant_turns": turns,
        "turns_that_end_with_a_labelled_end_of_turn": turns,  # measure_tokens refuses all others
        "share_of_tokens_labelled": round(labelled / tokens, 4),
    }


def _warn(examples: Iterable[Example], problems: Sequence[str]) -> list[str]:
    unknown = Counter(e.source for e in examples if e.licence.lower() in {"unknown", "none", ""})
    texts = [
        f"licence: that of {n:,} examples of {source} is unknown; ask before you publish"
        for source, n in sorted(unknown.items())
    ]
    return texts + ([f"broken lines: {len(problems)} were left out, e.g. {problems[0]}"] if problems else [])


def _write_files(
    out: Path, dataset: Dataset, report: str, manifest: dict[str, Any], prompt: PromptSpec
) -> dict[str, str]:
    work = out.with_name(out.name + ".partial")
    try:
        if work.exists():
            shutil.rmtree(work)
        for side, examples in ((TRAIN, dataset.examples), (VALIDATION, dataset.validation)):
            write_file(work / f"{side}.jsonl", "".join(format_example(e) + "\n" for e in examples).encode())
        _save_datasets(work / "datasets", dataset, prompt)
        write_file(work / LOCK_NAME, format_lock(dataset.lock).encode())
        write_file(work / "report.md", report.encode())
        files = _digest_files(work, sync=True)
        # Last: its presence means that the rest is whole.
        text = json.dumps(manifest | {"files": files}, ensure_ascii=False, indent=2) + "\n"
        write_file(work / MANIFEST, text.encode())
        work.rename(out)
    except (OSError, StoreError) as error:
        cause = error.__cause__ or error
        raise SetupError(f"Cannot write {out}: {cause}. Make room, or give another --out.") from None
    return files


def _save_datasets(folder: Path, dataset: Dataset, prompt: PromptSpec) -> None:
    """Both sides for ``datasets.load_from_disk``; the messages begin with the system prompt."""
    import datasets
    from datasets import Features, Value

    text = Value("string")
    turns = [{"role": text, "content": text}]
    columns = dict.fromkeys(("id", "kind", "pair", "now", "source", "licence", "author"), text)
    features = Features({**columns, "tools": [text], "messages": turns})
    sides = {}
    for side, examples in ((TRAIN, dataset.examples), (VALIDATION, dataset.validation)):
        rows: dict[str, list[Any]] = {name: [getattr(e, name) for e in examples] for name in columns}
        rows["tools"] = [list(e.tools) for e in examples]
        rows["messages"] = [[dict(m) for m in prompt.messages(e.messages, e.now)] for e in examples]
        sides[side] = datasets.Dataset.from_dict(rows, features=features)
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        datasets.DatasetDict(sides).save_to_disk(str(folder))
    finally:
        if shown:
            datasets.enable_progress_bars()


def _digest_files(folder: Path, *, sync: bool = False) -> dict[str, str]:
    """Digests of all files but the manifest, by their names below the folder."""
    names = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    if sync:
        for path in names:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in names}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _describe(file: Path, part: str) -> dict[str, Any]:
    return {"part": part, "file": file.name, "digest": _digest(file)}
