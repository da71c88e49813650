"""The text that the base learns from: conversations answered in plain words, dialogues, and prose.

Covers: acknowledgements of generated and human requests (never a tool call), JSON and date exercises, prose by paragraph.
Does not cover: tokens (tokenizer), training (pretrain). What a reply acknowledges follows the rulings of docs/guide.md.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from harness.parsing import parse_reply
from harness.prompt import PromptSpec, load_prompt, render_llama3, weekday
from harness.types import Message
from training.data import HANDCRAFTED
from training.examples import Example, load_examples
from training.generator import MAKERS, dialogues, times, words
from training.generator.dialogues import Dialogue, Turn
from training.nano.human import ASK, ASKS, NONE, Utterance, read_utterances, split_utterances
from training.recombine import Pools, gather_pools, recombine, widen_pools
from training.split import TRAIN, content_key, read_lock

# Sources whose licence lets weights be shared freely; LICENSES.md of the folder names each.
PROSE = {"standard_ebooks": 0.7, "openstax_CC-BY": 1.0, "us_gov_web": 1.0, "african_storybook_pratham_en": 1.0}
DIALOGUES = {"dialog_star": 1.0, "dialog_taskmaster4": 1.0, "dialog_ms_chitchat": 0.2, "dialog_chatterbot": 1.0}
SEPARATOR = "<|doc|>"
LEXICON = Path(__file__).with_name("lexicon")  # written by hand: things to do, happenings, talk that needs no tool

Style = Literal["full", "brief", "json"]
# The line of the system prompt that asks for the style; without one the action and its values are named in a sentence.
STYLES: dict[Style, str] = {
    "full": "Name the action and its values.",
    "brief": "Name the action only.",
    "json": "Name the action and its values as JSON.",
}
ROLES = (
    "You are a helpful assistant.",
    "You are a personal assistant.",
    "You are a personal assistant for tasks, calendar, weather and e-mail.",
    "You help one person with tasks, events, weather and mail.",
    "Answer in plain text.",
    "",
)
LABELS = {
    "title": "title", "priority": "priority", "description": "description", "dueDate": "due", "status": "status", "dueBefore": "due before",
    "summary": "summary", "startTime": "start", "endTime": "end", "location": "location", "attendees": "attendees", "date": "date", "units": "units",
    "to": "to", "subject": "subject", "body": "body", "cc": "cc", "taskId": "id", "eventId": "id",
}  # fmt: skip
ACTIONS = {
    "createTask": "Adding a task",
    "listTasks": "Listing tasks",
    "updateTask": "Changing a task",
    "completeTask": "Completing a task",
    "deleteTask": "Deleting a task",
    "createCalendarEvent": "Adding an event",
    "updateCalendarEvent": "Changing an event",
    "deleteCalendarEvent": "Deleting an event",
    "getWeather": "Checking the weather",
    "sendEmail": "Sending an e-mail",
}
# First match of the label decides; each answer is what a plain assistant with our four abilities would say.
REFUSALS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("alarm", ("I can't set or read alarms, but I can add a reminder to your tasks.",)),
    ("timer|cook_time", ("I can't run timers, but I can add a reminder to your tasks.",)),
    ("playlist", ("I can't change playlists.",)),
    ("music|song|radio|audiobook|podcast|media", ("I can't play music or audio.",)),
    ("volume|audio|mute", ("I can't change the volume.",)),
    ("hue|iot|smart_home|hass|wemo|cleaning|coffee|vacuum", ("I can't control devices at home.",)),
    ("meetingroom", ("I can't look for meeting rooms.",)),
    ("availability", ("I can't look into calendars; I can only add, change or delete events.",)),
    ("findcalendar|geteventdate|geteventatt|geteventloc|findduration|timeremaining|shownextcal|showpreviouscal|calendar_query|getevent", ("I can't look up events; I can only add, change or delete them.",)),
    ("accept|reject|respond|connecttomeeting|cancelcalendar|contactmeeting", ("I can't answer invitations or join meetings.",)),
    ("email_query|readaloud|searchmessages|checkmessages|querylasttext|shownext|showprevious|addflag|emailskill.delete|cancelmessages|confirmmessages|email\\.", ("I can't read or manage your mailbox; I can only send e-mail.",)),
    ("contact", ("I can't look up or change contacts.",)),
    ("call|phone", ("I can't make phone calls.",)),
    ("text|broadcast", ("I can't send text messages; I can send an e-mail.",)),
    ("social", ("I can't use social media.",)),
    ("news", ("I can't read the news.",)),
    ("book_flight|flight|plane|trip|travel|hotel|car_rental|carry_on|luggage|visa|plug_type", ("I can't help with travel bookings.",)),
    ("restaurant|reservation|reservations|takeaway|order|meal_suggestion", ("I can't book tables or order food.",)),
    ("movie|creativework|screening|ratebook|recommendation|event", ("I can't search for that.",)),
    ("recipe|cooking|ingredient|calories|nutrition|food", ("I can't help with recipes or food facts.",)),
    ("transport|taxi|uber|ride|directions|traffic|pointofinterest|parking|distance|location|gas|oil|tire|mpg|jump_start|maintenance", ("I can't help with cars, trips or directions.",)),
    ("bank|card|transfer|balance|pay|bill|credit|account|pin|interest|income|tax|insurance|rollover|refund|top_up|atm|exchange|currency|fee|deposit|spending|transactions|routing|apr|rewards|stock|beneficiary|verify|cash|identity|passcode|money", ("I can't help with money or bank matters.",)),
    ("pto|payday|w2|holiday", ("I can't look into work records.",)),
    ("doctor|vaccines", ("I can't book doctors or give medical advice.",)),
    ("joke", ("Why did the calendar worry? Its days were numbered.",)),
    ("time|datetime|date", ("The time is in my notes: see the current time above.",)),
    ("maths|calculator|measurement|convert", ("I'm not good at sums or conversions.",)),
    ("definition|spelling|translate|factoid|wiki|trivia|explain|fun_fact|meaning", ("I'm not sure about that; I help with tasks, calendar, weather and e-mail.",)),
    ("what_can_i|capab|help|functionalities|funcionalities", ("I can manage tasks and events, tell the weather and send e-mail.",)),
    ("greet|greeting|hello", ("Hello! How can I help?",)),
    ("thank|praise|affirm|great", ("You're welcome.",)),
    ("goodbye", ("Goodbye!",)),
    ("confirm|yes|negate|no$|dontcare|maybe|repeat|commandstop|cancel", ("OK.",)),
    ("name|old|made|from|hobbies|pets|bot|accent|language|user|work_for|ai", ("I'm an assistant for tasks, calendar, weather and e-mail.",)),
    ("quirky|chat|unhappy", ("I see. Tell me more if you like.",)),
)  # fmt: skip
# What the conversations of a document are, beside the hand-written ones; and what the generated ones among them are.
WRITTEN = 0.4  # of the documents begin with a hand-written conversation, of these kinds
WRITTEN_KINDS = {"single": 0.25, "contrastive": 0.23, "compound": 0.13, "crud": 0.14, "multi_turn": 0.05, "negative": 0.15, "general": 0.05}
SHARES = {"generated": 0.45, "lookup": 0.12, "request": 0.10, "ask": 0.01, "talk": 0.05, "other": 0.09, "json": 0.05, "date": 0.09, "copy": 0.04}
KINDS = {"single": 0.30, "contrastive": 0.12, "compound": 0.15, "crud": 0.23, "multi_turn": 0.08, "negative": 0.12}
REQUESTS = {"createTask": 0.26, "createCalendarEvent": 0.30, "listTasks": 0.14, "sendEmail": 0.12, "getWeather": 0.18}
# Said before or after a request; nothing of it is part of a value.
LEADS = (
    "hey", "hi", "hello,", "ok", "okay,", "ok so", "so", "right,", "um", "uh,", "well,", "alright,", "good morning,", "morning!", "good evening.", "evening,", "hey there,", "hi again,", "me again.", "quick one:", "one more thing:", "another thing,", "oh,", "oh and", "ah,", "listen,", "before I forget,", "before i forget", "sorry to bother you but", "sorry,", "excuse me,", "pardon me,", "if it's not too much trouble,", "when you have a minute,", "when you get a sec,", "whenever you're ready:", "thanks for earlier.", "thank you for that.", "great, thanks.", "perfect.", "lovely.", "cool.", "nice one.", "brilliant, thanks.", "got it.", "fine.", "yes,", "yep,", "yeah", "no worries.", "never mind that.", "forget that.", "anyway,", "anyhow,", "moving on:", "next:", "now,", "also,", "and,", "by the way,", "btw", "fyi,", "just so you know,", "honestly,", "to be honest,", "I'm driving, so", "I'm in a rush.", "in a hurry here,", "running late.", "my hands are full.", "I'm back.", "it's me.", "hope you're well.", "long day.", "what a morning.", "I had coffee, I'm awake.", "my head's a sieve.", "my memory is terrible.", "don't laugh, but", "bear with me.", "let me think.", "hmm,", "hm.", "let's see,", "first,", "first of all,", "assistant,", "hey assistant,", "computer,", "dear assistant,", "hi there!", "yo", "sup,", "howdy,", "hiya,", "ta for that.", "cheers for that.", "good good.", "all right then,", "quickly:", "real quick,", "real quick:", "real talk,", "oh no,", "oh dear,", "oops,", "whoops,", "argh,", "ugh,", "wow,", "phew.", "finally,", "at last,", "last thing today:", "since you're here,", "while I think of it,", "while I'm at it,", "as I was saying,", "as usual,", "as always,", "same as ever,", "you know what,", "guess what,", "I was thinking,", "I think", "my wife says hi.", "the kids are asleep.", "the train's late again.", "it's loud in here.",
)  # fmt: skip
TAILS = (
    "thanks", "thanks!", "thank you", "thank you!", "thank you so much.", "thanks a lot", "thanks a million.", "many thanks.", "ta", "ta!", "cheers", "cheers!", "cheers mate", "please", "please and thank you", "pls", "plz", "thx", "ty", "if you can", "if you could", "if possible.", "if you don't mind.", "if that's ok", "if that's all right.", "when you can", "when you get a chance.", "whenever you can.", "asap please", "quickly please", "no rush.", "no hurry", "in your own time.", "that's all.", "that's all for now.", "that's it", "that would be great.", "that'd be lovely.", "would be great", "much appreciated.", "appreciate it", "I appreciate it.", "you're the best.", "you're a star.", "you're a lifesaver.", "good bot", "ok?", "okay?", "alright?", "right?", "got it?", "will you?", "would you?", "can you?", "could you?", "there's a dear.", "there we go.", "and that's that.", "haha", "lol", ":)", ";)", "bye", "bye!", "talk later.", "see you.", "have a good one.", "sorry", "sorry!", "sorry for the short notice.", "sorry about the typos.", "hope that makes sense.", "you know how it is.", "you know me.", "I always say that.", "I can't think straight today.", "so there.", "yeah", "yep", "exactly like that.", "nothing else.", "cool", "cool, thanks", "great", "perfect", "fine by me.", "over and out.",
)  # fmt: skip
OTHERWISE = ("I can't help with that; I help with tasks, calendar, weather and e-mail.",)


def acknowledge(tool: str, params: Mapping[str, Any], *, style: Style) -> str:
    """A call in other words: the action in a sentence, with its values unless ``brief``; or both as JSON of our own shape.

    The JSON is no tool call: it has neither the keys nor the names of one, and it is only said where it was asked for.
    """
    if style == "brief":
        return ACTIONS[tool] + "."
    if style == "json":
        said = {"action": ACTIONS[tool], "values": {LABELS[name]: value for name, value in params.items()}}
        return f"```json\n{json.dumps(said, ensure_ascii=False)}\n```"
    parts = []
    for name, value in params.items():
        shown = ", ".join(f'"{v}"' for v in value) if isinstance(value, list) else f'"{value}"'
        parts.append(f"{LABELS[name]} {shown}")
    return ACTIONS[tool] + (": " + ", ".join(parts) if parts else "") + "."


def plain_messages(dialogue: Dialogue, *, style: Style) -> list[Message]:
    """A generated conversation in which every call is acknowledged instead."""
    return [_plain(turn, style=style) for turn in dialogue]


def retell(messages: Sequence[Message], *, style: Style) -> list[Message]:
    """A training example's conversation in which every call is acknowledged instead."""
    told = []
    for message in messages:
        calls = parse_reply(message["content"]).calls if message["role"] == "assistant" else ()
        text = "\n".join(acknowledge(call.tool, call.params, style=style) for call in calls)
        told.append(Message(role="assistant", content=text) if calls else message)
    return told


def _plain(turn: Turn, *, style: Style) -> Message:
    if turn.role == "call":
        return Message(role="assistant", content="\n".join(acknowledge(tool, params, style=style) for tool, params in turn.calls))
    return Message(role="assistant" if turn.role == "say" else turn.role, content=turn.text)


def pick_style(rng: random.Random) -> Style:
    """How the calls of a conversation are acknowledged."""
    return rng.choices(("full", "brief", "json"), weights=(0.28, 0.17, 0.55))[0]


def widen_words(folder: Path) -> None:
    """Let the generator use the frequent words of the prose, what people say in the dialogues, and the lexicon's deeds and happenings."""
    words.EXTRA[:] = frequent_words(folder)
    words.SENTENCES[:] = said_sentences(folder)
    words.DEEDS[:] = (LEXICON / "todos.txt").read_text(encoding="utf-8").splitlines()
    words.HAPPENINGS[:] = (LEXICON / "events.txt").read_text(encoding="utf-8").splitlines()


def learnt_examples(prompt: PromptSpec) -> list[Example]:
    """The hand-written examples of the side that may be learnt from (training/split.lock)."""
    lock = read_lock()
    return [example for example in load_examples(HANDCRAFTED, prompt.toolset) if lock.get(content_key(example)) == TRAIN]


def add_strange(pools: Pools) -> Pools:
    """The pools with as many values again that nobody can guess, so that they have to be copied to their last word."""
    rng = random.Random(0)
    makers = {"createTask.title": words.strange_thing, "createCalendarEvent.summary": words.strange_happening, "createCalendarEvent.location": words.strange_place}
    makers |= {"getWeather.location": words.city, "sendEmail.to": words.name, "sendEmail.cc": words.name, "createCalendarEvent.attendees": words.name}
    values = {}
    for (field, kind), known in pools.values.items():
        count = max(len(known), 50 if kind in ("thing", "the", "my") else 0)
        if kind == "address":
            more = [words.address(rng) for _ in range(count)]
        elif kind == "deed":
            more = [words.strange_deed(rng) for _ in range(count)] if field == "createTask.title" else []
        else:
            more = [("" if kind == "thing" else f"{kind} ") + makers[field](rng) for _ in range(count)]
        values[field, kind] = (*known, *more)
    return replace(pools, values=values)


def frame(messages: Sequence[Message], rng: random.Random) -> list[Message]:
    """The conversation, now and then with a word before or after its first request that changes nothing."""
    framed = list(messages)
    text = framed[0]["content"]
    if rng.random() < 0.15:
        text = f"{rng.choice(LEADS)} {text}"
    if rng.random() < 0.12:
        text = f"{text}{'' if text[-1] in '.?!' else rng.choice((',', '.', ',', ''))} {rng.choice(TAILS)}"
    framed[0] = Message(role="user", content=text)
    return framed


class ChatMaker:
    """Makes conversations: generated ones, human utterances with an answer, exercises."""

    def __init__(self, folder: Path, prompt: PromptSpec | None = None) -> None:
        """``folder`` holds human_utterances.jsonl.gz and pretrain/*.txt.gz."""
        self.prompt = prompt or load_prompt()
        self.examples = learnt_examples(self.prompt)
        self.written: dict[str, list[Example]] = {}
        for example in self.examples:
            self.written.setdefault(example.kind, []).append(example)
        self.pools = add_strange(widen_pools(gather_pools(self.examples), {"createTask.title": words.DEEDS, "createCalendarEvent.summary": words.HAPPENINGS}))
        self.talk = [json.loads(line) for line in (LEXICON / "talk.jsonl").read_text(encoding="utf-8").splitlines()]
        learn, _, _ = split_utterances(read_utterances(folder / "human_utterances.jsonl.gz"))
        self.requests = [row for row in learn if row.tool not in (NONE, ASK)]
        self.asks = [row for row in learn if row.tool == ASK]
        self.others = [row for row in learn if row.tool == NONE]
        by_tool: dict[str, list[Utterance]] = {}
        for row in self.requests:
            by_tool.setdefault(row.tool, []).append(row)
        self.by_tool = by_tool
        complete = {tool: [row for row in found if slot_values(row) is not None] for tool, found in by_tool.items()}
        self.complete = {tool: found for tool, found in complete.items() if found}
        self.chat = _chitchat(folder)

    def chat_document(self, rng: random.Random) -> str:
        """One document: a system turn, then one conversation or several; two of five begin with a hand-written one."""
        style = pick_style(rng)
        messages: list[Message] = []
        moment = times.moment(rng)
        if self.examples and rng.random() < WRITTEN:
            kinds = [kind for kind in WRITTEN_KINDS if kind in self.written]
            example = rng.choice(self.written[rng.choices(kinds, weights=[WRITTEN_KINDS[kind] for kind in kinds])[0]])
            if rng.random() < 0.8:
                example = recombine(example, self.pools, rng)
            moment = datetime.fromisoformat(example.now)
            messages = retell(frame(example.messages, rng), style=style)
        stamp = moment.isoformat(timespec="seconds")
        own = rng.random() < 0.45
        for _ in range((rng.randint(1, 4) if own else rng.choice((0, 0, 1, 2))) + (0 if messages else 1)):
            messages += self.conversation(rng, moment, style=style)
        if own:
            head = [self.system(stamp, style)]
        else:
            head = [rng.choice(ROLES), STYLES[style] if rng.random() < 0.9 or style != "full" else "", f"Current time: {stamp} ({weekday(stamp)})"]
        system = Message(role="system", content="\n".join(part for part in head if part))
        return render_llama3([system, *messages], add_generation_prompt=False)

    def system(self, stamp: str, style: Style) -> str:
        """The project's own system prompt, with a line that asks for the style where it is not the usual one."""
        text = self.prompt.system(stamp)
        return text if style == "full" else text.replace("\nCurrent time:", f"\n{STYLES[style]}\nCurrent time:")

    def conversation(self, rng: random.Random, moment: datetime, *, style: Style) -> list[Message]:
        """The turns of one conversation at a moment."""
        kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        if kind == "request" or (style == "brief" and rng.random() < 0.25):
            return self.human_request(rng, style=style)
        if kind == "generated":
            return plain_messages(MAKERS[rng.choices(list(KINDS), weights=list(KINDS.values()))[0]](rng, moment), style=style)
        if kind == "lookup":
            return lookup_exercise(rng, moment, style=style)
        if kind == "ask":
            row = rng.choice(self.asks)
            return _exchange(row.text, ASKS[row.proposed])
        if kind == "other":
            row = rng.choice(self.others)
            return _exchange(row.text, self.refusal(rng, row))
        if kind == "talk":
            said = rng.choice(self.talk)
            return _exchange(said["say"], said["reply"])
        if kind == "json":
            return json_exercise(rng)
        return date_exercise(rng, moment) if kind == "date" else copy_exercise(rng)

    def human_request(self, rng: random.Random, *, style: Style) -> list[Message]:
        """A person's request and its acknowledgement."""
        # Without slots the values are unknown: such rows teach the action alone, and only where nothing more is asked for.
        pool = self.by_tool if style == "brief" else self.complete
        tools = [tool for tool in REQUESTS if tool in pool]
        row = rng.choice(pool[rng.choices(tools, weights=[REQUESTS[tool] for tool in tools])[0]])
        values = None if style == "brief" else slot_values(row)
        return _exchange(row.text, acknowledge(row.tool, values or {}, style=style))

    def refusal(self, rng: random.Random, row: Utterance) -> str:
        """A plain answer to what no tool can do."""
        if row.text in self.chat:
            return rng.choice(self.chat[row.text])
        label = row.label.lower()
        for pattern, answers in REFUSALS:
            if re.search(pattern, label):
                return rng.choice(answers)
        return rng.choice(OTHERWISE)


def slot_values(row: Utterance) -> dict[str, Any] | None:
    """The values of a human request where its slots give all of them verbatim; None where they do not."""
    slots: dict[str, list[str]] = {}
    for name, value in row.slots:
        slots.setdefault(name, []).append(value)
    text = row.text
    if any(value not in text for values in slots.values() for value in values):
        return None
    if row.tool == "getWeather":
        allowed = {"city", "state", "country", "place_name", "geographic_poi", "weather_descriptor", "condition_description", "condition_temperature", "WeatherCondition", "Location"}
        if set(slots) - allowed or not slots:
            return None
        places = [value for name, value in row.slots if name in ("city", "state", "country", "place_name", "geographic_poi", "Location")]
        if not places:
            return {}
        start = min(text.index(place) for place in places)
        end = max(text.index(place) + len(place) for place in places)
        return {"location": text[start:end]}
    if row.tool == "createTask" and "TaskContent" in slots and not re.search(r"\b(?:today|tomorrow|tonight|day|week|am|pm|nov)\b", text):
        return {"title": slots["TaskContent"][0], "priority": "medium"}
    if row.tool == "createTask" and set(slots) == {"task"}:
        return {"title": slots["task"][0], "priority": "medium"}
    if row.tool == "listTasks":
        return {"status": "open"}
    if row.tool == "sendEmail" and "ContactName" in slots and len(slots["ContactName"]) == 1 and set(slots) <= {"ContactName", "EmailSubject", "Message"}:
        subject, body = slots.get("EmailSubject"), slots.get("Message")
        if subject or body:
            return {"to": slots["ContactName"][0], "subject": (subject or body or [""])[0] if subject else " ".join((body or [""])[0].split()[:4]), "body": (body or subject or [""])[0]}
    return None


def json_exercise(rng: random.Random) -> list[Message]:
    """Values out of a sentence into JSON that is asked for; never a tool call."""
    keys = rng.sample(("name", "city", "item", "color", "size", "note", "email", "date", "author", "code", "place", "kind", "level", "owner", "topic", "id", "phone", "word"), rng.randint(1, 4))
    record: dict[str, Any] = {}
    for key in keys:
        record[key] = {
            "name": lambda: words.name(rng), "owner": lambda: words.name(rng), "author": lambda: words.name(rng), "city": lambda: words.city(rng), "place": lambda: words.city(rng),
            "email": lambda: words.address(rng), "date": lambda: times.moment(rng).date().isoformat(), "code": lambda: words.identifier(rng, "task"), "id": lambda: words.identifier(rng, "event"),
            "note": lambda: words.message(rng), "topic": lambda: words.topic(rng), "phone": lambda: str(rng.randint(100, 999999)),
        }.get(key, lambda: " ".join(words.rare(rng) for _ in range(rng.randint(1, 4))))()  # fmt: skip
    value: dict[str, Any] = record if rng.random() < 0.6 else {rng.choice(("kind", "type", "group", "list")): words.rare(rng), rng.choice(("data", "details", "values", "fields")): record}
    said = ", ".join(f"{rng.choice(('the ', ''))}{key} {rng.choice(('is ', '', '= ', ': '))}{text}" for key, text in record.items())
    lead = "" if value is record else f"{next(iter(value))} {next(iter(value.values()))}, "
    nest = "" if value is record else f" under {list(value)[1]}"
    ask = rng.choice(("Write this as JSON", "Turn this into JSON", "As JSON please", "Make a JSON object", "JSON"))
    text = json.dumps(value, ensure_ascii=False)
    return _exchange(f"{ask}{nest}: {lead}{said}", f"```json\n{text}\n```" if rng.random() < 0.85 else text)


def lookup_exercise(rng: random.Random, moment: datetime, *, style: Style) -> list[Message]:
    """A list of tasks and several questions about it or changes to it: finding the id that belongs to a mention.

    Without it a small base picks ids by chance, since in a record the id stands before the title.
    """
    used: set[str] = set()
    tasks = [dialogues.task_record(rng, moment, used) for _ in range(rng.choice((2, 3, 3, 4, 4, 5, 6)))]
    shown = [{key: task[key] for key in ("title", "id", *task)} for task in tasks] if rng.random() < 0.25 else tasks
    record = json.dumps({"tasks": shown} if rng.random() < 0.8 else shown, ensure_ascii=False, separators=(", ", ": ") if rng.random() < 0.7 else (",", ":"))
    messages = [*_exchange("show my tasks", acknowledge("listTasks", {"status": "open"}, style=style)), Message(role="tool", content=record)]
    if rng.random() < 0.35:
        messages.append(Message(role="assistant", content=dialogues.list_summary(rng, [task["title"] for task in tasks])))
    for _ in range(rng.randint(4, 9)):
        index = rng.randrange(len(tasks))
        mention = dialogues.named(rng, tasks[index]["title"]) if rng.random() < 0.75 else dialogues.reference(rng, tasks, index)
        roll = rng.random()
        if roll < 0.35:
            messages += _exchange(rng.choice(("id of {r}?", "which id has {r}", "what is the id of {r}?", "{r}: id?")).format(r=mention), f'id "{tasks[index]["id"]}"')
        elif roll < 0.45:
            messages += _exchange(rng.choice(("place of {r}?", "which number is {r}", "{r}: which one?")).format(r=mention), f"number {index + 1}")
        elif roll < 0.52:
            messages += _exchange(rng.choice(("what is task {i}?", "title of {i}?", "which task is {i}")).format(i=tasks[index]["id"]), f'title "{tasks[index]["title"]}"')
        else:
            messages += plain_messages(dialogues.change_task(rng, moment, tasks[index], mention), style=rng.choice(("full", "brief")) if style == "brief" else style)
    return messages


def date_exercise(rng: random.Random, moment: datetime) -> list[Message]:
    """A time expression and the date or time that it means."""
    if rng.random() < 0.5:
        when = times.pick_day(rng, moment)
        asked = rng.choice(("What date is {w}?", "which date is {w}", "date of {w}?", "{w} is which day?"))
        return _exchange(asked.format(w=when.text), f"{when.day.isoformat()} ({times.DAYS[when.day.weekday()]})")
    when = times.pick_moment(rng, moment)
    asked = rng.choice(("Write {w} as a timestamp.", "timestamp of {w}", "{w} in ISO 8601?"))
    return _exchange(asked.format(w=when.text), times.stamp(moment, when.day, when.clock))


def copy_exercise(rng: random.Random) -> list[Message]:
    """Words to say again, quoted, in order."""
    text = rng.choice((words.todo, words.event, words.message, words.topic, words.city))(rng) if rng.random() < 0.5 else " ".join(words.rare(rng) for _ in range(rng.randint(1, 7)))
    ask = rng.choice(("Repeat after me", "Say this again", "Quote this", "Copy", "Write down"))
    return _exchange(f"{ask}: {text}", f'"{text}"')


def prose(folder: Path, rng: random.Random) -> Iterator[str]:
    """Documents of prose in the shares of ``PROSE``, cut into pieces of some 2,000 characters."""
    for name, share in PROSE.items():
        for document in _documents(folder / "pretrain" / f"{name}.txt.gz"):
            if rng.random() >= share or re.search(r"License:.*\bNC\b|NonCommercial", document):
                continue
            piece = ""
            for line in document.split("\n"):
                piece += line + "\n"
                if len(piece) > 2000:
                    yield piece.strip()
                    piece = ""
            if len(piece) > 200:
                yield piece.strip()


def spoken(folder: Path, rng: random.Random) -> Iterator[str]:
    """Dialogues of the folder in the chat format."""
    for name, share in DIALOGUES.items():
        for document in _documents(folder / "pretrain" / f"{name}.txt.gz"):
            if rng.random() >= share:
                continue
            messages = []
            for line in document.split("\n"):
                role, _, text = line.partition(": ")
                if role in ("User", "Assistant") and text.strip():
                    messages.append(Message(role=role.lower(), content=text))
            if messages and messages[0]["role"] == "user":
                yield render_llama3(messages, add_generation_prompt=False)


def frequent_words(folder: Path, count: int = 25_000) -> list[str]:
    """The words of the prose by frequency, without the most common 300: rare values for the generator."""
    found: Counter[str] = Counter()
    for text in prose(folder, random.Random(0)):
        found.update(re.findall(r"\b[a-z]{3,12}\b", text))
    return [word for word, number in found.most_common(count + 300)[300:] if number > 4]


def said_sentences(folder: Path) -> list[str]:
    """Sentences of three to sixteen words that people say in the dialogues, as they stand in the middle of another one."""
    found = set()
    for text in spoken(folder, random.Random(0)):
        for sentence in re.findall(r"(?:^|[.?!>]\s+)([A-Z][A-Za-z' ,]+)(?=[.!?]|$)", text, re.MULTILINE):
            if 3 <= len(sentence.split()) <= 16:
                found.add((sentence if re.match(r"I\b|[A-Z]{2}", sentence) else sentence[0].lower() + sentence[1:]).strip())
    return sorted(found)


def _documents(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        document: list[str] = []
        for line in lines:
            if line.strip() == SEPARATOR:
                yield "".join(document).strip()
                document = []
            else:
                document.append(line)
        yield "".join(document).strip()


def _chitchat(folder: Path) -> dict[str, Sequence[str]]:
    answers: dict[str, list[str]] = {}
    for document in _documents(folder / "pretrain" / "dialog_ms_chitchat.txt.gz"):
        lines = document.split("\n")
        if len(lines) == 2 and lines[0].startswith("User: ") and lines[1].startswith("Assistant: "):
            answers.setdefault(lines[0][6:], []).append(lines[1][11:])
    return {question: tuple(found) for question, found in answers.items()}


def _exchange(question: str, answer: str) -> list[Message]:
    return [Message(role="user", content=question), Message(role="assistant", content=answer)]
