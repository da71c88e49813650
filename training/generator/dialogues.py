"""Conversations: requests whose id stands in an earlier result, follow-ups, answers to the assistant's question.

Covers: list or create, then update, complete or delete; events that move; weather follow-ups; missing values supplied.
Does not cover: single requests (requests), plain refusals (negatives), several requests at once (mixed).
"""

from __future__ import annotations

import json
import random
import re
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


def crud(rng: random.Random, now: datetime) -> Dialogue:
    """A change of something that an earlier result shows."""
    roll = rng.random()
    if roll < 0.37:
        return _from_list(rng, now)
    if roll < 0.51:
        return _from_created_tasks(rng, now)
    if roll < 0.88:
        return _from_created_events(rng, now)
    return _from_both(rng, now)


def listing(rng: random.Random, now: datetime, count: int) -> tuple[Dialogue, list[dict[str, Any]]]:
    """A look at the open tasks and its result: the turns, and the tasks."""
    used: set[str] = set()
    while True:  # what was asked for has to fit the open tasks that come back
        asked = requests.list_tasks(rng, now)
        params = asked.calls[0][1]
        if params.get("status") in ("open", "all") and "dueBefore" not in params:
            break
    tasks = [task_record(rng, now, used) for _ in range(count)]
    for task in tasks:
        task["priority"] = params.get("priority", task["priority"])
    turns = [*single(asked), Turn("tool", _dump(rng, {"tasks": tasks} if rng.random() < 0.85 else tasks))]
    return turns, tasks


def created(rng: random.Random, now: datetime, kind: str, used: set[str]) -> tuple[Dialogue, dict[str, Any]]:
    """A new task or event and its result: the turns, and the record, whose id stands under ``id``."""
    if kind == "task":
        request = requests.create_task(rng, now)
    else:
        request = requests.create_event(rng, now) if rng.random() < 0.8 else requests.contrast(rng, now)[1]
    fields = dict(request.calls[0][1]) | ({"status": "open"} if kind == "task" and rng.random() < 0.8 else {})
    key = _fresh(rng, kind, used)
    shown = {"id" if rng.random() < 0.85 else f"{kind}Id": key, **fields}
    turns = [*single(request), Turn("tool", _dump(rng, {"ok": True, **shown} if rng.random() < 0.25 else shown))]
    if rng.random() < 0.5:
        turns.append(Turn("say", confirmation(rng, fields.get("title") or fields["summary"])))
    return turns, {"id": key, **fields}


def _aside(rng: random.Random, now: datetime, share: float) -> Dialogue:
    return plain(*negatives.negative(rng, now)) if rng.random() < share else []


def _from_list(rng: random.Random, now: datetime) -> Dialogue:
    turns, tasks = listing(rng, now, rng.choice((1, 2, 3, 3, 3, 4, 4, 5, 6)))
    pointed = _pointed(rng, tasks) if rng.random() < 0.18 else None
    if pointed:
        index, said = pointed
        return [*turns, *said, *change_task(rng, now, tasks[index], rng.choice(("it", "it", "that", "that one", "this one")))]
    if rng.random() < 0.5:
        turns.append(Turn("say", list_summary(rng, [t["title"] for t in tasks])))
    turns += _aside(rng, now, 0.08)
    index = rng.randrange(len(tasks))
    rounds = 2 if len(tasks) > 3 and rng.random() < 0.2 else 1
    for number in range(rounds):
        record = tasks[index]
        if number == 0 and len(tasks) > 1 and rng.random() < 0.16:
            turns += _several(rng, now, tasks, index)
        else:
            turns += change_task(rng, now, record, reference(rng, tasks, index, now))
        if number + 1 < rounds:
            turns += [Turn("tool", _dump(rng, {"ok": True, "id": call[1]["taskId"]})) for call in turns[-1].calls]
            if rng.random() < 0.6:
                turns.append(Turn("say", confirmation(rng)))
            touched = {call[1]["taskId"] for turn in turns for call in turn.calls if "taskId" in call[1]}
            left = [i for i, task in enumerate(tasks) if task["id"] not in touched]
            index = rng.choice(left)
            # Places in a list that has changed would be read in two ways: a name stays clear.
            return turns + change_task(rng, now, tasks[index], named(rng, tasks[index]["title"], [t["title"] for t in tasks]))
    return turns


def _pointed(rng: random.Random, tasks: list[dict[str, Any]]) -> tuple[int, Dialogue] | None:
    """The assistant names one task of the list, unasked or asked: its place and the turns."""
    if len(tasks) == 1:
        title = tasks[0]["title"]
        return 0, [Turn("say", rng.choice((f"You have one task: {title}.", f"Just one: {title}.", f"Only {title}.")))]
    high = [i for i, task in enumerate(tasks) if task["priority"] == "high"]
    dated = [i for i, task in enumerate(tasks) if "dueDate" in task]
    days = sorted(tasks[i]["dueDate"][:10] for i in dated)
    if len(high) == 1 and rng.random() < 0.5:
        title = tasks[high[0]]["title"]
        if rng.random() < 0.5:
            return high[0], [Turn("say", rng.choice((f"The only high priority one is {title}.", f"You have {len(tasks)} tasks; {title} is high priority.")))]
        return high[0], plain(rng.choice(("which one is the most important?", "which of these is high priority", "What's the most urgent one?", "anything urgent in there?")), rng.choice((f"{title}.", f"{title} is high priority.", f"That would be {title}.")))
    if len(days) > 1 and days[0] < days[1]:
        index = next(i for i in dated if tasks[i]["dueDate"][:10] == days[0])
        title = tasks[index]["title"]
        if rng.random() < 0.5:
            return index, [Turn("say", rng.choice((f"You have {len(tasks)} tasks. The next one due is {title}.", f"{title} is due first.", f"First up is {title}.")))]
        return index, plain(rng.choice(("which one is due first?", "what's due first", "which comes first?", "Which has the earliest due date?")), rng.choice((f"{title}.", f"{title} is due first.", f"First is {title}.")))
    return None


def _from_created_tasks(rng: random.Random, now: datetime) -> Dialogue:
    used: set[str] = set()
    turns: Dialogue = []
    tasks = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        more, record = created(rng, now, "task", used)
        turns += more
        tasks.append(record)
    turns += _aside(rng, now, 0.1)
    index = rng.randrange(len(tasks))
    last = index == len(tasks) - 1
    if last and rng.random() < (0.75 if len(tasks) == 1 else 0.4):
        ref = _pronoun(rng, tasks[-1]["title"], [t["title"] for t in tasks])
    else:
        ref = named(rng, tasks[index]["title"], [t["title"] for t in tasks])
    turns += change_task(rng, now, tasks[index], ref)
    return _and_again(rng, now, turns, tasks[index]) if rng.random() < 0.15 else turns


def _from_created_events(rng: random.Random, now: datetime) -> Dialogue:
    used: set[str] = set()
    turns: Dialogue = []
    events = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        more, record = created(rng, now, "event", used)
        turns += more
        events.append(record)
    turns += _aside(rng, now, 0.1)
    index = rng.randrange(len(events))
    last = index == len(events) - 1
    if len(events) > 1 and rng.random() < 0.07:
        other = rng.choice([i for i in range(len(events)) if i != index])
        refs = {"a": event_reference(rng, now, events, index), "b": event_reference(rng, now, events, other)}
        pattern = rng.choice((OPEN + "[cancel|delete|remove] {a} and {b}", "[cancel|delete] {a}, and {b} too", "{a} and {b} are both off, [cancel them|delete them]")) if len(events) > 2 or rng.random() < 0.6 else OPEN + "[cancel|delete|remove] [both|both of them|both events|the two of them]" + CLOSE
        pair = (index, other) if "{a}" in pattern else (0, 1)
        return turns + act(rng, pattern, refs, *(("deleteCalendarEvent", {"eventId": events[i]["id"]}) for i in pair))
    if last and rng.random() < (0.7 if len(events) == 1 else 0.35):
        ref = _pronoun(rng, events[-1]["summary"], [e["summary"] for e in events])
    else:
        ref = event_reference(rng, now, events, index)
    turns += change_event(rng, now, events[index], ref)
    return _and_again(rng, now, turns, events[index]) if rng.random() < 0.18 else turns


def _from_both(rng: random.Random, now: datetime) -> Dialogue:
    used: set[str] = set()
    turns: Dialogue = []
    records: dict[str, dict[str, Any]] = {}
    kinds = ["task", "event"]
    rng.shuffle(kinds)
    for kind in kinds:
        more, records[kind] = created(rng, now, kind, used)
        turns += more
    turns += _aside(rng, now, 0.06)
    kind = rng.choice(kinds)
    titles = [records["task"]["title"], records["event"]["summary"]]
    own = titles[kind == "event"]
    if rng.random() < 0.3:
        ref = rng.choice(("the task", "the to-do", "the reminder", "that task")) if kind == "task" else rng.choice(("the event", "the calendar event", "that event", "the calendar entry"))
    elif kind == kinds[-1] and rng.random() < 0.3:
        ref = rng.choice(("it", "that", "the last one"))
    else:
        ref = named(rng, own, titles)
    return turns + (change_task if kind == "task" else change_event)(rng, now, records[kind], ref)


def _and_again(rng: random.Random, now: datetime, turns: Dialogue, record: dict[str, Any]) -> Dialogue:
    """One more change of the same thing, on top of the change that the last call made."""
    tool, params = turns[-1].calls[0]
    if not tool.startswith("update"):
        return turns
    changed = record | {k: v for k, v in params.items() if k not in ("taskId", "eventId")}
    start, end = changed.get("startTime"), changed.get("endTime")
    if start and end and end <= start:
        return turns
    turns = [*turns, Turn("tool", _dump(rng, changed if rng.random() < 0.7 else {"ok": True, "id": changed["id"]}))]
    if rng.random() < 0.6:
        turns.append(Turn("say", rng.choice(("Done.", "Updated.", "Changed.", "OK, it's changed.", "It's updated."))))
    again = change_task if tool == "updateTask" else change_event
    return turns + again(rng, now, changed, rng.choice(("it", "it", "that", "that one")))


APART = re.compile(r"\b(check|tick|cross|take|call|push|put|throw|drop|bring|pull|set|strike|close|mark) (off|back|forward|out|down) (it|that|this)\b(?! (?:one|task|event))", re.IGNORECASE)


def act(rng: random.Random, pattern: str, slots: dict[str, str], *calls: tuple[str, dict[str, Any]]) -> Dialogue:
    """A phrasing, filled, and its calls; a pronoun stands between verb and particle ("check it off")."""
    return single(finish(rng, APART.sub(r"\1 \3 \2", phrase(rng, pattern, slots)), *calls))


SAID_OF_SELF = re.compile(r"\[?(i|i'm|i've|i'd|did|done|already|finished|just|no longer|someone else)\b", re.IGNORECASE)
PAST = {
    "call": "called", "phone": "phoned", "text": "texted", "email": "emailed", "message": "messaged", "visit": "visited", "thank": "thanked", "ask": "asked",
    "pay": "paid", "buy": "bought", "get": "got", "pick up": "picked up", "order": "ordered", "purchase": "purchased", "clean": "cleaned", "fix": "fixed",
    "finish": "finished", "check": "checked", "review": "reviewed", "submit": "submitted", "print": "printed", "update": "updated", "wash": "washed",
    "return": "returned", "send": "sent", "sign": "signed", "renew": "renewed", "organize": "organized", "paint": "painted", "repair": "repaired",
    "replace": "replaced", "water": "watered", "pack": "packed", "file": "filed", "write": "wrote", "book": "booked", "confirm": "confirmed",
    "talk to": "talked to", "drop off": "dropped off", "feed": "fed", "walk": "walked", "vacuum": "vacuumed", "mow": "mowed", "test": "tested",
    "upload": "uploaded", "measure": "measured", "collect": "collected", "edit": "edited", "meet": "met", "grab": "grabbed", "tell": "told",
}


def past(title: str) -> str | None:
    """What a person says who has done it: "call mom" gives "called mom"; None where the verb is not known."""
    text = title[:1].lower() + title[1:]
    return next((f"{done}{text[len(verb):]}" for verb, done in PAST.items() if text.startswith(f"{verb} ")), None)


def done_words(rng: random.Random, title: str) -> tuple[str, str]:
    """A statement that something is done, as (pattern, words for its slot {p})."""
    did = past(title)
    if did and rng.random() < 0.8:
        return rng.choice(("i [already|just|] {p}", "[already|just] {p}", "i've [already|just|] {p}" if did.split()[0].endswith("ed") else "i {p} [today|this morning|yesterday]", "i {p}[, so that's done|, check it off|, you can tick that|]", "{p}[, done|, finally| this morning| just now]")), did
    return rng.choice(("i managed to {p}", "finally got to {p}", "i was able to {p}[ today| this morning|]")), title[:1].lower() + title[1:]


def change_task(rng: random.Random, now: datetime, record: dict[str, Any], ref: str) -> Dialogue:
    """A request to complete, delete or change a task that is named by ``ref``, and its call."""
    key = str(record["id"])
    slots = {"r": ref}
    whole = ref.strip('"').lower() == record["title"].lower()  # "did call mom" is said by nobody
    verb = record["title"][:1].lower() + record["title"][1:]
    roll = rng.random()
    if roll < 0.3:
        pattern = rng.choice(
            (
                OPEN + "[mark|complete|finish|close|check|set] {r}[| as done| as complete| as completed| as finished]" + CLOSE,
                OPEN + "mark {r} [as|] [done|complete|completed|finished]" + CLOSE,
                OPEN + "[check|tick|cross] {r} off[| my list| the list]" + CLOSE,
                "[i finished|i did|i've done|done with|i'm done with|i just finished|i completed|finished with|i already did|got done with|i took care of|i've finished|i have done] {r}[|, mark it|, check it off|, you can close it|, tick it off]",
                "{r} [is done|is finished|is complete|has been done|is taken care of|is done now|done]",
                "{r}: [done|finished|complete]",
                "did {r} [already|this morning|yesterday|just now]",
                "{r} is [out of the way|off my plate|behind me|wrapped up|sorted]",
                "[already|just] did {r}",
            )
        )
        pattern = _either(rng, pattern, manage.COMPLETE)
        if (whole and (SAID_OF_SELF.match(pattern) or rng.random() < 0.3)) or rng.random() < 0.08:
            pattern, slots["p"] = done_words(rng, record["title"])
        return act(rng, pattern, slots, ("completeTask", {"taskId": key}))
    if roll < 0.52:
        pattern = rng.choice(
            (
                OPEN + "[delete|remove|get rid of|erase|drop|cancel|scrap|trash|clear] {r}[| from the list| from my list| from my tasks]" + CLOSE,
                OPEN + "take {r} off [the|my] list" + CLOSE,
                "[i don't need|i no longer need|forget about|never mind|no need for] {r}[ anymore|][, delete it|, remove it|, drop it|, get rid of it]",
                "{r} [is not needed anymore, delete it|can go|can be deleted|should be removed]",
                "[no longer need|don't need] {r}[ anymore|, take it off|, you can delete it]",
                "{r} [doesn't need to be done anymore|isn't necessary anymore|got dropped], [delete it|remove it|take it off]",
                "{r} [can be removed|can come off the list]",
                "[someone else is doing|somebody else took over] {r}, [delete it|take it off my list|remove it]",
            )
        )
        pattern = _either(rng, pattern, manage.DELETE)
        if whole and SAID_OF_SELF.match(pattern):
            slots["p"] = verb
            pattern = rng.choice(("[i no longer|no longer|i don't|don't] need to {p}[ anymore|, delete it|, take it off the list|]", "[i don't have to|i'm not going to|i won't] {p} [anymore|after all], [delete it|remove it|take it off my list]"))
        return act(rng, pattern, slots, ("deleteTask", {"taskId": key}))
    params: dict[str, Any] = {"taskId": key}
    field = rng.random()
    due = record.get("dueDate")
    if field < 0.26:
        level = rng.choice([p for p in ("low", "medium", "high") if p != record.get("priority")])
        params["priority"] = level
        slots["v"] = level
        pattern = rng.choice(
            (
                OPEN + "[change|set|raise|lower|bump|switch|update] [the|] priority of {r} to {v}" + CLOSE,
                OPEN + "make {r} [{v} priority|a {v} priority task|{v}-priority]" + CLOSE,
                "{r} [should be|is now|needs to be] {v} priority",
                OPEN + "[set|change|bump|move] {r} to {v} priority" + CLOSE,
                *(("{r} is urgent[ now|], update it", OPEN + "make {r} urgent", "{r} is [really|very] important, change that", "{r} [just became|has become|turned] urgent") if level == "high" else ()),
                *(("{r} [can wait|isn't urgent|is not important], make it low priority", "no rush with {r}, [set it to low|lower the priority]") if level == "low" else ()),
            )
        )
        if level == "low" and "raise" in pattern:
            pattern = pattern.replace("raise|", "")
        elif level == "high" and "lower|" in pattern:
            pattern = pattern.replace("lower|", "")
        pattern = _either(rng, pattern, manage.TASK_URGENT if level == "high" and rng.random() < 0.4 else manage.TASK_PRIORITY)
    elif field < 0.34 and due and "T" in due:  # the day stays
        old = datetime.fromisoformat(due)
        new = old
        while new == old:
            text, clock = times.pick_clock(rng, now)
            new = datetime.combine(old.date(), clock, old.tzinfo)
        params["dueDate"] = new.isoformat(timespec="seconds")
        slots["w"] = text.removeprefix("at ").removeprefix("in ")
        pattern = rng.choice((OPEN + "[move|change|push] {r} to {w}[, same day| that day| instead|]" + CLOSE, "[change|set|move] the time of {r} to {w}", "[actually|sorry,|wait,] {r} is due at {w}" if text.startswith("at ") else "move {r} to {w} instead", "[make it|let's say] {w}, not " + _clock_words(rng, old, spoken=False) + ", for {r}"))
    elif field < 0.5 and due:
        pattern, params["dueDate"] = _shifted_due(rng, due, now)
    elif field < 0.8:
        when = _target(rng, now, day_share=0.5)
        params["dueDate"] = times.due(now, when)
        slots["w"] = when.text
        pattern = rng.choice(
            (
                OPEN + "[move|push|postpone|change|shift|reschedule|delay] {r} to {w}" + CLOSE,
                OPEN + "[change|set|move|update|make] the [due date|deadline|date] of {r} [to|to be] {w}" + CLOSE,
                OPEN + "make {r} due {w}" + CLOSE,
                "{r} [is due|has to be done by|should be due|needs to be done by|is due on] {w}[ instead|, update it|]",
                OPEN + "[i need to|let's|can we] [move|push] {r} to {w}[ instead|]",
                "{r} [can wait until|has until|is now due] {w}[, change it|, update it|]",
                "[set|add] a [deadline|due date] [for|to] {r}: {w}",
                "{r} - {w} instead",
            )
        )
        pattern = _either(rng, pattern, manage.TASK_DATE)
    elif field < 0.93:
        title = words.todo(rng)
        params["title"] = title
        slots["v"] = title
        pattern = rng.choice(
            (
                OPEN + "[rename|change|retitle] {r} to {v}" + CLOSE,
                OPEN + "[change|update] the [title|name|text] of {r} to {v}" + CLOSE,
                OPEN + 'rename {r} to "{v}"' + CLOSE,
                "{r} should [say|read|be called] {v}[ instead|]",
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
    return act(rng, pattern, slots, ("updateTask", requests._ordered(params, order)))


DAY_SHIFTS = ((1, "[a|one|1] day"), (1, "a day"), (2, "[two|2|a couple of] days"), (3, "[three|3] days"), (7, "[a|one|1] week"), (14, "[two|2] weeks"))
HOUR_SHIFTS = ((60, "[an|one|1] hour"), (30, "[half an hour|30 minutes|thirty minutes]"), (120, "[two|2] hours"), (15, "[15|fifteen] minutes"), (45, "[45 minutes|three quarters of an hour]"), (90, "[90 minutes|an hour and a half]"), (180, "[three|3] hours"))


def _shifted_due(rng: random.Random, due: str, now: datetime) -> tuple[str, str]:
    """A request to move a due date by some time, and the new due date."""
    timed = "T" in due
    if timed and rng.random() < 0.5:
        minutes, length = rng.choice(HOUR_SHIFTS)
        step = timedelta(minutes=minutes)
    else:
        days, length = rng.choice(DAY_SHIFTS)
        step = timedelta(days=days)
    later = rng.random() < 0.7 or datetime.fromisoformat(due).date() - step < now.date()
    moved = datetime.fromisoformat(due) + (step if later else -step)
    pattern = _shift_pattern(rng, length, later) if rng.random() < 0.6 else rng.choice((OPEN + f"make {{r}} due {length} {'later' if later else 'earlier'}" + CLOSE, OPEN + f"move the [due date|deadline] of {{r}} {'back' if later else 'forward'} {length}" if later else OPEN + f"[bring|move] the [due date|deadline] of {{r}} forward by {length}", f"{{r}} [is due|should be due] {length} {'later' if later else 'earlier'}"))
    return pattern, moved.isoformat(timespec="seconds") if timed else moved.date().isoformat()


def _shift_pattern(rng: random.Random, length: str, later: bool) -> str:
    if later:
        return rng.choice(
            (
                OPEN + f"[push|move|put] {{r}} back [by |]{length}" + CLOSE,
                OPEN + f"[postpone|delay] {{r}} [by |]{length}" + CLOSE,
                OPEN + f"[make|move|shift] {{r}} {length} later" + CLOSE,
                f"[can we|let's|could you] [do|move|push] {{r}} {length} later",
                f"{{r}} [needs|should] {length} more" if "day" in length or "week" in length else f"{{r}} [needs to be|should be|has to be] {length} later",
                f"give me {length} more for {{r}}" if "day" in length or "week" in length else f"push {{r}} back {length}",
                f"{{r}}, {length} later[ please|]",
            )
        )
    return rng.choice(
        (
            OPEN + f"[bring|move|pull] {{r}} forward [by |]{length}" + CLOSE,
            OPEN + f"[make|move|shift] {{r}} {length} earlier" + CLOSE,
            f"[can we|let's|could you] [do|move|pull] {{r}} {length} earlier",
            f"{{r}} [needs to be|should be|has to be] {length} earlier",
            f"{{r}}, {length} earlier[ please|]",
        )
    )


NEAR_DAY = re.compile(r"today|tonight|tom|tmr|tmw|this |(?<!mid)day\b|from now", re.IGNORECASE)


def _target(rng: random.Random, now: datetime, *, day_share: float) -> times.When:
    """A new day, or day and time, in words that follow "move it to"."""
    while True:
        when = times.pick_day(rng, now) if rng.random() < day_share else times.pick_moment(rng, now)
        text = requests._bare(when.text).removeprefix("at ")
        vague = when.clock is None and when.day <= now.date()  # "later today" names no time to move to
        # A clock time alone would keep the day of what is moved, so words for a near day have to name it.
        vague = vague or (when.clock is not None and (when.day - now.date()).days < 2 and not NEAR_DAY.search(text))
        if not vague and not text.startswith(("in ", "tonight", "this weekend")) and not re.match(r"\d{1,2}$", text):
            return times.When(text, when.day, when.clock)


def change_event(rng: random.Random, now: datetime, record: dict[str, Any], ref: str) -> Dialogue:
    """A request to cancel or change an event that is named by ``ref``, and its call."""
    key = str(record["id"])
    slots = {"r": ref}
    if rng.random() < 0.24:
        pattern = rng.choice(
            (
                OPEN + "[cancel|delete|remove|call off|drop|scrap|get rid of|erase] {r}[| from my calendar| from the calendar]" + CLOSE,
                OPEN + "take {r} off [my|the] calendar" + CLOSE,
                "[i can't make|i won't be at|i'm not going to|forget|never mind] {r}[, cancel it|, delete it|, take it off my calendar|, remove it]",
                "{r} [is off|is cancelled|got cancelled|was called off|is not happening][, remove it|, delete it|, take it off the calendar]",
                "{r} [fell through|isn't happening after all|won't happen][, cancel it|, delete it|, remove it]",
                "no longer [need|going to] {r}, [cancel it|delete it]",
            )
        )
        pattern = _either(rng, pattern, manage.EVENT_DELETE)
        return act(rng, pattern, slots, ("deleteCalendarEvent", {"eventId": key}))
    params: dict[str, Any] = {"eventId": key}
    start = datetime.fromisoformat(record["startTime"])
    end = datetime.fromisoformat(record["endTime"]) if "endTime" in record else None
    field = rng.random()
    if field < 0.27:
        hours = rng.random() < 0.65
        amount, length = rng.choice(HOUR_SHIFTS if hours else DAY_SHIFTS)
        step = timedelta(minutes=amount) if hours else timedelta(days=amount)
        later = rng.random() < 0.6
        later = later or start - step <= now
        shift = step if later else -step
        params["startTime"] = (start + shift).isoformat(timespec="seconds")
        if end:
            params["endTime"] = (end + shift).isoformat(timespec="seconds")
        pattern = _shift_pattern(rng, length, later)
        if " more" in pattern:
            pattern = OPEN + f"move {{r}} {length} later"
        if rng.random() < 0.4:
            pattern, slots["v"] = rng.choice(manage.EVENT_SHIFT), phrase(rng, f"{length} {'later' if later else 'earlier'}", {}, typos=0)
    elif field < 0.53:
        clock_only = rng.random() < 0.45
        new, said = start, ""
        tries = 0
        while new == start or (new <= now and tries < 20):
            tries += 1
            clock_only = clock_only and tries < 10
            if clock_only:
                text, clock = times.pick_clock(rng, now)
                new = datetime.combine(start.date(), clock, start.tzinfo)
                said = text.removeprefix("at ").removeprefix("in ")
            else:
                when = _target(rng, now, day_share=0.55)
                new = datetime.combine(when.day, when.clock or start.timetz().replace(tzinfo=None), start.tzinfo)
                said = when.text
        params["startTime"] = new.isoformat(timespec="seconds")
        if end:
            params["endTime"] = (new + (end - start)).isoformat(timespec="seconds")
        slots["w"] = said
        pattern = rng.choice(
            (
                OPEN + "[move|reschedule|shift|change|push|postpone] {r} to {w}" + CLOSE,
                "[actually|wait|hmm|sorry|oh][,|] [make|move] {r} [to|] {w}[ instead|]",
                OPEN + "[change|set|update] the [start time|start|time] of {r} to {w}" + CLOSE if clock_only else OPEN + "[change|update] {r} to {w}" + CLOSE,
                "{r} [is now|will be|should be|got moved to|has been moved to|is moved to] {w}[, update it|, please change it|, fix the calendar|]",
                "[can we|let's|could we] [do|have] {r} {w} instead",
            )
        )
        pattern = _either(rng, pattern, manage.EVENT_TIME)
    elif field < 0.69:
        pattern = _length(rng, start, end, params)
    elif field < 0.8:
        slots["v"] = place = _place(rng)
        params["location"] = place.removeprefix("the ")
        pattern = rng.choice((OPEN + "[change|set|update|move] the [location|place|venue] of {r} to {v}" + CLOSE, OPEN + "move {r} to {v}" + CLOSE, "{r} [is at|will be at|takes place at|is going to be at] {v}[, add that|, put that in|, add the location]", OPEN + "[add|set] {v} as the [location|place|venue] [of|for] {r}", "it's at {v}[, add that to {r}|, put that in {r}|]" if ref in ("it", "that", "this") else "{r} is at {v}, [add that|put that in]"))
        pattern = _either(rng, pattern, manage.EVENT_PLACE)
    elif field < 0.86:
        when = _target(rng, now, day_share=0.3)
        new = datetime.combine(when.day, when.clock or start.timetz().replace(tzinfo=None), start.tzinfo)
        params["startTime"] = new.isoformat(timespec="seconds")
        if end:
            params["endTime"] = (new + (end - start)).isoformat(timespec="seconds")
        slots |= {"w": when.text, "v": _place(rng)}
        params["location"] = slots["v"].removeprefix("the ")
        pattern = rng.choice((OPEN + "move {r} to {w}[,|] at {v}" + CLOSE, "{r} is now {w} at {v}[, update it|, fix the calendar|]", OPEN + "[reschedule|change] {r} to {w} and [set|change] the [location|place] to {v}", "{r} [got moved|was moved] to {w}, and it's at {v}[ now|]", "new time for {r}: {w}, place: {v}"))
    elif field < 0.91:
        summary = words.event(rng)
        params["summary"] = summary
        slots["v"] = summary
        pattern = rng.choice((OPEN + "[rename|retitle|change the title of|change the name of] {r} to {v}" + CLOSE, "{r} should be called {v}", OPEN + 'rename {r} to "{v}"'))
        pattern = _either(rng, pattern, manage.EVENT_TITLE)
    elif field < 0.94:
        note = words.message(rng)
        params["description"] = slots["v"] = note
        pattern = rng.choice((OPEN + "add [a note|a description] to {r}: {v}", OPEN + 'add the note "{v}" to {r}', OPEN + 'set the description of {r} to "{v}"'))
    else:
        guests = [words.address(rng) if rng.random() < 0.5 else words.name(rng) for _ in range(rng.choice((1, 1, 2)))]
        params["attendees"] = [*record.get("attendees", []), *guests]
        slots["v"] = " and ".join(guests)
        pattern = rng.choice((OPEN + "[invite|add] {v} to {r}" + CLOSE, "{v} [should come|wants to join] too, [add them to|invite them to] {r}"))
        pattern = _either(rng, pattern, manage.EVENT_INVITE)
    order = ("eventId", "summary", "startTime", "endTime", "location", "description", "attendees")
    dialogue = act(rng, pattern, slots, ("updateCalendarEvent", requests._ordered(params, order)))
    kept = record.get("attendees", [])
    if kept and "attendees" in params:  # guests that stay keep the spelling of the record
        dialogue[-1].calls[0][1]["attendees"][: len(kept)] = kept
    return dialogue


def _length(rng: random.Random, start: datetime, end: datetime | None, params: dict[str, Any]) -> str:
    """A new end, as a clock time, a duration or a difference; sets ``endTime`` and returns the pattern."""
    roll = rng.random()
    if end and roll < 0.35:
        minutes, length = rng.choice(HOUR_SHIFTS)
        longer = rng.random() < 0.65 or end - start <= timedelta(minutes=minutes)
        params["endTime"] = (end + timedelta(minutes=minutes if longer else -minutes)).isoformat(timespec="seconds")
        if longer:
            return rng.choice((OPEN + f"make {{r}} {length} longer" + CLOSE, OPEN + f"extend {{r}} by {length}" + CLOSE, f"{{r}} [needs|will take|is going to take] {length} longer"))
        return rng.choice((OPEN + f"make {{r}} {length} shorter" + CLOSE, OPEN + f"[shorten|cut] {{r}} by {length}" + CLOSE))
    if roll < 0.75:
        words_for, span = times.pick_duration(rng)
        while end and start + span == end:
            words_for, span = times.pick_duration(rng)
        text = words_for.removeprefix("for ")
        params["endTime"] = (start + span).isoformat(timespec="seconds")
        return rng.choice((OPEN + f"make {{r}} {text}[ long|]" + CLOSE, f"{{r}} [will last|lasts|should last|takes|will take|is going to last] {text}[, update it|, add that|]", OPEN + f"set [the|] [length|duration] of {{r}} to {text}", f"{{r}} should be {text} long", f"{{r}}: {text}[ long|]"))
    later = start + timedelta(minutes=rng.choice((60, 60, 90, 120, 120, 180, 30)))
    if later == end:
        later += timedelta(minutes=30)
    text = _clock_words(rng, later, spoken=False)
    params["endTime"] = later.isoformat(timespec="seconds")
    return rng.choice((f"{{r}} [ends|will end|finishes|goes until|runs until|lasts until|is until] {text}[, add that|, update it|]", OPEN + f"[make|have] {{r}} end at {text}" + CLOSE, OPEN + f"[set|change] the end [time|] of {{r}} to {text}", f"{{r}} should [end|be over] at {text}"))


def _place(rng: random.Random) -> str:
    return words.fill(rng, rng.choice(words.PLACE)) if rng.random() < 0.7 else f"{words.rare(rng)} {rng.choice(('hall', 'cafe', 'street', 'room', 'center'))}"


def _several(rng: random.Random, now: datetime, tasks: list[dict[str, Any]], one: int) -> Dialogue:
    """One action on two or three tasks of a list: one call each."""
    count = len(tasks)
    others = [i for i in range(count) if i != one]
    two = rng.choice(others)
    groups: list[tuple[str, tuple[int, ...]]] = [("{a} and {b}", (one, two)), ("{a} and {b}", (one, two)), ("{a} and also {b}", (one, two)), ("both {a} and {b}", (one, two))]
    if count == 2:
        groups += [("both", (0, 1)), ("both of them", (0, 1)), ("both tasks", (0, 1)), ("the two of them", (0, 1))]
    else:
        groups += [("the [first|top] two", (0, 1)), ("the last two", (count - 2, count - 1)), ("the first and the third", (0, 2)), ("the first and [second|second one]", (0, 1)), ("[numbers|number] 1 and 3", (0, 2)), ("the first and the last one", (0, count - 1)), ("2 and 3", (1, 2)), ("the last two tasks", (count - 2, count - 1))]
    if count == 3:
        groups += [("all three", (0, 1, 2)), ("all three of them", (0, 1, 2))]
    text, which = rng.choice(groups)
    tool, pattern = rng.choice(
        (
            ("completeTask", OPEN + "[complete|tick off|check off] " + text + CLOSE),
            ("completeTask", OPEN + "mark " + text + " as [done|complete|finished]" + CLOSE),
            ("completeTask", "[i finished|i did|done with|i've done|i'm done with] " + text),
            ("completeTask", text + " are [done|finished]"),
            ("deleteTask", OPEN + "[delete|remove|drop|get rid of] " + text + CLOSE),
            ("deleteTask", "[no longer need|i don't need] " + text + "[ anymore|, delete them]"),
        )
    )
    slots = {"a": reference(rng, tasks, one, now), "b": reference(rng, tasks, two, now)}
    return act(rng, pattern, slots, *((tool, {"taskId": str(tasks[i]["id"])}) for i in which))


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
    if call[0] == "sendEmail":
        return [*turns, Turn("say", rng.choice(("Sent.", "It's sent.", "Your e-mail is sent.", "OK, sent.", "Done, the e-mail is out.")))]
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


def reference(rng: random.Random, tasks: list[dict[str, Any]], index: int, now: datetime | None = None) -> str:
    """How a person names one of several tasks: by place, by a property, by its title or words of it."""
    record = tasks[index]
    title = record["title"]
    titles = [t["title"] for t in tasks]
    roll = rng.random()
    if roll < 0.3:
        if index + 2 == len(tasks) > 2 and rng.random() < 0.45:
            return rng.choice(("the second to last one", "the second to last", "the second to last task", "the one before the last", "the next to last one"))
        word = ORDINALS[index] if index + 1 < len(tasks) or rng.random() < 0.5 else "last"
        number = f"number {index + 1}"
        choices = [f"the {word} one", f"the {word} one", f"the {word} task", number, f"task number {index + 1}", f"the {word} item", f"task {index + 1}", f"#{index + 1}", f"the {word} one on the list"]
        return rng.choice(choices)
    if roll < 0.36 and record.get("priority") and sum(1 for t in tasks if t.get("priority") == record["priority"]) == 1:
        level = {"high": ("high priority", "high priority", "urgent"), "medium": ("medium priority",), "low": ("low priority",)}[record["priority"]]
        return f"the {rng.choice(level)} {rng.choice(('one', 'task'))}"
    if roll < 0.54:
        dated = _by_date(rng, now, [t.get("dueDate") for t in tasks], index, task=True)
        if dated:
            return dated
    return named(rng, title, titles)


def event_reference(rng: random.Random, now: datetime, events: list[dict[str, Any]], index: int) -> str:
    """How a person names one of several events that were made in the conversation."""
    record = events[index]
    summaries = [e["summary"] for e in events]
    roll = rng.random()
    if len(events) > 1 and roll < 0.14:
        word = ORDINALS[index] if index + 1 < len(events) or rng.random() < 0.4 else "last"
        return rng.choice((f"the {word} one", f"the {word} event", f"the {word} one i added"))
    if roll < 0.4:
        dated = _by_date(rng, now, [e["startTime"] for e in events], index, task=False)
        if dated:
            return dated
    who = record["summary"].split(" with ")
    if roll < 0.5 and len(who) == 2 and sum(who[1].split()[0] in s.split() for s in summaries) == 1:
        return rng.choice((f"the one with {who[1]}", f"the thing with {who[1]}"))
    if roll < 0.56 and "location" in record and sum(e.get("location") == record["location"] for e in events) == 1:
        return f"the one at {record['location']}"
    return named(rng, record["summary"], summaries)


def _by_date(rng: random.Random, now: datetime | None, stamps: list[str | None], index: int, *, task: bool) -> str | None:
    """One of several things by its day or clock time, where no other shares it."""
    own = stamps[index]
    if not own:
        return "the one without a due date" if stamps.count(None) == 1 else None
    when = datetime.fromisoformat(own)
    choices: list[str] = []
    if "T" in own and sum(1 for s in stamps if s and "T" in s and (datetime.fromisoformat(s).hour % 12, s[14:16]) == (when.hour % 12, own[14:16])) == 1:
        clock = _clock_words(rng, when, spoken=True)
        choices += [f"the {clock} one", f"the {clock} one", f"the one at {clock}", f"the {clock} {'task' if task else 'event'}"]
        if task:
            choices[-2] = f"the one due at {clock}"
    if sum(1 for s in stamps if s and s[:10] == own[:10]) == 1:
        month, number = times.MONTHS[when.month - 1], when.day
        label = rng.choice((f"{month} {number}", f"{month} {times.ordinal(number)}", f"the {times.ordinal(number)}"))
        if label.startswith("the ") and sum(1 for s in stamps if s and s[8:10] == own[8:10]) > 1:
            label = f"{month} {number}"
        due = "due " if task else ""
        choices += [f"the one {due}on {label}", f"the one {due}{label}"] if task else [f"the one on {label}"]
        ahead = (when.date() - now.date()).days if now else 99
        if ahead == 0:
            choices += [f"the one {due}today", "today's one"]
        elif ahead == 1:
            choices += [f"the one {due}tomorrow", "tomorrow's one", f"the one {due}tomorrow"]
        elif 1 < ahead < 7:
            day = times.DAYS[when.weekday()]
            if sum(1 for s in stamps if s and datetime.fromisoformat(s).weekday() == when.weekday()) == 1:
                choices += [f"the one {due}on {day}", f"the {day} one", f"the {day} one", f"{day}'s one", f"the one {due}{day}"]
    return rng.choice(choices) if choices else None


def _clock_words(rng: random.Random, when: datetime, *, spoken: bool) -> str:
    """A clock time as typed; ``spoken`` allows "11 o'clock", which leaves the half of the day open."""
    hour, half = when.hour % 12 or 12, "am" if when.hour < 12 else "pm"
    if when.hour == 12 and when.minute == 0 and rng.random() < 0.6:
        return "noon"
    if when.minute:
        return rng.choice((f"{hour}:{when.minute:02d}", f"{hour}:{when.minute:02d} {half}", f"{when.hour:02d}:{when.minute:02d}")) if spoken else rng.choice((f"{hour}:{when.minute:02d} {half}", f"{hour}:{when.minute:02d}{half}", f"{when.hour:02d}:{when.minute:02d}"))
    choices = [f"{hour} {half}", f"{hour}{half}", f"{hour}{half}", f"{when.hour:02d}:00"]
    if spoken:
        choices += [f"{hour} o'clock", f"{times.NUMBERS[hour]} o'clock"]
    return rng.choice(choices)


SMALL = frozenset(("the", "my", "one", "a", "an", "with", "for", "to", "from", "about", "and", "of", "up", "on", "in", "off", "out", "at"))


def named(rng: random.Random, title: str, among: list[str] | None = None) -> str:
    """A thing by its title, or by some words of it that none of the others (``among``) has together."""
    parts = title.split()
    if rng.random() < 0.35 or len(parts) < 2:
        return rng.choice((title, f'"{title}"', f"the {title} one" if len(parts) < 4 and parts[0].lower() not in ("the", "a") else title))
    content = [p for p in parts if p.lower() not in SMALL]
    nouns = [p for p in parts[1:] if p.lower() not in SMALL] or content or parts
    roll = rng.random()
    if roll < 0.45:
        short = nouns[-1:]
    elif roll < 0.75:
        short = nouns[-2:]
    elif roll < 0.9 and len(content) > 1:  # some of the words, in any order
        short = rng.sample(content, 2)
    else:
        short = content[:1] + nouns[-1:] if content and content[0] is not nouns[-1] else nouns[-1:]
    others = [set(other.lower().split()) for other in among or [] if other != title]
    if any({word.lower() for word in short} <= other for other in others):
        return title
    text = " ".join(short)
    return rng.choice((f"the {text} one", f"the {text} one", f"the {text} task" if not any("meeting" in p for p in parts) and among is None else f"the {text}", f"the {text}", f"the {text} thing", title))


def _pronoun(rng: random.Random, title: str, among: list[str] | None = None) -> str:
    return rng.choice(("it", "it", "it", "that", "that", "this", "that one", named(rng, title, among)))


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
