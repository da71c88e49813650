/**
 * The assistant: a conversation in, what to say and what was done out.
 *
 * Covers: asking Workers AI for a reply with the adapter, in a given time; reading it; refusing what does not fit the
 * tools before anything is executed; executing the rest; plain text where no reply can be used; one log line a reply.
 * Does not cover: HTTP (index.ts), stores (d1.ts).
 *
 * What a user reads about data comes from the data, never from the model: a model that sums up a result can be wrong.
 */

import { dumpJson } from "./json";
import type { Json, JsonObject } from "./json";
import type { Retriever } from "./memory";
import { type Message, renderPrompt } from "./prompt";
import { type Reply, type ToolCall, parseReply } from "./reader";
import { type Outcome, type ToolExecutor, callErrors, failed } from "./tools";

export const FALLBACK = "I cannot answer right now, and nothing was changed. Please try again in a moment.";
export const NOT_UNDERSTOOD = "I could not work that out, and nothing was changed. Could you say it in other words?";

const MAX_TOKENS = 256; // the evals' limit (harness.targets.Decoding): what is measured is what is served
const SEED = 1; // with temperature 0 the served base repeats itself; Workers AI counts seeds from 1
const OUT_OF_CAPACITY = 3040; // the one code that asks for another try; 3036, the daily limit, does not
const RETRY_PAUSE_MS = 300;
const HISTORY_CHARS = 4000; // about 1,300 tokens; with the tools they fit a context of 2,048
const NOTES = 3;
const NOTE_CHARS = 500;

/** What the platform gives the Worker; see wrangler.jsonc. */
export interface Settings {
  AI: Ai;
  MODEL: string;
  ADAPTER?: string; // the name or id of the fine-tune
  SWITCH?: KVNamespace; // where it is bound, its key `adapter` goes before ADAPTER
  TIMEOUT_MS?: string;
  LOG_TEXT?: string; // "on": log lines hold the reply's text, which may be personal
}

/** Why there is no reply. `code` is Workers AI's number, or one of our words. */
export interface Failure {
  code: number | "timeout" | "no-adapter" | "unreadable" | "unknown";
  message: string;
}

export interface LLMResponse {
  text: string; // fit to be shown, whatever happened
  calls: ToolCall[]; // each of a known tool, with parameters that fit; empty unless all are
  raw: string; // what the model wrote
  failure?: Failure;
  model: string;
  adapter: string;
  seconds: number;
  promptTokens?: number;
  completionTokens?: number;
  truncated: boolean;
}

export interface Done {
  tool: string;
  params: JsonObject;
  result: JsonObject;
  failed: boolean;
}

/** What a user's message led to: `added` are the messages that the conversation grew by. */
export interface Turn {
  text: string;
  added: Message[];
  done: Done[];
  failure?: Failure;
}

export class PersonalAssistant {
  constructor(
    private readonly settings: Settings,
    private readonly tools: ToolExecutor,
    private readonly retriever?: Retriever,
  ) {}

  /** Ask the model once. `messages` has no system prompt; `now` is ISO 8601 with the user's offset. Never throws. */
  async generateLLMResponse(messages: readonly Message[], now: string): Promise<LLMResponse> {
    const began = Date.now();
    const response: LLMResponse = {
      text: FALLBACK, calls: [], raw: "", model: this.settings.MODEL, adapter: "", seconds: 0, truncated: false,
    };
    let reply: Reply | undefined;
    try {
      response.adapter = await this.adapter();
      const answer = await this.ask(renderPrompt(messages, now), response.adapter, began);
      Object.assign(response, answer);
      reply = parseReply(response.raw);
    } catch (error) {
      response.failure = readFailure(error);
    }
    response.seconds = (Date.now() - began) / 1000;
    const errors = reply?.calls.flatMap(callErrors) ?? [];
    if (reply !== undefined) {
      const usable = reply.kind === "call" ? errors.length === 0 : reply.kind === "none" && reply.text !== "";
      response.text = usable ? reply.text : NOT_UNDERSTOOD;
      if (usable) response.calls = reply.calls;
    }
    this.log(response, reply, errors);
    return response;
  }

  /**
   * The same with what the retriever finds for the user's last message, put before it in the same turn: the system
   * prompt stays as it was trained. A retriever that fails is done without.
   */
  async generateLLMResponseWithRAG(messages: readonly Message[], now: string): Promise<LLMResponse> {
    const question = messages.at(-1);
    if (this.retriever === undefined || question?.role !== "user") return this.generateLLMResponse(messages, now);
    let notes: string[] = [];
    try {
      notes = await this.retriever.find(question.content, NOTES);
    } catch (error) {
      console.error(JSON.stringify({ event: "toolgate.notes", message: String(error) }));
    }
    const lines = notes.map((note) => `- ${note.slice(0, NOTE_CHARS).replaceAll(/\s+/g, " ")}\n`).join("");
    const content = notes.length === 0 ? question.content : `Notes:\n${lines}\n${question.content}`;
    return this.generateLLMResponse([...messages.slice(0, -1), { role: "user", content }], now);
  }

  /**
   * Answer the last message of a conversation, executing what the model calls.
   *
   * After listTasks the model is asked once more, since it lists in order to find what to complete, change or delete.
   */
  async chat(messages: readonly Message[], now: string, withNotes = false): Promise<Turn> {
    const turn: Turn = { text: "", added: [], done: [] };
    const said: string[] = [];
    for (let round = 1; ; round++) {
      const history = recent([...messages, ...turn.added]);
      const response =
        withNotes && round === 1
          ? await this.generateLLMResponseWithRAG(history, now)
          : await this.generateLLMResponse(history, now);
      const again = round > 1 && response.calls.every(({ tool }) => tool === "listTasks");
      if (round === 1 && response.calls.length === 0) {
        said.push(response.text);
        if (response.failure !== undefined) turn.failure = response.failure;
      }
      if (response.calls.length === 0 || again) break; // the list was said already
      turn.added.push({ role: "assistant", content: response.raw });
      for (const call of response.calls) {
        const outcome = await this.execute(call);
        turn.done.push({ ...call, result: outcome.result, failed: outcome.failed });
        turn.added.push({ role: "tool", content: dumpJson(outcome.result) });
        said.push(outcome.text);
      }
      if (round > 1 || !response.calls.every(({ tool }) => tool === "listTasks")) break;
    }
    turn.text = said.join("\n");
    turn.added.push({ role: "assistant", content: turn.text });
    return turn;
  }

  private async execute(call: ToolCall): Promise<Outcome> {
    try {
      return await this.tools.execute(call);
    } catch (error) {
      console.error(JSON.stringify({ event: "toolgate.tool", tool: call.tool, message: String(error) }));
      return failed("the store did not answer");
    }
  }

  private async adapter(): Promise<string> {
    const name = (await this.settings.SWITCH?.get("adapter")) || this.settings.ADAPTER;
    // The bare base has passed no gate, so it is no fallback.
    if (!name) throw new NoReply("no-adapter", "No adapter is set: ADAPTER and the key adapter of SWITCH are empty.");
    return name;
  }

  private async ask(prompt: string, adapter: string, began: number): Promise<Partial<LLMResponse>> {
    const limit = began + (Number(this.settings.TIMEOUT_MS) || 10_000);
    // The adapter's name belongs here; among the options, the third argument, it would not be requested at all.
    const inputs = { prompt, raw: true, lora: adapter, max_tokens: MAX_TOKENS, temperature: 0, seed: SEED };
    const model = this.settings.AI as unknown as TextModel; // the types know no lora for this model
    const run = () => within(limit - Date.now(), model.run(this.settings.MODEL, inputs));
    let answer: unknown;
    try {
      answer = await run();
    } catch (error) {
      if (readFailure(error).code !== OUT_OF_CAPACITY || Date.now() + RETRY_PAUSE_MS >= limit) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
      answer = await run();
    }
    const { response, usage } = (answer ?? {}) as { response?: unknown; usage?: { [count: string]: number } };
    if (typeof response !== "string") throw new NoReply("unreadable", "The answer holds no text.");
    const [promptTokens, completionTokens] = [usage?.prompt_tokens, usage?.completion_tokens];
    return { raw: response, promptTokens, completionTokens, truncated: (completionTokens ?? 0) >= MAX_TOKENS };
  }

  /** One line of JSON a reply: what `python -m deploy monitor` reads from the Worker's logs. */
  private log(response: LLMResponse, reply: Reply | undefined, errors: string[]): void {
    const line: { [key: string]: Json | undefined } = {
      event: "toolgate.reply",
      at: new Date().toISOString(),
      model: response.model,
      adapter: response.adapter,
      kind: reply === undefined ? "error" : reply.kind === "none" && reply.text === "" ? "empty" : reply.kind,
      tools: reply?.calls.map(({ tool }) => tool) ?? [],
      errors: errors.length,
      code: response.failure?.code,
      seconds: response.seconds,
      prompt_tokens: response.promptTokens,
      completion_tokens: response.completionTokens,
      truncated: response.truncated,
      text: this.settings.LOG_TEXT === "on" ? response.raw : undefined,
    };
    console.log(JSON.stringify(line));
  }
}

interface TextModel {
  run(model: string, inputs: object): Promise<unknown>;
}

class NoReply extends Error {
  constructor(
    readonly code: Failure["code"],
    message: string,
  ) {
    super(message);
  }
}

/** The newest messages that fit, from a user's message on; the last one of a user is always among them. */
function recent(messages: readonly Message[]): Message[] {
  const lastQuestion = messages.findLastIndex(({ role }) => role === "user");
  let from = messages.length;
  for (let at = messages.length - 1, size = 0; at >= 0; at--) {
    size += messages[at]!.content.length;
    if (size > HISTORY_CHARS && at < lastQuestion) break;
    if (messages[at]!.role === "user") from = at;
  }
  return messages.slice(from);
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  let timer: number | null = null;
  const late = new Promise<never>((_, reject) => {
    const error = new NoReply("timeout", "Workers AI took too long.");
    timer = setTimeout(() => reject(error), Math.max(0, milliseconds));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The binding throws `AiError: 5033: …` or `InferenceUpstreamError: 3037: …`; the number is Workers AI's own. */
function readFailure(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof NoReply) return { code: error.code, message };
  const code = /^(?:[A-Za-z]+: )?([0-9]{4,5}):/.exec(message)?.[1];
  return { code: code === undefined ? "unknown" : Number(code), message: message.slice(0, 300) };
}
