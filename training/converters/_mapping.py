"""The table mapping.toml: a foreign call becomes one of ours, or says why it cannot.

Covers: names of functions and arguments, closed lists of values, halves of a time put together, texts and lists.
Does not cover: dialogues; which day a call means when its conversation says another one.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import SetupError
from harness.toolset import Toolset, load_toolset
from harness.types import ToolCall
from training.converters._times import When, parse_length, parse_when, stamp_moment
from training.converters.base import BadRow, Unfit

TABLE = Path(__file__).with_name("mapping.toml")

# "[User provided data]", "[Your Name]", "<recipient>": a call with one was never finished.
_PLACEHOLDER = re.compile(r"\[[A-Za-z][A-Za-z' ]{2,40}\]|<[A-Za-z][A-Za-z_' ]{2,40}>|\{\{[^}]*\}\}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TIMES = {"dueDate", "startTime", "endTime", "dueBefore", "date"}
_EMPTY: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class ForeignCall:
    """A call as a data set has it; ``defaults`` are the declared values that its arguments may repeat."""

    name: str
    arguments: Mapping[str, Any]
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolRule:
    """One entry of the table, by foreign names."""

    tool: str
    functions: re.Pattern[str]
    arguments: Mapping[str, str]  # foreign name -> ours, perhaps with .date, .time or .length
    ignore: frozenset[str]
    only: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class IntentRule:
    """What an intent of a set of utterances is for us."""

    intents: re.Pattern[str]
    tool: str
    reply: str
    words: re.Pattern[str] | None
    without: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Table:
    """The whole of mapping.toml."""

    tools: tuple[ToolRule, ...]
    coerce: Mapping[str, Mapping[str, str]]
    wants: re.Pattern[str]
    refuses: re.Pattern[str]
    asks: re.Pattern[str]
    utterances: Mapping[str, tuple[IntentRule, ...]]
    replies: Mapping[str, tuple[str, ...]]


@cache
def load_table(path: Path = TABLE) -> Table:
    """Read the table.

    Raises:
        SetupError: it is not TOML, or an entry of it cannot be used.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        guard = raw["guard"]
        return Table(
            tools=tuple(map(_read_tool, raw["tool"])),
            coerce={
                name: {word: ours for ours, words in values.items() for word in words}
                for name, values in raw["coerce"].items()
            },
            wants=_any_of(guard["wants"]),
            refuses=_any_of(guard["refuses"]),
            asks=_any_of(guard["asks"]),
            utterances={
                source: tuple(map(_read_intent, block["rules"]))
                for block in raw["utterance"]
                for source in block["sources"]
            },
            replies={name: tuple(texts) for name, texts in raw["replies"].items()},
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise SetupError(f"{path} is not a mapping table: {type(error).__name__}: {error}. Mend that entry.") from None


@cache
def our_tools() -> Toolset:
    """The ten tools."""
    return load_toolset()


def snake_case(name: str) -> str:
    """A name as the table has it: createToDoItem, create_to-do_item and api.createToDoItem are one."""
    name = _CAMEL.sub("_", name.strip().rsplit(".", 1)[-1])
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def find_rule(name: str) -> ToolRule | None:
    """The entry for a foreign function."""
    plain = snake_case(name)
    return next((rule for rule in load_table().tools if rule.functions.fullmatch(plain)), None)


def map_call(call: ForeignCall, now: datetime) -> ToolCall:
    """A foreign call as a call of one of the ten tools.

    Raises:
        Unfit: no tool does that, or not all of it.
        BadRow: an argument's value is not one.
    """
    rule = find_rule(call.name)
    if rule is None:
        raise Unfit("no tool for the function", call.name)
    found: dict[str, Any] = {}
    for foreign, value in call.arguments.items():
        name = snake_case(str(foreign))
        if value in _EMPTY or name in rule.ignore:
            continue
        if name not in rule.arguments:
            if _word(value) in rule.only.get(name, ()) or (
                foreign in call.defaults and call.defaults[foreign] == value
            ):
                continue
            raise Unfit(f"{rule.tool}: an argument without counterpart", f"{call.name}({name})")
        target = rule.arguments[name]
        if target in found:
            raise BadRow(f"{rule.tool}: two arguments for {target}")
        found[target] = value
    params = _join_times(rule.tool, found, now)
    if rule.tool == "createTask":
        params.setdefault("priority", "medium")  # ruling 3
    schema = our_tools().tools[rule.tool].parameters["properties"]
    ordered = {name: _coerce(name, params[name], schema[name], now) for name in schema if name in params}
    if _PLACEHOLDER.search(json.dumps(ordered, ensure_ascii=False)):
        raise BadRow("a placeholder stands in the call")
    if errors := our_tools().schema_errors(rule.tool, ordered):
        missing = [name for name in our_tools().tools[rule.tool].required if name not in ordered]
        raise BadRow(f"{rule.tool}: no {', '.join(missing)}" if missing else f"{rule.tool}: {_first_words(errors[0])}")
    return ToolCall(rule.tool, ordered)


def dates_of(calls: Iterable[ForeignCall]) -> list[str]:
    """The full dates (YYYY-MM-DD) that stand in arguments which become times."""
    dates: list[str] = []
    for call in calls:
        if (rule := find_rule(call.name)) is None:
            continue
        for foreign, value in call.arguments.items():
            target = rule.arguments.get(snake_case(str(foreign)), "")
            if target.split(".")[0] in _TIMES and isinstance(value, str):
                dates += full_dates(value)
    return dates


def full_dates(text: str) -> list[str]:
    """Days with a year that a text names, as YYYY-MM-DD."""
    anchor = datetime.fromisoformat("2000-01-01T09:00:00+00:00")
    when = parse_when(text, anchor) if re.search(r"\b(19|20)\d\d\b", text) else None
    return [when.day.isoformat()] if when and when.day else []


def _join_times(tool: str, found: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Halves of times put together: what is left has our names alone."""
    params = {name: value for name, value in found.items() if "." not in name}
    for name in ("dueDate", "startTime", "endTime"):
        day, clock = found.get(f"{name}.date"), found.get(f"{name}.time")
        whole = params.get(name)
        if whole is not None and day is not None:  # a date beside "10:00 AM"
            parts, other = parse_when(str(whole), now), parse_when(str(day), now)
            if parts is None or parts.day is None:
                clock, whole = whole, None
            elif other is None or other.day != parts.day:
                raise BadRow(f"{tool}: two dates for {name}")
        elif whole is not None and clock is not None:
            day, whole = whole, None
        if whole is None and (day is not None or clock is not None):
            params[name] = " ".join(str(part) for part in (day, clock) if part is not None)
    start = params.get("startTime")
    if "endTime" in params and start is not None:
        end, begin = parse_when(str(params["endTime"]), now), parse_when(str(start), now)
        if end is not None and end.day is None and begin is not None:  # "11:00" on the day of the start
            moment = stamp_moment(begin, now)
            params["endTime"] = stamp_moment(When(moment.date(), end.clock), now).isoformat()
    if (length := found.get("endTime.length")) is not None and "endTime" not in params:
        duration, begin = parse_length(length), parse_when(str(start), now) if start is not None else None
        if duration is None or begin is None:
            raise BadRow(f"{tool}: a length that is not understood")
        params["endTime"] = (stamp_moment(begin, now) + duration).isoformat()
    return params


def _coerce(name: str, value: Any, schema: Mapping[str, Any], now: datetime) -> Any:
    if name in {"priority", "status", "units"}:
        ours = load_table().coerce[name].get(_word(value))
        if ours is None:
            raise BadRow(f"a {name} that is not understood")
        return ours
    if name in _TIMES:
        return _coerce_time(name, value, now)
    if schema.get("type") == "array":
        items = re.split(r"\s*[,;]\s*", value.strip()) if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
            raise BadRow(f"{name} is not a list of texts")
        return [item.strip() for item in items]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if name.endswith("Id") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"{name} is not a text")
    return value.strip()


def _coerce_time(name: str, value: Any, now: datetime) -> str:
    when = parse_when(value, now) if isinstance(value, str) else None
    if when is None:
        raise BadRow("a date or time that is not understood")
    moment = stamp_moment(when, now)
    if abs(moment.date() - now.date()) > timedelta(days=3660):
        raise BadRow("a date far from the current time")
    if name in {"dueBefore", "date"} or (name == "dueDate" and when.clock is None):
        return moment.date().isoformat()
    return moment.isoformat()


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.strip().lower().replace("_", " ")


def _first_words(error: str) -> str:
    """A schema error without the row's own values, so that reasons can be counted."""
    return re.split(r"['\"\[{]", error.split(": ", 1)[-1])[0].strip() or "a value breaks the schema"


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def _read_tool(raw: dict[str, Any]) -> ToolRule:
    tool = our_tools().tools[raw["tool"]]
    arguments: dict[str, str] = {}
    for ours, foreign in raw["arguments"].items():
        # TOML keys with a dot are quoted in the table; an unquoted one would be a table of its own.
        if ours.split(".")[0] not in tool.parameters["properties"]:
            raise ValueError(f"{tool.name} has no parameter {ours}")
        for name in foreign:
            if name in arguments:
                raise ValueError(f"{tool.name}: {name} stands for {arguments[name]} and {ours}")
            arguments[name] = ours
    only = {name: frozenset(word.replace("_", " ") for word in words) for name, words in raw.get("only", {}).items()}
    return ToolRule(tool.name, _any_of(raw["functions"]), arguments, frozenset(raw.get("ignore", ())), only)


def _read_intent(raw: dict[str, Any]) -> IntentRule:
    if raw["tool"] not in {"none", "doubtful"} and raw["tool"] not in our_tools().tools:
        raise ValueError(f"unknown tool {raw['tool']}")
    words, without = raw.get("words"), raw.get("without")
    return IntentRule(
        re.compile("|".join(f"(?:{intent})" for intent in raw["intents"])),
        raw["tool"],
        raw.get("reply", ""),
        re.compile(words, re.IGNORECASE) if words else None,
        re.compile(without, re.IGNORECASE) if without else None,
    )
