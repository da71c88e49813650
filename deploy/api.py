"""Cloudflare's REST API as far as it changes an account: fine-tunes, and what is asked before one is made.

Covers: creating, filling and deleting fine-tunes, the list of models, what a token may do.
Does not cover: the transport, asking models (harness.targets.workers_ai), what may be uploaded (preflight, export,
upload), what a reply is worth (probe, parity).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from harness.targets.workers_ai import (
    MODEL,
    Answer,
    Body,
    Credentials,
    Finetune,
    WorkersAIReader,
    check_model,
    list_of,
    load_credentials,
    read_finetune,
)
from harness.targets.workers_ai_codes import NO_FINETUNE, NO_ROUTE, ApiError

__all__ = [
    "MODEL",
    "Answer",
    "Body",
    "Credentials",
    "Finetune",
    "ServedModel",
    "WorkersAI",
    "check_model",
    "load_credentials",
]

PAGE, MAX_PAGES = 50, 40


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the list and what is told about its serving."""

    name: str
    lora: bool


class WorkersAI(WorkersAIReader):
    """A client of one account."""

    def list_models(self) -> list[ServedModel]:
        """All models that the account may use.

        Raises:
            ApiError: the API refused or is out of reach.
        """
        found: dict[str, ServedModel] = {}
        for page in range(1, MAX_PAGES + 1):
            answer = self._ask("GET", f"/models/search?per_page={PAGE}&page={page}")
            entries = list_of(answer)
            models = [_read_model(entry) for entry in entries if isinstance(entry.get("name"), str)]
            fresh = [model for model in models if model.name not in found]
            found |= {model.name: model for model in fresh}
            # A server that gives the same page for ever would hold up the published Python client.
            if len(entries) < PAGE or not fresh:
                break
        return list(found.values())

    def create_finetune(self, model: str, name: str, description: str) -> Finetune:
        """Create an empty fine-tune; never repeated, since each one takes a place of 100.

        Raises:
            ApiError: the API refused or is out of reach. With ``sent`` and no ``refused`` it may exist all the same.
        """
        body = {"model": model, "name": name, "description": description, "public": False}
        result = self._ask("POST", "/finetunes", body, once=True).get("result")
        if not isinstance(result, dict) or not isinstance(result.get("id"), str) or not result["id"]:
            raise ApiError("The API created a fine-tune without telling its id", "Look for it: python -m deploy list")
        return read_finetune({"name": name, "model": model, "description": description, **result})

    def send_asset(self, finetune: str, body: Body) -> None:
        """Send one file, streamed.

        Raises:
            ApiError: the API refused or is out of reach.
        """
        # No slash at the end, as the documentation has it: live that gives "Route not found".
        self._ask("POST", f"/finetunes/{quote(finetune, safe='')}/finetune-assets", stream=body)

    def delete_finetune(self, finetune: str) -> None:
        """Delete a fine-tune; requests in flight that use it fail. One that is gone already is no error.

        In no published schema of mid-2026; read in the sources of Cloudflare's own newer client.

        Raises:
            ApiError: the API refused, is out of reach, or has no such operation (``no_route``).
        """
        try:
            self._ask("DELETE", f"/finetunes/{quote(finetune, safe='')}")
        except ApiError as error:
            if error.code not in NO_FINETUNE:
                raise

    def check_write(self) -> None:
        """Find out whether the token may create, by a creation that lacks its fields and so is refused.

        That permissions come before the fields is inferred, not documented.

        Raises:
            ApiError: the token may not, or the API is out of reach.
        """
        try:
            made = self._ask("POST", "/finetunes", {}, once=True)
        except ApiError as error:
            if error.refused and error.status not in {401, 403} and error.code not in {1000, 9109, 10000, *NO_ROUTE}:
                return
            raise
        result = made.get("result")
        if isinstance(result, dict) and isinstance(result.get("id"), str):
            self.delete_finetune(result["id"])

    def read_token(self) -> Mapping[str, Any]:
        """What the API tells about the token: ``status``, ``expires_on``; empty where it does not tell."""
        for path in (f"/accounts/{self.credentials.account}/tokens/verify", "/user/tokens/verify"):
            try:
                result = self._ask("GET", path, root=self.credentials.base_url).get("result")
            except ApiError:
                continue
            if isinstance(result, dict):
                return result
        return {}


def _read_model(entry: Mapping[str, Any]) -> ServedModel:
    properties = entry.get("properties")
    told = {
        item.get("property_id"): str(item.get("value"))
        for item in (properties if isinstance(properties, list) else [])
        if isinstance(item, dict)
    }
    return ServedModel(str(entry["name"]), told.get("lora", "").lower() == "true")
