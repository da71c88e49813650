"""Replies into examples: every line is checked, and one that is refused is kept with its reason.

Covers: reading lines, the format of examples, what the request asked for, days that contradict the words,
near-duplicates of hand-written and earlier examples, questions of evals/cases, the three files that come out.
Does not cover: whether an answer is right in every word; a person reads a sample (review).

Nothing here depends on the network or the clock: the same ledger gives the same files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.cases import ALIKE, close_to_cases, near_duplicates
from harness.errors import SetupError
from harness.parsing import parse_reply
from harness.prompt import WEEKDAYS
from harness.store import write_file
from harness.toolset import Toolset
from harness.types import Case, Message, ToolCall
from training.data import user_turns
from training.examples import Example, check_example, format_example
from training.synthetic.ledger import State, read_reply, spent
from training.synthetic.models import refuse_openai
from training.synthetic.plan import Plan, Request, estimate_cost
from training.synthetic.prompts import parse_line

SOURCE = "synthetic"
FENCE = re.compile(r"^```\w*$")
_DAYS = re.compile(rf"\b({'|'.join(WEEKDAYS)})s?\b", re.IGNORECASE)
_DATE_PARAMS = ("dueDate", "startTime", "date", "dueBefore")
_AHEAD = {"createTask": "dueDate", "updateTask": "dueDate", "createCalendarEvent": "startTime",
          "updateCalendarEvent": "startTime"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that is left out."""

    id: str  # as its example would have been called
    request: str
    topic: str
    reason: str  # short, to be counted
    detail: str
    line: str


@dataclass(frozen=True, slots=True)
class Unit:
    """The examples of one line: one, or the two of a pair, which stay together."""

    id: str
    request: Request
    line: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a ledger gives."""

    lines: int  # lines = units + rejects
    units: tuple[Unit, ...]
    rejects: tuple[Reject, ...]

    @property
    def examples(self) -> list[Example]:
        """All that may be trained on, once a person has read a sample."""
        return [example for unit in self.units for example in unit.examples]


class _Refused(Exception):  # noqa: N818  # never leaves this module
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def harvest_replies(
    plan: Plan, state: State, toolset: Toolset, *, known: Sequence[Example], cases: Sequence[Case]
) -> Harvest:
    """Read all replies of a run, in the order of the plan; ``known`` are the examples that must not come again."""
    units: list[Unit] = []
    rejects: list[Reject] = []
    for request in plan.requests:
        if request.id not in state.replies:
            continue
        for place, (line, broken) in enumerate(_lines_of(state.replies[request.id]), 1):
            name = f"syn-{plan.run}-{request.id}-{place:02d}"
            try:
                if broken is not None:
                    raise broken
                units.append(Unit(name, request, line, _read_unit(plan, request, name, line, toolset, state)))
            except _Refused as refused:
                rejects.append(Reject(name, request.id, request.topic, refused.reason, refused.detail, line))
    lines = len(units) + len(rejects)
    doubles = _find_doubles(units, known, cases)
    for index, why in doubles.items():
        unit = units[index]
        rejects.append(Reject(unit.id, unit.request.id, unit.request.topic, why.reason, why.detail, unit.line))
    kept = tuple(unit for index, unit in enumerate(units) if index not in doubles)
    return Harvest(lines, kept, tuple(sorted(rejects, key=lambda reject: reject.id)))


def write_harvest(folder: Path, plan: Plan, state: State, harvest: Harvest, *, stopped: str | None) -> dict[str, Any]:
    """Write examples.jsonl, raw/rejects.jsonl and, last, report.json; the report comes back."""
    write_file(folder / "examples.jsonl", _join(format_example(example) for example in harvest.examples))
    rejects = (json.dumps(asdict(reject), ensure_ascii=False) for reject in harvest.rejects)
    write_file(folder / "raw" / "rejects.jsonl", _join(rejects))
    replies = [read_reply(state.replies[r.id]) for r in plan.requests if r.id in state.replies]
    report = {
        "run": plan.run,
        "model": plan.model,
        "requests": len(plan.requests),
        "answered": len(replies),
        "lost": len(state.lost),
        "stopped": stopped,
        "lines": harvest.lines,
        "kept": len(harvest.units),
        "examples": len(harvest.examples),
        "rejected": dict(Counter(reject.reason for reject in harvest.rejects).most_common()),
        "topics": _count_topics(harvest),
        "tokens": {
            "input": sum(reply.input_tokens or 0 for reply in replies),
            "output": sum(reply.output_tokens or 0 for reply in replies),
        },
        "cost_usd": round(spent(plan, state), 6),
        "estimate": asdict(estimate_cost(plan, plan.requests)),
    }
    write_file(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=2).encode() + b"\n")
    return report


def _join(lines: Iterable[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode("utf-8")


def _lines_of(body: str) -> Iterator[tuple[str, _Refused | None]]:
    """The lines of a reply; fences around them are overlooked, and the last line of a cut reply is not trusted."""
    reply = read_reply(body)
    if reply.why:
        yield reply.text, _Refused(reply.why)
        return
    try:
        refuse_openai(reply.model)
    except SetupError as error:
        yield reply.text, _Refused("output of an OpenAI model", str(error))
        return
    lines = [line.strip() for line in reply.text.split("\n")]
    lines = [line for line in lines if line and not FENCE.match(line)]
    for line in lines:
        cut = reply.cut and line is lines[-1] and not line.endswith("}")
        yield line, _Refused("cut off at max_tokens") if cut else None


def _read_unit(
    plan: Plan, request: Request, name: str, line: str, toolset: Toolset, state: State
) -> tuple[Example, ...]:
    try:
        now, conversations = parse_line(line, toolset)
    except ValueError as error:
        reason, _, detail = str(error).partition(": ")
        raise _Refused(reason, detail) from None
    if now not in request.nows:
        raise _Refused("now is none of the given times", now)
    if (len(conversations) == 2) != request.paired:
        raise _Refused("not the asked form", "a pair where none was asked for, or none where one was")
    author = read_reply(state.replies[request.id]).model or plan.model
    examples = tuple(
        Example(
            id=name + suffix,
            kind=request.kind,
            now=now,
            messages=tuple(messages),
            tools=tuple(call.tool for call in _calls_of(messages)),
            source=SOURCE,
            licence=plan.licence,
            author=author,
            pair=name if request.paired else None,
        )
        for suffix, messages in zip(("a", "b") if request.paired else ("",), conversations, strict=True)
    )
    for example in examples:
        if problems := check_example(example, toolset):
            raise _Refused("breaks the format", "; ".join(problems))
        _check_asked(example, request)
        _check_days(example)
    if request.paired and examples[0].tools == examples[1].tools:
        raise _Refused("not what was asked for", "both halves of the pair call the same")
    return examples


def _check_asked(example: Example, request: Request) -> None:
    """The kind and tool of an example are counted by name, so they must be true."""
    users = len(user_turns(example))
    last = parse_reply(example.messages[-1]["content"]).calls
    wrong = ""
    if example.kind in ("single", "contrastive", "compound") and (users > 1 or len(example.messages) != 2 or not last):
        wrong = "one user message and the calls that answer it"
    elif example.kind == "single" and [call.tool for call in last] != [request.tool]:
        wrong = f"one call of {request.tool}"
    elif example.kind == "compound" and len(last) < 2:
        wrong = "two calls or more"
    elif example.kind in ("negative", "general") and example.tools:
        wrong = "no call"
    elif example.kind == "crud" and (not last or last[-1].tool != request.tool or users < 2):
        wrong = f"a last turn that calls {request.tool}, after two user turns"
    elif example.kind == "multi_turn" and users < 2:
        wrong = "two user turns"
    if wrong:
        raise _Refused("not what was asked for", f"asked were {wrong}; it calls {list(example.tools)}")


def _check_days(example: Example) -> None:
    """Days that cannot be right: before now, an end before its start, another weekday than the one that is named."""
    now = datetime.fromisoformat(example.now)
    said = ""
    for message in example.messages:
        if message["role"] == "user":
            said = message["content"]
        if message["role"] != "assistant":
            continue
        calls = parse_reply(message["content"]).calls
        for call in calls:
            begins = call.params.get(_AHEAD.get(call.tool, ""))
            if begins is not None and str(begins)[:10] < f"{now:%Y-%m-%d}":
                raise _Refused("a day that cannot be right", f"{begins} lies before now, {example.now}")
            if call.params.get("endTime") and call.params.get("startTime"):
                start, end = (datetime.fromisoformat(str(call.params[key])) for key in ("startTime", "endTime"))
                if end <= start:
                    raise _Refused("a day that cannot be right", f"it ends at {end.isoformat()}, before it begins")
        named = {day.lower() for day in _DAYS.findall(said)}
        dates = [str(call.params[key])[:10] for call in calls for key in _DATE_PARAMS if key in call.params]
        if len(named) == 1 and len(dates) == 1 and len(calls) == 1:
            found = WEEKDAYS[datetime.fromisoformat(dates[0]).weekday()]
            if found.lower() not in named:
                why = f"the user says {named.pop()}, and {dates[0]} is a {found}"
                raise _Refused("a day that cannot be right", why)


def _find_doubles(units: Sequence[Unit], known: Sequence[Example], cases: Sequence[Case]) -> dict[int, _Refused]:
    """Index -> why, for units too close to a case, to a known example or to an earlier unit that stays."""
    found: dict[int, _Refused] = {}
    turns = [[text for example in unit.examples for text in user_turns(example)] for unit in units]
    for close in close_to_cases(turns, cases):
        # The question stays in evals: whoever reads the rejects must not learn it.
        found.setdefault(close.index, _Refused("close to a case of evals", close.case_id))
    owners = [index for index, unit in enumerate(units) for _ in unit.examples]
    texts = ["\n".join(user_turns(example)) for unit in units for example in unit.examples]
    old = ["\n".join(user_turns(example)) for example in known]
    for i, j, score in near_duplicates(texts, old, ALIKE):
        found.setdefault(owners[i], _Refused("close to a known example", f"{known[j].id}, alike by {score:.0f}"))
    for i, j, score in sorted(near_duplicates(texts, texts, ALIKE), key=lambda pair: pair[1]):
        first, second = owners[i], owners[j]
        if first != second and first not in found:  # the halves of a pair are meant to be alike
            why = f"{units[first].id}, alike by {score:.0f}"
            found.setdefault(second, _Refused("close to another line of this run", why))
    return found


def _calls_of(messages: Sequence[Message]) -> list[ToolCall]:
    return [call for m in messages if m["role"] == "assistant" for call in parse_reply(m["content"]).calls]


def _count_topics(harvest: Harvest) -> Mapping[str, Mapping[str, int]]:
    kept = Counter(unit.request.topic for unit in harvest.units)
    left_out = Counter(reject.topic for reject in harvest.rejects)
    return {name: {"kept": kept[name], "rejected": left_out[name]} for name in sorted(kept | left_out)}
