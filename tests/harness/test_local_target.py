"""The local target against transformers' own generate, on tiny random models with real files."""

from __future__ import annotations

import pickle
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the local target needs torch")
pytest.importorskip("peft", reason="the local target needs peft")

from tiny_models import build_llama, edit_json, write_adapter, write_base

from harness.errors import SetupError, TargetError
from harness.prompt import EOT, render_llama3
from harness.targets import Decoding, LazyTarget, Prompt, TargetSpec, check_spec, load_target
from harness.types import Message

SYSTEM = "You help with tasks, events, weather and e-mail. " * 4


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def adapter(tmp_path_factory, base):
    return write_adapter(tmp_path_factory.mktemp("adapter"), base)


@pytest.fixture
def broken(tmp_path, adapter):
    """A copy of the adapter to be broken."""
    return Path(shutil.copytree(adapter, tmp_path / "broken"))


def ask(text: str, system: str = SYSTEM) -> Prompt:
    messages = (Message(role="system", content=system), Message(role="user", content=text))
    return Prompt(messages, render_llama3(messages))


PROMPTS = [ask("remind me to call mom " * (i % 7) + f"item {i}") for i in range(23)]


def generate_plainly(target, prompt: Prompt, max_tokens: int) -> list[int]:
    """One prompt through model.generate: what every other way has to equal."""
    import torch

    ids = target.tokenizer(prompt.text, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        out = target.model.generate(
            **{k: ids[k] for k in ("input_ids", "attention_mask")},
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=sorted(target.stop),
            pad_token_id=6,
        )
    return out[0, ids["input_ids"].shape[1] :].tolist()


def decode_all(target, prompts, max_tokens: int = 40):
    return dict(target.generate(prompts, Decoding(max_tokens=max_tokens)))


@pytest.mark.parametrize("engine", ["auto", "generate"])
@pytest.mark.parametrize("with_adapter", [True, False], ids=["adapter", "base alone"])
def test_batched_replies_are_those_of_plain_generate(base, adapter, engine, with_adapter):
    """In fp32 batching, the shared prefix and dropping finished rows change no token."""
    spec = TargetSpec("local", adapter if with_adapter else None, str(base), {"engine": engine, "batch_size": "9"})

    with load_target(spec) as target:
        replies = decode_all(target, PROMPTS)
        for index, prompt in enumerate(PROMPTS):
            tokens = generate_plainly(target, prompt, 40)
            ended = tokens[-1] in target.stop
            text = target.tokenizer.decode(tokens[:-1] if ended else tokens, clean_up_tokenization_spaces=False)

            assert text == replies[index].text
            assert len(tokens) == replies[index].tokens
            assert ended is not replies[index].truncated
    assert len({reply.text for reply in replies.values()}) > 5  # else the comparison says nothing


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"num_key_value_heads": 2}, id="grouped heads"),
        pytest.param({"tie_word_embeddings": False, "head_dim": 24}, id="own head, odd head size"),
        pytest.param(
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 500000.0,
                    "factor": 32.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 128,
                }
            },
            id="llama3 rope",
        ),
    ],
)
def test_other_llama_shapes_decode_the_same(changes):
    """The decoder follows the config: grouped heads, an untied head, scaled rotary positions."""
    import torch

    from harness.targets.llama import LlamaDecoder, is_plain_llama

    model = build_llama(3, **changes)
    prefix = [7 + i % 300 for i in range(150)]
    suffixes = [[20 + i * 11 % 300, *range(30, 30 + i % 9)] for i in range(12)]
    stop = frozenset([4, 33, 57, 91, 120, 200])

    assert is_plain_llama(model)
    decoder = LlamaDecoder(model)
    found = dict(decoder.generate(decoder.prefill(prefix), suffixes, 30, stop))
    for row, suffix in enumerate(suffixes):
        ids = torch.tensor([prefix + suffix])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=30,
            do_sample=False,
            eos_token_id=sorted(stop),
            pad_token_id=6,
        )
        assert out[0, ids.shape[1] :].tolist() == found[row]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_answers_too(base, adapter, dtype):
    """Not the same tokens as in fp32, but replies of the same kind."""
    with load_target(TargetSpec("local", adapter, str(base), {"dtype": dtype})) as target:
        replies = decode_all(target, PROMPTS[:5], max_tokens=8)

    assert all(0 < reply.tokens <= 8 for reply in replies.values())


def test_a_model_with_biases_goes_through_generate():
    """What the decoder does not compute is left to transformers."""
    from harness.targets.llama import is_plain_llama

    assert not is_plain_llama(build_llama(attention_bias=True))


def test_one_prompt_alone_gives_the_same_reply(base, adapter):
    """time_one differs from generate in nothing but the clock, with and without a prepared prefix."""
    with load_target(TargetSpec("local", adapter, str(base))) as target:
        unprepared = target.time_one(PROMPTS[3], Decoding(40))
        together = decode_all(target, PROMPTS)
        target.prepare(PROMPTS)
        alone = [target.time_one(prompt, Decoding(40)) for prompt in PROMPTS[:5]]

    assert unprepared.text == together[3].text
    assert [reply.text for reply in alone] == [together[i].text for i in range(5)]
    assert all(reply.seconds > 0 for reply in alone)


def test_a_prompt_unlike_the_prepared_ones_is_answered_too(base):
    """A prefix cache that does not fit is not used."""
    other = ask("hello", system="Other rules.")
    with load_target(TargetSpec("local", base=str(base))) as target:
        before = target.time_one(other, Decoding(20)).text
        target.prepare(PROMPTS)

        assert before == target.time_one(other, Decoding(20)).text
        assert {0} == set(decode_all(target, [other]))


def test_a_reply_that_reaches_the_limit_is_flagged(base):
    """Cut short is not the same as finished."""
    with load_target(TargetSpec("local", base=str(base))) as target:
        replies = decode_all(target, PROMPTS, max_tokens=2)

    assert all(reply.tokens <= 2 for reply in replies.values())
    assert any(reply.truncated for reply in replies.values())


def test_a_prompt_beyond_the_context_is_an_error_of_its_own(base):
    """One prompt that is too long does not stop the others."""
    with load_target(TargetSpec("local", base=str(base))) as target:
        replies = decode_all(target, [PROMPTS[0], ask("call mom " * 3000)], max_tokens=3)

    assert isinstance(replies[1], TargetError)
    assert "no room for a reply" in str(replies[1])
    assert not isinstance(replies[0], TargetError)


def test_a_prompt_near_the_end_of_the_context_leaves_the_others_alone(base):
    """Its reply has little room; those beside it are as long as ever."""
    with load_target(TargetSpec("local", base=str(base))) as target:
        long = next(ask("x " * n) for n in range(2100, 0, -1) if len(target._encode(ask("x " * n))) <= 2043)
        wanted = decode_all(target, PROMPTS[:3])
        found = decode_all(target, [*PROMPTS[:3], long])

    assert [wanted[i].text for i in range(3)] == [found[i].text for i in range(3)]
    assert found[3].tokens <= 2048 - 2042


def test_no_prompts_give_no_replies(base):
    with load_target(TargetSpec("local", base=str(base))) as target:
        assert decode_all(target, []) == {}


def test_the_merged_adapter_equals_the_unmerged_one(base, adapter):
    """Merging in fp32 changes no greedy token."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with load_target(TargetSpec("local", adapter, str(base))) as target:
        merged = [generate_plainly(target, prompt, 30) for prompt in PROMPTS[:6]]
        target.model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()

        assert merged == [generate_plainly(target, prompt, 30) for prompt in PROMPTS[:6]]


def test_adapter_and_base_alone_answer_differently(base, adapter):
    """The adapter acts, and leaving it out gives the base."""
    lazy = LazyTarget(TargetSpec("local", adapter, str(base)))
    alone = lazy.without_adapter()

    assert alone is not None
    assert alone.identity["adapter"] == "none"
    assert alone.identity["base"] == lazy.identity["base"]
    with lazy, alone:
        assert decode_all(lazy.load(), PROMPTS) != decode_all(alone.load(), PROMPTS)
    assert lazy.adapter_bytes == (adapter / "adapter_model.safetensors").stat().st_size


def test_the_identity_follows_the_bytes(base, adapter, broken):
    """Other adapter bytes, other dtype: other key in the store. The place of a folder does not matter."""
    spec = TargetSpec("local", adapter, str(base))
    identity = LazyTarget(spec).identity

    assert identity == LazyTarget(replace(spec, adapter=broken)).identity
    edit_json(broken / "adapter_config.json", lora_alpha=9)
    assert identity["adapter"] != LazyTarget(replace(spec, adapter=broken)).identity["adapter"]
    assert identity != LazyTarget(spec.with_options(dtype="bfloat16")).identity


def test_an_adapter_finds_the_base_that_it_names(base, adapter, broken):
    """Without --base the adapter's own base is taken."""
    edit_json(broken / "adapter_config.json", base_model_name_or_path=str(base))

    assert str(base) == check_spec(TargetSpec("local", broken)).base


def test_an_adapter_of_the_embedded_base_needs_no_option(base, broken, monkeypatch, tmp_path):
    """The name that training writes stands for the shipped folder, wherever the adapter lies and whatever lies here."""
    edit_json(broken / "adapter_config.json", base_model_name_or_path="toolgate/nano-base")
    monkeypatch.setattr("harness.targets.local.EMBEDDED_BASE", base)
    (tmp_path / "toolgate" / "nano-base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert check_spec(TargetSpec("local", broken)).base == str(base)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("/somewhere/base", "no such folder is here. Give its base with --base", id="absolute"),
        pytest.param("./base", "no such folder is here. Give its base with --base", id="relative"),
        pytest.param("my-base", "no such folder is here. Give its base with --base", id="plain"),
        pytest.param("someone/base", "Give its folder with --base, or --base someone/base to download it", id="hub"),
    ],
)
def test_an_adapter_whose_base_is_elsewhere_is_one_line(broken, monkeypatch, tmp_path, name, message):
    """A base that is not on this machine is named, with the option that helps; nothing is downloaded unasked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    edit_json(broken / "adapter_config.json", base_model_name_or_path=name)

    with pytest.raises(SetupError, match=re.escape(message)) as caught:
        check_spec(TargetSpec("local", broken))
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_downloaded_base_needs_no_option(broken, monkeypatch, tmp_path):
    """A hub id in the cache is taken by its name."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--someone--base" / "snapshots" / "abc").mkdir(parents=True)
    edit_json(broken / "adapter_config.json", base_model_name_or_path="someone/base")

    assert check_spec(TargetSpec("local", broken)).base == "someone/base"


@pytest.mark.slow
def test_a_4_bit_base_keeps_the_adapter_unmerged(base, adapter):
    """On a quantised base the adapter stays beside it, and acts."""
    pytest.importorskip("bitsandbytes", reason="4-bit bases need bitsandbytes")
    spec = TargetSpec("local", adapter, str(base), {"load_in_4bit": "true"})

    with load_target(spec) as target:
        assert any("lora_B" in name for name, _ in target.model.named_parameters())
        replies = decode_all(target, PROMPTS[:4], max_tokens=10)
        tokens = generate_plainly(target, PROMPTS[0], 10)
    with load_target(replace(spec, adapter=None)) as alone:
        assert [r.text for r in replies.values()] != [r.text for r in decode_all(alone, PROMPTS[:4], 10).values()]
    assert len(tokens) == replies[0].tokens


def cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def write_garbage(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 10) + b"not json!!" + b"\0" * 50)


def make_pickle(path: Path) -> None:
    path.rename(path.with_name("adapter_model.bin"))


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"lora_A": [0.0] * 100}))


def write_header(header: str) -> Callable[[Path], int]:
    return lambda path: path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0" * 4)


def spoil_numbers(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(str(path))
    weights[next(name for name in weights if "lora_B" in name)].fill_(float("nan"))
    save_file(weights, str(path))


def rename_tensor(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(str(path))
    name = next(name for name in weights if "lora_A" in name and "q_proj" in name)
    weights[name.replace("q_proj", "z_proj")] = weights.pop(name)
    save_file(weights, str(path))


@pytest.mark.parametrize(
    ("harm", "parts"),
    [
        pytest.param(Path.unlink, ["No adapter_model.safetensors in", "Train an adapter"], id="no weights"),
        pytest.param(make_pickle, ["adapter_model.bin is a pickle", "safe_serialization"], id="pickle"),
        pytest.param(cut_file, ["corrupt or cut short", "again"], id="cut short"),
        pytest.param(write_garbage, ["corrupt or cut short", "not JSON"], id="garbage"),
        pytest.param(lambda p: p.write_bytes(b""), ["corrupt or cut short"], id="empty file"),
        pytest.param(write_pickle, ["is a pickle", "safe_serialization"], id="pickle under another name"),
        pytest.param(write_header("[" * 100_000), ["corrupt or cut short"], id="deep header"),
        *(
            pytest.param(
                write_header(f'{{"x.lora_B.y": {{"dtype": "F32", "shape": [{n}], "data_offsets": [0{point}, 4]}}}}'),
                ["corrupt or cut short", "no whole numbers"],
                id=f"shape [{n}] at 0{point}",
            )
            for n, point in (("1e400", ""), ("NaN", ""), ("-1", ""), ("1", ".0"))
        ),
        pytest.param(lambda p: (p.parent / "adapter_config.json").unlink(), ["adapter_config.json"], id="no config"),
        pytest.param(
            lambda p: edit_json(p.parent / "adapter_config.json", peft_type="IA3"), ["'IA3'", "only LORA"], id="no LoRA"
        ),
        pytest.param(lambda p: (p.parent / "adapter_config.json").write_text("{"), ["is not JSON"], id="broken config"),
    ],
)
def test_a_broken_adapter_is_one_line_before_torch_loads(base, broken, harm, parts):
    """Each breakage names the file and the next step, from the header alone."""
    harm(broken / "adapter_model.safetensors")

    with pytest.raises(SetupError) as caught:
        check_spec(TargetSpec("local", broken, str(base)))
    assert "\n" not in str(caught.value)
    assert str(broken) in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_an_adapter_that_holds_no_numbers_is_one_line(base, broken):
    """NaN in the weights is found when they are merged."""
    spoil_numbers(broken / "adapter_model.safetensors")

    with pytest.raises(SetupError, match=r"is broken: NaN.*Train it again") as caught:
        load_target(TargetSpec("local", broken, str(base)))
    assert "\n" not in str(caught.value)


def test_tensors_without_a_place_are_refused(base, broken):
    """A tensor that lands nowhere, and one that is missing, stop the load: PEFT alone would only warn."""
    rename_tensor(broken / "adapter_model.safetensors")

    with pytest.raises(SetupError, match=r"1 missing .*1 without a place"):
        load_target(TargetSpec("local", broken, str(base)))


def test_an_untrained_adapter_is_refused(tmp_path, base):
    """lora_B all zero changes nothing: a gate would judge the base."""
    untrained = write_adapter(tmp_path / "zero", base, strength=0)

    with pytest.raises(SetupError, match=r"Every lora_B in .* is zero"):
        check_spec(TargetSpec("local", untrained, str(base)))


@pytest.mark.parametrize("changes", [{"hidden_size": 32}, {"intermediate_size": 96}, {"num_hidden_layers": 1}], ids=str)
def test_an_adapter_of_another_base_is_refused(tmp_path, adapter, changes):
    """A wrong base is told from the shapes, and the adapter's own base is named."""
    other = write_base(tmp_path / "other", **changes)

    with pytest.raises(SetupError, match=r"does not fit the base .*it names"):
        check_spec(TargetSpec("local", adapter, str(other)))


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        pytest.param("config.json", "has no config.json", id="no config"),
        pytest.param("model.safetensors", "holds no weights", id="no weights"),
        pytest.param("tokenizer.json", "has no tokenizer", id="no tokenizer"),
    ],
)
def test_an_incomplete_base_is_one_line(tmp_path, base, removed, message):
    """A base folder without one of its files is named with what it lacks."""
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    (copy / removed).unlink()

    with pytest.raises(SetupError, match=message):
        check_spec(TargetSpec("local", base=str(copy)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(TargetSpec("local", base="/nowhere/base"), "No base model at /nowhere/base", id="no base"),
        pytest.param(TargetSpec("local", Path("/nowhere/lora")), "No adapter folder at /nowhere/lora", id="no adapter"),
        pytest.param(TargetSpec("local", options={"dtype": "int3"}), "dtype='int3' is not possible", id="dtype"),
        pytest.param(TargetSpec("local", options={"temperature": "1"}), "no option 'temperature'", id="option"),
        pytest.param(TargetSpec("local", options={"batch_size": "0"}), "not a positive whole number", id="batch size"),
        pytest.param(TargetSpec("local", options={"load_in_4bit": "maybe"}), "is not a switch", id="switch"),
    ],
)
def test_an_impossible_request_is_one_line(spec, message):
    with pytest.raises(SetupError, match=message):
        check_spec(spec)


def test_corrupt_base_weights_are_one_line(tmp_path, base):
    """What only loading finds is one line as well."""
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    cut_file(copy / "model.safetensors")

    with pytest.raises(SetupError, match="Cannot load the base") as caught:
        load_target(TargetSpec("local", base=str(copy)))
    assert "\n" not in str(caught.value)


def test_checking_a_local_target_imports_no_torch(base, adapter):
    """A cold start, a check and an identity stay without torch and transformers."""
    code = (
        "import sys; from pathlib import Path; from harness.targets import *; import harness.runner\n"
        f"target = LazyTarget(TargetSpec('local', Path({str(adapter)!r}), {str(base)!r})); target.identity\n"
        "bad = {'torch', 'transformers', 'peft', 'requests'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_special_tokens_inside_a_reply_stay_visible(base):
    """The reader has to see what a user would get; only the end of turn is taken off."""
    with load_target(TargetSpec("local", base=str(base))) as target:
        ids = target.tokenizer("task<|python_tag|>list<|eot_id|>", add_special_tokens=False)["input_ids"]
        reply = target._complete(ids, 0.0)

    assert reply.text == "task<|python_tag|>list"
    assert EOT not in reply.text
    assert not reply.truncated
