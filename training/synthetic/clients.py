"""One request over HTTP: the Messages API, Message Batches, or an OpenAI-compatible server; and when to try again.

Covers: the bodies that are sent, the raw text that comes back, waiting after 429, 529 and 5xx, no second try after 4xx,
keys that never get into a message.
Does not cover: which requests are sent and when to stop (asking), what a reply says (ledger, harvest).

The SDK's own retries are off: it would repeat a request whose reply got lost without a word, and that reply may have
been paid.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from harness.errors import SetupError, TargetError
from training.synthetic.plan import Plan, Request

T = TypeVar("T")
ATTEMPTS = 6
LONGEST_WAIT = 600.0  # seconds; a server that asks for more is asked again with --resume
TIMEOUT = 600.0  # seconds for one reply
AGAIN = (408, 409, 429)  # and all of 5xx, 529 among them
# With the newer version of the API, a temperature is refused for every model.
SAMPLING_VERSION = {"anthropic-version": "2023-06-01"}
KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


@dataclass
class TryAgainError(Exception):
    """The server may answer another time; ``maybe_paid`` where it may have worked for nothing."""

    why: str
    after: float | None = None  # seconds, as the server asks
    maybe_paid: bool = False


class StoppedError(Exception):
    """Somebody pressed Ctrl-C, or another request showed that none will be answered."""


class Client(Protocol):
    """Something that answers one request."""

    def ask(self, request: Request) -> str:
        """The raw text of the reply."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def with_retries(
    call: Callable[[], T],
    stop: threading.Event,
    *,
    on_wait: Callable[[str, float], None] = lambda why, seconds: None,
    on_lost: Callable[[str], None] = lambda why: None,
) -> T:
    """Call until there is a result: after the time that the server asks for, else after 1, 2, 4 ... seconds and some.

    Raises:
        StoppedError: ``stop`` was set before the next attempt.
        TargetError: the last attempt failed as well.
    """
    for attempt in range(ATTEMPTS):
        if stop.is_set():
            raise StoppedError
        try:
            return call()
        except TryAgainError as error:
            if error.maybe_paid:
                on_lost(error.why)
            delay = error.after or 2**attempt * (1 + random.random() / 4)
            if attempt + 1 == ATTEMPTS or delay > LONGEST_WAIT:
                asks = f" and asks to wait {delay:.0f} s" if delay > LONGEST_WAIT else f", {attempt + 1} times"
                raise TargetError(f"{error.why}{asks}. Nothing is lost: go on later with --resume.") from None
            on_wait(error.why, delay)
            stop.wait(delay)
    raise AssertionError("the loop returns or raises")


class ClaudeClient:
    """The Messages API and its batches, through the ``anthropic`` SDK."""

    def __init__(self, plan: Plan) -> None:
        """Raises SetupError: no key is set, or the SDK is not installed."""
        try:
            import anthropic
        except ImportError:
            raise SetupError("The anthropic SDK is missing: pip install 'toolgate[synthetic]'.") from None
        if not any(os.environ.get(name) for name in KEY_VARIABLES):
            raise SetupError(f"No API key. Export {KEY_VARIABLES[0]}, or give --base-url of a server of your own.")
        self._plan = plan
        with _claude_errors():
            self._client = anthropic.Anthropic(max_retries=0, timeout=TIMEOUT)
        self._headers = SAMPLING_VERSION if plan.temperature is not None else {}

    def ask(self, request: Request) -> str:
        """The raw text of one reply.

        Raises:
            TryAgainError: 408, 409, 429, 5xx, or no reply.
            SetupError: any other status; no other request will fare better.
        """
        body = self._body(request)
        sampling = {"temperature": body.pop("temperature")} if "temperature" in body else None
        with _claude_errors():
            create = self._client.messages.with_raw_response.create
            return str(create(**body, extra_headers=self._headers, extra_body=sampling).text())

    def create_batch(self, requests: list[Request]) -> str:
        """Make a batch; its id."""
        items: Any = [{"custom_id": custom_id(self._plan, r.id), "params": self._body(r)} for r in requests]
        with _claude_errors():
            return self._client.messages.batches.create(requests=items, extra_headers=self._headers).id

    def batch_ended(self, batch: str) -> bool:
        """True when all its results are there."""
        with _claude_errors():
            return self._client.messages.batches.retrieve(batch).processing_status == "ended"

    def cancel_batch(self, batch: str) -> None:
        """Ask for no more results; those that are there stay, and are paid."""
        with _claude_errors():
            self._client.messages.batches.cancel(batch)

    def batch_results(self, batch: str) -> Iterator[str]:
        """The raw lines of its results, as they come."""
        with _claude_errors(), self._client.messages.batches.with_streaming_response.results(batch) as response:
            for line in response.iter_lines():
                if line.strip():
                    yield line

    def batches_since(self, moment: datetime, size: int) -> list[str]:
        """Ids of batches of ``size`` requests that were made at or after a time."""
        found = []
        with _claude_errors():
            for batch in self._client.messages.batches.list(limit=100):
                if batch.created_at < moment:
                    break  # the newest come first
                counts = batch.request_counts
                total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                if total == size:
                    found.append(batch.id)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        plan = self._plan
        body: dict[str, Any] = {
            "model": plan.model,
            "max_tokens": request.max_tokens,
            "system": plan.system,
            "messages": [{"role": "user", "content": request.prompt}],
        }
        if plan.temperature is not None:
            body["temperature"] = plan.temperature
        if plan.effort is not None:
            body["output_config"] = {"effort": plan.effort}
        return body


class ChatClient:
    """An open model on an OpenAI-compatible server (vLLM, llama.cpp, transformers serve)."""

    def __init__(self, plan: Plan, key_env: str | None) -> None:
        """Raises SetupError: the named variable is not set."""
        import requests

        if key_env is not None and not os.environ.get(key_env):
            raise SetupError(f"--key-env {key_env}: no such environment variable. Export it with the server's key.")
        self._plan = plan
        self._url = f"{(plan.base_url or '').rstrip('/')}/chat/completions"
        self._secret = os.environ[key_env] if key_env else None
        self._session = requests.Session()
        if self._secret:
            self._session.headers["Authorization"] = f"Bearer {self._secret}"

    def ask(self, request: Request) -> str:
        """The raw text of one reply; raises as ClaudeClient does."""
        import requests

        plan = self._plan
        body: dict[str, Any] = {
            "model": plan.model,
            "max_tokens": request.max_tokens,
            "messages": [{"role": "system", "content": plan.system}, {"role": "user", "content": request.prompt}],
        }
        if plan.temperature is not None:
            body["temperature"] = plan.temperature
        try:
            # Not redirected: what answers must be the server that was named.
            reply = self._session.post(self._url, json=body, timeout=(10, TIMEOUT), allow_redirects=False)
        except requests.RequestException as error:
            never_sent = isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error)
            why = f"No reply from {self._url} ({type(error).__name__})"
            raise TryAgainError(why, maybe_paid=not never_sent) from None
        if reply.status_code != 200:
            text = reply.text[:300].replace(self._secret, "***") if self._secret else reply.text[:300]
            _raise_status(self._url, reply.status_code, " ".join(text.split()), reply.headers.get("retry-after"))
        reply.encoding = "utf-8"
        return reply.text

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def check_url(url: str) -> str:
    """An address up to and with /v1.

    Raises:
        SetupError: it is none, or holds a password, which would stand in plan.json.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"--base-url {url!r} is no http address. Write e.g. http://127.0.0.1:8000/v1.")
    if parts.username or parts.password or parts.query:
        raise SetupError("--base-url holds a name, a password or a query. Give a key with --key-env VARIABLE.")
    return url.rstrip("/")


def custom_id(plan: Plan, request: str) -> str:
    """The name of a request in a batch; a batch of another run has none like it."""
    return f"{plan.run}-{request}"


@contextmanager
def _claude_errors() -> Iterator[None]:
    """The SDK's errors as ours, without the key that a server may have echoed."""
    import anthropic
    import httpx2

    try:
        yield
    except anthropic.APIStatusError as error:
        wait = error.response.headers.get("retry-after")
        _raise_status("The API", error.status_code, hide_keys(_first_line(error)), wait)
    except anthropic.APIConnectionError as error:
        never_sent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        raise TryAgainError(f"No reply from the API ({_cause(error)})", maybe_paid=not never_sent) from None
    except httpx2.TransportError as error:  # in the middle of a stream
        raise TryAgainError(f"No reply from the API ({type(error).__name__})", maybe_paid=True) from None
    except anthropic.AnthropicError as error:
        raise SetupError(f"The anthropic SDK: {hide_keys(_first_line(error))}") from None


def _raise_status(who: str, status: int, text: str, retry_after: str | None) -> None:
    if status in AGAIN or status >= 500:
        raise TryAgainError(f"{who} answered {status}: {text}", after=read_wait(retry_after))
    hints = {401: " Check the key.", 403: " Check what the key may do.", 404: " Check --model."}
    raise SetupError(f"{who} answered {status}: {text}{'' if text.endswith('.') else '.'}{hints.get(status, '')}")


def read_wait(header: str | None) -> float | None:
    """Seconds of a ``retry-after`` header, which holds seconds or a date; None where it says nothing."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def hide_keys(text: str) -> str:
    """A message without the API keys of the environment."""
    for name in KEY_VARIABLES:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return text


def _first_line(error: Exception) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("error"), dict) and body["error"].get("message"):
        return " ".join(str(body["error"]["message"]).split())[:300]
    return " ".join(str(error).split())[:300]


def _cause(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__
