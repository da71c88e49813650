"""The tokenizer of the embedded base: byte-level BPE in which a word has the same tokens wherever it stands.

Covers: training on a sample of the text that base and adapter read, the folder that transformers reads.
Does not cover: the real Llama 3.2 tokenizer; the eight special tokens have its names, not its ids.

    python -m training.nano.tokenizer --folder DATA --out tokenizer.json

A space is a token of its own and punctuation joins in runs, so that a word copied from a sentence into a JSON string is the
same token after the quote as after the space. Digits go in pairs; ``:30``, ``-03`` and ``+02`` stay whole, since dates and
times are made of them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.generator import generate, words
from training.nano.corpus import ChatMaker, prose, spoken, widen_words

VOCABULARY = 5120
SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|finetune_right_pad_id|>",
)
PIECES = r"[:+\-]\p{N}\p{N}(?!\p{N})|\p{L}+|\p{N}{1,2}|(?:(?![:+\-]\p{N}\p{N}(?!\p{N}))[^\p{L}\p{N}])+"


def train_tokenizer(texts: Iterator[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of ``vocabulary`` entries, special tokens first."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, chat_template: str) -> None:
    """Write tokenizer.json, tokenizer_config.json and the chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "pad_token": "<|finetune_right_pad_id|>",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 2048,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def sample_texts(folder: Path, seed: int) -> Iterator[str]:
    """What base and adapter read, in the shares that decide which words become one token."""
    widen_words(folder)
    maker, rng = ChatMaker(folder), random.Random(seed)
    tools = maker.prompt.toolset.docs()
    for _ in range(22_000):
        text = maker.chat_document(rng)
        if tools not in text or rng.random() < 0.15:  # the tool docs would fill a third of the vocabulary
            yield text
    for example in generate(4_000, seed):
        yield " ".join(message["content"] for message in example.messages)
    for place, text in enumerate(prose(folder, random.Random(seed))):
        if place % 5 == 0:
            yield text
    for place, text in enumerate(spoken(folder, random.Random(seed))):
        if place % 3 == 0:
            yield text
    for row in maker.others[::2]:
        yield row.text
    for word in words.EXTRA[:6_000]:
        yield f"{word} {word}"


def main() -> None:
    """Train the tokenizer and write its file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="holds human_utterances.jsonl.gz and pretrain/*.txt.gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    train_tokenizer(sample_texts(arguments.folder, arguments.seed)).save(str(arguments.out))


if __name__ == "__main__":
    main()
