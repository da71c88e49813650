"""Every paid reply of a run, in one file that only grows: appended and fsynced before anybody reads the reply.

Covers: the file, its lock, what is known after a kill, what was spent.
Does not cover: what a reply says (harvest), sending requests (clients, asking).

Lines of replies.jsonl, each with ``event``:
    reply    request, body: the reply's text as it came from the wire
    lost     request, why: no reply came back, though the server may have worked, and been paid, for it
    submit   requests, at: a batch is about to be made; without one of the next two its fate is open
    batch    id, requests: the batch was made
    refused  why: the batch was not made
    result   body: a line of a batch's results as it came from the wire
    done     id: all results of the batch are here
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import DataError, SetupError, StoreError
from harness.files import sync_folder
from training.synthetic.plan import Plan, Request

ROOM = 64 * 2**20  # bytes that must be free before anything is paid; a reply has about 20,000


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, read from its body; ``why`` says why there is no text."""

    text: str
    model: str
    input_tokens: int | None  # None: the reply does not say
    output_tokens: int | None
    cut: bool  # it ended at max_tokens
    why: str = ""


@dataclass(slots=True)
class State:
    """What the lines of a ledger amount to."""

    replies: dict[str, str] = field(default_factory=dict)  # request -> body
    lost: list[str] = field(default_factory=list)  # requests, once for each attempt
    batches: dict[str, list[str]] = field(default_factory=dict)  # open ones: id -> requests
    known: set[str] = field(default_factory=set)  # ids of all batches, open and done
    orphan: dict[str, Any] | None = None  # a submit whose fate is open
    results: set[str] = field(default_factory=set)  # lines of batches, which may be fetched twice
    failed: dict[str, str] = field(default_factory=dict)  # request -> why a batch did not answer it, unpaid


def ledger_path(folder: Path) -> Path:
    """Where the ledger of a run is."""
    return folder / "raw" / "replies.jsonl"


class Ledger:
    """The file, open for appending and locked against other processes."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.state = State()
        self._file = file
        self._lock = threading.Lock()

    def check_room(self) -> None:
        """Before a request is paid: a reply that comes back to a full disk would be lost.

        Raises:
            StoreError: too little is free.
        """
        free = shutil.disk_usage(self.path.parent).free
        if free < ROOM:
            raise StoreError(
                f"Only {free // 2**20} MiB are free at {self.path.parent}, and replies need {ROOM // 2**20}. "
                "Free that place, then go on with --resume."
            )

    def append(self, event: str, **fields: Any) -> None:
        """Write one line and have the disk confirm it; safe from several threads.

        Raises:
            StoreError: the disk is full or gone.
        """
        line = json.dumps({"event": event, **fields}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise StoreError(
                    f"Cannot write {self.path}: {error.strerror}. Free that place, then go on with --resume."
                ) from error
            _apply(self.state, {"event": event, **fields})


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Open the ledger of a run, new or old, for one process alone.

    Raises:
        SetupError: another process is at work on it, or it cannot be opened.
        DataError: a line of it is broken.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise SetupError(f"Cannot open {path}: {error.strerror}. Choose another --out.") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                f"Another process is at work on {path.parent.parent}. Wait for it, or choose another --out."
            ) from None
        ledger = Ledger(path, file)
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # The process was killed while it wrote this line: what is there of it cannot be read.
            file.truncate(whole)
        for event in _read_events(path, content[:whole]):
            _apply(ledger.state, event)
        if not content:
            sync_folder(path.parent)
            sync_folder(path.parent.parent)
        yield ledger
    finally:
        with suppress(OSError):  # a full disk was told of by append
            file.close()


def load_state(path: Path) -> State:
    """What a ledger amounts to, without opening it for writing; an absent one is empty."""
    state = State()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return state
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}. Choose another --out.") from None
    for event in _read_events(path, content[: content.rfind(b"\n") + 1]):
        _apply(state, event)
    return state


@cache  # the cost so far is asked for after every reply
def read_reply(body: str) -> Reply:
    """Read a reply of the Messages API, a result of a batch, or a reply of an OpenAI-compatible server."""
    try:
        raw = json.loads(body)
        if "choices" in raw:
            choice = raw["choices"][0]
            usage = raw.get("usage") or {}
            text, cut = choice["message"].get("content") or "", choice.get("finish_reason") == "length"
            why = "" if text else "the reply is empty"
            return Reply(text, str(raw.get("model") or ""), usage.get("prompt_tokens"), usage.get("completion_tokens"),
                         cut, why)  # fmt: skip
        message = raw["result"]["message"] if "result" in raw else raw
        usage = message["usage"]
        cached = (usage.get("cache_creation_input_tokens") or 0) + (usage.get("cache_read_input_tokens") or 0)
        text = "\n".join(block["text"] for block in message["content"] if block["type"] == "text")
        stop = message.get("stop_reason")
        why = "the model refused" if stop == "refusal" else "" if text else f"the reply is empty ({stop})"
        return Reply(text, message["model"], usage["input_tokens"] + cached, usage["output_tokens"],
                     stop == "max_tokens", why)  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return Reply("", "", None, None, False, "the reply has another format than its API's")


def spent(plan: Plan, state: State) -> float:
    """US dollars so far, from the replies' own token counts; what may have been paid counts as paid in full."""
    requests = {request.id: request for request in plan.requests}
    replies = sum(reply_cost(plan, requests[name], body) for name, body in state.replies.items() if name in requests)
    return replies + sum(plan.at_most(requests[name]) for name in state.lost if name in requests)


def reply_cost(plan: Plan, request: Request, body: str) -> float:
    """US dollars of one reply; one that does not tell its tokens counts in full."""
    reply = read_reply(body)
    if reply.input_tokens is None or reply.output_tokens is None:
        return plan.at_most(request)
    return plan.price.cost(reply.input_tokens, reply.output_tokens, batch=plan.batch)


def _read_events(path: Path, content: bytes) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            if not isinstance(event["event"], str):
                raise TypeError
        except (ValueError, TypeError, KeyError):
            raise DataError(
                f"{path}:{number}: no line of a ledger. It holds paid replies: mend the line, do not delete the file."
            ) from None
        yield event


def _apply(state: State, event: Mapping[str, Any]) -> None:
    match event["event"]:
        case "reply":
            _keep(state, event["request"], event["body"])
        case "lost":
            state.lost.append(event["request"])
        case "submit":
            state.orphan = dict(event)
        case "refused":
            state.orphan = None
        case "batch":
            state.orphan = None
            state.batches[event["id"]] = list(event["requests"])
            state.known.add(event["id"])
        case "result":
            state.results.add(event["body"])
            _apply_result(state, event["body"])
        case "done":
            state.batches.pop(event["id"], None)


def _apply_result(state: State, body: str) -> None:
    try:
        raw = json.loads(body)
        name, result = raw["custom_id"].rpartition("-")[2], raw["result"]
        if result["type"] == "succeeded":
            _keep(state, name, body)
        else:
            error = (result.get("error") or {}).get("error") or {}
            parts = (result["type"], error.get("type"), error.get("message"))
            state.failed[name] = ": ".join(str(part) for part in parts if part)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # it stays in the file; the request counts as not answered


def _keep(state: State, name: str, body: str) -> None:
    state.replies.setdefault(name, body)
    state.failed.pop(name, None)
