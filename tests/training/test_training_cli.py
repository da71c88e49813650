"""The command line of training, as a person meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import find_duplicates
from training.cli import app
from training.examples import load_examples, write_examples

ROOT = Path(__file__).parents[2]
RECIPE = 'name = "t"\nbase = "toolgate/nano-base"\nrank = 2\nalpha = 4\nepochs = 1\nbatch_size = 4\nmax_length = 9999\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "r.toml"
    file.write_text(RECIPE)
    return file


def invoke(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def test_data_that_was_written_is_trained_on(recipe: Path, tiny_base: Path, tmp_path: Path):
    """`data` writes what `train --data` reads, and training from it says where the adapter is."""
    code, out, _ = invoke("data", "--recipe", recipe, "--out", tmp_path / "all.jsonl")
    assert code == 0
    written = load_examples(tmp_path / "all.jsonl")
    assert f"wrote {len(written)} examples" in out
    assert find_duplicates([tmp_path / "all.jsonl"], ROOT / "evals" / "cases") == []
    write_examples(tmp_path / "few.jsonl", [e for e in written if e.pair is None and len(e.messages) == 2][:8])

    code, out, err = invoke(
        "train",
        "--recipe",
        recipe,
        "--data",
        tmp_path / "few.jsonl",
        "--base",
        tiny_base,
        "--out",
        tmp_path / "new",
    )

    assert code == 0, err
    assert "first batch of 4" in err
    assert (tmp_path / "new" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(("--recipe", "none.toml"), "Recipes of training/recipes: ", id="recipe"),
        pytest.param(("--recipe", "{recipe}", "--base", "nowhere"), "No base in nowhere", id="base"),
        pytest.param(("--recipe", "{recipe}", "--base", "{base}", "--data", "none.jsonl"), "Cannot read", id="data"),
        pytest.param(("--recipe", "{recipe}", "--base", "{base}", "--data", "{bad}"), "bad.jsonl:1: not", id="line"),
    ],
)
def test_errors_are_one_line(recipe: Path, tiny_base: Path, tmp_path: Path, words, why):
    """What is wrong, on stderr, with exit status 1 and without a traceback."""
    (tmp_path / "bad.jsonl").write_text("{oops\n")
    named = {"{recipe}": recipe, "{base}": tiny_base, "{bad}": tmp_path / "bad.jsonl"}

    code, out, err = invoke("train", *(named.get(word, word) for word in words), "--out", tmp_path / "x")

    assert (code, out) == (1, "")
    assert why in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("error: ")


@pytest.mark.parametrize("words", [[], ["train"], ["data"]], ids=lambda words: " ".join(words) or "all")
def test_help_teaches(words):
    """Every command explains itself."""
    code, out, _ = invoke(*words, "--help")

    assert code == 0
    assert len(out) > 300


def test_help_does_not_load_torch():
    """Asking for help is quick."""
    code = "import sys, training.cli; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
