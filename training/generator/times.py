"""Time expressions: the words that a person types and the date or time that they mean at a given moment.

Covers: days (today, weekdays, "in three days", "the 14th", month and day), clock times, parts of the day, durations.
Does not cover: recurring times, time zones other than that of the moment.
Readings are those of docs/guide.md: a weekday is the next such day after today, "next" one lies in the next week that begins on
Monday, a bare hour from one to six is in the afternoon, a day without a time starts at nine.
"""

from __future__ import annotations

import calendar
import random
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
OFFSETS = (0, 0, 60, 120, 330, -300, -480, -420, -360, 540, 600, 180, -180, -240, 480)


@dataclass(frozen=True, slots=True)
class When:
    """``text`` as typed; ``day`` and ``clock`` as meant (clock None: no time was named)."""

    text: str
    day: date
    clock: time | None = None


def moment(rng: random.Random) -> datetime:
    """A current time: 2024 to 2028, waking hours, some offset."""
    day = date(2024, 1, 1) + timedelta(days=rng.randrange(5 * 365))
    clock = time(rng.randint(6, 18), rng.choice((0, 0, 5, 10, 12, 15, 20, 25, 30, 40, 45, 50, 55)))
    return datetime.combine(day, clock, timezone(timedelta(minutes=rng.choice(OFFSETS))))


def ordinal(number: int) -> str:
    """14 -> "14th"."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def pick_day(rng: random.Random, now: datetime, *, preposition: bool = True) -> When:
    """A day that is named, later than today or today."""
    today = now.date()

    def on(text: str) -> str:
        return f"on {text}" if preposition and rng.random() < 0.7 else text

    roll = rng.random()
    if roll < 0.08:
        return When(rng.choice(("today", "today", "later today")), today)
    if roll < 0.32:
        return When(rng.choice(("tomorrow", "tomorrow", "tomorrow", "tmrw", "tomorow")) if rng.random() < 0.2 else "tomorrow", today + timedelta(1))
    if roll < 0.36:
        return When("the day after tomorrow", today + timedelta(2))
    if roll < 0.62:
        ahead = rng.randint(1, 7) if rng.random() < 0.95 else 7
        target = today + timedelta(ahead)
        label = DAYS[target.weekday()]
        if ahead < 7 and rng.random() < 0.25:
            return When(f"{rng.choice(('this', 'this coming', 'this'))} {label}", target)
        if rng.random() < 0.08:
            label = label[:3]
        return When(on(label), target)
    if roll < 0.68:
        target = today - timedelta(today.weekday()) + timedelta(7 + rng.randint(0, 6))
        return When(f"next {DAYS[target.weekday()]}", target)
    if roll < 0.75:
        count = rng.randint(2, 10)
        return When(f"in {count if rng.random() < 0.5 else NUMBERS[count]} days", today + timedelta(count))
    if roll < 0.79:
        count = rng.choice((1, 1, 2, 2, 3))
        text = rng.choice(("in a week", "a week from now", "a week from today")) if count == 1 else f"in {count if rng.random() < 0.4 else NUMBERS[count]} weeks"
        return When(text, today + timedelta(7 * count))
    if roll < 0.84:
        number = rng.randint(1, 28)
        target = today.replace(day=number) if number >= today.day else _add_month(today).replace(day=number)
        return When(on(f"the {ordinal(number)}"), target)
    if roll < 0.97:
        target = today + timedelta(rng.randint(2, 300))
        month, number = MONTHS[target.month - 1], target.day
        short = month[:3] if rng.random() < 0.15 else month
        text = rng.choice((f"{short} {number}", f"{short} {ordinal(number)}", f"the {ordinal(number)} of {month}", f"{number} {short}", f"{short} {number}"))
        if rng.random() < 0.12:
            text += f", {target.year}"
        return When(on(text), target)
    if roll < 0.985:
        return When(rng.choice(("next week", "at the start of next week")), today + timedelta(7 - today.weekday()))
    target = today + timedelta((5 - today.weekday()) % 7 or 7)
    return When(rng.choice(("this weekend", "on the weekend")), target)


def pick_clock(rng: random.Random, now: datetime, *, earliest: time | None = None) -> tuple[str, time]:
    """A clock time: (words, time). With ``earliest`` the time is later than it."""
    while True:
        text, clock = _clock(rng)
        if earliest is None or clock > earliest:
            return text, clock
        if earliest >= time(20, 0):
            return "at 11:30 pm", time(23, 30)


def _clock(rng: random.Random) -> tuple[str, time]:
    roll = rng.random()
    at = "at " if rng.random() < 0.85 else ""
    if roll < 0.36:
        hour = rng.randint(1, 12)
        half = rng.choice(("am", "pm", "pm"))
        if half == "am" and (hour < 5 or hour == 12):
            half = "pm"
        minute = rng.choice((0, 0, 0, 30, 15, 45, 10, 20, 5, 40))
        shown = f"{hour}:{minute:02d}" if minute or rng.random() < 0.2 else str(hour)
        mark = rng.choice((half, half, f" {half}", f" {half[0]}.m.", half.upper(), f" {half.upper()}"))
        return f"{at}{shown}{mark}", time(hour % 12 + (12 if half == "pm" else 0), minute)
    if roll < 0.46:
        hour, minute = rng.randint(6, 22), rng.choice((0, 0, 30, 15, 45))
        return f"{at}{hour:02d}:{minute:02d}", time(hour, minute)
    if roll < 0.60:
        hour = rng.randint(1, 11)
        text = rng.choice((str(hour), NUMBERS[hour], f"{hour} o'clock", f"{NUMBERS[hour]} o'clock"))
        return f"at {text}", time(hour + 12 if hour <= 6 else hour, 0)
    if roll < 0.66:
        hour = rng.randint(1, 11)
        minute, words = rng.choice(((30, "half past"), (15, "quarter past"), (45, "quarter to")))
        named = hour + 1 if minute == 45 else hour
        if named > 11:
            named, hour = 11, 10
        return f"at {words} {named if rng.random() < 0.5 else NUMBERS[named]}", time(hour + 12 if (hour if minute != 45 else named) <= 6 else hour, minute)
    if roll < 0.72:
        return rng.choice(("at noon", "at noon", "at 12 noon", "at midday")), time(12, 0)
    if roll < 0.82:
        hour = rng.randint(1, 11)
        part = rng.choice(("in the morning", "in the afternoon", "in the evening", "at night"))
        if part == "in the morning":
            hour = rng.randint(6, 11)
            return f"at {hour} {part}", time(hour, 0)
        if part == "in the afternoon":
            hour = rng.randint(1, 5)
        elif part == "in the evening":
            hour = rng.randint(5, 10)
        else:
            hour = rng.randint(8, 11)
        return f"at {hour if rng.random() < 0.6 else NUMBERS[hour]} {part}", time(hour + 12, 0)
    if roll < 0.9:
        hour, minute = rng.randint(1, 11), rng.choice((30, 15, 45, 20, 10))
        half = rng.choice(("am", "pm")) if hour >= 5 else "pm"
        return f"{at}{hour}:{minute:02d} {half}", time(hour + (12 if half == "pm" else 0), minute)
    part, clock = rng.choice((("in the morning", time(9)), ("in the afternoon", time(15)), ("in the evening", time(19)), ("at lunchtime", time(12))))
    return part, clock


def pick_moment(rng: random.Random, now: datetime) -> When:
    """A day and a clock time in one of the usual orders; also "tonight", "this evening", "in two hours"."""
    roll = rng.random()
    if roll < 0.06:
        minutes = rng.choice((10, 15, 20, 30, 45, 60, 120, 180))
        target = now + timedelta(minutes=minutes)
        if minutes < 60:
            text = f"in {minutes} minutes"
        else:
            text = rng.choice(("in an hour", "in 1 hour")) if minutes == 60 else f"in {minutes // 60 if rng.random() < 0.5 else NUMBERS[minutes // 60]} hours"
        return When(text, target.date(), target.time())
    if roll < 0.11:
        hour = rng.randint(7, 10)
        clock = time(hour + 12)
        text = rng.choice((f"tonight at {hour}", f"at {hour} tonight", f"at {hour}pm tonight", f"this evening at {hour}"))
        if clock > now.time():
            return When(text, now.date(), clock)
    if roll < 0.14 and now.hour < 19:
        return When("tonight", now.date(), time(20))
    if roll < 0.22:
        text, clock = pick_clock(rng, now, earliest=now.time())
        return When(rng.choice((f"{text} today", f"today {text}", text)), now.date(), clock)
    day = pick_day(rng, now)
    if day.day <= now.date():
        day = When("tomorrow", now.date() + timedelta(1))
    text, clock = pick_clock(rng, now)
    joined = rng.choice((f"{day.text} {text}", f"{day.text} {text}", f"{text} {day.text}", f"{day.text}, {text}"))
    return When(joined, day.day, clock)


def pick_duration(rng: random.Random) -> tuple[str, timedelta]:
    """A duration: (words, length)."""
    minutes, words = rng.choice(
        (
            (30, ("for 30 minutes", "for half an hour", "for thirty minutes")),
            (60, ("for an hour", "for 1 hour", "for one hour")),
            (90, ("for 90 minutes", "for an hour and a half", "for 1.5 hours")),
            (120, ("for two hours", "for 2 hours")),
            (180, ("for three hours", "for 3 hours")),
            (45, ("for 45 minutes",)),
            (15, ("for 15 minutes", "for a quarter of an hour")),
        )
    )
    return rng.choice(words), timedelta(minutes=minutes)


def stamp(now: datetime, day: date, clock: time | None) -> str:
    """ISO 8601 in the offset of ``now``; nine o'clock when no time was named."""
    return datetime.combine(day, clock or time(9), now.tzinfo).isoformat(timespec="seconds")


def due(now: datetime, when: When) -> str:
    """A due date: the day alone, or the time with its offset where one was named."""
    return when.day.isoformat() if when.clock is None else stamp(now, when.day, when.clock)


def _add_month(day: date) -> date:
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
