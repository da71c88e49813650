"""A LoRA adapter's folder in the PEFT format, read without torch.

Covers: adapter_config.json, the safetensors header, digests, which base it belongs to, lora_B that is all zero.
Does not cover: whether each tensor lands in a loaded model (``local``), limits of a platform (deploy), signatures.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import SetupError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch.save: a zip or bare
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a safetensors header; ``start`` and ``end`` count from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """A folder whose config and header were read and checked."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def base_name(self) -> str:
        """The base model that the adapter names as its own; may be empty."""
        return str(self.config.get("base_model_name_or_path") or "")


def read_adapter(path: Path) -> AdapterFolder:
    """Read and check an adapter folder; no weight is loaded, but lora_B is looked at.

    Raises:
        SetupError: something is missing, corrupt, a pickle, no LoRA, or has lora_B all zero.
    """
    if not path.is_dir():
        raise SetupError(f"No adapter folder at {path}. Give a PEFT folder with {CONFIG} and {WEIGHTS}.")
    weights = path / WEIGHTS
    if not weights.is_file():
        pickles = sorted(p.name for pattern in PICKLES for p in path.glob(pattern) if p.name != "training_args.bin")
        if pickles:
            raise SetupError(
                f"{path / pickles[0]} is a pickle, which can run code when read; only {WEIGHTS} is accepted. "
                "Save the adapter again with save_pretrained(..., safe_serialization=True)."
            )
        raise SetupError(f"No {WEIGHTS} in {path}. Train an adapter into it, or give another folder.")
    config = _read_json(path / CONFIG)
    if config.get("peft_type") != "LORA":
        raise SetupError(
            f"{path / CONFIG}: peft_type is {config.get('peft_type')!r}; only LORA is possible. Train a LoRA."
        )
    folder = AdapterFolder(path, config, read_header(weights))
    lora_b = {
        name: tensor for name, tensor in folder.tensors.items() if ".lora_B." in name or "lora_embedding_B" in name
    }
    if not lora_b:
        raise SetupError(f"{weights} holds no lora_B tensor ({len(folder.tensors)} tensors). Give a LoRA adapter.")
    if _is_all_zero(weights, lora_b):
        raise SetupError(
            f"Every lora_B in {weights} is zero: the adapter changes nothing. It was saved before training; train it."
        )
    return folder


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, after checking that the file holds exactly their bytes.

    Raises:
        SetupError: the file is not whole safetensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if size < 8:
                raise _corrupt(path, f"it has {size} bytes and no header")
            length = struct.unpack("<Q", start)[0]
            if length > size - 8:
                if start.startswith(PICKLE_STARTS):
                    raise SetupError(
                        f"{path} is a pickle under another name, which can run code when read; only safetensors is "
                        "accepted. Save the adapter again with save_pretrained(..., safe_serialization=True)."
                    )
                raise _corrupt(path, f"its header claims {length} bytes of {size}")
            raw = json.loads(file.read(length))
        raw.pop("__metadata__", None)
        tensors = {}
        for name, entry in raw.items():
            first, last = entry["data_offsets"]
            shape = tuple(entry["shape"])
            if any(type(n) is not int or n < 0 for n in (*shape, first, last)):
                raise _corrupt(path, f"tensor {name} has no whole numbers for its shape and place")
            wanted = ITEM_BYTES.get(entry["dtype"])
            if wanted is not None and last - first != wanted * math.prod(shape):
                raise _corrupt(path, f"tensor {name} has {last - first} bytes for shape {list(shape)} {entry['dtype']}")
            tensors[name] = Tensor(entry["dtype"], shape, 8 + length + first, 8 + length + last)
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}. Check the path and its permissions.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt(path, f"its header is not JSON of tensors ({error})") from None
    end = max((tensor.end for tensor in tensors.values()), default=8 + length)
    if end != size:
        raise _corrupt(path, f"it has {size} bytes where its tensors need {end}")
    return tensors


def digest_file(path: Path) -> str:
    """``sha256:<hex>`` of a file's bytes; read once per process and state of the file.

    Raises:
        SetupError: the file cannot be read.
    """
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}. Check the path and its permissions.") from None


def digest_adapter(path: Path) -> str:
    """``sha256:<hex>`` over an adapter's weights and config: all that decides what it does to its base."""
    parts = [f"{name} {digest_file(path / name)}\n" for name in (CONFIG, WEIGHTS)]
    return "sha256:" + hashlib.sha256("".join(parts).encode()).hexdigest()


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, modified: int) -> str:  # size and modified make the cache notice a changed file
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def _is_all_zero(path: Path, tensors: Mapping[str, Tensor]) -> bool:
    with path.open("rb") as file:
        for tensor in tensors.values():
            file.seek(tensor.start)
            left = tensor.end - tensor.start
            while left:
                chunk = file.read(min(CHUNK, left))
                if chunk.strip(b"\x00\x80"):  # 0x80 is the sign byte of -0.0
                    return False
                left -= len(chunk)
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(
            f"Cannot read {path}: {error.strerror}. An adapter folder needs {CONFIG} and {WEIGHTS}."
        ) from None
    except ValueError as error:
        raise SetupError(f"{path} is not JSON: {error}. Save the adapter again with PEFT.") from None
    if not isinstance(value, dict):
        raise SetupError(f"{path} is not a JSON object. Save the adapter again with PEFT.")
    return value


def _corrupt(path: Path, why: str) -> SetupError:
    return SetupError(f"{path} is corrupt or cut short: {why}. Copy or save the adapter again.")
