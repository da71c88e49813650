// A Worker in workerd and what it asks: the tests' own Workers AI, which speaks the protocol of the AI binding.

import { createServer } from "node:http";
import { startWorker } from "../local.mjs";

export const TOKEN = "a-token-of-the-tests";
export const NOW = "2026-03-02T09:00:00+00:00";

/** One block for each call, as the model writes them. */
export const blocks = (...calls) =>
  calls.map(([tool, params]) => "```json\n" + JSON.stringify({ tool, params }) + "\n```").join("\n");

/** Answers in their order: a text is a reply, a function writes the response itself. Keeps what was asked. */
export async function scriptedAI() {
  const asked = [];
  const answers = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => (body += piece));
    request.on("end", () => {
      if (request.method !== "POST") return response.writeHead(404).end(); // the binding's try for a websocket
      asked.push({ model: request.headers["mf-header-cf-consn-model-id"], ...JSON.parse(body) });
      const answer = answers.shift() ?? refusal(500, 1000, "nothing is scripted");
      if (typeof answer === "function") return answer(response);
      const usage = { prompt_tokens: 700, completion_tokens: 20, total_tokens: 720 };
      send(response, 200, { response: answer, tool_calls: [], usage });
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve)));
  return { url: `http://127.0.0.1:${server.address().port}`, asked, answers, close };
}

export function send(response, status, body, type = "application/json") {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(text) }).end(text);
}

/** A refusal as the AI binding turns it into an AiError. */
export const refusal = (status, code, description) => (response) =>
  send(response, status, { internalCode: code, name: "AiError", message: description, description });

/** The Worker with a scripted AI; `lines` are its log lines. */
export async function startTalk({ vars = {}, more = {}, modules } = {}) {
  const ai = await scriptedAI();
  const lines = [];
  const keep = (stream) => {
    stream.setEncoding("utf8").on("data", (text) => lines.push(...text.split("\n").filter(Boolean)));
  };
  const worker = await startWorker({
    ai: ai.url,
    modules,
    vars: { ADAPTER: "tune-1", ACCESS_TOKEN: TOKEN, ...vars },
    more: { handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach(keep), ...more },
  });
  const ask = async (method, path, body, token = TOKEN) => {
    const answer = await worker.dispatchFetch(`http://localhost${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const db = await worker.getD1Database("DB");
  let history = [];
  return {
    ai, lines, worker, ask, db,
    rows: async (table) => (await db.prepare(`SELECT * FROM ${table} ORDER BY id`).all()).results,
    /** The next message of the same conversation; `answers` are what the model says to it. */
    say: async (text, ...answers) => {
      ai.answers.push(...answers);
      history.push({ role: "user", content: text });
      const { status, body } = await ask("POST", "/api/chat", { messages: history, now: NOW });
      if (status !== 200) throw new Error(JSON.stringify(body));
      history.push(...body.added);
      return body;
    },
    forget: async () => {
      history = [];
      ai.asked.length = ai.answers.length = lines.length = 0;
      for (const table of ["tasks", "events", "notes"]) await db.prepare(`DELETE FROM ${table}`).run();
    },
    close: async () => {
      await worker.dispose();
      await ai.close();
    },
  };
}

/** Waits until a condition holds; log lines come a moment after the response. */
export async function until(holds) {
  for (let tries = 0; tries < 1000; tries++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`in vain: ${holds}`);
}
