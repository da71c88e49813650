"""LoRA folders of a few kilobytes, written without torch."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

from deploy.preflight import Family, module_shapes

TINY = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
}
MODEL = "@cf/meta/llama-3.2-3b-instruct"
BASE_NAME = "meta-llama/Llama-3.2-3B-Instruct"
FAMILY = Family(MODEL, "llama", BASE_NAME, TINY)  # the served family, with shapes that fit into a test
EMULATED = Family(MODEL, "llama", "", TINY)
CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "unsloth/Llama-3.2-3B-Instruct-bnb-4bit",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["v_proj", "q_proj"],
    "bias": "none",
    "modules_to_save": None,
    "use_dora": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": False,
    "task_type": "CAUSAL_LM",
}


def lora_shapes(
    rank: int = 4, modules: tuple[str, ...] = ("q_proj", "v_proj"), layers: int = 2
) -> dict[str, list[int]]:
    """Tensor name -> shape."""
    found = {}
    for layer in range(layers):
        for module in modules:
            inputs, outputs = module_shapes(TINY)[module]
            stem = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            found[f"{stem}.lora_A.weight"] = [rank, inputs]
            found[f"{stem}.lora_B.weight"] = [outputs, rank]
    return found


def write_tensors(path: Path, shapes: dict[str, list[int]], dtype: str = "F32", seed: int = 1) -> None:
    """A safetensors file of random numbers."""
    width = {"F32": 4, "BF16": 2, "F16": 2, "F64": 8}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, shape in shapes.items():
        size = width * shape[0] * (shape[1] if shape[1:] else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    chance = random.Random(seed)
    if dtype == "F32":
        data = b"".join(struct.pack("<f", chance.gauss(0, 1)) for _ in range(place // 4))
    else:
        data = bytes(chance.choice(b"\x11\x22\x33") for _ in range(place))
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_lora(
    folder: Path, shapes: dict[str, list[int]] | None = None, *, dtype: str = "F32", seed: int = 1, **changes: Any
) -> Path:
    """An adapter folder; ``changes`` go into its config."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **changes}))
    write_tensors(folder / "adapter_model.safetensors", lora_shapes() if shapes is None else shapes, dtype, seed)
    (folder / "README.md").write_text("A card.")
    return folder
