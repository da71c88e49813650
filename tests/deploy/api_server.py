"""A small stand-in for Cloudflare's API on loopback: real HTTP for the real client, with faults on request."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from deploy.api import Credentials, WorkersAI

ACCOUNT, TOKEN = "0123456789abcdef0123456789abcdef", "secret-token-Zq81"
MODELS = ("@cf/meta/llama-3.2-3b-instruct", "@cf/meta/llama-guard-3-8b")
Reply = tuple[int, Any]
Fault = Callable[["Handler"], bool]  # True: it has answered
CALL = '```json\n{"tool": "getWeather", "params": {"location": "Lisbon"}}\n```'


def ok(result: object) -> Reply:
    return 200, {"success": True, "errors": [], "messages": [], "result": result}


def refuse(status: int, code: int, message: str = "no") -> Reply:
    return status, {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}


class ApiServer:
    """One account. ``faults`` maps "METHOD path-pattern" to a list of faults, each used once."""

    def __init__(self, *, can_delete: bool = True, may_write: bool = True) -> None:
        self.can_delete, self.may_write = can_delete, may_write
        self.tunes: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[tuple[str, Fault]] = []
        self.models: list[dict[str, Any]] = [
            {"name": name, "properties": [{"property_id": "lora", "value": "true"}]} for name in MODELS
        ] + [{"name": "@cf/meta/llama-3.2-1b-instruct", "properties": []}]
        self.say: Callable[[dict[str, Any]], str] = lambda inputs: CALL if "lora" in inputs else "I am the base."
        self.lock = threading.Lock()
        handler = type("Bound", (Handler,), {"outer": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/client/v4"

    @property
    def credentials(self) -> Credentials:
        return Credentials(ACCOUNT, TOKEN, self.url)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "CLOUDFLARE_API_BASE_URL": self.url,
        }

    def client(self, **changes: Any) -> WorkersAI:
        """A client that does not wait long."""
        return WorkersAI(self.credentials, **{"backoff": 0.001, "timeout": 5, "retries": 3, **changes})

    def fail(self, where: str, *faults: Fault) -> None:
        """Let the next requests that match "METHOD pattern" meet these faults, one each."""
        self.faults += [(where, fault) for fault in faults]

    def complete(self) -> list[str]:
        """Names of fine-tunes with both files."""
        return [tune["name"] for tune_id, tune in self.tunes.items() if len(self.files[tune_id]) == 2]

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        with self.lock:
            return self._route(method, path, body, headers)

    def _route(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return refuse(403, 10000, "Authentication error")
        if path == "/client/v4/user/tokens/verify":
            return ok({"id": "x", "status": "active"})
        root = f"/client/v4/accounts/{ACCOUNT}/ai"
        if not path.startswith(root) or "%2F" in path or path.endswith("/"):
            return refuse(400, 7000, "No route for that URI")
        rest = path.removeprefix(root)
        if (method, rest) == ("GET", "/models/search"):
            return ok(self.models)
        if (method, rest) == ("GET", "/finetunes"):
            return ok(list(self.tunes.values()))
        if (method, rest) == ("POST", "/finetunes"):
            return self._create(body)
        if method == "DELETE" and self.can_delete and (match := re.fullmatch(r"/finetunes/([^/]+)", rest)):
            gone = self.tunes.pop(match[1], None)
            return ok({}) if gone else refuse(404, 3037, "Finetune not found")
        if method == "POST" and (match := re.fullmatch(r"/finetunes/([^/]+)/finetune-assets", rest)):
            return self._store(match[1], body, headers)
        if method == "POST" and rest.startswith("/run/@cf/"):
            return self._run(rest.removeprefix("/run/"), json.loads(body))
        return refuse(400, 7000, "No route for that URI")

    def _create(self, body: bytes) -> Reply:
        if not self.may_write:
            return refuse(403, 10000, "Authentication error")
        wanted = json.loads(body)
        if not {"name", "model"} <= wanted.keys():
            return refuse(400, 7400, "name is required")
        if any(one["name"] == wanted["name"] for one in self.tunes.values()):
            return refuse(400, 7409, "name taken")
        made = {"id": str(uuid.uuid4()), "created_at": "2026-09-19 18:18:39.465"}
        self.tunes[made["id"]] = {**made, **{k: wanted.get(k, "") for k in ("name", "model", "description")}}
        self.files[made["id"]] = {}
        return ok({**self.tunes[made["id"]], "public": False})

    def _store(self, tune: str, body: bytes, headers: dict[str, str]) -> Reply:
        if tune not in self.tunes:
            return refuse(404, 3037, "Finetune not found")
        head = b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n"
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in BytesParser().parsebytes(head + body).get_payload()
        }
        assert list(parts) == ["file_name", "file"]
        name = parts["file_name"].decode()
        if name in self.files[tune]:
            return refuse(400, 7408, "assets cannot be changed")
        self.files[tune][name] = parts["file"]
        return 200, {"success": True}

    def _run(self, model: str, inputs: dict[str, Any]) -> Reply:
        lora = inputs.get("lora")
        if lora is not None:
            found = [i for i, tune in self.tunes.items() if lora in {i, tune["name"]}]
            if not found:
                return refuse(400, 5033, f"AiError: Finetune {lora} not found")
            if len(self.files[found[0]]) < 2:
                return refuse(400, 3039, "missing required files")
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "neurons": 0.25}
        return ok({"response": self.say(inputs), "usage": usage})

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every reply waits 40 ms for an acknowledgement
    outer: ApiServer

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        line = f"{self.command} {path}"
        if len(body) < int(self.headers.get("Content-Length") or 0):
            self.close_connection = True  # the client broke off: nothing happened
            return
        with self.outer.lock:
            self.outer.asked.append(line)
            self.outer.bodies.append(body)
            self.outer.headers.append({name.lower(): value for name, value in self.headers.items()})
            fault = next((one for one in self.outer.faults if re.search(one[0], line)), None)
            if fault:
                self.outer.faults.remove(fault)
        self.body = body
        if not (fault and fault[1](self)):
            self.reply(*self.serve())

    do_GET = do_POST = do_DELETE = handle_any

    def serve(self) -> Reply:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self.outer.answer(self.command, urlsplit(self.path).path, self.body, headers)

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            if "Date" in (headers or {}):
                self.send_response_only(status)  # else there would be two
            else:
                self.send_response(status)
            self.send_header("Content-Length", str(len(data) if length is None else length))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


# Faults.


def reply_with(status: int, body: Any, **headers: str) -> Fault:
    """Answer this, without doing anything."""

    def fault(handler: Handler) -> bool:
        handler.reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def limited(code: int, **headers: str) -> Fault:
    return reply_with(*refuse(429, code), **headers)


def drop(handler: Handler) -> bool:
    """Close the connection without an answer and without doing anything."""
    handler.close_connection = True
    handler.connection.close()
    return True


def do_and_drop(handler: Handler) -> bool:
    """Do what was asked and close the connection without an answer."""
    handler.serve()
    return drop(handler)


def cut_short(handler: Handler) -> bool:
    """Half an answer."""
    status, body = handler.serve()
    data = json.dumps(body).encode()
    handler.reply(status, data[: len(data) // 2], length=len(data))
    handler.close_connection = True
    return True


def drip(handler: Handler) -> bool:
    """An answer that comes drop by drop."""
    handler.reply(200, b"{", length=1000)
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        pass
    handler.close_connection = True
    return True


def hang(handler: Handler) -> bool:
    time.sleep(1)
    handler.close_connection = True
    return True


def echo_token(handler: Handler) -> bool:
    """A page that says what was sent."""
    handler.reply(400, f"<html>you sent {handler.headers['Authorization']}</html>".encode())
    return True
