"""The values that the whole harness hands on: frozen, without input or output.

Covers: messages, tool calls, replies, cases, outcomes.
Does not cover: how any of them is read from a file or computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypedDict


class Message(TypedDict):
    """One turn of a conversation. ``role`` is system, user, assistant or tool; a tool's content is JSON text."""

    role: str
    content: str


class ReplyKind(StrEnum):
    """What a reply amounts to; an unreadable attempt is neither a call nor silence."""

    CALL = "call"
    NONE = "none"
    MALFORMED = "malformed"


class Verdict(StrEnum):
    """Right, wrong, or not measured. An error is never part of a rate, and it closes the gate."""

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "error"


class ErrorType(StrEnum):
    """Why an outcome is not right; exactly one per outcome."""

    MISSED_CALL = "missed_call"  # a call was expected, plain text came
    PHANTOM_CALL = "phantom_call"  # plain text was expected, a call came
    WRONG_TOOL = "wrong_tool"
    MISSING_CALL = "missing_call"  # some of several expected calls are absent
    EXTRA_CALL = "extra_call"
    DUPLICATE_CALL = "duplicate_call"
    UNKNOWN_TOOL = "unknown_tool"
    MALFORMED = "malformed"
    SCHEMA_VIOLATION = "schema_violation"
    WRONG_VALUE = "wrong_value"
    EMPTY_REPLY = "empty_reply"
    TARGET_ERROR = "target_error"  # not measured


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One well-formed call; ``tool`` need not exist and ``params`` need not fit the schema."""

    tool: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """Text that attempts a tool call and is not one; kept to be counted and read."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the reader made of a model's text. ``calls`` is empty unless ``kind`` is call."""

    kind: ReplyKind
    calls: tuple[ToolCall, ...]
    malformed: tuple[MalformedCall, ...]
    text: str  # the prose without blocks, stripped


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """One accepted call. ``params`` maps each allowed parameter to its accepted values, or is "any".

    In a tuple of accepted values ``None`` means that the parameter may be omitted, and ``{"any": True}`` stands for
    any value that the schema allows. A parameter that is not named must not be in the reply.
    """

    tool: str
    params: Mapping[str, tuple[Any, ...]] | Literal["any"]


@dataclass(frozen=True, slots=True)
class Case:
    """One question with everything that counts as a right answer to it."""

    id: str
    suite: str
    messages: tuple[Message, ...]  # without the system prompt
    now: str  # ISO 8601 with offset
    expect: tuple[ExpectedCall, ...]  # empty = no tool
    alternatives: tuple[tuple[ExpectedCall, ...], ...] = ()
    ordered: bool = False
    pair: str | None = None
    tags: tuple[str, ...] = ()
    why: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case went: all that metrics, gate and report need to know.

    ``tools_right``: the called tools are the expected ones, as a multiset (true for plain text where none is expected).
    ``arguments_right`` of ``arguments_total``: calls whose arguments are accepted, of the calls whose arguments are
    scored.
    """

    case_id: str
    suite: str
    verdict: Verdict
    error_type: ErrorType | None
    detail: str  # one line for a person; empty when right
    kind: ReplyKind | None  # None when not measured
    expected: tuple[str, ...]  # tool names of the alternative that fits best
    called: tuple[str, ...]  # tool names of the reply
    tools_right: bool
    schema_valid: bool | None  # None when there is no call to check
    arguments_right: int
    arguments_total: int
    pair: str | None = None
    tags: tuple[str, ...] = field(default=())
    truncated: bool = False
    text: str = ""  # the reply as it came
