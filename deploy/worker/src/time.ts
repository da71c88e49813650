/**
 * Days and instants as harness/toolset.py reads them: Python 3.11's fromisoformat behind a real day and a T, without
 * the one character of any kind that it passes over before the offset.
 *
 * Covers: is it a day, is it an instant with an offset, its weekday, its place in time, words for people.
 * Does not cover: time zones by name, leap seconds.
 */

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"] as const;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;

const DAY = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/;
// HH, HH:MM, HH:MM:SS, HH:MM:SS.f, the same without colons, each for the time and for the offset; or Z.
const CLOCK = String.raw`([0-9]{2})(?:(:?)([0-9]{2})(?:\2([0-9]{2})(?:[.,]([0-9]+))?)?)?`;
const TIME = new RegExp(`^[Tt]${CLOCK}(?:Z|([+-])${CLOCK.replace("\\2", "\\8")})$`);

/** True for YYYY-MM-DD of a real day. */
export function isDate(text: string): boolean {
  return readDay(text) !== undefined;
}

/** True for an ISO 8601 date and time with an offset; Z counts. */
export function isInstant(text: string): boolean {
  return readInstant(text) !== undefined;
}

/** Milliseconds since 1970 of an instant; undefined for anything else. */
export function readInstant(text: string): number | undefined {
  const day = readDay(text.slice(0, 10));
  const clock = TIME.exec(text.slice(10));
  if (day === undefined || clock === null) return undefined;
  const [, hour, , minute, second, fraction, sign, offsetHour, , offsetMinute, offsetSecond, offsetFraction] = clock;
  if (!inRange(hour, minute, second) || !inRange(offsetHour, offsetMinute, offsetSecond)) return undefined;
  const offset = milliseconds(offsetHour, offsetMinute, offsetSecond, offsetFraction);
  return day + milliseconds(hour, minute, second, fraction) - (sign === "-" ? -offset : offset);
}

/** The English weekday of an instant or a day, where its offset is. */
export function weekday(text: string): string {
  const day = readDay(text.slice(0, 10));
  if (day === undefined) throw new RangeError(`${text} is not a day`);
  return WEEKDAYS[new Date(day).getUTCDay()]!;
}

/** A day or an instant for people: "Tue 3 Mar 2026, 15:00". Anything else comes back as it is. */
export function sayTime(text: string): string {
  if (!isDate(text) && !isInstant(text)) return text;
  const [year, month, day] = text.slice(0, 10).split("-");
  const clock = /^[Tt]([0-9]{2}):?([0-9]{2})?/.exec(text.slice(10));
  const said = `${weekday(text).slice(0, 3)} ${Number(day)} ${MONTHS[Number(month) - 1]} ${year}`;
  return clock === null ? said : `${said}, ${clock[1]}:${clock[2] ?? "00"}`;
}

function readDay(text: string): number | undefined {
  const found = DAY.exec(text);
  if (found === null) return undefined;
  const [year, month, day] = [Number(found[1]), Number(found[2]), Number(found[3])];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const real = year > 0 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return real ? date.getTime() : undefined;
}

function inRange(hour = "0", minute = "0", second = "0"): boolean {
  return Number(hour) < 24 && Number(minute) < 60 && Number(second) < 60;
}

function milliseconds(hour = "0", minute = "0", second = "0", fraction = "0"): number {
  return ((Number(hour) * 60 + Number(minute)) * 60 + Number(second) + Number(`0.${fraction}`)) * 1000;
}
