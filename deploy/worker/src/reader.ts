/**
 * From a model's text to a Reply: call, no call, or an attempt that cannot be read. harness/parsing.py in TypeScript.
 *
 * Covers: the same as there, for the same vectors (tests/vectors/replies.json): fenced call blocks, strict JSON,
 * attempts in a wrong place or a foreign syntax, tokens leaked at the end.
 * Does not cover: whether a tool exists or its parameters fit (tools.ts); nothing from a model is evaluated as code.
 *
 * Read the Python file for the reasons; the order of the functions is the same. Where the two differ in form, it is
 * since JavaScript has no possessive quantifiers: strings are passed over by hand.
 */

import { JsonError, type JsonObject, isObject, loadStrict, quote } from "./json";
import { strip } from "./text";

export interface ToolCall {
  tool: string;
  params: JsonObject;
}

export interface MalformedCall {
  text: string;
  why: string;
}

/** `calls` is empty unless `kind` is call; `text` is the prose without blocks. */
export interface Reply {
  kind: "call" | "none" | "malformed";
  calls: ToolCall[];
  malformed: MalformedCall[];
  text: string;
}

/** A stretch of the text: prose (`fence` undefined), a call block ("json") or another fence ("other"). */
interface Part {
  fence?: "json" | "other";
  raw: string;
  body: string;
  info: string;
  closed: boolean;
}

const FOREIGN = new RegExp(
  String.raw`<tool_calls?[ >]|<\|tool_calls?|<function_?calls?[ >]|<function=|<function name=|<invoke name=` +
    String.raw`|<\|python_tag\|>|\[TOOL_CALLS\]`,
  "i",
);
const TRAILING_TOKEN = /^(?:<\|[A-Za-z0-9_]+\|>|<\/s>|<\|start_header_id\|>[a-z]+<\|end_header_id\|>)$/;
const LONGEST_TOKEN = 80;

const RUN = /`{3,}|~{3,}/g;
const OPENER = /^ {0,3}(`{3,}|~{3,})/;
const INNER_FENCE = /(?:`{3,}|~{3,})json[ \t]*(?=[[{]|$)/iy;
const JSON_INFO = /^json[ \t]*(?=[[{])/i;
const TOKEN = /[{}'"]|\b(?:tool|params|name|arguments|parameters)\b/g;
const COLON = /[ \t\n]*:/y;
const WORD_COLON = /[”’]?[ \t\n]*:/y; // a key without quotes, or in typographic ones
const SPACE = " \t\n\r\f\v";

const F_TOOL = 1, F_PARAMS = 2, F_NAME = 4, F_ARGUMENTS = 8, F_TOOL_FIRST = 16, F_OTHER = 32;
const FLAGS: ReadonlyMap<string, number> = new Map([
  ["tool", F_TOOL], ["params", F_PARAMS], ["name", F_NAME], ["arguments", F_ARGUMENTS], ["parameters", F_ARGUMENTS],
]);

/** Read a model's text. Never throws; takes time in proportion to the length of the text. */
export function parseReply(reply: string): Reply {
  const whole = reply.replaceAll("\r\n", "\n");
  const text = whole.slice(0, endOfSpeech(whole));
  const calls: ToolCall[] = [];
  const malformed: MalformedCall[] = [];
  const prose: string[] = [];
  for (const part of splitFences(text)) {
    if (part.fence === "json") {
      try {
        calls.push(readCall(part));
      } catch (error) {
        if (!(error instanceof JsonError)) throw error;
        malformed.push({ text: part.raw, why: error.message });
      }
    } else {
      prose.push(part.raw);
      malformed.push(...findAttempts(part));
    }
  }
  const kind = malformed.length > 0 ? "malformed" : calls.length > 0 ? "call" : "none";
  return { kind, calls: kind === "call" ? calls : [], malformed, text: strip(prose.join("\n")) };
}

/** Where the text ends when special tokens leaked at its very end, and the space around them, are left out. */
function endOfSpeech(text: string): number {
  let end = text.length;
  for (;;) {
    let trimmed = end;
    while (trimmed > 0 && SPACE.includes(text[trimmed - 1]!)) trimmed--;
    let start = lastBracket(text, trimmed);
    const last = text.slice(Math.max(start, 0), trimmed);
    start = Math.max(start, 0);
    if (last === "<|end_header_id|>") {
      const opener = lastBracket(text, start);
      if (opener >= 0 && TRAILING_TOKEN.test(text.slice(opener, trimmed))) start = opener;
    } else if (last === "<|python_tag|>") {
      return end; // opens a call: never noise
    }
    if (!TRAILING_TOKEN.test(text.slice(start, trimmed))) return end;
    end = start;
  }
}

/** The last `<` within a token's length before `end`; -1 without one. */
function lastBracket(text: string, end: number): number {
  const from = Math.max(0, end - LONGEST_TOKEN);
  const found = text.slice(from, end).lastIndexOf("<");
  return found < 0 ? -1 : from + found;
}

/** Cut a text into prose, call blocks and other fences, line by line. */
function* splitFences(text: string): Generator<Part> {
  let prose: string[] = [];
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!;
    const opener = openFence(line);
    if (opener === undefined) {
      prose.push(line);
      continue;
    }
    if (prose.length > 0) yield { raw: prose.join("\n"), body: "", info: "", closed: true };
    prose = [];
    const first = at;
    let closed = false;
    while (!closed && ++at < lines.length) closed = closesFence(lines[at]!, opener.mark);
    const raw = lines.slice(first, closed ? at + 1 : lines.length);
    const body = raw.slice(1, closed ? -1 : undefined);
    const fence = opener.info.toLowerCase() === "json" ? "json" : "other";
    yield { fence, raw: raw.join("\n"), body: body.join("\n"), info: opener.info, closed };
  }
  if (prose.length > 0) yield { raw: prose.join("\n"), body: "", info: "", closed: true };
}

/** The run and the info string of a line that opens a fence; undefined for any other line. */
function openFence(line: string): { mark: string; info: string } | undefined {
  const found = OPENER.exec(line);
  if (found === null) return undefined;
  const mark = found[1]!;
  const info = stripBlanks(line.slice(found[0].length));
  // CommonMark: a backtick in the info string means that the line is inline code.
  return mark[0] === "`" && info.includes("`") ? undefined : { mark, info };
}

function closesFence(line: string, mark: string): boolean {
  const found = OPENER.exec(line);
  if (found === null) return false;
  const run = found[1]!;
  return run[0] === mark[0] && run.length >= mark.length && stripBlanks(line.slice(found[0].length)) === "";
}

function stripBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && " \t\r".includes(text[start]!)) start++;
  while (end > start && " \t\r".includes(text[end - 1]!)) end--;
  return text.slice(start, end);
}

/** The call of a json block; throws JsonError with the reason when there is none. */
function readCall(part: Part): ToolCall {
  if (!part.closed) throw new JsonError("the json fence is not closed");
  const value = loadStrict(part.body);
  if (!isObject(value)) throw new JsonError(`needs one object, found ${jsonType(value)}`);
  const { tool, params } = value;
  if (Object.keys(value).length !== 2 || !Object.hasOwn(value, "tool") || !Object.hasOwn(value, "params")) {
    const found = Object.keys(value).map((key) => quote(key)).join(", ") || "none";
    throw new JsonError(`needs exactly the keys 'tool' and 'params', found ${found.slice(0, 200)}`);
  }
  if (typeof tool !== "string" || tool === "") {
    throw new JsonError(`'tool' must be a non-empty string, found ${tool === "" ? "an empty one" : jsonType(tool)}`);
  }
  if (!isObject(params)) throw new JsonError(`'params' must be an object, found ${jsonType(params)}`);
  return { tool, params };
}

/** Attempted calls in prose or in a fence that is no call block; each of them is malformed. */
function findAttempts(part: Part): MalformedCall[] {
  const text = part.raw;
  const isProse = part.fence === undefined;
  const found: MalformedCall[] = [];
  if (isProse) found.push(...findBrokenFences(text));
  else if (JSON_INFO.test(part.info)) {
    found.push({ text, why: "the object stands on the line of the json fence" });
  }
  const foreign = FOREIGN.exec(text);
  if (foreign !== null) {
    // One attempt: what follows the marker belongs to it.
    found.push({ text: text.slice(foreign.index), why: `foreign call syntax ${strip(foreign[0])}` });
  }
  const place = isProse ? "in the text" : "in a fence that is not json";
  // In code `{tool: x, params: y}` is somebody's program; in prose it is a call without its quotes.
  for (const { start, end, why } of findCallObjects(text, isProse)) {
    found.push({ text: text.slice(start, end), why: `${why} ${place}` });
  }
  return found;
}

/** `json` fences that do not stand alone at the start of a line. */
function findBrokenFences(text: string): MalformedCall[] {
  if (!text.toLowerCase().includes("json")) return [];
  const found: MalformedCall[] = [];
  for (const line of text.split("\n")) {
    for (const run of line.matchAll(RUN)) {
      INNER_FENCE.lastIndex = run.index;
      if (INNER_FENCE.test(line)) {
        found.push({ text: line.slice(run.index), why: "a json fence stands alone at the start of its line" });
        break;
      }
    }
  }
  return found;
}

interface Span {
  start: number;
  end: number;
  why: string;
}

/**
 * Spans of objects that are calls by their keys, strict JSON or not, whole or cut off at the end.
 *
 * A pass over braces, strings and keys; keys count for the innermost open object only.
 */
function findCallObjects(text: string, bareKeys: boolean): Span[] {
  if (!text.includes("{") || !["tool", "name", "\\u"].some((word) => text.includes(word))) return [];
  const found: Span[] = [];
  const open: { start: number; flags: number }[] = [];
  let at = 0;
  for (;;) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text);
    if (token === null) break;
    const start = token.index;
    const mark = text[start]!;
    at = mark === '"' ? endOfString(text, start) : start + token[0].length;
    const inner = open.at(-1);
    if (mark === "{") {
      open.push({ start, flags: 0 });
    } else if (inner === undefined) {
      // Outside of objects only the next brace counts.
      at = text.indexOf("{", at);
      if (at < 0) break;
    } else if (mark === "}") {
      open.pop();
      const why = callByKeys(inner.flags);
      if (why !== "") {
        // The outer object covers what was found inside it.
        while (found.length > 0 && found.at(-1)!.start > inner.start) found.pop();
        found.push({ start: inner.start, end: at, why });
      }
    } else {
      let key: string;
      if (mark === '"') {
        key = text.slice(start + 1, at - 1);
      } else if (mark === "'") {
        if (!follows(text, start, "{[,:(")) continue; // an apostrophe
        at = endOfString(text, start);
        key = text.slice(start + 1, at - 1);
      } else if (bareKeys && follows(text, start, "{,")) {
        WORD_COLON.lastIndex = at;
        if (!WORD_COLON.test(text)) continue;
        key = token[0];
        at = WORD_COLON.lastIndex - 1;
      } else {
        continue;
      }
      COLON.lastIndex = at;
      if (!COLON.test(text)) continue;
      at = COLON.lastIndex;
      const flag = FLAGS.get(unescapeKey(key)) ?? F_OTHER;
      inner.flags |= inner.flags === 0 && flag === F_TOOL ? F_TOOL | F_TOOL_FIRST : flag;
    }
  }
  for (const { start, flags } of open) {
    const why = callByKeys(flags) || (flags & F_TOOL_FIRST ? "an unfinished call object" : "");
    // Never closed, so it covers the rest.
    if (why !== "") return [...found.filter((span) => span.start < start), { start, end: text.length, why }];
  }
  return found;
}

/** Where the string that opens at `start` ends: behind its closing quote, or with its line. */
function endOfString(text: string, start: number): number {
  const mark = text[start];
  let at = start + 1;
  while (at < text.length && text[at] !== "\n") {
    if (text[at] === mark) return at + 1;
    if (text[at] === "\\") {
      if (at + 1 >= text.length || text[at + 1] === "\n") return at;
      at++;
    }
    at++;
  }
  return at;
}

function callByKeys(flags: number): string {
  if (flags & F_TOOL && flags & F_PARAMS) return "a call object";
  if (flags & F_NAME && flags & F_ARGUMENTS) return "an object with name and arguments or parameters";
  return "";
}

/** True where what stands at `at` follows one of the marks, with little space between: else it is prose. */
function follows(text: string, at: number, marks: string): boolean {
  let before = at;
  while (before > 0 && before > at - 20 && `${SPACE}“‘`.includes(text[before - 1]!)) before--;
  return before > 0 && before > at - 20 && marks.includes(text[before - 1]!);
}

function unescapeKey(key: string): string {
  if (!key.includes("\\")) return key;
  try {
    return String(JSON.parse(`"${key}"`));
  } catch {
    return key;
  }
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return "an array";
  if (value === null) return "null";
  const names: { [type: string]: string } = { object: "an object", string: "a string", boolean: "a boolean" };
  return names[typeof value] ?? "a number";
}
