"""Replies out of logs, and candidate cases out of replies: what production wrote, as plain values.

Covers: lines of the Worker itself, `wrangler tail --format json`, Workers Logs, Logpush, AI Gateway logs; files that
grow; masking of personal data; candidate cases.
Does not cover: judging a reply (deploy.monitor), and names that stand in free text: they are not masked, so a person
reads a candidate before it is shared.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.errors import DataError
from harness.prompt import BOS, EOT, ROLE_HEADERS
from harness.types import Message

EVENT = "toolgate.reply"
MAX_LINE = 1 << 20  # bytes; a longer line, or one JSON text over several lines, is left out and counted
PAUSE = 0.5  # seconds between two looks at a file that grows
NAMED = 5  # bad lines that are named; all are counted
ROLES = {header: role for role, header in ROLE_HEADERS.items()}
TURN = re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n\n(.*?)(?=<\|eot_id\|>|\Z)", re.DOTALL)
NOW = re.compile(r"Current time: (\S+)")
PERSONAL = re.compile(
    # A day, and a time of it, says nothing of a person.
    r"(?P<keep>(?<![\d-])\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])(?![\d-])"
    r"(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?(?!\d))?)"
    r"|(?P<email>[^\s@<>\"(),;:\\]{1,64}@[^\s@<>\"'(),;:\\]{1,255})"
    r"|(?P<phone>\+\d[\d ().\-/]{5,}\d|\(?\d{2,4}\)?[ ./-]\(?\d{2,4}\)?[ ./-]\d{3,}(?:[ .-]\d+)*)"
    r"|(?P<number>\d(?:[ -]?\d){5,})"
)
PEOPLE = re.compile(r"""["']?\b(?:to|cc|attendees)\b\\?["']?\s*:\s*(\[[^\]]*\]?|\\?"[^"]*"?|'[^']*'?)""")
# Not the words of a mask, and not the keys of a call: somebody may be called "To".
WORD = re.compile(r"""(?<!<)(?<![^\W\d_])[^\W\d_]{2,}(?![^\W\d_]|>|\\?["']\s*:)""")
QUOTED = re.compile(r"""["']([^"']+?)\\?(?:["']|$)""")


@dataclass(frozen=True, slots=True)
class LoggedReply:
    """One reply. ``text`` is None where the log keeps none; then ``kind`` and ``tools`` are the Worker's."""

    adapter: str = ""
    text: str | None = None
    kind: str = ""  # call, none, malformed, empty or error; "" where only the text tells
    tools: tuple[str, ...] = ()
    errors: int = 0  # of the Worker's schema check
    seconds: float | None = None
    at: str = ""
    messages: tuple[Message, ...] = ()  # without the system prompt; empty where the log has no question
    now: str = ""


@dataclass(slots=True)
class Lines:
    """How many texts were read, and which of them could not be."""

    read: int = 0
    other: int = 0  # JSON without a reply
    bad: int = 0
    named: list[str] = field(default_factory=list)

    def refuse(self, place: str, why: str) -> None:
        """Count a text that is no JSON."""
        self.bad += 1
        if len(self.named) < NAMED:
            self.named.append(f"{place}: {why}")


def read_logs(
    paths: Sequence[Path], lines: Lines, *, follow: bool = False, until: Callable[[], bool] = lambda: False
) -> Iterator[LoggedReply]:
    """The replies of files, one after the other; with ``follow`` also what is added to them, until ``until`` is true.

    Memory does not grow with the files. A file that became shorter is read from its start again.

    Raises:
        DataError: a file cannot be read.
    """
    with ExitStack() as stack:
        files = []
        for path in paths:
            try:
                files.append((path, stack.enter_context(path.open("rb")), _Joiner(path.name, lines)))
            except OSError as error:
                raise DataError(f"Cannot read {path}: {error.strerror}. Give a file of log lines.") from None
        while True:
            growing = [follow and path.is_file() for path in paths]  # a pipe ends
            for (path, file, joiner), grows in zip(files, growing, strict=True):
                if grows and path.stat().st_size < file.tell():  # emptied, as logrotate's copytruncate does
                    file.seek(0)
                    joiner.restart()
                for value in _read_values(path, file, joiner, last=not grows):
                    found = False
                    for reply in find_replies(value):
                        found = True
                        yield reply
                    lines.other += not found
            if not any(growing) or until():
                return
            time.sleep(PAUSE)


def find_replies(value: Any, depth: int = 4) -> Iterator[LoggedReply]:
    """The replies in one JSON value of a log, whichever of the known shapes it has; the pages of an API are nested."""
    if isinstance(value, list) and depth:
        for one in value:
            yield from find_replies(one, depth - 1)
    if not isinstance(value, dict):
        return
    if value.get("event") == EVENT:
        yield _read_worker(value)
    elif "provider" in value and ("response_head" in value or "response" in value or "status_code" in value):
        yield _read_gateway(value)
    elif "logs" in value or "Logs" in value:  # wrangler tail; Logpush (workers_trace_events) with capitals
        entries = value.get("logs", value.get("Logs"))
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield from _find_in_text(entry.get("message", entry.get("Message")))
    elif "$metadata" in value:  # Workers Logs: a JSON text that was logged stands in `source`, as an object
        about = value["$metadata"]
        found = list(_find_in_text(value.get("source")))
        yield from found or _find_in_text(about.get("message") if isinstance(about, dict) else None)
    else:  # a page of an API: AI Gateway's `result`, Workers Logs' `events.events`
        for key in ("result", "events"):
            if isinstance(value.get(key), list | dict) and depth:
                yield from find_replies(value[key], depth - 1)


def mask_texts(texts: Sequence[str]) -> list[str]:
    """The texts with e-mail addresses, phone numbers, runs of six digits and more, and people replaced.

    People are the values of ``to``, ``cc`` and ``attendees`` anywhere in the texts, also in broken JSON; each word of
    such a name is replaced in all of the texts. Days and times stay: without them no answer can be judged.
    """
    words: set[str] = set()
    for text in texts:
        for value in PEOPLE.findall(text):
            for name in QUOTED.findall(value):
                words |= {word.casefold() for word in re.findall(r"[^\W\d_]{2,}", name.partition("@")[0])}
    masked = [PERSONAL.sub(_mask, text) for text in texts]
    if words:
        masked = [
            WORD.sub(lambda match: "<name>" if match.group().casefold() in words else match.group(), text)
            for text in masked
        ]
    return masked


def make_candidate(reply: LoggedReply, problem: str, detail: str) -> dict[str, Any]:
    """A case without an answer, masked. ``expect`` is null, which the reader of cases refuses until it is filled."""
    contents = [message["content"] for message in reply.messages]
    *masked, text, why = mask_texts([*contents, reply.text or "", detail])
    messages = [
        {"role": message["role"], "content": content} for message, content in zip(reply.messages, masked, strict=True)
    ]
    body = {"messages": messages, "now": reply.now, "reply": text}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    case = {"id": f"candidate-{digest[:12]}", "suite": "candidate", **body, "expect": None, "tags": ["candidate"]}
    return {**case, "why": f"{problem}: {why}"[:300], "source": "production"}


class _Joiner:
    """Puts a JSON text that stands on several lines together, as wrangler tail writes it: from "{" to "}" alone."""

    def __init__(self, name: str, lines: Lines) -> None:
        self.name, self.lines = name, lines
        self.restart()

    def restart(self) -> None:
        self.number, self.start, self.size, self.skipping = 0, 0, 0, False
        self.rest = b""  # the beginning of a line whose end is not written yet
        self.parts: list[bytes] = []

    def add(self, line: bytes) -> Any:
        """The value that ends with this line; None while there is none."""
        self.number += 1
        bare = line.rstrip()
        if not self.parts and bare != b"{":
            return self._load(bare, self.number) if bare else None
        if bare == b"{" and self.parts:  # the one before was never closed
            self.finish()
        if not self.parts:
            self.start, self.size = self.number, 0
        self.parts.append(line)
        self.size += len(line)
        if bare == b"}" or self.size > MAX_LINE:
            text, self.parts = b"".join(self.parts), []
            return self._load(text, self.start)
        return None

    def finish(self) -> None:
        """No more lines come: what is open is bad."""
        if self.parts:
            self.parts = []
            self.lines.refuse(f"{self.name}:{self.start}", "the object is not closed")

    def _load(self, text: bytes, number: int) -> Any:
        self.lines.read += 1
        place = f"{self.name}:{number}"
        if len(text) > MAX_LINE:
            return self.lines.refuse(place, f"longer than {MAX_LINE} bytes")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return self.lines.refuse(place, f"not JSON ({type(error).__name__}, {len(text)} bytes)")
        if not isinstance(value, dict | list):
            return self.lines.refuse(place, "not an object")
        return value


def _read_values(path: Path, file: IO[bytes], joiner: _Joiner, *, last: bool) -> Iterator[Any]:
    """What is left in a file. A line without its end is kept for the next look, unless this is the last one."""
    while True:
        try:
            chunk = file.readline(MAX_LINE + 2)
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror}. Give a file of log lines.") from None
        if chunk and not chunk.endswith(b"\n") and not joiner.skipping and len(joiner.rest) + len(chunk) <= MAX_LINE:
            joiner.rest += chunk
            continue
        if not chunk and not (last and joiner.rest):
            break
        line, joiner.rest = joiner.rest + chunk, b""
        if joiner.skipping:  # the rest of a line that was refused
            joiner.skipping = not chunk.endswith(b"\n")
            continue
        joiner.skipping = bool(chunk) and not chunk.endswith(b"\n")
        value = joiner.add(line)
        if value is not None:
            yield value
    if last:
        joiner.finish()


def _find_in_text(value: Any) -> Iterator[LoggedReply]:
    """Replies in what was logged: a text, an object, or the arguments of console.log."""
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, str) and EVENT in one:
            try:
                parsed = json.loads(one)
            except (ValueError, RecursionError):
                continue
        else:
            parsed = one
        if isinstance(parsed, dict) and parsed.get("event") == EVENT:
            yield _read_worker(parsed)


def _read_worker(line: Mapping[str, Any]) -> LoggedReply:
    tools = line.get("tools")
    errors = line.get("errors")
    return LoggedReply(
        adapter=_text(line.get("adapter")) or "",
        text=_text(line.get("text")),
        kind=_text(line.get("kind")) or "",
        tools=tuple(str(tool) for tool in tools) if isinstance(tools, list) else (),
        errors=errors if isinstance(errors, int) else 0,
        seconds=_number(line.get("seconds")),
        at=_text(line.get("at")) or "",
    )


def _read_gateway(log: Mapping[str, Any]) -> LoggedReply:
    """An AI Gateway log; ``duration`` is in milliseconds. Bodies are whole texts, heads of them, or not kept at all."""
    request = _body(log, "request")
    answer = _body(log, "response")
    result = answer.get("result") if isinstance(answer.get("result"), dict) else answer
    text = _text(result.get("response")) if isinstance(result, dict) else None
    if text is None and isinstance(answer.get("choices"), list) and answer["choices"]:
        first = answer["choices"][0]
        message = first.get("message") if isinstance(first, dict) else None
        text = _text(message.get("content")) if isinstance(message, dict) else None
    duration = _number(log.get("duration"))
    messages, now = _read_question(request)
    failed = log.get("success") is False
    return LoggedReply(
        adapter=_text(request.get("lora")) or "",
        text=None if failed else text,
        kind="error" if failed else "",
        seconds=None if duration is None else duration / 1000,
        at=_text(log.get("created_at")) or "",
        messages=messages,
        now=now,
    )


def _read_question(request: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    """The conversation of a request, from its messages or from the Llama 3 text that we send; and its time."""
    prompt, turns = _text(request.get("prompt")), request.get("messages")
    found: list[Message] = []
    if prompt is not None and prompt.startswith(BOS) and EOT in prompt:
        pairs = [(ROLES.get(header, header), content) for header, content in TURN.findall(prompt)]
        found = [{"role": role, "content": content} for role, content in pairs]
        if found and found[-1]["content"] == "":  # the header that asks for the reply
            found.pop()
    elif prompt is not None:
        found = [{"role": "user", "content": prompt}]
    elif isinstance(turns, list):
        found = [
            {"role": str(turn.get("role")), "content": turn["content"]}
            for turn in turns
            if isinstance(turn, dict) and isinstance(turn.get("content"), str)
        ]
    system = "\n".join(message["content"] for message in found if message["role"] == "system")
    now = NOW.findall(system)
    return tuple(message for message in found if message["role"] != "system"), now[-1] if now else ""


def _body(log: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = log.get(name) or log.get(f"{name}_head")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # a head that was cut, or encrypted
            return {}
    return value if isinstance(value, dict) else {}


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup or "number"
    return match.group() if kind == "keep" else f"<{kind}>"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good else None
