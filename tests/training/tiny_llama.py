"""A tokenizer over bytes with the Llama 3 tokens, and a random Llama: a base made in a second."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # libgomp reads it once, when torch starts

SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
)


def make_tokenizer(specials: Sequence[str] = SPECIALS, eos: str = "<|eot_id|>") -> Any:
    """Byte-level without merges but for the line break pair of a header, so that it needs no training."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*alphabet, "ĊĊ"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "Ċ")]))
    split = pre_tokenizers.Split(Regex(r"\s+|\S+"), behavior="isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|begin_of_text|>",
        eos_token=eos,
        pad_token="<|finetune_right_pad_id|>",
    )


def make_model(*, heads: int = 4, kv_heads: int = 4, dtype: Any = None, layers: int = 2, seed: int = 0) -> Any:
    """A random Llama of a few thousand weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        bos_token_id=257,
        eos_token_id=261,
        pad_token_id=262,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(dtype or torch.float32)
