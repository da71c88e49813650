"""Faults on request: what goes wrong between a client and Workers AI, when a test asks for it.

Covers: the table of faults, the plan of coming ones, doing them to a response.
Does not cover: which request is which operation (``app``).

A fault is asked for by the header ``X-Emulator-Fault: NAME`` (or ``NAME SECONDS``) on the request itself, or ahead of
time by ``POST /emulator/faults`` with ``{"fault": NAME, "on": OPERATION, "times": 1, "after": 0, "seconds": 5}``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from dataclasses import asdict, dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from deploy.emulator.quirks import ASSUMED, WorkersAIError

HEADER = "x-emulator-fault"
FAULTS = {
    "429-3036": "the day's free neurons are used up; a retry is useless",
    "429-3040": "out of capacity; a retry helps",
    "429-rate": "too many API requests, with Retry-After",
    "500": "an internal error, as JSON",
    "html": "a gateway's HTML error page with status 502",
    "hang": "no answer for SECONDS (600), or until the client leaves",
    "reset": "the connection is reset at the start of the request's body, before anything is done",
    "lost": "the request is carried out, then the connection is reset",
    "slow": "the body comes in ten pieces over SECONDS (5)",
    "truncated": "half of the JSON under a Content-Length that fits it",
    "cut": "half of the body under the Content-Length of the whole, then the end",
    "base-reply": "run answers with the base model, silently without the adapter",
}
OPERATIONS = ("any", "run", "create", "upload", "list", "delete", "models", "kv", "other")
SECONDS = {"hang": 600.0, "slow": 5.0}
THROTTLED, RETRY_AFTER = 971, 1  # the code of the API as a whole, and seconds; both assumed
PIECES = 10
PAGE = (
    "<!DOCTYPE html>\n<html><head><title>502: Bad gateway</title></head>\n"
    "<body><h1>Bad gateway</h1><p>Error code 502</p></body></html>\n"
)


@dataclass(slots=True)
class Fault:
    """A fault that is to come: on which operation, after how many unharmed requests, how often (None: always)."""

    fault: str
    on: str = "any"
    times: int | None = 1
    after: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError with one clear line where a value is not possible."""
        if self.fault not in FAULTS:
            raise ValueError(f"Unknown fault {self.fault!r}. Known: {', '.join(FAULTS)}.")
        if self.on not in OPERATIONS:
            raise ValueError(f"Unknown operation {self.on!r}. Known: {', '.join(OPERATIONS)}.")
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise ValueError(f"times is {self.times!r}; a number from 1 up, or null for always.")
        if type(self.after) is not int or self.after < 0:
            raise ValueError(f"after is {self.after!r}; a number from 0 up.")
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float) or not 0 <= self.seconds < 1e6:
            raise ValueError(f"seconds is {self.seconds!r}; a number from 0 up.")
        self.seconds = self.seconds or SECONDS.get(self.fault, 0.0)


class FaultPlan:
    """The faults that are to come, the first one that fits first."""

    def __init__(self) -> None:
        self._plan: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Plan a fault."""
        with self._lock:
            self._plan.append(fault)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._plan.clear()

    def listed(self) -> list[dict[str, Any]]:
        """What is still to come."""
        with self._lock:
            return [asdict(fault) for fault in self._plan]

    def take(self, operation: str) -> Fault | None:
        """The fault of this request, counted as used."""
        with self._lock:
            for fault in self._plan:
                if fault.on not in ("any", operation):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._plan.remove(fault)
                return fault
        return None


def parse_header(text: str) -> Fault:
    """``NAME`` or ``NAME SECONDS``; ValueError says what is wrong."""
    name, _, seconds = text.strip().partition(" ")
    return Fault(name, seconds=float(seconds or 0))


def refusal(fault: Fault) -> WorkersAIError | None:
    """The faults that are a plain refusal."""
    if fault.fault in ("429-3036", "429-3040"):
        return WorkersAIError(int(fault.fault.partition("-")[2]))
    if fault.fault == "429-rate":
        return WorkersAIError(THROTTLED, "Please wait and consider throttling your request speed", status=429)
    if fault.fault == "500":
        return WorkersAIError(ASSUMED, "Internal server error", status=500)
    return None


async def do_fault(fault: Fault, handle: ASGIApp, scope: Scope, receive: Receive, send: Send) -> int:
    """Carry out a fault on a request that ``handle`` would answer; the status that the client saw, 0 for none."""
    if fault.fault == "reset":
        await receive()  # a client that is still sending its headers would see the end in many ways
        return await _reset(scope, receive)
    if fault.fault == "hang":
        await _drain(receive)
        try:
            async with asyncio.timeout(fault.seconds):
                await _wait_for_leaving(receive)
        except TimeoutError:
            await _reset(scope, receive)
        return 0
    if fault.fault == "html":
        await _drain(receive)
        await _respond(send, 502, [(b"content-type", b"text/html; charset=UTF-8")], [PAGE.encode()])
        return 502
    start: Message = {}
    parts: list[bytes] = []

    async def capture(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await handle(scope, receive, capture)
    if fault.fault == "lost":
        return await _reset(scope, receive)
    body, status = b"".join(parts), int(start["status"])
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    half = body[: len(body) // 2]
    if fault.fault == "truncated":
        await _respond(send, status, headers, [half])
    elif fault.fault == "cut":
        await _respond(send, status, headers, [half], length=len(body), end=False)
        await asyncio.sleep(0.05)  # the half is to arrive before the end does
        _transport(scope).close()
        await _wait_for_leaving(receive)
    else:
        size = max(1, -(-len(body) // PIECES))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        await _respond(send, status, headers, pieces, pause=fault.seconds / PIECES)
    return status


class OpenProtocol(H11Protocol):
    """uvicorn's HTTP protocol that lets the app reach a request's connection: ASGI has no way to reset one."""

    transports: dict[Any, asyncio.Transport] = {}  # noqa: RUF012 - one table for all connections is the point

    # asyncio declares BaseTransport; uvicorn narrows it as this does.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the connection by the client's address, which is what a scope names."""
        super().connection_made(transport)
        self.transports[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.transports.pop(self.client, None)
        super().connection_lost(exc)


def _transport(scope: Scope) -> asyncio.Transport:
    return OpenProtocol.transports[scope["client"]]


async def _reset(scope: Scope, receive: Receive) -> int:
    transport = _transport(scope)
    # Lingering for no time makes the kernel send RST where it would send FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _wait_for_leaving(receive)  # else uvicorn would take the missing response for an error of ours
    return 0


async def _drain(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _wait_for_leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(
    send: Send,
    status: int,
    headers: list[tuple[bytes, bytes]],
    pieces: list[bytes],
    *,
    length: int | None = None,
    pause: float = 0.0,
    end: bool = True,
) -> None:
    size = sum(map(len, pieces)) if length is None else length
    headers = [*headers, (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await asyncio.sleep(pause)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if end:
        await send({"type": "http.response.body", "body": b""})
