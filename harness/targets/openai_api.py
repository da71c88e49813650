"""Any server that speaks the OpenAI chat API: vLLM, transformers serve, llama.cpp and others.

Covers: greedy chat completions with retries, bounded concurrency, and one clear line when the server is not there.
Does not cover: starting a server, streaming, the server's own prompt. The server puts its model's chat template around
our messages; with ``harness/embedded/chat_template.jinja`` that is the prompt of ``harness.prompt`` byte for byte,
while the official Llama 3.2 template stamps a date into it.

The store's key holds url, model and, where the server tells it, its build. Where it does not, replies stored before an
upgrade of the server are taken for its own: choose a new store then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from harness.errors import SetupError, TargetError
from harness.targets.adapter_folder import WEIGHTS, digest_adapter, read_adapter
from harness.targets.base import ClosingTarget, Completion, Decoding, Prompt, TargetSpec, check_options, read_number
from harness.targets.remote import GoneError, Repeats, ask_all

OPTIONS = {
    "url": "where the API is, up to and with /v1",
    "model": "the model's name at the server; may be left out where it serves one",
    "base_model": "the base's name at the server, to compare with",
    "key_env": "environment variable that holds the API key",
    "concurrency": "requests at once",
    "timeout": "seconds to wait for a reply",
    "retries": "how often a request is repeated",
}
DEFAULT_URL = "http://127.0.0.1:8000/v1"
KEY_ENV = "OPENAI_API_KEY"
CONCURRENCY = 8
TIMEOUT = 120
RETRIES = 4
AGAIN = (408, 429, 500, 502, 503, 504)
CONNECT_TIMEOUT = 10


class OpenAITarget(ClosingTarget):
    """A client of one server and one model."""

    remember: ClassVar[bool] = True

    def __init__(self, spec: TargetSpec) -> None:
        self.name = spec.name
        self.spec = spec
        self.identity: Mapping[str, str] = self.identify(spec)
        self.model = self.identity["model"]
        self.adapter_bytes = (spec.adapter / WEIGHTS).stat().st_size if spec.adapter else None
        self._url = spec.options["url"]
        self._concurrency = read_number(spec, "concurrency", CONCURRENCY)
        self._timeout = read_number(spec, "timeout", TIMEOUT)
        self._session = _open_session(spec, read_number(spec, "retries", RETRIES), self._concurrency)

    @classmethod
    def resolve(cls, spec: TargetSpec) -> TargetSpec:
        """Check url and numbers; asks nothing of the server."""
        check_options(spec, OPTIONS)
        url = spec.options.get("url", DEFAULT_URL).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise SetupError(f"Option url={url!r} is no http address. Write e.g. url={DEFAULT_URL}.")
        for name, default in (("concurrency", CONCURRENCY), ("timeout", TIMEOUT), ("retries", RETRIES)):
            read_number(spec, name, default)
        key_env = spec.options.get("key_env")
        if key_env and key_env not in os.environ:
            raise SetupError(f"Option key_env={key_env!r}: no such environment variable. Export it with the API key.")
        if spec.adapter is not None:
            read_adapter(spec.adapter)
        return spec.with_options(url=url)

    @classmethod
    def identify(cls, spec: TargetSpec) -> Mapping[str, str]:
        """Url, model and the server's build; asks the server which models it has.

        Raises:
            SetupError: the server is not there, or has no such model.
        """
        url = spec.options["url"]
        with _open_session(spec, 0, 1) as session:
            model = spec.options.get("model")
            models = _list_models(session, url)
            if model is None:
                if len(models) != 1:
                    known = ", ".join(models) or "none that it names"
                    raise SetupError(
                        f"{url} serves several models or none: {known}. Choose one with the option model=NAME."
                    )
                model = models[0]
            build = _ask_build(session, url)
        adapter = digest_adapter(spec.adapter) if spec.adapter else "served"
        return {"target": "openai", "url": url, "model": model, "server": build, "adapter": adapter}

    @classmethod
    def without_adapter(cls, spec: TargetSpec) -> TargetSpec | None:
        """The model named as base_model; None where none is named."""
        if "base_model" not in spec.options:
            return None
        options = {name: value for name, value in spec.options.items() if name != "base_model"}
        return replace(spec, adapter=None, options={**options, "model": spec.options["base_model"]})

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> Iterator[tuple[int, Completion | TargetError]]:
        """Ask for all replies, some at once; a server that is gone is not asked again for the rest."""
        return ask_all(prompts, partial(self._ask, decoding=decoding), self._concurrency)

    def time_one(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One request alone; the seconds are from sending to the whole reply, retries included."""
        return self._ask(prompt, decoding)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(self, prompt: Prompt, decoding: Decoding) -> Completion:
        body = {
            "model": self.model,
            "messages": [dict(message) for message in prompt.messages],
            "temperature": 0,
            "stream": False,
            **asdict(decoding),
        }
        where = f"{self._url}/chat/completions"
        started = time.perf_counter()
        try:
            response = self._session.post(where, json=body, timeout=(CONNECT_TIMEOUT, self._timeout))
        except requests.Timeout:
            raise TargetError(
                f"{where} gave no reply within {self._timeout} s. Raise it with timeout=SECONDS."
            ) from None
        except requests.ConnectionError as error:
            raise GoneError(_no_connection(where, error)) from None
        except requests.RequestException as error:
            raise TargetError(f"{where} cannot be asked: {_first_line(str(error))}") from None
        seconds = time.perf_counter() - started
        if not response.ok:
            raise TargetError(f"{where} answered {response.status_code}: {_first_line(response.text)}")
        try:
            answer = response.json()
            choice = answer["choices"][0]
            text = choice["message"].get("content") or ""
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
            truncated = choice.get("finish_reason") == "length"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise TargetError(f"{where} answered no chat completion: {_first_line(response.text)}") from None
        if not isinstance(text, str):
            raise TargetError(f"{where} answered with content that is no text: {_first_line(str(text))}")
        return Completion(text, truncated, seconds, tokens)


def _open_session(spec: TargetSpec, retries: int, connections: int) -> requests.Session:
    session = requests.Session()
    retry = Repeats(
        total=retries,
        connect=min(retries, 2),
        status_forcelist=AGAIN,
        allowed_methods=None,  # POST as well: the same prompt gives the same greedy reply
        backoff_factor=0.25,
        raise_on_status=False,
    )
    adapter = HTTPAdapter(max_retries=retry, pool_maxsize=connections, pool_connections=1)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    key = os.environ.get(spec.options.get("key_env", KEY_ENV))
    if key:
        session.headers["Authorization"] = f"Bearer {key}"
    return session


def _list_models(session: requests.Session, url: str) -> list[str]:
    where = f"{url}/models"
    try:
        response = session.get(where, timeout=(CONNECT_TIMEOUT, CONNECT_TIMEOUT))
    except requests.ConnectionError as error:
        raise SetupError(_no_connection(where, error)) from None
    except requests.RequestException as error:
        raise SetupError(f"{where} cannot be asked: {_first_line(str(error))}. Check the option url.") from None
    if response.status_code in {401, 403}:
        raise SetupError(
            f"{where} refused the API key ({response.status_code}). Export {KEY_ENV}, or name it with key_env=NAME."
        )
    if not response.ok:
        return []  # some servers do not list their models (transformers serve without a hub cache); model then decides
    try:
        return [str(entry["id"]) for entry in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        raise SetupError(
            f"{where} is no OpenAI API: {_first_line(response.text)} Give its address up to /v1."
        ) from None


def _ask_build(session: requests.Session, url: str) -> str:
    """The server's version as vLLM tells it (``/version``), or "untold"."""
    parts = urlsplit(url)
    try:
        answer: Any = session.get(f"{parts.scheme}://{parts.netloc}/version", timeout=CONNECT_TIMEOUT).json()
        return str(answer["version"])
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return "untold"


def _no_connection(where: str, error: requests.ConnectionError) -> str:
    refused = "refused the connection" if "refused" in str(error).lower() else "cannot be reached"
    return (
        f"{where} {refused}. Start the server there (transformers serve, vllm serve …), or give another with url=URL."
    )


def _first_line(text: str) -> str:
    line = " ".join(text.split()) or "nothing"
    return line if len(line) <= 200 else line[:199] + "…"
