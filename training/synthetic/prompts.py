"""What the model is asked to write: one request is one topic in one style, with the times it has to use.

Covers: the rulings and value conventions as the model reads them, the topics of every kind and tool, the styles, the
form of a line and its reading.
Does not cover: how many requests there are (plan), whether a line is good (harvest).

A line is shorter than an example of training.examples and leaves no choice of spelling: calls are objects, and fences,
the order of params and all that is known beforehand are added here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from harness.parsing import format_call, load_strict, parse_reply
from harness.prompt import weekday
from harness.toolset import Toolset
from harness.types import Message, ToolCall

STYLES = {
    "formal": "whole, polite sentences with full punctuation, as in a letter to an assistant",
    "casual": "everyday speech, contractions, mostly lower case, little punctuation",
    "fragmentary": "a few words without a verb or an article, as typed in a hurry ('dentist tue 9, high')",
    "chatty": "the request inside talk about why, with a detail or two that must not end up in the call",
    "typos": "quick thumbs: one or two slips, missing apostrophes, common abbreviations (tmrw, mtg, pls); names intact",
    "indirect": "a wish, a hint or a question instead of an order ('it would be good if I didn't forget ...')",
    "dictated": "spoken: no punctuation, fillers, numbers as words, now and then a self-correction",
}

SYSTEM = """You write training conversations for a small assistant that turns what people say into tool calls.

Tools:
{docs}

Rulings:
1. "Remind me ...", "set a reminder ...", "add ... to my to-do list" is createTask, also for meetings and \
appointments. "Put ... on my calendar", "schedule", "book", "block" is createCalendarEvent. Both asked: both calls, \
in that order.
2. No tool shows events, sets alarms or timers, sends text messages, calls people, keeps shopping lists, reads or \
answers e-mail, runs the home, plays music, or knows news and facts. There the assistant answers in one or two \
sentences of plain text, without a call.
3. A required value that cannot be inferred is asked for in plain text: an event without any day or time, an e-mail \
without content. Inferred are: priority "medium" unless said, a subject from the content, 09:00 when an event has only \
a day.
4. Updating, completing or deleting needs an id that an earlier result in the same conversation holds. Without one the \
assistant calls listTasks where that helps, or asks.
5. Relative times resolve against the current time of the conversation, in its offset.

Values:
- title and summary: the action in the user's own words and casing, without day, time and priority words ("remind me \
to call mom tomorrow": "call mom"; an event keeps "with NAME").
- priority: urgent, asap, important is "high"; low, whenever, no rush is "low"; else "medium".
- dueDate: only when a day or time is named; a day alone is YYYY-MM-DD, with a clock time ISO 8601 with the offset.
- An event with a clock time and no day is today if that is still ahead, else tomorrow. A bare hour from 1 to 6 is pm, \
7 to 11 am. Morning 09:00, noon 12:00, afternoon 15:00, evening 19:00, tonight 20:00.
- A weekday, or "this" weekday, is the next such day after today; "next" weekday is that of the week that begins on \
the following Monday. "The 14th" is the next such day from today on.
- attendees, location, description, endTime, cc, units: only when the user says so. getWeather leaves date out for now \
and today, and location out when none is named.
- listTasks for open or unspecified tasks is {{"status": "open"}}. "Due this week" is dueBefore of this week's Sunday.
- sendEmail: to as typed; body in the user's words; subject as named, else short from the content.
- Updates hold only what changes.

Form: JSON Lines, nothing else. No fences, no numbering, no comments. One line is one conversation:
{{"now": "<one of the given times>", "messages": [<turns>]}}
A turn is an object with one key:
{{"user": "text"}}
{{"calls": [{{"tool": "name", "params": {{...}}}}]}}   the assistant calls one tool or several, without any text
{{"result": {{...}}}}   what a tool gave back, one turn for each call; the assistant's next turn follows
{{"assistant": "text"}}   the assistant answers in plain text, one or two sentences, never a call
The first turn is the user's, the last one is the assistant's: calls, or text. Results look like these:
{{"id": "task_81", "title": "...", "priority": "medium", "status": "open", "dueDate": "2026-03-04"}}, \
{{"tasks": [...]}}, {{"id": "evt_3f", "summary": "...", "startTime": "..."}}, {{"ok": true, "id": "..."}}, \
{{"ok": true, "messageId": "..."}}, {{"location": "...", "summary": "light rain", "high": 14, "low": 8, \
"units": "metric"}}. Invent ids of every shape: t-204, 5f3c9a, 90412, evt_7k2, cal_0419.

Every conversation is about something else: other people, places, work, hobbies, cultures, lengths, and other time \
phrases. Nothing offensive, no real private persons, no strings such as <|...|>."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What one request is about; ``tool`` is the tool that has to be called in the end, if there is one."""

    name: str
    kind: str
    text: str
    tool: str | None = None
    paired: bool = False  # a line holds two conversations that differ in little and are answered differently


_TOOL_HINTS = {
    "createTask": "Half without a day, the others with a day or a clock time; some with a priority, few with details.",
    "listTasks": "Open, completed and all tasks; by priority; due before a day; in ever other words.",
    "updateTask": "Another title, day, priority or note; one field, now and then two.",
    "completeTask": "'done with', 'finished', 'cross off', 'that's taken care of'; by name, position or 'it'.",
    "deleteTask": "'drop', 'never mind the', 'no longer needed', 'remove'; by name, position or 'it'.",
    "createCalendarEvent": "Some with a place, an end or a duration, people to invite with addresses; most without.",
    "updateCalendarEvent": "Another time, place, name, length or people; one field, now and then two.",
    "deleteCalendarEvent": "'cancel', 'it's off', 'call off', 'take it out'; by name or 'it'.",
    "getWeather": "Here and elsewhere, now and on other days, with and without units; also by its effect (umbrella?).",
    "sendEmail": "To names and to addresses; short notes; some with a subject, few with cc; indirect speech too.",
}
_ID_TOOLS = ("updateTask", "completeTask", "deleteTask", "updateCalendarEvent", "deleteCalendarEvent")
_PAIRS = {
    "same-action": "the same matter, once asked for as a reminder or to-do (createTask) and once for the calendar "
    "(createCalendarEvent); as few other words as possible differ",
    "appointment-as-reminder": "a meeting or appointment, once 'remind me of' it (createTask with its time as dueDate) "
    "and once 'schedule' or 'book' it (createCalendarEvent)",
    "misleading-words": "a to-do that speaks of a calendar, or an event that speaks of a task or list ('put update the "
    "team calendar on my list'), beside its natural opposite",
    "one-and-both": "once one of the two is asked for, and once both (createTask and createCalendarEvent)",
}
_NEGATIVES = {
    "no-such-tool": "things of ruling 2 that no tool does: alarms, timers, calls, text messages, shopping lists, "
    "music, the home, reading mail, showing the calendar. The assistant says kindly what it cannot do",
    "missing-value": "requests of ruling 3 and 4 that lack what is required: an event without day and time, an e-mail "
    "without content, 'delete it' with nothing before. The assistant asks for the missing value",
    "near-miss": "talk that holds the words of a request and is none: something done already, somebody else's "
    "reminder, a plan that is only told, a question how the assistant works. A short fitting answer",
    "knowledge": "short questions of fact, language, sums and advice, answered rightly in a sentence or two",
    "small-talk": "greetings, thanks, moods, jokes, remarks about the day, answered shortly and kindly",
    "about-itself": "questions about the assistant and what its tools can do, answered from the list of tools",
}
_DIALOGUES = {
    "asks-then-acts": "the user leaves out a required value, the assistant asks, the user gives it, the call follows",
    "changes-mind": "after a call and its result the user changes or takes back what was just made (by its id)",
    "list-then-act": "listTasks with two to five results, then the user picks one by name, place or property",
    "reads-result": "a call, its result, and the assistant's answer in words from the result; perhaps another turn",
}
_COMPOUNDS = {
    "same-tool": "one message asks for two or three things of the same tool; one turn of several calls",
    "mixed-tools": "one message asks for two or three things of different tools; one turn of several calls",
    "with-a-rest": "one message asks for two calls and tells something that needs none; the calls alone are the answer",
}
_GENERAL = (
    "Questions that any assistant gets: explain, rewrite, suggest, compare, count. A helpful answer of one to four "
    "sentences in plain text."
)


def list_topics(toolset: Toolset) -> list[Topic]:
    """All topics, in a fixed order; tools that the toolset lacks are left out."""
    topics = [
        Topic(f"single/{tool}", "single", f"One user message, answered by exactly one call of {tool}. {hint}", tool)
        for tool, hint in _TOOL_HINTS.items()
        if tool not in _ID_TOOLS
    ]
    topics += [
        Topic(
            f"crud/{tool}",
            "crud",
            f"Two to four user turns. An earlier result of the conversation holds the id; the last turn is a call of "
            f"{tool} with that id. {_TOOL_HINTS[tool]}",
            tool,
        )
        for tool in _ID_TOOLS
    ]
    topics += [
        Topic(f"contrastive/{name}", "contrastive", f"Two conversations of one user message each: {text}.", None, True)
        for name, text in _PAIRS.items()
    ]
    topics += [Topic(f"negative/{name}", "negative", f"No call is right: {text}.") for name, text in _NEGATIVES.items()]
    topics += [
        Topic(f"multi_turn/{name}", "multi_turn", f"At least two user turns: {text}.")
        for name, text in _DIALOGUES.items()
    ]
    topics += [Topic(f"compound/{name}", "compound", f"Compound: {text}.") for name, text in _COMPOUNDS.items()]
    topics.append(Topic("general/chat", "general", _GENERAL))
    return [topic for topic in topics if topic.tool is None or topic.tool in toolset.tools]


def write_system(toolset: Toolset) -> str:
    """The system prompt of every request of a run."""
    return SYSTEM.format(docs=toolset.docs())


def write_request(topic: Topic, style: str, nows: Sequence[str], shown: Sequence[str]) -> str:
    """The user's message of one request: one line for each time in ``nows``; ``shown`` are lines in the right form."""
    parts = [f"Topic: {topic.text}", f"Style of the user's messages: {style}: {STYLES[style]}."]
    if topic.paired:
        parts.append('A line holds a pair: {"now": "...", "pair": [[<turns>], [<turns>]]}. The two answers differ.')
    if shown:
        parts.append("Lines in the right form (other styles; do not repeat their content):\n" + "\n".join(shown))
    times = "\n".join(f"{place}. {now} ({_about(now)})" for place, now in enumerate(nows, 1))
    parts.append(f"Write {len(nows)} lines, line by line with these current times as now:\n{times}")
    return "\n\n".join(parts)


def _about(now: str) -> str:
    # Models slip on weekdays more than on anything else, so the week is spelled out.
    moment = datetime.fromisoformat(now)
    monday = moment + timedelta(days=7 - moment.weekday())
    sunday = monday - timedelta(days=1)
    return f"{weekday(now)}; this week ends on Sunday {sunday:%Y-%m-%d}, next Monday is {monday:%Y-%m-%d}"


def format_line(now: str, conversations: Sequence[Sequence[Message]]) -> str:
    """The line of one conversation, or of the two of a pair; ``parse_line`` reads it back."""
    turns = [[_format_turn(message) for message in messages] for messages in conversations]
    body: dict[str, Any] = {"now": now, "messages": turns[0]} if len(turns) == 1 else {"now": now, "pair": turns}
    return json.dumps(body, ensure_ascii=False)


def parse_line(line: str, toolset: Toolset) -> tuple[str, list[list[Message]]]:
    """The time of a line and its conversations: one, or two of a pair.

    Raises:
        ValueError: the line has another form; says which part.
    """
    try:
        raw = load_strict(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(raw, dict) or raw.keys() not in ({"now", "messages"}, {"now", "pair"}):
        raise ValueError('not the asked form: a line holds "now" and "messages", or "now" and "pair"')
    if not isinstance(raw["now"], str):
        raise ValueError("not the asked form: now is a text")
    conversations = raw["pair"] if "pair" in raw else [raw["messages"]]
    if not isinstance(conversations, list) or ("pair" in raw and len(conversations) != 2):
        raise ValueError("not the asked form: a pair is a list of two lists of turns")
    return raw["now"], [_parse_turns(turns, toolset) for turns in conversations]


def _format_turn(message: Message) -> dict[str, Any]:
    role, content = message["role"], message["content"]
    if role == "tool":
        return {"result": json.loads(content)}
    if role == "assistant" and (calls := parse_reply(content).calls):
        return {"calls": [{"tool": call.tool, "params": dict(call.params)} for call in calls]}
    return {role: content}


def _parse_turns(turns: Any, toolset: Toolset) -> list[Message]:
    if not isinstance(turns, list) or not turns:
        raise ValueError("not the asked form: messages is a list of turns")
    messages = []
    for place, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or len(turn) != 1:
            raise ValueError(f"not the asked form: turn {place} is no object with one key")
        key, value = next(iter(turn.items()))
        if key in ("user", "assistant") and isinstance(value, str):
            messages.append(Message(role=key, content=value.strip()))
        elif key == "result" and isinstance(value, dict | list):
            messages.append(Message(role="tool", content=json.dumps(value, ensure_ascii=False)))
        elif key == "calls" and isinstance(value, list) and value:
            calls = [_parse_call(call, place, toolset) for call in value]
            messages.append(Message(role="assistant", content="\n".join(map(format_call, calls))))
        else:
            raise ValueError(f"not the asked form: turn {place} is {key!r} with {type(value).__name__}")
    return messages


def _parse_call(raw: Any, place: int, toolset: Toolset) -> ToolCall:
    if not isinstance(raw, dict) or raw.keys() != {"tool", "params"} or not isinstance(raw["params"], dict):
        raise ValueError(f"not the asked form: a call of turn {place} holds tool and params")
    tool, params = raw["tool"], raw["params"]
    if not isinstance(tool, str) or tool not in toolset.tools:
        raise ValueError(f"not the asked form: unknown tool {tool!r} in turn {place}")
    known = toolset.tools[tool].parameters["properties"]
    ordered = [name for name in known if name in params] + [name for name in params if name not in known]
    return ToolCall(tool, {name: params[name] for name in ordered})
