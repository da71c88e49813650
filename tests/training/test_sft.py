"""A training run from end to end on a tiny base, killed and resumed ones included."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from harness.errors import SetupError
from harness.prompt import PromptSpec
from harness.toolset import load_toolset
from training.data import HANDCRAFTED, Dataset
from training.examples import load_examples, write_examples
from training.recipe import Recipe
from training.sft import TrainingError, attach_lora, check_moved, check_out, find_checkpoint, load_base, train_adapter

ROOT = Path(__file__).parents[2]
EXAMPLES = tuple(load_examples(HANDCRAFTED / "singles.jsonl")[:12])
DATASET = Dataset(EXAMPLES, close=(), doubles=())
SHORT = PromptSpec("You are a personal assistant. Answer with calls.\nCurrent time: {now}", load_toolset())


def make_recipe(**changes: Any) -> Recipe:
    entries = {"name": "tiny", "base": "toolgate/nano-base", "rank": 2, "alpha": 4, "learning_rate": 2e-3, "epochs": 2}
    return Recipe.model_validate(entries | {"batch_size": 4} | changes)


def run(base: Path, out: Path, **changes: Any) -> tuple[Path, str]:
    """A run in this process; the folder and what a person saw."""
    resume = changes.pop("resume", False)
    dataset = changes.pop("dataset", DATASET)
    seen = io.StringIO()
    console = Console(file=seen, width=120)
    folder = train_adapter(
        make_recipe(**changes), dataset, SHORT, base, out, resume=resume, checkpoint_every=2, console=console
    )
    return folder, seen.getvalue()


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_a_run_writes_an_adapter_that_peft_loads(tiny_base: Path, tmp_path: Path):
    """The folder holds weights, configuration, card and facts, no pickles and no paths; the adapter acts."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out, seen = run(tiny_base, tmp_path / "adapter")

    assert set(digests(out)) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "training.json"}
    assert not (tmp_path / "adapter.partial").exists()
    for name in ("README.md", "adapter_config.json", "training.json"):
        text = (out / name).read_text()
        assert "toolgate/nano-base" in text
        assert str(tmp_path) not in text
        assert str(tiny_base) not in text
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert (config["r"], config["lora_alpha"]) == (2, 4)
    facts = json.loads((out / "training.json").read_text())
    assert facts["data"]["digest"] == DATASET.digest
    assert facts["steps"] == 6
    assert "LoRA on linear layers" in seen
    assert "14 of 14" in seen

    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    ids = torch.arange(20)[None]
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, out)(ids).logits
    assert not torch.allclose(before, after)


def test_a_log_file_gets_plain_lines(tiny_base: Path, tmp_path: Path):
    """Without a terminal: a line per twentieth of the run with step, loss, speed and the time that is left; no bar."""
    _, seen = run(tiny_base, tmp_path / "adapter", epochs=20)
    lines = [line for line in seen.splitlines() if line.startswith("step ")]
    form = r"step \d+/60  loss \d+\.\d{3}  \d+\.\d examples/s  \d:\d\d:\d\d left"

    assert len(lines) == 20
    assert [line for line in lines if not re.fullmatch(form, line)] == []
    assert lines[-1].startswith("step 60/60")
    assert lines[-1].endswith("0:00:00 left")
    assert "\r" not in seen
    assert "training" not in seen.splitlines()[-1]


def test_a_slow_run_speaks_by_the_clock(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every line is due when more seconds than the limit went by."""
    monkeypatch.setattr("training.sft.SAY_AFTER", 0.0)
    _, seen = run(tiny_base, tmp_path / "adapter", epochs=20)

    assert sum(line.startswith("step ") for line in seen.splitlines()) == 60


def test_the_same_seed_gives_the_same_bytes(tiny_base: Path, tmp_path: Path):
    """Every file of two runs is equal, with dropout; another seed gives other weights."""
    first, _ = run(tiny_base, tmp_path / "one")
    again, _ = run(tiny_base, tmp_path / "two")
    other, _ = run(tiny_base, tmp_path / "three", seed=5)

    assert digests(first) == digests(again)
    assert digests(first)["adapter_model.safetensors"] != digests(other)["adapter_model.safetensors"]


@pytest.mark.parametrize("changes", [{"packing": "padded"}, {"micro_batch_size": 2}], ids=["padded", "two parts"])
def test_padded_and_divided_batches_train_the_same(tiny_base: Path, tmp_path: Path, changes):
    """Without dropout neither the packing nor the division of a batch changes the adapter beyond rounding."""
    packed, _ = run(tiny_base, tmp_path / "packed", dropout=0.0)
    other, _ = run(tiny_base, tmp_path / "other", dropout=0.0, **changes)
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (packed, other))

    assert one.keys() == two.keys()
    for name in one:
        # Adam divides by the size of the gradient, so rounding shows where a gradient is nearly zero.
        assert torch.allclose(one[name], two[name], atol=1e-3), name


def test_training_learns(tiny_base: Path, tmp_path: Path):
    """The loss falls."""
    out, _ = run(tiny_base, tmp_path / "adapter", epochs=10, learning_rate=0.02, rank=8, alpha=16)
    curve = json.loads((out / "training.json").read_text())["loss_curve"]

    assert curve[-1] < curve[0] - 0.05  # a random frozen head caps what LoRA can learn


@pytest.mark.slow
def test_a_killed_run_resumed_gives_the_same_adapter(tiny_base: Path, tmp_path: Path):
    """kill -9 in the middle, --resume: every file is that of a run that was left alone."""
    write_examples(tmp_path / "data.jsonl", EXAMPLES)
    (tmp_path / "r.toml").write_text(
        'name = "t"\nbase = "toolgate/nano-base"\nrank = 2\nepochs = 10\nbatch_size = 4\nmax_length = 9999\n'
    )

    def start(out: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "training", "train", "--recipe", str(tmp_path / "r.toml")]
        command += ["--data", str(tmp_path / "data.jsonl"), "--base", str(tiny_base), "--out", str(tmp_path / out)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*command, "--checkpoint-every", "3", *more], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )

    whole, killed = start("whole"), start("killed")
    work = tmp_path / "killed.partial"
    deadline = time.monotonic() + 240
    while find_checkpoint(work) is None and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    with pytest.raises(SetupError, match="Continue it with --resume"):
        check_out(tmp_path / "killed", work, resume=False)
    resumed = start("killed", "--resume")
    assert b"resuming after step" in resumed.communicate()[1]
    whole.communicate()

    assert (resumed.returncode, whole.returncode) == (0, 0)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_a_run_of_another_recipe_is_not_resumed(tiny_base: Path, tmp_path: Path):
    """Resuming with another rank would load matrices of another shape; the difference is named."""
    interrupt(tiny_base, tmp_path / "adapter")

    with pytest.raises(SetupError, match="of another run: recipe, recipe_digest differ"):
        run(tiny_base, tmp_path / "adapter", resume=True, rank=4)


def test_a_checkpoint_that_was_being_written_is_not_used(tiny_base: Path, tmp_path: Path):
    """Only checkpoints with their last file count."""
    work = interrupt(tiny_base, tmp_path / "adapter")
    newest = find_checkpoint(work)
    assert newest is not None
    (work / "checkpoint-999").mkdir()
    (work / "checkpoint-999" / "adapter_model.safetensors").write_bytes(b"half")

    assert find_checkpoint(work) == newest


def test_a_finished_adapter_is_not_overwritten(tiny_base: Path, tmp_path: Path):
    """A folder with something in it stays as it is."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "mine.txt").write_text("x")

    with pytest.raises(SetupError, match="is not empty"):
        run(tiny_base, tmp_path / "adapter")


def test_a_loss_that_is_no_number_stops_the_run(tiny_base: Path, tmp_path: Path):
    """The step and the examples of its batch are named, and no adapter appears."""
    broken = tmp_path / "base"
    make_broken(tiny_base, broken)

    with pytest.raises(TrainingError, match=r"loss of step 1 is nan; its examples: hc-"):
        run(broken, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_matrices_that_stay_zero_are_refused(tiny_base: Path):
    """A fresh adapter has not moved: lora_B is zero everywhere."""
    recipe = make_recipe()
    model = attach_lora(recipe, load_base(recipe, tiny_base))

    with pytest.raises(TrainingError, match="14 LoRA matrices did not move from zero"):
        check_moved(model)


def test_a_base_with_too_few_embeddings_is_refused(tiny_base: Path, tmp_path: Path):
    """A tokenizer of another base gives ids that the model does not have; said before training."""
    from tiny_llama import make_tokenizer

    other = tmp_path / "base"
    make_broken(tiny_base, other, nan=False)
    make_tokenizer(specials=[*(f"<|x{n}|>" for n in range(99)), *SPECIAL_TOKENS]).save_pretrained(other)

    with pytest.raises(TrainingError, match="token ids: up to"):
        run(other, tmp_path / "adapter")


def test_a_base_that_is_none_is_refused(tmp_path: Path):
    """One line, not transformers' traceback."""
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(SetupError, match="Cannot load the base"):
        load_base(make_recipe(), tmp_path)


SPECIAL_TOKENS = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")


def make_broken(base: Path, folder: Path, *, nan: bool = True) -> None:
    """A copy of the tiny base, with a weight that is no number."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    if nan:
        model.model.norm.weight.data[0] = torch.nan
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def interrupt(base: Path, out: Path) -> Path:
    """A run that stops in its middle: its console breaks while it is written to, after a checkpoint exists."""

    class Breaking(io.StringIO):
        def write(self, text: str) -> int:
            if find_checkpoint(work) is not None:
                raise KeyboardInterrupt
            return super().write(text)

    work = out.with_name(out.name + ".partial")
    with pytest.raises(KeyboardInterrupt):
        train_adapter(
            make_recipe(), DATASET, SHORT, base, out, checkpoint_every=2, console=Console(file=Breaking(), width=120)
        )
    return work
