"""Put the pretrained weights, the configuration and the tokenizer into a folder that plain transformers loads.

Covers: the files of such a folder, the weights as one safetensors file.
Does not cover: making any of them (training.nano.pretrain, training.nano.tokenizer).

    python -m training.nano.export --parts OUT --tokenizer tokenizer.json --out harness/embedded/nano-base
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from training.nano.pretrain import SHAPE
from training.nano.tokenizer import save_tokenizer

TEMPLATE = Path(__file__).resolve().parents[2] / "harness" / "embedded" / "chat_template.jinja"


def main() -> None:
    """Write model.safetensors, config.json, generation_config.json and the tokenizer's files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    weights = {}
    for part in sorted(arguments.parts.glob("part*.safetensors")):
        weights.update(load_file(part))
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(weights, arguments.out / "model.safetensors", metadata={"format": "pt"})
    ids = {name: tokenizer.token_to_id(token) for name, token in (("bos", "<|begin_of_text|>"), ("eos", "<|eot_id|>"), ("pad", "<|finetune_right_pad_id|>"))}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": SHAPE["hidden_size"],
        "intermediate_size": SHAPE["intermediate_size"],
        "num_hidden_layers": SHAPE["num_hidden_layers"],
        "num_attention_heads": SHAPE["num_attention_heads"],
        "num_key_value_heads": SHAPE["num_attention_heads"],
        "head_dim": SHAPE["hidden_size"] // SHAPE["num_attention_heads"],
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": SHAPE["rms_norm_eps"],
        "rope_parameters": {"rope_theta": SHAPE["rope_theta"], "rope_type": "default"},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
        "dtype": "bfloat16",
    }
    generation = {"do_sample": False, "bos_token_id": ids["bos"], "eos_token_id": ids["eos"], "pad_token_id": ids["pad"]}
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        (arguments.out / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    save_tokenizer(tokenizer, arguments.out, TEMPLATE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
