"""The base's last lesson, on a CPU: what its adapter will have to say, in every token, and still in no tool call.

Covers: going on from a pretrained base with conversations under the project's own system prompt, packed behind one copy
of it (training.packing), all weights trained, the weights written and a line said once a minute.
Does not cover: pretraining itself (training.nano.pretrain), the other files of the folder (training.nano.export).

A token that the base never read cannot be learnt by an adapter, since LoRA leaves the tied head as it is. So this text
has all offsets of the clock, JSON with every ending that a reply can have, and accents, besides what pretraining had.

    python -m training.nano.finish --base harness/embedded/nano-base --folder DATA --out OUT --minutes 40
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.prompt import render_llama3
from harness.targets.memory import keep_memory
from harness.types import Message
from training.examples import Example
from training.generator import MAKERS, times
from training.masking import Tokens, Vocabulary, read_vocabulary
from training.nano.corpus import (
    STYLES,
    ChatMaker,
    Style,
    copy_exercise,
    date_exercise,
    json_exercise,
    lookup_exercise,
    plain_messages,
    retell,
    widen_words,
)
from training.nano.human import ASKS
from training.packing import ATTENTION, pack_batch, register_attention, sum_loss
from training.recombine import recombine

SHARES = {"generated": 0.44, "handcrafted": 0.16, "lookup": 0.07, "request": 0.12, "other": 0.11, "ask": 0.02, "json": 0.03, "date": 0.03, "copy": 0.02}
KINDS = {"single": 0.30, "contrastive": 0.12, "compound": 0.16, "crud": 0.22, "multi_turn": 0.08, "negative": 0.12}
STYLE_SHARES: dict[Style, float] = {"full": 0.40, "brief": 0.12, "json": 0.48}
LONGEST = 900  # tokens of one conversation with its prompt


def draw_conversation(maker: ChatMaker, examples: Sequence[Example], rng: random.Random) -> list[Message]:
    """One conversation under the project's system prompt."""
    style = rng.choices(list(STYLE_SHARES), weights=list(STYLE_SHARES.values()))[0]
    moment = times.moment(rng)
    kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    stamp = moment.isoformat(timespec="seconds")
    if kind == "handcrafted" and examples:
        example = recombine(rng.choice(examples), maker.pools, rng)
        return [Message(role="system", content=maker.system(example.now, style)), *retell(example.messages, style=style)]
    if kind == "lookup":
        turns = lookup_exercise(rng, moment, style=style)
    elif kind == "request":
        turns = maker.human_request(rng, style=style)
    elif kind == "other":
        row = rng.choice(maker.others)
        turns = [Message(role="user", content=row.text), Message(role="assistant", content=maker.refusal(rng, row))]
    elif kind == "ask":
        row = rng.choice(maker.asks)
        turns = [Message(role="user", content=row.text), Message(role="assistant", content=ASKS[row.proposed])]
    elif kind == "json":
        turns = json_exercise(rng)
    elif kind == "date":
        turns = date_exercise(rng, moment)
    elif kind == "copy":
        turns = copy_exercise(rng)
    else:
        made = MAKERS[rng.choices(list(KINDS), weights=list(KINDS.values()))[0]](rng, moment)
        turns = plain_messages(made, style=style)
    return [Message(role="system", content=maker.system(stamp, style)), *turns]


def draw_batch(maker: ChatMaker, examples: Sequence[Example], vocabulary: Vocabulary, rng: random.Random, size: int) -> list[Tokens]:
    """``size`` conversations as tokens; every assistant turn is learnt."""
    found: list[Tokens] = []
    while len(found) < size:
        messages = draw_conversation(maker, examples, rng)
        turns = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        texts = [render_llama3(messages, add_generation_prompt=False), *(render_llama3(messages[:place]) for place in turns)]
        ids, *prompts = vocabulary.encode(texts)
        if len(ids) <= LONGEST:
            spans = tuple((len(prompt), ids.index(vocabulary.eot, len(prompt)) + 1) for prompt in prompts)
            found.append(Tokens(str(len(found)), tuple(ids), spans))
    return found


def main() -> None:
    """Train for the given minutes and write model.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder to go on from")
    parser.add_argument("--folder", type=Path, required=True, help="holds human_utterances.jsonl.gz and pretrain/*.txt.gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=48, help="conversations per step")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keep_memory()
    torch.manual_seed(arguments.seed)
    rng = random.Random(arguments.seed)
    widen_words(arguments.folder)
    maker = ChatMaker(arguments.folder)
    examples = maker.examples
    vocabulary = read_vocabulary(AutoTokenizer.from_pretrained(arguments.base))
    register_attention()
    model: Any = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32, attn_implementation=ATTENTION)
    model.train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers: tuple[torch.optim.Optimizer, ...] = (
        torch.optim.Muon(matrices, lr=arguments.lr, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=arguments.lr, betas=(0.9, 0.98), weight_decay=0.0),
    )
    print(f"{len(examples)} hand-written conversations; styles: {json.dumps(STYLES)}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    began = said = time.monotonic()
    step, losses, tokens = 0, [], 0
    while (done := (time.monotonic() - began) / (60 * arguments.minutes)) < 1:
        rate = min(1.0, (step + 1) / 40) * max(0.02, min(1.0, (1 - done) / 0.7))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * rate
        batch = pack_batch(draw_batch(maker, examples, vocabulary, rng, arguments.batch))
        with torch.autocast("cpu", torch.bfloat16):
            loss = sum_loss(model, batch) / len(batch["targets"])
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        tokens += batch["input_ids"].numel()
        losses.append(loss.item())
        if time.monotonic() - said > 60:
            said = time.monotonic()
            recent = losses[-50:]
            print(f"step {step} loss {sum(recent) / len(recent):.4f} rate {rate:.2f} {tokens / (said - began):,.0f} tokens/s {said - began:.0f} s", flush=True)
            write(model, arguments.out)
    write(model, arguments.out)
    print(f"trained {step} steps, {tokens / 1e6:.1f}M tokens, {step * arguments.batch:,} conversations", flush=True)


def write(model: Any, out: Path) -> None:
    """The weights in bf16, replacing the file at once."""
    weights = {name: p.detach().to(torch.bfloat16).contiguous() for name, p in model.state_dict().items() if name != "lm_head.weight"}
    part = out / "model.safetensors.part"
    save_file(weights, part, metadata={"format": "pt"})
    part.replace(out / "model.safetensors")


if __name__ == "__main__":
    main()
