"""A model on this machine: transformers + peft, with or without a LoRA adapter.

Covers: any base folder or hub id, fp32 on the CPU (or another dtype and device by option), 4-bit bases, batched greedy
decoding behind one shared prefix, and errors that say what is wrong with a folder before torch is loaded.
Does not cover: sampling, several GPUs, training. The only target that loads torch, and it does so in ``__init__``.

The adapter is merged into the base in memory, in the base's dtype (equal to the unmerged one in fp32); on a 4-bit base
it stays unmerged, since merging would round it to 4 bits. The store's key holds the bytes of adapter and base, the
versions of the libraries, dtype and device.

Plain Llama models are decoded by ``harness.targets.llama``; every other architecture by transformers' generate, still
behind a shared prefix. Which way is taken never depends on the prompts.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import SetupError, TargetError
from harness.prompt import EOT
from harness.targets.adapter_folder import WEIGHTS, AdapterFolder, digest_adapter, digest_file, read_adapter
from harness.targets.base import (
    ClosingTarget,
    Completion,
    Decoding,
    Prompt,
    TargetSpec,
    check_options,
    read_number,
    read_switch,
)
from harness.targets.memory import keep_memory

if TYPE_CHECKING:
    from harness.targets.llama import LlamaDecoder, Prefix

EMBEDDED = Path(__file__).parent.parent / "embedded"
EMBEDDED_BASE = EMBEDDED / "nano-base"
EMBEDDED_NAME = "toolgate/nano-base"  # as adapters name it; the same on every machine
EMBEDDED_ADAPTER = EMBEDDED / "nano-adapter"
OPTIONS = {
    "load_in_4bit": "nf4 through bitsandbytes; the adapter stays unmerged",
    "device": "cpu or cuda",
    "dtype": "float32, bfloat16 or float16",
    "batch_size": "rows decoded together",
    "engine": "auto, or generate to decode through transformers alone",
}
CHOICES = {
    "device": ("cpu", "cuda"),
    "dtype": ("float32", "bfloat16", "float16"),
    "engine": ("auto", "generate"),
}
DEFAULTS = {"device": "cpu", "dtype": "float32", "engine": "auto"}
# Files of a base folder that decide its replies.
BASE_FILES = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Architectures whose linear layers have the shapes that their config names; experts, for one, have others.
DENSE_TYPES = ("llama", "mistral", "qwen2", "qwen3")
BATCH = 128
GENERATE_BATCH = 16  # transformers' generate copies the prefix to every row
# Prompt tokens read at once; more would not be faster, and their attention needs memory.
READ_TOKENS = 16_384
DECODER_VERSION = "1"  # part of the store's key: change it when the decoder's tokens may change


class LocalTarget(ClosingTarget):
    """A loaded model with its tokenizer."""

    remember: ClassVar[bool] = True

    def __init__(self, spec: TargetSpec) -> None:
        # libgomp's threads otherwise spin while they wait: with anything else running that costs a factor of ten.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        keep_memory()
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.name = spec.name
        self.spec = spec
        self.identity: Mapping[str, str] = self.identify(spec)
        self.adapter_bytes = (spec.adapter / WEIGHTS).stat().st_size if spec.adapter else None
        self.tokenizer = _load_tokenizer(spec)
        self.model = _load_model(spec)
        self.stop = _stop_tokens(self.model, self.tokenizer)
        self._pad = _pad_token(self.model, self.tokenizer, self.stop)
        self._decoder: LlamaDecoder | None = None
        self._prefix: Prefix | None = None
        if spec.options["engine"] == "auto":
            from harness.targets.llama import LlamaDecoder, is_plain_llama

            if is_plain_llama(self.model):
                self._decoder = LlamaDecoder(self.model)
        self.batch_size = read_number(spec, "batch_size", BATCH if self._decoder else GENERATE_BATCH)
        self._limit = int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 30)

    @classmethod
    def resolve(cls, spec: TargetSpec) -> TargetSpec:
        """Fill in the embedded default, an adapter's own base, device and dtype; read headers, load nothing."""
        check_options(spec, OPTIONS)
        options = {**DEFAULTS, **spec.options}
        for name, choices in CHOICES.items():
            if options[name] not in choices:
                raise SetupError(
                    f"Option {name}={options[name]!r} is not possible. Choose one of: {', '.join(choices)}."
                )
        if find_spec("torch") is None or find_spec("transformers") is None or find_spec("peft") is None:
            raise SetupError("Target 'local' needs torch, transformers and peft. Run: pip install 'toolgate[local]'")
        if read_switch(spec, "load_in_4bit") and find_spec("bitsandbytes") is None:
            raise SetupError("Option load_in_4bit needs bitsandbytes. Run: pip install 'bitsandbytes>=0.50'")
        read_number(spec, "batch_size", BATCH)
        adapter_path, base = spec.adapter, spec.base
        if adapter_path is None and base is None:
            adapter_path, base = EMBEDDED_ADAPTER, str(EMBEDDED_BASE)
        adapter = read_adapter(adapter_path) if adapter_path else None
        base = base or _base_of(adapter)
        if _is_folder(base):
            _check_base_folder(Path(base))
            if adapter:
                _check_shapes(adapter, Path(base))
        return replace(spec, adapter=adapter_path, base=base, options=options)

    @classmethod
    def identify(cls, spec: TargetSpec) -> Mapping[str, str]:
        """Digests of adapter and base, versions, dtype and device."""
        assert spec.base is not None
        return {
            "target": "local",
            "adapter": digest_adapter(spec.adapter) if spec.adapter else "none",
            "base": _digest_base(spec.base),
            "engine": f"{spec.options['engine']} {DECODER_VERSION}",
            "numerics": f"{spec.options['dtype']} {'nf4' if read_switch(spec, 'load_in_4bit') else ''}".strip(),
            "device": spec.options["device"],
            "batch": spec.options.get("batch_size", "default"),
            "versions": ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "peft")),
        }

    @classmethod
    def without_adapter(cls, spec: TargetSpec) -> TargetSpec | None:
        """The same base alone."""
        return replace(spec, adapter=None) if spec.adapter else None

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Prefill what all these prompts begin with, as a server's prefix cache would hold it."""
        rows = [self._encode(prompt) for prompt in prompts]
        if self._decoder and rows:
            self._share_prefix(rows)

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> Iterator[tuple[int, Completion | TargetError]]:
        """Batched greedy decoding, prompts of similar length together; replies come batch by batch."""
        rows = {}
        for index, prompt in enumerate(prompts):
            ids = self._encode(prompt)
            if len(ids) + 1 > self._limit:
                yield index, self._too_long(len(ids))
            else:
                rows[index] = ids
        if not rows:
            return
        # The longest first: should memory not suffice, it shows at once.
        order = sorted(rows, key=lambda index: (-len(rows[index]), index))
        shared = self._share_prefix(list(rows.values()))
        # A row near the end of the context is decoded alone: in a batch it would cut the others short.
        near = [index for index in order if len(rows[index]) + decoding.max_tokens > self._limit]
        others = order[len(near) :]
        for batch in [*([index] for index in near), *self._cut_batches(others, rows, shared)]:
            started = time.perf_counter()
            found = []
            suffixes = [rows[index][shared:] for index in batch]
            room = self._limit - max(len(rows[index]) for index in batch)
            for place, tokens in self._decode(rows[batch[0]][:shared], suffixes, min(decoding.max_tokens, room)):
                found.append((batch[place], tokens))
            share = (time.perf_counter() - started) / len(batch)
            for index, tokens in found:
                yield index, self._complete(tokens, share)

    def time_one(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One reply as a user waits for it: tokenising, reading, decoding to the end, turning tokens into text.

        What the prompt shares with the prepared ones (tools and rules) comes from the prefix cache, as a server keeps
        it between requests; without ``prepare`` the whole prompt is read.
        """
        started = time.perf_counter()
        ids = self._encode(prompt)
        if len(ids) + 1 > self._limit:
            raise self._too_long(len(ids))
        shared = 0
        if self._prefix:
            shared = min(_common_length(self._prefix.ids, ids), len(ids) - 1)
        room = min(decoding.max_tokens, self._limit - len(ids))
        [(_, tokens)] = list(self._decode(ids[:shared], [ids[shared:]], room))
        completion = self._complete(tokens, 0.0)
        return replace(completion, seconds=time.perf_counter() - started)

    def close(self) -> None:
        """Drop the model; the memory goes back when nothing else holds it."""
        self.model = self._decoder = self._prefix = None

    def _encode(self, prompt: Prompt) -> list[int]:
        return list(self.tokenizer(prompt.text, add_special_tokens=False)["input_ids"])

    def _too_long(self, length: int) -> TargetError:
        return TargetError(f"The prompt has {length} tokens and the model takes {self._limit}: no room for a reply.")

    def _share_prefix(self, rows: Sequence[Sequence[int]]) -> int:
        """The number of tokens that all rows begin with, prefilled; each row keeps at least one token of its own."""
        low, high = min(map(list, rows)), max(map(list, rows))  # what the smallest and the largest share, all share
        length = min(_common_length(low, high), min(map(len, rows)) - 1)
        if self._decoder and (self._prefix is None or self._prefix.ids != list(low[:length])):
            self._prefix = self._decoder.prefill(low[:length]) if length else None
        return length

    def _cut_batches(self, order: Sequence[int], rows: Mapping[int, Sequence[int]], shared: int) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in order:
            longest = len(rows[batch[0]]) - shared if batch else 0
            if len(batch) == self.batch_size or (len(batch) + 1) * longest > READ_TOKENS:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _decode(
        self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]], room: int
    ) -> Iterator[tuple[int, list[int]]]:
        if self._decoder is None:
            return self._decode_by_generate(prefix, suffixes, room)
        from harness.targets.llama import Prefix

        ready = self._prefix.cut(len(prefix)) if self._prefix and prefix else None
        if ready is None:
            ready = self._decoder.prefill(prefix) if prefix else Prefix.empty(self._decoder)
        return self._decoder.generate(ready, suffixes, room, self.stop)

    def _decode_by_generate(
        self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]], room: int
    ) -> Iterator[tuple[int, list[int]]]:
        import torch

        longest = max(map(len, suffixes))
        device = self.model.device
        pads = [longest - len(suffix) for suffix in suffixes]
        # [prefix | pads | own tokens]: the mask hides the pads, and generate counts positions from the mask.
        rows = [[*prefix, *[self._pad] * n, *suffix] for n, suffix in zip(pads, suffixes, strict=True)]
        mask = [[1] * len(prefix) + [0] * n + [1] * (longest - n) for n in pads]
        arguments: dict[str, Any] = {}
        with torch.no_grad():
            if len(prefix) > 1:
                from transformers import DynamicCache

                cache = DynamicCache(config=self.model.config)
                self.model(torch.tensor([list(prefix)], device=device), past_key_values=cache, logits_to_keep=1)
                cache = copy.deepcopy(cache)
                cache.batch_repeat_interleave(len(suffixes))
                arguments["past_key_values"] = cache
            written = self.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=room,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=sorted(self.stop) or None,
                pad_token_id=self._pad,
                **arguments,
            )[:, len(prefix) + longest :].tolist()
        for place, tokens in enumerate(written):
            end = next((i + 1 for i, token in enumerate(tokens) if token in self.stop), len(tokens))
            yield place, tokens[:end]

    def _complete(self, tokens: Sequence[int], seconds: float) -> Completion:
        ended = bool(tokens) and tokens[-1] in self.stop
        kept = list(tokens[:-1] if ended else tokens)
        # Special tokens inside a reply stay visible: the reader has to see what a user would get.
        text = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return Completion(text, truncated=not ended, seconds=seconds, tokens=len(tokens))


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _is_folder(base: str) -> bool:
    """True for what must be a folder: it is there, or could be no hub id (``organisation/name``, ``name``)."""
    parts = base.split("/")
    return Path(base).is_dir() or base.startswith((".", "/", "~")) or len(parts) > 2


def _base_of(adapter: AdapterFolder | None) -> str:
    assert adapter is not None
    name = adapter.base_name
    if not name:
        raise SetupError(f"{adapter.path} names no base model. Give --base with a folder or a hub id.")
    if name == EMBEDDED_NAME:
        return str(EMBEDDED_BASE)
    for folder in (adapter.path / name, adapter.path.parent / Path(name).name, Path(name)):
        if folder.is_dir():
            return str(folder)
    if _is_folder(name) or "/" not in name:
        raise SetupError(
            f"{adapter.path} names the base {name!r}, and no such folder is here. Give its base with --base."
        )
    if not _is_cached(name):  # gigabytes are fetched when they are asked for, not by the way
        raise SetupError(
            f"{adapter.path} names the base {name!r}, which is not on this machine. "
            f"Give its folder with --base, or --base {name} to download it."
        )
    return name


def _check_base_folder(base: Path) -> None:
    if not base.is_dir():
        raise SetupError(f"No base model at {base}. Give a folder with config.json and safetensors, or a hub id.")
    if not (base / "config.json").is_file():
        raise SetupError(f"{base} has no config.json. Give a model folder as save_pretrained writes it, or a hub id.")
    if not list(base.glob("*.safetensors")):
        found = sorted(p.name for p in base.glob("*.bin"))
        why = f"only {found[0]}, a pickle, which can run code when read" if found else "no weights"
        raise SetupError(f"{base} holds {why}. Save the base as safetensors: model.save_pretrained(DIR).")
    if not any((base / name).is_file() for name in TOKENIZER_FILES):
        raise SetupError(
            f"{base} has no tokenizer ({', '.join(TOKENIZER_FILES)}). Copy the base's tokenizer files there."
        )


def _check_shapes(adapter: AdapterFolder, base: Path) -> None:
    """Compare the adapter's shapes with a plain Llama-like config, so that a wrong base is named before torch loads."""
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        size = int(config.get("head_dim") or hidden // heads)
        kv = int(config.get("num_key_value_heads") or heads) * size
        wide, layers = int(config["intermediate_size"]), int(config["num_hidden_layers"])
    except ValueError as error:
        raise SetupError(f"{base / 'config.json'} is no model config: {error}. Copy the base again.") from None
    except (KeyError, TypeError, AttributeError):
        return  # another architecture; loading compares its shapes
    if config.get("model_type") not in DENSE_TYPES:
        return
    inputs = {"q_proj": hidden, "k_proj": hidden, "v_proj": hidden, "gate_proj": hidden, "up_proj": hidden}
    inputs |= {"o_proj": heads * size, "down_proj": wide}
    outputs = {"q_proj": heads * size, "k_proj": kv, "v_proj": kv, "o_proj": hidden}
    outputs |= {"gate_proj": wide, "up_proj": wide, "down_proj": hidden}
    advice = f"Give the base it was trained on with --base (it names {adapter.base_name!r})."
    for name, tensor in adapter.tensors.items():
        parts = name.split(".")
        kind = next((part for part in parts if part in inputs), None)
        if kind is None or len(tensor.shape) != 2:
            continue
        found = tensor.shape[1] if "lora_A" in parts else tensor.shape[0]
        wanted = inputs[kind] if "lora_A" in parts else outputs[kind]
        if ("lora_A" in parts or "lora_B" in parts) and found != wanted:
            raise SetupError(
                f"The adapter {adapter.path} does not fit the base {base}: {name} has shape {list(tensor.shape)} "
                f"where the base needs {wanted}. {advice}"
            )
        depth = parts[parts.index("layers") + 1] if "layers" in parts[:-1] else "0"
        if depth.isdecimal() and int(depth) >= layers:
            raise SetupError(
                f"The adapter {adapter.path} does not fit the base {base}: it has weights for layer {depth}, "
                f"the base has {layers} layers. {advice}"
            )


def _digest_base(base: str) -> str:
    if not _is_folder(base):
        name, _, revision = base.partition("@")
        return f"{name}@{_hub_revision(name, revision or 'main')}"
    files = sorted({path for pattern in BASE_FILES for path in Path(base).glob(pattern) if path.is_file()})
    listing = "".join(f"{path.name} {digest_file(path)}\n" for path in files)
    return "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def _hub_revision(name: str, revision: str) -> str:
    """The commit that a branch of a hub id stands for in the local cache; the branch itself before a first download."""
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else revision


def _is_cached(name: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{name.partition('@')[0].replace('/', '--')}" / "snapshots"
    return folder.is_dir() and any(folder.iterdir())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _load_tokenizer(spec: TargetSpec) -> Any:
    from transformers import AutoTokenizer

    assert spec.base is not None
    name, arguments = _source(spec.base)
    try:
        return AutoTokenizer.from_pretrained(name, **arguments)
    except Exception as error:  # transformers raises many kinds; each means the same to the caller
        raise SetupError(
            f"Cannot load the tokenizer of {spec.base}: {_first_line(error)} {_advice(spec.base)}"
        ) from error


def _load_model(spec: TargetSpec) -> Any:
    import torch
    import transformers

    assert spec.base is not None
    device = spec.options["device"]
    if device == "cuda" and not torch.cuda.is_available():
        raise SetupError(
            "Option device=cuda, but torch sees no CUDA GPU. Use device=cpu, or install a CUDA build of torch."
        )
    name, arguments = _source(spec.base)
    dtype = getattr(torch, spec.options["dtype"])
    four_bit = read_switch(spec, "load_in_4bit")
    untyped: Any = transformers  # its annotations contradict its use
    if four_bit:
        arguments["quantization_config"] = untyped.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        arguments["device_map"] = {"": device}
    untyped.logging.disable_progress_bar()
    # It advises to install a package that would ask the hub for kernels.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        model = untyped.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True, **arguments)
    except Exception as error:  # as for the tokenizer
        raise SetupError(f"Cannot load the base {spec.base}: {_first_line(error)} {_advice(spec.base)}") from error
    if not four_bit:
        model = model.to(device)
    if spec.adapter:
        model = _apply_adapter(model, spec.adapter, merge=not four_bit)
    return model.eval().requires_grad_(False)


def _apply_adapter(model: Any, path: Path, *, merge: bool) -> Any:
    import warnings

    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    base = getattr(model.config, "_name_or_path", "the base")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of what is checked below, and of entries it does not know
            config = LoraConfig.from_pretrained(str(path))
            config.inference_mode = True
            adapted = get_peft_model(model, config)
            weights = load_file(str(path / WEIGHTS))
            result: Any = set_peft_model_state_dict(adapted, weights)
    except Exception as error:  # PEFT raises many kinds; each means that adapter and base do not fit
        raise SetupError(
            f"The adapter {path} does not fit {base}: {_first_line(error)} Give its own base with --base."
        ) from error
    missing = sorted(key for key in result.missing_keys if "lora_" in key)
    extra = sorted(result.unexpected_keys)
    if missing or extra:
        named = [
            f"{len(keys)} {kind} (first: {keys[0]})"
            for keys, kind in ((missing, "missing"), (extra, "without a place"))
            if keys
        ]
        raise SetupError(
            f"The adapter {path} does not fit {base}: of its tensors {' and '.join(named)}. "
            "Give the base it was trained on with --base, or save the adapter again."
        )
    if not merge:
        return adapted
    try:
        return adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:  # what safe_merge refuses: numbers that are none
        raise SetupError(f"The adapter {path} is broken: {_first_line(error)} Train it again.") from error


def _source(base: str) -> tuple[str, dict[str, Any]]:
    if _is_folder(base):
        return base, {"local_files_only": True}
    name, _, revision = base.partition("@")
    return name, {"revision": revision} if revision else {}


def _advice(base: str) -> str:
    if _is_folder(base):
        return "Copy the base again, or give another with --base."
    return (
        "Give a folder with --base, or a hub id that this machine can reach or has cached "
        "(organisation/name or @revision)."
    )


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= 240 else text[:239] + "…").rstrip(".") + "."


def _stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end a reply: those of the model's generation config and the end-of-turn token."""
    ids = model.generation_config.eos_token_id
    stop: Iterable[int | None] = ids if isinstance(ids, list) else [ids]
    found = {token for token in [*stop, tokenizer.eos_token_id] if token is not None}
    turn = tokenizer.convert_tokens_to_ids(EOT)
    if turn is not None and turn != tokenizer.unk_token_id:
        found.add(turn)
    return frozenset(int(token) for token in found)


def _pad_token(model: Any, tokenizer: Any, stop: frozenset[int]) -> int:
    for token in (tokenizer.pad_token_id, model.generation_config.pad_token_id, *sorted(stop)):
        if token is not None:
            return int(token)
    return 0
