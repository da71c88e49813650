"""What no tool answers, and a plain reply to it.

Covers: drawing a category, a phrasing and a reply that fit together; what lacks an id or a value, alone or after other calls.
Does not cover: conversations (mixed.refusal), most phrasings (refusals_near: close to a tool; refusals_far: other domains and chat).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from datetime import datetime

from training.generator import refusals_far, refusals_near, times, words
from training.generator.grammar import phrase

NEAR_SHARE = 0.62
# What may follow an earlier call: nothing here can be answered from its result, so the reply stays the same.
BEYOND = (
    "calendar_query", "calendar_query", "alarms", "timers", "text_messages", "calls", "shopping_lists", "shopping_lists", "notes_and_other_lists",
    "reading_email", "handling_email", "drafts_and_later_sending", "contacts", "invitations", "free_busy_of_others", "meeting_rooms",
    "weather_without_forecast", "hypothetical", "past_statements", "travel", "tasks_of_others_and_sharing", "abilities",
)
# What lacks a value or an id; the tools whose results would give it, so that it is no longer lacking.
LACKING: dict[str, tuple[str, ...]] = {
    "event_without_time": (),
    "email_without_content": (),
    "email_without_recipient": (),
    "task_without_content": (),
    "complete_without_id": ("listTasks", "createTask"),
    "delete_task_without_id": ("listTasks", "createTask"),
    "change_task_without_id": ("listTasks", "createTask"),
    "delete_event_without_id": ("createCalendarEvent",),
    "change_event_without_id": ("createCalendarEvent",),
}
# Words that point at something that no result shows, and what to ask.
POINTING_PRONOUN = (
    "[move|push|change] [it|that] to {day}",
    "mark it [done|as done]",
    "[delete|cancel|remove] [it|that]",
    "[delete|cancel] that [one|again]",
    "actually make it {day}",
    "can you move [it|that] [to {day}|an hour later|back a day|up an hour]?",
    "rename it",
    "push it back [a day|an hour|a week]",
    "make it high priority",
    "change the day to {day}",
)
POINTING_PLACE = (
    "[mark|complete|check off] the [first|second|third|last] [one|task|item][ as done|]",
    "[delete|remove] the [first|second|last] [one|task]",
    "number [1|2|3] is done",
    "the [first|second|third] one is [done|finished]",
    "mark task [1|2|3|4] as [done|complete]",
    "delete number [two|three|four]",
    "move the [second|last] one to {day}",
    "check off the last [two|one]",
    "make the [first|third] task [urgent|high priority|low priority]",
    "set the [first|last] task to {day}",
    "[complete|finish] [both|all three] of them",
    "the one [due|for] {day} is done",
    "drop the last [one|task]",
)
ASK_TASK = ("Which task do you mean? I can list your tasks first.", "Which task is that? I can show you your list.", "I need to know which task. Should I list them?")
ASK_ANY = ("What should I change?", "Which task or event do you mean?", "What do you mean by that: a task or an event?", "Which one do you mean?")
REMARKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "getWeather": (
        ("[nice|great|lovely], [i'll wear shorts|perfect for a walk|good to know]", "[ugh|oh no|hmm], [i hate this weather|not again|that's annoying]", "[good|that's good] to know", "then i'll stay home", "i guess i need [a coat|an umbrella] then", "that's [colder|warmer] than i thought", "[ok|okay] then"),
        ("Good to know.", "Let me know if you need another forecast.", "Anything else?"),
    ),
    "listTasks": (
        ("that's [a lot|quite a list|not too bad]", "[ugh|wow|phew], so much to do", "ok, i'll get started", "[good|okay], i'll do them later", "i'll [think about it|look at it tonight|start tomorrow]", "hm, i thought there was more", "[that's|it's] [fine|good] for now"),
        ("Tell me when something is done.", "Tell me when I should change something.", "OK, good luck with it."),
    ),
    "sendEmail": (
        ("hope [they answer|they reply] soon", "let's see what they say", "[good|great], that was overdue", "i hope that's [ok|fine] with them", "[nice|good], one less thing to do"),
        ("I hope so too.", "Let me know if you want to send another e-mail.", "Good."),
    ),
    "": (
        ("[good|great], i won't forget it now", "that's [all|it] for now", "[nice|good], one less thing to worry about", "[ok|okay] good", "i hope i'll [make it|remember]", "[perfect|great], leave it like that", "[yes|yep], that's right", "no changes, it's fine [like that|as it is]"),
        ("Good.", "Let me know if anything changes.", "OK."),
    ),
}
SLOT = re.compile(r"\{(\w+)\}")


def negative(rng: random.Random, now: datetime) -> tuple[str, str]:
    """A remark or request that no tool answers, and a plain reply."""
    table = refusals_near.CATEGORIES if rng.random() < NEAR_SHARE else refusals_far.CATEGORIES
    weight, patterns, replies = table[rng.choices(list(table), weights=[entry[0] for entry in table.values()])[0]]
    del weight
    return _pair(rng, now, rng.choice(patterns), rng.choice(replies))


def acknowledgement(rng: random.Random, now: datetime) -> tuple[str, str]:
    """What a person says after a finished action, and a plain reply."""
    said, replies = refusals_far.THANKS
    return _pair(rng, now, rng.choice(said), rng.choice(replies))


def beyond(rng: random.Random, now: datetime) -> tuple[str, str]:
    """A request in the middle of a conversation that no tool answers."""
    said, reply = _from(rng, now, rng.choice(BEYOND))
    if rng.random() < 0.3:
        said = f"{rng.choice(('and', 'also', 'ok and', 'oh and', 'ok,', 'one more thing:'))} {said[:1].lower() + said[1:]}"
    return said, reply


def lacking(rng: random.Random, now: datetime, tools: Collection[str]) -> tuple[str, str]:
    """A request that lacks a value, or an id that no result of ``tools`` holds."""
    return _from(rng, now, rng.choice([name for name, giving in LACKING.items() if not set(giving) & set(tools)]))


def pointing(rng: random.Random, now: datetime, *, pronoun: bool = False) -> tuple[str, str]:
    """Words that point at a task or an event where no result shows any."""
    said, replies = (rng.choice(POINTING_PRONOUN), ASK_ANY) if pronoun or rng.random() < 0.4 else (rng.choice(POINTING_PLACE), ASK_TASK)
    day = "in"
    while day.startswith(("in", "at")):  # what can follow "to"
        day = times.pick_day(rng, now, preposition=False).text
    return _pair(rng, now, said.replace("{day}", day), rng.choice(replies))


def remark(rng: random.Random, now: datetime, tool: str) -> tuple[str, str]:
    """What a person says about a result of a tool and that asks for nothing."""
    if rng.random() < 0.35:
        return acknowledgement(rng, now)
    said, replies = REMARKS.get(tool, REMARKS[""])
    return _pair(rng, now, rng.choice(said), rng.choice(replies))


def typed(rng: random.Random, text: str) -> str:
    """Casing and punctuation as people type."""
    roll = rng.random()
    text = text.lower() if roll < 0.55 else text[:1].upper() + text[1:] if roll < 0.9 else text
    if text[-1:] not in ".?!" and rng.random() < 0.25:
        text += "."
    elif text[-1:] in "?." and rng.random() < 0.45:
        text = text[:-1]
    return text


def _from(rng: random.Random, now: datetime, category: str) -> tuple[str, str]:
    _, patterns, replies = refusals_near.CATEGORIES[category]
    return _pair(rng, now, rng.choice(patterns), rng.choice(replies))


def _pair(rng: random.Random, now: datetime, pattern: str, reply: str) -> tuple[str, str]:
    slots = {slot: _value(rng, now, slot) for slot in dict.fromkeys(SLOT.findall(pattern + reply))}
    text = phrase(rng, pattern, slots)
    answer = phrase(rng, reply, slots, typos=0)
    return typed(rng, text), answer[:1].upper() + answer[1:]


def _value(rng: random.Random, now: datetime, slot: str) -> str:
    name = slot.removesuffix("2")  # a second thing of one kind
    if name in refusals_far.POOLS:
        return rng.choice(refusals_far.POOLS[name])
    makers: dict[str, Callable[[], str]] = {
        "name": lambda: words.name(rng),
        "person": lambda: words.person(rng),
        "event": lambda: words.event(rng),
        "todo": lambda: words.todo(rng),
        "thing": lambda: words.noun_phrase(rng),
        "day": lambda: times.pick_day(rng, now).text,
        "clock": lambda: times.pick_clock(rng, now)[0],
        "city": lambda: words.city(rng),
        "item": lambda: words.fill(rng, rng.choice(words.ITEM)),
        "num": lambda: str(rng.randint(2, 500)),
        "topic": lambda: words.topic(rng),
        "message": lambda: words.message(rng),
        "subject": lambda: words.fill(rng, rng.choice(words.SUBJECT)),
    }
    return makers[name]()
