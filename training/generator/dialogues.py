"""Conversations: requests whose id stands in an earlier result, follow-ups, answers to the assistant's question.

Covers: list or create, then update, complete or delete; events that move; weather follow-ups; missing values supplied.
Does not cover: single requests (requests), plain refusals (negatives).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from training.generator import negatives, requests, times, words
from training.generator import phrasings_manage as manage
from training.generator.grammar import phrase
from training.generator.requests import CLOSE, OPEN, Request, finish

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: ``role`` is user, say (plain assistant text), call (``calls``) or tool (``text`` is JSON)."""

    role: str
    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


Dialogue = list[Turn]


def single(request: Request) -> Dialogue:
    """A request and its calls."""
    return [Turn("user", request.text), Turn("call", calls=request.calls)]


def plain(text: str, reply: str) -> Dialogue:
    """A remark and a plain answer."""
    return [Turn("user", text), Turn("say", reply)]


def task_record(rng: random.Random, now: datetime, used: set[str]) -> dict[str, Any]:
    """A stored task as a back end returns it."""
    due = None
    if rng.random() < 0.6:
        when = times.pick_day(rng, now) if rng.random() < 0.7 else times.pick_moment(rng, now)
        due = times.due(now, when)
    record: dict[str, Any] = {
        "id": _fresh(rng, "task", used),
        "title": words.todo(rng) if rng.random() < 0.85 else words.event(rng),
        "priority": rng.choice(("low", "medium", "medium", "high")),
        "status": "open",
    }
    if rng.random() < 0.6:
        record["title"] = record["title"].lower() if rng.random() < 0.5 else record["title"][:1].upper() + record["title"][1:]
    if due:
        record["dueDate"] = due
    if rng.random() < 0.15:
        del record["status"]
    return record


def event_record(rng: random.Random, now: datetime, request: Request, used: set[str]) -> dict[str, Any]:
    """A stored event as a back end returns it after creation."""
    del now
    return {"id" if rng.random() < 0.85 else "eventId": _fresh(rng, "event", used), **request.calls[0][1]}


def crud(rng: random.Random, now: datetime) -> Dialogue:
    """A change of something that an earlier result shows."""
    return _from_list(rng, now) if rng.random() < 0.58 else _from_created(rng, now)


def _from_list(rng: random.Random, now: datetime) -> Dialogue:
    used: set[str] = set()
    tasks = [task_record(rng, now, used) for _ in range(rng.choice((2, 3, 3, 3, 4, 5)))]
    asked = requests.list_tasks(rng, now)
    turns = single(asked)
    turns.append(Turn("tool", _dump(rng, {"tasks": tasks} if rng.random() < 0.85 else tasks)))
    if rng.random() < 0.55:
        turns.append(Turn("say", list_summary(rng, [t["title"] for t in tasks])))
    if rng.random() < 0.1:
        other, reply = negatives.negative(rng, now)
        turns += plain(other, reply)
    index = rng.randrange(len(tasks))
    rounds = 2 if rng.random() < 0.15 else 1
    for number in range(rounds):
        record = tasks[index]
        if number == 0 and rng.random() < 0.12:
            second = rng.choice([i for i in range(len(tasks)) if i != index])
            turns += _both(rng, tasks, index, second)
        else:
            turns += change_task(rng, now, record, reference(rng, tasks, index))
        if number + 1 < rounds:
            turns.append(Turn("tool", _dump(rng, {"ok": True, "id": record["id"]})))
            if rng.random() < 0.6:
                turns.append(Turn("say", confirmation(rng)))
            index = rng.choice([i for i in range(len(tasks)) if i != index])
    return turns


def _from_created(rng: random.Random, now: datetime) -> Dialogue:
    used: set[str] = set()
    if rng.random() < 0.35:
        request = requests.create_task(rng, now)
        record: dict[str, Any] = {"id" if rng.random() < 0.85 else "taskId": _fresh(rng, "task", used), "title": request.calls[0][1]["title"], "priority": request.calls[0][1]["priority"], "status": "open"}
        if "dueDate" in request.calls[0][1]:
            record["dueDate"] = request.calls[0][1]["dueDate"]
        if rng.random() < 0.3:
            record = {"ok": True, **record}
        turns = [*single(request), Turn("tool", _dump(rng, record))]
        if rng.random() < 0.55:
            turns.append(Turn("say", confirmation(rng, record["title"])))
        if rng.random() < 0.15:
            other, reply = negatives.negative(rng, now)
            turns += plain(other, reply)
        return turns + change_task(rng, now, record | {"id": record.get("id", record.get("taskId"))}, _pronoun(rng, record["title"]))
    request = requests.create_event(rng, now) if rng.random() < 0.8 else requests.contrast(rng, now)[1]
    record = event_record(rng, now, request, used)
    if rng.random() < 0.3:
        record = {"ok": True, **record}
    turns = [*single(request), Turn("tool", _dump(rng, record))]
    if rng.random() < 0.55:
        turns.append(Turn("say", confirmation(rng, record["summary"])))
    if rng.random() < 0.12:
        other, reply = negatives.negative(rng, now)
        turns += plain(other, reply)
    normal = record | {"id": record.get("id", record.get("eventId"))}
    if rng.random() < 0.25:
        extra = requests.create_event(rng, now)
        second = event_record(rng, now, extra, used)
        turns += [*single(extra), Turn("tool", _dump(rng, second))]
        if rng.random() < 0.5:
            turns.append(Turn("say", confirmation(rng, second["summary"])))
        return turns + _change_event(rng, now, normal, named(rng, record["summary"]))
    return turns + _change_event(rng, now, normal, _pronoun(rng, record["summary"]))


def change_task(rng: random.Random, now: datetime, record: dict[str, Any], ref: str) -> Dialogue:
    """A request to complete, delete or change a task that is named by ``ref``, and its call."""
    key = str(record["id"])
    slots = {"r": ref}
    roll = rng.random()
    if roll < 0.33:
        pattern = rng.choice(
            (
                OPEN + "[mark|check off|tick off|cross off|complete|finish|close|check|set] {r}[| as done| as complete| as completed| as finished]" + CLOSE,
                OPEN + "mark {r} [as|] [done|complete|completed|finished]" + CLOSE,
                "[i finished|i did|i've done|done with|i'm done with|i just finished|i completed|finished with|i already did|got done with|i took care of|i've finished|i have done] {r}[|, mark it|, check it off|, you can close it|, tick it off]",
                "{r} [is done|is finished|is complete|has been done|is taken care of|is done now|done]",
                "{r}: [done|finished|complete]",
            )
        )
        pattern = _either(rng, pattern, manage.COMPLETE)
        return single(finish(rng, phrase(rng, pattern, slots), ("completeTask", {"taskId": key})))
    if roll < 0.58:
        pattern = rng.choice(
            (
                OPEN + "[delete|remove|get rid of|erase|drop|cancel|scrap|trash|throw out|take off|clear] {r}[| from the list| from my list| from my tasks]" + CLOSE,
                OPEN + "take {r} off [the|my] list" + CLOSE,
                "[i don't need|i no longer need|forget about|never mind|no need for] {r}[ anymore|][, delete it|, remove it|, drop it|, get rid of it]",
                "{r} [is not needed anymore, delete it|can go|can be deleted|should be removed]",
            )
        )
        pattern = _either(rng, pattern, manage.DELETE)
        return single(finish(rng, phrase(rng, pattern, slots), ("deleteTask", {"taskId": key})))
    params: dict[str, Any] = {"taskId": key}
    field = rng.random()
    if field < 0.4:
        level = rng.choice([p for p in ("low", "medium", "high") if p != record.get("priority")])
        params["priority"] = level
        slots["v"] = level
        pattern = rng.choice(
            (
                OPEN + "[change|set|raise|lower|bump|switch|update] [the|] priority of {r} to {v}" + CLOSE,
                OPEN + "make {r} [{v} priority|a {v} priority task|{v}-priority]" + CLOSE,
                "{r} [should be|is now|needs to be] {v} priority",
                OPEN + "[set|change|bump|move] {r} to {v}[ priority|]" + CLOSE,
                *(("{r} is urgent[ now|], update it", OPEN + "make {r} urgent", "{r} is [really|very] important, change that") if level == "high" else ()),
            )
        )
        pattern = _either(rng, pattern, manage.TASK_URGENT if level == "high" and rng.random() < 0.4 else manage.TASK_PRIORITY)
    elif field < 0.75:
        when = times.pick_day(rng, now) if rng.random() < 0.65 else times.pick_moment(rng, now)
        params["dueDate"] = times.due(now, when)
        slots["w"] = requests._bare(when.text)
        pattern = rng.choice(
            (
                OPEN + "[move|push|postpone|change|shift|reschedule|push back|delay] {r} to {w}" + CLOSE,
                OPEN + "[change|set|move|update|make] the [due date|deadline|date] of {r} [to|to be] {w}" + CLOSE,
                OPEN + "make {r} due {w}" + CLOSE,
                "{r} [is due|has to be done by|should be due|needs to be done by|is due on] {w}[ instead|, update it|]",
                OPEN + "[i need to|let's|can we] [move|push|do] {r} [to|] {w}[ instead|]",
            )
        )
        pattern = _either(rng, pattern, manage.TASK_DATE)
    elif field < 0.92:
        title = words.todo(rng)
        params["title"] = title
        slots["v"] = title
        pattern = rng.choice(
            (
                OPEN + "[rename|change|retitle] {r} to {v}" + CLOSE,
                OPEN + "[change|update] the [title|name|text] of {r} to {v}" + CLOSE,
                OPEN + 'rename {r} to "{v}"' + CLOSE,
                "{r} should [say|read|be called|be] {v}[ instead|]",
                OPEN + "call {r} {v} instead",
            )
        )
        pattern = _either(rng, pattern, manage.TASK_TITLE)
    else:
        note = words.message(rng)
        params["description"] = note
        slots["v"] = note
        pattern = rng.choice((OPEN + '[add|put|attach] [a note|the note|a description|the description] to {r}: {v}', OPEN + 'add "{v}" [as a note|as the description|to the description|as a description] [to|of|for] {r}', OPEN + '[set|change] the description of {r} to "{v}"'))
        pattern = _either(rng, pattern, manage.TASK_NOTE)
    order = ("taskId", "title", "description", "dueDate", "priority")
    return single(finish(rng, phrase(rng, pattern, slots), ("updateTask", requests._ordered(params, order))))


def _change_event(rng: random.Random, now: datetime, record: dict[str, Any], ref: str) -> Dialogue:
    key = str(record["id"])
    slots = {"r": ref}
    roll = rng.random()
    if roll < 0.28:
        pattern = rng.choice(
            (
                OPEN + "[cancel|delete|remove|call off|drop|scrap|get rid of|erase|take off] {r}[| from my calendar| from the calendar]" + CLOSE,
                OPEN + "take {r} off [my|the] calendar" + CLOSE,
                "[i can't make|i won't be at|i'm not going to|forget|never mind] {r}[, cancel it|, delete it|, take it off my calendar|, remove it]",
                "{r} [is off|is cancelled|got cancelled|was called off|is not happening][, remove it|, delete it|, take it off the calendar]",
            )
        )
        pattern = _either(rng, pattern, manage.EVENT_DELETE)
        return single(finish(rng, phrase(rng, pattern, slots), ("deleteCalendarEvent", {"eventId": key})))
    params: dict[str, Any] = {"eventId": key}
    start = datetime.fromisoformat(record["startTime"])
    end = datetime.fromisoformat(record["endTime"]) if "endTime" in record else None
    field = rng.random()
    if field < 0.38:
        shift, text = rng.choice(
            (
                (timedelta(hours=-1), "[an|one|1] hour earlier"), (timedelta(hours=1), "[an|one|1] hour later"), (timedelta(minutes=-30), "[half an hour|30 minutes|thirty minutes] earlier"),
                (timedelta(minutes=30), "[half an hour|30 minutes|thirty minutes] later"), (timedelta(hours=2), "[two|2] hours later"), (timedelta(hours=-2), "[two|2] hours earlier"),
                (timedelta(days=1), "[a|one] day later"), (timedelta(minutes=15), "[15|fifteen] minutes later"), (timedelta(minutes=-15), "[15|fifteen] minutes earlier"), (timedelta(days=7), "[a|one] week later"),
                (timedelta(days=-1), "[a|one] day earlier"),
            )
        )
        moved = start + shift
        params["startTime"] = moved.isoformat(timespec="seconds")
        if end:
            params["endTime"] = (end + shift).isoformat(timespec="seconds")
        back = "[push|move|shift|push back]" if shift > timedelta(0) else "[pull|move|shift|bring forward]"
        pattern = rng.choice((OPEN + f"[make|move|start|put|schedule|shift|have] {{r}} {text}" + CLOSE, OPEN + f"{back} {{r}} [by|] {text}" + CLOSE, f"{{r}} [needs to be|should be|should start|has to start|starts] {text}", f"[can we|let's|could you] [do|make|have|move] {{r}} {text}"))
        if rng.random() < 0.5:
            pattern, slots["v"] = rng.choice(manage.EVENT_SHIFT), phrase(rng, text, {}, typos=0)
    elif field < 0.68:
        how = rng.random()
        if how < 0.4:
            text, clock = times.pick_clock(rng, now)
            new = datetime.combine(start.date(), clock, start.tzinfo)
            said = text.removeprefix("at ")
        else:
            when = times.pick_day(rng, now) if how < 0.75 else times.pick_moment(rng, now)
            new = datetime.combine(when.day, when.clock or start.timetz().replace(tzinfo=None), start.tzinfo)
            said = requests._bare(when.text)
        params["startTime"] = new.isoformat(timespec="seconds")
        if end:
            params["endTime"] = (new + (end - start)).isoformat(timespec="seconds")
        slots["w"] = said
        pattern = rng.choice(
            (
                OPEN + "[move|reschedule|shift|change|push|postpone] {r} to {w}" + CLOSE,
                "[actually|wait|hmm|sorry|oh][,|] [make|move] {r} [to|] {w}[ instead|]",
                OPEN + "[change|set|update] the [start time|start|time] of {r} to {w}" + CLOSE if how < 0.4 else OPEN + "[change|update] {r} to {w}" + CLOSE,
                "{r} [is now|will be|should be|got moved to|has been moved to|is moved to] {w}[, update it|, please change it|, fix the calendar|]",
                "[can we|let's|could we] [do|have|move] {r} [to|] {w} instead",
            )
        )
        pattern = _either(rng, pattern, manage.EVENT_TIME)
    elif field < 0.84:
        place = words.fill(rng, rng.choice(words.PLACE)) if rng.random() < 0.7 else f"{words.rare(rng)} {rng.choice(('hall', 'cafe', 'street', 'room', 'center'))}"
        params["location"] = place.removeprefix("the ")
        slots["v"] = place
        pattern = rng.choice((OPEN + "[change|set|update|move] the [location|place|venue] of {r} to {v}" + CLOSE, OPEN + "move {r} to {v}" + CLOSE, "{r} [is at|will be at|takes place at|is going to be at] {v}[, add that|, put that in|, add the location]", OPEN + "[add|set] {v} as the [location|place|venue] [of|for] {r}", "it's at {v}[, add that to {r}|, put that in {r}|]"))
        pattern = _either(rng, pattern, manage.EVENT_PLACE)
    elif field < 0.93:
        summary = words.event(rng)
        params["summary"] = summary
        slots["v"] = summary
        pattern = rng.choice((OPEN + "[rename|retitle|change the title of|change the name of] {r} to {v}" + CLOSE, "{r} should be called {v}", OPEN + 'rename {r} to "{v}"'))
        pattern = _either(rng, pattern, manage.EVENT_TITLE)
    else:
        guests = [words.address(rng) if rng.random() < 0.5 else words.name(rng) for _ in range(rng.choice((1, 1, 2)))]
        params["attendees"] = [*record.get("attendees", []), *guests]
        slots["v"] = " and ".join(guests)
        pattern = rng.choice((OPEN + "[invite|add] {v} to {r}" + CLOSE, "{v} [should come|is coming|will join] too, [add them to|invite them to] {r}"))
        pattern = _either(rng, pattern, manage.EVENT_INVITE)
    order = ("eventId", "summary", "startTime", "endTime", "location", "description", "attendees")
    return single(finish(rng, phrase(rng, pattern, slots), ("updateCalendarEvent", requests._ordered(params, order))))


def _both(rng: random.Random, tasks: list[dict[str, Any]], one: int, two: int) -> Dialogue:
    tool, pattern = rng.choice(
        (
            ("completeTask", OPEN + "[mark|check off|complete|tick off] {a} and {b}[ as done|]"),
            ("completeTask", "[i finished|i did|done with|i've done] {a} and {b}"),
            ("deleteTask", OPEN + "[delete|remove|drop|get rid of] {a} and {b}"),
        )
    )
    slots = {"a": reference(rng, tasks, one), "b": reference(rng, tasks, two)}
    calls = tuple((tool, {"taskId": str(tasks[i]["id"])}) for i in (one, two))
    return single(finish(rng, phrase(rng, pattern, slots), *calls))


def follow_up(rng: random.Random, now: datetime) -> Dialogue:
    """A second request that leans on the first, or the answer to a question of the assistant."""
    roll = rng.random()
    if roll < 0.2:
        first = requests.get_weather(rng, now)
        turns = [*single(first), Turn("tool", _dump(rng, _weather(rng, first.calls[0][1], now)))]
        if rng.random() < 0.8:
            turns.append(Turn("say", weather_summary(rng, turns[-1].text)))
        params = dict(first.calls[0][1])
        if rng.random() < 0.5:
            day = times.pick_day(rng, now)
            if day.day > now.date():
                params["date"] = day.day.isoformat()
            else:
                params.pop("date", None)
            pattern, slots = rng.choice(("[and|what about|how about|and what about] {v}?", "[and|] {v}?", *manage.MORE_WEATHER_DAY)), {"v": day.text}
        else:
            place = words.city(rng)
            params["location"] = place
            pattern, slots = rng.choice(("[and|what about|how about|and] in {v}?", "[and|] {v}?", "[same for|and for|now for] {v}[ please|]", *manage.MORE_WEATHER_PLACE)), {"v": place}
        request = finish(rng, phrase(rng, pattern, slots), ("getWeather", requests._ordered(params, ("location", "date", "units"))))
        return turns + single(request)
    if roll < 0.45:
        summary = words.event(rng)
        when = times.pick_moment(rng, now) if rng.random() < 0.7 else times.When("tomorrow", now.date() + timedelta(1))
        ask = rng.choice(("What day and time should I use?", "When should it be?", "For which day and time?", "When is it?"))
        asked = finish(rng, phrase(rng, rng.choice((OPEN + "[schedule|book|set up|add] {e}[| on my calendar| in my calendar]", OPEN + "[add|put] {e} [to|on] my calendar", *manage.ASK_EVENT)), {"e": summary}), ("createCalendarEvent", {"summary": summary}))
        answer = finish(rng, phrase(rng, rng.choice(("{w}", "[make it|let's say|how about|it's|it is|say] {w}", "{w}[ please|]", *manage.ANSWER_WHEN)), {"w": when.text}))
        params = {"summary": asked.calls[0][1]["summary"], "startTime": times.stamp(now, when.day, when.clock)}
        return [Turn("user", asked.text), Turn("say", ask), Turn("user", answer.text), Turn("call", calls=(("createCalendarEvent", params),))]
    if roll < 0.62:
        to = words.address(rng) if rng.random() < 0.4 else words.person(rng)
        body = words.message(rng)
        asked = finish(rng, phrase(rng, rng.choice((OPEN + "[send|write] [an email|a mail|email] to {t}" + CLOSE, OPEN + "email {t}" + CLOSE, *manage.ASK_MAIL)), {"t": to}), ("sendEmail", {"to": to}))
        said = finish(rng, phrase(rng, rng.choice(("[say|tell them|write|just say|say that|:|] {b}", "{b}", *manage.ANSWER_BODY)), {"b": body}), ("sendEmail", {"body": body}))
        text = said.calls[0][1]["body"]
        params = {"to": asked.calls[0][1]["to"], "subject": requests._short(text), "body": text}
        return [Turn("user", asked.text), Turn("say", rng.choice(("What should the e-mail say?", "What should I write?", "What would you like to say?"))), Turn("user", said.text), Turn("call", calls=(("sendEmail", params),))]
    if roll < 0.74:
        todo = words.todo(rng)
        asked = finish(rng, phrase(rng, rng.choice((OPEN + "[add|create|make|set] a [task|reminder|to-do|new task|new reminder]" + CLOSE, "i need a reminder", OPEN + "[add|put] something [to|on] my to-do list", *manage.ASK_TASK)), {}))
        said = finish(rng, phrase(rng, rng.choice(("{t}", "[to|it's to] {t}", *manage.ANSWER_TASK)), {"t": todo}), ("createTask", {"title": todo, "priority": "medium"}))
        return [Turn("user", asked.text), Turn("say", rng.choice(("What should I add?", "What is the task?", "What should I remind you of?"))), Turn("user", said.text), Turn("call", calls=said.calls)]
    maker = requests.SINGLE[rng.choice(tuple(requests.SINGLE))]
    first = maker(rng, now)
    turns = [*single(first), Turn("tool", result_of(rng, now, first.calls[0]))]
    if rng.random() < 0.7:
        turns.append(Turn("say", confirmation(rng)))
    if rng.random() < 0.45:
        text, reply = negatives.acknowledgement(rng, now) if rng.random() < 0.6 else negatives.negative(rng, now)
        return turns + plain(text, reply)
    return turns + single(requests.SINGLE[rng.choice(tuple(requests.SINGLE))](rng, now))


def result_of(rng: random.Random, now: datetime, call: tuple[str, dict[str, Any]]) -> str:
    """What the tool answers to a call, as JSON text."""
    tool, params = call
    used: set[str] = set()
    if tool == "createTask":
        return _dump(rng, {"id": _fresh(rng, "task", used), **params, "status": "open"})
    if tool == "listTasks":
        return _dump(rng, {"tasks": [task_record(rng, now, used) for _ in range(rng.randint(0, 3))]})
    if tool == "createCalendarEvent":
        return _dump(rng, {"id": _fresh(rng, "event", used), **params})
    if tool == "getWeather":
        return _dump(rng, _weather(rng, params, now))
    return _dump(rng, {"ok": True, "messageId": f"m{rng.randint(1, 9999)}"})


def list_summary(rng: random.Random, titles: list[str]) -> str:
    """A list of tasks in plain words."""
    if not titles:
        return "There is nothing on your list."
    style = rng.random()
    if style < 0.4:
        return f"You have {len(titles)} tasks: {', '.join(titles)}."
    if style < 0.7:
        return "Here is your list:\n" + "\n".join(f"{i}. {title}" for i, title in enumerate(titles, 1))
    return f"On your list: {'; '.join(titles)}."


def confirmation(rng: random.Random, what: str = "") -> str:
    """A short word that an action is done; only ever after a tool's result."""
    if what and rng.random() < 0.5:
        return rng.choice((f"Done: {what}.", f"Saved: {what}.", f"I've added {what}.", f"{what} is saved."))
    return rng.choice(("Done.", "All set.", "Saved.", "It's done.", "OK, done.", "Sure, that's done.", "Got it."))


def weather_summary(rng: random.Random, result: str) -> str:
    """A weather result in plain words."""
    data = json.loads(result)
    place = f" in {data['location']}" if data.get("location") not in (None, "here") else ""
    return rng.choice((f"It will be {data['summary']}{place}, up to {data['high']} degrees.", f"Expect {data['summary']}{place}, {data['low']} to {data['high']} degrees.", f"{data['summary'].capitalize()}{place}, high {data['high']}, low {data['low']}."))


def report(rng: random.Random, now: datetime) -> Dialogue:
    """A request, its result, and the plain sentence that tells the person about it."""
    makers: tuple[Callable[[random.Random, datetime], Request], ...] = tuple(requests.SINGLE.values())
    request = rng.choice(makers)(rng, now)
    call = request.calls[0]
    result = result_of(rng, now, call)
    turns = [*single(request), Turn("tool", result)]
    if call[0] == "getWeather":
        return [*turns, Turn("say", weather_summary(rng, result))]
    if call[0] == "listTasks":
        return [*turns, Turn("say", list_summary(rng, [t["title"] for t in json.loads(result)["tasks"]]))]
    return [*turns, Turn("say", confirmation(rng))]


def _weather(rng: random.Random, params: dict[str, Any], now: datetime) -> dict[str, Any]:
    high = rng.randint(-5, 35)
    return {
        "location": params.get("location", "here"),
        "date": params.get("date", now.date().isoformat()),
        "summary": rng.choice(("sunny", "light rain", "cloudy", "snow", "clear sky", "fog", "thunderstorms", "strong wind", "showers")),
        "high": high,
        "low": high - rng.randint(3, 12),
    }


def reference(rng: random.Random, tasks: list[dict[str, Any]], index: int) -> str:
    """How a person names one of several tasks: by place, by a property, by its title or words of it."""
    record = tasks[index]
    title = record["title"]
    roll = rng.random()
    if roll < 0.3:
        word = ORDINALS[index] if index + 1 < len(tasks) or rng.random() < 0.5 else "last"
        return rng.choice((f"the {word} one", f"the {word} one", f"the {word} task", f"number {index + 1}", f"{word} one", f"task number {index + 1}", f"the {word} item"))
    if roll < 0.36:
        same = [t for t in tasks if t.get("priority") == record.get("priority")]
        if len(same) == 1:
            return f"the {record['priority']} priority {rng.choice(('one', 'task'))}"
    if roll < 0.42 and "dueDate" in record:
        day = record["dueDate"][:10]
        if sum(1 for t in tasks if t.get("dueDate", "")[:10] == day) == 1:
            date = datetime.fromisoformat(day)
            return f"the one due {rng.choice((f'{times.MONTHS[date.month - 1]} {date.day}', f'on {times.MONTHS[date.month - 1]} {times.ordinal(date.day)}'))}"
    return named(rng, title)


def named(rng: random.Random, title: str) -> str:
    """A thing by its title, or by some words of it."""
    parts = title.split()
    roll = rng.random()
    if roll < 0.35 or len(parts) < 2:
        return rng.choice((title, f'"{title}"', f"the {title} one" if len(parts) < 4 else title))
    nouns = [p for p in parts[1:] if p.lower() not in ("the", "my", "a", "with", "for", "to", "from", "about", "and", "of", "up", "on", "in", "off", "out")]
    short = " ".join(nouns[-2:]) if nouns and rng.random() < 0.6 else (nouns or parts)[-1]
    return rng.choice((f"the {short} one", f"the {short} task", f"the {short}", f"the {short} thing", title))


def _pronoun(rng: random.Random, title: str) -> str:
    return rng.choice(("it", "it", "it", "that", "that", "this", "that one", named(rng, title)))


def _either(rng: random.Random, pattern: str, others: tuple[str, ...]) -> str:
    """The pattern, or one of a larger stock."""
    return pattern if rng.random() < 0.45 else rng.choice(others)


def _fresh(rng: random.Random, kind: str, used: set[str]) -> str:
    while (key := words.identifier(rng, kind)) in used:
        pass
    used.add(key)
    return key


def _dump(rng: random.Random, value: Any) -> str:
    separators = (", ", ": ") if rng.random() < 0.7 else (",", ":")
    return json.dumps(value, ensure_ascii=False, separators=separators)
