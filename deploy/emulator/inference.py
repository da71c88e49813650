"""Replies of the emulator: real ones, by the local target, with the uploaded adapter.

Covers: which text a request puts to the model (raw prompt, scoped prompt, messages in the official template), greedy
replies and sampled ones, models loaded when first asked and kept, one reply at a time.
Does not cover: HTTP (``app``), which finetune is meant (``state``). Penalties, tools and response_format are accepted
and ignored. torch is loaded with the first reply.
"""

from __future__ import annotations

import json
import os.path
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.emulator.quirks import (
    CONFIG,
    DEFAULT_MAX_TOKENS,
    DEFAULT_TEMPERATURE,
    LLAMA_3B,
    LLAMA_70B,
    MODEL_TYPES,
    RANK_LIMIT,
    WEIGHTS,
    WorkersAIError,
)
from harness.errors import SetupError, TargetError
from harness.prompt import BOS, EOT
from harness.targets import Decoding, Prompt, TargetSpec, check_spec
from harness.targets.adapter_folder import read_header
from harness.targets.local import EMBEDDED_BASE, LocalTarget

DEFAULT_BASES: Mapping[str, str] = {LLAMA_3B: str(EMBEDDED_BASE), LLAMA_70B: str(EMBEDDED_BASE)}
KEEP = 3  # the base, an adapter, and the adapter before it
SHARED_TEXT = 200  # prompts that begin with so many equal characters share what was computed for them
# What a multi-adapter server does not apply. That Workers AI refuses each is assumed; rsLoRA may be served mis-scaled.
REFUSED_SETTINGS = ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern", "fan_in_fan_out")


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with what it cost; the end-of-turn token counts as one of the reply's."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Engine:
    """The models behind the run endpoint."""

    def __init__(self, bases: Mapping[str, str], keep: int = KEEP) -> None:
        """``bases`` maps a model's name to a base folder or hub id; ``keep`` is how many loaded models stay.

        Raises:
            SetupError: a base cannot be loaded, or the extra [local] is not installed.
        """
        for base in set(bases.values()):
            check_spec(TargetSpec("local", base=base))
        self.bases = dict(bases)
        self._keep = keep
        self._loaded: OrderedDict[tuple[str, Path | None], _LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def find_base(self, model: str) -> str:
        """What answers for a model of the platform.

        Raises:
            WorkersAIError: nothing does.
        """
        base = self.bases.get(model)
        if base is None:
            raise WorkersAIError(5007, f"{model} (the emulator has no base for it; start it with --base {model}=DIR)")
        return base

    def answer(self, base: str, inputs: Mapping[str, Any], adapter: Path | None) -> Answer:
        """Answer one request; others wait. ``inputs`` has passed its schema, ``adapter`` holds both files.

        Raises:
            WorkersAIError: an adapter that cannot be served on this base, a prompt that is empty or too long.
        """
        if adapter is not None and not check_adapter(adapter):
            adapter = None  # its lora_B is zero: it is served, and changes nothing
        text = build_prompt(inputs)
        if not text:
            raise WorkersAIError(5006, "Error: the prompt is empty")  # messages may be, under raw
        with self._lock:
            return self._load(base, adapter).answer(text, inputs)

    def _load(self, base: str, adapter: Path | None) -> _LoadedModel:
        key = (base, adapter)
        if key not in self._loaded:
            while len(self._loaded) >= self._keep:
                self._loaded.popitem(last=False)[1].target.close()
            try:
                self._loaded[key] = _LoadedModel(check_spec(TargetSpec("local", adapter=adapter, base=base)))
            except SetupError as error:
                if adapter is None:
                    raise  # the emulator's own set-up, no answer of the platform's
                raise WorkersAIError(3030, str(error)) from None
        self._loaded.move_to_end(key)
        return self._loaded[key]


class _LoadedModel:
    """A local target with the text that its last prompts began with, which is computed once."""

    def __init__(self, spec: TargetSpec) -> None:
        self.target = LocalTarget(spec)
        self._last = self._shared = ""

    def answer(self, text: str, inputs: Mapping[str, Any]) -> Answer:
        prompt = Prompt((), text)
        prompt_tokens = len(self.target.tokenizer(text, add_special_tokens=False)["input_ids"])
        room = int(inputs.get("max_tokens", DEFAULT_MAX_TOKENS))
        temperature = float(inputs.get("temperature", DEFAULT_TEMPERATURE))
        try:
            if temperature > 0:
                reply, tokens = self._sample(text, inputs, temperature, room)
                return Answer(reply, prompt_tokens, tokens)
            self._share(text)
            completion = self.target.time_one(prompt, Decoding(max_tokens=room))
        except TargetError as error:
            raise WorkersAIError(3006, str(error)) from None
        return Answer(completion.text, prompt_tokens, completion.tokens)

    def _share(self, text: str) -> None:
        if not (self._shared and text.startswith(self._shared)):
            common = os.path.commonprefix([self._last, text])  # noqa: RUF071 - character by character is meant
            if len(common) >= SHARED_TEXT:
                self.target.prepare([Prompt((), self._last), Prompt((), text)])
                self._shared = common
        self._last = text

    def _sample(self, text: str, inputs: Mapping[str, Any], temperature: float, room: int) -> tuple[str, int]:
        """Draw a reply; the local target itself is greedy only, since a gate knows no temperature."""
        import torch

        target, model = self.target, self.target.model
        ids = target.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        left = int(model.config.max_position_embeddings) - ids["input_ids"].shape[1]
        if left < 1:
            raise TargetError(f"The prompt leaves no room for a reply: it is {-left} tokens too long.")
        torch.manual_seed(int(inputs.get("seed") or secrets.randbits(32)))
        with torch.no_grad():
            tokens = model.generate(
                input_ids=ids["input_ids"],
                attention_mask=ids["attention_mask"],
                max_new_tokens=min(room, left),
                do_sample=True,
                temperature=temperature,
                top_p=float(inputs.get("top_p") or 1.0),
                top_k=int(inputs.get("top_k", 0)),
                eos_token_id=sorted(target.stop),
                pad_token_id=min(target.stop),
            )[0, ids["input_ids"].shape[1] :].tolist()
        kept = tokens[:-1] if tokens and tokens[-1] in target.stop else tokens
        return target.tokenizer.decode(kept, clean_up_tokenization_spaces=False), len(tokens)


def build_prompt(inputs: Mapping[str, Any], today: str | None = None) -> str:
    """The text that the model reads.

    ``raw`` puts a prompt to it as it is. A prompt without raw becomes a user's turn [docs: "scoped"]; messages go
    through the model's official template. How messages are joined under raw is not documented: here by line breaks.
    """
    messages: Sequence[Mapping[str, Any]] | None = inputs.get("messages")
    raw = inputs.get("raw") in (True, "true")  # the string is in the docs' own example
    if messages is None:
        if raw:
            return str(inputs["prompt"])
        messages = [{"role": "user", "content": inputs["prompt"]}]
    if raw:
        return "\n".join(message["content"] for message in messages)
    return render_official(messages, today or datetime.now(UTC).strftime("%d %b %Y"))


def render_official(messages: Sequence[Mapping[str, Any]], today: str) -> str:
    """Plain messages in the official Llama 3.2 template, ending where the assistant's turn begins.

    It differs from ``harness.prompt.render_llama3`` in two ways: there is always a system turn, which starts with two
    dates, and a tool's content is quoted as a JSON string. So served messages are not the prompt that an adapter of
    ours was trained on; the raw prompt is.
    """
    system, rest = "", list(messages)
    if rest and rest[0]["role"] == "system":
        system = rest.pop(0)["content"].strip()
    parts = [BOS, _turn("system", f"Cutting Knowledge Date: December 2023\nToday Date: {today}\n\n{system}")]
    for message in rest:
        if message["role"] in ("tool", "ipython"):
            parts.append(_turn("ipython", _tojson(message["content"])))
        else:
            parts.append(_turn(message["role"], message["content"].strip()))
    return "".join(parts) + "<|start_header_id|>assistant<|end_header_id|>\n\n"


def check_adapter(folder: Path) -> bool:
    """Whether the adapter changes anything: False where lora_B is zero all over, which the platform serves as well.

    Raises:
        WorkersAIError: the platform's documented rules refuse it (3030); nobody looks before, an upload takes anything.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = read_header(folder / WEIGHTS)
    except (ValueError, SetupError) as error:
        raise WorkersAIError(3030, f"the adapter cannot be read: {error}") from None
    if not isinstance(config, dict) or config.get("model_type") not in MODEL_TYPES:
        raise WorkersAIError(3030, f"{CONFIG} needs model_type, one of {', '.join(MODEL_TYPES)}")
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= RANK_LIMIT:
        raise WorkersAIError(3030, f"rank {rank!r} is not between 1 and {RANK_LIMIT}")
    set_ones = [name for name in REFUSED_SETTINGS if config.get(name)]
    if set_ones:
        raise WorkersAIError(3030, f"{CONFIG} sets {', '.join(set_ones)}")
    with (folder / WEIGHTS).open("rb") as file:
        for name, tensor in tensors.items():
            if "lora_B" in name:
                file.seek(tensor.start)
                if file.read(tensor.end - tensor.start).strip(b"\x00\x80"):  # 0x80 is the sign byte of -0.0
                    return True
    return False


def _turn(role: str, content: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{content}{EOT}"


def _tojson(text: str) -> str:
    """As the template's ``tojson`` writes a string in transformers: plain JSON, characters as they are."""
    return json.dumps(text, ensure_ascii=False)
