/**
 * The Worker's HTTP side.
 *
 *   GET  /             the chat page
 *   POST /api/chat     {messages, now, notes?} -> {text, added, done}: answers and executes
 *   POST /api/reply    {messages, now} -> {text, model, adapter, ...}: the model's reply as it is; nothing is executed
 *   POST /api/notes    {text} -> {ok}: a note for generateLLMResponseWithRAG
 *   GET  /api/health   {model, adapter, prompt}: what is served, and the digest of the prompt (PromptSpec.digest)
 *
 * Covers: who may ask, what a request must look like, errors as {error: {code, message}}.
 * Does not cover: several users; whoever has the access token is the user.
 */

import page from "./chat.html";
import { D1Tools } from "./d1";
import { type JsonObject, isObject } from "./json";
import { NoteRetriever, promptDigest } from "./memory";
import { type Failure, PersonalAssistant, type Settings } from "./PersonalAssistant";
import type { Message } from "./prompt";
import { isInstant } from "./time";

export interface Env extends Settings {
  DB: D1Database;
  ACCESS_TOKEN?: string;
}

const MAX_BODY = 256 * 1024; // characters
const MAX_MESSAGES = 200;
const MAX_CONTENT = 20_000;
const MAX_NOTE = 2_000;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    try {
      return await route(request, env);
    } catch (error) {
      if (error instanceof Refusal) return refuse(error.status, error.code, error.message);
      console.error(JSON.stringify({ event: "toolgate.error", message: String(error) }));
      return refuse(500, "internal", "Something failed here; the Worker's log says what.");
    }
  },
} satisfies ExportedHandler<Env>;

async function route(request: Request, env: Env): Promise<Response> {
  const { pathname } = new URL(request.url);
  const asked = `${request.method} ${pathname}`;
  if (asked === "GET /") return showPage();
  if (!pathname.startsWith("/api/")) throw new Refusal(404, "not-found", "Nothing is here.");
  await checkAccess(request, env);
  const notes = new NoteRetriever(env.DB);
  const assistant = new PersonalAssistant(env, new D1Tools(env.DB), notes);
  switch (asked) {
    case "GET /api/health":
      return Response.json({ model: env.MODEL, adapter: await adapterName(env), prompt: await promptDigest() });
    case "POST /api/chat": {
      const body = await readBody(request);
      const [messages, now] = [readMessages(body), readNow(body)];
      if (messages.at(-1)!.role !== "user") throw bad("The last message must be the user's.");
      return Response.json(await assistant.chat(messages, now, body.notes === true));
    }
    case "POST /api/reply": {
      const body = await readBody(request);
      const found = await assistant.generateLLMResponse(readMessages(body), readNow(body));
      if (found.failure !== undefined) return refuse(status(found.failure), found.failure.code, found.failure.message);
      const { raw: text, model, adapter, seconds, truncated, promptTokens, completionTokens } = found;
      const usage = { prompt_tokens: promptTokens, completion_tokens: completionTokens };
      return Response.json({ text, model, adapter, seconds, truncated, usage });
    }
    case "POST /api/notes": {
      const { text } = await readBody(request);
      if (typeof text !== "string" || text.trim() === "" || text.length > MAX_NOTE) {
        throw bad(`text must be a string of 1 to ${MAX_NOTE} characters.`);
      }
      await notes.save(text);
      return Response.json({ ok: true });
    }
    default:
      throw new Refusal(404, "not-found", "Known: POST /api/chat, /api/reply, /api/notes; GET /api/health.");
  }
}

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

function bad(message: string): Refusal {
  return new Refusal(400, "bad-request", message);
}

function refuse(status: number, code: string | number, message: string): Response {
  return Response.json({ error: { code, message } }, { status });
}

/** 429 for the daily limit and for no capacity, as Workers AI answers; 504 where it was too slow. */
function status({ code }: Failure): number {
  return code === 3036 || code === 3040 ? 429 : code === "timeout" ? 504 : code === "no-adapter" ? 503 : 502;
}

async function adapterName(env: Env): Promise<string> {
  return (await env.SWITCH?.get("adapter")) || env.ADAPTER || "";
}

/** The script and the style run by a nonce only, so that nothing that a model or a user wrote can. */
function showPage(): Response {
  const nonce = crypto.randomUUID();
  const policy = [
    "default-src 'none'", `script-src 'nonce-${nonce}'`, `style-src 'nonce-${nonce}'`, "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
  ];
  return new Response(page.replaceAll("{nonce}", nonce), {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy.join("; "),
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    },
  });
}

/** A Worker has a public address: without a token nobody may ask, and nobody spends the account's neurons. */
async function checkAccess(request: Request, env: Env): Promise<void> {
  if (!env.ACCESS_TOKEN) {
    throw new Refusal(503, "no-token", "Set a token first: npx wrangler secret put ACCESS_TOKEN");
  }
  const given = request.headers.get("authorization") ?? "";
  const [one, other] = await Promise.all([given, `Bearer ${env.ACCESS_TOKEN}`].map(hash));
  // Equal lengths, compared in equal time.
  if (!crypto.subtle.timingSafeEqual(one!, other!)) throw new Refusal(401, "wrong-token", "The access token is wrong.");
}

function hash(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}

async function readBody(request: Request): Promise<JsonObject> {
  const tooLarge = new Refusal(413, "too-large", "Too much text.");
  if (Number(request.headers.get("content-length")) > 4 * MAX_BODY) throw tooLarge;
  const text = await request.text();
  if (text.length > MAX_BODY) throw tooLarge;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw bad("The body is not JSON.");
  }
  if (!isObject(body)) throw bad("The body must be a JSON object.");
  return body;
}

/** A conversation without a system message: the prompt is ours. */
function readMessages({ messages }: JsonObject): Message[] {
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > MAX_MESSAGES) {
    throw bad(`messages must be an array of 1 to ${MAX_MESSAGES}.`);
  }
  return messages.map((message, at) => {
    const { role, content } = isObject(message) ? message : {};
    if (role !== "user" && role !== "assistant" && role !== "tool") {
      throw bad(`messages[${at}].role must be user, assistant or tool.`);
    }
    if (typeof content !== "string" || content.length > MAX_CONTENT) {
      throw bad(`messages[${at}].content must be a string of at most ${MAX_CONTENT} characters.`);
    }
    return { role, content };
  });
}

function readNow({ now }: JsonObject): string {
  if (typeof now !== "string" || !isInstant(now)) {
    throw bad("now must be ISO 8601 with an offset: 2026-03-02T09:00:00+00:00");
  }
  return now;
}
