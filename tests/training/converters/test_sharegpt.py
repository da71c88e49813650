"""ShareGPT lines and our examples, both ways; the command that converts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.prompt import load_prompt
from training.cli import app
from training.examples import load_examples
from training.sharegpt import format_sharegpt, parse_sharegpt, read_sharegpt, write_sharegpt

HANDCRAFTED = Path(__file__).parents[3] / "training" / "handcrafted"
PROMPT = load_prompt()


def invoke(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout + result.stderr


def test_every_handwritten_example_survives_both_ways(tmp_path: Path):
    """Example -> ShareGPT -> example, and the line again."""
    examples = load_examples(HANDCRAFTED)[::7]
    write_sharegpt(tmp_path / "s.jsonl", examples)

    again, problems = read_sharegpt(tmp_path / "s.jsonl")

    assert (examples, []) == (again, problems)
    lines = (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines == [format_sharegpt(example, PROMPT) for example in again]


def test_a_line_of_others_gets_our_prompt_and_keeps_its_time():
    """A foreign system prompt is dropped, what is not said is filled in."""
    turns = [
        ("system", "Be evil.\nCurrent time: 2026-04-01T10:00:00+02:00 (Wednesday)"),
        ("human", "hi"),
        ("gpt", "Hello!"),
    ]
    line = json.dumps({"conversations": [{"from": f, "value": v} for f, v in turns]})

    example = parse_sharegpt(line, PROMPT, name="theirs:3", licence="MIT")

    assert (
        example.id,
        example.kind,
        example.now,
        example.licence,
    ) == ("theirs:3", "negative", "2026-04-01T10:00:00+02:00", "MIT")
    assert "evil" not in format_sharegpt(example, PROMPT)


def test_a_bad_line_is_reported_and_the_rest_is_kept(tmp_path: Path):
    """With its line and reason; --strict stops."""
    write_sharegpt(tmp_path / "s.jsonl", load_examples(HANDCRAFTED)[:2])
    with (tmp_path / "s.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"conversations": [{"from": "robot", "value": "x"}]}\n')
    words = [
        "convert",
        "sharegpt",
        tmp_path / "s.jsonl",
        "--out",
        tmp_path / "o.jsonl",
        "--report",
        tmp_path / "r.json",
    ]

    assert invoke(*words, "--strict")[0] == 1
    assert invoke(*words)[0] == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["rows"], report["kept"]) == (3, 2)
    assert report["rows_rejected"][0][0] == 3
    assert load_examples(HANDCRAFTED)[:2] == load_examples(tmp_path / "o.jsonl")
    # and back: the same bytes as before, without the bad line
    assert (
        invoke(
            "convert", "examples", tmp_path / "o.jsonl", "--out", tmp_path / "b.jsonl", "--report", tmp_path / "q.json"
        )[0]
        == 0
    )
    assert (tmp_path / "s.jsonl").read_text().startswith((tmp_path / "b.jsonl").read_text())


def test_the_command_says_what_became_of_the_rows(tmp_path: Path):
    """A table for people, a report for programs."""
    file = tmp_path / "f.jsonl"
    file.write_text(
        '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}\n{oops\n'
    )

    code, said = invoke(
        "convert", "finetome", file, "--out", tmp_path / "o" / "o.jsonl", "--report", tmp_path / "r" / "r.json"
    )

    assert code == 0, said
    assert "finetome: 2 rows" in said
    assert json.loads((tmp_path / "r" / "r.json").read_text())["rejected"] == {"not JSON": 1}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(("convert", "glave", "x.json"), "Known sources: glaive, apigen_mt", id="source"),
        pytest.param(
            ("convert", "glaive", "x.json"),
            "No file x.json. Give a file of rows, or a hub id such as glaiveai/",
            id="file",
        ),
    ],
)
def test_a_wrong_word_is_one_clear_line(tmp_path: Path, words: tuple[str, ...], why: str):
    """Exit 1, no traceback, nothing written."""
    code, said = invoke(*words, "--out", tmp_path / "o", "--report", tmp_path / "r")

    assert code == 1
    assert why in said.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_cannot_be_reached_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a network a downloaded file still works, and the line says so."""
    pytest.importorskip("datasets")
    import datasets

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    code, said = invoke("convert", "xlam", "Salesforce/xlam", "--out", tmp_path / "o", "--report", tmp_path / "r")

    assert code == 1
    assert "Cannot load Salesforce/xlam from the hub: Couldn't reach the Hub. A downloaded file" in said
    assert list(tmp_path.iterdir()) == []
