"""Many examples in one row that share one copy of their common prefix.

Covers: the plan of batches, the packed row and the padded batch, attention over prefix and own tokens, the loss.
Does not cover: the loop around it (training.sft).

All examples begin with the same system prompt, which is several times longer than what follows. A packed row is

    [ prefix | continuation 1 | continuation 2 | ... ]

where positions restart after the prefix and a continuation sees the prefix and itself only. So the prefix goes through
the model once for the batch, the linear layers see no padding, and logits exist at labelled positions only. A mask of
T x T would waste most of that again on a CPU. Instead attention has two parts: the scores of all continuations with the
prefix are one matrix product, those within the continuations are a small batched one, and one softmax runs over both.
That is the sum that full attention computes, so loss and gradients are those of padded training (the tests compare them
in float64). One difference remains with dropout: the tokens of the prefix draw one mask for the whole batch, where
padded training draws one per example; its expectation is the same.

It hooks into transformers as an attention implementation (``attn_implementation="shared_prefix"``) and one keyword of
the forward pass, so the model's modules and PEFT's stay untouched. Models whose layers hand the keywords of the forward
pass on to the attention function (Llama and those built after it) can use it; sliding windows cannot.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from training.masking import IGNORED, Tokens

ATTENTION = "shared_prefix"
BUCKET = 16  # batches that are sorted by length together; more = less padding, but batches of ever more alike examples


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass: which examples, and the number of labelled tokens of the whole batch they belong to."""

    examples: tuple[int, ...]
    batch_labels: int


def plan_steps(
    tokens: Sequence[Tokens], *, epochs: int, batch_size: int, micro_batch_size: int, seed: int
) -> list[Step]:
    """Every forward pass of a run, in order; ``ceil(batch_size / micro_batch_size)`` of them make a batch.

    A function of its arguments alone, so a resumed run skips what is done and goes on with the same plan. Batches hold
    examples of similar length; the last batch of an epoch is filled with examples of its beginning, so that all batches
    weigh the same.
    """
    rng = random.Random(seed)
    batch_size = min(batch_size, len(tokens))
    parts = -(-batch_size // micro_batch_size)
    steps: list[Step] = []
    for _ in range(epochs):
        order = list(range(len(tokens)))
        rng.shuffle(order)
        order += order[: -len(order) % batch_size]
        window = BUCKET * batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda i: len(tokens[i].ids))
            batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
        rng.shuffle(batches)
        for batch in batches:
            labels = sum(tokens[i].labelled for i in batch)
            # Every p-th example: parts of equal size, the short and the long ones spread evenly.
            steps += [Step(tuple(batch[part::parts]), labels) for part in range(parts)]
    return steps


def common_prefix(batch: Sequence[Tokens]) -> int:
    """Length of the longest common token prefix that leaves to each example the token before its first label."""
    limit = min(tokens.spans[0][0] for tokens in batch) - 1
    # The smallest and the largest sequence differ first where any two of them do.
    low, high = min(tokens.ids for tokens in batch), max(tokens.ids for tokens in batch)
    return next((i for i in range(limit) if low[i] != high[i]), limit)


def pack_batch(batch: Sequence[Tokens]) -> dict[str, Any]:
    """One packed row: arguments of the forward pass, and the ``targets`` of the logits that it keeps."""
    prefix = common_prefix(batch)
    ids, positions = list(batch[0].ids[:prefix]), list(range(prefix))
    keep: list[int] = []
    targets: list[int] = []
    lengths = [len(tokens.ids) - prefix for tokens in batch]
    for tokens in batch:
        shift = len(ids) - prefix
        ids += tokens.ids[prefix:]
        positions += range(prefix, len(tokens.ids))
        for start, end in tokens.spans:
            keep += range(start - 1 + shift, end - 1 + shift)
            targets += tokens.ids[start:end]
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "logits_to_keep": torch.tensor(keep),
        "targets": torch.tensor(targets),
        ATTENTION: _lay_out(prefix, lengths),
    }


def pad_batch(batch: Sequence[Tokens], pad: int) -> dict[str, Any]:
    """The usual batch: one row per example, padded on the right."""
    longest = max(len(tokens.ids) for tokens in batch)
    ids = torch.full((len(batch), longest), pad)
    labels = torch.full((len(batch), longest), IGNORED)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, tokens in enumerate(batch):
        size = len(tokens.ids)
        ids[row, :size] = torch.tensor(tokens.ids)
        labels[row, :size] = torch.tensor(tokens.labels)
        mask[row, :size] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def sum_loss(model: Any, batch: Mapping[str, Any]) -> Tensor:
    """The summed cross entropy of a batch's labelled tokens, packed or padded."""
    inputs = {name: value for name, value in batch.items() if name not in {"targets", "labels"}}
    logits = model(**inputs, use_cache=False).logits
    if "targets" in batch:
        logits, targets = logits[0], batch["targets"]
    else:
        logits, targets = logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten()
    # Half precision is too coarse for a sum of exponentials over the vocabulary; float64 stays as it is.
    logits = logits.float() if logits.dtype in {torch.bfloat16, torch.float16} else logits
    return functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")


def register_attention() -> None:
    """Make ``attn_implementation="shared_prefix"`` known to transformers."""
    AttentionInterface.register(ATTENTION, attend_shared)


def attend_shared(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # transformers builds none for an implementation without a mask function
    *,
    scaling: float,
    shared_prefix: Mapping[str, Any] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function: [1, heads, T, size] in, [1, T, heads, size] out.

    Raises:
        RuntimeError: the batch is not packed; without its layout every example would see all others.
    """
    if shared_prefix is None:
        raise RuntimeError("This model was set to shared-prefix attention. Call set_attn_implementation('sdpa') first.")
    # Under autocast the rotation leaves queries and keys in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    prefix = shared_prefix["prefix"]
    grouped = query.shape[1] != key.shape[1]
    head = functional.scaled_dot_product_attention(
        query[:, :, :prefix],
        key[:, :, :prefix],
        value[:, :, :prefix],
        is_causal=True,
        scale=scaling,
        enable_gqa=grouped,
    )
    tail = _Attend.apply(query[0], key[0], value[0], shared_prefix, scaling)  # type: ignore[no-untyped-call]
    return torch.cat([head[0], tail], 1).transpose(0, 1)[None], None


def _lay_out(prefix: int, lengths: Sequence[int]) -> dict[str, Any]:
    """Where the continuations lie: ``rows`` finds a padded table's cells in the row, ``cells`` the way back.

    Both ways are plain lookups, so the backward pass needs no sum in an order that may vary.
    """
    width = max(lengths)
    starts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
    column = torch.arange(width)
    used = column[None] < torch.tensor(lengths)[:, None]
    rows = torch.where(used, starts[:, None] + column[None], 0)
    return {"prefix": prefix, "rows": rows, "cells": used.flatten().nonzero()[:, 0]}


class _Attend(torch.autograd.Function):
    """Attention of the continuations; written out, since only the probabilities are worth keeping for backward."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Mapping[str, Any], scaling: float
    ) -> Tensor:
        prefix, rows, cells = layout["prefix"], layout["rows"], layout["cells"]
        width = rows.shape[1]
        groups, _, size = key.shape
        share = query.shape[0] // groups  # query heads per key head
        own = cells.numel()
        queries = query[:, prefix:].reshape(groups, share, own, size) * scaling
        scores = query.new_empty((groups, share, own, prefix + width))
        far, near = scores[..., :prefix], scores[..., prefix:]
        far.copy_((queries.flatten(1, 2) @ key[:, :prefix].mT).view(groups, share, own, prefix))
        table = _to_table(queries, rows) @ _to_table(key[:, None, prefix:], rows).mT
        table.masked_fill_(_future(width, query.device), float("-inf"))
        near.copy_(_to_row(table, cells))
        # In half precision the sum of exponentials needs more digits than its terms.
        exact = torch.float32 if scores.dtype in {torch.bfloat16, torch.float16} else scores.dtype
        weights = torch.softmax(scores, -1, dtype=exact).to(scores.dtype)
        out = (weights[..., :prefix].flatten(1, 2) @ value[:, :prefix]).view(groups, share, own, size)
        inner = _to_table(weights[..., prefix:], rows) @ _to_table(value[:, None, prefix:], rows)
        out += _to_row(inner, cells)
        ctx.save_for_backward(query, key, value, weights, out, rows, cells)
        ctx.prefix, ctx.scaling = prefix, scaling
        return out.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, out, rows, cells = ctx.saved_tensors
        prefix, scaling = ctx.prefix, ctx.scaling
        groups, share, own, size = out.shape
        grad = grads[0].reshape(out.shape)
        queries = query[:, prefix:].reshape(groups, share, own, size)
        used = _used(rows, cells)
        grad_table = _to_table(grad, rows) * used
        weight_table = _to_table(weights[..., prefix:], rows) * used
        # Softmax: the gradient of a score is weight * (gradient of the weight - what the row has of it in all).
        scores = torch.empty_like(weights)
        far, near = scores[..., :prefix], scores[..., prefix:]
        far.copy_((grad.flatten(1, 2) @ value[:, :prefix].mT).view(groups, share, own, prefix))
        near.copy_(_to_row(grad_table @ _to_table(value[:, None, prefix:], rows).mT, cells))
        scores -= (grad * out).sum(-1, keepdim=True)
        scores *= weights
        score_table = _to_table(near, rows) * used
        grad_query = (far.flatten(1, 2) @ key[:, :prefix]).view(groups, share, own, size)
        grad_query += _to_row(score_table @ _to_table(key[:, None, prefix:], rows), cells)
        full_query = torch.zeros_like(query)
        full_query[:, prefix:] = grad_query.mul_(scaling).flatten(0, 1)
        full_key, full_value = torch.empty_like(key), torch.empty_like(value)
        full_key[:, :prefix] = (far.flatten(1, 2).mT @ queries.flatten(1, 2)) * scaling
        full_key[:, prefix:] = (
            _to_row((score_table.mT @ _to_table(queries, rows)).sum(1, keepdim=True), cells)[:, 0] * scaling
        )
        full_value[:, :prefix] = weights[..., :prefix].flatten(1, 2).mT @ grad.flatten(1, 2)
        full_value[:, prefix:] = _to_row((weight_table.mT @ grad_table).sum(1, keepdim=True), cells)[:, 0]
        return full_query, full_key, full_value, None, None


def _to_table(flat: Tensor, rows: Tensor) -> Tensor:
    """[..., own, x] to [..., count, width, x]; cells without a token hold those of the first one."""
    return flat[..., rows.flatten(), :].reshape(*flat.shape[:-2], *rows.shape, flat.shape[-1])


def _to_row(table: Tensor, cells: Tensor) -> Tensor:
    """[..., count, width, x] to [..., own, x]."""
    return table.flatten(-3, -2)[..., cells, :]


def _used(rows: Tensor, cells: Tensor) -> Tensor:
    """1 where a cell of the table holds a token, [count, width, 1]."""
    used = torch.zeros(rows.numel(), dtype=torch.bool, device=rows.device)
    used[cells] = True
    return used.view(*rows.shape, 1)


def _future(width: int, device: torch.device) -> Tensor:
    return torch.ones((width, width), dtype=torch.bool, device=device).triu(1)
