"""Greedy decoding of plain Llama models, written for many short replies to prompts that share a long prefix.

Covers: models of class LlamaForCausalLM in one dtype, on one device, without 4-bit layers or unmerged adapters.
Does not cover: every other architecture; ``harness.targets.local`` sends those through transformers' generate.

Why not generate itself: it copies the prefix's keys and values to every row and reads them again at every step, and it
goes on computing rows that have finished. Here the prefix exists once; a step multiplies the queries of the whole batch
with it in one matrix product, joins the scores with those over each row's own tokens, and takes one softmax over both.
That is the same sum as full attention, so in fp32 the greedy tokens are those of ``model.generate`` (a test compares).
Imported by ``local`` alone, and only when a model is loaded: this file imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

READ_TOKENS = 2048  # prompt tokens of a batch that are read at once
GROW = 32  # columns by which a batch's own key/value buffers grow
# Finished rows are dropped when this share of the batch is done: dropping copies the other rows' keys and values.
DROP_SHARE = 0.125


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one decoder layer, with q, k, v and gate, up each as one matrix: fewer, larger products."""

    norm_in: Tensor
    qkv: Tensor
    out: Tensor
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(slots=True)
class Prefix:
    """Keys [kv heads, head size, tokens] and values [kv heads, tokens, head size] of shared tokens, per layer.

    Keys lie across (here and in the rows' own buffers), since MKL multiplies few queries with keys that lie along up to
    five times more slowly.
    """

    ids: list[int]
    keys: list[Tensor]
    values: list[Tensor]

    @classmethod
    def empty(cls, decoder: LlamaDecoder) -> Prefix:
        """No token: every prompt is read whole."""
        nothing = decoder.embed.new_zeros((decoder.kv_heads, 0, decoder.size))
        depth = len(decoder.layers)
        return cls([], [nothing.transpose(1, 2)] * depth, [nothing] * depth)

    def cut(self, length: int) -> Prefix:
        """The first tokens of the prefix; the keys are copied, to lie close again."""
        if length == len(self.ids):
            return self
        keys, values = [k[:, :, :length].contiguous() for k in self.keys], [v[:, :length] for v in self.values]
        return Prefix(self.ids[:length], keys, values)


def is_plain_llama(model: Any) -> bool:
    """True where this file computes what the model would."""
    config = model.config
    return (
        type(model).__name__ == "LlamaForCausalLM"
        and config.hidden_act == "silu"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
        and model.model.rotary_emb.rope_type in {"default", "linear", "llama3", "yarn"}  # the others depend on length
        and all(type(m) is torch.nn.Linear for n, m in model.named_modules() if n.endswith("_proj") or n == "lm_head")
        and len({p.dtype for p in model.parameters()}) == 1
        and len({p.device for p in model.parameters()}) == 1
    )


class LlamaDecoder:
    """Prefill and greedy decoding over a model's own weights; the model itself goes on working."""

    def __init__(self, model: Any) -> None:
        config = model.config
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.size: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps: float = config.rms_norm_eps
        self.embed: Tensor = model.model.embed_tokens.weight.detach()
        self.norm: Tensor = model.model.norm.weight.detach()
        self.head: Tensor = model.lm_head.weight.detach()
        self.rotary = model.model.rotary_emb
        self.layers = [_join_layer(layer) for layer in model.model.layers]
        self._cos = self._sin = self.embed.new_zeros((0, self.size))

    @torch.no_grad()
    def prefill(self, ids: Sequence[int]) -> Prefix:
        """Compute the prefix once."""
        rows = torch.tensor([list(ids)], device=self.embed.device)
        _, keys, values = self._read(Prefix.empty(self), rows, [0])
        return Prefix(list(ids), [k[0].transpose(1, 2).contiguous() for k in keys], [v[0] for v in values])

    @torch.no_grad()
    def generate(
        self, prefix: Prefix, suffixes: Sequence[Sequence[int]], max_new: int, stop: frozenset[int]
    ) -> Iterator[tuple[int, list[int]]]:
        """Greedy tokens of each row, the stop token included; a row comes as soon as it is finished.

        Every suffix needs at least one token. Shorter rows are padded on the left, so the longest should come first
        and the others by length.
        """
        device = self.embed.device
        longest = max(map(len, suffixes))
        pads = [longest - len(suffix) for suffix in suffixes]
        ids = torch.tensor([[0] * p + list(s) for p, s in zip(pads, suffixes, strict=True)], device=device)
        hidden, keys, values = self._read_rows(prefix, ids, pads)
        used, room = longest, longest + GROW
        rows = list(range(len(suffixes)))
        written: list[list[int]] = [[] for _ in rows]
        pad = torch.tensor(pads, device=device)
        done: set[int] = set()  # rows that are finished and still in the batch
        stop_ids = torch.tensor(sorted(stop), device=device)
        for step in range(max_new):
            tokens = functional.linear(hidden, self.head).argmax(-1)
            ended = torch.isin(tokens, stop_ids).tolist() if stop else [False] * len(rows)
            for place, token in enumerate(tokens.tolist()):
                row = rows[place]
                if row in done:
                    continue
                written[row].append(token)
                if ended[place] or step == max_new - 1:
                    done.add(row)
                    yield row, written[row]
            if len(done) == len(rows):
                return
            if len(done) >= max(1, DROP_SHARE * len(rows)):
                kept = [place for place, row in enumerate(rows) if row not in done]
                index = torch.tensor(kept, device=device)
                keys = [_grow_keys(k[..., :used].index_select(0, index)) for k in keys]
                values = [_grow_values(v[:, :, :used].index_select(0, index)) for v in values]
                room = used + GROW
                tokens, pad = tokens.index_select(0, index), pad.index_select(0, index)
                rows, done = [rows[place] for place in kept], set()
            elif used == room:
                keys, values = [_grow_keys(k) for k in keys], [_grow_values(v) for v in values]
                room = used + GROW
            hidden = self._step(prefix, tokens, (keys, values), used, pad)
            used += 1

    def _read_rows(self, prefix: Prefix, ids: Tensor, pads: Sequence[int]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """``_read`` in pieces that stay in the caches, into buffers with room for new tokens."""
        count, longest = ids.shape
        # Zeros, since a pad's weight of 0 times whatever memory holds could be no number.
        keys = [self.embed.new_zeros((count, self.kv_heads, self.size, longest + GROW)) for _ in self.layers]
        values = [self.embed.new_zeros((count, self.kv_heads, longest + GROW, self.size)) for _ in self.layers]
        hidden = []
        start = 0
        while start < count:
            # The first of a piece is its longest where rows come sorted: pads that all of them have are not read.
            end = min(count, start + max(1, READ_TOKENS // (longest - pads[start])))
            skip = min(pads[start:end])
            last, some_keys, some_values = self._read(
                prefix, ids[start:end, skip:], [p - skip for p in pads[start:end]]
            )
            hidden.append(last)
            for depth in range(len(self.layers)):
                keys[depth][start:end, :, :, skip:longest] = some_keys[depth].transpose(2, 3)
                values[depth][start:end, :, skip:longest] = some_values[depth]
            start = end
        return torch.cat(hidden), keys, values

    def _read(self, prefix: Prefix, ids: Tensor, pads: Sequence[int]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Run rows of tokens behind the prefix: last hidden state of each row, and its keys and values per layer.

        Both are [rows, kv heads, tokens, head size].
        """
        length = ids.shape[1]
        base = len(prefix.ids)
        pad = torch.tensor(pads, device=ids.device)
        column = torch.arange(length, device=ids.device)
        positions = (column[None] - pad[:, None]).clamp(min=0) + base
        cos, sin = self._rotation(base + length)
        cos, sin = cos[positions][:, :, None], sin[positions][:, :, None]
        # Row r, token i sees its own tokens pad[r] .. i; a pad sees itself, since a softmax over nothing is no number.
        own = (column[None, :] <= column[:, None])[None] & (column[None, None, :] >= pad[:, None, None])
        own = own | (column[None, :] == column[:, None])[None]
        seen = torch.zeros_like(own, dtype=self.embed.dtype).masked_fill_(~own, float("-inf"))[:, None]
        x = functional.embedding(ids, self.embed)
        keys, values = [], []
        for depth, layer in enumerate(self.layers):
            q, k, v = self._heads(layer, x, cos, sin)
            q = q.transpose(1, 2)
            keys.append(k.transpose(1, 2).contiguous())
            values.append(v.transpose(1, 2).contiguous())
            if depth == len(self.layers) - 1:
                # Only the last token of each row goes on; the others have given their keys and values.
                q, x, seen = q[:, :, -1:], x[:, -1:], seen[:, :, -1:]
            prefix_k = prefix.keys[depth].transpose(1, 2).contiguous()
            mixed = _attend_both(q, (prefix_k, prefix.values[depth]), (keys[-1], values[-1]), seen)
            x = self._finish(layer, x, mixed.transpose(1, 2).flatten(2))
        return _rms(x[:, -1], self.norm, self.eps), keys, values

    def _step(
        self, prefix: Prefix, tokens: Tensor, own: tuple[list[Tensor], list[Tensor]], used: int, pad: Tensor
    ) -> Tensor:
        """One new token per row: writes its keys and values into column ``used`` and returns the hidden states."""
        keys, values = own
        base = len(prefix.ids)
        count, group, scale = len(tokens), self.heads // self.kv_heads, self.size**-0.5
        cos, sin = self._rotation(base + used + 1)
        positions = base + used - pad
        cos, sin = cos[positions][:, None], sin[positions][:, None]
        columns = torch.arange(used + 1, device=tokens.device)
        hidden_pads = (columns[None] < pad[:, None])[None, :, None]  # [1, rows, 1, columns]
        any_pads = bool(hidden_pads.any())
        x = functional.embedding(tokens, self.embed)
        for depth, layer in enumerate(self.layers):
            q, k, v = self._heads(layer, x, cos, sin)
            keys[depth][..., used] = k
            values[depth][:, :, used] = v
            q = (q * scale).view(count, self.kv_heads, group, self.size)
            shared = q.transpose(0, 1).reshape(self.kv_heads, count * group, self.size)
            over_prefix = torch.bmm(shared, prefix.keys[depth]).view(self.kv_heads, count, group, base)
            over_own = torch.matmul(q, keys[depth][..., : used + 1]).transpose(0, 1)
            if any_pads:
                over_own.masked_fill_(hidden_pads, float("-inf"))
            weights = torch.cat([over_prefix, over_own], -1).softmax(-1)
            # A view whose rows are longer than what is multiplied: MKL takes it as it lies.
            rows = weights.view(self.kv_heads, count * group, base + used + 1)
            from_prefix = torch.bmm(rows[..., :base], prefix.values[depth])
            mixed = torch.matmul(weights[..., base:].transpose(0, 1), values[depth][:, :, : used + 1])
            mixed += from_prefix.view(self.kv_heads, count, group, self.size).transpose(0, 1)
            x = self._finish(layer, x, mixed.reshape(count, self.heads * self.size))
        return _rms(x, self.norm, self.eps)

    def _heads(self, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, rotated, and values: [..., heads, head size]."""
        joined = functional.linear(_rms(x, layer.norm_in, self.eps), layer.qkv)
        joined = joined.view(*x.shape[:-1], self.heads + 2 * self.kv_heads, self.size)
        middle = self.heads + self.kv_heads
        turned = _rotate(joined[..., :middle, :], cos, sin)
        return turned[..., : self.heads, :], turned[..., self.heads :, :], joined[..., middle:, :]

    def _finish(self, layer: Layer, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + functional.linear(mixed, layer.out)
        gate, up = functional.linear(_rms(x, layer.norm_mlp, self.eps), layer.gate_up).chunk(2, -1)
        return x + functional.linear(functional.silu(gate).mul_(up), layer.down)

    def _rotation(self, length: int) -> tuple[Tensor, Tensor]:
        if len(self._cos) < length:
            positions = torch.arange(max(length, 1024), device=self.embed.device)[None]
            cos, sin = self.rotary(self.embed[:1, None], positions)
            self._cos, self._sin = cos[0], sin[0]
        return self._cos, self._sin


def _join_layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        layer.input_layernorm.weight.detach(),
        _join_weights([attention.q_proj, attention.k_proj, attention.v_proj]),
        attention.o_proj.weight.detach(),
        layer.post_attention_layernorm.weight.detach(),
        _join_weights([mlp.gate_proj, mlp.up_proj]),
        mlp.down_proj.weight.detach(),
    )


def _join_weights(parts: Sequence[Any]) -> Tensor:
    """One matrix of several; the parts become views of it, so that a large model is not held twice."""
    joined = torch.cat([part.weight.detach() for part in parts])
    start = 0
    for part in parts:
        end = start + part.weight.shape[0]
        part.weight.data = joined[start:end]
        start = end
    return joined


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    scaled: Tensor = torch.rms_norm(x, weight.shape, weight, eps)
    return scaled


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned: Tensor = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned


def _attend_both(q: Tensor, prefix: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
    """Attention of [rows, heads, tokens, size] over the one prefix (all of it) and over each row's own tokens."""
    (prefix_k, prefix_v), (own_k, own_v) = prefix, own
    count, heads, length, size = q.shape
    grouped = heads != own_k.shape[1]
    if q.device.type != "cpu" or prefix_k.shape[1] == 0 or grouped:
        all_k = torch.cat([prefix_k.expand(count, -1, -1, -1), own_k], 2)
        all_v = torch.cat([prefix_v.expand(count, -1, -1, -1), own_v], 2)
        whole = functional.pad(seen, (prefix_k.shape[1], 0))
        return functional.scaled_dot_product_attention(q, all_k, all_v, attn_mask=whole, enable_gqa=grouped)
    # All rows' queries as one long row over the prefix, then both parts joined by their log-sum-exp: a third less time
    # than copying the prefix to every row.
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    long = q.transpose(1, 2).reshape(1, count * length, heads, size).transpose(1, 2)
    over_prefix, weight_prefix = flash(long, prefix_k[None], prefix_v[None])
    over_prefix = over_prefix.transpose(1, 2).reshape(count, length, heads, size).transpose(1, 2)
    weight_prefix = weight_prefix.reshape(heads, count, length).transpose(0, 1)
    over_own, weight_own = flash(q, own_k, own_v, attn_mask=seen)
    share = torch.sigmoid(weight_prefix - weight_own.reshape(count, heads, length))[..., None].to(q.dtype)
    mixed: Tensor = over_own + (over_prefix - over_own) * share
    return mixed


def _grow_keys(keys: Tensor) -> Tensor:
    return functional.pad(keys, (0, GROW))


def _grow_values(values: Tensor) -> Tensor:
    return functional.pad(values, (0, 0, 0, GROW))
