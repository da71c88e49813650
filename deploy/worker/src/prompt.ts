/**
 * From a conversation to the text that a Llama 3 model reads: harness/prompt.py in TypeScript, equal byte for byte.
 *
 * Covers: the message list with the system prompt, the Llama 3 text, neutralising special tokens in foreign text.
 * Does not cover: tokens. The text is sent with `raw`: messages would go through the platform's own template, which
 * stamps two dates in and quotes tool results, and no adapter of ours was trained on that.
 */

import { systemAt } from "./memory";
import { strip } from "./text";
import { isInstant, weekday } from "./time";

export type Role = "system" | "user" | "assistant" | "tool";

export interface Message {
  role: Role;
  content: string;
}

const BOS = "<|begin_of_text|>";
const EOT = "<|eot_id|>";
// The official template's name of the role that carries tool results.
const ROLE_HEADERS: ReadonlyMap<string, string> = new Map([
  ["system", "system"], ["user", "user"], ["assistant", "assistant"], ["tool", "ipython"],
]);
const SPECIAL = /<\|(?=[A-Za-z0-9_]+\|>)/g;

/** The whole prompt as Llama 3 text, ending where the assistant's turn begins. `now` is ISO 8601 with an offset. */
export function renderPrompt(messages: readonly Message[], now: string): string {
  return renderLlama3(buildMessages(messages, now));
}

/** The conversation as it is sent: system prompt first, special-token strings neutralised. */
export function buildMessages(messages: readonly Message[], now: string): Message[] {
  if (!isInstant(now)) throw new RangeError(`${JSON.stringify(now)} is not a time with an offset`);
  const system: Message = { role: "system", content: systemAt(`${now} (${weekday(now)})`) };
  return [system, ...messages.map(({ role, content }) => ({ role, content: neutralise(content) }))];
}

/** Llama 3 text of a conversation with exactly one BOS. Throws for a role that the format does not know. */
export function renderLlama3(messages: readonly Message[]): string {
  return BOS + messages.map(({ role, content }) => header(role) + strip(content) + EOT).join("") + header("assistant");
}

/** Foreign text in which no special token can be read: a space is put into `<|name|>`. */
export function neutralise(text: string): string {
  return text.replaceAll(SPECIAL, "< |");
}

function header(role: string): string {
  const name = ROLE_HEADERS.get(role);
  if (name === undefined) throw new RangeError(`Unknown role ${JSON.stringify(role)}`);
  return `<|start_header_id|>${name}<|end_header_id|>\n\n`;
}
