"""English phrases for days and clock times, resolved by the project's conventions; what is unclear stays unresolved.

Covers: ISO 8601, dates with month names, weekdays, "in three days", clock times, parts of the day, lengths of time.
Does not cover: repetitions, ranges and seasons; a phrase with one word too many is refused, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_ORDINALS = [
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth",
    "nineteenth",
]  # fmt: skip
_NUMBERS = {word: number for number, word in enumerate(_UNITS)} | _TENS
_RANKS = {word: number for number, word in enumerate(_ORDINALS)} | {"twentieth": 20, "thirtieth": 30}
PARTS = {"morning": time(9), "noon": time(12), "midday": time(12), "lunchtime": time(12), "afternoon": time(15),
         "evening": time(19), "tonight": time(20), "night": time(20), "midnight": time(0)}  # fmt: skip

_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s*(?P<year>(?:19|20)\d\d))?"
_WEEKDAY = r"(?P<weekday>mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?(?:'s)?"
_DAYS = tuple(
    re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])")
    for pattern in (
        r"(?P<iso>\d{4}[-/]\d{1,2}[-/]\d{1,2})",
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}",
        rf"{_MONTH}\s+(?:the\s+)?{_DAY}{_YEAR}",
        r"(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<long>\d{4})",
        r"(?P<after>(?:the\s+)?day\s+after\s+tomorrow)",
        r"(?P<word>today|tonight|tomorrow|tmrw)(?:'s)?",
        r"in\s+(?P<count>\d{1,3}|an?)\s+(?P<unit>day|week)s?",
        r"(?P<fromnow>\d{1,3})\s+(?P<fromunit>day|week)s?\s+from\s+(?:now|today)",
        rf"(?P<next>next|coming|this|on)?\s*{_WEEKDAY}",
        r"(?:on\s+)?the\s+(?P<monthday>\d{1,2})(?:st|nd|rd|th)",
    )
)
_CLOCKS = tuple(
    re.compile(rf"(?<![\w:.-])(?:{pattern})(?![\w:])")
    for pattern in (
        r"(?P<h>\d{1,2})[:.](?P<m>\d\d)(?::(?P<s>\d\d)(?:\.\d+)?)?\s*(?P<half>[ap]\.?m\.?)?",
        r"(?P<h>\d{1,2})(?:\s+(?P<m>\d\d))?\s*(?P<half>[ap]\.?\s?m\.?)(?:\s+in\s+the\s+(?:morning|afternoon|evening))?",
        r"(?P<h>\d{1,2})\s*o'?\s?clock(?:\s+(?P<half>[ap]\.?m\.?))?",
        r"(?:half\s+past)\s+(?P<past>\d{1,2})",
        r"at\s+(?P<h>\d{1,2})(?:\s+in\s+the\s+(?P<when>morning|afternoon|evening))?",
        r"(?:(?:in|at|this)\s+)?(?:the\s+)?(?P<part>morning|noon|midday|lunchtime|afternoon|evening|tonight|night|midnight)(?:'s)?",
    )
)
_FILLER = re.compile(
    r"(?:\b(?:at|on|the|for|by|in|this|around|about|from|of|due|starting|utc|gmt|before|until)\b|[\s,.;@])*"
)
_LENGTH = re.compile(r"(?P<count>\d+(?:\.\d+)?|an?|half\s+an?)\s*-?\s*(?P<unit>h(?:ou)?rs?|h|min(?:ute)?s?|m|days?)\b")


@dataclass(frozen=True, slots=True)
class When:
    """A day, a clock time, or both; ``zone`` where the text named an offset."""

    day: date | None = None
    clock: time | None = None
    instant: datetime | None = None  # with its own offset


def parse_when(text: str, now: datetime) -> When | None:
    """The day and time that a phrase names; None when a word of it is not understood."""
    if len(text) > 200:
        return None
    when, rest = scan_when(text, now)
    return when if when and _FILLER.fullmatch(rest) else None


def scan_when(text: str, now: datetime) -> tuple[When | None, str]:
    """The day and time found in a text, and the text without the words that name them."""
    if (instant := _read_iso(text.strip())) is not None:
        return instant, ""
    rest, day, clock = spell_digits(text.lower().replace("’", "'")), None, None
    if (stamp := re.search(r"\d{4}-\d\d-\d\dt\d\d:\d\d(?::\d\d)?(?:z|[+-]\d\d:?\d\d)?", rest)) and (
        found := _read_iso(stamp.group())
    ):
        return found, rest[: stamp.start()] + " " + rest[stamp.end() :]
    for pattern in _DAYS:
        match = pattern.search(rest)
        if match is None:
            continue
        day = _read_day(match, now.date())
        if day is None:
            return None, text
        clock = PARTS["tonight"] if match.groupdict().get("word") == "tonight" else None
        rest = rest[: match.start()] + " " + rest[match.end() :]
        break
    for pattern in _CLOCKS:
        match = pattern.search(rest)
        if match is None:
            continue
        found_clock = _read_clock(match)
        if found_clock is None:
            return None, text
        rest = rest[: match.start()] + " " + rest[match.end() :]
        # "tomorrow morning at 8 am": the part of the day only confirms the hour.
        rest = re.sub(r"\b(?:in the |this )?(?:morning|afternoon|evening)\b", " ", rest, count=1)
        clock = found_clock
        break
    if day is None and clock is None:
        return None, text
    return When(day, clock), rest


def parse_length(value: object) -> timedelta | None:
    """A length of time: "1 hour", "90 minutes", 60 (minutes)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return timedelta(minutes=value) if 0 < value <= 1440 else None
    if not isinstance(value, str):
        return None
    text = spell_digits(value.lower().strip())
    if text.isdigit():
        return parse_length(int(text))
    found, total = list(_LENGTH.finditer(text)), timedelta()
    if not found or re.sub(r"[\s,]|and", "", _LENGTH.sub("", text)):
        return None
    for match in found:
        words = match["count"]
        count = 0.5 if words.startswith("half") else 1.0 if words in {"a", "an"} else float(words)
        unit = match["unit"][0]
        total += count * {"h": timedelta(hours=1), "d": timedelta(days=1), "m": timedelta(minutes=1)}[unit]
    return total if timedelta() < total <= timedelta(days=30) else None


def stamp_moment(when: When, now: datetime) -> datetime:
    """The instant of a phrase: 09:00 where it names no clock, today or tomorrow where it names no day."""
    if when.instant is not None:
        return when.instant
    clock = when.clock or time(9)
    if when.day is not None:
        return datetime.combine(when.day, clock, now.tzinfo)
    moment = datetime.combine(now.date(), clock, now.tzinfo)
    return moment if moment > now else moment + timedelta(days=1)


def spell_digits(text: str) -> str:
    """Number words as digits: "two thirty pm" -> "2 30 pm", "april third" -> "april 3rd"."""
    if not re.search(r"[a-z]{3}", text):
        return text
    tens = "|".join(_TENS)
    text = re.sub(rf"\b({tens})[ -]({'|'.join(_UNITS[1:10])})\b", lambda m: str(_TENS[m[1]] + _NUMBERS[m[2]]), text)
    text = re.sub(rf"\b({tens})[ -]({'|'.join(_ORDINALS[1:10])})\b", lambda m: f"{_TENS[m[1]] + _RANKS[m[2]]}th", text)
    text = re.sub(rf"\b({'|'.join(_NUMBERS)})\b", lambda m: str(_NUMBERS[m[1]]), text)
    return re.sub(rf"\b({'|'.join(_RANKS)})\b", lambda m: f"{_RANKS[m[1]]}th", text)


def _read_iso(text: str) -> When | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)?", text):
        return None
    try:
        moment = datetime.fromisoformat(text.replace("z", "Z").replace("t", "T")).replace(microsecond=0)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return When(moment.date(), moment.time(), moment)
    return When(moment.date(), moment.time())


def _read_day(match: re.Match[str], today: date) -> date | None:
    part = match.groupdict()
    try:
        if part.get("iso"):
            year, month, day = map(int, re.split("[-/]", part["iso"]))
            return _sane(date(year, month, day))
        if part.get("month"):
            month = [name[:3] for name in MONTHS].index(part["month"]) + 1
            if part["year"]:
                return _sane(date(int(part["year"]), month, int(part["day"])))
            this_year = date(today.year, month, int(part["day"]))
            return this_year if this_year >= today else this_year.replace(year=today.year + 1)
        if part.get("first"):
            first, second = int(part["first"]), int(part["second"])
            if first > 12:
                return _sane(date(int(part["long"]), second, first))
            # 3/4/2024 is March or April, by the writer's country; only an impossible month tells.
            return _sane(date(int(part["long"]), first, second)) if second > 12 or first == second else None
        if part.get("after"):
            return today + timedelta(days=2)
        if part.get("word"):
            return today + timedelta(days=part["word"] in {"tomorrow", "tmrw"})
        for count, unit in (("count", "unit"), ("fromnow", "fromunit")):
            if part.get(count):
                number = 1 if part[count] in {"a", "an"} else int(part[count])
                return today + timedelta(days=number * (7 if part[unit] == "week" else 1))
        if part.get("weekday"):
            wanted = [name[:3] for name in WEEKDAYS].index(part["weekday"][:3])
            if part["next"] == "next":  # of the week that begins next Monday
                return today + timedelta(days=7 - today.weekday() + wanted)
            return today + timedelta(days=(wanted - today.weekday() - 1) % 7 + 1)
        if part.get("monthday"):
            day = int(part["monthday"])
            found = today.replace(day=day)
            return found if found >= today else (found.replace(day=1) + timedelta(days=32)).replace(day=day)
    except ValueError:  # 30 February
        return None
    return None


def _sane(day: date) -> date | None:
    return day if 1990 <= day.year <= 2100 else None


def _read_clock(match: re.Match[str]) -> time | None:
    part = match.groupdict()
    if part.get("part"):
        return PARTS[part["part"]]
    hour, minute = int(part.get("past") or part["h"]), 30 if part.get("past") else int(part.get("m") or 0)
    half = re.sub(r"[.\s]", "", part.get("half") or "")
    if not half and part.get("when"):
        half = "am" if part["when"] == "morning" else "pm"
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    elif (
        part.get("m") is None or part.get("past")
    ) and 1 <= hour <= 6:  # a bare hour; 15:00 and 03:00 mean what they say
        hour += 12
    return time(hour, minute) if hour < 24 and minute < 60 else None
