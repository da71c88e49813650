"""A local Workers AI: the finetunes and run endpoints, the model list, and what the AI binding speaks.

Covers: routing with the live API's quirks, tokens, uploads in constant memory, replies whole or as a stream, faults on
request, a log of requests for tests. The state survives kill -9.
Does not cover: AI Gateway, the OpenAI-compatible endpoint (nobody knows whether it applies ``lora``), models that
generate no text. It listens on loopback only, and believes any token that it was not told about.

    /client/v4/...        the API, and values of Workers KV; CLOUDFLARE_API_BASE_URL=http://127.0.0.1:PORT/client/v4
    POST /                the AI binding of workerd, through miniflare's remoteProxyConnectionString
    /emulator/faults      GET, POST, DELETE: faults to come (deploy.emulator.faults)
    /emulator/requests    GET, DELETE: what was asked, without headers that could hold a secret
    /emulator/health      GET      /emulator/openapi.json  GET      /emulator/files/...  signed downloads
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from deploy.emulator.faults import (
    FAULTS,
    HEADER,
    RETRY_AFTER,
    THROTTLED,
    Fault,
    FaultPlan,
    do_fault,
    parse_header,
    refusal,
)
from deploy.emulator.inference import DEFAULT_BASES, KEEP, Answer, Engine
from deploy.emulator.quirks import (
    ADAPTER_LIMIT,
    ASSUMED,
    CONFIG,
    MODELS,
    WEIGHTS,
    WorkersAIError,
    binding_failure,
    count_neurons,
    failure,
    is_account,
    list_models,
    request_id,
    run_failure,
    success,
)
from deploy.emulator.state import Finetune, FinetuneStore, ValueStore

OPENAPI = Path(__file__).parent / "openapi.json"
API = "/client/v4"
TOKEN_KINDS = {
    "good": "once one is named, the only ones that are good",
    "bad": "no such token",
    "expired": "was valid once",
    "no-permission": "valid, without Workers AI",
    "read-only": "valid, Workers AI Read only",
}
SERVER = {"server": "toolgate-emulator"}
LOGGED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an emulator is set up. ``tokens`` maps tokens to TOKEN_KINDS; with no good one, all others are."""

    state: Path
    bases: Mapping[str, str] = field(default_factory=lambda: DEFAULT_BASES)
    account: str | None = None  # None: every account exists
    tokens: Mapping[str, str] = field(default_factory=dict)
    can_delete: bool = True  # the live API's DELETE and download are probable, not proven
    keep: int = KEEP


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed token and account, with the names in its path."""

    request: Request
    account: str
    names: Mapping[str, str]
    req_id: str
    base_only: bool  # the fault base-reply
    standing: str  # one of TOKEN_KINDS


class Emulator:
    """The ASGI application. Routes by the path as it was sent, since the quirks live there."""

    def __init__(self, settings: Settings) -> None:
        """Open the state and check the bases; no model is loaded yet.

        Raises:
            SetupError, DataError: see ``Engine`` and ``FinetuneStore``.
        """
        self.settings = settings
        self.engine = Engine(settings.bases, settings.keep)
        self.store = FinetuneStore(settings.state)
        self.values = ValueStore(settings.state)
        self.routes = tuple(route for route in ROUTES if settings.can_delete or not route.optional)
        self.faults = FaultPlan()
        self.requests: deque[dict[str, Any]] = deque(maxlen=LOGGED)
        self._one_reply = anyio.CapacityLimiter(1)
        self._key = secrets.token_bytes(32)  # signs downloads; they end with the process

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["raw_path"].decode("ascii")
        if path.startswith("/emulator/"):
            response = await self._answer_control(Request(scope, receive), path)
            await response(scope, receive, send)
            return
        route = next((known for known in self.routes if known.method == scope["method"] and known.match(path)), None)
        operation = "run" if path == "/" else route.operation if route else "other"
        entry = {
            "method": scope["method"],
            "path": path,
            "query": scope["query_string"].decode("latin-1"),
            "operation": operation,
            "content_type": _header(scope, b"content-type"),
            "at": time.time(),
            "fault": None,
            "status": 0,
        }
        self.requests.append(entry)
        try:
            # The binding's attempt at a websocket comes before every run, and would use up what is meant for the run.
            fault = None if path == "/" and scope["method"] == "GET" else self._take_fault(scope, operation)
        except ValueError as error:
            await _json({"error": f"{HEADER}: {error}"}, 400)(scope, receive, send)
            return
        entry["fault"] = fault.fault if fault else None

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            response = await self._respond(Request(scope, receive), path, route, fault)
            entry["status"] = response.status_code
            await response(scope, receive, send)

        try:
            if fault is None or _is_silent(fault) or refusal(fault):
                await handle(scope, receive, send)
            else:
                entry["status"] = await do_fault(fault, handle, scope, receive, send)
        except ClientDisconnect:
            return  # it left while its body came in: nothing was done

    def _take_fault(self, scope: Scope, operation: str) -> Fault | None:
        asked = _header(scope, HEADER.encode()) or _header(scope, b"mf-header-" + HEADER.encode())
        return parse_header(asked) if asked else self.faults.take(operation)

    async def _respond(self, request: Request, path: str, route: Route | None, fault: Fault | None) -> Response:
        binding, req_id = path == "/", request_id()
        running = binding or (route is not None and route.operation == "run")
        try:
            refused = refusal(fault) if fault else None
            if refused:
                await request.body()
                raise refused
            if binding:
                return await self._run_binding(request, req_id, fault)
            return await self._run_route(request, path, route, req_id, fault)
        except WorkersAIError as error:
            if binding:
                body = binding_failure(error, req_id)
            elif running and error.code not in (7000, 7003, 10000, 10405):
                body = run_failure(error, req_id)
            else:
                body = failure(error)
            headers = {**SERVER, "cf-ai-req-id": req_id}
            if error.code == 10405:
                headers["allow"] = ", ".join(known.method for known in self.routes if known.match(path))
            if error.code == THROTTLED:
                headers["retry-after"] = str(RETRY_AFTER)
            return JSONResponse(body, error.status, headers)

    async def _run_route(
        self, request: Request, path: str, route: Route | None, req_id: str, fault: Fault | None
    ) -> Response:
        # [live] 7000 for a trailing slash (the docs write one after finetune-assets) and for %2F in a model's name, as
        # the Python and TypeScript SDKs send it since 5.0: cloudflare-python#2718.
        if "%2f" in path.lower() or path.endswith("/"):
            raise WorkersAIError(7000)
        if route is None:
            raise WorkersAIError(10405 if any(known.match(path) for known in self.routes) else 7000)
        match = route.match(path)
        assert match is not None
        names = {name: unquote(value) for name, value in match.groupdict().items()}
        kind = self._check_token(request, route)
        account = names.pop("account", "")
        if "/accounts/" in path:
            self._check_account(account)
        return await route.handler(self, Call(request, account, names, req_id, _is_silent(fault), kind))

    def _check_token(self, request: Request, route: Route) -> str:
        """The kind of the token, where it may do this."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        tokens = self.settings.tokens
        kind = tokens.get(token.strip(), "bad" if "good" in tokens.values() else "good")
        if scheme.lower() != "bearer" or not token.strip() or kind == "bad":
            raise WorkersAIError(10000)
        if route.handler is Emulator.verify_token:
            return kind
        if kind == "expired":
            raise WorkersAIError(10000)
        if route.operation != "other" and (kind == "no-permission" or (kind == "read-only" and route.writes)):
            raise WorkersAIError(10000, status=403)
        return kind

    def _check_account(self, account: str) -> None:
        if not is_account(account):
            raise WorkersAIError(7003)
        if self.settings.account not in (None, account):
            raise WorkersAIError(10000, status=403)  # another's account, and one that does not exist, look the same

    # finetunes

    async def list_finetunes(self, call: Call) -> Response:
        """A flat array [live]; the OpenAPI says one object, the docs show an array in an array."""
        return _json(success([found.listed() for found in self.store.list(call.account)]))

    async def list_public(self, call: Call) -> Response:
        """Those made with ``public``."""
        limit, offset = _number(call.request, "limit", 20, least=0), _number(call.request, "offset", 0, least=0)
        found = [entry.created() for entry in self.store.list(call.account) if entry.public]
        return _json(success(found[offset : offset + limit]))

    async def create_finetune(self, call: Call) -> Response:
        """The content type is not looked at: wrangler sends its JSON as text/plain."""
        body = _parse_json(await call.request.body(), ASSUMED)
        made = await anyio.to_thread.run_sync(self.store.create, call.account, body)
        return _json(success(made.created()))

    async def upload_asset(self, call: Call) -> Response:
        """One file; the reply is ``success`` alone."""
        found = self._find(call)
        try:
            # Parts go to temporary files as they come in. The part's own file name ("blob" from wrangler) says nothing.
            form = await call.request.form()
        except MultiPartException as error:
            raise WorkersAIError(ASSUMED, f"Not a multipart form: {error.message}") from None
        try:
            name, file = form.get("file_name"), form.get("file")
            if not isinstance(name, str) or not name or not isinstance(file, UploadFile):
                raise WorkersAIError(ASSUMED, "The multipart fields file_name and file are required")
            if (file.size or 0) >= ADAPTER_LIMIT:
                raise WorkersAIError(3006, f"{name} has {file.size} bytes of less than {ADAPTER_LIMIT}")
            await anyio.to_thread.run_sync(self.store.add_file, call.account, found, name, file.file)
        finally:
            await form.close()
        return _json({"success": True})

    async def delete_finetune(self, call: Call) -> Response:
        """Probable, not proven live."""
        await anyio.to_thread.run_sync(self.store.delete, call.account, self._find(call))
        return _json(success({}))

    async def sign_download(self, call: Call) -> Response:
        """Probable, not proven live; the shape of the result is [assumed]."""
        found, name = self._find(call), call.names["file"]
        if name in self.store.missing(call.account, found) or name not in (CONFIG, WEIGHTS):
            raise WorkersAIError(ASSUMED, f"{name} was not uploaded", status=404)
        path = f"/emulator/files/{call.account}/{found.id}/{name}"
        url = str(call.request.base_url).rstrip("/") + path
        return _json(success({"url": f"{url}?signature={self._sign(path)}"}))

    def _find(self, call: Call) -> Finetune:
        found = self.store.find(call.account, call.names["wanted"])
        if found is None:
            raise WorkersAIError(5033, call.names["wanted"], status=404)
        return found

    def _sign(self, path: str) -> str:
        return hmac.new(self._key, path.encode(), hashlib.sha256).hexdigest()

    # models

    async def search_models(self, call: Call) -> Response:
        """A page beyond the last is empty: the Python SDK asks on until one is."""
        size, page = _number(call.request, "per_page", 100), _number(call.request, "page", 1)
        asked, source = call.request.query_params, _number(call.request, "source", 0)
        author, search = asked.get("author", "").lower(), asked.get("search", "").lower()
        found = [
            entry
            for entry in list_models()
            if search in entry["name"].lower()
            and author in entry["name"].split("/")[1]
            and asked.get("task", "") in ("", entry["task"]["name"])
            and source in (0, entry["source"])
        ]
        shown = found[(page - 1) * size : page * size]
        info = {"count": len(shown), "page": page, "per_page": size, "total_count": len(found)}
        return _json({**success(shown), "result_info": info})

    async def model_schema(self, call: Call) -> Response:
        """Input and output of text generation, whichever the model."""
        model = call.request.query_params.get("model", "")
        if model not in MODELS:
            raise WorkersAIError(5007, model)
        parts = openapi()["components"]["schemas"]
        prompt, messages = parts["TextGenerationPrompt"], parts["TextGenerationMessages"]
        return _json(success({"input": {"oneOf": [prompt, messages]}, "output": parts["TextGenerationResult"]}))

    # run

    async def run_generic(self, call: Call) -> Response:
        """A run whose model is named in the body."""
        body = _parse_json(await call.request.body(), 5006)
        if not isinstance(body, dict) or not isinstance(body.get("model"), str) or "input" not in body:
            raise WorkersAIError(3003, "model and input are required")
        return await self._run(call.account, body["model"], body["input"], call.req_id, call.base_only)

    async def run_model(self, call: Call) -> Response:
        """A run whose model is named in the path, with its slashes."""
        inputs = _parse_json(await call.request.body(), 5006)
        return await self._run(call.account, call.names["model"], inputs, call.req_id, call.base_only)

    async def _run_binding(self, request: Request, req_id: str, fault: Fault | None) -> Response:
        """What the AI binding of workerd sends through miniflare's remote proxy; it wants the bare result."""
        if request.method != "POST":
            # miniflare first tries a websocket; anything but 101 makes it use HTTP.
            return Response("the AI binding is at POST /\n", 404, SERVER, "text/plain")
        url, model = request.headers.get("mf-url", ""), request.headers.get("mf-header-cf-consn-model-id", "")
        if not re.search(r"/run(\?|$)", url) or not model:
            raise WorkersAIError(
                7000, f"the emulator answers the binding's run only, and was asked for {url or 'nothing'}"
            )
        body = _parse_json(await request.body(), 5006)
        # A lora among the options is not an input: it is not requested, and nothing says so.
        inputs = body.get("inputs") if isinstance(body, dict) else None
        # The binding has no account: the one that has the finetune is meant.
        lora = str(inputs.get("lora")) if isinstance(inputs, dict) else ""
        account = self.settings.account or next((a for a in self.store.accounts() if self.store.find(a, lora)), "")
        return await self._run(account, model, inputs, req_id, _is_silent(fault), bare=True)

    async def _run(
        self, account: str, model: str, inputs: Any, req_id: str, base_only: bool, *, bare: bool = False
    ) -> Response:
        if model not in MODELS and model not in self.engine.bases:
            raise WorkersAIError(5007, model)
        _check_inputs(inputs)
        lora = inputs.get("lora")
        adapter = None if base_only or not lora else self._adapter(account, model, str(lora))
        base = self.engine.find_base(model)
        answer = await anyio.to_thread.run_sync(
            self.engine.answer, base, inputs, adapter, limiter=self._one_reply, abandon_on_cancel=False
        )
        usage, neurons = _usage(model, answer)
        headers = {**SERVER, "cf-ai-req-id": req_id}
        if neurons is not None:
            headers["cf-ai-neurons"] = str(neurons)
        if inputs.get("stream") is True:
            # Exactly this content type; Starlette would add a charset to a media_type of text/*.
            headers["content-type"] = "text/event-stream"
            return StreamingResponse(_stream(answer.text, usage), 200, headers)
        result = {"response": answer.text, "tool_calls": [], "usage": usage}
        # The binding returns a stream instead of the object unless the type is application/json and nothing more.
        return JSONResponse(result if bare else success(result), 200, headers)

    def _adapter(self, account: str, model: str, lora: str) -> Path:
        known = MODELS.get(model)
        if known is not None and known.lora_code is not None:
            raise WorkersAIError(known.lora_code, model)
        found = self.store.find(account, lora)
        if found is None:
            raise WorkersAIError(5033, f"{lora} does not exist or is not accessible")
        missing = self.store.missing(account, found)
        if missing:
            raise WorkersAIError(3039, ", ".join(missing))
        if found.model != model:
            raise WorkersAIError(3030, f"{found.name} was made for {found.model}")
        return self.store.folder(account, found)

    # accounts and tokens, as far as wrangler asks

    async def list_accounts(self, call: Call) -> Response:
        """The only account, or a made-up one."""
        page = _number(call.request, "page", 1)
        account = {"id": self.settings.account or "emulator", "name": "Emulator", "type": "standard"}
        shown = [account] if page == 1 else []
        info = {"count": len(shown), "page": page, "per_page": 20, "total_count": 1, "total_pages": 1}
        return _json({**success(shown), "result_info": info})

    async def list_memberships(self, call: Call) -> Response:
        """The same, as a membership."""
        body = json.loads(bytes((await self.list_accounts(call)).body))
        body["result"] = [{"id": "member", "status": "accepted", "account": entry} for entry in body["result"]]
        return _json(body)

    async def verify_token(self, call: Call) -> Response:
        """Whether the token is alive; it does not tell what the token may do."""
        return _json(success({"id": "emulated", "status": "expired" if call.standing == "expired" else "active"}))

    # Workers KV, as far as a switch of adapters asks; a namespace exists as soon as something is written

    async def read_value(self, call: Call) -> Response:
        """The value as it is, without an envelope. [docs]"""
        value = await anyio.to_thread.run_sync(self.values.read, call.account, *_value_names(call))
        return Response(value, 200, SERVER, "application/octet-stream")

    async def write_value(self, call: Call) -> Response:
        """The body is the value, or the field ``value`` of a multipart form. [docs]"""
        value = await call.request.body()
        if call.request.headers.get("content-type", "").startswith("multipart/form-data"):
            try:
                async with call.request.form() as form:
                    field = form.get("value", "")
                    value = await field.read() if isinstance(field, UploadFile) else field.encode()
            except MultiPartException as error:
                raise WorkersAIError(ASSUMED, f"Not a multipart form: {error.message}") from None
        await anyio.to_thread.run_sync(self.values.write, call.account, *_value_names(call), value)
        return _json(success({}))

    async def delete_value(self, call: Call) -> Response:
        """Gone at once; live it takes up to a minute to be so everywhere."""
        await anyio.to_thread.run_sync(self.values.delete, call.account, *_value_names(call))
        return _json(success({}))

    # control

    async def _answer_control(self, request: Request, path: str) -> Response:
        method = request.method
        if path.startswith("/emulator/files/") and method == "GET":
            if not hmac.compare_digest(request.query_params.get("signature", ""), self._sign(path)):
                return _json({"error": "The signature does not fit; ask for the download again."}, 403)
            account, finetune, name = path.split("/")[3:]
            file = self.settings.state / "accounts" / account / finetune / "adapter" / name
            return FileResponse(file) if file.is_file() else _json({"error": "The file is gone."}, 404)
        if path == "/emulator/health":
            return _json({"ready": True, "models": self.engine.bases, "faults": FAULTS})
        if path == "/emulator/openapi.json":
            return _json(openapi())
        if path == "/emulator/requests":
            if method == "DELETE":
                self.requests.clear()
            return _json({"requests": list(self.requests)})
        if path == "/emulator/faults":
            try:
                if method == "POST":
                    self.faults.add(Fault(**json.loads(await request.body())))
                elif method == "DELETE":
                    self.faults.clear()
            except (ValueError, TypeError) as error:
                return _json({"error": f"No such fault: {error}"}, 400)
            return _json({"faults": self.faults.listed()})
        return _json({"error": "Known: /emulator/health, openapi.json, faults, requests."}, 404)


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: ``operation`` is what faults name, ``writes`` what a read-only token may not do."""

    method: str
    path: str
    operation: str
    handler: Callable[[Emulator, Call], Awaitable[Response]]
    writes: bool = False
    optional: bool = False  # not there with can_delete False

    def match(self, path: str) -> re.Match[str] | None:
        """The names in a path that is this route's."""
        return re.fullmatch(API + self.path, path)


ACCOUNT = "/accounts/(?P<account>[^/]+)"
VALUE = f"{ACCOUNT}/storage/kv/namespaces/(?P<namespace>[^/]+)/values/(?P<key>[^/]+)"
TUNE = f"{ACCOUNT}/ai/finetunes/(?P<wanted>(?!public$)[^/]+)"
ROUTES = (
    Route("GET", f"{ACCOUNT}/ai/finetunes", "list", Emulator.list_finetunes),
    Route("POST", f"{ACCOUNT}/ai/finetunes", "create", Emulator.create_finetune, writes=True),
    Route("GET", f"{ACCOUNT}/ai/finetunes/public", "list", Emulator.list_public),
    Route("DELETE", TUNE, "delete", Emulator.delete_finetune, writes=True, optional=True),
    Route("POST", f"{TUNE}/finetune-assets", "upload", Emulator.upload_asset, writes=True),
    Route("GET", f"{TUNE}/finetune-assets/(?P<file>[^/]+)", "list", Emulator.sign_download, optional=True),
    Route("GET", f"{ACCOUNT}/ai/models/search", "models", Emulator.search_models),
    Route("GET", f"{ACCOUNT}/ai/models/schema", "models", Emulator.model_schema),
    Route("POST", f"{ACCOUNT}/ai/run", "run", Emulator.run_generic),
    Route("POST", f"{ACCOUNT}/ai/run/(?P<model>.+)", "run", Emulator.run_model),
    Route("GET", VALUE, "kv", Emulator.read_value),
    Route("PUT", VALUE, "kv", Emulator.write_value, writes=True),
    Route("DELETE", VALUE, "kv", Emulator.delete_value, writes=True),
    Route("GET", "/accounts", "other", Emulator.list_accounts),
    Route("GET", "/memberships", "other", Emulator.list_memberships),
    Route("GET", "/user/tokens/verify", "other", Emulator.verify_token),
    Route("GET", f"{ACCOUNT}/tokens/verify", "other", Emulator.verify_token),
)


@lru_cache(maxsize=1)
def openapi() -> dict[str, Any]:
    """The OpenAPI description of what is served here."""
    described: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
    return described


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _is_silent(fault: Fault | None) -> bool:
    return fault is not None and fault.fault == "base-reply"


def _json(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status, SERVER)


def _value_names(call: Call) -> tuple[str, str]:
    """Namespace and key. Live, a key may have 512 bytes of any kind; here it is the name of a file."""
    namespace, key = call.names["namespace"], call.names["key"]
    if not re.fullmatch(r"[0-9a-f]{32}", namespace):
        raise WorkersAIError(10013)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):
        raise WorkersAIError(ASSUMED, f"The emulator takes keys of 1 to 64 of A-Z a-z 0-9 _ - only, not {key[:80]!r}")
    return namespace, key


def _parse_json(body: bytes, code: int) -> Any:
    """Strict JSON: no NaN, and no half surrogate, which no reply could repeat."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise WorkersAIError(code, "The body is not JSON", status=400) from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _number(request: Request, name: str, default: int, *, least: int = 1) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < least:
        raise WorkersAIError(ASSUMED, f"{name} must be a whole number from {least} up")
    return int(text)


def _check_inputs(inputs: Any) -> None:
    if not isinstance(inputs, dict):
        raise WorkersAIError(5006, "Error: the input must be a JSON object")
    schemas = openapi()["components"]["schemas"]
    schema = schemas["TextGenerationMessages" if "messages" in inputs else "TextGenerationPrompt"]
    broken = best_match(Draft202012Validator(schema).iter_errors(inputs))
    if broken is not None:
        place = "/" + "/".join(map(str, broken.absolute_path))
        raise WorkersAIError(5006, f"Error: at '{place}': {broken.message[:200]}")


def _usage(model: str, answer: Answer) -> tuple[dict[str, Any], float | None]:
    neurons = count_neurons(model, answer.prompt_tokens, answer.completion_tokens)
    usage: dict[str, Any] = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    return (usage if neurons is None else {**usage, "neurons": neurons}), neurons


def _stream_events(text: str, usage: Mapping[str, Any]) -> Iterator[str]:
    for piece in re.findall(r"\s*\S+|\s+", text):
        yield json.dumps({"response": piece})
    yield json.dumps({"response": "", "usage": usage})
    yield "[DONE]"


async def _stream(text: str, usage: Mapping[str, Any]) -> AsyncIterator[str]:
    """Server-sent events, a word each. The reply is whole before the first: the local target has no half replies."""
    for event in _stream_events(text, usage):
        yield f"data: {event}\n\n"
