"""How fast the local target answers, in ratios within one run; absolute figures are printed (pytest -s).

The model is random and has the shape of the embedded base; the prompts share about 550 tokens, as the real ones do.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the local target needs torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))  # for tiny_models

from harness.prompt import render_llama3
from harness.targets import Decoding, Prompt, TargetSpec, load_target
from harness.types import Message
from tiny_models import build_llama, write_tokenizer

SHAPE = {
    "vocab_size": 5120,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
}
PROMPTS = 128
PLAIN = 16  # of them one by one: 128 would take minutes and say the same
REPLY = 40


def make_words(rng: random.Random) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(3000)]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    build_llama(**SHAPE).save_pretrained(folder)
    write_tokenizer(folder, 5120, make_words(random.Random(0)))
    with load_target(TargetSpec("local", base=str(folder))) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def prompts():
    rng = random.Random(1)
    words = make_words(random.Random(0))
    system = " ".join(rng.choices(words, k=180))

    def ask(count: int) -> Prompt:
        user = " ".join(rng.choices(words, k=count))
        messages = (Message(role="system", content=system), Message(role="user", content=user))
        return Prompt(messages, render_llama3(messages))

    return [ask(5 + int(rng.expovariate(1 / 12))) for _ in range(PROMPTS)]


@pytest.mark.slow
def test_generation_is_eight_times_as_fast_as_one_by_one(target, prompts):
    """Shared prefix and batches against plain model.generate over the same prompts; same tokens out."""
    import torch

    rows = [target.tokenizer(p.text, add_special_tokens=False, return_tensors="pt")["input_ids"] for p in prompts]
    dict(target.generate(prompts[:2], Decoding(2)))  # warm-up
    started = time.process_time()
    found = dict(target.generate(prompts, Decoding(REPLY)))
    together = (time.process_time() - started) / PROMPTS

    chosen = range(0, PROMPTS, PROMPTS // PLAIN)
    plain = 0.0
    for index in chosen:
        ids = rows[index]
        started = time.process_time()
        with torch.no_grad():
            out = target.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=REPLY,
                do_sample=False,
                eos_token_id=sorted(target.stop),
                pad_token_id=6,
            )[0, ids.shape[1] :]
        plain += (time.process_time() - started) / PLAIN
        assert target._complete(out.tolist(), 0.0).text == found[index].text
        assert len(out) == found[index].tokens
    lengths = [row.shape[1] for row in rows]
    print(
        f"\n{PROMPTS} prompts of {min(lengths)}-{max(lengths)} tokens, {len(target._prefix.ids)} shared: "
        f"{together * 1000:.0f} ms each, one by one {plain * 1000:.0f} ms: {plain / together:.1f} times as fast"
    )
    assert plain / together >= 8


@pytest.mark.slow
def test_one_prompt_alone_is_no_slower_than_generate_with_a_cache(target, prompts):
    """Latency is measured with the decoder: it must not wait for what a user would not."""
    target.prepare(prompts)
    timed = sorted(target.time_one(prompt, Decoding(REPLY)).seconds for prompt in prompts[:9])
    whole = []
    for prompt in prompts[:3]:
        ids = target.tokenizer(prompt.text, add_special_tokens=False, return_tensors="pt")
        started = time.process_time()
        target.model.generate(**{k: ids[k] for k in ("input_ids", "attention_mask")}, max_new_tokens=REPLY,
                              do_sample=False, pad_token_id=6)
        whole.append(time.process_time() - started)
    print(f"\none alone: median {timed[4] * 1000:.0f} ms, slowest {timed[-1] * 1000:.0f} ms; generate {min(whole) * 1000:.0f} ms")
    assert timed[4] < min(whole)
