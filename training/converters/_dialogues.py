"""From the turns of a foreign dialogue to one example in the reply contract, or the reason why there is none.

Covers: order of turns, tool results, the current time, calls through the mapping table, cutting before the first turn
that needs a function we do not have, answers that are wrong once the ten tools exist.
Does not cover: how a set writes its turns and calls (each source's own file).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from harness.parsing import format_call, load_strict, parse_reply
from harness.prompt import has_special_tokens
from harness.types import Message, ToolCall
from training.converters._mapping import ForeignCall, dates_of, full_dates, load_table, map_call
from training.converters.base import DEFAULT_NOW, MAX_CHARS, BadRow, Source, Unfit, read_literal
from training.examples import Example

_TIME_WORDS = re.compile(
    r"\d|today|tonight|tomorrow|morning|noon|afternoon|evening|night|day\b|week|month|year|now|january|february|march"
    r"|april|may|june|july|august|september|october|november|december|first|second|third|hour|minute",
    re.IGNORECASE,
)
_RELATIVE = re.compile(
    r"\b(next|in (a|an|\w+) (days?|weeks?|months?)|days? from|weeks? from|this (week|month))\b", re.IGNORECASE
)
_OFFER = re.compile(
    r"\b(functions?|capabilit(y|ies)|limited to|allows? me|provided (to|with)|such as|in this case|however, i can|i can (help|assist)"  # noqa: E501
    r"|feel free|if you need)\b",
    re.IGNORECASE,
)
_NEAR = re.compile(r"\b(day after tomorrow|tomorrow|today|tonight|this (?:morning|afternoon|evening))\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a foreign dialogue; the text beside calls is not kept."""

    role: str  # user, assistant or tool
    text: str = ""
    calls: tuple[ForeignCall, ...] = ()


def make_examples(
    turns: Sequence[Turn], source: Source, *, functions: bool, now: str | None = None
) -> Iterator[Example]:
    """The example of a dialogue; ``functions`` says whether the row offered any, ``now`` is its own time.

    Raises:
        BadRow: the dialogue is broken.
        Unfit: it is sound and of no use.
    """
    turns = _order_turns(turns)
    calls = [call for turn in turns for call in turn.calls]
    spoken = "\n".join(turn.text for turn in turns if turn.role == "user")
    moment = datetime.fromisoformat(now) if now else _choose_now(calls, spoken)
    messages: list[Message] = []
    called: list[str] = []
    sound: tuple[int, int] = (0, 0)  # messages and calls up to the last good answer
    trouble: BadRow | None = None
    user = ""
    for turn in turns:
        try:
            if turn.role == "assistant":
                mapped = [_map_grounded(call, moment, spoken, turns) for call in turn.calls]
                if not mapped:
                    _check_answer(user, turn.text)
                    turn = Turn("assistant", _cut_offer(turn.text) if functions else turn.text)  # noqa: PLW2901
                called += [call.tool for call in mapped]
                content = "\n".join(map(format_call, mapped)) or turn.text
            elif turn.role == "tool":
                content = _tool_result(turn.text)
            else:
                content = user = turn.text
        except BadRow as error:
            trouble = error
            break
        messages.append(Message(role=turn.role, content=content))
        if turn.role == "assistant":
            sound = (len(messages), len(called))
    messages, called = messages[: sound[0]], called[: sound[1]]
    if trouble is not None and not called:
        raise trouble
    messages = _cut_length(messages)
    called = [call.tool for message in messages for call in _calls_in(message)] if called else []
    if not called:
        _check_plain(turns, functions=functions)
    yield Example(
        id="row",
        kind=name_kind(messages, called, functions=functions),
        now=moment.isoformat(),
        messages=tuple(messages),
        tools=tuple(called),
        source="",
        licence=source.licence,
        author=source.author,
    )


def _order_turns(turns: Sequence[Turn]) -> list[Turn]:
    """Turns as our format has them: user first, neighbours of one role joined, an answer last."""
    ordered: list[Turn] = []
    for turn in turns:
        text = turn.text.replace("\r\n", "\n").strip()
        if has_special_tokens(text) or any(has_special_tokens(json.dumps(dict(c.arguments))) for c in turn.calls):
            raise BadRow("a special-token string in the text")
        previous = ordered[-1] if ordered else None
        if previous is None and turn.role != "user":
            if turn.role == "tool" or turn.calls:
                raise BadRow("the dialogue begins without a question")
            continue  # a greeting
        if not text and not turn.calls and turn.role != "tool":
            raise BadRow("an empty turn")
        if previous and previous.role == turn.role and turn.role != "tool":
            if turn.role == "assistant" and previous.calls:
                raise BadRow("a call without its result")
            # Text before a call belongs to the call's turn, where the contract has blocks alone.
            joined = text if turn.calls else f"{previous.text}\n{text}"
            ordered[-1] = Turn(turn.role, joined, turn.calls)
        elif (turn.role == "tool" and previous and previous.role == "user") or (
            turn.role == "tool" and previous and previous.role == "assistant" and not previous.calls
        ):
            raise BadRow("a tool result without a call")
        else:
            ordered.append(Turn(turn.role, text, turn.calls))
    while ordered and ordered[-1].role != "assistant":
        ordered.pop()
    if not ordered:
        raise BadRow("no answer in the dialogue")
    return ordered


def _choose_now(calls: Sequence[ForeignCall], spoken: str) -> datetime:
    """A current time under which the dates of the calls are right: rows seldom state their own.

    A full date in a call fixes it: "tomorrow" means the day before, a bare weekday or "5 March" some days before.
    """
    days = sorted(set(dates_of(calls)))
    default = datetime.fromisoformat(DEFAULT_NOW)
    if not days:
        return spread_now(spoken)
    first = date.fromisoformat(days[0])
    near = {match.lower() for match in _NEAR.findall(spoken)}
    if near and len(days) == 1 and len(near) == 1:
        word = near.pop()
        back = 2 if word.startswith("day") else 1 if word == "tomorrow" else 0
        return default.replace(year=first.year, month=first.month, day=first.day, hour=7) - timedelta(days=back)
    said = [day for sentence in re.split(r"[.?!\n]", spoken) for day in full_dates(sentence)]
    if (near or _RELATIVE.search(spoken)) and not set(days) <= set(said):
        raise Unfit("a relative date, and the row does not say when it was asked")
    return default.replace(year=first.year, month=first.month, day=first.day) - timedelta(days=3)


def spread_now(text: str) -> datetime:
    """The current time of a text that has none: a morning from the default on, always the same for the same text.

    One time for all rows would be learned as a fact.
    """
    mark = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    return datetime.fromisoformat(DEFAULT_NOW) + timedelta(days=mark % 700, minutes=-15 * (mark // 700 % 10))


def _map_grounded(call: ForeignCall, now: datetime, spoken: str, turns: Sequence[Turn]) -> ToolCall:
    """A call of ours whose address and time are the user's, and not made up."""
    mapped = map_call(call, now)
    params = mapped.params
    if mapped.tool == "sendEmail":
        known = (spoken + "\n".join(turn.text for turn in turns if turn.role == "tool")).lower()
        if params["to"].lower() not in known:
            raise BadRow("an address that nobody gave")
    times = [params[name] for name in ("dueDate", "startTime", "date", "dueBefore") if name in params]
    if times and not _TIME_WORDS.search(spoken):
        raise BadRow("a date that nobody gave")
    return mapped


def _cut_length(messages: list[Message]) -> list[Message]:
    """The turns up to the last answer that fits into an example."""
    total, fitting = 0, 0
    for place, message in enumerate(messages, 1):
        total += len(message["content"])
        if total > MAX_CHARS:
            break
        if message["role"] == "assistant":
            fitting = place
    if not fitting:
        raise Unfit("longer than a training example may be")
    return messages[:fitting]


def _calls_in(message: Message) -> tuple[ToolCall, ...]:
    return parse_reply(message["content"]).calls if message["role"] == "assistant" else ()


def _check_answer(user: str, answer: str) -> None:
    table = load_table()
    if table.refuses.search(answer) and table.wants.search(user):
        raise Unfit("refuses what one of the ten tools does")


def _cut_offer(answer: str) -> str:
    """A refusal without the sentences about functions that we do not have."""
    if not load_table().refuses.search(answer):
        return answer
    first, *others = re.split(r"(?<=[.!?])\s+", answer)
    return " ".join([first, *(sentence for sentence in others if not _OFFER.search(sentence))])


def _check_plain(turns: Sequence[Turn], *, functions: bool) -> None:
    """A dialogue without a call must be right for an assistant that has the ten tools and no others."""
    table = load_table()
    if any(turn.role == "user" and table.wants.search(turn.text) for turn in turns):
        raise Unfit("no call, but the words may want one of the ten tools")
    if functions and table.asks.search(turns[-1].text) and not table.refuses.search(turns[-1].text):
        raise Unfit("no call, and the last answer asks for what a foreign function needs")


def name_kind(messages: Sequence[Message], called: Sequence[str], *, functions: bool) -> str:
    """The kind of an example by what is in it; ``functions`` tells a refusal from general talk."""
    if not called:
        return "negative" if functions else "general"
    if any(tool.startswith(("update", "complete", "delete")) for tool in called):
        return "crud"
    if len(messages) == 2:
        return "single" if len(called) == 1 else "compound"
    return "multi_turn"


def _tool_result(text: str) -> str:
    """A tool's result as JSON text."""
    text = text.strip()
    try:
        load_strict(text)
        return text
    except ValueError:
        pass
    try:
        value = read_literal(text)
    except BadRow:
        value = {"result": text}
    return json.dumps(value, ensure_ascii=False)
