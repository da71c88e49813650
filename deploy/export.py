"""From an adapter folder to the folder that is uploaded: the same bytes every time.

Covers: model_type, the base's canonical name, optional bf16 weights with a comparison of greedy replies, the manifest,
and deriving the same bytes again, so that an upload can tie them to a receipt.
Does not cover: what the platform would refuse (preflight), the receipt itself (upload).

A receipt is about the adapter as it was trained. An export differs from it in a way that is a function of its bytes and
of the plan in the manifest: whoever has the adapter can derive the export and compare. torch is loaded only to compare
replies, by the local target.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from deploy.preflight import MANIFEST, MODEL_TYPES, Family, check_folder, refuse_failures
from harness.attestation import digest_files, hash_folder
from harness.cases import load_cases
from harness.errors import DataError, SetupError
from harness.prompt import load_prompt
from harness.runner import build_prompts, sample_cases
from harness.targets import Decoding, LazyTarget, TargetSpec
from harness.targets.adapter_folder import CONFIG, WEIGHTS

FORMAT = 1
KIND = "toolgate-export"
CHUNK = 1 << 20
SENT = (CONFIG, WEIGHTS)  # in the order of the upload
WIDTH = {"F32": 4, "F16": 2}
COMPARED = 64  # cases whose replies are compared
PREFIX = "toolgate"
NAME = re.compile(rf"{PREFIX}-(?P<adapter>[0-9a-f]{{12}})-(?P<sent>[0-9a-f]{{8}})(?:-[a-z0-9]{{1,16}})?")

OnStep = Callable[[str, int, int], None]  # what is done, how much of it, of how much


def no_step(phase: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an export differs from its adapter. ``base`` empty leaves the adapter's own name for its base."""

    model: str
    model_type: str
    base: str
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class Export:
    """What a manifest says. ``files`` and ``source_files`` map names to hex sha256."""

    path: Path
    plan: Plan
    files: Mapping[str, str]
    source_files: Mapping[str, str]
    replies: Mapping[str, Any]  # of the comparison; empty when the weights are as they were

    @property
    def source(self) -> str:
        """``sha256:<hex>`` of the adapter, as receipts and the registry name it."""
        return digest_files(self.source_files)

    @property
    def name(self) -> str:
        """The fine-tune's name: the adapter's digest, and that of the bytes sent.

        Fine-tunes cannot be changed, so other bytes need another name.
        """
        return f"{PREFIX}-{_hex(self.source)[:12]}-{_hex(digest_files(self.files))[:8]}"


def export_adapter(
    adapter: Path,
    out: Path,
    family: Family,
    *,
    bf16: bool = False,
    base: Path | None = None,
    cases: Path | None = None,
    on_step: OnStep = no_step,
) -> Export:
    """Write the folder; it appears when all of it is done.

    With ``bf16`` the replies of adapter and export to ``cases`` are compared on ``base`` (None: the one it names).

    Raises:
        SetupError: preflight refuses the adapter or the folder is there already.
        DataError: the adapter holds links, changed meanwhile, or its replies differ in bf16.
    """
    if out.exists():
        raise SetupError(f"{out} is there already. Give --out another folder, or remove it.")
    refuse_failures(check_folder(adapter, family))
    plan = Plan(family.model, _choose_type(family), family.base, bf16)
    source_files = hash_folder(adapter)
    partial = out.with_name(f"{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        files = {}
        for name, chunks in derive_files(adapter, source_files, plan):
            files[name] = _write(partial / name, chunks)
        replies: dict[str, Any] = {}
        if bf16:
            replies = _compare_replies(adapter, partial, base, cases, on_step)
        body = {
            "format": FORMAT,
            "kind": KIND,
            "plan": asdict(plan),
            "adapter": {"digest": digest_files(source_files), "files": source_files},
            "files": {name: {"sha256": files[name], "bytes": (partial / name).stat().st_size} for name in SENT},
            "replies": replies,
        }
        # Written last: its presence means that the export is complete.
        _write(partial / MANIFEST, [json.dumps(body, indent=2, sort_keys=True).encode() + b"\n"])
        refuse_failures(check_folder(partial, family))
        partial.rename(out)
    except OSError as error:
        raise SetupError(f"Cannot write {out}: {error.strerror}. Give --out another folder.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Export(out, plan, files, source_files, replies)


def read_export(folder: Path) -> Export:
    """Read a manifest; the files beside it are compared by whoever uses them.

    Raises:
        SetupError: there is no export.
        DataError: its manifest is broken.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError:
        raise SetupError(f"{folder} is no export. Make one: python -m deploy export ADAPTER --out DIR") from None
    try:
        raw = json.loads(data)
        if (raw["format"], raw["kind"]) != (FORMAT, KIND) or sorted(raw["files"]) != sorted(SENT):
            raise ValueError("another format")
        plan = Plan(**raw["plan"])
        if not all(isinstance(v, str) for v in (plan.model, plan.model_type, plan.base)) or plan.bf16 not in (
            True,
            False,
        ):
            raise ValueError("plan")
        source = _read_hashes(raw["adapter"]["files"])
        if digest_files(source) != raw["adapter"]["digest"]:
            raise ValueError("adapter.digest is not that of adapter.files")
        files = _read_hashes({name: entry["sha256"] for name, entry in raw["files"].items()})
        return Export(folder, plan, files, source, dict(raw["replies"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no manifest of an export ({error}). Export the adapter again.") from None


def derive_files(adapter: Path, sealed: Mapping[str, str], plan: Plan) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The files of an export as chunks, made from an adapter whose bytes are compared with ``sealed`` as they are read.

    Each file's chunks must be used up before the next is asked for.

    Raises:
        DataError: a file of the adapter is not the sealed one.
    """
    with _open_sealed(adapter / CONFIG, sealed) as file:
        raw = file.read()
    yield CONFIG, [_derive_config(raw, plan)]
    yield WEIGHTS, _derive_weights(adapter / WEIGHTS, sealed, plan)


def derive_hashes(adapter: Path, sealed: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """Name -> hex sha256 of the files of an export; nothing is written.

    Raises:
        DataError: as ``derive_files``.
    """
    found = {}
    for name, chunks in derive_files(adapter, sealed, plan):
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        found[name] = digest.hexdigest()
    return found


def _choose_type(family: Family) -> str:
    if family.model_type not in MODEL_TYPES:
        raise SetupError(
            f"The model_type of {family.model} is {family.model_type or 'not known here'!r}; "
            f"possible are {', '.join(MODEL_TYPES)}. Choose another --model."
        )
    return family.model_type


def _derive_config(raw: bytes, plan: Plan) -> bytes:
    """The config with model_type and the base's name; no field is removed."""
    config = json.loads(raw)
    config["model_type"] = plan.model_type
    if plan.base:
        config["base_model_name_or_path"] = plan.base
    if isinstance(config.get("target_modules"), list):
        config["target_modules"] = sorted(config["target_modules"])  # a set where PEFT writes it
    return json.dumps(config, indent=2, sort_keys=True).encode() + b"\n"


def _derive_weights(path: Path, sealed: Mapping[str, str], plan: Plan) -> Iterator[bytes]:
    with _open_sealed(path, sealed) as file:
        if plan.bf16:
            kind, header = _halve_header(file, path)
            yield header
            while chunk := file.read(CHUNK):
                yield round_to_bf16(chunk, kind, path)
            return
        while chunk := file.read(CHUNK):
            yield chunk


def _halve_header(file: _Sealed, path: Path) -> tuple[str, bytes]:
    """Read a safetensors header: the dtype of the numbers behind it, and the header that fits them in bf16."""
    try:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        kinds = sorted({str(entry["dtype"]) for entry in tensors})
        if len(kinds) != 1 or kinds[0] not in WIDTH:
            raise SetupError(
                f"{path} holds {', '.join(kinds)}; only F32 or F16 becomes bf16. Export it without --bf16."
            )
        for entry in tensors:
            entry["dtype"] = "BF16"
            entry["data_offsets"] = [2 * (place // WIDTH[kinds[0]]) for place in entry["data_offsets"]]
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise DataError(f"{path} changed while it was read: its header is none. Start again.") from None
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # as the format wants it, so that numbers are aligned
    return kinds[0], struct.pack("<Q", len(text)) + text


def round_to_bf16(data: bytes, kind: str, path: Path) -> bytes:
    """Little-endian F32 or F16 numbers as bf16, to the nearest and to even between two, as torch rounds.

    Raises:
        DataError: a number is not finite, or would not be in bf16.
    """
    import numpy as np

    numbers = np.frombuffer(data, "<f4" if kind == "F32" else "<f2").astype("<f4")
    bits = numbers.view("<u4")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    if not np.isfinite((rounded << 16).astype("<u4").view("<f4")).all() or not np.isfinite(numbers).all():
        raise DataError(f"{path} holds numbers that are not finite in bf16. Export it without --bf16.")
    return bytes(rounded.astype("<u2").tobytes())


def _compare_replies(
    adapter: Path, exported: Path, base: Path | None, cases: Path | None, on_step: OnStep
) -> dict[str, Any]:
    """Greedy replies of adapter and export on the same base; equal for every case, or the export is refused."""
    if cases is None:
        raise SetupError("--bf16 compares replies. Give --cases PATH.")
    asked = sample_cases(load_cases(cases), COMPARED)
    if not asked:
        raise SetupError(f"{cases} holds no cases to compare replies on. Give --cases PATH.")
    prompts = build_prompts(asked, load_prompt())
    spoken: list[dict[int, str]] = []
    with LazyTarget(TargetSpec("local", adapter, str(base) if base else None)) as first:
        found_base = first.spec.base
        identity = first.identity["base"]
    with tempfile.TemporaryDirectory(prefix="toolgate-") as place:
        # Only the weights are in question; PEFT warns of model_type, which it does not know.
        trial = Path(place)
        shutil.copyfile(adapter / CONFIG, trial / CONFIG)
        shutil.copyfile(exported / WEIGHTS, trial / WEIGHTS)
        for folder in (adapter, trial):
            replies: dict[int, str] = {}
            with LazyTarget(TargetSpec("local", folder, found_base)) as target:
                for index, answer in target.load().generate(prompts, Decoding()):
                    if isinstance(answer, Exception):
                        raise answer
                    replies[index] = answer.text
                    on_step("comparing replies", len(replies) + len(spoken) * len(asked), 2 * len(asked))
            spoken.append(replies)
    differing = [case.id for i, case in enumerate(asked) if spoken[0][i] != spoken[1][i]]
    if differing:
        raise DataError(
            f"In bf16 {len(differing)} of {len(asked)} greedy replies differ, the first of {differing[0]}. "
            "Export without --bf16."
        )
    return {"compared": len(asked), "differing": 0, "base": identity}


class _Sealed:
    """A file whose last bytes are handed out only when all of them have the sealed digest."""

    def __init__(self, file: IO[bytes], path: Path, wanted: str) -> None:
        self._file, self._path, self._wanted = file, path, wanted
        self._left = os.fstat(file.fileno()).st_size
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As a file's read."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._digest.update(data)
        self._left -= len(data)
        ended = self._left == 0 or (not data and size != 0)
        if ended and (self._left or self._digest.hexdigest() != self._wanted):
            raise DataError(
                f"{self._path} is not the file that was checked: it changed meanwhile. Start again from the adapter."
            )
        return data


@contextmanager
def _open_sealed(path: Path, sealed: Mapping[str, str]) -> Iterator[_Sealed]:
    if path.name not in sealed:
        raise DataError(f"{path.name} is not among the checked files of {path.parent}. Start again from the adapter.")
    with open_plain(path) as file:
        yield _Sealed(file, path, sealed[path.name])


def open_plain(path: Path) -> IO[bytes]:
    """A file that is no link, opened for reading.

    Raises:
        SetupError: it cannot be read.
    """
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}. Export the adapter again.") from None


def _write(path: Path, chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read_hashes(raw: Mapping[str, Any]) -> dict[str, str]:
    found = {str(name): str(value) for name, value in raw.items()}
    if not found or not all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in found.values()):
        raise ValueError("a digest is none")
    return found


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
