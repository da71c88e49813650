"""How the live Workers AI API answers, where that differs from its documentation, and where nobody knows.

Covers: the models and what each says to ``lora``, error codes, envelopes, times, prices. Each fact stands beside the
value that depends on it, with its evidence: [docs] Cloudflare's pages, [live] measured against the live API by others
(2026-09 unless dated), [assumed] where no measurement is known; tests that pass on an assumption prove nothing there.
Does not cover: what is done with them (``app``, ``inference``).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.preflight import read_snapshot

LLAMA_3B = "@cf/meta/llama-3.2-3b-instruct"
LLAMA_70B = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
QUOTA = 100  # [docs] adapters per account; a half-made one counts as well
ADAPTER_LIMIT = 300_000_000  # [docs] "must be < 300MB"; that an upload above it is refused with 3006 is [assumed]
RANK_LIMIT = 32  # [docs]
MODEL_TYPES = ("mistral", "gemma", "llama")  # [docs] added to adapter_config.json by hand; PEFT does not write it
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
RESERVED_PREFIX = "cf-public-"  # [docs]
DEFAULT_MAX_TOKENS = 256  # [docs]
DEFAULT_TEMPERATURE = 0.6  # [docs] so a client that does not say 0 gets another reply every time
ASSUMED = 9999  # the code of refusals whose live code is not known; in no table, so that no client can rely on it


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalogue. ``lora_code``: what a request with an adapter is refused with, None where it runs."""

    name: str
    lora_code: int | None
    context: int | None
    neurons: tuple[int, int] | None  # per million tokens, prompt and reply


# [live] 2026-09-19: what a model without adapters says to one, where it is not 5005. The 70B "does not exist" then.
LORA_CODES = {LLAMA_70B: 5007}
CONTEXTS = {LLAMA_3B: 80_000}  # [live]
NEURONS = {LLAMA_3B: (4_625, 30_475), LLAMA_70B: (26_668, 204_805)}  # [docs]
# The part of the live list of 2026-09 that is known, with the property lora as it was: preflight's snapshot.
MODELS: Mapping[str, Model] = {
    entry["name"]: Model(
        entry["name"],
        None if entry["lora"] else LORA_CODES.get(entry["name"], 5005),
        CONTEXTS.get(entry["name"]),
        NEURONS.get(entry["name"]),
    )
    for entry in read_snapshot()["models"]
}

# code: (HTTP status, message). [docs] unless noted.
ERRORS: Mapping[int, tuple[int, str]] = {
    3003: (400, "Incomplete request"),
    3006: (413, "Request is too large"),
    3030: (400, "Lora not compatible with model"),  # [live], undocumented; status [assumed]
    3036: (429, "You have used up your daily free allocation of 10,000 neurons"),  # do not retry
    3039: (400, "Finetune is missing required files"),
    3040: (429, "Capacity temporarily exceeded, please try again."),  # retry
    5005: (405, "LoRa unsupported for this model"),
    5006: (400, "Bad input"),  # [live]
    5007: (400, "No such model"),
    5033: (400, "Finetune not found"),  # [live] 2026, undocumented; 3037 in 2024-25; status [assumed]
    7000: (400, "No route for that URI"),  # [live] also for %2F in a model's name and after a trailing slash
    7003: (404, "Could not route to that account, perhaps your object identifier is invalid?"),
    10009: (404, "get: 'key not found'"),  # Workers KV; its codes are [assumed]
    10013: (404, "namespace not found"),  # Workers KV
    10000: (401, "Authentication error"),  # 403 where the token is good and lacks the permission
    10405: (405, "Method not allowed for this authentication scheme"),
}


class WorkersAIError(Exception):
    """A refusal of the API; ``inference`` ones are worded as the run endpoint words them."""

    def __init__(self, code: int, detail: str = "", *, status: int | None = None) -> None:
        known_status, text = ERRORS.get(code, (400, ""))
        self.code = code
        self.status = status or known_status
        self.message = f"{text}: {detail}" if text and detail else text or detail
        super().__init__(self.message)


def request_id() -> str:
    """A fresh id as ``cf-ai-req-id`` carries it."""
    return str(uuid.uuid4())


def success(result: Any) -> dict[str, Any]:
    """The envelope of everything that went well."""
    return {"result": result, "success": True, "errors": [], "messages": []}


def failure(error: WorkersAIError) -> dict[str, Any]:
    """The envelope of a refusal outside the run endpoint."""
    return {
        "result": None,
        "success": False,
        "errors": [{"code": error.code, "message": error.message}],
        "messages": [],
    }


def run_failure(error: WorkersAIError, req_id: str) -> dict[str, Any]:
    """The run endpoint's refusal: the doubled ``AiError`` and the empty object as result are [live]."""
    message = f"AiError: AiError: {error.message} ({req_id})"
    return {"errors": [{"message": message, "code": error.code}], "success": False, "result": {}, "messages": []}


def binding_failure(error: WorkersAIError, req_id: str) -> dict[str, Any]:
    """What the AI binding turns into an ``AiError``: ``<internalCode>: <description>``."""
    name = error.message.partition(":")[0]
    return {
        "internalCode": error.code,
        "name": "AiError",
        "message": name,
        "description": f"{error.message} ({req_id})",
    }


def now_text() -> str:
    """A time as the live list writes it: ``2026-09-19 18:18:39.465``, which is not ISO 8601. [live]"""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def count_neurons(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    """The price of a reply in neurons, None where the model's price is not known. An adapter costs nothing. [live]"""
    known = MODELS.get(model)
    if known is None or known.neurons is None:
        return None
    return round((prompt_tokens * known.neurons[0] + completion_tokens * known.neurons[1]) / 1e6, 6)


def check_create(body: Any, taken: int, names: set[str]) -> tuple[str, str, str, bool]:
    """Model, name, description, public of a new finetune.

    ``taken`` is how many the account has and ``names`` what they are called. That a name cannot be used twice, and the
    codes, are [assumed].

    Raises:
        WorkersAIError: the body breaks the format, the model takes no adapters, the quota is full, the name is taken.
    """
    if not isinstance(body, dict):
        raise WorkersAIError(ASSUMED, "The body must be a JSON object with model and name")
    model, name = body.get("model"), body.get("name")
    description, public = body.get("description", ""), body.get("public", False)
    if not isinstance(model, str) or not isinstance(name, str) or not name.strip():
        raise WorkersAIError(ASSUMED, "model and name are required, as strings")
    if not isinstance(description, str) or not isinstance(public, bool):
        raise WorkersAIError(ASSUMED, "description must be a string and public a boolean")
    if model not in MODELS or MODELS[model].lora_code is not None:
        raise WorkersAIError(
            ASSUMED, f"MODEL_NOT_SUPPORTED: {model}"
        )  # [live] 2025-06, for models that the docs listed
    if name.startswith(RESERVED_PREFIX):
        raise WorkersAIError(ASSUMED, f"The prefix {RESERVED_PREFIX} is reserved")
    if taken >= QUOTA:
        raise WorkersAIError(ASSUMED, f"The account has {taken} finetunes of {QUOTA}")
    if name in names:
        raise WorkersAIError(ASSUMED, f"A finetune with the name {name} already exists")
    return model, name, description, public


def list_models() -> list[dict[str, Any]]:
    """The catalogue as ``ai/models/search`` gives it: properties are pairs of strings. [live]"""
    task = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, "Text Generation")),
        "name": "Text Generation",
        "description": "Family of generative text models.",
    }
    entries = []
    for model in MODELS.values():
        properties = [("lora", "true")] if model.lora_code is None else []
        if model.context:
            properties.append(("context_window", str(model.context)))
        entries.append(
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, model.name)),
                "source": 1,
                "name": model.name,
                "description": "Known to the emulator.",
                "task": task,
                "tags": [],
                "properties": [{"property_id": key, "value": value} for key, value in properties],
            }
        )
    return entries


def is_account(text: str) -> bool:
    """True for what can be an account's id; live ones are 32 hex digits, tests like shorter ones."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is not None
