"""What the platform would refuse, or quietly serve wrong, found before training and again before an upload.

Covers: an adapter's folder (names, header, shapes, ranks, pairs, dtype, size, base, what its config switches on) and an
account (base takes LoRAs, token, quota, free name, clock). Every finding says how to mend it.
Does not cover: whether the adapter is any good (promote), whether it acts once served (probe).

Documented are: rank up to 32, less than 300 MB, the two file names, model_type, a base that is not quantised, 100
fine-tunes. No rule is documented for DoRA, rslora, bias, patterns or embeddings: servers of this class ignore or
mis-scale what they do not know (LoRAX once served rslora with the wrong scale), and an upload is accepted whatever it
holds. So they are refused here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from deploy.api import Finetune, WorkersAI
from harness.errors import SetupError
from harness.gate import MEGABYTE
from harness.targets.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, Tensor, read_adapter
from harness.targets.workers_ai_codes import ApiError

SNAPSHOT = Path(__file__).parent / "models-2026-09-21.json"
MANIFEST = "manifest.json"  # of an export
MAX_RANK = 32
MAX_BYTES = 300 * MEGABYTE
QUOTA = 100
MODEL_TYPES = ("mistral", "gemma", "llama")
QUANTISED = re.compile(r"fp8|int[48]|awq|gptq|gguf|bnb")
# F32 was seen to be served; nothing is known of the others, which common trainers write.
DTYPES = {"F32": "", "BF16": "not seen served yet", "F16": "not seen served yet"}
LORA_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
MAX_SKEW = 300  # seconds
TRAIN_AGAIN = "Train again without it"

# Switches of a PEFT config that a server of LoRAs does not know, each with the values that switch it off.
OFF: dict[str, tuple[object, ...]] = {
    "modules_to_save": (None, []),
    "use_dora": (None, False),
    "use_rslora": (None, False),
    "bias": (None, "none"),
    "lora_bias": (None, False),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "fan_in_fan_out": (None, False),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "use_qalora": (None, False),
    "use_bdlora": (None, False),
    "alora_invocation_tokens": (None, []),
}
# These starts change the base's weights as well, so that the adapter fits a base that nobody serves.
CHANGED_BASE = ("pissa", "olora", "loftq", "corda")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. ``state``: ok, note (worth knowing) or fail (must be mended)."""

    state: str
    check: str
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """What a served model is made of, as far as it is known: ``config`` is empty where its shapes are not."""

    model: str
    model_type: str
    base: str
    config: Mapping[str, Any]


@cache
def read_snapshot() -> dict[str, Any]:
    """The bundled list of models."""
    value: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return value


def find_family(model: str, base: Path | None = None) -> Family:
    """What ``model`` is made of; with ``base`` what that folder holds, for an emulator that serves another base.

    Raises:
        SetupError: ``base`` is no model folder.
    """
    if base is not None:
        path = base / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            return Family(model, str(config["model_type"]), "", config)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(f"Cannot read {path}: {error}. Give --base the folder of the served base.") from None
    known = read_snapshot()["families"].get(model, {})
    return Family(model, known.get("model_type", ""), known.get("base", ""), known.get("config", {}))


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """What must be mended."""
    return [finding for finding in findings if finding.state == "fail"]


def refuse_failures(findings: Iterable[Finding]) -> None:
    """Stop at findings that must be mended.

    Raises:
        SetupError: there are any; names the first and their count.
    """
    bad = failures(findings)
    if bad:
        more = f" ({len(bad) - 1} more; see python -m deploy preflight)" if bad[1:] else ""
        raise SetupError(f"{bad[0].check}: {bad[0].what}. {bad[0].fix}.{more}")


# The adapter's folder.


def check_folder(path: Path, family: Family) -> list[Finding]:
    """Everything about a folder, also what is right. An export (it has a manifest) is held to what is uploaded.

    Reads the safetensors header and looks for a lora_B that is not zero; needs no torch.
    """
    exported = (path / MANIFEST).is_file()
    findings = _check_names(path)
    try:
        adapter = read_adapter(path)
    except SetupError as error:
        what, _, fix = str(error).rstrip(".").rpartition(". ")
        return [*findings, Finding("fail", "adapter", what or fix, fix)]
    findings += [
        *_check_size(path / WEIGHTS),
        *_check_tensors(adapter),
        *_check_shapes(adapter, family),
        *_check_config(adapter),
        *_check_base(adapter, family, exported),
    ]
    return findings


def module_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Linear layer -> (inputs, outputs) of a dense Llama-like model; empty where the config does not say."""
    try:
        hidden, wide, heads = (int(config[k]) for k in ("hidden_size", "intermediate_size", "num_attention_heads"))
        size = int(config.get("head_dim") or hidden // heads)
        kv = int(config.get("num_key_value_heads") or heads) * size
    except (KeyError, TypeError, ValueError):
        return {}
    return {
        "q_proj": (hidden, heads * size),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (heads * size, hidden),
        "gate_proj": (hidden, wide),
        "up_proj": (hidden, wide),
        "down_proj": (wide, hidden),
    }


def _check_names(path: Path) -> list[Finding]:
    """Exact names only: a wrong one is accepted by the upload and ignored when served."""
    found = []
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    for name in names:
        wanted = next((w for w in (CONFIG, WEIGHTS) if name != w and name.lower() == w.lower()), None)
        if wanted:
            found.append(Finding("fail", "files", f"{name} must be spelled {wanted}", f"Rename it to {wanted}"))
        elif name.endswith((".safetensors", ".gguf")) and name != WEIGHTS:
            what = f"{name} lies beside the adapter: merged or other weights, which are never uploaded"
            found.append(Finding("fail", "files", what, "Move it out of the folder"))
    if not found and {CONFIG, WEIGHTS} <= set(names):
        found.append(Finding("ok", "files", f"{CONFIG}, {WEIGHTS}"))
    return found


def _check_size(path: Path) -> list[Finding]:
    size = path.stat().st_size
    what = f"{size / MEGABYTE:.1f} MB of at most 300"
    if size < MAX_BYTES:
        return [Finding("ok", "size", what)]
    return [Finding("fail", "size", what, "Train with a smaller rank or on fewer layers, or export with --bf16")]


def _check_tensors(adapter: AdapterFolder) -> list[Finding]:
    found: list[Finding] = []
    strange: dict[str, list[str]] = {}
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in adapter.tensors.items():
        match = LORA_NAME.fullmatch(name)
        if match and not re.search(r"embed_tokens|lm_head", name) and len(tensor.shape) == 2:
            sides.setdefault(match["module"], {})[match["side"]] = tensor
        else:
            strange.setdefault(_name_stranger(name), []).append(name)
    for kind, names in sorted(strange.items()):
        fix = "Upload the adapter alone, as save_pretrained of the PEFT model writes it"
        if kind != "no LoRA weights":
            fix = f"{TRAIN_AGAIN} (modules_to_save and target_modules must leave it out)"
        found.append(Finding("fail", "tensors", f"{kind}: {len(names)} tensors, e.g. {names[0]}", fix))
    single = sorted(module for module, pair in sides.items() if len(pair) < 2)
    if single:
        what = f"{len(single)} modules have only lora_{next(iter(sides[single[0]]))}, e.g. {single[0]}"
        found.append(Finding("fail", "pairs", what, "Save the adapter again; the file is not whole"))
    else:
        layers = {int(m[1]) for module in sides if (m := LAYER.search(module))}
        found.append(Finding("ok", "pairs", f"{len(sides)} modules in {len(layers)} layers, all of them pairs"))
    ranks = Counter(tensor.shape[0 if side == "A" else 1] for pair in sides.values() for side, tensor in pair.items())
    found += _check_ranks(ranks, adapter.config.get("r"))
    kinds = Counter(tensor.dtype for tensor in adapter.tensors.values())
    told = ", ".join(sorted(kinds))
    if len(kinds) > 1 or not kinds.keys() <= DTYPES.keys():
        fix = f"Save all weights in one dtype of: {', '.join(DTYPES)}"
        found.append(Finding("fail", "dtype", told, fix))
    else:
        found.append(Finding("note" if DTYPES[told] else "ok", "dtype", f"{told} {DTYPES[told]}".strip()))
    return found


def _name_stranger(name: str) -> str:
    if "lora_magnitude" in name:
        return "DoRA"
    if "lora_embedding" in name or "embed_tokens" in name or "lm_head" in name or "modules_to_save" in name:
        return "embeddings or head"
    if name.endswith(".bias"):
        return "bias"
    return "no LoRA weights"


def _check_ranks(ranks: Counter[int], told: object) -> list[Finding]:
    largest = max(ranks, default=0)
    seen = ", ".join(map(str, sorted(ranks)))
    if not isinstance(told, int) or isinstance(told, bool) or told < 1:
        return [
            Finding("fail", "rank", f"the config's r is {told!r}; the tensors have {seen}", "Save it again with PEFT")
        ]
    if largest > MAX_RANK or told > MAX_RANK:
        what = f"tensors have {seen}, the config says {told}; at most {MAX_RANK} is served"
        return [Finding("fail", "rank", what, f"Train again with a rank of at most {MAX_RANK}")]
    if set(ranks) != {told}:
        what = f"tensors have {seen}, the config says {told}"
        return [Finding("fail", "rank", what, "Train again with one rank for all modules; the scale would be wrong")]
    if told > 8:
        return [Finding("note", "rank", f"{told} in tensors and config; above 8 documented, not seen served yet")]
    return [Finding("ok", "rank", f"{told} in tensors and config")]


def _check_shapes(adapter: AdapterFolder, family: Family) -> list[Finding]:
    shapes = module_shapes(family.config)
    if not shapes:
        return [Finding("note", "shapes", f"the shapes of {family.model} are not known here; not compared")]
    layers = int(family.config["num_hidden_layers"])
    wrong = []
    for name, tensor in adapter.tensors.items():
        match = LORA_NAME.fullmatch(name)
        if not match or len(tensor.shape) != 2:
            continue
        kind = match["module"].rpartition(".")[2]
        layer = LAYER.search(match["module"])
        if kind not in shapes or layer is None:
            wrong.append(f"{name}: the base has no such layer")
        elif int(layer[1]) >= layers:
            wrong.append(f"{name}: the base has {layers} layers")
        else:
            inputs, outputs = shapes[kind]
            got, wanted = (tensor.shape[1], inputs) if match["side"] == "A" else (tensor.shape[0], outputs)
            if got != wanted:
                wrong.append(f"{name} has {list(tensor.shape)}, the base needs {wanted}")
    if wrong:
        what = f"{len(wrong)} tensors do not fit {family.base or 'the base'}, e.g. {wrong[0]}"
        return [Finding("fail", "shapes", what, "Choose the base it was trained on with --model, or train it again")]
    return [Finding("ok", "shapes", f"as {family.base or 'the base in --base'} has them")]


def _check_config(adapter: AdapterFolder) -> list[Finding]:
    config = adapter.config
    found = [
        Finding("fail", name, f"{name} is {json.dumps(config[name])[:120]}", TRAIN_AGAIN)
        for name, off in OFF.items()
        if name in config and not any(type(config[name]) is type(value) and config[name] == value for value in off)
    ]
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGED_BASE):
        what = f"init_lora_weights is {start!r}: trained on a base whose weights were changed"
        found.append(
            Finding("fail", "init_lora_weights", what, "Convert it to a plain LoRA, or train again without it")
        )
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1e6:
        found.append(Finding("fail", "lora_alpha", f"lora_alpha is {alpha!r}", "Save it again with PEFT"))
    wanted = config.get("target_modules")
    kinds = {m["module"].rpartition(".")[2] for name in adapter.tensors if (m := LORA_NAME.fullmatch(name))}
    named = {str(name).rpartition(".")[2] for name in wanted} if isinstance(wanted, list) else kinds
    if named != kinds:
        what = f"target_modules and tensors differ in {', '.join(sorted(named ^ kinds))}"
        found.append(Finding("fail", "target_modules", what, "Save it again with PEFT; config and weights disagree"))
    return found or [Finding("ok", "config", "a plain LoRA")]


def _check_base(adapter: AdapterFolder, family: Family, exported: bool) -> list[Finding]:
    found = []
    told = adapter.config.get("model_type")
    wanted = family.model_type
    if wanted and wanted not in MODEL_TYPES:
        what = f"the base is of type {wanted!r}; possible are {', '.join(MODEL_TYPES)}"
        found.append(Finding("fail", "model_type", what, "Choose another base with --model"))
    elif told is None:
        # PEFT does not write it, and without it nothing is served.
        state, fix = ("fail", "Export it again") if exported else ("note", "python -m deploy export adds it")
        found.append(Finding(state, "model_type", "missing", fix))
    elif told not in MODEL_TYPES or (wanted and told != wanted):
        what = f"model_type is {told!r}; the base needs {wanted or 'one of ' + ', '.join(MODEL_TYPES)}"
        found.append(Finding("fail", "model_type", what, "Remove the field; python -m deploy export sets it"))
    else:
        found.append(Finding("ok", "model_type", str(told)))
    if not family.base:
        return [*found, Finding("note", "base", f"it names {adapter.base_name!r}; another base is served here")]
    if adapter.base_name == family.base:
        return [*found, Finding("ok", "base", family.base)]
    if plain_name(adapter.base_name) != plain_name(family.base):
        what = f"it names {adapter.base_name!r}; {family.model} is {family.base}"
        fix = "Choose the base it was trained on with --model; with --base DIR for an emulator that serves another"
        return [*found, Finding("fail", "base", what, fix)]
    # One report says that a 4-bit repository's name is refused.
    state, fix = ("fail", "Export it again") if exported else ("note", f"python -m deploy export writes {family.base}")
    return [*found, Finding(state, "base", f"it names {adapter.base_name!r}", fix)]


def plain_name(name: str) -> str:
    """A base's name without its owner or folder and without the marks of 4-bit copies, in lower case."""
    last = name.rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"(-unsloth)?(-bnb-4bit)?$", "", last)


# The account.


def check_model_offline(model: str) -> list[Finding]:
    """The model as the bundled snapshot knows it."""
    snapshot = read_snapshot()
    known = {entry["name"]: entry["lora"] for entry in snapshot["models"]}
    return [_judge_model(model, known, f"snapshot of {snapshot['date']}, not asked")]


def check_account(api: WorkersAI, model: str, name: str = "", *, now: datetime) -> list[Finding]:
    """The model list, the token, the quota, a name and the clock, as the API tells them. Creates nothing."""
    found = []
    try:
        models = api.list_models()
        found.append(_judge_model(model, {one.name: one.lora for one in models}, f"{len(models)} models"))
    except ApiError as error:
        found.append(refusal("base", error))
    token = api.read_token()
    try:
        api.check_write()
        found.append(_judge_token(token, now))
    except ApiError as error:
        one = refusal("token", error)
        if token.get("status") not in {None, "active"}:
            one = replace(one, what=f"the token is {token['status']}: {one.what}")
        found.append(one)
    try:
        found += check_room(api.list_finetunes(), name)
    except ApiError as error:
        found.append(refusal("finetunes", error))
    if api.skew is not None and abs(api.skew) > MAX_SKEW:
        what = f"this machine's clock is {api.skew:+.0f} s off the API's"
        fix = "Set the clock; times in records and receipts would be wrong"
        found.append(Finding("fail", "clock", what, fix))
    return found


def check_room(finetunes: Sequence[Finetune], name: str = "") -> list[Finding]:
    """Whether one more fine-tune, of this name, has a place."""
    used = f"{len(finetunes)} of {QUOTA} in use"
    fix = "Remove some: python -m deploy prune"
    found = [Finding("fail", "quota", used, fix) if len(finetunes) >= QUOTA else Finding("ok", "quota", used)]
    if name:
        taken = [one for one in finetunes if one.name == name]
        if taken:
            what = f"{name} is taken by {taken[0].id}, created {taken[0].created or 'some time ago'}"
            fix = "Its files cannot be changed: use it, remove it with prune, or upload with --suffix TEXT"
            found.append(Finding("fail", "name", what, fix))
        else:
            found.append(Finding("ok", "name", f"{name} is free"))
    return found


def _judge_model(model: str, known: Mapping[str, bool], source: str) -> Finding:
    capable = ", ".join(name for name, lora in sorted(known.items()) if lora and not QUANTISED.search(name))
    fix = f"Choose with --model one of: {capable or 'none is listed'}"
    if QUANTISED.search(model):
        return Finding("fail", "base", f"{model} is quantised; LoRAs need a base that is not ({source})", fix)
    if model not in known:
        return Finding("fail", "base", f"{model} is not in the list ({source})", fix)
    # The list's property, not the pages' badges or a schema's lora parameter, agreed with what was served.
    if not known[model]:
        return Finding("fail", "base", f"{model} takes no LoRA ({source})", fix)
    return Finding("ok", "base", f"{model} takes LoRAs ({source})")


def _judge_token(token: Mapping[str, Any], now: datetime) -> Finding:
    try:
        expires = datetime.fromisoformat(str(token.get("expires_on")))
        left = (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) - now
    except ValueError:
        return Finding("ok", "token", "may read and write Workers AI")
    if left < timedelta(days=1):
        hours = left.total_seconds() / 3600
        return Finding(
            "note", "token", f"may write Workers AI, and expires in {hours:.0f} hours", "Make a new one soon"
        )
    return Finding("ok", "token", f"may read and write Workers AI, until {expires:%Y-%m-%d}")


def refusal(check: str, error: ApiError) -> Finding:
    """What the API refused, as a finding."""
    return Finding("fail", check, error.what, error.fix)


def findings_dict(findings: Iterable[Finding]) -> dict[str, Any]:
    """The table for a program."""
    rows = [asdict(finding) for finding in findings]
    return {"ok": all(row["state"] != "fail" for row in rows), "findings": rows}
