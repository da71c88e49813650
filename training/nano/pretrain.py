"""Pretrain the embedded base in minutes, on one GPU or on several of one host.

Covers: making the token streams on all cores, the model (weights named as transformers names Llama's), Muon with AdamW,
a schedule over a given number of seconds, a check on unseen conversations, the weights in files of at most 15 MiB.
Does not cover: the tokenizer (made before, on a CPU), putting the files together (training.nano.export).

    python -m training.nano.pretrain --folder DATA --tokenizer tokenizer.json --out OUT --seconds 400
    torchrun --nproc-per-node 2 -m training.nano.pretrain ...   (each GPU takes its own rows; gradients are averaged)
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from harness.prompt import load_prompt
from training.generator import MAKERS, times
from training.nano.corpus import ChatMaker, learnt_examples, plain_messages, prose, spoken, widen_words
from training.split import write_read

SHAPE: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 960, "num_hidden_layers": 8, "num_attention_heads": 6, "rope_theta": 10000.0, "rms_norm_eps": 1e-5}
LENGTH = 1024
SHARES = (0.84, 0.11, 0.05)  # conversations, prose, dialogues
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
DEVICE = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


class Attention(nn.Module):
    """Causal self-attention with rotary positions; as many key and value heads as heads."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(size, size, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """States [batch, length, size] and the rotary angles' cosine and sine -> what each position attends to."""
        b, t, c = x.shape
        q, k, v = (p(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = (y * cos + torch.cat((-y[..., y.shape[-1] // 2 :], y[..., : y.shape[-1] // 2]), -1) * sin for y in (q, k))
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, c))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(size, inner, bias=False), nn.Linear(size, inner, bias=False)
        self.down_proj = nn.Linear(inner, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """States -> states, each position alone."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One decoder layer."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        self.self_attn = Attention(shape["hidden_size"], shape["num_attention_heads"])
        self.mlp = MLP(shape["hidden_size"], shape["intermediate_size"])
        self.input_layernorm = nn.RMSNorm(shape["hidden_size"], shape["rms_norm_eps"])
        self.post_attention_layernorm = nn.RMSNorm(shape["hidden_size"], shape["rms_norm_eps"])

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attention, then the MLP, each on normalised states and added to them."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Body(nn.Module):
    """Embedding, layers, last norm."""

    def __init__(self, shape: dict[str, Any], vocabulary: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, shape["hidden_size"])
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["num_hidden_layers"]))
        self.norm = nn.RMSNorm(shape["hidden_size"], shape["rms_norm_eps"])


class Nano(nn.Module):
    """A Llama with a tied head; its state dict is LlamaForCausalLM's."""

    def __init__(self, vocabulary: int, shape: dict[str, Any] = SHAPE) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape, vocabulary)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = 0.02 / (2 * shape["num_hidden_layers"]) ** 0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids [batch, length] -> logits [batch, length, vocabulary]."""
        half = self.shape["hidden_size"] // self.shape["num_attention_heads"] // 2
        rates = self.shape["rope_theta"] ** (-torch.arange(half, device=ids.device, dtype=torch.float32) / half)
        angles = torch.arange(ids.shape[1], device=ids.device, dtype=torch.float32)[:, None] * rates
        angles = torch.cat((angles, angles), -1)
        cos, sin = angles.cos(), angles.sin()
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


@cache
def chat_maker(folder: Path) -> ChatMaker:
    """Made once in each process: it reads all examples and utterances."""
    widen_words(folder)
    return ChatMaker(folder)


def make_stream(task: tuple[str, str, str, int, int]) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.int64]]:
    """Tokens, loss weights (in quarters) and document starts of one worker's share of a stream."""
    kind, folder, tokenizer_file, seed, count = task
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(tokenizer_file)
    rng = random.Random(seed)
    path = Path(folder)
    if kind == "chat":
        maker = chat_maker(path)
        texts = [maker.chat_document(rng) for _ in range(count)]
    else:
        texts = ["<|begin_of_text|>" + text if kind == "prose" else text for i, text in enumerate((prose if kind == "prose" else spoken)(path, random.Random(0))) if i % count == seed]
    head, stop = tokenizer.encode("<|start_header_id|>assistant<|end_header_id|>").ids, tokenizer.token_to_id("<|eot_id|>")
    pieces, weights, starts, at = [], [], [], 0
    for start in range(0, len(texts), 2000):
        for encoding in tokenizer.encode_batch(texts[start : start + 2000]):
            ids = np.array(encoding.ids, dtype=np.uint16)
            weight = np.full(len(ids), 4 if kind == "prose" else 1, dtype=np.uint8)
            hits = np.flatnonzero((ids[:-2] == head[0]) & (ids[1:-1] == head[1]) & (ids[2:] == head[2])) if len(ids) > 3 else ()
            for hit in hits:
                end = hit + 3 + int(np.argmax(ids[hit + 3 :] == stop)) + 1
                weight[hit + 3 : end] = 4
            pieces.append(ids)
            weights.append(weight)
            starts.append(at)
            at += len(ids)
    return np.concatenate(pieces), np.concatenate(weights), np.array(starts)


def make_kind(kind: str, tasks: list[tuple[str, str, str, int, int]], pool: Any, out: Path, stop: Any = None) -> None:
    """Make one stream on all cores of a pool and leave it in ``out`` as arrays, whole or not at all."""
    parts = []
    for part in pool.imap(make_stream, tasks):
        if stop is not None and stop.is_set():
            return
        parts.append(part)
    offsets = np.cumsum([0, *(len(p[0]) for p in parts)])
    starts = np.concatenate([p[2] + o for p, o in zip(parts, offsets, strict=False)])
    ids = np.concatenate([p[0] for p in parts]).astype(np.int16)
    starts = starts[starts < len(ids) - LENGTH - 1]
    print(f"{kind}: {len(starts):,} documents, {len(ids):,} tokens", flush=True)
    work = out.with_name(out.name + ".new")
    work.mkdir(parents=True, exist_ok=True)
    for name, array in (("ids", ids), ("weights", np.concatenate([p[1] for p in parts])), ("starts", starts)):
        np.save(work / f"{name}.npy", array)
    work.rename(out)


def make_streams(folder: Path, tokenizer: Path, documents: int, workers: int, out: Path, stop: Any) -> None:
    """Prose, dialogues and a first lot of conversations; then one lot after the other, so that none is read twice.

    The first lot is a fifth of the others: training begins with it while the next is made.
    """
    out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for kind in ("prose", "spoken"):
            make_kind(kind, [(kind, str(folder), str(tokenizer), i, workers) for i in range(workers)], pool, out / kind)
        lot = 0
        while not stop.is_set():
            shares = max(1, min(workers * 4, documents // 200))
            size = max(1, documents // shares // (1 if lot else 5))
            make_kind("chat", [("chat", str(folder), str(tokenizer), 1000 + 10_000 * lot + i, size) for i in range(shares)], pool, out / f"chat{lot}", stop)
            if lot > 1:
                shutil.rmtree(out / f"chat{lot - 2}", ignore_errors=True)
            lot += 1


def read_stream(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, weights and starts of the documents of a stream, on this process's device."""
    ids, weights, starts = (torch.from_numpy(np.load(folder / f"{name}.npy")).to(DEVICE) for name in ("ids", "weights", "starts"))
    return ids, weights, starts


def newest_lot(out: Path) -> int:
    """The number of the last complete lot of conversations, -1 before the first."""
    return max((int(folder.name[4:]) for folder in out.glob("chat*") if folder.suffix != ".new"), default=-1)


def agree(number: float) -> float:
    """What the first process says, on all of them."""
    if WORLD == 1:
        return number
    said = torch.tensor([number], device=DEVICE, dtype=torch.float64)
    torch.distributed.broadcast(said, 0)
    return float(said[0])


def draw(streams: list[tuple[Tensor, Tensor, Tensor]], rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Token ids [rows, LENGTH + 1] and weights of the same shape; each row starts at the start of a document."""
    ids, weights = [], []
    span = torch.arange(LENGTH + 1, device=DEVICE)
    for share, (tokens, weight, starts) in zip(SHARES, streams, strict=True):
        pick = torch.randint(len(starts), (max(1, round(rows * share)),), device=DEVICE, generator=generator)
        where = starts[pick][:, None] + span
        ids.append(tokens[where].long())
        weights.append(weight[where].float())
    return torch.cat(ids)[:rows], torch.cat(weights)[:rows]


@torch.no_grad()
def greedy(model: nn.Module, prompts: list[list[int]], stop: int, pad: int, limit: int = 110) -> list[list[int]]:
    """Greedy continuations, all rows at once, without a cache (the model is tiny, the GPU is not)."""
    lengths = [len(p) for p in prompts]
    ids = torch.full((len(prompts), max(lengths) + limit), pad, device=DEVICE)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt, device=DEVICE)
    at = torch.tensor(lengths, device=DEVICE)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=DEVICE)
    rows = torch.arange(len(prompts), device=DEVICE)
    for _ in range(limit):
        width = int(at.max())
        with torch.autocast(DEVICE.split(":", maxsplit=1)[0], torch.bfloat16):
            picks = torch.cat([model(part)[torch.arange(len(part), device=DEVICE), where - 1].argmax(-1) for part, where in zip(torch.split(ids[:, :width], 128), torch.split(at, 128), strict=True)])
        ids[rows, at] = torch.where(done, pad, picks)
        done |= picks == stop
        at = torch.where(done, at, at + 1).clamp(max=ids.shape[1] - 1)
        if bool(done.all()):
            break
    return [ids[row, lengths[row] : int(at[row]) + 1].tolist() for row in range(len(prompts))]


def check(model: nn.Module, tokenizer: Tokenizer, folder: Path) -> None:
    """Print how many unseen generated turns and human utterances are acknowledged exactly as they should be."""
    maker = ChatMaker(folder)
    rng = random.Random(99)
    vocabulary = tokenizer.get_vocab()
    stop, pad = vocabulary["<|eot_id|>"], vocabulary["<|finetune_right_pad_id|>"]
    prompts, golds, kinds = [], [], []
    for kind in MAKERS:
        for _ in range(120):
            moment = times.moment(rng)
            messages = plain_messages(MAKERS[kind](rng, moment), style="full")
            stamp = moment.isoformat(timespec="seconds")
            prompts.append(tokenizer.encode(maker.prompt.render(messages[:-1], stamp)).ids)
            golds.append(messages[-1]["content"])
            kinds.append(kind)
    replies = [tokenizer.decode([i for i in out if i not in (stop, pad)]) for out in greedy(model, prompts, stop, pad)]
    for kind in MAKERS:
        pairs = [(r.strip(), g) for r, g, k in zip(replies, golds, kinds, strict=True) if k == kind]
        print(f"{kind}: exact {sum(r == g for r, g in pairs)}/{len(pairs)}, same action {sum(r[:12] == g[:12] for r, g in pairs)}/{len(pairs)}")
        for r, g in [p for p in pairs if p[0] != p[1]][:4]:
            print(f"   got  {r!r}\n   gold {g!r}")


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """The mean of the gradients over all processes, in one message."""
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    torch.distributed.all_reduce(flat)
    flat /= WORLD
    for grad, part in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))


def write_parts(model: nn.Module, out: Path) -> None:
    """The weights in bf16, in files of at most 15 MiB."""
    weights = {name: p.detach().to(torch.bfloat16).contiguous().cpu() for name, p in model.state_dict().items()}
    out.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    for name in sorted(weights):
        if sum(t.numel() * 2 for t in parts[-1].values()) + weights[name].numel() * 2 > 15 * 2**20:
            parts.append({})
        parts[-1][name] = weights[name]
    for number, part in enumerate(parts):
        save_file(part, out / f"part{number}.safetensors.new")
        (out / f"part{number}.safetensors.new").replace(out / f"part{number}.safetensors")


def main() -> None:
    """Make the streams, train for the given seconds, check, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="utterances and pretrain/*.txt.gz")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=400, help="time to train, without compilation")
    parser.add_argument("--documents", type=int, default=1_000_000, help="conversations' documents of a lot; the next lot is made meanwhile")
    parser.add_argument("--rows", type=int, default=128, help="rows of 1,024 tokens per step and process")
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="folder with part*.safetensors to go on from")
    parser.add_argument("--no-check", action="store_true", help="write the weights and stop")
    parser.add_argument("--hold", type=float, default=0.35, help="share of the time at the full rate, before it falls")
    parser.add_argument("--save-every", type=float, default=100, help="seconds between two writes of the weights")
    arguments = parser.parse_args()
    began = time.time()
    torch.manual_seed(arguments.seed)
    torch.set_float32_matmul_precision("high")
    if WORLD > 1:
        if DEVICE != "cpu":
            torch.cuda.set_device(DEVICE)
        torch.distributed.init_process_group("gloo" if DEVICE == "cpu" else "nccl", timeout=timedelta(minutes=10))
    made = arguments.out / "streams"
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    cores = os.cpu_count() or 1
    maker = context.Process(target=make_streams, args=(arguments.folder, arguments.tokenizer, arguments.documents, max(1, cores - 2 * WORLD), made, stop))
    if RANK == 0:
        shutil.rmtree(made, ignore_errors=True)
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_read(arguments.out / "read.lock", learnt_examples(load_prompt()))
        maker.start()
        while newest_lot(made) < 0 and maker.is_alive():
            time.sleep(0.5)
    lot = int(agree(newest_lot(made)))
    if lot < 0:
        raise SystemExit("No conversations could be made; the lines above say why.")
    streams = [read_stream(made / kind) for kind in (f"chat{lot}", "prose", "spoken")]
    say = print if RANK == 0 else (lambda *_, **__: None)
    say(f"streams after {time.time() - began:.0f} s", flush=True)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    model = Nano(tokenizer.get_vocab_size()).to(DEVICE)
    for part in sorted(arguments.init.glob("*.safetensors")) if arguments.init else ():
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(part).items()}, strict=False)
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    parameters = list(model.parameters())
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = torch.optim.Muon(matrices, lr=arguments.lr, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others, lr=arguments.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=DEVICE != "cpu")
    optimizers: tuple[torch.optim.Optimizer, ...] = (muon, adam)

    def loss_of(ids: Tensor, weights: Tensor) -> Tensor:
        logits = model(ids[:, :-1]).float()
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        flat = weights[:, 1:].flatten()
        return (losses * flat).sum() / flat.sum()

    compiled = torch.compile(loss_of) if DEVICE != "cpu" else loss_of
    generator = torch.Generator(DEVICE).manual_seed(arguments.seed * WORLD + RANK)
    start, saved, step, seen = 0.0, 0.0, 0, 0
    done = 0.0
    while True:
        if step % 10 == 0:  # all processes stop at the same step, and go on with the same rate
            done = agree((time.time() - start) / arguments.seconds if start else 0.0)
        if done >= 1:
            break
        if step % 100 == 0 and (newest := int(agree(newest_lot(made)))) > lot:
            lot, streams[0] = newest, read_stream(made / f"chat{newest}")
            say(f"lot {lot} of conversations at step {step}", flush=True)
        rate = min(1.0, (step + 1) / 150) * (1.0 if done < arguments.hold else max(0.02, 1 - (done - arguments.hold) / (1 - arguments.hold) * 0.98))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * rate
        ids, weights = draw(streams, arguments.rows, generator)
        with torch.autocast(DEVICE.split(":", maxsplit=1)[0], torch.bfloat16):
            loss = compiled(ids, weights)
        torch.autograd.backward(loss)
        if WORLD > 1:
            average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += ids.numel() * WORLD
        if step == 5:
            loss.item()  # waits for the device
            say(f"compiled after {time.time() - began:.0f} s", flush=True)
            start, saved, seen = time.time(), time.time(), 0
        if step % 250 == 0:
            say(f"step {step} loss {loss.item():.4f} lr {rate:.3f} tokens {seen / 1e6:.0f}M {seen / max(1e-9, time.time() - start) / 1e6:.2f}M/s {time.time() - start:.0f} s", flush=True)
        if RANK == 0 and start and time.time() - saved > arguments.save_every:
            write_parts(model, arguments.out)
            saved = time.time()
    say(f"trained {step} steps, {seen / 1e6:.0f}M tokens, loss {loss.item():.4f}", flush=True)
    if RANK == 0:
        write_parts(model, arguments.out)
        model.eval()
        stop.set()
        maker.join()
        if not arguments.no_check:
            check(model, tokenizer, arguments.folder)
        shutil.rmtree(made)
        print(f"all done after {time.time() - began:.0f} s", flush=True)
    if WORLD > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
