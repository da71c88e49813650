"""How fast the local target answers, in ratios within one run; absolute figures are printed (pytest -s).

Eight times as fast is a promise about waiting: that test takes wall time, for the same prompts both ways, and wants
idle cores. Half of the prompts are asked plainly before the batch and half after it, so that a drift of the speed meets
both. The other test takes CPU seconds.

The model is the embedded one: of random weights the two best tokens are often equal but for the last digit, and then
the order of a sum decides between them.
"""

from __future__ import annotations

import time

import pytest

pytest.importorskip("torch", reason="the local target needs torch")

from harness.prompt import load_prompt
from harness.targets import Decoding, Prompt, TargetSpec, load_target
from training.generator import generate

PROMPTS = 48  # one by one they take most of a minute; the evals have 1,053, and larger batches gain more
REPLY = 48  # tokens at most; a call has 30 to 60


@pytest.fixture(scope="module")
def target():
    with load_target(TargetSpec("local")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def prompts():
    """First turns of generated conversations, under the project's own system prompt."""
    spec = load_prompt()
    found = []
    for example in generate(PROMPTS, seed=3):
        messages = spec.messages(example.messages[:1], example.now)
        found.append(Prompt(tuple(messages), spec.render(example.messages[:1], example.now)))
    return found


@pytest.mark.slow
def test_generation_is_eight_times_as_fast_as_one_by_one(target, prompts):
    """Shared prefix and batches against plain model.generate over the same prompts; same tokens out."""
    import torch

    rows = [target.tokenizer(p.text, add_special_tokens=False, return_tensors="pt")["input_ids"] for p in prompts]
    pad = target.tokenizer.pad_token_id
    arguments = {
        "max_new_tokens": REPLY,
        "do_sample": False,
        "eos_token_id": sorted(target.stop),
        "pad_token_id": pad,
    }

    def answer_plainly(part):
        started = time.perf_counter()
        with torch.no_grad():
            out = [target.model.generate(ids, attention_mask=torch.ones_like(ids), **arguments) for ids in part]
        seconds = time.perf_counter() - started
        return seconds, [reply[0, ids.shape[1] :].tolist() for ids, reply in zip(part, out, strict=True)]

    dict(target.generate(prompts[:2], Decoding(2)))  # warm-up
    answer_plainly(rows[:1])
    before, first = answer_plainly(rows[: PROMPTS // 2])
    target._prefix = None  # what the warm-up has prefilled belongs into the time as well
    started = time.perf_counter()
    found = dict(target.generate(prompts, Decoding(REPLY)))
    together = time.perf_counter() - started
    after, second = answer_plainly(rows[PROMPTS // 2 :])

    plain = before + after
    for index, tokens in enumerate(first + second):
        assert target._complete(tokens, 0.0).text == found[index].text
        assert len(tokens) == found[index].tokens
    lengths = [row.shape[1] for row in rows]
    print(
        f"\n{PROMPTS} prompts of {min(lengths)}-{max(lengths)} tokens, {len(target._prefix.ids)} shared: "
        f"{together:.1f} s, one by one {plain:.1f} s: {plain / together:.1f} times as fast"
    )
    assert plain / together >= 8


@pytest.mark.slow
def test_one_prompt_alone_is_no_slower_than_plain_generate(target, prompts):
    """Latency is measured through the same decoder, with the shared prefix kept as a server keeps it."""
    target.prepare(prompts)
    alone, plain, waits = [], [], []
    for prompt in prompts[:6]:
        started = time.process_time()
        waits.append(target.time_one(prompt, Decoding(REPLY)).seconds)
        alone.append(time.process_time() - started)
        ids = target.tokenizer(prompt.text, add_special_tokens=False, return_tensors="pt")
        inputs = {name: ids[name] for name in ("input_ids", "attention_mask")}
        started = time.process_time()
        pad = target.tokenizer.pad_token_id
        target.model.generate(**inputs, max_new_tokens=REPLY, do_sample=False, pad_token_id=pad)
        plain.append(time.process_time() - started)
    seconds = f"{sum(alone):.2f} s against {sum(plain):.2f} s"
    print(f"\n{REPLY} tokens, {len(alone)} prompts, one at a time: {seconds}; waited at most {max(waits):.2f} s")
    assert sum(alone) < sum(plain)
