"""A loopback server that speaks the Messages, Message Batches and OpenAI chat wire formats, with faults on demand.

Covers: POST /v1/messages; batches: create, list, retrieve, results as JSONL, cancel; POST /v1/chat/completions;
refusing what the API refuses (no key, no version, a temperature in the version of 2026, wrong custom ids); 4xx, 5xx and
529 with retry-after, slow replies, connections that are reset before or in the middle of a reply.
Does not cover: a model. Answers come from a function of the request's prompt.
"""

from __future__ import annotations

import io
import json
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSIONS = ("2023-06-01", "2026-10-21")
ERRORS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
          429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}  # fmt: skip
NOW = re.compile(r"^\d+\. (\d{4}-\S+) \(", re.MULTILINE)
WORDS = ["amber", "bassoon", "cactus", "dulcimer", "ember", "falcon", "ginger", "harbour", "iguana", "juniper",
         "kettle", "lantern", "mango", "nectar", "orchid", "pepper", "quartz", "raven", "saffron", "timber", "umbrella",
         "velvet", "walnut", "yarrow", "zinnia", "anchor", "biscuit", "copper", "dahlia", "easel"]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What happens to one POST in place of a reply."""

    kind: str  # status, reset (no byte comes back), torn (half a reply), slow (the reply comes late)
    status: int = 500
    retry_after: str | None = "0.02"
    seconds: float = 0.0
    message: str = "a fault of the test"


@dataclass
class MessagesServer:
    """Its state, for tests to set and to look at."""

    answer: Callable[[str], str]
    faults: list[Fault] = field(default_factory=list)  # one for each POST, from the front
    result_faults: list[Fault] = field(default_factory=list)  # for the results of a batch
    asked: list[str] = field(default_factory=list)  # prompts of every POST that was answered with 200
    posts: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls_to_end: int = 2  # how often a batch is looked at before it has ended
    fates: dict[str, str] = field(default_factory=dict)  # of the next batch: request -> errored, invalid, expired
    delay: float = 0.0  # of every reply, in seconds
    model: str | None = None  # that replies claim
    stop_reason: str = "end_turn"
    busy: int = 0
    most_busy: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def usage(self, prompt: str, text: str) -> tuple[int, int]:
        """Tokens in and out."""
        return len(prompt) // 4, len(text) // 3

    def message(self, params: dict[str, Any]) -> dict[str, Any]:
        """A reply of the Messages API, with a block of thinking that no reader may take for text."""
        prompt = params["messages"][0]["content"]
        text = self.answer(prompt)
        tokens_in, tokens_out = self.usage(params.get("system", "") + prompt, text)
        return {
            "id": "msg_01test", "type": "message", "role": "assistant", "model": self.model or params["model"],
            "content": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, {"type": "text", "text": text}],
            "stop_reason": self.stop_reason, "stop_sequence": None,
            "usage": {"input_tokens": tokens_in, "output_tokens": tokens_out, "cache_creation_input_tokens": 0,
                      "cache_read_input_tokens": 0, "service_tier": "standard"},
        }  # fmt: skip


def write_tasks(prompt: str) -> str:
    """One good createTask line for each time of a prompt, none like another."""
    lines = []
    for place, now in enumerate(NOW.findall(prompt)):
        rng = random.Random(f"{now} {place}")
        title = " ".join(rng.sample(WORDS, 5))
        calls = [{"tool": "createTask", "params": {"priority": "medium", "title": title}}]
        lines.append(json.dumps({"now": now, "messages": [{"user": f"note: {title}"}, {"calls": calls}]}))
    return "\n".join(lines)


@contextmanager
def serve_messages(answer: Callable[[str], str] = write_tasks) -> Iterator[MessagesServer]:
    """A server on a free port of 127.0.0.1; ``url`` is what ANTHROPIC_BASE_URL takes."""
    state = MessagesServer(answer)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _handler(state: MessagesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.loads(raw) if raw else {}
            with state.lock:
                state.posts += 1
                state.bodies.append(body)
                state.headers.append(dict(self.headers.items()))
                fault = state.faults.pop(0) if state.faults else None
                state.busy += 1
                state.most_busy = max(state.most_busy, state.busy)
            try:
                if fault and self._fail(fault):
                    return
                time.sleep(state.delay)
                self._answer(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client was killed
            finally:
                with state.lock:
                    state.busy -= 1

        def do_GET(self) -> None:
            if not self._authorised():
                return
            path = self.path.split("?")[0].removeprefix("/v1/messages/batches").strip("/")
            if not path:
                self._send(200, {"data": [_public(state, b) for b in reversed(state.batches.values())],
                                 "has_more": False, "first_id": None, "last_id": None})  # fmt: skip
                return
            name, _, rest = path.partition("/")
            batch = state.batches.get(name)
            if batch is None:
                self._error(404, f"no batch {name}")
            elif rest == "results":
                lines = [json.dumps(result) for result in _results(state, batch)]
                fault = state.result_faults.pop(0) if state.result_faults else None
                if fault and self._fail(fault, "\n".join(lines).encode()):
                    return
                self._send(200, "\n".join(lines) + "\n", "application/x-jsonl")
            else:
                batch["polls"] += 1
                if batch["polls"] >= state.polls_to_end:
                    batch["ended"] = True
                self._send(200, _public(state, batch))

        def _answer(self, body: dict[str, Any]) -> None:
            if self.path == "/v1/chat/completions":
                self._chat(body)
            elif not self._authorised():
                return
            elif self.path == "/v1/messages":
                if why := _why_not(body, self.headers["anthropic-version"]):
                    self._error(400, why)
                else:
                    reply = state.message(body)
                    with state.lock:
                        state.asked.append(body["messages"][0]["content"])
                    self._send(200, reply)
            elif self.path == "/v1/messages/batches":
                self._create(body)
            elif self.path.endswith("/cancel"):
                batch = state.batches[self.path.split("/")[-2]]
                batch["cancelled"] = batch["ended"] = True
                self._send(200, _public(state, batch))
            else:
                self._error(404, "no such path")

        def _create(self, body: dict[str, Any]) -> None:
            names = [item.get("custom_id", "") for item in body["requests"]]
            whys = [_why_not(item["params"], self.headers["anthropic-version"]) for item in body["requests"]]
            if len(set(names)) != len(names) or not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names):
                self._error(400, "requests: custom_id must be unique and match ^[a-zA-Z0-9_-]{1,64}$")
            elif any(whys):
                self._error(400, next(why for why in whys if why))
            else:
                with state.lock:
                    name = f"msgbatch_{len(state.batches) + 1:02d}"
                    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    state.batches[name] = {"id": name, "requests": body["requests"], "polls": 0, "ended": False,
                                           "cancelled": False, "created_at": made, "fates": state.fates}  # fmt: skip
                    state.fates = {}
                    state.asked += [item["params"]["messages"][0]["content"] for item in body["requests"]]
                self._send(200, _public(state, state.batches[name]))

        def _chat(self, body: dict[str, Any]) -> None:
            prompt = body["messages"][-1]["content"]
            text = state.answer(prompt)
            with state.lock:
                state.asked.append(prompt)
            tokens_in, tokens_out = state.usage(prompt, text)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
            self._send(200, {"id": "c1", "object": "chat.completion", "model": state.model or body["model"],
                             "choices": [choice], "usage": usage})  # fmt: skip

        def _authorised(self) -> bool:
            if not (self.headers.get("authorization") or self.headers.get("x-api-key")):
                self._error(401, "no key")
                return False
            if self.headers.get("anthropic-version") not in VERSIONS:
                self._error(400, "anthropic-version: unknown")
                return False
            return True

        def _fail(self, fault: Fault, reply: bytes = b'{"id": "msg_01') -> bool:
            if fault.kind == "slow":
                time.sleep(fault.seconds)
                return False
            if fault.kind == "status":
                # Some servers say what they were given; a client must not print it.
                key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                self._error(fault.status, fault.message.replace("{key}", key), fault.retry_after)
                return True
            if fault.kind == "torn":
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(reply) + 1000))
                self.end_headers()
                self.wfile.write(reply[: len(reply) * 2 // 3])
                self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            self.wfile = io.BytesIO()  # the handler flushes it on its way out
            return True

        def _error(self, status: int, message: str, retry_after: str | None = None) -> None:
            error = {"type": "error", "error": {"type": ERRORS.get(status, "api_error"), "message": message}}
            self._send(status, error, retry_after=retry_after)

        def _send(self, status: int, body: Any, kind: str = "application/json", retry_after: str | None = None) -> None:
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.send_header("request-id", "req_test")
            if retry_after is not None:
                self.send_header("retry-after", retry_after)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _why_not(params: dict[str, Any], version: str) -> str:
    if missing := [key for key in ("model", "max_tokens", "messages") if key not in params]:
        return f"{missing[0]}: Field required"
    allowed = {"model", "max_tokens", "messages", "system", "output_config", "thinking", "metadata", "stop_sequences"}
    allowed |= {"temperature", "top_p", "top_k"} if version == "2023-06-01" else set()
    if unknown := sorted(params.keys() - allowed):
        return f"{unknown[0]}: Extra inputs are not permitted"
    return ""


def _public(state: MessagesServer, batch: dict[str, Any]) -> dict[str, Any]:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if batch["ended"]:
        for result in _results(state, batch):
            counts[result["result"]["type"]] += 1
    else:
        counts["processing"] = len(batch["requests"])
    url = f"{state.url}/v1/messages/batches/{batch['id']}/results"
    return {
        "id": batch["id"], "type": "message_batch", "created_at": batch["created_at"],
        "expires_at": batch["created_at"], "ended_at": batch["created_at"] if batch["ended"] else None,
        "cancel_initiated_at": None, "archived_at": None, "request_counts": counts,
        "processing_status": "ended" if batch["ended"] else "in_progress",
        "results_url": url if batch["ended"] else None,
    }  # fmt: skip


def _results(state: MessagesServer, batch: dict[str, Any]) -> list[dict[str, Any]]:
    results = []
    for place, item in enumerate(batch["requests"]):
        fate = batch["fates"].get(item["custom_id"].rpartition("-")[2])
        if batch["cancelled"] and place >= len(batch["requests"]) // 2:
            fate = "canceled"
        if fate is None:
            result: dict[str, Any] = {"type": "succeeded", "message": state.message(item["params"])}
        elif fate in ("errored", "invalid"):
            kind = "invalid_request_error" if fate == "invalid" else "overloaded_error"
            result = {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": "no"}}}
        else:
            result = {"type": fate}
        results.append({"custom_id": item["custom_id"], "result": result})
    return results[::-1]  # results come in any order
