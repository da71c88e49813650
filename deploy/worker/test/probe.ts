// A Worker for tests: the pure parts, in workerd, many questions a request.

import { dumpJson, type Json, type JsonObject } from "../src/json";
import { generateToolDocs, promptDigest } from "../src/memory";
import { type Message, renderPrompt } from "../src/prompt";
import { parseReply } from "../src/reader";
import { callErrors } from "../src/tools";

interface Asked {
  read?: string[];
  render?: { messages: Message[]; now: string }[];
  check?: { tool: string; params: JsonObject }[];
  dump?: Json[];
}

export default {
  async fetch(request: Request): Promise<Response> {
    const asked = (await request.json()) as Asked;
    return Response.json({
      docs: generateToolDocs(),
      digest: await promptDigest(),
      read: asked.read?.map(parseReply),
      render: asked.render?.map(({ messages, now }) => tried(() => renderPrompt(messages, now))),
      check: asked.check?.map(callErrors),
      dump: asked.dump?.map(dumpJson),
    });
  },
};

function tried(work: () => string): string | null {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
