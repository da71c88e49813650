"""The dates in the hand-written examples, resolved a second time by dateparser.

Covers: one question, one call, and in the question one plain day with at most one clock time: today, tomorrow, a
weekday alone, "in three days", "March 3", "3 March"; "3pm", "15:30", "noon". docs/guide.md, "Which day", rules.
Does not cover: "next Friday", "the 14th", bare hours, parts of the day, ranges: there the rulings choose one of several
readings, and a library would choose for us. Such an example is passed over, never counted as right.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from dateparser.date import DateDataParser

from harness.parsing import parse_reply
from training.data import HANDCRAFTED

FIELDS = {"createTask": "dueDate", "createCalendarEvent": "startTime", "getWeather": "date"}
NUMBER = r"(?:\d{1,2}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
WEEKDAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
MONTH = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
RANK = r"\d{1,2}(?:st|nd|rd|th)?"
DAY = re.compile(
    rf"(?<![\w'-])(?:today|(?:the )?day after tomorrow|tomorrow|{WEEKDAY}|in {NUMBER} (?:days?|weeks?)"
    rf"|{MONTH} {RANK}|{RANK} (?:of )?{MONTH})(?![\w'’-])",
    re.IGNORECASE,
)
# Without am or pm the hour has to say its half of the day by itself: 15:30, 08:00, 10:15.
CLOCK = re.compile(
    r"(?<![\w:.-])(?:\d{1,2}(?::\d\d)? ?[ap]\.?m\b|(?:0\d|1\d|2[0-3]):\d\d|noon)(?![\w:-])", re.IGNORECASE
)
# What else speaks of time; a question with one of these besides its day and clock is not plain.
OTHER = re.compile(
    rf"\d|\b(?:{WEEKDAY}s?|{MONTH}|mon|tues?|weds?|thu(?:rs?)?|fri|sat|sun|todays?|tomorrows?|yesterday|tonight|tonite"
    r"|next|last|every|each|this|coming|following|weeks?|weekends?|weekly|fortnight|months?|years?|days?|daily|nights?"
    r"|mornings?|afternoons?|evenings?|eve|midday|noon|lunchtime|midnight|hours?|minutes?|mins?|hrs?|half|quarter|past"
    r"|o'?clock|before|after|until|till|ago|later|now|early|earlier|first|second|third|ninth|[ap]\.?m"
    r"|sharp|instead|actually|wait|not|nxt|same|hundred|\w+teen|twenty|thirty|forty|fifty"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
    re.IGNORECASE,
)


def plain_time(text: str) -> tuple[str, str] | None:
    """The one day and the clock time ("" for none) that a question names in plain words; None for all others."""
    days, clocks = DAY.findall(text), CLOCK.findall(text)
    if len(days) != 1 or len(clocks) > 1 or OTHER.search(CLOCK.sub("·", DAY.sub("·", text))):
        return None
    return days[0], clocks[0] if clocks else ""


def resolve(day: str, clock: str, now: datetime) -> datetime | None:
    """What dateparser makes of the words, in the local time of ``now``; None when it does not understand them."""
    base = now.replace(tzinfo=None)
    if re.search(MONTH, day, re.IGNORECASE):  # the day itself has not passed yet
        base = datetime.combine(base.date() - timedelta(days=1), time(23, 59))
    settings = {"RELATIVE_BASE": base, "PREFER_DATES_FROM": "future", "PARSERS": ["relative-time", "absolute-time"]}
    words = f"{day} at {clock}" if clock else day
    return DateDataParser(languages=["en"], settings=settings).get_date_data(words.lower()).date_obj


def answer(example: dict[str, Any]) -> tuple[str, str] | None:
    """Tool and time of the only call; None for other examples."""
    if len(example["messages"]) != 2 or len(example["tools"]) != 1 or example["tools"][0] not in FIELDS:
        return None
    [call] = parse_reply(example["messages"][1]["content"]).calls
    value = call.params.get(FIELDS[call.tool])
    return (call.tool, str(value)) if value is not None else None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("lunch with Ada today at 3pm", "2026-03-04T15:00"),
        ("lunch with Ada tomorrow, 15:30", "2026-03-05T15:30"),
        ("Lunch with Ada on Friday at noon", "2026-03-06T12:00"),
        ("lunch with Ada wednesday 11:15 am", "2026-03-11T11:15"),  # the next one after today
        ("lunch with Ada in two weeks at 1 pm", "2026-03-18T13:00"),
        ("lunch with Ada on March 3 at 10:00", "2027-03-03T10:00"),  # has passed
        ("lunch with Ada on 4 March at 08:00", "2026-03-04T08:00"),  # today has not
        ("lunch with Ada next Friday at noon", None),
        ("lunch with Ada on Friday at 3", None),
        ("lunch with Ada on the 14th", None),
        ("lunch with Ada on Friday, no, Monday", None),
        ("cancel Friday's lunch with Ada", None),
        ("lunch with Ada on Friday from 1pm to 2pm", None),
    ],
)
def test_plain_words_resolve_and_others_are_passed_over(text: str, right: str | None):
    """Seen on Wednesday, March 4, at 9:10: a new version of the library must read these as this one does."""
    plain = plain_time(text)

    assert (plain and resolve(*plain, datetime.fromisoformat("2026-03-04T09:10:00+05:45"))) == (
        right and datetime.fromisoformat(right)
    )


def test_the_rulings_and_the_library_agree():
    """At least 1,500 examples: the gold day, hour and offset are those that the words and ``now`` give."""
    lines = "".join(file.read_text(encoding="utf-8") for file in sorted(HANDCRAFTED.glob("*.jsonl")))
    checked, wrong = 0, []
    for example in map(json.loads, lines.strip().split("\n")):
        name, text, now = example["id"], example["messages"][0]["content"], datetime.fromisoformat(example["now"])
        gold, plain = answer(example), plain_time(text)
        if gold is None or plain is None:
            continue
        local = resolve(*plain, now)
        if local is None:
            wrong.append(f"{name}: dateparser does not understand {plain}")
            continue
        checked += 1
        right: date | datetime = local.date()
        if plain[1]:
            right = local.replace(tzinfo=now.tzinfo)
        elif gold[0] == "createCalendarEvent":  # a ruling, not the library's: an event without a clock time is at 09:00
            right = datetime.combine(right, time(9), now.tzinfo)
        if gold[0] == "getWeather":  # asks by the day alone
            right = local.date()
        if gold[1] != right.isoformat():
            wrong.append(f"{name}: {text!r} at {example['now']}: {gold[1]}, not {right.isoformat()}")
    print(f"{checked} examples checked")

    assert not wrong, f"{len(wrong)} of {checked} examples differ:\n" + "\n".join(wrong)
    assert checked >= 1500
