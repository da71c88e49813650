"""From a model's text to a Reply: call, no call, or an attempt that cannot be read.

Covers: fenced call blocks, strict JSON, attempts in a wrong place or a foreign syntax, tokens leaked at the end.
Does not cover: whether a tool exists or its arguments fit (scoring); nothing from a model is ever evaluated as code.

Fences follow CommonMark: a run of at least three backticks or tildes, indented by at most three spaces, alone on its
line with the info string; a line that holds nothing but a run of the same character, at least as long, closes it.
So four backticks and ``~~~json`` open a call block too, three backticks do not close four, and a backtick run inside a
JSON string closes nothing, since a JSON string has no line break. A ``json`` fence that does not stand at the start of
its line, or has its object on the line of the fence, is a broken fence: an attempt, and malformed.

Every attempt is found in one pass: the text is cut into lines once, and each stretch outside the blocks is scanned once
for objects and for foreign markers. The TypeScript reader of the Worker obeys the same vectors (tests/vectors).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from harness.types import MalformedCall, Reply, ReplyKind, ToolCall

MAX_DEPTH = 256  # of nested arrays and objects; explicit, since each runtime gives up at a depth of its own
MAX_DIGITS = 310  # no double has more digits before its point

# Other models' ways of calling. Fixed strings, so that the search cannot backtrack.
FOREIGN = re.compile(
    r"<tool_calls?[ >]|<\|tool_calls?|<function_?calls?[ >]|<function=|<function name=|<invoke name="
    r"|<\|python_tag\|>|\[TOOL_CALLS\]",
    re.IGNORECASE | re.ASCII,
)
TRAILING_TOKEN = re.compile(r"<\|[A-Za-z0-9_]+\|>|</s>|<\|start_header_id\|>[a-z]+<\|end_header_id\|>", re.ASCII)
LONGEST_TOKEN = 80

_RUN = re.compile(r"`{3,}|~{3,}")
_OPENER = re.compile(r" {0,3}(`{3,}|~{3,})")
_INNER_FENCE = re.compile(r"(?:`{3,}|~{3,})json[ \t]*(?=[\[{]|$)", re.IGNORECASE | re.ASCII)
_JSON_INFO = re.compile(r"json[ \t]*(?=[\[{])", re.IGNORECASE | re.ASCII)
# Possessive, so that a string is passed over once; it ends with its line when it is not closed.
_TOKEN = re.compile(r"""[{}']|"(?:[^"\\\n]|\\.)*+"?|\b(?:tool|params|name|arguments|parameters)\b""", re.ASCII)
_APOSTROPHED = re.compile(r"'(?:[^'\\\n]|\\.)*+'?")
_BEFORE_VALUE = (":", " ", "\t", "\n")
_COLON = re.compile(r"[ \t\n]*:")
_WORD_COLON = re.compile(r"[”’]?[ \t\n]*:")  # a key without quotes, or in typographic ones
_SPACE = " \t\n\r\f\v"

_TOOL, _PARAMS, _NAME, _ARGUMENTS, _TOOL_FIRST, _OTHER = 1, 2, 4, 8, 16, 32
_FLAGS = {"tool": _TOOL, "params": _PARAMS, "name": _NAME, "arguments": _ARGUMENTS, "parameters": _ARGUMENTS}


def parse_reply(text: str) -> Reply:
    """Read a model's text. Never raises; takes time in proportion to the length of the text."""
    text = text.replace("\r\n", "\n")
    text = text[: _end_of_speech(text)]
    calls: list[ToolCall] = []
    malformed: list[MalformedCall] = []
    prose: list[str] = []
    for part in _split_fences(text):
        if part.fence == "json":
            try:
                calls.append(_read_call(part.body, closed=part.closed))
            except ValueError as error:
                malformed.append(MalformedCall(part.raw, str(error)))
        else:
            prose.append(part.raw)
            malformed += _find_attempts(part)
    kind = ReplyKind.MALFORMED if malformed else ReplyKind.CALL if calls else ReplyKind.NONE
    return Reply(kind, () if malformed else tuple(calls), tuple(malformed), "\n".join(prose).strip())


def load_strict(text: str) -> Any:
    """The value of a JSON text after RFC 8259, with nothing that readers disagree on.

    Refused beyond the grammar: duplicate keys, numbers that no double holds, nesting deeper than MAX_DEPTH.

    Raises:
        ValueError: the text is refused; says why in one line.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise ValueError(f"not JSON: nested deeper than {MAX_DEPTH}") from None
    _check_depth(value)
    return value


def format_call(call: ToolCall) -> str:
    """The block of a call as gold replies write it: one line of JSON in a ``json`` fence."""
    # Surrogates without a partner are escaped: they cannot be written as UTF-8.
    body = json.dumps({"tool": call.tool, "params": dict(call.params)}, ensure_ascii=False)
    return "```json\n" + _LONE.sub(lambda match: f"\\u{ord(match.group()):04x}", body) + "\n```"


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the text: prose (``fence`` is None), a call block ("json") or another fence ("other")."""

    fence: str | None
    raw: str
    body: str = ""
    info: str = ""
    closed: bool = True


def _end_of_speech(text: str) -> int:
    """Where the text ends when special tokens leaked at its very end, and the space around them, are left out."""
    # An index moves, not a copy: a megabyte of leaked tokens must not be copied for each of them.
    end = len(text)
    while True:
        trimmed = end
        while trimmed and text[trimmed - 1] in _SPACE:
            trimmed -= 1
        start = max(text.rfind("<", max(0, trimmed - LONGEST_TOKEN), trimmed), 0)
        last = text[start:trimmed]
        if last == "<|end_header_id|>":
            opener = text.rfind("<", max(0, start - LONGEST_TOKEN), start)
            if opener >= 0 and TRAILING_TOKEN.fullmatch(text, opener, trimmed):
                start = opener
        elif last == "<|python_tag|>":  # opens a call: never noise
            return end
        if not TRAILING_TOKEN.fullmatch(text, start, trimmed):
            return end
        end = start


def _split_fences(text: str) -> Iterator[_Part]:
    """Cut a text into prose, call blocks and other fences, line by line."""
    prose: list[str] = []
    lines = iter(text.split("\n"))
    for line in lines:
        opener = _open_fence(line)
        if opener is None:
            prose.append(line)
            continue
        if prose:
            yield _Part(None, "\n".join(prose))
            prose = []
        mark, info = opener
        raw, body, closed = [line], [], False
        for inner in lines:
            raw.append(inner)
            if _closes_fence(inner, mark):
                closed = True
                break
            body.append(inner)
        fence = "json" if info.lower() == "json" else "other"
        yield _Part(fence, "\n".join(raw), "\n".join(body), info, closed)
    if prose:
        yield _Part(None, "\n".join(prose))


def _open_fence(line: str) -> tuple[str, str] | None:
    """The run and the info string of a line that opens a fence; None for any other line."""
    match = _OPENER.match(line)
    if match is None:
        return None
    mark = match.group(1)
    info = line[match.end() :].strip(" \t\r")
    # CommonMark: a backtick in the info string means that the line is inline code.
    return None if mark[0] == "`" and "`" in info else (mark, info)


def _closes_fence(line: str, mark: str) -> bool:
    match = _OPENER.match(line)
    if match is None:
        return False
    run = match.group(1)
    return run[0] == mark[0] and len(run) >= len(mark) and not line[match.end() :].strip(" \t\r")


def _read_call(body: str, *, closed: bool) -> ToolCall:
    """The call of a json block; ValueError with the reason when there is none."""
    if not closed:
        raise ValueError("the json fence is not closed")
    value = load_strict(body)
    if not isinstance(value, dict):
        raise ValueError(f"needs one object, found {_json_type(value)}")
    if value.keys() != {"tool", "params"}:
        found = ", ".join(map(repr, value)) or "none"
        raise ValueError(f"needs exactly the keys 'tool' and 'params', found {found[:200]}")
    tool, params = value["tool"], value["params"]
    if not isinstance(tool, str) or not tool:
        found = "an empty one" if tool == "" else _json_type(tool)
        raise ValueError(f"'tool' must be a non-empty string, found {found}")
    if not isinstance(params, dict):
        raise ValueError(f"'params' must be an object, found {_json_type(params)}")
    return ToolCall(tool, params)


def _find_attempts(part: _Part) -> list[MalformedCall]:
    """Attempted calls in prose or in a fence that is no call block; each of them is malformed."""
    text, found = part.raw, []
    if part.fence is None:
        found += _find_broken_fences(text)
    elif _JSON_INFO.match(part.info):
        found.append(MalformedCall(text, "the object stands on the line of the json fence"))
    foreign = FOREIGN.search(text)
    if foreign is not None:  # one attempt: what follows the marker belongs to it
        found.append(MalformedCall(text[foreign.start() :], f"foreign call syntax {foreign.group().strip()}"))
    place = "in the text" if part.fence is None else "in a fence that is not json"
    # In code `{tool: x, params: y}` is somebody's program; in prose it is a call without its quotes.
    for start, end, why in _find_call_objects(text, bare_keys=part.fence is None):
        found.append(MalformedCall(text[start:end], f"{why} {place}"))
    return found


def _find_broken_fences(text: str) -> list[MalformedCall]:
    """``json`` fences that do not stand alone at the start of a line."""
    if "json" not in text.lower():
        return []
    found = []
    for line in text.split("\n"):
        # Each run of fence characters is looked at once, from its start: a search could restart within the run.
        for run in _RUN.finditer(line):
            if _INNER_FENCE.match(line, run.start()):
                found.append(MalformedCall(line[run.start() :], "a json fence stands alone at the start of its line"))
                break
    return found


def _find_call_objects(text: str, *, bare_keys: bool) -> list[tuple[int, int, str]]:
    """Spans of objects that are calls by their keys, strict JSON or not, whole or cut off at the end.

    A pass over braces, strings and keys; keys count for the innermost open object only.
    """
    if "{" not in text or not any(word in text for word in ("tool", "name", "\\u")):
        return []
    found: list[tuple[int, int, str]] = []
    starts: list[int] = []  # of the objects that are open
    flags: list[int] = []  # the keys that each of them has
    at = 0
    while (token := _TOKEN.search(text, at)) is not None:
        start, at = token.span()
        mark = text[start]
        if mark == "{":
            starts.append(start)
            flags.append(0)
        elif not starts:  # outside of objects only the next brace counts
            at = text.find("{", at)
            if at < 0:
                break
        elif mark == "}":
            start, seen = starts.pop(), flags.pop()
            why = _call_by_keys(seen) if seen else ""
            if why:
                while found and found[-1][0] > start:  # the outer object covers what was found inside it
                    found.pop()
                found.append((start, at, why))
        else:
            if mark == '"':
                key = text[start + 1 : at - 1]
            elif mark == "'":
                if not _follows(text, start, "{[,:("):
                    continue  # an apostrophe
                string = _APOSTROPHED.match(text, start)
                at = string.end() if string else at
                key = text[start + 1 : at - 1]
            elif bare_keys and _follows(text, start, "{,") and (colon := _WORD_COLON.match(text, at)) is not None:
                key, at = token.group(), colon.end() - 1
            else:
                continue
            if text[at : at + 1] not in _BEFORE_VALUE or (colon := _COLON.match(text, at)) is None:
                continue
            at = colon.end()
            flag = _FLAGS.get(_unescape(key), _OTHER)
            flags[-1] |= flag if flags[-1] or flag != _TOOL else _TOOL | _TOOL_FIRST
    for start, seen in zip(starts, flags, strict=True):
        why = _call_by_keys(seen) or ("an unfinished call object" if seen & _TOOL_FIRST else "")
        if why:  # never closed, so it covers the rest
            return [span for span in found if span[0] < start] + [(start, len(text), why)]
    return found


def _call_by_keys(seen: int) -> str:
    if seen & _TOOL and seen & _PARAMS:
        return "a call object"
    if seen & _NAME and seen & _ARGUMENTS:
        return "an object with name and arguments or parameters"
    return ""


def _follows(text: str, at: int, marks: str) -> bool:
    """True where what stands at ``at`` follows one of the marks, with little space between: else it is prose."""
    before = text[max(0, at - 20) : at].rstrip(_SPACE + "“‘")
    return before != "" and before[-1] in marks


def _unescape(key: str) -> str:
    if "\\" not in key:
        return key
    try:
        return str(json.loads(f'"{key}"'))
    except ValueError:
        return key


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _check_depth(value: object) -> None:
    level, depth = [value], 0
    while level:
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
                inner.append(None)  # an empty container is a level too
            elif isinstance(item, list):
                inner += item
                inner.append(None)
        level = inner
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise ValueError(f"not JSON: nested deeper than {MAX_DEPTH}")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        # mypy does not like that add() returns None; here that is the point, since None is false.
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {double[:80]!r}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_int(digits: str) -> int:
    # Python refuses 4,300 digits, JavaScript reads 310 as Infinity: one limit for both.
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits is out of range")
    number = int(digits)
    _read_float(digits)
    return number


def _read_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_int=_read_int, parse_float=_read_float
)
_LONE = re.compile("[\ud800-\udfff]")
