"""Real people's utterances: what the rulings make of each, and which of them nothing may learn from.

Covers: reading the file of utterances, applying the rulings of docs/guide.md to its proposed labels, the split into rows
that the base may learn from (as plain-text acknowledgements) and rows kept for checks.
Does not cover: the check itself (training.nano.check). The file is not part of the repository.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ASKS = {
    "createCalendarEvent": "What day and time should I use?",
    "sendEmail": "What should the e-mail say?",
    "createTask": "What should I add?",
    "updateTask": "Which task should I change? I can list your tasks first.",
    "completeTask": "Which task is done? I can list your tasks first.",
    "deleteTask": "Which task should I delete? I can list your tasks first.",
    "updateCalendarEvent": "Which event do you mean? I need the event first.",
    "deleteCalendarEvent": "Which event should I delete? I need the event first.",
}
NONE = "none"
ASK = "ask"  # the rulings make it incomplete: plain text that asks; left out of checks
SKIP = "skip"  # the proposed label and the rulings disagree, or nobody can tell

_NUMBER = r"(?:\d+|a|an|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty)"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|january|february|march|april|june|july|august|september|october|november|december)"
_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
WHEN = re.compile(
    rf"\b(?:today|tonight|tomorrow|tomorow|tmrw|{_DAY}s?|next (?:week|month|year|weekend)|this (?:week|weekend|month|evening|morning|afternoon|noon)"
    rf"|{_MONTH}\.? (?:the )?(?:\d|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|twent|thirt|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
    rf"|(?:\d+(?:st|nd|rd|th)|first|second|third|[a-z]+teenth|[a-z]+(?:ieth|y first|y second|y third)) of {_MONTH}|\d+(?:st|nd|rd|th)"
    rf"|\d{{1,2}}(?::\d\d)? ?(?:am|pm|a\.m|p\.m|hrs)|\d{{1,2}}:\d\d|noon|midday|midnight|morning|afternoon|evening|o'? ?clock"
    rf"|in {_NUMBER} (?:minute|hour|day|week|month)s?|at {_NUMBER}\b|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) ?(?:am|pm|a m|p m)|{_NUMBER} (?:am|pm|a m|p m)"
    rf"|\d{{1,2}}[/-]\d{{1,2}}|weekend|day after|on the \d)\b",
    re.IGNORECASE,
)
CONTENT = re.compile(r"\b(?:about|saying|says?|that|regarding|telling|tell|asking|ask|concerning|know|inviting|invite|informing|inform|subject|thank|thanks|wish|wishing|reminding|why|how)\b", re.IGNORECASE)
OTHER_LIST = re.compile(r"\b(?:shopping|grocer(?:y|ies)|christmas|wish ?list|packing|playlist|movie|music|song|contact|bucket|supply|party) ?(?:list)?\b", re.IGNORECASE)
EMPTY_TASK = re.compile(
    r"^(?:please |can you |could you |i need (?:you )?to |i want (?:you )?to |i would like to |hey |i need |i want |how about )*(?:add|create|make|set|set up|new|save|give me|put|start|write|have|send|remind|note)?(?: me)?"
    r"(?: a| an| the| my| some| another| this| that| it| something| new| later)*(?: (?:to ?-?do|todo|task|reminder|item|list|tasks|to-dos|todos|entry|later|me))*(?: (?:to|in|on|for)(?: my| the| me)?)?(?: (?:to ?-?do|todo|task|list|tasks|later|reminder|reminders))*(?: please)?[.!?]?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row: ``tool`` after the rulings (a tool's name, NONE, ASK or SKIP) and what the file proposed."""

    text: str
    label: str
    source: str
    proposed: str
    tool: str
    slots: tuple[tuple[str, str], ...] = field(default=())

    @property
    def key(self) -> str:
        """Hash of the text without case and punctuation: equal texts share a side of the split."""
        plain = re.sub(r"[^a-z0-9]+", " ", self.text.lower()).strip()
        return hashlib.sha256(plain.encode()).hexdigest()


def read_utterances(path: Path) -> list[Utterance]:
    """Read the gzipped JSON Lines file of utterances; see the module's first lines for what it holds."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            slots = tuple((str(name).strip(), str(value)) for name, value in row.get("slots") or ())
            rows.append(Utterance(row["text"], row["label"], row["source"], row["map"], rule(row["text"], row["map"], dict(slots)), slots))
    return rows


def rule(text: str, proposed: str, slots: dict[str, str]) -> str:
    """What the rulings make of a proposed label: the tool, NONE, ASK or SKIP."""
    if proposed == "NONE":
        return SKIP if re.search(r"\b(?:remind|reminder|to-?do list|weather|forecast)\b", text, re.IGNORECASE) else NONE
    if proposed in ("updateTask", "completeTask", "deleteTask", "updateCalendarEvent", "deleteCalendarEvent"):
        return ASK
    if proposed == "createCalendarEvent":
        if re.search(r"\b(?:remind|reminder|alarm|notify|alert)\b", text, re.IGNORECASE):
            return SKIP
        return proposed if WHEN.search(text) else ASK
    if proposed == "sendEmail":
        if re.search(r"\b(?:reply|respond|forward|attach)", text, re.IGNORECASE):
            return SKIP
        named = any(name in slots for name in ("ContactName", "person", "relation", "email_address", "EmailAddress", "RelationshipName")) or re.search(r"\bto \w+|@|\bmail \w+ ", text)
        said = CONTENT.search(text) or any(name in slots for name in ("EmailSubject", "Message"))
        return proposed if named and said else ASK
    if proposed == "createTask":
        if OTHER_LIST.search(text):
            return SKIP
        return ASK if EMPTY_TASK.match(text.strip()) else proposed
    if proposed == "listTasks":
        return SKIP if OTHER_LIST.search(text) else proposed
    return proposed


def split_utterances(rows: Iterable[Utterance], *, check: int = 75, dev: int = 20, none: int = 12) -> tuple[list[Utterance], list[Utterance], list[Utterance]]:
    """Rows to learn from, rows for trying out, rows for the check; the side depends on the text alone.

    Per tool the first ``check`` rows by hash (at most 60 % of those that exist) are for the check and the next ``dev`` for
    trying out; of the rows without a tool ``none`` times as many. Equal texts are on one side.
    """
    by_tool: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_tool[row.tool][row.key].append(row)
    learn: list[Utterance] = []
    held_dev: list[Utterance] = []
    held_check: list[Utterance] = []
    taken: set[str] = set()
    for tool in sorted(by_tool):
        keys = sorted(by_tool[tool])
        factor = none if tool == NONE else 1
        first = 0 if tool in (ASK, SKIP) else min(check * factor, len(keys) * 6 // 10)
        second = first if first == 0 else first + min(dev * factor, len(keys) // 10)
        for side, part in ((held_check, keys[:first]), (held_dev, keys[first:second])):
            side += [by_tool[tool][key][0] for key in part]
            taken.update(part)
        for key in keys[second:]:
            learn += by_tool[tool][key]
    return [row for row in learn if row.key not in taken and row.tool != SKIP], held_dev, held_check
