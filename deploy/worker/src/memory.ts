/**
 * What the assistant knows before a conversation starts: its tools, its system prompt, the user's notes.
 *
 * Covers: the toolset and the system prompt, both read from harness/toolsets when the Worker is built, so that
 * training, evaluation and the Worker share one source; the tool docs of harness/toolset.py byte for byte; notes.
 * Does not cover: the Llama 3 text (prompt.ts).
 */

import toolset from "../../../harness/toolsets/personal_assistant.json";
import systemPrompt from "../../../harness/toolsets/system_prompt.md";
import type { JsonObject } from "./json";
import { checkSchema } from "./schema";
import { strip } from "./text";

export interface Tool {
  name: string;
  description: string;
  parameters: JsonObject;
}

/** The tools in the order of their file. */
export const TOOLS: ReadonlyMap<string, Tool> = new Map(
  (toolset.tools as unknown as Tool[]).map((tool) => [tool.name, tool]),
);
for (const tool of TOOLS.values()) checkSchema(tool.parameters);

const TEMPLATE = readTemplate(systemPrompt);
const DOCS = generateToolDocs();

/** The tool docs of the prompt: one line per tool, in file order, without a newline at the end. */
export function generateToolDocs(tools: Iterable<Tool> = TOOLS.values()): string {
  return [...tools].map(docLine).join("\n");
}

/** The system prompt at a time that is said as `2026-03-02T09:00:00+00:00 (Monday)`. */
export function systemAt(moment: string): string {
  // Functions, since $& in a replacement text would be a pattern.
  return TEMPLATE.replaceAll("{tool_docs}", () => DOCS).replaceAll("{now}", () => moment);
}

/** `sha256:<hex>` over template and tool docs, equal to PromptSpec.digest: which prompt this Worker speaks. */
export async function promptDigest(): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${TEMPLATE}\0${DOCS}`));
  return "sha256:" + [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Where generateLLMResponseWithRAG looks things up. */
export interface Retriever {
  /** At most `most` texts that may help with a question, the best first. */
  find(question: string, most: number): Promise<string[]>;
}

/** Notes in D1, found by their words (SQLite's FTS5, ranked by BM25). */
export class NoteRetriever implements Retriever {
  constructor(private readonly db: D1Database) {}

  async save(text: string): Promise<void> {
    await this.db.prepare("INSERT INTO notes (text) VALUES (?)").bind(text).run();
  }

  async find(question: string, most: number): Promise<string[]> {
    // Every word in quotes: FTS5 has a query language, and a question must not be one.
    const words = question.match(/[\p{L}\p{N}]{3,}/gu)?.slice(0, 30) ?? [];
    if (words.length === 0) return [];
    const query = words.map((word) => `"${word}"`).join(" OR ");
    const found = await this.db
      .prepare("SELECT text FROM notes WHERE notes MATCH ? ORDER BY rank LIMIT ?")
      .bind(query, most)
      .all<{ text: string }>();
    return found.results.map((row) => row.text);
  }
}

function docLine(tool: Tool): string {
  const required = new Set((tool.parameters.required ?? []) as string[]);
  const params = Object.entries(tool.parameters.properties as { [name: string]: JsonObject }).map(
    ([name, schema]) => `${name}${required.has(name) ? "" : "?"}: ${docType(schema)}`,
  );
  return `- ${tool.name}(${params.join(", ")}): ${tool.description}`;
}

function docType(schema: JsonObject): string {
  if (schema.enum !== undefined) return (schema.enum as string[]).join("|");
  if (schema.anyOf !== undefined) return (schema.anyOf as JsonObject[]).map(docType).join("|");
  if (schema.type === "array") return `${docType(schema.items as JsonObject)}[]`;
  const kind = String(schema.format ?? schema.type ?? "any");
  return kind === "date-time" ? "time" : kind === "string" ? "text" : kind;
}

function readTemplate(file: string): string {
  const template = strip(file.replaceAll("\r\n", "\n"));
  for (const placeholder of ["{tool_docs}", "{now}"]) {
    if (template.split(placeholder).length !== 2) throw new Error(`system_prompt.md must hold ${placeholder} once.`);
  }
  if (!template.endsWith("\nCurrent time: {now}")) {
    throw new Error("system_prompt.md must end with the line 'Current time: {now}'.");
  }
  return template;
}
