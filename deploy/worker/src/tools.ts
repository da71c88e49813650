/**
 * What a call needs before it is executed, and who executes it.
 *
 * Covers: refusing unknown tools and parameters that do not fit, the interface of an executor.
 * Does not cover: any store or service (d1.ts is one).
 */

import type { JsonObject } from "./json";
import { quote } from "./json";
import { TOOLS } from "./memory";
import type { ToolCall } from "./reader";
import { schemaErrors } from "./schema";

/** What came of a call: `result` goes back to the model, `text` is what the user reads. */
export interface Outcome {
  result: JsonObject;
  text: string;
  failed: boolean;
}

/** Executes calls that fit their schema. A failure is an outcome; what it throws is an error of its own. */
export interface ToolExecutor {
  execute(call: ToolCall): Promise<Outcome>;
}

/** Why a call cannot be executed, one line each; empty when it can. */
export function callErrors(call: ToolCall): string[] {
  const tool = TOOLS.get(call.tool);
  if (tool === undefined) return [`unknown tool ${quote(call.tool)}`];
  return schemaErrors(call.params, tool.parameters).map((error) => `${call.tool}: ${error}`);
}

/** An outcome of a call that did nothing. */
export function failed(why: string): Outcome {
  return { result: { error: why }, text: `Not done: ${why}.`, failed: true };
}
