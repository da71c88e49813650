"""From one human question with its intent to an example: a call where its words say all of it, else plain text.

Covers: the rules of mapping.toml, titles, days, places and addresses found in the words themselves.
Does not cover: questions with a repetition, a range of days or people that the call has no room for; they are refused.

The questions are people's, the answers ours: written in mapping.toml where no call is due, built from the question's
own words where one is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.parsing import format_call
from harness.prompt import has_special_tokens
from harness.types import Message, ToolCall
from training.converters._dialogues import spread_now
from training.converters._mapping import IntentRule, load_table, our_tools
from training.converters._times import When, parse_when, scan_when, stamp_moment
from training.converters.base import BadRow, Source, Unfit
from training.examples import Example

MAX_QUESTION = 400  # characters

_TIME_SLOTS = {"date", "time", "timeofday", "time_of_day", "datetime", "timerange", "event_date", "event_time"}
_PLACE_SLOTS = {
    "place_name",
    "location",
    "city",
    "state",
    "country",
    "geographic_poi",
    "event_location",
    "weather/location",
}
_EVENT_SLOTS = {"event_name", "event_title", "reminder/todo", "todo"}
_REPEATS = re.compile(
    r"\b(every|each|daily|weekly|monthly|yearly|annual(ly)?|recurring|repeat(ing|ed)?|(mon|tues|wednes|thurs|fri|satur|sun)days"
    r"|weekdays|mornings|evenings)\b",
    re.IGNORECASE,
)
_TEMPORAL = re.compile(
    r"\d|\b(today|tonight|tomorrow|yesterday|weekend|week|weeks|month|months|year|hours?|minutes?|(mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|jan(uary)?|feb(ruary)?|march|april|june|july|august|september|october|november|december|morning|noon|afternoon"
    r"|evening|night|midnight|later|soon|next|last|past|now|oclock|o'clock|am|pm|christmas|easter|birthday|days?)\b",
    re.IGNORECASE,
)
_TASK_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bremind me (?:to|about|that|of) (?P<what>.+)",
        r"\b(?:set|create|add|make|put)(?: me| up)? (?:a |an |the |my )?(?:new )?reminder (?:for me )?(?:to|about|for|that|of) (?P<what>.+)",  # noqa: E501
        r"\b(?:add|put|place|include) (?P<what>.+?) (?:to|on|onto|in) (?:my |the )?(?:to-?\s?do|task|chore|errand)s?(?: list)?(?: please)?[.!?]?$",  # noqa: E501
    )
)
_EVENT_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:add|put|place|schedule|create|book|enter|include|mark)(?: down)? (?P<what>.+?) (?:to|on|onto|in|into) (?:my |the )?(?:calendar|schedule)\b(?P<rest>.*)",  # noqa: E501
        r"\b(?:schedule|book|set up|arrange|plan|create) (?P<what>.+)",
    )
)
_ASK_EMAIL = re.compile(
    r"(?:(?:please|can you|could you|hey|i want to|i need to|i'd like to|help me)\s+)*(?:send|write|compose|draft|start|create|make)"  # noqa: E501
    r"\s+(?:me\s+)?(?:an?|new|the|another)?\s*(?:new\s+)?e-?mail(?:\s+message)?(?P<to>\s+(?:to|for)\s+(?!(?:[\w.@'-]+ )*(?:say|saying|asking|about|and|that|with|telling)\b)[\w .@'-]{2,30}?)?"  # noqa: E501
    r"(?:\s+(?:for me|please|now))*[.!?]*",
    re.IGNORECASE,
)
_ASK_TITLE = re.compile(
    r"(?:please |can you |could you )*(?:set|create|add|make) (?:a |me a |an? new )?(?:reminder|task)(?: for me)?[.!?]*",  # noqa: E501
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"\b(?:send|write|compose|draft)\s+(?:an?\s+)?(?:new\s+)?e-?mail\s+to\s+(?P<to>[\w.@'-]+(?:\s[\w.@'-]+){0,2}?)"
    r"\s+(?:saying|that says|which says|and say|to say|telling (?:him|her|them))\s+(?:that\s+)?(?P<body>.+)",
    re.IGNORECASE,
)
_EDGE = re.compile(
    r"^(?:\s|[,.;:!?]|\b(?:at|on|by|for|the|a|an|my|new|please|due|this|that|to|in)\b)+|(?:\s|[,.;:!?]|\b(?:at|on|by|for|the|please|due|from|this|starting|in)\b)+$",
    re.IGNORECASE,
)
_NO_EVENT = {
    "item",
    "notification",
    "meetings",
    "events",
    "event",
    "meeting",
    "appointment",
    "calendar event",
    "calendar",
    "it",
    "this",
    "that",
    "something",
    "reminder",
    "task",
}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One question: its intent as the table names it, and the (name, words) of its slots in order."""

    text: str
    intent: str
    slots: tuple[tuple[str, str], ...] = ()

    def values(self, names: set[str]) -> list[str]:
        """Words of the slots with one of the names."""
        return [value for name, value in self.slots if name.lower() in names]


def read_plain(row: object) -> Utterance:
    """A row of the form {"text", "intent" or "label", "slots"?}, in which such sets are passed around.

    Raises:
        BadRow: the row has another shape.
    """
    if not isinstance(row, dict):
        raise BadRow("a row is not an object")
    text, intent = row.get("text"), row.get("intent", row.get("label"))
    if not isinstance(text, str) or not isinstance(intent, str):
        raise BadRow("no text or no intent")
    slots = row.get("slots") or []
    if not isinstance(slots, list) or not all(
        isinstance(s, list | tuple) and len(s) == 2 and all(isinstance(v, str) for v in s) for s in slots
    ):
        raise BadRow("slots that are not pairs of texts")
    return Utterance(text, intent, tuple((name, value) for name, value in slots))


def make_utterance(name: str, source: Source, utterance: Utterance) -> Iterator[Example]:
    """The example of a question.

    Raises:
        BadRow: the question is none.
        Unfit: what it asks for cannot be said as a call, and no plain answer is right either.
    """
    text = " ".join(utterance.text.split())
    if len(text) < 2 or not re.search(r"[^\W\d_]", text):
        raise BadRow("no words in the text")
    if has_special_tokens(text):
        raise BadRow("a special-token string in the text")
    if len(text) > MAX_QUESTION:
        raise Unfit("longer than a spoken question")
    rule = _find_intent(name, utterance.intent, text)
    now = spread_now(text)
    calls: tuple[ToolCall, ...] = ()
    if rule.tool == "none":
        if rule.reply in {"outside", "chat", "home", "media"} and load_table().wants.search(text):
            raise Unfit("the intent says no tool, the words may want one")
        content = pick_reply(rule.reply, text)
    else:
        content, calls = _BUILDERS[rule.tool](Utterance(text, utterance.intent, utterance.slots), now)
    for call in calls:
        if errors := our_tools().schema_errors(call.tool, call.params):
            raise BadRow(f"{call.tool}: {errors[0].split(':')[0]} does not fit the schema")
    yield Example(
        id="row",
        kind="single" if calls else "negative",
        now=now.isoformat(),
        messages=(Message(role="user", content=text), Message(role="assistant", content=content)),
        tools=tuple(call.tool for call in calls),
        source="",
        licence=source.licence,
        author=source.author,
    )


def pick_reply(name: str, text: str) -> str:
    """One of the written answers; the same for the same question."""
    choices = load_table().replies[name]
    return choices[zlib.crc32(text.encode("utf-8", "surrogatepass")) % len(choices)]


def _find_intent(name: str, intent: str, text: str) -> IntentRule:
    for rule in load_table().utterances[name]:
        fits = rule.intents.fullmatch(intent) and (rule.words is None or rule.words.search(text))
        if fits and not (rule.without and rule.without.search(text)):
            if rule.tool == "doubtful":
                raise Unfit("an intent that the rulings do not settle")
            return rule
    raise Unfit("an intent that the table does not name")


_Built = tuple[str, tuple[ToolCall, ...]]


def _call(tool: str, **params: Any) -> _Built:
    call = ToolCall(tool, {name: value for name, value in params.items() if value is not None})
    return format_call(call), (call,)


def _read_when(utterance: Utterance, now: datetime) -> When | None:
    """The one day or time that a question names; None when it names none.

    Raises:
        Unfit: it names one that is not understood, or several.
    """
    if _REPEATS.search(utterance.text):
        raise Unfit("repeats; no tool does")
    spoken = utterance.values(_TIME_SLOTS)
    if spoken:
        joined = " ".join(spoken)
        when = parse_when(joined, now) or parse_when("at " + joined, now)
        if when is None:
            raise Unfit("a time that is not understood")
        return when
    when, rest = scan_when(utterance.text, now)
    if _TEMPORAL.search(rest):
        raise Unfit("a time that is not understood")
    return when


def _cut_time(what: str, now: datetime) -> str:
    """Words without the time in them, in their own casing."""
    when, rest = scan_when(what, now)
    plain = _EDGE.sub("", " ".join(rest.split()))
    if when is None:
        plain = _EDGE.sub("", what)
    at = what.lower().find(plain.lower())
    if at < 0 or not plain or _TEMPORAL.search(plain):
        raise Unfit("a title that is not one piece of the question")
    return what[at : at + len(plain)]


def _weather(utterance: Utterance, now: datetime) -> _Built:
    text = utterance.text
    if re.search(
        r"\b(sunrise|sunset|sun (rise|set|come|go)|moon|tide|compare|between|difference)\b", text, re.IGNORECASE
    ):
        raise Unfit("an intent that the rulings do not settle")
    if utterance.values({"spatial_relation"}):
        raise Unfit("a place that is not named as such")
    places = utterance.values(_PLACE_SLOTS)
    place = None
    if places:
        place = _span_of(places, text)
    elif not utterance.slots:
        place = _find_place(text, now)
    when = _read_when(utterance, now)
    day = stamp_moment(when, now).date() if when and when.day else None
    units = "metric" if re.search(r"\bcelsius\b", text, re.IGNORECASE) else None
    units = "imperial" if re.search(r"\bfahrenheit\b", text, re.IGNORECASE) else units
    date = None if day is None or day == now.date() else day.isoformat()  # today is what leaving it out means
    return _call("getWeather", location=place, date=date, units=units)


def _span_of(parts: list[str], text: str) -> str:
    """The words from the first to the last part, as typed."""
    lowered, at, starts, ends = text.lower(), 0, [], []
    for part in parts:
        start = lowered.find(part.lower().strip(), at)
        if start < 0:
            raise Unfit("a place that is not named as such")
        starts.append(start)
        ends.append(at := start + len(part.strip()))
    span = text[starts[0] : ends[-1]]
    if len(span) > sum(map(len, parts)) + 8 * len(parts):  # other words between them
        raise Unfit("a place that is not named as such")
    return re.sub(r"'s$", "", span).strip(" ,.?!")


def _find_place(text: str, now: datetime) -> str | None:
    _, rest = scan_when(text, now)
    rest = " ".join(rest.split())
    match = re.search(
        r"\b(?:in|for|near|around|at)\s+(?P<place>[\w .,'-]{2,40}?)(?:\s+(?:like|right now|currently|please|outside|be|look\w*|on|at|for))*\s*[?.!]*$",  # noqa: E501
        rest, re.IGNORECASE,
    )  # fmt: skip
    if match is None:
        if re.search(r"\b(?:in|for|near|around|at)\s+(?!the moment)\w", rest, re.IGNORECASE):
            raise Unfit("a place that is not named as such")
        return None
    place = _EDGE.sub("", match["place"])
    if place.lower() in {
        "here",
        "me",
        "my area",
        "area",
        "my location",
        "moment",
        "my city",
        "forecast",
        "outside",
        "",
    }:
        return None
    if len(place.split()) > 4 or re.match(r"(my|your|our|there)\b", place, re.IGNORECASE) or _TEMPORAL.search(place):
        raise Unfit("a place that is not named as such")
    at = text.lower().find(place.lower())
    if at < 0:
        raise Unfit("a place that is not named as such")
    return text[at : at + len(place)]


def _create_task(utterance: Utterance, now: datetime) -> _Built:
    when = _read_when(utterance, now)
    named = utterance.values({"reminder/todo", "todo"})
    if len(named) == 1 and named[0].lower() in utterance.text.lower():
        title = named[0]
    elif len(named) > 1:
        raise Unfit("a title that is not one piece of the question")
    else:
        match = next((m for p in _TASK_PATTERNS if (m := p.search(utterance.text))), None)
        if match is None:
            if _ASK_TITLE.fullmatch(utterance.text):
                return pick_reply("need_title", utterance.text), ()
            raise Unfit("a title that is not one piece of the question")
        title = _cut_time(match["what"], now)
    due = None
    if when is not None:
        moment = stamp_moment(when, now)
        due = moment.isoformat() if when.clock else moment.date().isoformat()
    return _call("createTask", title=_check_title(title), priority=_priority(utterance.text), dueDate=due)


def _priority(text: str) -> str:
    if re.search(r"\b(not urgent|no rush|whenever|low priority)\b", text, re.IGNORECASE):
        return "low"
    return (
        "high"
        if re.search(r"\b(urgent(ly)?|important|asap|high(est)? priority|critical)\b", text, re.IGNORECASE)
        else "medium"
    )


def _check_title(title: str) -> str:
    title = title.strip(" \"'.,;:!?")
    if not title or title.lower() in _NO_EVENT or len(title) > 120:
        raise Unfit("a title that is not one piece of the question")
    return title


def _create_event(utterance: Utterance, now: datetime) -> _Built:
    text = utterance.text
    names = utterance.values(_EVENT_SLOTS)
    people = utterance.values({"person", "relation", "attendee", "contact"})
    if re.search(
        r"\b(to|until|till|through|from|for (\w+ ){1,2}(hours?|minutes?))\b.*\b(am|pm|hours?|minutes?)\b",
        text,
        re.IGNORECASE,
    ) and (re.search(r"\bfrom\b|\bhours?\b|\bminutes?\b|\buntil\b", text, re.IGNORECASE)):
        raise Unfit("a range of times")
    when = _read_when(utterance, now)
    if len(names) == 1:
        summary = names[0]
    elif names:
        raise Unfit("a title that is not one piece of the question")
    else:
        match = next((m for p in _EVENT_PATTERNS if (m := p.search(text))), None)
        if match is None:
            raise Unfit("a title that is not one piece of the question")
        summary = _cut_time(match["what"], now)
    at = text.lower().find(summary.lower())
    if at < 0:
        raise Unfit("a title that is not one piece of the question")
    summary = text[at : at + len(summary)]
    with_whom = re.match(r"\s+(with\s+(?:my\s+|the\s+)?[\w']+(?:\s+[\w']+)?)", text[at + len(summary) :])
    if people:
        known = with_whom and all(any(w in with_whom[1].lower() for w in p.lower().split()) for p in people)
        if len(people) > 1 or not known:
            raise Unfit("people beside the event")
        end = text.lower().find(people[0].lower(), at) + len(people[0])
        summary = text[at:end]
    elif with_whom and names:
        raise Unfit("people beside the event")
    if when is None:
        return pick_reply("need_time", text), ()  # ruling 3
    if not people:
        summary = _EDGE.sub("", summary)
    bare = summary.strip()
    title = bare if bare.lower() in {"meeting", "appointment"} else _check_title(bare)
    places = utterance.values(_PLACE_SLOTS)
    place = _span_of(places, text) if places else None
    if place and place.lower() in title.lower():
        place = None
    return _call("createCalendarEvent", summary=title, startTime=stamp_moment(when, now).isoformat(), location=place)


def _list_tasks(utterance: Utterance, now: datetime) -> _Built:
    text = utterance.text
    if _read_when(utterance, now) is not None:
        raise Unfit("a time that the tool cannot be asked for")
    if re.search(r"\b(add|put|remove|delete|complete|create|new|am i done|is there)\b", text, re.IGNORECASE):
        raise Unfit("a list with conditions")
    if re.search(r"\b(priority|urgent|important|about|for (?!me\b)\w+|called|named)\b", text, re.IGNORECASE):
        raise Unfit("a list with conditions")
    done = re.search(r"\b(done|completed|finished|already)\b", text, re.IGNORECASE)
    every = re.search(r"\b(all|everything|every)\b", text, re.IGNORECASE)
    return _call("listTasks", status="completed" if done else "all" if every else "open")


def _look_up_task(utterance: Utterance, now: datetime) -> _Built:
    """Ruling 4: the id is not known, and the list has it."""
    return _call("listTasks", status="open")


def _ask_for_event(utterance: Utterance, now: datetime) -> _Built:
    return pick_reply("need_event", utterance.text), ()


def _send_email(utterance: Utterance, now: datetime) -> _Built:
    text = utterance.text
    if match := _EMAIL.search(text):
        to, body = match["to"].strip(" '"), match["body"].strip(" .'")
        words = body.split()
        if len(words) < 2 or re.search(r"\b(and|,)\b", to):
            raise Unfit("an e-mail whose content is not one piece of the question")
        subject = " ".join(words[:5])
        return _call("sendEmail", to=re.sub(r"^my ", "", to), subject=subject[0].upper() + subject[1:], body=body)
    if match := _ASK_EMAIL.fullmatch(text):
        return pick_reply("need_content" if match["to"] else "need_recipient", text), ()
    raise Unfit("an e-mail whose content is not one piece of the question")


_BUILDERS = {
    "createTask": _create_task,
    "listTasks": _list_tasks,
    "updateTask": _look_up_task,
    "completeTask": _look_up_task,
    "deleteTask": _look_up_task,
    "createCalendarEvent": _create_event,
    "updateCalendarEvent": _ask_for_event,
    "deleteCalendarEvent": _ask_for_event,
    "getWeather": _weather,
    "sendEmail": _send_email,
}
