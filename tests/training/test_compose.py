"""Builds: what enters, what comes out, and that nobody trains on one that was changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import SPECIALS, make_tokenizer
from typer.testing import CliRunner

from harness.cases import load_cases
from harness.errors import DataError, SetupError
from harness.prompt import EOT, load_prompt
from harness.types import Message
from training.cli import app
from training.compose import Inputs, build_dataset, check_build, load_data
from training.data import CASES
from training.examples import Example, load_examples, write_examples
from training.proportions import SHARES, compare_plan
from training.recipe import GeneratorPart
from training.split import TRAIN, VALIDATION, content_key, format_lock, read_lock

PROMPT = load_prompt()
THINGS = """anvil banjo cello dinghy easel flute gazebo harp igloo jigsaw kayak ladder mop nutmeg oboe piano quilt
rake""".split()  # noqa: SIM905


def make_example(name: str, text: str, reply: str = "I cannot do that.", **changes: Any) -> Example:
    messages = (Message(role="user", content=text), Message(role="assistant", content=reply))
    example = Example(
        id=name, kind="negative", now="2026-03-02T09:00:00+00:00", messages=messages, tools=(), source="clinc",
        licence="CC-BY-3.0", author="x",
    )  # fmt: skip
    return replace(example, **changes)


def make_examples(prefix: str = "clinc:", **changes: Any) -> list[Example]:
    return [
        make_example(f"{prefix}{i}", f"polish the {thing} number {i * 37}", **changes) for i, thing in enumerate(THINGS)
    ]


def make_task(name: str, title: str, **changes: Any) -> Example:
    call = {"tool": "createTask", "params": {"title": title, "priority": "medium"}}
    return make_example(
        name,
        f"remind me to {title}",
        f"```json\n{json.dumps(call)}\n```",
        **({"kind": "single", "tools": ("createTask",)} | changes),
    )


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def make(tmp_path: Path, tokenizer: Path):
    """Build from the given examples, as if they had been converted; returns the folder."""

    def build(examples: list[Example], name: str = "build", **changes: Any) -> Path:
        file = tmp_path / "examples.jsonl"
        write_examples(file, examples)
        known = {"handcrafted": False, "converted": (file,), "tokenizer": tokenizer, "lock": tmp_path / "my.lock"}
        inputs = Inputs(**(known | {"max_length": 9999} | changes))
        from rich.console import Console

        build_dataset(inputs, tmp_path / name, Console(stderr=True, quiet=True))
        return tmp_path / name

    return build


def read(folder: Path, side: str) -> list[Example]:
    return load_examples(folder / f"{side}.jsonl", PROMPT.toolset)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_inputs_give_the_same_bytes(make, tmp_path: Path):
    """Every file, whether the lock was there before or not."""
    first = contents(make(make_examples(), "one"))
    again = contents(make(make_examples(), "two"))

    assert first == again
    assert {"train.jsonl", "validation.jsonl", "split.lock", "report.md", "manifest.json"} <= first.keys()
    assert str(tmp_path).encode() not in b"".join(first.values())
    assert not list(tmp_path.glob("*.partial"))


def test_additions_move_nothing_across_builds(make):
    """The lock remembers, in a build with other examples as well."""
    old = make(make_examples(), "one")
    new = make(make_examples() + [make_task(f"t{i}", f"buy {thing} string") for i, thing in enumerate(THINGS)], "two")

    for side in (TRAIN, VALIDATION):
        assert {e.id for e in read(old, side)} <= {e.id for e in read(new, side)}
    assert len(read(new, VALIDATION)) == 2 * len(read(old, VALIDATION)) == 6


def test_a_build_is_trained_on(make, tmp_path: Path):
    """`train --data` takes the training side, in the order of the recipe's seed, and knows the held-out side."""
    folder = make(make_examples())
    data = load_data(folder, PROMPT, seed=1, lock_file=tmp_path / "my.lock")

    assert sorted(e.id for e in data.examples) == [e.id for e in read(folder, TRAIN)]
    assert list(data.validation) == read(folder, VALIDATION)
    assert load_data(folder, PROMPT, seed=2, lock_file=tmp_path / "my.lock").digest != data.digest


def spoil_line(folder: Path) -> None:
    text = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(text.replace("polish", "Polish", 1))


def move_line(folder: Path) -> None:
    lines = (folder / "validation.jsonl").read_text()
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text() + lines)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(spoil_line, "train.jsonl is changed", id="a letter"),
        pytest.param(move_line, "train.jsonl is changed", id="held-out lines added"),
        pytest.param(lambda d: (d / "split.lock").unlink(), "split.lock is missing", id="no lock"),
        pytest.param(lambda d: (d / "more.jsonl").touch(), "more.jsonl is not part of it", id="a file more"),
        pytest.param(
            lambda d: (d / "datasets/train/state.json").write_text("{}"), "state.json is changed", id="datasets"
        ),
        pytest.param(lambda d: (d / "manifest.json").unlink(), "manifest.json is missing", id="no manifest"),
        pytest.param(
            lambda d: (d / "manifest.json").write_text("[]"), "is no manifest of a build", id="broken manifest"
        ),
    ],
)
def test_a_changed_build_is_refused(make, tmp_path: Path, spoil, why: str):
    """What differs is named, and what to do."""
    folder = make(make_examples())
    spoil(folder)

    with pytest.raises(DataError, match=f"{why}.*Build it anew"):
        load_data(folder, PROMPT, seed=0, lock_file=tmp_path / "my.lock")


def test_another_lock_is_refused(make, tmp_path: Path):
    """A build whose held-out examples the project trains on, or the other way round, is not trained on."""
    folder = make(make_examples())
    lock = read_lock(tmp_path / "my.lock")
    key = content_key(read(folder, VALIDATION)[0])
    (tmp_path / "other.lock").write_text(format_lock(lock | {key: TRAIN}))

    with pytest.raises(SetupError, match=rf"does not match other.lock: 1 examples are on the other side, e.g. {key}"):
        load_data(folder, PROMPT, seed=0, lock_file=tmp_path / "other.lock")


def test_another_prompt_is_refused(make, tmp_path: Path):
    """Lengths and texts were made with the prompt that the build names."""
    folder = make(make_examples())

    with pytest.raises(SetupError, match="was built for another prompt"):
        check_build(folder, replace(PROMPT, template=PROMPT.template + " "), tmp_path / "my.lock")


def test_plain_lines_that_are_held_out_are_not_trained_on(make, tmp_path: Path):
    """The lock holds for files that nobody built, too."""
    folder = make(make_examples())
    data = load_data(tmp_path / "examples.jsonl", PROMPT, seed=0, lock_file=tmp_path / "my.lock")

    assert {e.id for e in data.examples} == {e.id for e in read(folder, TRAIN)}
    with pytest.raises(SetupError, match=r"All 3 examples of .* are held out by my.lock"):
        load_data(folder / "validation.jsonl", PROMPT, seed=0, lock_file=tmp_path / "my.lock")


def test_the_datasets_folder_holds_the_same(make):
    """The datasets library reads both sides; the messages begin with the project's system prompt."""
    import datasets

    folder = make([*make_examples(), make_task("t", "feed the cat")])
    loaded = datasets.load_from_disk(str(folder / "datasets"))

    for side in (TRAIN, VALIDATION):
        lines = read(folder, side)
        assert [row["id"] for row in loaded[side]] == [e.id for e in lines]
        assert [row["tools"] for row in loaded[side]] == [list(e.tools) for e in lines]
        for row, example in zip(loaded[side], lines, strict=True):
            assert row["messages"][0] == {"role": "system", "content": PROMPT.system(example.now)}
            assert row["messages"][1:] == list(example.messages)


def test_what_is_left_out_is_listed(make):
    """Doubles, near-duplicates and questions of evals/cases, with what they are too close to."""
    question = next(case for case in load_cases(CASES) if case.suite == "general").messages[-1]["content"]
    examples = [
        *make_examples(),
        make_example("again", "polish the anvil number 0"),
        make_example("near", "polish the banjo number 37!"),
        make_example("exam", question),
    ]
    folder = make(examples)
    report = (folder / "report.md").read_text()

    assert "- `again`: double, `clinc:0`" in report
    assert "- `near`: near-duplicate" in report
    assert "- `exam`: close to a case of evals/cases, `" in report
    left_out = manifest(folder)["left_out"]
    assert (left_out["double"], left_out["close to a case of evals/cases"]) == (1, 1)
    assert sum(manifest(folder)["examples"].values()) == len(THINGS)


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "cc by-nc-sa", "Research, non-commercial"])
def test_noncommercial_examples_need_a_word(make, licence: str):
    """Left out unless asked for, and counted by licence either way."""
    examples = [*make_examples(), make_task("a", "feed the cat", licence=licence)]

    without = manifest(make(examples, "without"))
    assert without["licences"] == {"CC-BY-3.0": len(THINGS)}
    assert without["left_out"][f"licence {licence}"] == 1
    assert manifest(make(examples, "with", allow_nc=True))["licences"][licence] == 1


@pytest.mark.parametrize("licence", ["Apache-2.0", "CC-BY-SA-4.0", "incomparable", "NCSA-like"])
def test_other_licences_are_kept(make, licence: str):
    """Two letters inside a word say nothing."""
    assert make_task("a", "feed the cat", licence=licence) in (
        read(folder := make([*make_examples(), make_task("a", "feed the cat", licence=licence)]), TRAIN)
        + read(folder, VALIDATION)
    )


def test_what_would_be_cut_off_is_left_out(make):
    """With the other half of its pair; the lengths of the rest are in the manifest."""
    long = make_example("long", "why " * 3000 + "not", pair="1")
    folder = make([*make_examples(), long, make_example("short", "why not indeed", pair="1")])
    facts = manifest(folder)["tokens"]

    assert manifest(folder)["left_out"]["too long"] == 2
    assert "tokens, more than 9999" in (folder / "report.md").read_text()
    assert facts["median"] <= facts["p99"] <= facts["longest"] <= facts["max_seq_length"] == 9999
    assert facts["assistant_turns"] == facts["turns_that_end_with_a_labelled_end_of_turn"] == len(THINGS)
    assert facts["pad"] != facts["eos"] == EOT
    assert 0 < facts["share_of_tokens_labelled"] < 0.1


def test_a_pad_token_that_ends_a_turn_is_refused(make, tmp_path: Path):
    """Padding would hide the end of every turn from the loss."""
    broken = make_tokenizer(SPECIALS)
    broken.pad_token = EOT
    broken.save_pretrained(tmp_path / "broken")

    with pytest.raises(SetupError, match=r"pads with '<\|eot_id\|>'"):
        make(make_examples(), tokenizer=tmp_path / "broken")
    with pytest.raises(SetupError, match=r"No tokenizer in .*none .*--tokenizer"):
        make(make_examples(), tokenizer=tmp_path / "none")
    assert not (tmp_path / "build").exists()
    assert not (tmp_path / "my.lock").exists()


def test_one_broken_line_loses_nothing_else(make, tmp_path: Path):
    """It is reported with its number; `strict` stops."""
    write_examples(tmp_path / "more.jsonl", [make_task("a", "feed the cat")])
    with (tmp_path / "more.jsonl").open("a") as file:
        file.write("{oops\n")
    files = {"converted": (tmp_path / "more.jsonl", tmp_path / "examples.jsonl")}
    folder = make(make_examples(), **files)

    assert sum(manifest(folder)["examples"].values()) == len(THINGS) + 1
    assert "- more.jsonl:2: " in (folder / "report.md").read_text()
    with pytest.raises(DataError, match=r"more.jsonl:2: .*Without --strict"):
        make(make_examples(), "other", strict=True, **files)


def test_two_files_of_one_set_may_count_alike(make, tmp_path: Path):
    """Ids of the second get the file's name; the same lines twice are doubles."""
    other = [make_example(f"clinc:{i}", f"{thing} for {thing}, why") for i, thing in enumerate(THINGS)]
    write_examples(tmp_path / "dev.jsonl", other)
    folder = make(
        make_examples(), converted=(tmp_path / "examples.jsonl", tmp_path / "dev.jsonl", tmp_path / "dev.jsonl")
    )

    assert sum(manifest(folder)["examples"].values()) == 2 * len(THINGS)
    assert manifest(folder)["left_out"]["double"] == len(THINGS)
    assert any(e.id == "dev/clinc:3" for side in (TRAIN, VALIDATION) for e in read(folder, side))


def test_synthetic_examples_are_reviewed_first(make, tmp_path: Path):
    """Unread ones are refused by the name of their stratum; what a person rejected stays out."""
    from training.review.decisions import Decision, DecisionLog, content_hash, draw_sample

    made = [
        make_task(f"syn-{i}", f"{'lend' if i % 2 else 'repair'} the {thing} {THINGS[i // 2]} today", source="synthetic")
        for i, thing in enumerate(THINGS * 2)
    ]
    write_examples(tmp_path / "syn.jsonl", made)
    files = {"converted": (), "synthetic": (tmp_path / "syn.jsonl",)}
    log = DecisionLog(tmp_path / "syn.decisions")
    with pytest.raises(DataError, match="single / createTask: 6 of 6 drawn examples are not read"):
        make([], **files)
    log.append([Decision(time="2026-01-01", reviewer="me", action="accept", hash=key) for key in draw_sample(made)])
    sampled = set(draw_sample(made))
    others = [content_hash(e) for e in made if content_hash(e) not in sampled]
    log.append([Decision(time="2026-01-01", reviewer="me", action="accept", hash=key) for key in others[1:]])
    log.append([Decision(time="2026-01-01", reviewer="me", action="reject", hash=others[0])])
    log.close()
    folder = make([], **files)

    entered = manifest(folder)
    assert sum(entered["examples"].values()) + sum(entered["left_out"].values()) == len(made) - 1
    assert others[0] not in {content_hash(e) for side in (TRAIN, VALIDATION) for e in read(folder, side)}
    with pytest.raises(SetupError, match=r"holds synthetic examples.*--synthetic"):
        make(made, "other")


def test_a_killed_build_leaves_nothing_that_looks_whole(make, tmp_path: Path):
    """What lies in OUT.partial is made anew; a folder with something in it is never overwritten."""
    (tmp_path / "build.partial").mkdir()
    (tmp_path / "build.partial" / "train.jsonl").write_text("half")
    folder = make(make_examples())

    assert len(read(folder, TRAIN)) == len(THINGS) - 3
    with pytest.raises(SetupError, match=r"is not empty. Remove it"):
        make(make_examples())
    shutil.copytree(folder, tmp_path / "half")
    (tmp_path / "half" / "manifest.json").unlink()
    with pytest.raises(DataError, match="is no whole build"):
        load_data(tmp_path / "half", PROMPT, seed=0)


def test_nothing_to_build_from_is_a_mistake(make, tmp_path: Path):
    """No source, or none that is left."""
    with pytest.raises(SetupError, match=r"No examples. Give --handcrafted"):
        make([], converted=())
    with pytest.raises(SetupError, match="none is left to train on"):
        make(make_examples(licence="CC-BY-NC-4.0"))


def test_generated_examples_join(make):
    """A number and a seed; the manifest names both."""
    folder = make(make_examples(), generator=GeneratorPart(count=30, seed=7))

    assert {"part": "generator", "count": 30, "seed": 7} in manifest(folder)["sources"]
    assert manifest(folder)["counts"][TRAIN]["source"]["generator"] > 20


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_following_the_advice_reaches_the_share(negatives: int, general: int, singles: int):
    """Adding what a row says, or leaving it out, brings its share into the plan's range."""
    examples = [make_example(f"n{i}", "x") for i in range(negatives)]
    examples += [make_example(f"g{i}", "x", kind="general", source="x") for i in range(general)]
    examples += [make_example(f"s{i}", "x", kind="single", source="x", tools=("getWeather",)) for i in range(singles)]
    row = next(r for r in compare_plan(examples, PROMPT.toolset) if r.name == "share of negatives")
    least, _, most = SHARES["negative"]
    total = len(examples)
    numbers = [int(word.replace(",", "")) for word in row.advice.split() if word.replace(",", "").isdigit()]

    if not total or not row.advice:
        assert not total or least <= negatives / total <= most
    elif len(numbers) == 1:
        assert (negatives + numbers[0]) / (total + numbers[0]) >= least
    else:
        assert negatives / (total + numbers[0]) <= most + 1e-9
        assert (negatives - numbers[1]) <= most * (total - numbers[1]) + 1e-9


def test_the_plan_counts_pairs_ids_and_sources():
    """A pair counts when its halves call the two tools; an id tool is counted by its crud examples."""
    examples = [
        make_task("a", "x", pair="1"),
        make_task("b", "y", pair="1", source="clinc", kind="contrastive"),
        replace(make_task("c", "z", pair="1"), tools=("createCalendarEvent",)),
        replace(
            make_task("d", "z", source="handcrafted"), kind="contrastive", tools=("createTask", "createCalendarEvent")
        ),
        replace(make_task("e", "z"), kind="crud", tools=("deleteTask",)),
    ]
    rows = {row.name: row for row in compare_plan(examples, PROMPT.toolset)}

    assert rows["pairs createCalendarEvent / createTask"].count == 1
    assert rows["contrastive with both tools"].count == 1
    assert (rows["crud deleteTask"].count, rows["crud deleteTask"].wanted) == (1, "≥ 50")
    assert "write 49 more" in rows["crud deleteTask"].advice
    assert rows["share of public sources"].count == 4
    assert rows["examples"].advice == "295 more to reach 300"


def test_the_command_line_builds(tmp_path: Path, tokenizer: Path):
    """The command of the docstring, its JSON, and one line per error."""
    write_examples(tmp_path / "some.jsonl", make_examples())
    words = ["build", "--no-handcrafted", "--converted", tmp_path / "some.jsonl", "--lock", tmp_path / "l"]
    words += ["--tokenizer", tokenizer, "--max-seq-length", 9999, "--json", "--out", tmp_path / "out"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == manifest(tmp_path / "out")
    assert "share of general chat" in done.stderr

    again = CliRunner().invoke(app, [str(word) for word in words])
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith("error: ")
    assert len(again.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_repository_alone_gives_a_set(tmp_path: Path):
    """Without a network and without options: at least 1,500 examples, all within the length, lock up to date."""
    from training.split import LOCK

    before = LOCK.read_bytes()
    done = CliRunner().invoke(app, ["build", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)

    assert sum(made["examples"].values()) >= 1500
    assert made["tokens"]["longest"] <= 2048
    assert LOCK.read_bytes() == before
    load_data(tmp_path / "out", PROMPT, seed=0)


def test_training_refuses_a_changed_build(make):
    """Before anything is loaded, in one line."""
    folder = make(make_examples())
    spoil_line(folder)
    recipe = Path(__file__).parents[2] / "training" / "recipes" / "nano.toml"
    words = ["train", "--recipe", recipe, "--data", folder, "--out", folder.with_name("adapter")]
    done = CliRunner().invoke(app, [str(word) for word in words])

    assert done.exit_code == 1
    assert "train.jsonl is changed" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
