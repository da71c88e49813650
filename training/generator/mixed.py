"""Several requests at once, in one message or on top of earlier results, and refusals in the middle of a conversation.

Covers: compounds, compounds that use ids of a list or a creation, their lookalikes that are one call, near misses after results.
Does not cover: one change of one thing (dialogues), remarks without a conversation (negatives).
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from training.generator import dialogues, negatives, requests, times, words
from training.generator.dialogues import Dialogue, Turn, act, plain, single
from training.generator.grammar import phrase
from training.generator.requests import CLOSE, OPEN, Request, finish

Call = tuple[str, dict[str, Any]]
CLAUSE_STARTS = ("I ", "the ", "we ", "my ")  # what can follow "that"
Part = tuple[str, Call]  # words (not yet cased) and the call that they mean

LINKS = (" and ", " and ", " and ", ", ", ", and ", ". ", "; ", " oh and ", ", oh and ", ", also ", ". also ", " also ", " and then ", ", then ", ", plus ", ". and ", " and also ", ". oh, and ", " - and ")
FIRM = (". ", "; ", ", and ", ". also ", ". oh and ", ", then ", ". then ", ", and also ", " - also ", ". and ")  # after free text, which would swallow "and"


def compound(rng: random.Random, now: datetime) -> Dialogue:
    """Several calls, or words that look like several and are one."""
    roll = rng.random()
    if roll < 0.22:
        return single(requests.compound(rng, now))
    if roll < 0.42:
        return single(_independent(rng, now))
    if roll < 0.58:
        return single(_shared(rng, now))
    if roll < 0.66:
        return single(_same_tool(rng, now))
    if roll < 0.78:
        return single(lookalike(rng, now))
    return _on_list(rng, now) if rng.random() < 0.55 else _on_created(rng, now)


def _mail_part(rng: random.Random) -> Part:
    to, body = words.address(rng) if rng.random() < 0.25 else words.person(rng), words.message(rng)
    forms = [f"send {to} an email saying {body}", f"email {to} and say {body}", f"send an email to {to} saying {body}", f"email {to}: {body}"]
    if body.startswith(CLAUSE_STARTS):
        forms += [f"email {to} that {body}", f"email {to} that {body}", f"let {to} know by email that {body}"]
    text = rng.choice(forms)
    return text, ("sendEmail", {"to": to, "subject": requests._short(body), "body": body})


def _task_part(rng: random.Random, now: datetime, *, dated: float = 0.55) -> Part:
    todo, when = words.todo(rng), None
    params: dict[str, Any] = {"title": todo, "priority": "medium"}
    if rng.random() < dated:
        when = times.pick_day(rng, now) if rng.random() < 0.5 else times.pick_moment(rng, now)
        params["dueDate"] = times.due(now, when)
    w = when.text if when else ""
    text = rng.choice(("remind me {w} to {t}", "remind me to {t} {w}", "remind me to {t} {w}", "add {t} to my [list|to-do list|tasks] {w}", "set a reminder to {t} {w}", "create a task to {t} {w}", "add a task: {t} {w}"))
    return phrase(rng, text, {"t": todo, "w": w}, typos=0), ("createTask", params)


def _event_part(rng: random.Random, now: datetime) -> Part:
    summary, when = words.event(rng), times.pick_moment(rng, now)
    text = rng.choice(("schedule {s} {w}", "book {s} {w}", "put {s} on my calendar {w}", "add {s} to my calendar {w}", "set up {s} {w}", "schedule {s} for {b}"))
    bare = requests._bare(when.text).removeprefix("at ")
    return phrase(rng, text.replace("for {b}", "{w}") if bare.startswith(("in ", "tonight")) else text, {"s": summary, "w": when.text, "b": bare}, typos=0), ("createCalendarEvent", {"summary": summary, "startTime": times.stamp(now, when.day, when.clock)})


def _weather_part(rng: random.Random, now: datetime) -> Part:
    params: dict[str, Any] = {"location": rng.choice(words.CITY)} if rng.random() < 0.8 else {}
    day = ""
    if rng.random() < 0.5:
        when = times.pick_day(rng, now)
        day = when.text
        if when.day > now.date():
            params["date"] = when.day.isoformat()
    place = f"in {params['location']}" if "location" in params else ""
    return phrase(rng, "[check the weather|tell me the weather|what's the weather|how's the weather|look up the forecast|show me the forecast] {p} {d}", {"p": place, "d": day}, typos=0), ("getWeather", requests._ordered(params, ("location", "date")))


def _list_part(rng: random.Random) -> Part:
    return phrase(rng, "[show me my tasks|list my tasks|show my to-do list|read me my to-dos|what's on my to-do list|tell me what's on my list]", {}, typos=0), ("listTasks", {"status": "open"})


def _part(rng: random.Random, now: datetime) -> Part:
    makers: tuple[Callable[[], Part], ...] = (lambda: _task_part(rng, now), lambda: _task_part(rng, now), lambda: _event_part(rng, now), lambda: _event_part(rng, now), lambda: _mail_part(rng), lambda: _weather_part(rng, now), lambda: _list_part(rng))
    return rng.choice(makers)()


def _join(rng: random.Random, parts: list[Part]) -> Request:
    """The parts as one message, the calls in the order of the words."""
    text = parts[0][0]
    asks = not text.startswith(("what", "how", "i ", "number ", "the ", "task ", "#")) and (not text.endswith(" done") or text.startswith("mark "))
    text = rng.choice(("", "", "", "", "hey ", "please ", "can you ", "ok ") if asks else ("", "", "hey ", "ok ")) + text
    for before, part in itertools.pairwise(parts):
        free = before[1][0] == "sendEmail" or ("dueDate" not in before[1][1] and before[1][0] == "createTask")
        link = rng.choice(FIRM if free and rng.random() < 0.8 else LINKS)
        said = part[0]
        if link[0] == "." and rng.random() < 0.5:  # sentences as a careful person types them
            link = link[:2] + link[2:3].upper() + link[3:]
            said = said if link[2:] else said[:1].upper() + said[1:]
        text += link + said
    return finish(rng, text + rng.choice(("", "", "", "", " please", ", thanks")) if parts[-1][1][0] not in ("sendEmail",) else text, *(part[1] for part in parts))


def _independent(rng: random.Random, now: datetime) -> Request:
    parts = [_part(rng, now) for _ in range(2 if rng.random() < 0.78 else 3)]
    if len({part[0] for part in parts}) < len(parts) or sum(part[1][0] == "listTasks" for part in parts) > 1:
        return _independent(rng, now)
    return _join(rng, parts)


def _todo(rng: random.Random) -> str:
    """Something to do that can stand in a list: no comma, no "and" of its own."""
    while True:
        todo = words.todo(rng)
        if not re.search(r",| and | & ", todo):
            return todo


def _ahead(rng: random.Random, now: datetime) -> times.When:
    """A day after today that can head a list of times."""
    while True:
        day = times.pick_day(rng, now)
        if day.day > now.date() and "week" not in day.text:
            return day


def _two_clocks(rng: random.Random, now: datetime) -> tuple[tuple[str, Any], tuple[str, Any]]:
    while True:
        one = times.pick_clock(rng, now)
        two = times.pick_clock(rng, now)
        if one[1] < two[1]:
            return one, two


def _shared(rng: random.Random, now: datetime) -> Request:
    """Two or three things on one day, which is said once."""
    day = _ahead(rng, now)
    (c, first), (d, second) = _two_clocks(rng, now)
    if rng.random() < 0.45:
        a, b = _todo(rng), _todo(rng)
        slots = {"a": a, "b": b, "c": c, "d": d, "w": day.text}
        pattern = rng.choice(
            (
                "remind me {w} {c} to {a} and {d} to {b}",
                "remind me to {a} {w} {c} and to {b} {d}",
                "{w} remind me to {a} {c} and to {b} {d}",
                "{w}: remind me {c} to {a}, {d} to {b}",
                "[set|add|make] two reminders {w}: {a} {c} and {b} {d}",
                "two reminders for {w}: {c} {a}, {d} {b}",
                "remind me {w} {c} to {a}, and then {d} to {b}",
                "add to my to-do list {w}: {a} {c}, {b} {d}",
            )
        ).replace("for {w}", "for {w}" if not day.text.startswith(("on ", "in ")) else "{w}")
        calls = [("createTask", {"title": t, "priority": "medium", "dueDate": times.stamp(now, day.day, clock)}) for t, clock in ((a, first), (b, second))]
        return finish(rng, phrase(rng, pattern, slots), *calls)
    a, b = words.event(rng), words.event(rng)
    if rng.random() < 0.2:
        todo = words.todo(rng)
        pattern = rng.choice(("{w} schedule {a} {c} and remind me {d} to {b}", "schedule {a} {w} {c} and remind me to {b} {d}", "{w}: {a} {c} on my calendar, and remind me {d} to {b}", "put {a} on my calendar {w} {c} and remind me the same day {d} to {b}"))
        slots = {"a": a, "b": todo, "c": c, "d": d, "w": day.text}
        return finish(rng, phrase(rng, pattern, slots), ("createCalendarEvent", {"summary": a, "startTime": times.stamp(now, day.day, first)}), ("createTask", {"title": todo, "priority": "medium", "dueDate": times.stamp(now, day.day, second)}))
    pattern = rng.choice(
        (
            OPEN + "schedule {a} {w} {c} and {b} {d}",
            OPEN + "[schedule|book] {a} {c} and {b} {d} {w}",
            OPEN + "put {a} {c} and {b} {d} on my calendar {w}",
            "{w} {c} {a} and {d} {b}[, put both on my calendar|, add them to my calendar|]",
            "{w}: {a} {c}, {b} {d}[, put them on the calendar|, schedule both|]",
            "{w}, {a} {c} and {b} {d}, [schedule both|add both to my calendar|on my calendar please]",
            "[add|put] two events [to|on] my calendar {w}: {a} {c} and {b} {d}",
            "calendar {w}: {c} {a}, {d} {b}",
            "i have {a} {w} {c} and {b} {d}, [put them on my calendar|schedule them|add both to my calendar]",
            OPEN + "schedule {a} {w} {c}. [same day|that day too|also that day] {d} {b}",
        )
    )
    slots = {"a": a, "b": b, "c": c, "d": d, "w": day.text}
    calls = [("createCalendarEvent", {"summary": s, "startTime": times.stamp(now, day.day, clock)}) for s, clock in ((a, first), (b, second))]
    return finish(rng, phrase(rng, pattern, slots), *calls)


def _same_tool(rng: random.Random, now: datetime) -> Request:
    """Two or three creations of one kind, or the weather of two places."""
    roll = rng.random()
    if roll < 0.3:
        one, two = rng.sample(words.CITY, 2)
        params: dict[str, Any] = {}
        day = times.When("", now.date())
        if rng.random() < 0.4:
            day = _ahead(rng, now)
            params["date"] = day.day.isoformat()
        pattern = rng.choice(("[what's|how's] the weather in {a} and [in |]{b} {w}?", "weather {w} in {a} and {b}", "[compare|check|show me] the [weather|forecast] in {a} and {b} {w}", "how is the weather {w} in {a}, and in {b}?"))
        return finish(rng, phrase(rng, pattern, {"a": one, "b": two, "w": day.text}), *(("getWeather", {"location": city, **params}) for city in (one, two)))
    count = 2 if rng.random() < 0.6 else 3
    todos = [_todo(rng) for _ in range(count)]
    shared = rng.random() < 0.4
    params = {}
    when = ""
    if shared:
        day = _ahead(rng, now)
        params, when = {"dueDate": day.day.isoformat()}, day.text
    if roll < 0.65:
        number = {2: "two", 3: "three"}[count]
        listed = ", ".join(todos[:-1]) + rng.choice((" and ", ", and ", ", ")) + todos[-1]
        pattern = rng.choice((f"[add|create|make] {number} [tasks|to-dos|reminders] {{w}}: {{l}}", f"{number} [new |]tasks {{w}}: {{l}}", f"add these {number} to my to-do list {{w}}: {{l}}", f"i need {number} reminders {{w}}: {{l}}", f"add {{l}} to my to-do list {{w}} as {number} [separate |]tasks"))
    elif roll < 0.8:
        listed = "; ".join(todos)
        pattern = rng.choice(("[add to my list|new tasks|tasks to add|put on my to-do list] {w}: {l}", "remind me {w}: {l}"))
    else:
        calls: list[Call] = []
        parts = []
        for todo in todos:
            moment = times.pick_day(rng, now) if rng.random() < 0.5 else times.pick_moment(rng, now)
            parts.append(f"to {todo} {moment.text}")
            calls.append(("createTask", {"title": todo, "priority": "medium", "dueDate": times.due(now, moment)}))
        return finish(rng, phrase(rng, OPEN + "remind me {l}", {"l": (", ".join(parts[:-1]) + rng.choice((" and ", ", and ")) + parts[-1])}), *calls)
    return finish(rng, phrase(rng, pattern, {"l": listed, "w": when}), *(("createTask", {"title": todo, "priority": "medium", **params}) for todo in todos))


ERRANDS = (
    ("buy {i}", "call {n}"), ("buy {i}", "wash the car"), ("call {n}", "ask about the invoice"), ("clean the kitchen", "take out the trash"), ("pick up {i}", "drop off the package"),
    ("find the receipts", "file them"), ("wash", "dry the dishes"), ("feed", "walk the dog"), ("buy a present", "wrap it"), ("print the form", "sign it"), ("pack lunch", "water bottles"), ("get {i}", "get gas"),
    ("email {n}", "attach the report"), ("check the oven", "lock the door"), ("read the contract", "send it back to {n}"), ("buy {i}", "{i}"), ("order {i}", "{i}"),
)


def lookalike(rng: random.Random, now: datetime) -> Request:
    """One request with an "and" in it: one call."""
    roll = rng.random()
    if roll < 0.36:
        one, two = rng.choice(ERRANDS)
        title = f"{words.fill(rng, one.replace('{n}', words.person(rng)).replace('{i}', rng.choice(words.ITEM)))} and {words.fill(rng, two.replace('{n}', words.person(rng)).replace('{i}', rng.choice(words.ITEM)))}"
        params: dict[str, Any] = {"title": title, "priority": "medium"}
        when = ""
        if rng.random() < 0.6:
            chosen = times.pick_day(rng, now) if rng.random() < 0.5 else times.pick_moment(rng, now)
            when, params["dueDate"] = chosen.text, times.due(now, chosen)
        pattern = rng.choice((OPEN + "remind me to {t} {w}" + CLOSE, OPEN + "remind me {w} to {t}", "[a reminder|one reminder|one task] to {t} {w}", OPEN + "add a task to {t} {w}", "[task|to-do]: {t} {w}", OPEN + "[add|put] {t} [to|on] my to-do list {w}[ as one task|]", "don't let me forget to {t} {w}"))
        return finish(rng, phrase(rng, pattern, {"t": title, "w": when}), ("createTask", params))
    if roll < 0.62:
        names = [words.name(rng) for _ in range(rng.choice((2, 2, 3)))]
        summary = f"{rng.choice(words.EVENT_WITH)} with {', '.join(names[:-1])} and {names[-1]}"
        moment = times.pick_moment(rng, now)
        pattern = rng.choice((OPEN + "[schedule|book|set up|plan] {s} {w}" + CLOSE, OPEN + "[put|add] {s} [on|to] my calendar {w}", "{w} {s}, [put it on my calendar|schedule it]", OPEN + "[put|add] {s} {w} [on|to] [my|the] calendar"))
        return finish(rng, phrase(rng, pattern, {"s": summary, "w": moment.text}), ("createCalendarEvent", {"summary": summary, "startTime": times.stamp(now, moment.day, moment.clock)}))
    if roll < 0.72:  # an event with a place or guests behind "and"
        summary, moment, place = words.event(rng), times.pick_moment(rng, now), dialogues._place(rng)
        guests = [words.address(rng) if rng.random() < 0.4 else words.name(rng) for _ in range(rng.choice((1, 2)))]
        with_guests = rng.random() < 0.5
        params = {"summary": summary, "startTime": times.stamp(now, moment.day, moment.clock)} | ({"attendees": guests} if with_guests else {"location": place.removeprefix("the ")})
        pattern = OPEN + ("[schedule|book|set up] {s} {w} and [invite|add] {g}" if with_guests else "[schedule|book|put on my calendar] {s} {w} and [set the location to|put the location as|make the location] {p}")
        return finish(rng, phrase(rng, pattern, {"s": summary, "w": moment.text, "g": " and ".join(guests), "p": place}), ("createCalendarEvent", params))
    to, extra = words.person(rng), words.address(rng) if rng.random() < 0.4 else words.name(rng)
    if roll < 0.86:
        body = words.message(rng)
        pattern = rng.choice(("[email|write to] {t} and cc {c}: {b}", "send an email to {t} and copy {c}, saying {b}", "email {t} {th} {b} and cc {c}", "[email|mail] {t}, cc {c}, saying {b}", "send {t} an email with {c} in cc that says {b}"))
        return finish(rng, phrase(rng, pattern, {"t": to, "c": extra, "b": body, "th": "that" if body.startswith(CLAUSE_STARTS) else "saying"}), ("sendEmail", {"to": to, "subject": requests._short(body), "body": body, "cc": [extra]}))
    one, two = rng.sample([c for c in words.CLAUSE if "{" not in c and c.startswith(CLAUSE_STARTS)], 2)
    body = f"{one} and {two}"
    pattern = rng.choice(("email {t} that {b}", "send an email to {t} saying {b}", 'email {t} "{b}"', "send {t} an email saying {b}"))
    return finish(rng, phrase(rng, pattern, {"t": to, "b": body}), ("sendEmail", {"to": to, "subject": requests._short(body), "body": body}))


def _doing(rng: random.Random, now: datetime, record: dict[str, Any], ref: str) -> Part:
    """A short request about one task, to stand beside others."""
    key = {"taskId": str(record["id"])}
    roll = rng.random()
    if roll < 0.42:
        return phrase(rng, rng.choice(("mark {r} [as |]done", "complete {r}", "check off {r}", "{r} is done", "i finished {r}", "tick {r} off", "mark {r} as complete")), {"r": ref}, typos=0), ("completeTask", key)
    if roll < 0.68:
        return phrase(rng, "[delete|remove|drop|get rid of] {r}", {"r": ref}, typos=0), ("deleteTask", key)
    if roll < 0.86:
        when = dialogues._target(rng, now, day_share=0.7)
        return phrase(rng, "[move|push|reschedule|postpone] {r} to {w}", {"r": ref, "w": when.text}, typos=0), ("updateTask", {**key, "dueDate": times.due(now, when)})
    level = rng.choice([p for p in ("low", "medium", "high") if p != record.get("priority")])
    return phrase(rng, "[make {r} {v} priority|set {r} to {v} priority]", {"r": ref, "v": level}, typos=0), ("updateTask", {**key, "priority": level})


def _on_list(rng: random.Random, now: datetime) -> Dialogue:
    turns, tasks = dialogues.listing(rng, now, rng.choice((2, 3, 3, 4, 5)))
    if rng.random() < 0.5:
        turns.append(Turn("say", dialogues.list_summary(rng, [t["title"] for t in tasks])))
    order = rng.sample(range(len(tasks)), 2)
    if rng.random() < 0.5:
        order.sort()
    roll = rng.random()
    one, two = (tasks[i] for i in order)
    if roll < 0.2:  # places alone: "delete the first and complete the second"
        verbs = rng.sample((("delete", "deleteTask"), ("complete", "completeTask"), ("remove", "deleteTask"), ("check off", "completeTask"), ("finish", "completeTask"), ("drop", "deleteTask")), 2)
        a, b = (dialogues.ORDINALS[i] for i in order)
        tail = rng.choice((" one", " one", "", " task"))
        text = f"{verbs[0][0]} the {a}{tail} and {verbs[1][0]} the {b}{tail if rng.random() < 0.7 else ''}"
        return turns + act(rng, rng.choice(("", OPEN)) + text, {}, (verbs[0][1], {"taskId": str(one["id"])}), (verbs[1][1], {"taskId": str(two["id"])}))
    parts = [_doing(rng, now, one, dialogues.reference(rng, tasks, order[0], now))]
    if roll < 0.6:
        parts.append(_doing(rng, now, two, dialogues.reference(rng, tasks, order[1], now)))
    else:
        new = rng.choice((lambda: _task_part(rng, now), lambda: _task_part(rng, now), lambda: _mail_part(rng), lambda: _event_part(rng, now)))()
        parts.append(new)
        if roll > 0.9 and new[1][0] != "sendEmail":
            parts.reverse()
    return turns + single(_join(rng, parts))


def _on_created(rng: random.Random, now: datetime) -> Dialogue:
    """Something was made; then a change of it and something new, or two changes of it, which are one call."""
    used: set[str] = set()
    kind = "event" if rng.random() < 0.65 else "task"
    turns, record = dialogues.created(rng, now, kind, used)
    key = str(record["id"])
    title = record["summary"] if kind == "event" else record["title"]
    ref = rng.choice(("it", "it", "that", dialogues.named(rng, title)))
    again = rng.choice(("it", "it", "that")) if ref in ("it", "that") else "it"
    roll = rng.random()
    when = dialogues._target(rng, now, day_share=0.4)
    if kind == "task":
        moved: Part = (f"{rng.choice(('move', 'push', 'change'))} {ref} to {when.text}", ("updateTask", {"taskId": key, "dueDate": times.due(now, when)}))
        if roll < 0.22:
            level = rng.choice([p for p in ("high", "low") if p != record["priority"]])
            return turns + act(rng, rng.choice((OPEN + "move {r} to {w} and make {s} {v} priority", OPEN + "make {r} {v} priority and move {s} to {w}", "{r} should be {v} priority and due {w}")), {"r": ref, "s": again, "v": level, "w": when.text}, ("updateTask", {"taskId": key, "dueDate": times.due(now, when), "priority": level}))
        change: Part = moved if rng.random() < 0.5 else rng.choice(((f"mark {ref} as done", ("completeTask", {"taskId": key})), (f"delete {ref}", ("deleteTask", {"taskId": key}))))
        return turns + single(_join(rng, [change, _task_part(rng, now) if rng.random() < 0.5 else _part(rng, now)]))
    start = datetime.fromisoformat(record["startTime"])
    new = datetime.combine(when.day, when.clock or start.timetz().replace(tzinfo=None), start.tzinfo)
    params: dict[str, Any] = {"eventId": key, "startTime": new.isoformat(timespec="seconds")}
    if "endTime" in record:
        length = datetime.fromisoformat(record["endTime"]) - start
        params["endTime"] = (new + length).isoformat(timespec="seconds")
    shift: Part = (f"{rng.choice(('move', 'move', 'reschedule', 'push', 'change'))} {ref} to {when.text}", ("updateCalendarEvent", params))
    if roll < 0.12:
        summary = words.event(rng)
        named = {"eventId": key, "summary": summary, **{k: v for k, v in params.items() if k != "eventId"}}
        return turns + act(rng, rng.choice((OPEN + "rename {r} to {v} and move {s} to {w}", OPEN + "move {r} to {w} and rename {s} to {v}", "move {r} to {w} and call it {v}")), {"r": ref, "s": again, "v": summary, "w": when.text}, ("updateCalendarEvent", named))
    if roll < 0.24 and not record.get("attendees"):
        guest = words.address(rng) if rng.random() < 0.5 else words.name(rng)
        return turns + act(rng, rng.choice((OPEN + "move {r} to {w} and invite {g}", OPEN + "invite {g} and move {r} to {w}", "move {r} to {w}, and add {g} to [it|the guest list]")), {"r": ref, "w": when.text, "g": guest}, ("updateCalendarEvent", {**params, "attendees": [guest]}))
    if roll < 0.38:
        gone: Part = (f"{rng.choice(('cancel', 'delete', 'remove'))} {ref}", ("deleteCalendarEvent", {"eventId": key}))
        other = _event_part(rng, now) if rng.random() < 0.5 else _mail_part(rng)
        return turns + single(_join(rng, [gone, (other[0] + rng.choice(("", " instead")) if other[1][0] == "createCalendarEvent" else other[0], other[1])]))
    if roll < 0.5:
        before = rng.choice(((1, "[a|one] day before"), (2, "two days before"), (7, "a week before")))
        day = (start - timedelta(days=before[0])).date()
        todo = words.todo(rng)
        if day >= now.date():
            return turns + act(rng, rng.choice((f"remind me {before[1]} to {{t}}", f"add a task to {{t}} {before[1]}", f"and remind me to {{t}} {before[1]} that")), {"t": todo}, ("createTask", {"title": todo, "priority": "medium", "dueDate": day.isoformat()}))
    return turns + single(_join(rng, [shift, _mail_part(rng) if rng.random() < 0.5 else _task_part(rng, now)]))


def refusal(rng: random.Random, now: datetime) -> Dialogue:
    """A conversation whose last message no tool can answer, or that lacks what the tool needs."""
    roll = rng.random()
    if roll < 0.12:
        return plain(*negatives.pointing(rng, now))
    if roll < 0.28:
        return _unclear(rng, now)
    if roll < 0.42:
        return _absent(rng, now)
    turns = dialogues.report(rng, now)
    if rng.random() < 0.25:
        turns = turns[:-1]
    if rng.random() < 0.2:
        turns += dialogues.report(rng, now)
    last = turns[-2].calls[0][0] if turns[-2].calls else next(turn.calls[0][0] for turn in reversed(turns) if turn.calls)
    if roll < 0.54:
        return turns + plain(*negatives.remark(rng, now, last))
    if roll < 0.6 and not any(call[0] not in ("getWeather", "sendEmail") for turn in turns for call in turn.calls):
        return turns + plain(*negatives.pointing(rng, now, pronoun=True))
    if roll < 0.82:
        return turns + plain(*negatives.beyond(rng, now))
    return turns + plain(*negatives.lacking(rng, now, tools={call[0] for turn in turns for call in turn.calls}))


def _unclear(rng: random.Random, now: datetime) -> Dialogue:
    """A list is known, but the words fit two of its tasks or none of its places."""
    turns, tasks = dialogues.listing(rng, now, rng.choice((2, 3, 3, 4)))
    count = len(tasks)
    if rng.random() < 0.45:
        beyond = rng.randrange(count, min(count + 3, 6)) if count < 6 else 5
        word = rng.choice((f"the {dialogues.ORDINALS[beyond]} one", f"number {beyond + 1}", f"task {beyond + 1}", f"the {dialogues.ORDINALS[beyond]} task"))
        said = phrase(rng, rng.choice(("[mark|complete] {r} as done", "[delete|remove] {r}", "{r} is done", "move {r} to {w}", "make {r} high priority")), {"r": word, "w": dialogues._target(rng, now, day_share=1.0).text})
        reply = rng.choice((f"There are only {count} tasks on the list. Which one do you mean?", f"The list has {count} tasks. Which one do you mean?", f"I only see {count} tasks. Which one should it be?"))
        return [*turns, *plain(negatives.typed(rng, said), reply)]
    verb = rng.choice(("call", "email", "pay", "buy", "fix", "clean", "review", "order"))
    objects: dict[str, Callable[[random.Random], str]] = {"call": words.person, "email": words.person, "pay": lambda r: f"the {r.choice(words.BILL)}", "buy": lambda r: words.fill(r, r.choice(words.ITEM)), "order": lambda r: words.fill(r, r.choice(words.ITEM))}
    objects |= {} if verb in objects else {verb: lambda r: f"the {r.choice(words.THING)}"}
    what = objects[verb]
    first = second = ""
    while first == second:
        first, second = f"{verb} {what(rng)}", f"{verb} {what(rng)}"
    one, two = rng.sample(range(count), 2)
    tasks[one]["title"], tasks[two]["title"] = first, second
    turns[-1] = Turn("tool", json.dumps({"tasks": tasks}, ensure_ascii=False))
    noun = {"pay": "payment", "buy": "buying", "order": "order", "fix": "fixing", "clean": "cleaning"}.get(verb, verb)
    said = phrase(rng, rng.choice(("[delete|remove] the {n} [one|task]", "mark the {n} [one|task] [as |]done", "the {n} one is done", "move the {n} [one|task] to {w}", "check off the {n} task")), {"n": noun, "w": dialogues._target(rng, now, day_share=1.0).text})
    one, two = sorted((one, two))
    a, b = tasks[one]["title"], tasks[two]["title"]
    return [*turns, *plain(negatives.typed(rng, said), rng.choice((f"Which one: {a}, or {b}?", f"Do you mean {a} or {b}?", f"There are two: {a} and {b}. Which one?")))]


def _absent(rng: random.Random, now: datetime) -> Dialogue:
    """Something is known from a result, but the words name something else."""
    used: set[str] = set()
    if rng.random() < 0.5:
        turns, tasks = dialogues.listing(rng, now, rng.choice((1, 2, 3, 3)))
        seen = {word for task in tasks for word in re.findall(r"\w+", task["title"].lower())} - dialogues.SMALL
        other = words.todo(rng)
        while seen & (set(re.findall(r"\w+", other.lower())) - dialogues.SMALL):
            other = words.todo(rng)
        said = phrase(rng, rng.choice(('mark "{r}" as done', "mark {r} [as |]done", "delete {r}", "remove {r} from the list", "{r} is done", "move {r} to {w}", "make {r} high priority")), {"r": other, "w": dialogues._target(rng, now, day_share=1.0).text})
        reply = rng.choice(("I don't see that one on the list. Which task do you mean?", "That is not on the list. Which task do you mean?", "I can't find that on your list. Which one is it?"))
        return [*turns, *plain(negatives.typed(rng, said), reply)]
    turns, record = dialogues.created(rng, now, "event", used)
    other = words.event(rng)
    seen = set(re.findall(r"\w+", record["summary"].lower())) - dialogues.SMALL
    while seen & (set(re.findall(r"\w+", other.lower())) - dialogues.SMALL):
        other = words.event(rng)
    said = phrase(rng, rng.choice(("[cancel|delete] [my|the] {e}", "move [my|the] {e} to {w}", "[the|my] {e} is at {p} now, update it", "rename [my|the] {e}", "[invite|add] {n} to [my|the] {e}")), {"e": other.removeprefix("the ").removeprefix("a "), "w": dialogues._target(rng, now, day_share=0.5).text, "p": dialogues._place(rng), "n": words.name(rng)})
    what = record["summary"]
    reply = rng.choice((f"I only know of {what} here. Which event do you mean?", "I don't have that event here. Which one do you mean?", f"I only have {what} from this conversation. Which event should I change?", "I need that event first. Which one is it?"))
    return [*turns, *plain(negatives.typed(rng, said), reply)]
