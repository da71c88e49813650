"""The review page: a small server on 127.0.0.1 that shows one drawn example at a time and writes down what is decided.

Covers: the queue, what the page shows of an example, accept / reject / edit / skip / undo, who may ask
(token, Host, Origin).
Does not cover: what is drawn and what a decision means for a build (training.review.decisions); any other network than
loopback, for which a tunnel is needed (ssh -L, adb reverse).

Text of examples is foreign. It travels as JSON, the page puts it into text nodes only, and the Content-Security-Policy
allows no script but page.js.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.errors import DataError, SetupError
from harness.parsing import load_strict, parse_reply
from harness.prompt import weekday
from harness.toolset import Toolset, load_toolset
from training.examples import KINDS, Example, format_example, parse_example
from training.review.decisions import (
    SHARE,
    Decision,
    DecisionLog,
    content_hash,
    count_strata,
    draw_levels,
    draw_sample,
    find_verdicts,
    list_problems,
    list_standing,
)

FOLDER = Path(__file__).parent
FILES = {  # path -> file, media type
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
MAX_BODY = 2**20  # bytes
# What a reviewer can tick; the keys are their places, from 1.
REASONS = (
    "wrong tool, or no tool where one is due",
    "wrong or invented value",
    "wrong date or time",
    "missing or superfluous call",
    "wrong or awkward reply text",
    "nobody would write this prompt",
    "private or harmful content",
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d(T\S+)?")


class Review:
    """The examples of one sitting and the file in which it writes."""

    def __init__(
        self,
        examples: Iterable[Example],
        log: DecisionLog,
        *,
        reviewer: str,
        share: float = SHARE,
        toolset: Toolset | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.examples = {content_hash(example): example for example in examples}
        self.log, self.reviewer, self.share, self.clock = log, reviewer, share, clock
        self.toolset = toolset or load_toolset()
        self.sample = draw_sample(self.examples.values(), share=share, decisions=log.decisions)
        drawn = {decision.hash for decision in log.decisions if decision.action == "draw"}
        levels = draw_levels(self.examples.values(), share=share, decisions=log.decisions)
        if new := [key for key in self.sample if key not in drawn]:
            log.append([self._decide("draw", key, level=levels[key]) for key in new])

    def state(self, show: str | None = None) -> dict[str, Any]:
        """What the page shows: the example ``show`` or the next one, and how far the review is."""
        verdicts, standing = find_verdicts(self.log.decisions), list_standing(self.log.decisions)
        # Skipped ones come last, in the order in which they were skipped.
        skipped = {decision.hash: place for place, decision in enumerate(standing) if decision.action == "skip"}
        left = sorted((key for key in self.sample if key not in verdicts), key=lambda key: skipped.get(key, -1))
        # Hashing all examples takes a moment: the strata are counted when the sample is done. A build asks for SHARE.
        share = max(self.share, SHARE)
        counts = [] if left else count_strata(self.examples.values(), self.log.decisions, share=share)
        current = show or (left[0] if left else None)
        return {
            "drawn": len(self.sample),
            "read": len(self.sample) - len(left),
            "total": len(self.examples),
            "rejected": sum(verdicts[key].action == "reject" for key in self.sample if key in verdicts),
            "reviewer": self.reviewer,
            "undo": self._last_decision() is not None,
            "reasons": REASONS,
            "kinds": KINDS,
            "strata": [asdict(count) for count in counts],
            "problems": list_problems(counts),
            "example": None if current is None else show_example(current, self.examples[current]),
        }

    def decide(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Write a decision down and say what to show next.

        Raises:
            ValueError: the decision cannot be taken; says why.
            DataError: it could not be written.
        """
        action = body.get("action")
        if action == "undo":
            last = self._last_decision()
            if last is None:
                raise ValueError("there is nothing to undo")
            self.log.append([self._decide("undo", last.hash)])
            return self.state(show=last.hash)
        key = body.get("hash")
        if not isinstance(key, str) or key not in self.sample:
            raise ValueError("this example is not in the sample; reload the page")
        if action in {"accept", "skip"}:
            decision = self._decide(action, key)
        elif action == "reject":
            decision = self._decide(action, key, **_read_reasons(body))
        elif action == "edit":
            edited = edit_example(self.examples[key], body.get("example"), self.toolset)
            if content_hash(edited) == key:
                raise ValueError("nothing was changed; accept it, or cancel")
            decision = self._decide(action, key, example=edited, becomes=content_hash(edited))
        else:
            raise ValueError(f"unknown action {action!r}; known: accept, reject, edit, skip, undo")
        self.log.append([decision])
        return self.state()

    def _decide(self, action: str, key: str, **more: Any) -> Decision:
        time = self.clock().astimezone(UTC).isoformat(timespec="seconds")
        name = self.examples[key].id
        return Decision(time=time, reviewer=self.reviewer, action=action, hash=key, id=name, **more)

    def _last_decision(self) -> Decision | None:
        """The last own decision on an example that is here; undo takes back one's own alone."""
        for decision in reversed(list_standing(self.log.decisions)):
            if decision.reviewer == self.reviewer and decision.hash in self.sample:
                return decision
        return None


def show_example(key: str, example: Example) -> dict[str, Any]:
    """What the page needs of an example: exchanges (what was said, and the reply to it) and the turns to edit."""
    exchanges: list[dict[str, Any]] = [{"said": [], "reply": None}]
    for message in example.messages:
        if exchanges[-1]["reply"] is not None:
            exchanges.append({"said": [], "reply": None})
        text = message["content"]
        if message["role"] == "assistant":
            exchanges[-1]["reply"] = show_reply(text, example.now)
        else:
            exchanges[-1]["said"].append({"role": message["role"], "text": _indent_json(message["role"], text)})
    return {
        "hash": key,
        "id": example.id,
        "kind": example.kind,
        "tools": example.tools,
        "pair": example.pair,
        "origin": f"{example.source}, {example.author}, {example.licence}",
        "now": example.now,
        "weekday": weekday(example.now),
        "exchanges": exchanges,
        "messages": example.messages,
    }


def show_reply(text: str, now: str) -> dict[str, Any]:
    """A reply as the reader of the harness sees it: calls with their parameters, and the prose."""
    reply = parse_reply(text)
    calls = [
        {
            "tool": call.tool,
            "params": [
                {
                    "name": name,
                    "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
                    "note": describe_day(value, now) if isinstance(value, str) else "",
                }
                for name, value in call.params.items()
            ],
        }
        for call in reply.calls
    ]
    return {"text": text, "calls": calls, "prose": reply.text}


def describe_day(value: str, now: str) -> str:
    """``Friday, in 4 days`` for a date or time as seen from ``now``; empty for other texts."""
    if not _DAY.fullmatch(value):
        return ""
    try:
        day = date.fromisoformat(value[:10])
        name = weekday(f"{value[:10]}T00:00:00+00:00")
    except (ValueError, SetupError):
        return "no such day"
    days = (day - datetime.fromisoformat(now).date()).days
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(days)
    return f"{name}, {near or (f'in {days} days' if days > 0 else f'{-days} days ago')}"


def edit_example(example: Example, changes: object, toolset: Toolset) -> Example:
    """The example with another ``now``, ``kind`` and ``messages`` (one text per turn), validated like a line of a file.

    Raises:
        ValueError: the result must not be trained on; says why.
    """
    if not isinstance(changes, dict) or changes.keys() != {"now", "kind", "messages"}:
        raise ValueError("an edit has now, kind and messages")
    texts = changes["messages"]
    if not isinstance(texts, list) or len(texts) != len(example.messages) or not all(isinstance(t, str) for t in texts):
        raise ValueError(f"messages must be {len(example.messages)} texts, one per turn")
    turns = [
        {"role": message["role"], "content": text.replace("\r\n", "\n").strip()}
        for message, text in zip(example.messages, texts, strict=True)
    ]
    replies = [parse_reply(turn["content"]) for turn in turns if turn["role"] == "assistant"]
    tools = [call.tool for reply in replies for call in reply.calls]
    line = json.loads(format_example(example))
    line |= {"now": changes["now"], "kind": changes["kind"], "messages": turns, "tools": tools}
    return parse_example(json.dumps(line), toolset)


def make_app(review: Review, token: str) -> ASGIApp:
    """The application; every path begins with the token."""

    async def get_file(request: Request) -> Response:
        if request.path_params["name"] not in FILES:
            raise HTTPException(404, "no such page")
        name, media_type = FILES[request.path_params["name"]]
        return Response((FOLDER / name).read_bytes(), media_type=media_type)

    async def get_state(_: Request) -> Response:
        return _answer(review.state())

    async def post_decision(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, "send application/json")
        data = b""
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BODY:
                raise HTTPException(413, f"at most {MAX_BODY} bytes")
        try:
            body = load_strict(data.decode())
            if not isinstance(body, dict):
                raise ValueError("send one JSON object")
            return _answer(review.decide(body))
        except ValueError as error:
            return _answer({"error": str(error)}, 400)
        except DataError as error:
            return _answer({"error": str(error)}, 507)

    routes = [
        Route(f"/{token}/state", get_state),
        Route(f"/{token}/decide", post_decision, methods=["POST"]),
        Route(f"/{token}/{{name:path}}", get_file),
    ]
    return Guard(Starlette(routes=routes), token)


class Guard:
    """Turns away whoever does not know the token, or reached us under another name (DNS rebinding, other sites)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        host = b"".join(headers.get(b"host", [])).decode("latin-1")
        origins = {value.decode("latin-1") for value in headers.get(b"origin", [])}
        given = scope["path"].encode("utf-8", "surrogateescape").split(b"/")[1:2]

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        if not _HOST.fullmatch(host) or not origins <= {f"http://{host}"}:
            app: ASGIApp = Response("Open the page as http://127.0.0.1 or http://localhost.\n", 403)
        elif not given or not hmac.compare_digest(given[0], self.token):
            app = Response("Open the address that `python -m training review` printed, all of it.\n", 403)
        else:
            app = self.app
        await app(scope, receive, send_guarded)


def open_socket(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one.

    Raises:
        SetupError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)  # before the address is printed, so that it works at once
    except OSError as error:
        listener.close()
        raise SetupError(f"Cannot listen on port {port}: {error.strerror}. Take another: --port 0 finds one.") from None
    return listener


def make_server(review: Review, token: str) -> uvicorn.Server:
    """The server; ``run(sockets=[open_socket(0)])`` serves until ``should_exit`` is set or Ctrl-C comes."""
    # No access log: it would hold the token.
    config = uvicorn.Config(
        make_app(review, token),
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def make_token() -> str:
    """A token that nobody guesses: 192 random bits."""
    return secrets.token_urlsafe(24)


def _answer(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def _indent_json(role: str, text: str) -> str:
    if role != "tool":
        return text
    try:
        return json.dumps(load_strict(text), ensure_ascii=False, indent=1)
    except ValueError:
        return text


def _read_reasons(body: Mapping[str, Any]) -> dict[str, Any]:
    reasons, note = body.get("reasons", []), body.get("note", "")
    if not isinstance(reasons, list) or not all(reason in REASONS for reason in reasons) or not isinstance(note, str):
        raise ValueError(f"reasons must be among: {'; '.join(REASONS)}; note is a text")
    if not reasons and not note.strip():
        raise ValueError("say why: tick a reason or write a note")
    return {"reasons": tuple(reasons), "note": note.strip()}
