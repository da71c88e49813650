"""Adapters that must not pass, as functions from cases to replies.

Each returns a recording for the replay target: ``{case id: text or {"text", "seconds"}}``. All start from gold replies,
so that nothing is wrong but what is meant to be. ``every`` doses a fault: 1 is each time, 25 is each 25th time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.parsing import format_call
from harness.scoring import PLAIN_ANSWER, gold_calls, gold_reply, sample_call
from harness.toolset import Toolset
from harness.types import Case, ToolCall

Recording = dict[str, Any]
Bad = Callable[[Sequence[Case], Toolset], Recording]

ANOTHER = {
    "low": "high",
    "medium": "low",
    "high": "medium",
    "open": "completed",
    "completed": "all",
    "all": "completed",
    "metric": "imperial",
    "imperial": "metric",
}


def gold(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Every reply right: the control that must pass."""
    return {case.id: gold_reply(case, toolset) for case in cases}


def never_call(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Plain text for everything: what the base model does without its adapter."""
    return {case.id: PLAIN_ANSWER for case in cases}


def always_create_task(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """One tool for everything."""
    return {case.id: format_call(sample_call("createTask", toolset, case.now)) for case in cases}


def always_call(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Right calls, and a call where none is right."""
    return {
        case.id: gold_reply(case, toolset) if case.expect else format_call(sample_call("getWeather", toolset, case.now))
        for case in cases
    }


def empty_replies(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Nothing at all."""
    return {case.id: "" for case in cases}


def silent_without_tool(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Right calls, and silence where plain text is right."""
    return {case.id: gold_reply(case, toolset) if case.expect else "" for case in cases}


def unknown_tool(cases: Iterable[Case], toolset: Toolset, every: int = 1) -> Recording:
    """Calls of a tool that does not exist; a dose leaves the pairs alone."""

    def rename(call: ToolCall) -> ToolCall:
        return ToolCall("bookFlight", call.params)

    return _change(cases, toolset, lambda case, calls: _blocks(map(rename, calls)), every, pairs=every == 1)


def truncated_json(cases: Iterable[Case], toolset: Toolset, every: int = 1) -> Recording:
    """Calls that stop in the middle, as at max_tokens; a dose leaves the pairs alone."""

    def cut(case: Case, calls: Sequence[ToolCall]) -> str:
        text = _blocks(calls)
        return text[: len(text) * 2 // 3]

    return _change(cases, toolset, cut, every, pairs=every == 1)


def wrong_arguments(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """The right tool with values that fit the schema and not the question."""

    def spoil(call: ToolCall) -> ToolCall:
        return ToolCall(call.tool, {name: _other_value(value) for name, value in call.params.items()})

    return _change(cases, toolset, lambda case, calls: _blocks(map(spoil, calls)), 1, pairs=True)


def task_for_event(cases: Iterable[Case], toolset: Toolset, every: int = 1) -> Recording:
    """createTask wherever createCalendarEvent is right; a dose is taken of the pairs alone."""
    return _swap(cases, toolset, "createCalendarEvent", "createTask", every)


def event_for_task(cases: Iterable[Case], toolset: Toolset, every: int = 1) -> Recording:
    """createCalendarEvent wherever createTask is right; a dose is taken of the pairs alone."""
    return _swap(cases, toolset, "createTask", "createCalendarEvent", every)


def slow_replies(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Right, and three seconds late."""
    return {name: {"text": text, "seconds": 3.0} for name, text in gold(cases, toolset).items()}


def python_literals(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """Calls as Python writes them: what a reader that evaluates text would accept."""
    return _change(
        cases,
        toolset,
        lambda case, calls: "\n".join(f"```json\n{ {'tool': c.tool, 'params': dict(c.params)} }\n```" for c in calls),
        1,
        pairs=True,
    )


def bare_calls(cases: Iterable[Case], toolset: Toolset) -> Recording:
    """The right objects without their fences: no call, and no plain text either."""
    return {name: text.replace("```json\n", "").replace("\n```", "") for name, text in gold(cases, toolset).items()}


def _change(
    cases: Iterable[Case],
    toolset: Toolset,
    change: Callable[[Case, Sequence[ToolCall]], str],
    every: int,
    *,
    pairs: bool,
) -> Recording:
    """Gold replies, with each ``every``-th reply that calls changed."""
    found: Recording = {}
    seen = 0
    for case in cases:
        calls = gold_calls(case, toolset)
        found[case.id] = gold_reply(case, toolset)
        if calls and (pairs or case.pair is None):
            if seen % every == 0:
                found[case.id] = change(case, calls)
            seen += 1
    return found


def _swap(cases: Iterable[Case], toolset: Toolset, tool: str, instead: str, every: int) -> Recording:
    found: Recording = {}
    seen = 0
    for case in cases:
        calls = gold_calls(case, toolset)
        found[case.id] = gold_reply(case, toolset)
        if any(call.tool == tool for call in calls) and (every == 1 or case.pair is not None):
            if seen % every == 0:
                other = sample_call(instead, toolset, case.now)
                found[case.id] = _blocks(other if call.tool == tool else call for call in calls)
            seen += 1
    return found


def _blocks(calls: Iterable[ToolCall]) -> str:
    return "\n".join(format_call(call) for call in calls)


def _other_value(value: Any) -> Any:
    if isinstance(value, list):
        return ["nobody@example.org"]
    if value in ANOTHER:
        return ANOTHER[value]
    if isinstance(value, str) and value[:4].isdigit() and value[4:5] == "-":
        return "1999-01-01" + value[10:]
    return "something else entirely"


FULL: Mapping[str, tuple[Bad, str]] = {
    # name: replies, the metric that is meant to stop them
    "always createTask": (always_create_task, "tool_selection"),
    "never a call": (never_call, "tool_selection"),
    "the base model without an adapter": (never_call, "negative_precision"),
    "always a call": (always_call, "negative_precision"),
    "createTask for every event": (task_for_event, "disambiguation"),
    "createCalendarEvent for every task": (event_for_task, "disambiguation"),
    "wrong arguments": (wrong_arguments, "argument_accuracy"),
    "truncated JSON": (truncated_json, "json_validity"),
    "Python literals": (python_literals, "json_validity"),
    "calls without fences": (bare_calls, "json_validity"),
    "unknown tool": (unknown_tool, "tool_selection"),
    "empty replies": (empty_replies, "negative_precision"),
    "slow replies": (slow_replies, "latency_p95"),
}
EXACT: Mapping[str, tuple[Bad, str]] = {
    # name: replies, the only metric that stops them
    "always a call": (always_call, "negative_precision"),
    "silence without a tool": (silent_without_tool, "negative_precision"),
    "wrong arguments": (wrong_arguments, "argument_accuracy"),
    "slow replies": (slow_replies, "latency_p95"),
    "now and then truncated": (lambda cases, tools: truncated_json(cases, tools, every=20), "json_validity"),
    "now and then an unknown tool": (lambda cases, tools: unknown_tool(cases, tools, every=4), "tool_selection"),
    "now and then createTask for an event": (lambda cases, tools: task_for_event(cases, tools, 4), "disambiguation"),
    "now and then an event for a task": (lambda cases, tools: event_for_task(cases, tools, 4), "disambiguation"),
}
