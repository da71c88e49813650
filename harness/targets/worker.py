"""The deployed Worker, as a user's page reaches it.

Covers: one conversation per request, the Worker's own prompt around it, which adapter answers, many requests at once,
what it costs by the usage that it tells.
Does not cover: what the Worker itself asks (cloudflare), executing calls: its endpoint for replies does not.

    POST URL/api/reply   {"messages": [{"role": "user", "content": "..."}, ...], "now": "2026-03-02T09:00:00+00:00"}
                      -> {"text": "...", "truncated": false, "adapter": "...", "usage": {"completion_tokens": 9, ...}}
    GET  URL/api/health -> {"model": "...", "adapter": "...", "prompt": "sha256:..."}
    errors: a status from 400 up and {"error": {"code": 3040, "message": "..."}}; a code is Workers AI's, or a word

``messages`` are those of the case, without a system prompt: the Worker puts its own there, with ``now`` in its last
line. ``text`` is all that is needed of a reply. What health says is part of the store's key; a reply of another adapter
than that is an error, since traffic may be switched, or split, while we ask. From a Worker that says nothing there no
reply is taken from an earlier run; the option ``version`` then names what is deployed.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from harness.errors import SetupError, TargetError
from harness.report import show_text
from harness.targets.adapter_folder import WEIGHTS, digest_adapter, read_adapter
from harness.targets.base import ClosingTarget, Completion, Decoding, Prompt, TargetSpec, check_options, read_number
from harness.targets.cloudflare import adapter_part, folder_part
from harness.targets.neurons import Meter, estimate_cost
from harness.targets.remote import LONGEST_WAIT, GoneError, Pace, Repeats, ask_all
from harness.targets.workers_ai import CONNECTIONS, LOOPBACK, MODEL, read_wait
from harness.targets.workers_ai_codes import CODES, NO_CAPACITY, ONE_PROMPT

OPTIONS = {
    "url": "the Worker's address",
    "version": "what is deployed, where the Worker itself does not tell it",
    "key_env": "environment variable that holds the Worker's access token",
    "concurrency": "requests at once",
    "per_minute": "most requests in any minute; the platform's limit for its model is 300",
    "timeout": "seconds to wait for a reply",
}
CONCURRENCY, PER_MINUTE, TIMEOUT = 8, 280, 60
KEY_ENV = "WORKER_ACCESS_TOKEN"
RETRIES, BACKOFF = 4, 0.5  # seconds, doubled at every repetition
AGAIN = (429, 500, 502, 503, 504)
REFUSED = (401, 403, 404, 405)
NOT_DEPLOYED = ("no-token", "no-adapter")  # the Worker's own words for what is missing
CONNECT_TIMEOUT = 10
THIS_PROCESS = uuid.uuid4().hex
TIME_LINE = re.compile(r"Current time: (\S+) \([A-Z][a-z]+\)\s*\Z")


class WorkerTarget(ClosingTarget):
    """A client of one deployed Worker."""

    remember: ClassVar[bool] = True

    def __init__(self, spec: TargetSpec) -> None:
        self.name = spec.name
        self.spec = spec
        self.identity: Mapping[str, str] = self.identify(spec)
        self.adapter_bytes = (spec.adapter / WEIGHTS).stat().st_size if spec.adapter else None
        self.meter = Meter(self.identity.get("worker model", MODEL))
        self.say: Callable[[str], None] = lambda line: None
        self._where = spec.options["url"] + "/api/reply"
        self._adapter = self.identity.get("worker adapter")
        self._timeout = read_number(spec, "timeout", TIMEOUT)
        self._concurrency = read_number(spec, "concurrency", CONCURRENCY)
        self._pace = Pace(read_number(spec, "per_minute", PER_MINUTE), self._concurrency)
        self._session = _open_session(spec, RETRIES)

    @classmethod
    def resolve(cls, spec: TargetSpec) -> TargetSpec:
        """Check url and numbers; asks nothing of the Worker."""
        check_options(spec, OPTIONS)
        if spec.base is not None:
            raise SetupError(f"Target {spec.name!r} takes no --base: the Worker has its own.")
        url = spec.options.get("url", "").rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise SetupError(f"Option url={url!r} is no address of a Worker. Write e.g. --url https://NAME.workers.dev")
        key_env = spec.options.get("key_env")
        if key_env and not os.environ.get(key_env):
            raise SetupError(f"Option key_env={key_env!r}: no such environment variable. Export it with the token.")
        if not re.fullmatch(r"[!-~]{0,512}", _read_token(spec)):
            raise SetupError(f"{key_env or KEY_ENV} holds spaces or other odd characters. Export it again.")
        if _read_token(spec) and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise SetupError(f"Option url={url!r} would send the token of {key_env or KEY_ENV} in clear. Use https.")
        for name, default in (("concurrency", CONCURRENCY), ("per_minute", PER_MINUTE), ("timeout", TIMEOUT)):
            read_number(spec, name, default)
        if spec.adapter is not None:
            read_adapter(spec.adapter)
        return spec.with_options(url=url)

    @classmethod
    def identify(cls, spec: TargetSpec) -> Mapping[str, str]:
        """Url, and what the Worker says of itself.

        Raises:
            SetupError: the Worker is not there, refuses us, or serves another adapter than the one given.
        """
        url = spec.options["url"]
        told = _ask_health(spec)
        served = told.get("adapter", "")
        part = adapter_part(served)
        if spec.adapter and part not in {"", folder_part(spec.adapter)}:
            raise SetupError(f"{url} serves {served}, which is of another adapter than {spec.adapter}.")
        if "version" in spec.options:
            told["version"] = spec.options["version"]
        elif not served:
            told["version"] = f"untold {THIS_PROCESS}"
        adapter = digest_adapter(spec.adapter) if spec.adapter else served or f"worker {told['version']}"
        about = {f"worker {key}": value for key, value in told.items()}
        return {**about, "target": "worker", "url": url, "adapter": adapter}

    @classmethod
    def without_adapter(cls, spec: TargetSpec) -> TargetSpec | None:
        """None: a Worker has one way to answer."""
        return None

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> Iterator[tuple[int, Completion | TargetError]]:
        """Ask for all replies, some at once; a Worker that is gone is not asked again for the rest."""
        estimate = estimate_cost(self.meter.model, [prompt.text for prompt in prompts], decoding.max_tokens)
        self.say(f"estimate for {self._where}: {estimate}")
        ask = partial(self.time_one, decoding=decoding)
        return ask_all(prompts, ask, self._concurrency, give_up=2 * self._concurrency)

    def time_one(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One request alone; the seconds hold repetitions, but not the wait that keeps us under the limit.

        ``decoding`` is the Worker's own affair: it is deployed greedy, with a length of its own.
        """
        body = _shape_body(prompt)
        self._pace.take()
        started = time.perf_counter()
        for attempt in range(RETRIES + 1):
            answer, failure, wait = self._post(body, BACKOFF * 2**attempt)
            if failure is None:
                return self._read_reply(answer, time.perf_counter() - started)
            if wait is None or attempt == RETRIES:
                raise failure
            time.sleep(min(wait, LONGEST_WAIT))
            self._pace.take()
        raise AssertionError("the last attempt returns or raises")

    def _post(
        self, body: Mapping[str, object], backoff: float
    ) -> tuple[Mapping[str, Any], TargetError | None, float | None]:
        """One request: an answer, or why there is none and after how many seconds to ask again, None for never."""
        timeout = (CONNECT_TIMEOUT, self._timeout)
        try:
            response = self._session.post(self._where, json=body, timeout=timeout, allow_redirects=False)
            why, gone = "", False
        except requests.Timeout:
            why, gone = f"gave no reply within {self._timeout} s. Raise it with timeout=SECONDS.", False
        except requests.ConnectionError:
            why, gone = "cannot be reached. Look at it: npx wrangler deployments list", True
        except requests.RequestException as error:
            why, gone = f"cannot be asked ({type(error).__name__})", False
        if why:
            return {}, _failed(f"{self._where} {why}", gone), None
        answer, status = _read_object(response), response.status_code
        if status == 200 and isinstance(answer.get("text"), str):
            return answer, None, None
        told = answer.get("error")
        code = told.get("code") if isinstance(told, dict) else None
        code = code if isinstance(code, int | str) else None
        said = show_text(" ".join(self._scrub(response.text)[:400].split()), 200) or "nothing"
        # Workers AI's code decides as it does over REST: 3036 is over for today, 3040 passes.
        final = status in REFUSED or code in NOT_DEPLOYED or (code in CODES and code not in ONE_PROMPT)
        failure = _failed(f"{self._where} answered {status}: {said}", final)
        if final or status not in AGAIN:
            return answer, failure, None
        wait = read_wait(response.headers.get("Retry-After"), backoff)
        if status == 429 and code != NO_CAPACITY:
            self._pace.pause(wait)
        return answer, failure, wait

    def _read_reply(self, answer: Mapping[str, Any], seconds: float) -> Completion:
        adapter, usage = answer.get("adapter"), answer.get("usage")
        if isinstance(adapter, str) and self._adapter is not None and adapter != self._adapter:
            raise TargetError(
                f"{self._where} answered with {adapter}, not {self._adapter}: it was switched, or its traffic is split."
                " Ask again when it serves one."
            )
        told = usage if isinstance(usage, dict) else {}
        asked, written = (_read_count(told.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        if written:
            self.meter.add(asked, written, None)
        return Completion(str(answer["text"]), answer.get("truncated") is True, seconds, written)

    def close(self) -> None:
        """Say what was spent, and close the connections."""
        if self.meter.replies:
            self.say(f"spent: {self.meter}")
        self._session.close()

    def _scrub(self, text: str) -> str:
        """What the Worker said, without the token, should it have said that."""
        token = _read_token(self.spec)
        return text.replace(token, "[token]") if token else text


def _shape_body(prompt: Prompt) -> dict[str, object]:
    """The conversation without our system prompt, and the time that stands in its last line."""
    system = prompt.messages[0]["content"] if prompt.messages else ""
    match = TIME_LINE.search(system)
    if match is None:
        raise TargetError("The prompt names no time in its last line, so the Worker cannot be told one.")
    return {"messages": [dict(message) for message in prompt.messages[1:]], "now": match[1]}


def _ask_health(spec: TargetSpec) -> dict[str, str]:
    """What GET /api/health says; empty where the Worker has no such page."""
    where = spec.options["url"] + "/api/health"
    try:
        with _open_session(spec, 1) as session:
            response = session.get(where, timeout=CONNECT_TIMEOUT, allow_redirects=False)
        why = ""
    except requests.RequestException as error:
        why = "refused the connection" if "refused" in str(error).lower() else "cannot be reached"
    if why:
        raise SetupError(
            f"{where} {why}. Deploy the Worker, start it with node deploy/worker/local.mjs, or give another with --url."
        )
    if response.status_code in {401, 403}:
        raise SetupError(
            f"{where} refused us ({response.status_code}). Export its access token as {KEY_ENV}, or name another "
            "variable with key_env=NAME."
        )
    answer = _read_object(response) if response.ok else {}
    return {key: value for key, value in answer.items() if isinstance(value, str)}


def _read_object(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _read_count(value: object) -> int:
    """A number of tokens; 0 where it is not told."""
    return value if type(value) is int and value > 0 else 0


def _failed(why: str, gone: bool) -> TargetError:
    return GoneError(why) if gone else TargetError(why)


def _read_token(spec: TargetSpec) -> str:
    return os.environ.get(spec.options.get("key_env", KEY_ENV), "")


def _open_session(spec: TargetSpec, retries: int) -> requests.Session:
    session = requests.Session()
    repeats = Repeats(
        total=retries,
        connect=min(retries, 2),
        status=0,  # what a status means is read from its body
        allowed_methods=None,  # POST as well: the endpoint answers and changes nothing
        backoff_factor=BACKOFF,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=repeats, pool_maxsize=CONNECTIONS))
    session.trust_env = urlsplit(spec.options["url"]).hostname not in LOOPBACK
    if _read_token(spec):
        session.auth = partial(_authorise, _read_token(spec))  # an auth hook, so that ~/.netrc does not replace it
    return session


def _authorise(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token}"
    return request
