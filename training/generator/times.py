"""Time expressions: the words that a person types and the date or time that they mean at a given moment.

Covers: days (today, weekdays, "in three days", "the 14th", month and day), clock times, parts of the day, ranges,
durations, and times that are put right in mid-sentence.
Does not cover: recurring times, time zones other than that of the moment.
Readings are those of docs/guide.md: a weekday is the next such day after today, "next" one lies in the next week that begins on
Monday, a bare hour from one to six is in the afternoon, a day without a time starts at nine.
"""

from __future__ import annotations

import calendar
import random
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT_DAYS = (("mon",), ("tue", "tues"), ("wed", "weds"), ("thu", "thur", "thurs"), ("fri",), ("sat",), ("sun",))
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# Minutes east of UTC: every offset in use, UTC itself more often.
OFFSETS = (
    *(-660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60),
    *(0, 0, 0, 0, 0, 0),
    *(60, 120, 180, 210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780, 840),
)
PARTS = {"morning": time(9), "afternoon": time(15), "evening": time(19), "night": time(20)}
# The hours that go with a part of the day: first and last.
PART_HOURS = {"morning": (6, 11), "afternoon": (12, 17), "evening": (17, 21), "night": (20, 23)}
NO = (", no, ", ", no, ", ", no wait, ", ", sorry, ", ", actually ", ", make that ", ", i mean ", " - no, ", ", scratch that, ", ", or rather ", ", hmm, ", " sorry ", ", wait, ")
DATE_FIRST = re.compile(r"\d|" + "|".join(month[:3] for month in MONTHS))
# A clock time that reads as one without "at" before it.
PLAIN_CLOCK = re.compile(r"\d ?[ap]\.?m|\d:\d\d|\d\d\.\d\d|noon|midday", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class When:
    """``text`` as typed; ``day`` and ``clock`` as meant (clock None: no time was named)."""

    text: str
    day: date
    clock: time | None = None


def moment(rng: random.Random) -> datetime:
    """A current time: 2024 to 2028, waking hours, some offset."""
    day = date(2024, 1, 1) + timedelta(days=rng.randrange(5 * 365))
    clock = time(rng.randint(6, 22), rng.choice((0, 0, 5, 10, 12, 15, 20, 25, 30, 40, 45, 50, 55)))
    return datetime.combine(day, clock, timezone(timedelta(minutes=rng.choice(OFFSETS))))


def ordinal(number: int) -> str:
    """14 -> "14th"."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def bare(text: str) -> str:
    """A day without its "on", so that it can follow another preposition."""
    return text.removeprefix("on ") if not text.startswith("at the ") else text[3:]


def pick_day(rng: random.Random, now: datetime, *, preposition: bool = True) -> When:
    """A day that is named, later than today or today."""
    today = now.date()

    def on(text: str) -> str:
        return f"on {text}" if preposition and rng.random() < 0.65 else text

    roll = rng.random()
    if roll < 0.07:
        return When(rng.choice(("today", "today", "later today")), today)
    if roll < 0.27:
        return When(rng.choice(("tomorrow", "tomorrow", "tomorrow", "tmrw", "tomorow")) if rng.random() < 0.2 else "tomorrow", today + timedelta(1))
    if roll < 0.31:
        return When("the day after tomorrow", today + timedelta(2))
    if roll < 0.56:
        ahead = rng.randint(1, 7) if rng.random() < 0.95 else 7
        target = today + timedelta(ahead)
        label = _weekday(rng, target)
        if ahead < 7 and rng.random() < 0.2:
            return When(f"{rng.choice(('this', 'this coming', 'this'))} {label}", target)
        return When(on(label), target)
    if roll < 0.62:
        target = today - timedelta(today.weekday()) + timedelta(7 + rng.randint(0, 6))
        return When(f"next {_weekday(rng, target)}", target)
    if roll < 0.69:
        count = rng.randint(2, 10)
        number = rng.choice((str(count), NUMBERS[count]))
        text = rng.choice((f"in {number} days", f"in {number} days", f"in {number} days", f"{number} days from now", f"{number} days from today", f"in {number} days' time"))
        return When(text, today + timedelta(count))
    if roll < 0.73:
        count = rng.choice((1, 1, 2, 2, 2, 3, 4))
        number = rng.choice((str(count), NUMBERS[count]))
        if count == 1:
            text = rng.choice(("in a week", "a week from now", "a week from today", "in one week", "in 1 week"))
        else:
            text = rng.choice((f"in {number} weeks", f"in {number} weeks", f"{number} weeks from now", f"{number} weeks from today"))
            if count == 2 and rng.random() < 0.35:
                text = rng.choice(("in a fortnight", "a fortnight from now", "in a fortnight's time"))
        return When(text, today + timedelta(7 * count))
    if roll < 0.755:
        ahead, count = rng.randint(1, 6), rng.choice((1, 1, 1, 2))
        number = "a week" if count == 1 else rng.choice(("two weeks", "2 weeks"))
        named = "tomorrow" if ahead == 1 and rng.random() < 0.5 else _weekday(rng, today + timedelta(ahead))
        return When(f"{number} from {named}", today + timedelta(ahead + 7 * count))
    if roll < 0.80:
        target = today + timedelta(rng.randint(0, 27))
        return When(on(f"the {ordinal(target.day)}"), target)
    if roll < 0.84:
        target = today + timedelta(rng.randint(1, 27))
        label, number = _weekday(rng, target), ordinal(target.day)
        month = MONTHS[target.month - 1]
        texts = (f"{label} the {number}", f"{label} the {number}", f"{label} {number}", f"{label}, the {number}", f"{label} the {number} of {month}", f"{label} {target.day} {month}", f"{label}, {month} {target.day}", f"{label} {month} {number}")
        return When(on(rng.choice(texts)), target)
    if roll < 0.86:
        month_ahead = _add_month(today.replace(day=1))
        target = month_ahead.replace(day=rng.randint(1, calendar.monthrange(month_ahead.year, month_ahead.month)[1]))
        return When(on(f"the {ordinal(target.day)} of next month"), target)
    if roll < 0.885:
        ahead_too = rng.random() < 0.25
        first = _add_month(today.replace(day=1)) if ahead_too else today
        target = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        named = "next month" if ahead_too else rng.choice(("the month", "the month", "this month"))
        return When(rng.choice((f"at the end of {named}" if preposition else f"the end of {named}", f"end of {named}", on(f"the last day of {named}"))), target)
    if roll < 0.975:
        target = today + timedelta(rng.randint(2, 300))
        return When(on(_date(rng, target)), target)
    if roll < 0.99:
        return When(rng.choice(("next week", "at the start of next week" if preposition else "the start of next week")), today + timedelta(7 - today.weekday()))
    if today.weekday() >= 5:
        return When("tomorrow", today + timedelta(1))
    return When(rng.choice(("this weekend", "on the weekend")), today + timedelta(5 - today.weekday()))


def pick_clock(rng: random.Random, now: datetime, *, earliest: time | None = None) -> tuple[str, time]:
    """A clock time: (words, time). With ``earliest`` the time is later than it."""
    del now
    for _ in range(200):
        text, clock = _clock(rng)
        if earliest is None or clock > earliest:
            return text, clock
        if earliest >= time(20):
            clock = time(rng.randint(earliest.hour, 23), rng.choice((0, 15, 30, 45)))
            if clock > earliest:
                return rng.choice((f"at {_exact(rng, clock)}", f"at {clock:%H:%M}")), clock
    return "at 11:45 pm", time(23, 45)


def _clock(rng: random.Random) -> tuple[str, time]:
    roll = rng.random()
    at = "at " if rng.random() < 0.85 else ""
    if roll < 0.32:
        hour = rng.randint(1, 12)
        half = rng.choice(("am", "pm", "pm"))
        if half == "am" and (hour < 5 or hour == 12):
            half = "pm"
        clock = time(hour % 12 + (12 if half == "pm" else 0), rng.choice((0, 0, 0, 30, 15, 45, 10, 20, 5, 40)))
        text = _exact(rng, clock)
        if rng.random() < 0.1:
            return rng.choice((f"around {text}", f"at around {text}", f"about {text}", f"at about {text}", f"at {text} sharp", f"at exactly {text}")), clock
        return f"{at}{text}", clock
    if roll < 0.46:
        clock = time(rng.randint(6, 22), rng.choice((0, 0, 30, 15, 45, rng.randrange(60))))
        if clock.hour >= 13 and rng.random() < 0.2:
            return f"at {clock.hour}.{clock.minute:02d}", clock
        if rng.random() < 0.15:
            return rng.choice((f"at {clock:%H%M}", f"at {clock:%H%M}", f"at {clock:%H%M} hours", f"at {clock:%H:%M}h")), clock
        return f"{at}{clock:%H:%M}", clock
    if roll < 0.60:
        hour = rng.randint(1, 12)
        o_clock = f"{hour if rng.random() < 0.5 else NUMBERS[hour]} o'clock"
        text = rng.choice((f"at {hour}", f"at {hour}", f"at {NUMBERS[hour]}", f"at {o_clock}"))
        if rng.random() < 0.15:
            text = rng.choice((f"at {o_clock} sharp", f"{o_clock} sharp", f"at {hour} sharp", f"around {hour}", f"at around {NUMBERS[hour]}", f"at about {hour}"))
        return text, bare_hour(hour)
    if roll < 0.72:
        hour, minute = rng.randint(1, 12), rng.choice((30, 30, 15, 45, 10, 20, 40, 50))
        if hour == 6 and minute > 30:
            minute = 30  # "quarter to seven" would be read by its seven
        clock = bare_hour(hour, minute)
        return f"at {_spoken(rng, clock)}", clock
    if roll < 0.77:
        return rng.choice(("at noon", "at noon", "at 12 noon", "at midday", "at noon sharp")), time(12)
    if roll < 0.92:
        part = rng.choice(tuple(PARTS))
        clock = _part_clock(rng, part)
        return f"at {_spoken(rng, clock)} {'at night' if part == 'night' else f'in the {part}'}", clock
    part, clock = rng.choice((("in the morning", time(9)), ("in the afternoon", time(15)), ("in the evening", time(19)), ("at lunchtime", time(12))))
    return part, clock


def bare_hour(hour: int, minute: int = 0) -> time:
    """The time that an hour without am or pm means."""
    return time(hour + 12 if hour <= 6 else hour, minute)


def pick_moment(rng: random.Random, now: datetime) -> When:
    """A day and a clock time in one of the usual orders; also "tonight", "this evening", "in two hours"."""
    today, roll = now.date(), rng.random()
    if roll < 0.08:
        return _soon(rng, now)
    if roll < 0.12:
        hour, minute = rng.randint(7, 10), rng.choice((0, 0, 0, 30, 15))
        clock = time(hour + 12, minute)
        said = f"{hour}:{minute:02d}" if minute else rng.choice((str(hour), NUMBERS[hour]))
        exact = _exact(rng, clock)
        if clock > now.time():
            return When(rng.choice((f"tonight at {said}", f"at {said} tonight", f"{exact} tonight", f"at {exact} tonight", f"this evening at {said}", f"at {said} this evening", f"tonight {exact}", f"tonight around {said}")), today, clock)
    if roll < 0.18:
        ahead = [(text, clock) for text, clock in (("tonight", time(20)), ("tonight", time(20)), ("this evening", time(19)), ("this afternoon", time(15)), ("this morning", time(9)), ("at lunchtime today", time(12))) if clock > now.time()]
        if ahead:
            text, clock = rng.choice(ahead)
            return When(text, today, clock)
    if roll < 0.25:
        text, clock = pick_clock(rng, now, earliest=now.time())
        return When(rng.choice((f"{text} today", f"today {text}", text, text)), today, clock)
    if roll < 0.27:
        clock = time(rng.randint(6, 21), rng.choice((0, 0, 30, 15)))
        if clock <= now.time():  # gone for today
            return When(f"at {_exact(rng, clock)}", today + timedelta(1), clock)
    if roll < 0.46:
        return _part_moment(rng, now)
    day = _future_day(rng, now)
    text, clock = pick_clock(rng, now)
    return When(_join(rng, day.text, text), day.day, clock)


def pick_corrected(rng: random.Random, now: datetime) -> When:
    """A day and a time of which one is put right in mid-sentence: "tomorrow at 3, no, 4"."""
    day, no = _future_day(rng, now), rng.choice(NO)
    kind = rng.random()
    if kind < 0.35:
        if rng.random() < 0.6:
            one, two = rng.sample(rng.choice((range(1, 7), range(7, 12))), 2)
            clock = bare_hour(two)
            number = rng.random() < 0.7
            first, second = (str(n) if number else NUMBERS[n] for n in (one, two))
        else:
            one, two = rng.sample(range(1, 13), 2)
            clock = time(two % 12 + 12, 0)
            first, second = str(one) if rng.random() < 0.5 else f"{one}pm", f"{two}{rng.choice(('pm', ' pm'))}"
    elif kind < 0.6:
        clock = time(rng.randint(6, 21), rng.choice((0, 0, 30, 15, 45)))
        other = clock.replace(hour=clock.hour + rng.choice((-1, 1))) if rng.random() < 0.7 else clock.replace(minute=rng.choice([m for m in (0, 15, 30, 45) if m != clock.minute]))
        if rng.random() < 0.5:
            first, second = _exact(rng, other), _exact(rng, clock)
        else:
            first, second = f"{other:%H:%M}", f"{clock:%H:%M}"
    else:
        text, clock = pick_clock(rng, now)
        if kind < 0.8 and day.day != now.date() + timedelta(1):
            wrong = "tomorrow"
        else:
            other_day = rng.choice([d for d in range(1, 7) if now.date() + timedelta(d) != day.day])
            wrong = _weekday(rng, now.date() + timedelta(other_day))
        start = rng.choice((f"{wrong} {text}", f"{text} {wrong}", f"on {wrong} {text}" if wrong != "tomorrow" else f"{wrong}, {text}"))
        return When(f"{start}{no}{bare(day.text)}", day.day, clock)
    at = rng.choice(("", "", "at "))
    said = f"at {first}{no}{at}{second}"
    if clock > now.time() and rng.random() < 0.25 and PLAIN_CLOCK.search(second):
        return When(rng.choice((f"today {said}", said)), now.date(), clock)
    if rng.random() < 0.75:
        return When(f"{day.text} {said}", day.day, clock)
    return When(f"{said} {_after(day.text, said)}", day.day, clock)


def pick_range(rng: random.Random, now: datetime) -> tuple[When, time]:
    """A day with a start and an end on it: (words with day and start, end)."""
    length = rng.choice((30, 60, 60, 60, 90, 90, 120, 120, 150, 180))
    style = rng.random()
    if style < 0.45:
        # Bare hours: the start by the rule of bare hours, the end is the first such time after it.
        start = bare_hour(rng.choice((1, 2, 3, 4, 5, 8, 9, 10, 11, 12)), rng.choice((0, 0, 0, 30)))
        end = _plus(start, length)
        dot = rng.choice((":", ":", "."))
        one, two = (f"{t.hour % 12 or 12}{f'{dot}{t.minute:02d}' if t.minute else ''}" for t in (start, end))
        if start.minute == end.minute == 0 and rng.random() < 0.15:
            one, two = (NUMBERS[t.hour % 12 or 12] for t in (start, end))
        if start.hour < 12 and end == time(12) and rng.random() < 0.7:
            two = "noon"
    elif style < 0.75:
        start = time(rng.randint(7, 20), rng.choice((0, 0, 0, 30, 15)))
        end = _plus(start, length)
        space = rng.choice(("", "", " "))
        one, two = (f"{t.hour % 12 or 12}{f':{t.minute:02d}' if t.minute else ''}{space}{'am' if t.hour < 12 else 'pm'}" for t in (start, end))
        if (start.hour < 12) == (end.hour < 12) and rng.random() < 0.6:
            one = one[:-2].rstrip()
    else:
        start = time(rng.randint(7, 20), rng.choice((0, 0, 30, 15, 45)))
        end = _plus(start, length)
        mark = rng.choice((":", ":", ":", "."))
        one, two = (f"{t.hour:02d}{mark}{t.minute:02d}" for t in (start, end))
    said = rng.choice((f"from {one} to {two}", f"from {one} to {two}", f"from {one} until {two}", f"from {one} till {two}", f"between {one} and {two}", f"{one} to {two}", f"{one}-{two}", f"{one} - {two}", f"from {one}-{two}", f"{one}–{two}"))
    day = _future_day(rng, now)
    if start > now.time() and rng.random() < 0.12:
        day = When("today", now.date())
    return When(_join(rng, day.text, said, glue="from"), day.day, start), end


def pick_end(rng: random.Random, start: datetime) -> tuple[str, datetime]:
    """An end on the same day, one to three hours after ``start``: (words, time)."""
    end = start + timedelta(minutes=rng.choice((60, 60, 90, 120, 120, 180) if start.hour < 21 else (30, 60)))
    until = rng.choice(("until", "till", "to", "until", "ending at"))
    if 9 <= start.hour <= 11 and rng.random() < 0.3:
        end = start.replace(hour=12, minute=0)
    if end.time() == time(12) and rng.random() < 0.6:
        return f"{until} {rng.choice(('noon', 'noon', 'midday', '12 noon'))}", end
    roll = rng.random()
    if roll < 0.3:
        return f"{until} {end:%H:%M}", end
    if roll < 0.55:  # bare: the first such time after the start
        return f"{until} {end.hour % 12 or 12}{f':{end.minute:02d}' if end.minute else ''}", end
    return f"{until} {_exact(rng, end.time())}", end


def pick_duration(rng: random.Random) -> tuple[str, timedelta]:
    """A duration: (words, length)."""
    minutes, words = rng.choice(
        (
            (30, ("for 30 minutes", "for half an hour", "for thirty minutes", "for 30 min", "for 30 mins")),
            (60, ("for an hour", "for 1 hour", "for one hour", "for an hour", "for 60 minutes", "for 1h", "for 1 hr")),
            (90, ("for 90 minutes", "for an hour and a half", "for 1.5 hours", "for 90 min", "for one and a half hours", "for ninety minutes")),
            (120, ("for two hours", "for 2 hours", "for 2 hrs", "for 2h")),
            (180, ("for three hours", "for 3 hours", "for 3 hrs")),
            (45, ("for 45 minutes", "for 45 min", "for 45 mins", "for three quarters of an hour")),
            (15, ("for 15 minutes", "for a quarter of an hour", "for 15 min")),
            (20, ("for 20 minutes", "for twenty minutes", "for 20 min")),
            (75, ("for 75 minutes", "for an hour and a quarter")),
            (150, ("for two and a half hours", "for 2.5 hours")),
        )
    )
    return rng.choice(words), timedelta(minutes=minutes)


def pick_length(rng: random.Random) -> tuple[str, timedelta]:
    """A duration that stands before a noun ("90 minute"): (words, length)."""
    minutes, words = rng.choice(
        (
            (15, ("15 minute", "15-minute", "15 min")),
            (20, ("20 minute", "20-minute", "20 min")),
            (30, ("30 minute", "30-minute", "30 min", "half-hour", "half hour")),
            (45, ("45 minute", "45-minute", "45 min")),
            (60, ("one hour", "1 hour", "one-hour", "60 minute", "1h")),
            (90, ("90 minute", "90-minute", "90 min")),
            (120, ("two hour", "2 hour", "two-hour", "2-hour")),
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


def _plus(clock: time, minutes: int) -> time:
    return (datetime.combine(date(2024, 1, 1), clock) + timedelta(minutes=minutes)).time()


def _weekday(rng: random.Random, day: date) -> str:
    name = DAYS[day.weekday()]
    roll = rng.random()
    if roll < 0.13:
        short = rng.choice(SHORT_DAYS[day.weekday()])
        return short.capitalize() if rng.random() < 0.4 else short
    return name.lower() if roll < 0.2 else name


def _date(rng: random.Random, day: date) -> str:
    month, number = MONTHS[day.month - 1], day.day
    if rng.random() < 0.2:
        month = month[:3]
    roll = rng.random()
    if roll < 0.05:
        return day.isoformat()
    texts: tuple[str, ...]
    if roll < 0.16:
        texts = (f"{month} {ordinal(number)} {day.year}", f"{month} {number}, {day.year}", f"{number} {month} {day.year}", f"{month} {ordinal(number)}, {day.year}", f"the {ordinal(number)} of {month} {day.year}", f"{ordinal(number)} {month} {day.year}")
    else:
        texts = (f"{month} {number}", f"{month} {number}", f"{month} {ordinal(number)}", f"the {ordinal(number)} of {month}", f"{number} {month}", f"{ordinal(number)} {month}", f"{ordinal(number)} of {month}")
    return rng.choice(texts)


def _future_day(rng: random.Random, now: datetime) -> When:
    day = pick_day(rng, now)
    return day if day.day > now.date() else When("tomorrow", now.date() + timedelta(1))


def _exact(rng: random.Random, clock: time) -> str:
    # A time with am or pm, the ways it is typed.
    hour, half = clock.hour % 12 or 12, "am" if clock.hour < 12 else "pm"
    shown = f"{hour}:{clock.minute:02d}" if clock.minute or rng.random() < 0.15 else str(hour)
    if clock.minute and rng.random() < 0.15:
        shown = shown.replace(":", ".")
    return shown + rng.choice((half, half, half, f" {half}", f" {half}", f" {half[0]}.m.", half.upper(), f" {half.upper()}", f"{half[0]}.m."))


def _spoken(rng: random.Random, clock: time) -> str:
    # A time on the twelve-hour clock without am or pm.
    def named(hour: int) -> str:
        number = hour % 12 or 12
        return str(number) if rng.random() < 0.5 else NUMBERS[number]

    hour, minute = clock.hour, clock.minute
    digits = f"{hour % 12 or 12}{rng.choice((':', ':', ':', '.'))}{minute:02d}"
    if not minute:
        return rng.choice((named(hour), named(hour), f"{named(hour)} o'clock"))
    words = {
        10: ("ten past", "10 past"), 15: ("quarter past", "quarter past", "a quarter past", "quarter after"), 20: ("twenty past", "20 past"),
        30: ("half past",), 40: ("twenty to", "20 to"), 45: ("quarter to", "quarter to", "a quarter to"), 50: ("ten to", "10 to"),
    }.get(minute)  # fmt: skip
    if words is None or rng.random() < 0.4:
        return digits
    return f"{rng.choice(words)} {named(hour + (minute > 30))}"


def _part_clock(rng: random.Random, part: str) -> time:
    low, high = PART_HOURS[part]
    clock = time(rng.randint(low, high), rng.choice((0, 0, 0, 30, 30, 15, 45, 45)))
    return clock.replace(minute=30) if clock.hour in (11, 23) and clock.minute > 30 else clock  # no "quarter to twelve in the morning"


def _soon(rng: random.Random, now: datetime) -> When:
    minutes = rng.choice((5, 10, 15, 20, 25, 30, 30, 40, 45, 50, 60, 60, 90, 90, 120, 150, 180, 240, 300))
    count = minutes // 60
    number = str(count) if count > 12 or rng.random() < 0.5 else NUMBERS[count]
    fixed = {
        15: ("in a quarter of an hour",),
        30: ("in half an hour", "half an hour from now", "in half an hour's time"),
        45: ("in three quarters of an hour",),
        60: ("in an hour", "in an hour", "in 1 hour", "an hour from now", "in one hour", "in 1h", "in an hour's time"),
        90: ("in an hour and a half", "in one and a half hours", "in 1.5 hours", "an hour and a half from now"),
        150: ("in two and a half hours", "in 2.5 hours"),
    }.get(minutes, ())
    if minutes <= 90 and minutes != 60:
        plain: tuple[str, ...] = (f"in {minutes} minutes", f"in {minutes} min", f"in {minutes} mins", f"{minutes} minutes from now", f"{minutes} mins from now")
    else:
        plain = () if minutes % 60 else (f"in {number} hours", f"in {number} hours", f"in {count} hrs", f"{number} hours from now")
    if minutes == 60:
        plain = ()
    target = now + timedelta(minutes=minutes)
    return When(rng.choice(fixed if not plain or (fixed and rng.random() < 0.5) else plain), target.date(), target.time())


def _part_moment(rng: random.Random, now: datetime) -> When:
    # "tomorrow morning", "friday night at 9", "half past six tomorrow morning", "first thing on Monday".
    part = rng.choice(("morning", "morning", "afternoon", "evening", "evening", "night"))
    if rng.random() < 0.45:
        target, on, name = now.date() + timedelta(1), "", "tomorrow"
    else:
        target = now.date() + timedelta(rng.randint(1, 7))
        on, name = rng.choice(("on ", "")), _weekday(rng, target)
        if rng.random() < 0.12:
            target = now.date() - timedelta(now.weekday()) + timedelta(7 + rng.randint(0, 6))
            on, name = "", f"next {_weekday(rng, target)}"
    roll = rng.random()
    if roll < 0.12:
        return When(rng.choice((f"first thing {name}", f"first thing {on}{name}", f"first thing {name} morning")), target, time(9))
    if roll < 0.45:
        return When(f"{on}{name} {part}", target, PARTS[part])
    clock = _part_clock(rng, part)
    said = _spoken(rng, clock)
    texts = (f"{on}{name} {part} at {said}", f"{on}{name} {part} at {said}", f"at {said} {on}{name} {part}", f"{said} {name} {part}", f"{name} {part}, {said}", f"{name} {part} around {said}")
    return When(rng.choice(texts), target, clock)


def _after(day: str, before: str) -> str:
    # A day that follows a number: "at 8 on March 21", not "at 8 March 21".
    return f"on {bare(day)}" if before[-1:].isdigit() and DATE_FIRST.match(bare(day)) and not bare(day).endswith(("from now", "from today")) else day


def _join(rng: random.Random, day: str, clock: str, *, glue: str = "at") -> str:
    # A day and a time in either order, with and without their prepositions.
    short = clock.removeprefix("at ") if clock.startswith("at ") and PLAIN_CLOCK.search(clock) else clock
    roll = rng.random()
    if roll < 0.35:
        text, said = day, clock
    elif roll < 0.55:
        return f"{clock} {_after(day, clock)}"
    elif roll < 0.65:
        return f"{day}, {clock}"
    elif roll < 0.85:
        text, said = bare(day) if not day.startswith("at ") else day, short
    else:
        return f"{short} {_after(bare(day), short)}"
    return f"{text} {glue} {said}" if text[-1].isdigit() and said[0].isdigit() else f"{text} {said}"
