/**
 * JSON as harness/parsing.py reads it and as the training data writes it.
 *
 * Covers: strict reading (RFC 8259; no duplicate keys, no number that a double cannot hold, no deep nesting), writing
 * with Python's separators, since the model was trained on tool results that look like that.
 * Does not cover: whole numbers beyond 2^53, which lose digits here and do not in Python; no tool has a number.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export const MAX_DEPTH = 256;
export const MAX_DIGITS = 310;

const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const ESCAPES: ReadonlyMap<string, string> = new Map(
  Object.entries({ '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }),
);
const WORDS: readonly [string, Json][] = [["null", null], ["true", true], ["false", false]];

/** A text that is no JSON, or JSON that readers disagree on; the message says why in one line. */
export class JsonError extends Error {}

/** The value of a JSON text. Throws JsonError. */
export function loadStrict(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.space();
  if (reader.at < text.length) throw reader.error("Extra data");
  return value;
}

/** JSON with a space after each comma and colon, as Python's json.dumps(value, ensure_ascii=False) writes it. */
export function dumpJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(dumpJson).join(", ")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${dumpJson(inner)}`).join(", ")}}`;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Any text as one line in quotes, for messages. */
export function quote(text: string, most = 80): string {
  return JSON.stringify(text.slice(0, most));
}

class Reader {
  at = 0;
  constructor(private readonly text: string) {}

  error(what: string): JsonError {
    return new JsonError(`not JSON: ${what} at character ${this.at + 1}`);
  }

  space(): void {
    while (this.at < this.text.length && " \t\n\r".includes(this.text[this.at]!)) this.at++;
  }

  value(depth: number): Json {
    this.space();
    const mark = this.text[this.at];
    if (mark === '"') return this.string();
    if (mark === "{" || mark === "[") {
      if (depth >= MAX_DEPTH) throw new JsonError(`not JSON: nested deeper than ${MAX_DEPTH}`);
      this.at++;
      return mark === "{" ? this.object(depth + 1) : this.array(depth + 1);
    }
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private object(depth: number): JsonObject {
    const entries: [string, Json][] = [];
    const keys = new Set<string>();
    this.space();
    if (this.take("}")) return {};
    do {
      this.space();
      if (this.text[this.at] !== '"') throw this.error("Expecting property name enclosed in double quotes");
      const key = this.string();
      if (keys.has(key)) throw new JsonError(`duplicate key ${quote(key)}`);
      keys.add(key);
      this.space();
      if (!this.take(":")) throw this.error("Expecting ':' delimiter");
      entries.push([key, this.value(depth)]);
      this.space();
    } while (this.take(","));
    if (!this.take("}")) throw this.error("Expecting ',' delimiter");
    return Object.fromEntries(entries); // an own property even where the key is __proto__
  }

  private array(depth: number): Json[] {
    const items: Json[] = [];
    this.space();
    if (this.take("]")) return items;
    do {
      items.push(this.value(depth));
      this.space();
    } while (this.take(","));
    if (!this.take("]")) throw this.error("Expecting ',' delimiter");
    return items;
  }

  private string(): string {
    let value = "";
    let from = ++this.at;
    for (;;) {
      const mark = this.text[this.at];
      if (mark === undefined) throw this.error("Unterminated string");
      if (mark < " ") throw this.error("Invalid control character");
      if (mark !== '"' && mark !== "\\") {
        this.at++;
        continue;
      }
      value += this.text.slice(from, this.at++);
      if (mark === '"') return value;
      const escape = this.text[this.at++] ?? "";
      if (escape === "u") {
        HEX4.lastIndex = this.at;
        const hex = HEX4.exec(this.text)?.[0];
        if (hex === undefined) throw this.error("Invalid \\uXXXX escape");
        value += String.fromCharCode(parseInt(hex, 16));
        this.at += 4;
      } else {
        const meant = ESCAPES.get(escape);
        if (meant === undefined) throw this.error("Invalid \\escape");
        value += meant;
      }
      from = this.at;
    }
  }

  private number(): number {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (found === null) throw this.error("Expecting value");
    const [digits, fraction, exponent] = found;
    const whole = fraction === undefined && exponent === undefined;
    if (whole && digits.length > MAX_DIGITS) {
      throw new JsonError(`a number of ${digits.length} digits is out of range`);
    }
    const value = Number(digits);
    if (!Number.isFinite(value)) throw new JsonError(`the number ${digits.slice(0, 40)} is out of range`);
    this.at += digits.length;
    return value;
  }

  private take(mark: string): boolean {
    if (this.text[this.at] !== mark) return false;
    this.at++;
    return true;
  }
}
