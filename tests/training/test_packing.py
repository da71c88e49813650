"""Shared-prefix packing equals padded training, in the loss and in every gradient."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from tiny_llama import make_model

from training.masking import Tokens
from training.packing import (
    ATTENTION,
    attend_shared,
    common_prefix,
    pack_batch,
    pad_batch,
    plan_steps,
    register_attention,
    sum_loss,
)

PAD = 262


def make_tokens(count: int, *, prefix: int = 40, seed: int = 0, longest: int = 30) -> list[Tokens]:
    """Random examples behind one prefix, most of them with two labelled turns."""
    rng = random.Random(seed)
    head = [257, *(rng.randrange(256) for _ in range(prefix - 1))]
    found = []
    for number in range(count):
        ids = [*head, *(rng.randrange(256) for _ in range(rng.randint(5, longest)))]
        start = prefix + rng.randint(1, 3)
        spans = [(start, start + 2)]
        if len(ids) > start + 5:
            spans.append((start + 4, len(ids)))
        found.append(Tokens(f"e{number}", tuple(ids), tuple(spans)))
    return found


def make_peft(*, kv_heads: int = 4, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> Any:
    """A tiny Llama with LoRA matrices that are not zero, so that every gradient says something."""
    from peft import LoraConfig, get_peft_model

    register_attention()
    model = make_model(kv_heads=kv_heads, dtype=dtype)
    torch.manual_seed(1)
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", init_lora_weights=False,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    return get_peft_model(model, config).to(dtype).train()


def take_step(model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    model.base_model.model.set_attn_implementation(ATTENTION if "targets" in batch else "sdpa")
    model.zero_grad()
    loss = sum_loss(model, batch) / 100
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_packed_training_is_padded_training(kv_heads, count):
    """In float64 without dropout: loss within 1e-10, every LoRA gradient within 1e-6 of its size."""
    model, tokens = make_peft(kv_heads=kv_heads), make_tokens(count)

    padded, padded_grads = take_step(model, pad_batch(tokens, PAD))
    packed, packed_grads = take_step(model, pack_batch(tokens))

    assert abs(padded - packed) < 1e-10
    assert len(packed_grads) == 28
    for name, grad in padded_grads.items():
        assert (grad - packed_grads[name]).norm() < 1e-6 * grad.norm(), name


def test_a_continuation_does_not_see_the_others():
    """Changing one example changes nothing in the logits of the others."""
    model, tokens = make_peft().eval(), make_tokens(4)
    model.base_model.model.set_attn_implementation(ATTENTION)
    other = Tokens("x", tokens[1].ids[:41] + tuple((i + 1) % 256 for i in tokens[1].ids[41:]), tokens[1].spans)

    before, after = (compute_logits(model, [tokens[0], second, *tokens[2:]]) for second in (tokens[1], other))
    first, second = tokens[0].labelled, tokens[0].labelled + tokens[1].labelled

    assert torch.equal(before[:first], after[:first])
    assert torch.equal(before[second:], after[second:])
    assert not torch.allclose(before[first:second], after[first:second])


def test_the_gradient_of_the_attention_is_that_of_its_value():
    """torch's own numerical check of the written-out backward pass."""
    torch.manual_seed(0)
    layout = pack_batch(make_tokens(3, prefix=4, longest=6))[ATTENTION]
    length = 4 + layout["cells"].numel()
    query = torch.randn(1, 4, length, 3, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(1, 2, length, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def attend(*states: torch.Tensor) -> torch.Tensor:
        return attend_shared(None, *states, None, scaling=0.5, shared_prefix=layout)[0]

    assert torch.autograd.gradcheck(attend, (query, key, value))


def test_dropout_and_half_precision_run():
    """With dropout and under bf16 autocast the loss stays near that of float32, and gradients reach all of LoRA."""
    model, tokens = make_peft(dropout=0.05, dtype=torch.float32), make_tokens(6)
    exact, _ = take_step(model, pad_batch(tokens, PAD))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, grads = take_step(model, pack_batch(tokens))

    assert rough == pytest.approx(exact, rel=0.05)
    assert len(grads) == 28
    assert all(grad.any() and grad.isfinite().all() for grad in grads.values())


def test_an_unpacked_batch_is_refused():
    """Without its layout the attention would let every example see all others."""
    model = make_peft()
    model.base_model.model.set_attn_implementation(ATTENTION)

    with pytest.raises(RuntimeError, match=r"set_attn_implementation\('sdpa'\)"):
        model(input_ids=torch.tensor([[1, 2, 3]]))


def test_the_prefix_stops_before_the_first_label():
    """Equal prompts share all but the token whose logits are the first to be learned."""
    tokens = make_tokens(1)[0]

    assert common_prefix([tokens, tokens]) == tokens.spans[0][0] - 1
    assert common_prefix(make_tokens(5)) == 40
    assert pack_batch([tokens, tokens])["input_ids"].shape[1] < 2 * len(tokens.ids)


def test_a_plan_is_a_function_of_its_arguments():
    """The same seed gives the same plan, another seed another one, and every epoch holds every example."""
    tokens = make_tokens(50)
    plan = plan_steps(tokens, epochs=2, batch_size=8, micro_batch_size=8, seed=3)

    assert plan == plan_steps(tokens, epochs=2, batch_size=8, micro_batch_size=8, seed=3)
    assert plan != plan_steps(tokens, epochs=2, batch_size=8, micro_batch_size=8, seed=4)
    assert len(plan) == 14
    for epoch in (plan[:7], plan[7:]):
        seen = Counter(i for step in epoch for i in step.examples)
        assert set(seen) == set(range(50))
        assert sum(seen.values()) == 56


def test_parts_of_a_batch_add_up_to_it():
    """Micro batches are normalised by the labels of the whole batch, so their gradients sum to the batch's."""
    tokens = make_tokens(8)
    (whole,) = plan_steps(tokens, epochs=1, batch_size=8, micro_batch_size=8, seed=0)
    parts = plan_steps(tokens, epochs=1, batch_size=8, micro_batch_size=3, seed=0)

    assert len(parts) == 3
    assert sorted(i for part in parts for i in part.examples) == sorted(whole.examples)
    assert {part.batch_labels for part in parts} == {whole.batch_labels} == {sum(t.labelled for t in tokens)}


def test_batches_hold_examples_of_similar_length():
    """Less than a tenth of the cells are padding where lengths vary by a factor of ten."""
    tokens = make_tokens(512, longest=300)
    plan = plan_steps(tokens, epochs=1, batch_size=16, micro_batch_size=16, seed=0)
    cells = used = 0
    for step in plan:
        lengths = [len(tokens[i].ids) - 40 for i in step.examples]
        cells, used = cells + max(lengths) * len(lengths), used + sum(lengths)

    assert used / cells > 0.9


def compute_logits(model: Any, tokens: list[Tokens]) -> torch.Tensor:
    batch = pack_batch(tokens)
    batch.pop("targets")
    with torch.no_grad():
        return model(**batch, use_cache=False).logits[0]
