"""Cloudflare's REST API as far as it reads: asking models of Workers AI, listing fine-tunes; over requests.

Covers: credentials, retries, the kinds of 429, error codes in words, slow or broken answers, bodies that are streamed.
Does not cover: creating and deleting fine-tunes (deploy.api goes on from here), prices (neurons), what replies are
worth.

Where documentation and clients are wrong, the fact stands beside the code that depends on it. "Seen live" is what other
people reported of the live API in 2025 and 2026; docs/ and this file say when.

The token is held in one object without a telling repr, is sent by an auth hook, and is cut out of every text that comes
back. Errors are raised outside of ``except``, since requests' exceptions carry the request with its headers.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, Protocol, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from harness.errors import SetupError
from harness.report import show_text
from harness.targets.remote import Pace, Repeats
from harness.targets.workers_ai_codes import CODES, NO_CAPACITY, NO_NEURONS, ApiError

BASE_URL = "https://api.cloudflare.com/client/v4"
MODEL = "@cf/meta/llama-3.2-3b-instruct"
MODEL_NAME = re.compile(r"@(?:cf|hf)/[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CONNECT_TIMEOUT = 10  # seconds
TIMEOUT = 120  # seconds for a whole answer; the platform ends a run long before
RETRIES = 4
BACKOFF = 0.5  # seconds, doubled at every repetition
LONGEST_WAIT = 60  # seconds; a longer Retry-After is told instead of waited for
AGAIN = (500, 502, 503, 504)
MAX_ANSWER = 16 << 20  # bytes
CONNECTIONS = 32  # as many threads may ask at once without waiting for one


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks whom. Printing this object never shows the token."""

    account: str
    token: str = field(repr=False)
    base_url: str = BASE_URL

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.account):
            raise SetupError(
                f"CLOUDFLARE_ACCOUNT_ID is {self.account[:80]!r}; expected the 32 hex digits of the dashboard's URL."
            )
        # requests would quote a header that it cannot send in its error.
        if not re.fullmatch(r"[!-~]{1,512}", self.token):
            raise SetupError("CLOUDFLARE_API_TOKEN is empty or holds spaces or other odd characters. Export it again.")
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise SetupError(f"CLOUDFLARE_API_BASE_URL is {self.host!r}, no address of an API. The usual: {BASE_URL}.")
        if parts.scheme == "http" and not self.local:
            raise SetupError(
                f"CLOUDFLARE_API_BASE_URL would send the token in clear to {parts.hostname}. Use https, or 127.0.0.1."
            )

    @property
    def host(self) -> str:
        """The API's host and port."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    @property
    def place(self) -> str:
        """Host and account as the name of a folder: what is recorded about one account is never taken for another's."""
        return re.sub(r"[^A-Za-z0-9._-]", "-", f"{self.host}-{self.account}")

    @property
    def local(self) -> bool:
        """True where the API is on this machine: the emulator."""
        return urlsplit(self.base_url).hostname in LOOPBACK

    def scrub(self, text: str) -> str:
        """A text without the token, should somebody have put it there."""
        return text.replace(self.token, "[token]")


def load_credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """Account, token and address from the environment.

    Raises:
        SetupError: one is missing or malformed; the token's value is never shown.
    """
    for name in ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"):
        if not environment.get(name, "").strip():
            raise SetupError(f"{name} is not set. Export it (a token needs the permission Workers AI Write).")
    return Credentials(
        environment["CLOUDFLARE_ACCOUNT_ID"].strip(),
        environment["CLOUDFLARE_API_TOKEN"].strip(),
        (environment.get("CLOUDFLARE_API_BASE_URL", "").strip() or BASE_URL).rstrip("/"),
    )


def check_model(name: str) -> str:
    """The name of a model, as it may stand in a path.

    Raises:
        SetupError: it is none.
    """
    if not MODEL_NAME.fullmatch(name):
        raise SetupError(f"{name!r} is no model of Workers AI. Write e.g. {MODEL}.")
    return name


@dataclass(frozen=True, slots=True)
class Finetune:
    """A fine-tune as the list names it; ``created`` is in the API's own spelling."""

    id: str
    name: str
    model: str
    description: str = ""
    created: str = ""

    @property
    def when(self) -> datetime:
        """The moment it was created, the earliest possible where the API's spelling is not known.

        Live it is "2026-09-19 18:18:39.465" without an offset (UTC), in the documentation ISO 8601.
        """
        try:
            moment = datetime.fromisoformat(self.created)
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of a model. ``neurons`` is None where the API does not tell."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    neurons: float | None
    seconds: float


class Body(Protocol):
    """What is streamed: ``read`` from where ``seek`` put it, with a length and a content type."""

    # ruff: noqa: D102  # these are a file's methods

    content_type: str

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...

    def read(self, size: int = -1) -> bytes: ...

    def seek(self, position: int, whence: int = 0) -> int: ...

    def tell(self) -> int: ...


class _Auth(requests.auth.AuthBase):
    """Puts the token into a request; as an auth hook it also keeps ~/.netrc from replacing it."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._credentials.token}"
        return request


class _Repeats(Repeats):
    """Not 429, either: its kinds differ by what the body says."""

    RETRY_AFTER_STATUS_CODES = frozenset({503})
    pace: Pace | None = None

    def new(self, **changes: Any) -> Self:
        """As urllib3's, which makes a new object for every repetition."""
        made = super().new(**changes)
        made.pace = self.pace
        return made

    def sleep(self, response: Any = None) -> None:
        """Wait before a repetition; it counts as a request."""
        super().sleep(response)
        if self.pace is not None:
            self.pace.take()


@dataclass(frozen=True, slots=True)
class _Raw:
    status: int
    headers: Mapping[str, str]
    body: bytes


class WorkersAIReader:
    """A client of one account that changes nothing there. ``pace`` bounds its requests to models."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        retries: int = RETRIES,
        backoff: float = BACKOFF,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
        pace: Pace | None = None,
    ) -> None:
        self.credentials = credentials
        self.skew: float | None = None  # seconds by which this machine's clock is ahead of the API's
        self._retries, self._backoff, self._timeout, self._sleep = retries, backoff, timeout, sleep
        self._root = f"{credentials.base_url.rstrip('/')}/accounts/{credentials.account}/ai"
        self._pace = pace
        repeats = _Repeats(
            total=retries,
            connect=min(retries, 2),
            status_forcelist=AGAIN,
            allowed_methods=None,
            backoff_factor=backoff,
            backoff_max=LONGEST_WAIT,
            raise_on_status=False,
        )
        repeats.pace = pace
        self._session = self._open_session(repeats)
        # What must not happen twice is repeated only where no connection came about.
        self._once = self._open_session(
            _Repeats(total=None, connect=min(retries, 2), read=0, status=0, other=0, redirect=0, backoff_factor=backoff)
        )

    def list_finetunes(self) -> list[Finetune]:
        """The account's fine-tunes.

        The live API gives a flat list; the published OpenAPI says one object, the documentation a list in a list.

        Raises:
            ApiError: the API refused, is out of reach, or gave something else.
        """
        return [read_finetune(entry) for entry in list_of(self._ask("GET", "/finetunes"))]

    def run(self, model: str, inputs: Mapping[str, object]) -> Answer:
        """Ask a model; a LoRA is named in ``inputs["lora"]``.

        Raises:
            ApiError: the API refused, is out of reach, or gave no text.
        """
        check_model(model)
        if self._pace is not None:
            self._pace.take()
        started = time.perf_counter()
        # The slashes stay as they are: %2F, which the published Python and TypeScript clients send, gives 400 / 7000.
        answer = self._ask("POST", f"/run/{model}", dict(inputs))
        seconds = time.perf_counter() - started
        result = answer.get("result")
        if not isinstance(result, dict) or not isinstance(result.get("response"), str):
            shown = show_text(self._clean(json.dumps(answer)), 200)
            raise ApiError(f"{model} answered without text: {shown}", "Ask it again")
        usage = result.get("usage")
        told = usage if isinstance(usage, dict) else {}
        asked, written, neurons = (told.get(key) for key in ("prompt_tokens", "completion_tokens", "neurons"))
        return Answer(
            result["response"],
            int(asked) if isinstance(asked, int | float) else 0,
            int(written) if isinstance(written, int | float) else 0,
            float(neurons) if isinstance(neurons, int | float) else None,
            seconds,
        )

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._once.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.credentials!r})"

    def _open_session(self, retry: Repeats) -> requests.Session:
        session = requests.Session()
        session.auth = _Auth(self.credentials)
        session.headers["Accept-Encoding"] = "identity"  # so that a length says whether an answer is whole
        session.trust_env = not self.credentials.local  # no proxy stands between us and this machine
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=CONNECTIONS))
        return session

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        stream: Body | None = None,
        once: bool = False,
        root: str | None = None,
    ) -> dict[str, Any]:
        """One operation: its JSON object, after all repetitions that make sense."""
        url = (root or self._root) + path
        where = f"{method} {path.partition('?')[0]}"
        for attempt in range(self._retries + 1):
            last = attempt == self._retries or once
            raw, failure = self._send(method, url, body, stream, once=once)
            if raw is None:
                assert failure is not None
                if failure.sent and failure.status is not None and not last:  # cut short: asked again
                    self._wait(self._backoff * 2**attempt)
                    continue
                raise failure
            self._note_clock(raw.headers)
            answer = _parse_object(raw.body)
            if raw.status < 300 and answer is not None and answer.get("success") is True:
                return answer
            error = self._explain(where, raw, answer)
            wait = read_wait(raw.headers.get("Retry-After"), self._backoff * 2**attempt)
            # 3036 is over for today; 3040, and a rate limit without a code of its own, pass.
            passing = raw.status == 429 and error.code != NO_NEURONS
            broken = raw.status < 300 and answer is None
            if last or not (passing or broken) or wait > LONGEST_WAIT:
                raise error
            if passing and error.code != NO_CAPACITY and self._pace is not None:
                self._pace.pause(wait)  # too many requests a minute: no other thread asks, either
            self._wait(wait)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)
        if self._pace is not None:
            self._pace.take()

    def _send(
        self, method: str, url: str, body: Mapping[str, object] | None, stream: Body | None, *, once: bool
    ) -> tuple[_Raw | None, ApiError | None]:
        """One request: an answer of any status, or why there is none."""
        session = self._once if once else self._session
        arguments: dict[str, Any] = {"json": body} if body is not None else {}
        if stream is not None:
            stream.seek(0)
            arguments = {"data": stream, "headers": {"Content-Type": stream.content_type}}
        sent, status = True, None
        deadline = time.monotonic() + self._timeout
        host = self.credentials.host
        try:
            # A redirect is refused: no operation has one, and it could carry the token elsewhere.
            response = session.request(
                method,
                url,
                timeout=(CONNECT_TIMEOUT, self._timeout),
                stream=True,
                allow_redirects=False,
                **arguments,
            )
            status = response.status_code
            return _Raw(status, response.headers, _read_body(response, deadline)), None
        except (requests.ConnectTimeout, requests.exceptions.SSLError) as error:
            sent = False
            secure = "certificate" in str(error).lower()
            what = f"{host} shows no valid certificate" if secure else f"{host} cannot be reached in time"
            fix = "Check this machine's clock and certificates" if secure else "Check the network"
        except (requests.Timeout, ReadTimeoutError):
            what, fix, status = f"{host} gave no whole answer within {self._timeout:g} s", "Try again later", None
        except requests.ConnectionError as error:
            sent = "NewConnectionError" not in str(error) and "NameResolution" not in str(error)
            refused = "refused the connection" if "refused" in str(error).lower() else "cannot be reached"
            what = f"{host} {'dropped the connection' if sent else refused}"
            fix = "Try again" if sent else "Check the network and CLOUDFLARE_API_BASE_URL"
        except (requests.RequestException, HTTPError) as error:
            what, fix = f"{host} broke off its answer or cannot be asked ({type(error).__name__})", "Try again"
        return None, ApiError(self._clean(what), fix, status=status, sent=sent)

    def _explain(self, where: str, raw: _Raw, answer: dict[str, Any] | None) -> ApiError:
        """What an answer that is no success means."""
        errors = answer.get("errors") if answer else None
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        code = first.get("code") if isinstance(first.get("code"), int) else None
        said = first.get("message")
        if not isinstance(said, str) or not said:
            said = raw.body.decode("utf-8", "replace")
        said = show_text(" ".join(self._clean(said)[:400].split()), 200) or "nothing"  # cleaned before it is cut
        meaning, fix = CODES.get(code or 0, ("", ""))
        if not meaning and raw.status in {401, 403}:
            meaning, fix = CODES[10000]
        if not meaning and raw.status == 429:
            meaning, fix = "too many requests a minute", "Try again in a minute"
        if not meaning and answer is None:
            kind = "a page instead of JSON" if raw.body.lstrip()[:1] == b"<" else "no JSON object"
            meaning, fix = f"it answered with {kind}", "Try again; check CLOUDFLARE_API_BASE_URL when it stays"
        numbers = f"{raw.status}" + (f", code {code}" if code is not None else "")
        what = f"{where} failed ({numbers}): " + (f"{meaning}; it said: {said}" if meaning else said)
        # An answer of 200 that is none says nothing about what was done.
        status = raw.status if raw.status >= 300 or answer else None
        return ApiError(
            what.rstrip("."), fix or "Try again, or read the documentation of this code", status=status, code=code
        )

    def _note_clock(self, headers: Mapping[str, str]) -> None:
        try:
            self.skew = time.time() - parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return

    def _clean(self, text: str) -> str:
        return self.credentials.scrub(text)


def _read_body(response: requests.Response, deadline: float) -> bytes:
    """The whole answer; a server that sends it drop by drop does not hold us beyond the deadline."""
    parts: list[bytes] = []
    length = 0
    with response:
        while part := response.raw.read1(1 << 16, decode_content=True):
            parts.append(part)
            length += len(part)
            if time.monotonic() > deadline:
                raise requests.Timeout("slow")
            if length > MAX_ANSWER:
                raise requests.RequestException("too long")
    return b"".join(parts)


def _parse_object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def list_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The list in an answer, however it is wrapped.

    Raises:
        ApiError: there is none.
    """
    result = answer.get("result")
    if isinstance(result, dict):
        result = [result] if result else []
    if isinstance(result, list) and len(result) == 1 and isinstance(result[0], list):
        result = result[0]
    if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
        _refuse_list(result)
    return result


def _refuse_list(result: object) -> NoReturn:
    raise ApiError(f"The API answered without a list: {show_text(json.dumps(result), 200)}", "Try again")


def read_finetune(entry: Mapping[str, Any]) -> Finetune:
    """A fine-tune from an entry of the list; what is missing is empty."""
    values = [entry.get(key) for key in ("id", "name", "model", "description", "created_at")]
    return Finetune(*(value if isinstance(value, str) else "" for value in values))


def read_wait(value: str | None, default: float) -> float:
    """The seconds that Retry-After asks for, which may be a date; ``default`` where it says nothing usable."""
    if not value:
        return default
    try:
        return max(0.0, float(value)) if math.isfinite(float(value)) else default
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return default
