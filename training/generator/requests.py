"""One request for one tool: what a person types and the call that it means.

Covers: the five tools that a single sentence can call; updates, completions and deletions need ids (dialogues).
Does not cover: negatives, dialogues.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from training.generator import phrasings_manage as manage
from training.generator import phrasings_plan as plan
from training.generator import times, words
from training.generator.grammar import phrase

COPIED = ("title", "summary", "location", "to", "subject", "body", "description", "attendees", "cc")
EVENT_KEYS = ("summary", "startTime", "endTime", "location", "description", "attendees")
OPEN = "[||||hey |ok |please |can you |could you |could you please |can you please |would you |i need you to |i want you to |i'd like you to |hi, |hey, can you |um |just |go ahead and |kindly ]"
CLOSE = "[||||| please|, please| thanks|, thank you| for me| if you can]"


@dataclass(frozen=True, slots=True)
class Request:
    """A person's words and the calls that answer them, as (tool, params)."""

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...]


Maker = Callable[[random.Random, datetime], Request]


def finish(rng: random.Random, text: str, *calls: tuple[str, dict[str, Any]]) -> Request:
    """Casing and punctuation as people type; copied values follow the casing of the text."""
    if rng.random() < 0.08:
        text = f"{phrase(rng, rng.choice(plan.OPENERS), {})} {text}"
    if rng.random() < 0.05:
        text = f"{text.rstrip('.')}{rng.choice((', ', ' ', '. ', ' - '))}{phrase(rng, rng.choice(plan.CLOSERS), {})}"
    roll = rng.random()
    if roll < 0.5:
        text = text.lower()
        calls = tuple((tool, {k: _lower(v, text) if k in COPIED else v for k, v in params.items()}) for tool, params in calls)
    elif roll < 0.9:
        text = text[:1].upper() + text[1:]
        calls = _cased(text, calls)
    last = text[-1:]
    if last not in ".?!'\"" and rng.random() < 0.35:
        text += "." if rng.random() < 0.85 else "!"
    elif last == "?" and rng.random() < 0.45:
        text = text[:-1]
    return Request(text, calls)


def create_task(rng: random.Random, now: datetime) -> Request:
    """A task or a reminder."""
    todo = words.todo(rng)
    params: dict[str, Any] = {"title": todo, "priority": "medium"}
    when, level, corrected = "", "", False
    roll = rng.random()
    if roll < 0.28:
        chosen = times.pick_day(rng, now)
        when, params["dueDate"] = chosen.text, times.due(now, chosen)
        if rng.random() < 0.12:
            when = f"{rng.choice(('by', 'before'))} {_bare(when)}" if not when.startswith("in ") else when
    elif roll < 0.5:
        corrected = rng.random() < 0.08
        chosen = times.pick_corrected(rng, now) if corrected else times.pick_moment(rng, now)
        when, params["dueDate"] = chosen.text, times.due(now, chosen)
        if not corrected and rng.random() < 0.08:
            when = _until(rng, when)
    if rng.random() < 0.05 and when and not corrected:
        wrong = times.pick_day(rng, now)
        when = f"{wrong.text}, {rng.choice(('no wait,', 'sorry,', 'i mean', 'no,', 'actually', 'wait, no,', 'scratch that,'))} {when}"
    if rng.random() < 0.2:
        params["priority"] = rng.choice(("high", "high", "low"))
        level = params["priority"]
    if rng.random() < 0.06:
        note = words.message(rng)
        params["description"] = note
        tail = rng.choice((f", note: {note}", f" with the note {note}", f", description {note}", f' with the description "{note}"'))
    else:
        tail = ""
    slots = {"t": todo, "w": when, "n": words.name(rng)}
    noun = "[task|to-do|todo|to do|reminder]"
    urgent = {
        "high": "[urgent|high priority|important|top priority|critical|high-priority]",
        "low": "[low priority|low-priority|not urgent|minor]",
        "": "[||new]",
    }[level]
    note_level = {
        "high": "[, it's urgent|, high priority|, asap|, this is important|, priority high| with high priority|, make it high priority|. urgent!|, it's really important]",
        "low": "[, low priority|, no rush|, whenever|, not urgent|, it's not important| with low priority|, priority low|, take it easy with that one, low priority]",
        "": "",
    }[level]
    remind = [
        OPEN + "[remind me|remind me|remind me|give me a reminder|send me a reminder|set a reminder|set me a reminder|make a reminder|create a reminder|set up a reminder|add a reminder] [to|to|to|to|that i need to|that i have to|i have to|i need to|i should] {t} {w}" + note_level + CLOSE,
        OPEN + "remind me {w} to {t}" + note_level + CLOSE,
        "{w} remind me to {t}" + note_level,
        "[don't let me forget|make sure i don't forget|make sure i remember|help me remember|i need to remember|i must not forget|i have to remember|i don't want to forget|i shouldn't forget|never let me forget] to {t} {w}" + note_level + CLOSE,
        "[i need a reminder|i'd like a reminder|i want a reminder|can i get a reminder|could i have a reminder|it would be great to get a reminder|i could use a reminder|a reminder would be nice] to {t} {w}" + note_level,
        "[reminder|note to self|todo|to do|task|new task|new reminder|reminder to]: {t} {w}" + note_level,
        "reminder to {t} {w}" + note_level,
        "[will you remind me|please be sure to remind me|be so kind to remind me|would you mind reminding me|remind me please|i'd appreciate it if you'd remind me|hey assistant remind me] to {t} {w}" + note_level,
        "it'd be [great|good|bad|a shame] if i [didn't forget|forgot|remembered] to {t} {w}" + note_level,
    ]
    add = [
        OPEN + f"[add|put|create|make|save|set up|record|log|note|start|write down|throw in|jot down] [a|a|the|an] {urgent} {noun} to {{t}} {{w}}" + CLOSE,
        OPEN + f"[add|create|make|save|new|start|open] [a|a|] {urgent} {noun} [called|named|titled|saying|that says|:|for|with the title] {{t}} {{w}}" + CLOSE,
        OPEN + "[add|put|place|throw|stick|include|write|get] {t} [to|on|onto|in] my [to-do list|to do list|todo list|tasks|task list|todos|list of tasks|list of things to do|reminders|list] {w}" + note_level + CLOSE,
        "[on|to] my [to do list|todo list|task list|to-do list], [add|put] {t} {w}" + note_level,
        OPEN + f"[add|create] {{t}} as a {urgent} {noun} {{w}}",
        f"[i need|i want|i'd like|let's have|i have] a {urgent} {noun} to {{t}} {{w}}",
        "[i have|i need|i've got] to {t} {w}[, add it to my list|, put it on my list|, put that on my to-do list|, add that to my tasks|, remind me| so remind me|, please remind me|, make a task for it]" + note_level,
        "{t} {w} - [add that to my todos|put it on the to-do list|make that a task|remind me please|add to my tasks|save as a task]" + note_level,
    ]
    about = [
        OPEN + "[remind me|set a reminder|give me a reminder|create a reminder|make a reminder|add a reminder] [about|of|for] {t} {w}" + note_level + CLOSE,
        OPEN + "remind me {w} [about|of] {t}" + note_level,
        "[don't let me forget|make sure i don't miss|i can't forget] {t} {w}" + note_level,
    ]
    own = rng.random() < 0.4
    if "description" in params:
        if not own:
            pattern, tail, slots["n"] = rng.choice(plan.TASK_NOTE), "", params["description"]
        else:
            pattern = rng.choice(remind if rng.random() < 0.55 else add)
    elif rng.random() < 0.24 and (when or own):
        slots["t"] = params["title"] = rng.choice((words.event, words.event, words.topic))(rng)
        pattern = rng.choice(about if own else plan.TASK_ABOUT)
        if not own:
            params["priority"] = "medium"
    elif own:
        pattern = rng.choice(remind if rng.random() < 0.55 else add)
    else:
        pattern = rng.choice({"high": plan.TASK_URGENT, "low": plan.TASK_LOW, "": plan.TASK_DO}[level])
    return finish(rng, phrase(rng, pattern, slots) + tail, ("createTask", _ordered(params, ("title", "priority", "description", "dueDate"))))


def list_tasks(rng: random.Random, now: datetime) -> Request:
    """A look at the tasks, with or without a filter."""
    params: dict[str, Any] = {"status": "open"}
    kind, tail = "[||||||open|current|pending|remaining|outstanding|unfinished|active]", ""
    roll = rng.random()
    if roll < 0.14:
        params["status"], kind = "completed", "[completed|finished|done|checked off|closed]"
    elif roll < 0.22:
        params["status"], kind = "all", ""
    if roll >= 0.22 and rng.random() < 0.18:
        params["priority"] = rng.choice(("low", "medium", "high"))
        kind = {"high": "[high priority|urgent|important|high-priority|top priority|most important]", "medium": "[medium priority|medium-priority|normal priority]", "low": "[low priority|low-priority|not so important]"}[
            params["priority"]
        ]
    elif roll >= 0.22 and rng.random() < 0.16:
        day = times.pick_day(rng, now, preposition=False)
        while day.text.startswith("in "):  # nothing is due "before in two days"
            day = times.pick_day(rng, now, preposition=False)
        params["dueBefore"] = day.day.isoformat()
        tail = f" {rng.choice(('due before', 'due by', 'that are due before', 'that are due by', 'before', 'until', 'i have to finish by', 'to finish before'))} {_bare(day.text)}"
    noun = "[tasks|tasks|to-dos|todos|reminders|things to do|to-do items|to do items|to do list items]"
    whole = "[to-do list|to do list|todo list|task list|list of tasks|reminders list|reminder list|list of reminders|list|list of things to do|tasks list|todos list]"
    if params["status"] == "all":
        patterns = [
            OPEN + f"[show|list|give|read] me [all|every single one of|all of] my {noun}[ done or not| including the finished ones| both open and done| finished and unfinished|, completed or not| whether done or not| in total]",
            f"[list|show|display] every {noun} [open or completed|regardless of status|i ever added|done and not done]",
            f"what are all my {noun}, [including completed ones|open and closed|done or not]?",
        ]
    elif params["status"] == "completed":
        patterns = [
            OPEN + f"[show me|list|show|display|read me|read out|pull up|give me] [my|the|all my|the list of] {kind} {noun}{tail}" + CLOSE,
            f"[which|what] {noun} [have i|did i] [completed|finished|done|checked off|already done|gotten done|get done]?",
            f"what [have i|did i] [already finished|completed|get done|gotten done|checked off|finished] [on my {whole}|so far|on my list|from my to-do list]?",
            f"[which|what] {noun} are [done|finished|completed|checked off]?",
        ]
    elif kind.startswith("[|") and not tail:
        patterns = [
            OPEN + f"[show me|list|show|display|read me|read out|read|pull up|bring up|give me|tell me|open|go through|go over|check|view|see|look at|let me see|print|get|run through] [my|my|all my|the|all of my] {kind} {noun}" + CLOSE,
            OPEN + f"[show me|show|display|read|read me|pull up|bring up|give me|tell me|open|go through|check|view|recite|let me see|let me hear|read aloud|look at|find|get] [my|my|the] {whole}" + CLOSE,
            f"what[ is|'s|s] [on|left on|still on|in|currently on] my {whole}[ today| right now| now|]?",
            f"what {noun} [do i have|have i got|are on my list|are left|are there|are still open|remain|are pending|have i not done yet|do i still have|did i set|have i set]?",
            f"what [do i|all do i|else do i|things do i|stuff do i] [need to do|have to do|still have to do|need to get done|have to get done|got to do|have left to do|have on my {whole}|need to take care of|need to accomplish][ today|]?",
            f"[do i have|are there|have i got|is there] [any|anything|any] {kind} [{noun}|on my {whole}|reminders set|left to do]?",
            f"[my {whole}|{noun}|my {noun}|{whole} please|my {noun} please]",
            "what was i [supposed to|meant to|going to] [do|remember|get done]?",
            "what [did i|have i] [ask you to remind me|want to be reminded] [of|about]?",
            f"[can i see|could i see|i want to see|i'd like to see|i'd like to hear|i need to see|let's see|let's look at|let me take a look at|i wanna see] my [{whole}|{noun}|open {noun}]",
            f"what have i [put|got|written|added] [on|to] my {whole}?",
            f"[how many|which] {noun} [do i have|are left|are still open|remain]?",
            f"is [there something|there anything|anything] [on|left on] my {whole}?",
            f"is {{x}} [on|in|already on] my {whole}?",
            f"[check|look at|look through|see] my {whole} [for|to see if i have|to see if it has|and tell me if it includes] {{x}}",
            "[what reminders|which reminders|what tasks] [have i|did i] [set|save|add|make|create|put in] [for today|]?",
        ]
    else:
        patterns = [
            OPEN + f"[show me|list|show|display|read me|read out|pull up|give me|tell me|check|view] [my|the|all my] {kind} {noun}{tail}" + CLOSE,
            f"[which|what] {kind} {noun} [do i have|are there|have i got|are on my list|are open|are left]{tail}?",
            f"[do i have|are there|have i got] any {kind} {noun}{tail}?",
            f"[what are|what're|tell me] my {kind} {noun}{tail}?",
        ]
    slots = {"x": words.todo(rng)}
    if rng.random() < 0.6:
        if params["status"] == "completed":
            patterns = list(manage.LIST_COMPLETED)
        elif params["status"] == "all":
            patterns = list(manage.LIST_ALL)
        elif "priority" in params:
            patterns, slots["v"] = list(manage.LIST_PRIORITY), phrase(rng, kind, {})
        elif "dueBefore" in params:
            patterns, slots["d"] = list(manage.LIST_DUE), _bare(day.text)
        else:
            patterns = list(manage.LIST_OPEN)
    text = phrase(rng, rng.choice(patterns), slots)
    return finish(rng, text, ("listTasks", _ordered(params, ("status", "priority", "dueBefore"))))


def create_event(rng: random.Random, now: datetime) -> Request:
    """An event with a day or a time."""
    summary = words.event(rng)
    params: dict[str, Any] = {"summary": summary}
    day_only = rng.random() < 0.26
    kind = rng.random()
    ends: time | None = None
    if day_only:
        when = times.pick_day(rng, now)
        if when.day <= now.date():
            when = times.When("tomorrow", now.date() + timedelta(1))
    elif kind < 0.14:
        when, ends = times.pick_range(rng, now)
    elif kind < 0.20:
        when = times.pick_corrected(rng, now)
    else:
        when = times.pick_moment(rng, now)
    start = times.stamp(now, when.day, when.clock)
    params["startTime"] = start
    said, extra, length_of = when.text, "", ""
    if rng.random() < 0.05 and (day_only or kind >= 0.20):
        wrong = times.pick_day(rng, now)
        said = f"{wrong.text}, {rng.choice(('no wait,', 'sorry,', 'i mean', 'no,', 'actually', 'make that', 'scratch that,'))} {said}"
    begin = datetime.fromisoformat(start)
    if ends:
        params["endTime"] = times.stamp(now, when.day, ends)
    elif when.clock and rng.random() < 0.24 and begin.hour < 20:
        roll = rng.random()
        if roll < 0.18:
            length_of, length = times.pick_length(rng)
            params["endTime"] = (begin + length).isoformat(timespec="seconds")
        elif roll < 0.55 or begin.minute % 15:
            words_for, length = times.pick_duration(rng)
            extra += f" {words_for}"
            params["endTime"] = (begin + length).isoformat(timespec="seconds")
        else:
            words_until, end = times.pick_end(rng, begin)
            extra += f" {words_until}"
            params["endTime"] = end.isoformat(timespec="seconds")
    if rng.random() < 0.22:
        place = words.fill(rng, rng.choice(words.PLACE)) if rng.random() < 0.8 else f"{words.rare(rng)} {rng.choice(('hall', 'cafe', 'street', 'room', 'center'))}"
        extra += f" {'in' if 'room' in place.lower() and rng.random() < 0.7 else 'at'} {place}"
        params["location"] = place.removeprefix("the ")
    if rng.random() < 0.1:
        guests = [words.address(rng) if rng.random() < 0.5 else words.name(rng) for _ in range(rng.choice((1, 1, 2)))]
        extra += f"{rng.choice((' and invite', ', invite', ' with invites to'))} {' and '.join(guests)}"
        params["attendees"] = guests
    if rng.random() < 0.04:
        note = words.message(rng)
        extra += rng.choice((f", note: {note}", f' with the description "{note}"'))
        params["description"] = note
    owned = summary.startswith(("a ", "the ")) or "'s " in summary
    a = "" if owned else rng.choice(("", "a ", "my ", "the ", "a "))
    if length_of:
        a = f"{'' if owned else rng.choice(('a ', 'a ', 'my ', ''))}{length_of} "
    slots = {"e": a + summary, "s": summary, "w": said, "x": extra, "t": ""}
    if not extra and not length_of and rng.random() < 0.12:
        slots["t"] = params["summary"] = words.todo(rng)
        return finish(rng, phrase(rng, rng.choice(plan.EVENT_DO), slots), ("createCalendarEvent", _ordered(params, EVENT_KEYS)))
    if rng.random() < 0.6:
        last = "attendees" in params or "description" in params  # such a tail ends the sentence
        pattern = rng.choice([p for p in plan.EVENT if (not last or p.endswith("{x}")) and (not length_of or "{e}" in p)])
        return finish(rng, phrase(rng, pattern, slots), ("createCalendarEvent", _ordered(params, EVENT_KEYS)))
    calendar = "[my calendar|my calendar|the calendar|my schedule|my agenda|calendar|my google calendar|my diary|my planner|my work calendar]"
    patterns = [
        OPEN + "[schedule|schedule|set up|book|arrange|plan|organize|create|make|put in|enter|pencil in|slot in|set] {e} {w}{x}" + CLOSE,
        OPEN + f"[add|put|place|enter|write|save|insert|get|mark|note|stick|include|pop|include] {{e}} [on|to|in|into|onto] {calendar} {{w}}{{x}}" + CLOSE,
        OPEN + f"[add|put|enter|mark|place] {{e}} {{w}} [on|to|in] {calendar}{{x}}" + CLOSE,
        OPEN + f"[add|put|place] [on|to] {calendar} {{e}} {{w}}{{x}}",
        OPEN + "[create|make|add|set up|schedule|new] [an event|a calendar event|a calendar entry|an appointment|event|a new event|calendar event] [for|called|named|titled|:] {s} {w}{x}" + CLOSE,
        "{e} {w}{x}[, put it on my calendar|, add it to my calendar|, please schedule it|, block the time|, book it| - calendar please|, on the calendar please|, get that in my calendar]",
        OPEN + "[block|block off|block out|reserve|hold|keep] [time|some time|the time] {w} for {e}{x}" + CLOSE,
        "[i have|i've got|i got|there's|we have|we've got] {e} {w}{x}[, add it to my calendar|, put that on my schedule|, please put it in the calendar|, mark my calendar|, save the date|, can you schedule it|, enter it in my calendar]",
        "[mark my calendar|mark the calendar|save the date|new event|new appointment|calendar|schedule|event|appointment][:| for| -] {e} {w}{x}",
        "[i'd like to|i want to|i need to|let's|help me|can we] [schedule|book|set up|plan|arrange|put in] {e} {w}{x}",
        "{w} [schedule|book|set up|add] {e}{x}[| on my calendar| in my calendar]",
        f"[the|my] {{s}} is {{w}}{{x}}[, put it on {calendar}|, add it to {calendar}|, schedule it]",
        "[it'd be great if|would be nice if|i'd appreciate it if] you [could|would] [put|add] {e} [on|to] my calendar {w}{x}",
        "[schedule|book|arrange|set] [for|] {w}[,|] {e}{x}",
    ]
    if length_of:
        patterns = [pattern for pattern in patterns if "{e}" in pattern]
    return finish(rng, phrase(rng, rng.choice(patterns), slots), ("createCalendarEvent", _ordered(params, EVENT_KEYS)))


def get_weather(rng: random.Random, now: datetime) -> Request:
    """The weather somewhere, some day."""
    params: dict[str, Any] = {}
    place, day_text = "", ""
    if rng.random() < 0.7:
        params["location"] = words.city(rng)
        place = f"{rng.choice(('in', 'in', 'in', 'for', 'at', 'over in', 'around', 'near'))} {params['location']}"
    elif rng.random() < 0.5:
        place = rng.choice(("here", "outside", "where i am", "at my location", "in my area", "at my current location", "near me", "around here", "in my city", "in my current position", "in town"))
    roll = rng.random()
    if roll < 0.4:
        chosen = times.pick_day(rng, now)
        day_text = chosen.text
        if chosen.day != now.date():
            params["date"] = chosen.day.isoformat()
            if rng.random() < 0.2:
                day_text += rng.choice((" morning", " afternoon", " evening", " at noon", " at 6 pm", " night")) if day_text.split()[-1] in (*times.DAYS, "tomorrow") else ""
    elif roll < 0.6:
        day_text = rng.choice(("today", "now", "right now", "currently", "at the moment", "tonight", "this morning", "this afternoon", "this evening", "later", "later today", "in the next hour", "in an hour", "at this moment"))
    units = ""
    if rng.random() < 0.1:
        params["units"] = rng.choice(("metric", "imperial"))
        units = {"metric": "[ in celsius| in metric units|, in degrees celsius|, metric please|, celsius]", "imperial": "[ in fahrenheit| in imperial units|, in degrees fahrenheit|, imperial please|, fahrenheit]"}[params["units"]]
    slots = {"p": place, "d": day_text, "c": rng.choice(words.CONDITION), "a": rng.choice(words.ADJ_WEATHER), "l": params.get("location", "")}
    where = "[{p} {d}|{p} {d}|{d} {p}]"
    patterns = [
        f"[what's|what is|whats|how's|how is|hows|what about] the [weather|weather|weather like|weather forecast|forecast|temperature|weather report|weather looking|weather situation] {where}{units}?",
        f"[what will|what's|how will|what is|how's] the weather [be|going to be|be like|going to be like|look like|looking like|gonna be] {where}{units}?",
        f"[will it|is it going to|is it gonna|is it supposed to|does it look like it will|think it will|might it|could it|do you know if it will] {{c}} {where}?",
        f"is it [{{a}}|very {{a}}|too {{a}}|{{a}} or {rng.choice(words.ADJ_WEATHER)}|going to be {{a}}] {where}?",
        OPEN + f"[tell me|give me|show me|check|get|find|look up|let me know|pull up|see|find out|tell us] the [weather|forecast|weather forecast|temperature|weather report|current weather|conditions|weather conditions|chance of rain|humidity] {where}{units}" + CLOSE,
        f"[weather|forecast|temperature|weather forecast|weather report|temp] {where}{units}",
        f"[do i need|should i bring|should i take|will i need|should i pack|do i have to wear|should i wear|is it worth taking] [an umbrella|a coat|a jacket|sunscreen|boots|a raincoat|gloves|a hat|shorts|a sweater|sunglasses|a scarf] {where}?",
        f"how [hot|cold|warm|windy|humid|cold|chilly|rainy|sunny] [is it|will it be|will it get|is it going to be|does it get|is it gonna be] {where}{units}?",
        f"[what's|what is|whats|what will be] the [temperature|high|low|chance of rain|chance of snow|wind speed|humidity|uv index|heat index|forecast] {where}{units}?",
        f"[any|is there any|is there|will there be] [rain|snow|sun|wind|fog|storms|hail|a storm|a blizzard|a thunderstorm|sunshine|precipitation|a chance of rain|bad weather|clouds] {where}?",
        f"[i wonder|i'm wondering|i want to know|i'd like to know|i need to know|do you know|can you tell me|tell me|let me know] [if it will {{c}}|whether it will {{c}}|what the weather is like|how the weather will be|how warm it will be|what the weather will be] {where}",
        "[i'm going|i'm travelling|i'm flying|we're driving|heading] to {l} {d}, [what's the weather like|how's the weather|will it {c}|what should i expect weather wise]?" if place and "location" in params else f"[is it nice|how is it] {where} weather wise?",
        f"is [rain|snow|sun|wind|fog|a storm|sunshine|bad weather] [expected|forecast|in the forecast|likely|coming] {where}?",
        f"{{d}} [weather|forecast|temperature] {{p}}{units}",
        f"what [kind of weather|sort of weather|weather] [is there|can i expect|will there be|should i expect|is expected] {where}?",
        f"when will it [{{c}}|stop raining|get warmer|get colder] {where}?",
    ]
    if units:
        patterns = [pattern for pattern in patterns if units in pattern]
    elif rng.random() < 0.5:
        patterns = list(manage.WEATHER)
    return finish(rng, phrase(rng, rng.choice(patterns), slots), ("getWeather", _ordered(params, ("location", "date", "units"))))


def send_email(rng: random.Random, now: datetime) -> Request:
    """An e-mail with something to say."""
    del now
    roll = rng.random()
    to = words.address(rng) if roll < 0.35 else words.name(rng) if roll < 0.78 else rng.choice(words.RELATION)
    target = to
    cc: list[str] = []
    if rng.random() < 0.1:
        cc = [words.address(rng) if rng.random() < 0.6 else words.name(rng) for _ in range(rng.choice((1, 1, 2)))]
    copy = f"{rng.choice((', cc', ' and cc', ', copy', ' with', ' and copy in'))} {' and '.join(cc)}" if cc else ""
    if copy.startswith(" with"):
        copy += " in cc"
    body, about = words.message(rng), words.topic(rng)
    subject = words.fill(rng, rng.choice(words.SUBJECT)) if rng.random() < 0.6 else f"{words.rare(rng).capitalize()} {rng.choice(words.THING)}"
    mail = "[an email|an email|an e-mail|a mail|email|a message by email|a new email|a quick email|an electronic mail]"
    kind = rng.random()
    quote = rng.choice(('"', '"', "'", ""))
    if kind < 0.34:
        params: dict[str, Any] = {"to": to, "subject": _short(body), "body": body}
        patterns = [
            OPEN + f"send {mail} to {{t}}{{c}} [saying|that says|telling them|to say|with the message|with the text|saying that|to tell them|that reads|and say|and tell them|to let them know] {{q}}{{b}}{{q}}" + CLOSE,
            OPEN + "[email|e-mail|mail|shoot an email to|drop an email to|write to|write an email to|compose an email to|send email to|fire off an email to] {t}{c} [saying|that|and say|and tell them|to say|with|saying that|and let them know|and ask|, tell them] {q}{b}{q}" + CLOSE,
            OPEN + "[let|inform|tell] {t} [know|know|] by email[ that| that|:] {q}{b}{q}",
            "[email|mail|e-mail] {t}{c}: {q}{b}{q}",
            OPEN + "send {q}{b}{q} to {t} [by email|via email|by mail|in an email|as an email]" + CLOSE,
            OPEN + f"send {{t}} {mail}{{c}} [saying|that says|with the text|:|to say|telling them] {{q}}{{b}}{{q}}",
        ]
    elif kind < 0.64:
        params = {"to": to, "subject": about, "body": about}
        patterns = [
            OPEN + f"[send|write|compose|draft and send|start|create|make] {mail} to {{t}}{{c}} [about|regarding|on|concerning|re] {{a}}" + CLOSE,
            OPEN + "[email|e-mail|mail|shoot an email to|write to|drop a line by email to|send email to|ask by email] {t}{c} [about|regarding|concerning] {a}" + CLOSE,
            OPEN + f"send {{t}} {mail}{{c}} [about|regarding|concerning] {{a}}" + CLOSE,
            f"[i need to|i want to|i have to|i'd like to|let's] [send {mail} to|email|write an email to|mail] {{t}}{{c}} about {{a}}",
            f"[send|write] {mail} about {{a}} to {{t}}{{c}}",
            OPEN + "[email|mail] {t} to [ask|inquire|check|complain] about {a}",
        ]
    else:
        params = {"to": to, "subject": subject, "body": body}
        patterns = [
            OPEN + f"[send|write|compose] {mail} to {{t}}{{c}} with [the|] subject {{q}}{{s}}{{q}} [and|,] [the|] [body|text|message|content] {{q}}{{b}}{{q}}",
            OPEN + f"[send|write] {{t}} {mail}{{c}}[, subject| with the subject| titled|, the subject is| with subject line] {{q}}{{s}}{{q}}[, body| and the body|, saying|, text|, message:| and say| that says] {{q}}{{b}}{{q}}",
            "[email|mail|e-mail] {t}{c}[, subject:|, subject| with subject] {q}{s}{q}[, body:|, message:|, body|, saying] {q}{b}{q}",
            "[email|send email] to: {t}{c}, subject: {s}, body: {b}",
        ]
        quote = rng.choice(('"', '"', "'"))
    if cc:
        params["cc"] = cc
    slots = {"t": target, "c": copy, "b": body, "a": about, "s": subject, "q": quote}
    if rng.random() < 0.5:
        stock = manage.EMAIL_SAY if kind < 0.34 else manage.EMAIL_ABOUT if kind < 0.64 else manage.EMAIL_FULL
        patterns = [pattern for pattern in stock if not cc or "{c}" in pattern]
    text = phrase(rng, rng.choice(patterns), slots)
    return finish(rng, text, ("sendEmail", _ordered(params, ("to", "subject", "body", "cc"))))


SINGLE: dict[str, Maker] = {
    "createTask": create_task,
    "listTasks": list_tasks,
    "createCalendarEvent": create_event,
    "getWeather": get_weather,
    "sendEmail": send_email,
}


def contrast(rng: random.Random, now: datetime) -> tuple[Request, Request]:
    """Two requests about one thing at one time: a reminder of it, and the thing itself on the calendar."""
    thing = words.event(rng)
    when = times.pick_moment(rng, now) if rng.random() < 0.7 else times.When("tomorrow", now.date() + timedelta(1))
    a = rng.choice(("the ", "my ", "")) if not thing.startswith(("a ", "the ")) and "'s " not in thing else ""
    slots = {"s": thing, "e": a + thing, "w": when.text}
    task = rng.choice(
        (
            OPEN + "[remind me|set a reminder|give me a reminder|create a reminder] [about|of|for] {e} {w}" + CLOSE,
            "don't let me forget {e} {w}",
            OPEN + "[add|put] {e} {w} [to|on] my [to-do list|tasks|todo list|task list]" + CLOSE,
            OPEN + "[make|create|add] a [reminder|task|to-do] for {e} {w}" + CLOSE,
            "[i need to|help me] remember {e} {w}",
            "[i have|there's] {e} {w}, [remind me|set a reminder for it|add it to my to-do list|put it on my task list]",
        )
    )
    event = rng.choice(
        (
            OPEN + "[schedule|book|set up|block time for|arrange|plan|pencil in] {e} {w}" + CLOSE,
            OPEN + "[add|put] {e} {w} [to|on] my [calendar|schedule|agenda]" + CLOSE,
            OPEN + "[make|create|add] [a calendar event|an event|an appointment|a calendar entry] for {e} {w}" + CLOSE,
            "[i have|there's] {e} {w}, [put it on my calendar|schedule it|add it to my calendar|block the time]",
            OPEN + "[save|enter|mark|note] {e} {w} in my calendar",
        )
    )
    slots |= {"x": ""}
    if rng.random() < 0.6:
        task, event = rng.choice(plan.TASK_ABOUT), rng.choice(plan.EVENT)
    return (
        finish(rng, phrase(rng, task, slots | {"t": thing}), ("createTask", {"title": thing, "priority": "medium", "dueDate": times.due(now, when)})),
        finish(rng, phrase(rng, event, slots), ("createCalendarEvent", {"summary": thing, "startTime": times.stamp(now, when.day, when.clock)})),
    )


def both(rng: random.Random, now: datetime) -> Request:
    """One thing, asked for as a reminder and as an event."""
    thing = words.event(rng)
    when = times.pick_moment(rng, now)
    slots = {"s": thing, "w": when.text}
    pattern = rng.choice(
        (
            OPEN + "[put|add] {s} {w} [on|to] my calendar [and|and also|, and] [remind me of it|set a reminder for it|add it to my to-do list|remind me about it|put it on my task list too|make a task for it]",
            OPEN + "[schedule|book|set up] {s} {w} and [remind me of it|set a reminder too|add a reminder|also add it to my tasks|put it on my to-do list as well]",
            OPEN + "[remind me of|set a reminder for|add a task for] {s} {w} and [put it on my calendar|also put it on the calendar|schedule it|block it on my calendar too|add it to my calendar]",
        )
    )
    task_first = pattern.startswith(OPEN + "[remind")
    if rng.random() < 0.6:
        task_first = rng.random() < 0.35
        pattern = rng.choice(plan.BOTH_TASK_FIRST if task_first else plan.BOTH)
    task = ("createTask", {"title": thing, "priority": "medium", "dueDate": times.due(now, when)})
    event = ("createCalendarEvent", {"summary": thing, "startTime": times.stamp(now, when.day, when.clock)})
    return finish(rng, phrase(rng, pattern, slots), *((task, event) if task_first else (event, task)))


def compound(rng: random.Random, now: datetime) -> Request:
    """Two requests (now and then three) in one sentence."""
    makers = [SINGLE[rng.choice(tuple(SINGLE))] for _ in range(2 if rng.random() < 0.9 else 3)]
    parts = [maker(rng, now) for maker in makers]
    texts = [part.text.rstrip(".!?") for part in parts]
    joined = texts[0]
    if len(texts) == 2 and rng.random() < 0.4:
        one, two = (text[:1].lower() + text[1:] if not text[:2].isupper() else text for text in texts)
        joined, texts = phrase(rng, rng.choice(plan.JOIN), {"one": one, "two": two}), texts[:1]
    for text in texts[1:]:
        link = rng.choice((" and ", " and ", " and also ", ", then ", ". also, ", " and then ", ", and ", ". and ", " plus ", "; "))
        joined += link + (text[:1].lower() + text[1:] if rng.random() < 0.8 and not text[:2].isupper() else text)
    calls: list[tuple[str, dict[str, Any]]] = [call for part in parts for call in part.calls]
    return Request(joined + rng.choice(("", "", ".", "")), _cased(joined, calls))


def _cased(text: str, calls: Iterable[tuple[str, dict[str, Any]]]) -> tuple[tuple[str, dict[str, Any]], ...]:
    # Changing the case of a sentence's first letter can change the first letter of a copied value: the value follows.
    def follow(value: Any) -> Any:
        if isinstance(value, list):
            return [follow(v) for v in value]
        forms = (value, value[:1].lower() + value[1:], value[:1].upper() + value[1:])
        return next((form for form in forms if form in text), value)

    return tuple((tool, {k: follow(v) if k in COPIED else v for k, v in params.items()}) for tool, params in calls)


def _ordered(params: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: params[key] for key in keys if key in params}


def _lower(value: Any, text: str) -> Any:
    # A value that the text does not hold was copied from an earlier turn and stays as it was there.
    if isinstance(value, list):
        return [_lower(v, text) for v in value]
    return value.lower() if value.lower() in text else value


def _bare(text: str) -> str:
    return times.bare(text)


def _until(rng: random.Random, text: str) -> str:
    # "tomorrow at noon" as a deadline: "tomorrow by noon".
    if text.count("at ") != 1 or "at the " in text or "at night" in text or "around" in text or "about" in text:
        return text
    return re.sub(r"\bat ", rng.choice(("by ", "by ", "before ")), text)


def _short(body: str) -> str:
    return " ".join(body.split()[:4])
