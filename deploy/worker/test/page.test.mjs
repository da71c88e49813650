// The chat page in a browser's DOM, talking to the Worker; and the Worker as `wrangler deploy` would send it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { JSDOM, VirtualConsole } from "jsdom";
import { TOKEN, blocks, startTalk, until } from "./support.mjs";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const EVIL = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script>';
let talk, folder;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "toolgate-worker-"));
  execFileSync(process.execPath, ["node_modules/wrangler/bin/wrangler.js", "deploy", "--dry-run", "--outdir", folder], {
    cwd: HERE,
    env: {
      ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", WRANGLER_LOG_PATH: folder, XDG_CONFIG_HOME: folder,
    },
    stdio: "pipe",
  });
  const modules = [{ type: "ESModule", path: "index.js", contents: readFileSync(join(folder, "index.js"), "utf8") }];
  for (const name of readdirSync(folder).filter((name) => /^[0-9a-f]{40}-/.test(name))) {
    modules.push({ type: "Text", path: name, contents: readFileSync(join(folder, name), "utf8") });
  }
  assert.equal(modules.length, 3); // the page and the system prompt
  talk = await startTalk({ modules });
});
after(async () => {
  await talk?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function openPage() {
  const answer = await talk.worker.dispatchFetch("http://localhost/");
  const errors = [];
  const log = new VirtualConsole();
  for (const kind of ["jsdomError", "error"]) log.on(kind, (error) => errors.push(error));
  const { window } = new JSDOM(await answer.text(), {
    url: "http://localhost/",
    runScripts: "dangerously",
    virtualConsole: log,
    beforeParse: (page) => { page.fetch = (path, how) => talk.worker.dispatchFetch(`http://localhost${path}`, how); },
  });
  const find = (id) => window.document.getElementById(id);
  const say = async (text) => {
    const shown = find("log").children.length;
    find("question").value = text;
    find("form").dispatchEvent(new window.Event("submit", { cancelable: true }));
    await until(() => find("log").children.length >= shown + 2 && !find("send").disabled);
    return find("log").lastElementChild;
  };
  return { answer, window, find, say, errors };
}

test("what models and people write is text on the page, never markup", async () => {
  const { window, find, say, errors } = await openPage();
  find("token").value = TOKEN;
  talk.ai.answers.push(EVIL, blocks(["createTask", { title: EVIL, priority: "low" }]));
  assert.equal((await say(EVIL)).lastChild.textContent, EVIL);
  assert.equal((await say("make a task of it")).lastChild.textContent, `Saved: ${EVIL}.`);
  assert.equal(find("log").querySelectorAll("img, script").length, 0);
  assert.equal(window.hurt, undefined);
  assert.deepEqual(errors, []);
});

test("a conversation is kept, with the user's own time", async () => {
  const { find, say } = await openPage();
  find("token").value = TOKEN;
  talk.ai.answers.push("Hello.", "Good.");
  await say("hello");
  await say("and now?");
  const { prompt } = talk.ai.asked.at(-1).inputs;
  assert.match(prompt, /user<\|end_header_id\|>\n\nhello<\|eot_id\|>.*assistant<\|end_header_id\|>\n\nHello\.<\|/s);
  const [, now] = /Current time: (\S+) \(/.exec(prompt);
  assert.ok(Math.abs(Date.parse(now) - Date.now()) < 60_000, now);
});

test("an error is shown, and the page goes on", async () => {
  const { find, say } = await openPage();
  find("token").value = "wrong";
  assert.match((await say("hello")).textContent, /access token is wrong/);
  find("token").value = TOKEN;
  talk.ai.answers.push("Hello.");
  assert.match((await say("hello")).textContent, /Hello\./);
});

test("the page can be used without sight or mouse, and runs no script but its own", async () => {
  const { answer, window, find } = await openPage();
  const { document } = window;
  for (const { id } of document.querySelectorAll("input, textarea")) {
    assert.ok(document.querySelector(`label[for=${id}]`), id);
  }
  assert.equal(document.documentElement.lang, "en");
  assert.equal(find("log").getAttribute("aria-live"), "polite");
  assert.equal(find("send").textContent, "Send");
  const policy = answer.headers.get("content-security-policy");
  const nonce = /script-src 'nonce-([^']+)'/.exec(policy)[1];
  assert.deepEqual([...document.querySelectorAll("script")].map(({ outerHTML }) => outerHTML.includes(nonce)), [true]);
  assert.ok(policy.startsWith("default-src 'none'") && !policy.includes("unsafe"));
  assert.notEqual(nonce, /nonce-([^']+)'/.exec((await openPage()).answer.headers.get("content-security-policy"))[1]);
});
