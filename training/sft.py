"""One training run: recipe and examples in, adapter folder out.

Covers: loading the base, attaching LoRA, the checks before time is spent, the loop, checkpoints, resuming, the output.
Does not cover: what the examples are (training.data), how batches are packed (training.packing), whether the adapter is
good (the harness decides that).

The loop is transformers' Trainer; ours are the plan of batches, the collator and the loss. The plan is a function of
the recipe and the data, dropout draws from torch's generator, whose state is in every checkpoint: so the same seed
gives the same bytes on one machine with the same number of threads, also when the run was killed and resumed.
A finished run is one folder that appears at once; until then everything lies beside it in ``<out>.partial``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a shared CPU most of its speed

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar

from harness.errors import DataError, SetupError
from harness.prompt import EOT, PromptSpec
from harness.targets.memory import keep_memory
from training.data import Dataset, count_data, repeat_examples
from training.examples import Example
from training.masking import Tokens, Vocabulary, read_vocabulary, tokenise_examples
from training.packing import (
    ATTENTION,
    Step,
    common_prefix,
    pack_batch,
    pad_batch,
    plan_steps,
    register_attention,
    sum_loss,
)
from training.recipe import Recipe, base_name

PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")
DONE = "complete"  # the last file of a checkpoint: one without it was being written when the run was killed
MOVED_AFTER = 3  # optimiser steps until lora_B must have left zero; with a warm-up the first step has a rate of 0
SAY_AFTER, SAY_SHARE = 20.0, 0.05  # where no bar can be drawn: a line after so many seconds or so much of the steps
CURVE = 20  # points of the loss curve in training.json


class TrainingError(DataError):
    """A check of the run failed, or the loss is no number; says what to change."""


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base and what identifies it."""

    name: str  # as the adapter carries it
    digest: str
    model: Any
    tokenizer: Any


def train_adapter(
    recipe: Recipe,
    dataset: Dataset,
    prompt: PromptSpec,
    base: Path | str,
    out: Path,
    *,
    resume: bool = False,
    checkpoint_every: int = 50,
    console: Console | None = None,
) -> Path:
    """Train and write the adapter folder ``out``; returns it.

    Raises:
        SetupError: something that the run needs is missing, or ``out`` is taken.
        TrainingError: a check on the first batch or during the run failed.
    """
    console = console or Console(stderr=True)
    work = out.with_name(out.name + ".partial")
    check_out(out, work, resume=resume)
    loaded = load_base(recipe, base)
    vocabulary = read_vocabulary(loaded.tokenizer)
    examples = repeat_examples(
        dataset.examples, recipe.data.repeat, recombined=recipe.data.recombine, seed=recipe.seed
    )
    tokens = tokenise_examples(examples, prompt, vocabulary, max_length=recipe.max_length)
    micro = recipe.micro_batch_size or recipe.batch_size
    plan = plan_steps(
        tokens, epochs=recipe.epochs, batch_size=recipe.batch_size, micro_batch_size=micro, seed=recipe.seed
    )
    model = attach_lora(recipe, loaded)
    console.print(check_first_batch(recipe, loaded, model, vocabulary, examples, tokens, plan))
    facts = describe_run(recipe, dataset, prompt, loaded)
    prepare_work(work, facts, resume=resume)
    losses = run_trainer(recipe, model, tokens, plan, vocabulary.pad, work, checkpoint_every, console)
    finished = work / "adapter"
    write_adapter(finished, recipe, model, loaded, facts | summarise_losses(losses, tokens))
    finished.rename(out)
    shutil.rmtree(work)
    return out


def check_out(out: Path, work: Path, *, resume: bool) -> None:
    """Refuse to overwrite an adapter, or to forget an interrupted run."""
    if out.is_dir() and any(out.iterdir()):
        raise SetupError(f"{out} is not empty. Remove it, or give another --out.")
    if out.is_file():
        raise SetupError(f"{out} is a file. Give a folder as --out.")
    if find_checkpoint(work) is not None and not resume:
        raise SetupError(f"{work} holds an interrupted run. Continue it with --resume, or remove it.")


def load_base(recipe: Recipe, base: Path | str) -> Base:
    """The base in fp32 with the attention that the recipe's packing needs.

    Raises:
        SetupError: transformers cannot load it.
    """
    keep_memory()
    register_attention()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    attention = ATTENTION if recipe.packing == "shared_prefix" else "sdpa"
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation=attention)
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"Cannot load the base {base}: {str(error).splitlines()[0]}. See --base.") from None
    digest = digest_base(base) if isinstance(base, Path) else f"hub:{getattr(model.config, '_commit_hash', None)}"
    return Base(base_name(recipe), digest, model, tokenizer)


def digest_base(folder: Path) -> str:
    """``sha256:<hex>`` over the names and bytes of the files that make a base: weights, configuration, tokenizer."""
    total = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        with file.open("rb") as stream:
            total.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return "sha256:" + total.hexdigest()


def attach_lora(recipe: Recipe, base: Base) -> Any:
    """The base with fresh LoRA matrices on it, drawn from the recipe's seed."""
    set_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.target_modules,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base.model, config)


def check_first_batch(
    recipe: Recipe,
    base: Base,
    model: Any,
    vocabulary: Vocabulary,
    examples: Sequence[Example],
    tokens: Sequence[Tokens],
    plan: Sequence[Step],
) -> Table:
    """What is about to be trained, as a table.

    Raises:
        TrainingError: one of the silent failures of fine-tuning; names it.
    """
    batch = [tokens[i] for i in plan[0].examples]
    labelled, total = sum(t.labelled for t in batch), sum(len(t.ids) for t in batch)
    missing = [name for name, module in _linear_layers(base.model) if not isinstance(module, LoraLayer)]
    attached = sum(isinstance(module, LoraLayer) for _, module in _linear_layers(base.model))
    longest = max(len(t.ids) for t in tokens)
    prefix = common_prefix(batch)
    first, learned = examples[plan[0].examples[0]], batch[0]
    wanted = "".join(m["content"] + EOT for m in first.messages if m["role"] == "assistant")
    read = base.tokenizer.decode([i for i in learned.labels if i >= 0], clean_up_tokenization_spaces=False)
    largest, known = max(i for t in tokens for i in t.ids), model.get_input_embeddings().num_embeddings
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    table = Table("check", "found", "", title=f"{recipe.name}: first batch of {len(batch)}")
    checks = [
        ("tokens that are learned", f"{labelled} of {total} ({labelled / total:.1%})", 0 < labelled < total),
        ("they read as the replies", repr(read if len(read) <= 60 else read[:57] + "…"), read == wanted),
        ("BOS per example", "1", all(t.ids.count(vocabulary.bos) == 1 for t in batch)),
        ("pad is no end of turn", str(base.tokenizer.pad_token), vocabulary.pad != vocabulary.eot),
        ("token ids", f"up to {largest} of {known}", largest < known),
        ("longest example", f"{longest} of {recipe.max_length} tokens", longest <= recipe.max_length),
        ("shared prefix", f"{prefix} tokens, {recipe.packing}", prefix > 0),
        ("LoRA on linear layers", f"{attached} of {attached + len(missing)}", attached > 0 and not missing),
        ("trainable weights", f"{trainable:,} of {model.num_parameters():,}", trainable > 0),
    ]
    for name, found, right in checks:
        table.add_row(name, found, "ok" if right else "WRONG")
    if wrong := [f"{name}: {found}" for name, found, right in checks if not right]:
        lacks = f" (without LoRA: {', '.join(missing[:3])})" if missing else ""
        raise TrainingError(f"The first batch is wrong, nothing was trained: {'; '.join(wrong)}{lacks}.")
    return table


def describe_run(recipe: Recipe, dataset: Dataset, prompt: PromptSpec, base: Base) -> dict[str, Any]:
    """All that decides the adapter's bytes, and nothing that changes from run to run."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_digest": recipe.digest,
        "data": {
            "digest": dataset.digest,
            "examples": len(dataset.examples),
            "counts": count_data(dataset),
            "close_to_a_case": len(dataset.close),
            "doubles": len(dataset.doubles),
        },
        "prompt_digest": prompt.digest,
        "toolset_digest": prompt.toolset.digest,
        "base": {"name": base.name, "digest": base.digest},
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def prepare_work(work: Path, facts: dict[str, Any], *, resume: bool) -> None:
    """Make the folder of the run, or check that it is of this run.

    Raises:
        SetupError: the interrupted run had another recipe, data, base or machine.
    """
    file = work / "run.json"
    if resume and file.is_file():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if other := [name for name in facts if before.get(name) != facts[name]]:
            raise SetupError(
                f"{work} is of another run: {', '.join(other)} differ. Restore them, or remove it and start anew."
            )
    elif work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    _write(file, json.dumps(facts, indent=2) + "\n")


def find_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    found = [path for path in work.glob("checkpoint-*") if (path / DONE).is_file()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def run_trainer(
    recipe: Recipe,
    model: Any,
    tokens: Sequence[Tokens],
    plan: Sequence[Step],
    pad: int,
    work: Path,
    checkpoint_every: int,
    console: Console,
) -> list[float]:
    """Train ``model`` in place; the loss of every optimiser step comes back."""
    parts = _count_parts(recipe, len(tokens))
    steps = len(plan) // parts
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(work),
        use_cpu=not cuda,
        bf16=recipe.precision == "bf16",
        max_steps=steps,
        per_device_train_batch_size=1,  # of plan steps: each is a micro batch
        gradient_accumulation_steps=parts,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=math.ceil(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch",
        seed=recipe.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide what we stop at
        save_steps=checkpoint_every,
        save_total_limit=2,  # one is complete while the other is written
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        dataloader_num_workers=0,
        label_names=[],
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # a packed row cannot be cut over several GPUs by DataParallel
    watch = _Watch(recipe, plan, parts, tokens, console)
    trainer = _PlanTrainer(
        model=model,
        args=arguments,
        train_dataset=_PlanData(plan),
        data_collator=_Collator(tokens, recipe.packing, pad),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = find_checkpoint(work)
    if checkpoint is not None:
        console.print(f"resuming after step {checkpoint.name.rpartition('-')[2]} of {steps}")
    with watch.progress:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    check_moved(model)
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


def check_moved(model: Any) -> None:
    """Refuse a run in which an adapter matrix is still zero, as when gradients do not reach it.

    Raises:
        TrainingError: names the matrices.
    """
    still = [name for name, weight in model.named_parameters() if "lora_B" in name and not weight.detach().any()]
    if still:
        raise TrainingError(f"{len(still)} LoRA matrices did not move from zero, e.g. {still[0]}. Is the rate above 0?")


def summarise_losses(losses: Sequence[float], tokens: Sequence[Tokens]) -> dict[str, Any]:
    """The result in numbers; the final loss is the mean of the last twentieth of the steps."""
    size = max(1, len(losses) // CURVE)
    curve = [round(fmean(losses[at : at + size]), 4) for at in range(0, len(losses), size)]
    return {
        "steps": len(losses),
        "learned_tokens": sum(t.labelled for t in tokens),
        "final_loss": round(fmean(losses[-size:]), 4),
        "loss_curve": curve,
    }


def write_adapter(folder: Path, recipe: Recipe, model: Any, base: Base, facts: dict[str, Any]) -> None:
    """The PEFT folder, byte for byte the same for the same weights: no times, no paths, no pickles."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {name: state[name].detach().to("cpu", torch.float32).contiguous() for name in sorted(state)}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors writes it for its owner alone
    config = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": base.name, "inference_mode": True}
    plain = {name: _plain(value) for name, value in sorted(config.items())}
    _write(folder / "adapter_config.json", json.dumps(plain, indent=2) + "\n")
    _write(folder / "training.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    _write(folder / "README.md", write_card(recipe, base, facts))


def write_card(recipe: Recipe, base: Base, facts: dict[str, Any]) -> str:
    """The model card."""
    data = facts["data"]
    counts = "\n".join(
        f"| {group} | {name} | {count} |" for group, part in data["counts"].items() for name, count in part.items()
    )
    shown = {k: v for k, v in facts["recipe"].items() if k not in {"data", "name", "base"} and v is not None}
    entries = "\n".join(f"| {name} | {value} |" for name, value in shown.items())
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return f"""---
base_model: {base.name}
library_name: peft
license: apache-2.0
pipeline_tag: text-generation
tags: [lora, tool-calling, toolgate]
---

# {recipe.name}

A LoRA adapter that makes `{base.name}` call the tools of `personal_assistant`: tasks, calendar, weather, e-mail.
It answers with one JSON block per call, and with plain text where no tool fits. Whether it may be used is decided by
`pytest evals/`, not by the loss below.

Final loss {facts["final_loss"]} after {facts["steps"]} steps of {recipe.batch_size} examples.

## Data

{data["examples"]} examples, `{data["digest"]}`. Left out: {data["close_to_a_case"]} close to an evaluation case,
{data["doubles"]} doubles.

| | what | examples |
|---|---|---|
{counts}

## Recipe

`{facts["recipe_digest"]}`

| entry | value |
|---|---|
{entries}

Base `{base.digest}`, prompt `{facts["prompt_digest"]}`.
Trained with {packages} on {facts["device"]} with {facts["threads"]} threads; `training.json` holds all of this.
"""


class _PlanData(torch.utils.data.Dataset[Step]):
    """The plan as a data set: one item is one forward pass, all epochs in a row."""

    def __init__(self, plan: Sequence[Step]) -> None:
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, place: int) -> Step:
        return self.plan[place]


class _Collator:
    """From a step of the plan to tensors."""

    def __init__(self, tokens: Sequence[Tokens], packing: str, pad: int) -> None:
        self.tokens, self.packing, self.pad = tokens, packing, pad

    def __call__(self, steps: Sequence[Step]) -> dict[str, Any]:
        (step,) = steps
        batch = [self.tokens[i] for i in step.examples]
        packed = pack_batch(batch) if self.packing == "shared_prefix" else pad_batch(batch, self.pad)
        return packed | {"batch_labels": step.batch_labels}


class _PlanTrainer(Trainer):
    """The Trainer with our order, and a loss that is the mean over the labelled tokens of the whole batch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.model_accepts_loss_kwargs = True  # else a batch in several parts would be divided twice

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        data: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(data)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return samples, samples[0]["batch_labels"] if samples else None

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        batch = {name: value for name, value in inputs.items() if name != "batch_labels"}
        loss: torch.Tensor = sum_loss(model, batch) / num_items_in_batch
        return loss


class _Watch(TrainerCallback):
    """Progress for a person, the marker of a complete checkpoint, and the reasons to stop early."""

    def __init__(
        self, recipe: Recipe, plan: Sequence[Step], parts: int, tokens: Sequence[Tokens], console: Console
    ) -> None:
        self.plan, self.parts, self.tokens, self.console = plan, parts, tokens, console
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TextColumn("{task.fields[rate]:.1f} examples/s"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.batch = min(recipe.batch_size, len(tokens))
        self.losses: list[float] = []
        self.first = self.said = 0  # the step that this process starts after, the step of the last line
        self.began = self.said_at = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.task = self.progress.add_task(
            "", total=state.max_steps, completed=state.global_step, loss=math.nan, rate=0.0
        )
        self.first = self.said = state.global_step
        self.began = self.said_at = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == min(MOVED_AFTER, state.max_steps):
            check_moved(model)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        loss, step = float(logs["loss"]), state.global_step
        if not math.isfinite(loss):
            passes = self.plan[(step - 1) * self.parts : step * self.parts]
            names = sorted({self.tokens[i].id for part in passes for i in part.examples})
            raise TrainingError(
                f"The loss of step {step} is {loss}; its examples: {', '.join(names)}. Lower learning_rate, "
                "or read them."
            )
        self.losses = [*self.losses[-19:], loss]
        speed = self.progress.tasks[0].speed or 0.0
        self.progress.update(self.task, completed=step, loss=fmean(self.losses), rate=speed * self.batch)
        if not self.console.is_terminal:
            self._say_step(step, state.max_steps)

    def _say_step(self, step: int, steps: int) -> None:
        """A line for a log file, when the last one is long ago."""
        now = time.monotonic()
        if now - self.said_at < SAY_AFTER and step - self.said < steps * SAY_SHARE and step < steps:
            return
        self.said, self.said_at = step, now
        speed = (step - self.first) / max(now - self.began, 1e-9)
        left = timedelta(seconds=round((steps - step) / speed))
        # Without rich's own colours and wrapping: one line of text is one line of the file.
        self.console.out(
            f"step {step}/{steps}  loss {fmean(self.losses):.3f}  {speed * self.batch:.1f} examples/s  {left} left",
            highlight=False,
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file in folder.iterdir():
            _sync(file)
        _write(folder / DONE, "")


def _count_parts(recipe: Recipe, examples: int) -> int:
    """Forward passes per optimiser step, as ``plan_steps`` cuts them."""
    return -(-min(recipe.batch_size, examples) // (recipe.micro_batch_size or recipe.batch_size))


def _linear_layers(model: Any) -> list[tuple[str, Any]]:
    """The layers that "all-linear" means: every linear one but the output head."""
    head = model.get_output_embeddings()
    found: list[tuple[str, Any]] = []
    for name, module in model.named_modules():
        inside_lora = ".lora_" in name or name.endswith(".base_layer")
        if isinstance(module, LoraLayer | nn.Linear) and not inside_lora and module is not head:
            found.append((name, module))
    return found


def _plain(value: Any) -> Any:
    """A value as JSON, sets sorted: their order differs from run to run."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "value"):
        return value.value  # an enum of peft
    return value


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")
    _sync(file)


def _sync(file: Path) -> None:
    if file.is_file():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
