"""From an example to token ids and label spans: what is learned is exactly what the assistant has to write.

Covers: rendering as inference renders it, the spans of the assistant's turns, the prefix property, one BOS.
Does not cover: batches (training.packing).

Labels are the content of every assistant turn and the ``<|eot_id|>`` that ends it. The spans come from the rendering
itself, not from a scan for headers, which a forged header in someone's text could mislead: a turn's span starts where
the prompt of that turn ends. That prompt is rendered and tokenised on its own, as inference does it, and must be a
token prefix of the whole conversation; otherwise the model would be trained on tokens that it never sees when used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import SetupError
from harness.prompt import BOS, EOT, PromptSpec, render_llama3
from training.examples import Example

IGNORED = -100  # the label that torch's cross entropy and transformers leave out
CHUNK = 512  # examples tokenised at a time

Encode = Callable[[Sequence[str]], list[list[int]]]  # texts to token ids, special tokens read, none added


@dataclass(frozen=True, slots=True)
class Tokens:
    """One example as token ids; ``spans`` are the (start, end) that carry labels, in order."""

    id: str
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def labels(self) -> list[int]:
        """The id where a token is learned, IGNORED elsewhere; not shifted, as transformers has it."""
        labels = [IGNORED] * len(self.ids)
        for start, end in self.spans:
            labels[start:end] = self.ids[start:end]
        return labels

    @property
    def labelled(self) -> int:
        """How many tokens are learned."""
        return sum(end - start for start, end in self.spans)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer as training needs it."""

    encode: Encode
    bos: int
    eot: int
    pad: int


def read_vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a fast tokenizer of transformers.

    Raises:
        SetupError: it lacks the Llama 3 tokens, reads them as plain text, or pads with the token that ends a turn.
    """
    backend = tokenizer.backend_tokenizer

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in backend.encode_batch(list(texts), add_special_tokens=False)]

    bos, eot = encode([BOS, EOT])
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    if len(bos) != 1 or len(eot) != 1:
        raise SetupError(f"{name} does not know {BOS} and {EOT} as one token each. Use a base with the Llama 3 tokens.")
    pad = tokenizer.pad_token_id
    if pad is None or pad in {tokenizer.eos_token_id, eot[0]}:
        wanted = "a token of its own, such as <|finetune_right_pad_id|>"
        raise SetupError(f"{name} pads with {tokenizer.pad_token!r}, which is no token or ends a turn. Set {wanted}.")
    return Vocabulary(encode, bos[0], eot[0], pad)


def tokenise_examples(
    examples: Sequence[Example], prompt: PromptSpec, vocabulary: Vocabulary, *, max_length: int
) -> list[Tokens]:
    """Token ids and label spans of every example, in order.

    Raises:
        SetupError: an example is longer than ``max_length``, or its rendering is not what inference would send.
    """
    found: list[Tokens] = []
    for start in range(0, len(examples), CHUNK):
        found += _tokenise_chunk(examples[start : start + CHUNK], prompt, vocabulary)
    long = [tokens for tokens in found if len(tokens.ids) > max_length]
    if long:
        worst = max(long, key=lambda tokens: len(tokens.ids))
        raise SetupError(
            f"{len(long)} examples are longer than max_length {max_length}, e.g. {worst.id} with {len(worst.ids)} "
            "tokens; a call must not be cut off. Raise max_length or remove them."
        )
    return found


def _tokenise_chunk(examples: Sequence[Example], prompt: PromptSpec, vocabulary: Vocabulary) -> list[Tokens]:
    texts: list[str] = []
    for example in examples:
        messages = prompt.messages(example.messages, example.now)
        texts.append(render_llama3(messages, add_generation_prompt=False))
        turns = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        texts += [render_llama3(messages[:place]) for place in turns]
    encoded = iter(vocabulary.encode(texts))
    found = []
    for example in examples:
        ids = next(encoded)
        prompts = [next(encoded) for message in example.messages if message["role"] == "assistant"]
        found.append(_find_spans(example.id, ids, prompts, vocabulary))
    return found


def _find_spans(name: str, ids: list[int], prompts: Sequence[list[int]], vocabulary: Vocabulary) -> Tokens:
    """The spans of the turns that answer ``prompts``."""
    if ids[0] != vocabulary.bos or ids.count(vocabulary.bos) != 1:
        raise SetupError(f"{name} is rendered with {ids.count(vocabulary.bos)} BOS; it must be one, at the start.")
    spans = []
    for prompt in prompts:
        start = len(prompt)
        if ids[:start] != prompt:
            raise SetupError(
                f"{name}: the prompt of a turn is not a token prefix of the conversation, so training and inference "
                "would differ. The tokenizer merges across the start of a reply; split it there."
            )
        spans.append((start, ids.index(vocabulary.eot, start) + 1))
    return Tokens(name, tuple(ids), tuple(spans))
