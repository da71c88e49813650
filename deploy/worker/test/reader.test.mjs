// The reader, the docs and the rendering in workerd. That they equal Python's is shown by tests/deploy/test_worker.py.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { bundle, startWorker } from "../local.mjs";

const ROOT = new URL("../../../", import.meta.url);
const read = (path) => readFileSync(new URL(path, ROOT), "utf8");
let worker;
before(async () => { worker = await startWorker({ modules: await bundle("test/probe.ts") }); });
after(() => worker.dispose());

async function probe(asked) {
  const answer = await worker.dispatchFetch("http://localhost/", { method: "POST", body: JSON.stringify(asked) });
  return answer.json();
}

test("every vector is read as a person wrote beside it", async () => {
  const vectors = JSON.parse(read("tests/vectors/replies.json"));
  assert.ok(vectors.length >= 160);
  const { read: found } = await probe({ read: vectors.map(({ text }) => text) });
  vectors.forEach((vector, at) => {
    assert.equal(found[at].kind, vector.kind, `${vector.id}: ${vector.why}`);
    assert.deepEqual(found[at].calls, vector.calls, vector.id);
    assert.equal(found[at].malformed.length > 0, vector.kind === "malformed", vector.id);
  });
});

test("a quarter of a megabyte of the worst text is read within a second", async () => {
  const size = 250_000;
  const worst = ["{", '{"tool"', '{"a":"', "'{", "```json", "`", "<|eot_id|>", "{tool: ", '"\\', "[".repeat(9), "<|a"];
  const fenced = ["[", '{"a":', '"\\u00e9', "1"];
  const texts = worst.map((piece) => piece.repeat(size / piece.length));
  texts.push(...fenced.map((piece) => "```json\n" + piece.repeat(size / piece.length) + "\n```"));
  for (const text of texts) {
    const began = performance.now();
    await probe({ read: [text] });
    assert.ok(performance.now() - began < 1000, `${text.slice(0, 20)}: ${performance.now() - began} ms`);
  }
});

test("an object's key may be __proto__", async () => {
  const { read: [reply] } = await probe({ read: ['```json\n{"tool": "x", "params": {"__proto__": {"a": "b"}}}\n```'] });
  assert.equal(reply.kind, "call");
  assert.ok(Object.hasOwn(JSON.parse(JSON.stringify(reply)).calls[0].params, "__proto__"));
});

test("the tool docs are made from the harness's own file", async () => {
  const { docs } = await probe({});
  const { tools } = JSON.parse(read("harness/toolsets/personal_assistant.json"));
  assert.deepEqual(docs.split("\n").map((line) => /^- (\w+)\(/.exec(line)[1]), tools.map(({ name }) => name));
});
