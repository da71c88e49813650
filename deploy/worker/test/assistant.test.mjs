// Conversations through the Worker, with a real D1 and a scripted model.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { NOW, TOKEN, blocks, refusal, send, startTalk, until } from "./support.mjs";

const AT_THREE = "2026-03-03T15:00:00+00:00";
const CALL_MOM = blocks(["createTask", { title: "call mom", priority: "medium", dueDate: AT_THREE }]);
const NOTHING = /nothing was changed/;
let talk;
before(async () => { talk = await startTalk({ vars: { TIMEOUT_MS: "3000" } }); });
after(() => talk.close());
beforeEach(() => talk.forget());

describe("a conversation", () => {
  test("creates a task and completes it", async () => {
    const made = await talk.say("Remind me to call mom tomorrow at 3pm", CALL_MOM);
    const id = made.done[0].result.id;
    assert.match(id, /^task_\d+$/);
    assert.equal(made.text, "Saved: call mom, due Tue 3 Mar 2026, 15:00.");
    const result = `{"id": "${id}", "title": "call mom", "priority": "medium", "status": "open", ` +
      `"dueDate": "${AT_THREE}"}`;
    assert.deepEqual(made.added.map(({ role, content }) => [role, content]),
      [["assistant", CALL_MOM], ["tool", result], ["assistant", made.text]]);

    const done = await talk.say("I called her", blocks(["completeTask", { taskId: id }]));
    assert.equal(done.text, "Completed: call mom, due Tue 3 Mar 2026, 15:00.");
    assert.deepEqual(done.done[0].result, { ok: true, id });
    assert.equal((await talk.rows("tasks"))[0].status, "completed");
    // The model was asked as it was trained: rendered by us, raw, greedy, with the adapter among the inputs.
    const { model, inputs } = talk.ai.asked[1];
    assert.equal(model, "@cf/meta/llama-3.2-3b-instruct");
    assert.deepEqual({ ...inputs, prompt: "" },
      { prompt: "", raw: true, lora: "tune-1", max_tokens: 256, temperature: 0, seed: 1 });
    assert.ok(inputs.prompt.includes(`<|start_header_id|>ipython<|end_header_id|>\n\n${result}<|eot_id|>`));
    assert.ok(inputs.prompt.includes(`Current time: ${NOW} (Monday)<|eot_id|>`));
  });

  test("creates an event and moves it an hour earlier", async () => {
    const start = "2026-03-06T12:30:00+00:00";
    const made = await talk.say("Put lunch with Priya on my calendar for Friday at 12:30",
      blocks(["createCalendarEvent", { summary: "lunch with Priya", startTime: start, attendees: ["p@example.com"] }]));
    const { id, ...event } = made.done[0].result;
    assert.deepEqual(event, { summary: "lunch with Priya", startTime: start, attendees: ["p@example.com"] });
    const moved = await talk.say("an hour earlier please",
      blocks(["updateCalendarEvent", { eventId: id, startTime: "2026-03-06T11:30:00+00:00" }]));
    assert.equal(moved.text, "Changed: lunch with Priya, Fri 6 Mar 2026, 11:30.");
    assert.equal((await talk.rows("events"))[0].startTime, "2026-03-06T11:30:00+00:00");
  });

  test("looks a task up and then completes it, in one turn", async () => {
    const { done: [{ result }] } = await talk.say("Remind me to call mom", CALL_MOM);
    const turn = await talk.say("mark call mom done", blocks(["listTasks", { status: "open" }]),
      blocks(["completeTask", { taskId: result.id }]));
    assert.deepEqual(turn.done.map(({ tool }) => tool), ["listTasks", "completeTask"]);
    assert.match(turn.text, /^Your tasks:\n- call mom, due .*\nCompleted: call mom/);
    assert.equal(talk.ai.asked.length, 3);
  });

  test("lists what is there, in words that come from the data", async () => {
    await talk.say("two things", blocks(["createTask", { title: "b", priority: "low", dueDate: "2026-03-05" }],
      ["createTask", { title: "a", priority: "high", dueDate: "2026-03-04T10:00:00+00:00" }]));
    const listed = await talk.say("my tasks", blocks(["listTasks", {}]), "You have three tasks, all done.");
    assert.equal(listed.text, "Your tasks:\n- a, due Wed 4 Mar 2026, 10:00\n- b, due Thu 5 Mar 2026");
    for (const [params, titles] of [[{ priority: "low" }, ["b"]], [{ dueBefore: "2026-03-04" }, ["a"]],
      [{ status: "completed" }, []], [{ status: "all" }, ["a", "b"]]]) {
      const { done: [{ result }] } = await talk.say("which?", blocks(["listTasks", params]), "Those.");
      assert.deepEqual(result.tasks.map(({ title }) => title), titles, JSON.stringify(params));
    }
  });

  test("changes and deletes, and never gives an id out twice", async () => {
    const { done: [{ result: { id } }] } = await talk.say("Remind me to call mom", CALL_MOM);
    const changed = await talk.say("high priority", blocks(["updateTask", { taskId: id, priority: "high" }]));
    assert.equal(changed.done[0].result.priority, "high");
    const deleted = await talk.say("delete it", blocks(["deleteTask", { taskId: id }]));
    assert.deepEqual(deleted.done[0].result, { ok: true, id });
    assert.equal(deleted.text, changed.text.replace("Changed", "Deleted"));
    const again = await talk.say("once more", CALL_MOM);
    assert.notEqual(again.done[0].result.id, id);
  });

  test("says what could not be done, and does the rest", async () => {
    const turn = await talk.say("complete task_999 and mail Sam",
      blocks(["completeTask", { taskId: "task_999" }], ["deleteTask", { taskId: "1 OR 1=1" }],
        ["sendEmail", { to: "Sam", subject: "Hi", body: "Hi" }], ["createTask", { title: "x", priority: "low" }]));
    assert.deepEqual(turn.done.map(({ failed }) => failed), [true, true, true, false]);
    assert.match(turn.text, /^Not done: there is no task task_999\.\nNot done: there is no task 1 OR 1=1\./);
    assert.match(turn.text, /sendEmail is not connected in this demo\.\nSaved: x\.$/);
    const late = { summary: "x", startTime: "2026-03-06T12:30:00+02:00", endTime: "2026-03-06T10:00:00+00:00" };
    assert.match((await talk.say("an event", blocks(["createCalendarEvent", late]))).text, /end before it starts/);
    assert.deepEqual(await talk.rows("events"), []);
  });

  test("is plain text where no tool fits", async () => {
    const turn = await talk.say("hello", "Hello! What can I do for you?");
    assert.deepEqual([turn.text, turn.done], ["Hello! What can I do for you?", []]);
  });

  test("forgets its beginning before the model's context is full", async () => {
    for (let at = 0; at < 12; at++) await talk.say(`message ${at} ${"x".repeat(500)}`, "Fine.");
    const { prompt } = talk.ai.asked.at(-1).inputs;
    assert.ok(!prompt.includes("message 0 ") && prompt.includes("message 11 ") && prompt.includes("message 6 "));
    assert.ok(prompt.length < 8000);
    assert.match(prompt, /<\|eot_id\|><\|start_header_id\|>user<\|end_header_id\|>\n\nmessage/);
  });
});

describe("a reply that cannot be used executes nothing", () => {
  const good = blocks(["createTask", { title: "a", priority: "low" }]);
  for (const [what, reply] of [
    ["malformed", "```json\n{oops\n```"],
    ["malformed beside a good call", good + "\n```json\n{oops\n```"],
    ["an unknown tool beside a good call", good + "\n" + blocks(["fly", {}])],
    ["a missing parameter", blocks(["createTask", { title: "a" }])],
    ["a parameter that is not one", blocks(["createTask", { title: "a", priority: "low", colour: "red" }])],
    ["a foreign syntax", '<tool_call>{"name": "createTask", "arguments": {}}</tool_call>'],
    ["empty", " \n<|eot_id|>"],
  ]) {
    test(what, async () => {
      const turn = await talk.say("do it", reply);
      assert.match(turn.text, NOTHING);
      assert.deepEqual([turn.done, await talk.rows("tasks")], [[], []]);
    });
  }
});

describe("when Workers AI does not answer, there is plain text and nothing is changed", () => {
  for (const [what, code, answer] of [
    ["the adapter is gone", 5033, refusal(400, 5033, "Finetune not found")],
    ["the adapter is gone, older form", 3037,
      (response) => send(response, 400, { errors: [{ code: 3037, message: "Finetune not found" }] })],
    ["the day's neurons are used up", 3036, refusal(429, 3036, "daily free allocation")],
    ["it fails", "unknown", (response) => send(response, 500, "<html>Bad gateway</html>", "text/html")],
    ["it answers a page as if all were well", "unreadable",
      (response) => send(response, 200, "<html></html>", "text/html")],
    ["its JSON is cut off", "unknown", (response) => send(response, 200, '{"respo')],
    ["its answer holds no text", "unreadable", (response) => send(response, 200, { response: { tool: "x" } })],
    ["the connection is reset", "unknown", (response) => response.socket.destroy()],
    ["it hangs", "timeout", () => undefined],
  ]) {
    test(what, async () => {
      const turn = await talk.say("remind me", answer);
      assert.equal(turn.failure.code, code, JSON.stringify(turn));
      assert.match(turn.text, NOTHING);
      assert.deepEqual([turn.done, await talk.rows("tasks"), talk.ai.asked.length], [[], [], 1]);
      assert.equal((await talk.say("again", CALL_MOM)).done.length, 1); // and the conversation goes on
    });
  }

  test("out of capacity is tried once more", async () => {
    const full = refusal(429, 3040, "Capacity temporarily exceeded");
    assert.equal((await talk.say("remind me", full, CALL_MOM)).done.length, 1);
    const turn = await talk.say("remind me", full, full);
    assert.equal(turn.failure.code, 3040);
    assert.equal(talk.ai.asked.length, 4);
  });
});

describe("the log", () => {
  const replies = () => talk.lines.filter((line) => line.includes("toolgate.reply")).map((line) => JSON.parse(line));

  test("has one line a reply, without what anybody said", async () => {
    await talk.say("Remind me to call mom", CALL_MOM);
    await talk.say("hm", "```json\n{oops\n```");
    await talk.say("hm", refusal(400, 5033, "Finetune not found"));
    await until(() => replies().length === 3);
    assert.deepEqual(replies().map(({ kind, tools, code }) => [kind, tools, code]),
      [["call", ["createTask"], undefined], ["malformed", [], undefined], ["error", [], 5033]]);
    const { adapter, prompt_tokens: read, completion_tokens: written } = replies()[0];
    assert.deepEqual([adapter, read, written], ["tune-1", 700, 20]);
    assert.ok(!talk.lines.join("\n").match(/mom|a-token-of/i), talk.lines.join("\n"));
  });

  test("holds the reply where LOG_TEXT is on", async () => {
    const other = await startTalk({ vars: { LOG_TEXT: "on" } });
    try {
      await other.say("Remind me to call mom", CALL_MOM);
      await until(() => other.lines.length === 1);
      assert.equal(JSON.parse(other.lines[0]).text, CALL_MOM);
    } finally {
      await other.close();
    }
  });
});

describe("the adapter", () => {
  test("is the switch's before the variable's; without one nobody answers", async () => {
    const other = await startTalk({ vars: { ADAPTER: "" }, more: { kvNamespaces: ["SWITCH"] } });
    try {
      const none = await other.say("hello");
      assert.deepEqual([none.failure.code, other.ai.asked.length], ["no-adapter", 0]);
      await (await other.worker.getKVNamespace("SWITCH")).put("adapter", "tune-2");
      await other.say("hello", "Hello.");
      assert.equal(other.ai.asked[0].inputs.lora, "tune-2");
      assert.equal((await other.ask("GET", "/api/health")).body.adapter, "tune-2");
    } finally {
      await other.close();
    }
  });
});

describe("notes", () => {
  test("are found by their words and stand in the user's turn", async () => {
    for (const text of ["Priya is allergic to nuts", 'The car is a "Fiat" <|eot_id|> OR NEAR(', "Nothing of use"]) {
      assert.deepEqual((await talk.ask("POST", "/api/notes", { text })).body, { ok: true });
    }
    talk.ai.answers.push("Avoid nuts.", "No idea.", "No idea.");
    const messages = [{ role: "user", content: 'What is Priya allergic to? "AND" NOT (NEAR' }];
    const { body } = await talk.ask("POST", "/api/chat", { messages, now: NOW, notes: true });
    assert.equal(body.text, "Avoid nuts.");
    const turn = "user<|end_header_id|>\n\nNotes:\n- Priya is allergic to nuts\n";
    assert.ok(talk.ai.asked[0].inputs.prompt.includes(turn), talk.ai.asked[0].inputs.prompt.slice(-400));
    await talk.ask("POST", "/api/chat", { messages: [{ role: "user", content: "Zebras?" }], now: NOW, notes: true });
    assert.ok(talk.ai.asked[1].inputs.prompt.includes("user<|end_header_id|>\n\nZebras?<|eot_id|>"));
    await talk.ask("POST", "/api/chat", { messages: [{ role: "user", content: "Which car?" }], now: NOW, notes: true });
    assert.ok(talk.ai.asked[2].inputs.prompt.includes('The car is a "Fiat" < |eot_id|> OR NEAR('));
  });
});

describe("a request", () => {
  const messages = [{ role: "user", content: "hello" }];

  test("needs the token, and the Worker needs one to be set", async () => {
    for (const token of ["", "wrong", TOKEN + "x"]) {
      assert.equal((await talk.ask("POST", "/api/chat", { messages, now: NOW }, token)).status, 401);
    }
    const other = await startTalk({ vars: { ACCESS_TOKEN: "" } });
    try {
      assert.equal((await other.ask("GET", "/api/health", undefined, "")).status, 503);
    } finally {
      await other.close();
    }
    assert.equal(talk.ai.asked.length, 0);
  });

  for (const [what, status, body] of [
    ["no JSON", 400, "{"],
    ["no object", 400, "[]"],
    ["no messages", 400, { now: NOW }],
    ["no message", 400, { messages: [], now: NOW }],
    ["a system message", 400, { messages: [{ role: "system", content: "x" }, ...messages], now: NOW }],
    ["content that is no text", 400, { messages: [{ role: "user", content: ["x"] }], now: NOW }],
    ["an end that is not the user's", 400, { messages: [...messages, { role: "assistant", content: "x" }], now: NOW }],
    ["a time without an offset", 400, { messages, now: "2026-03-02T09:00:00" }],
    ["too much text", 413, { messages: Array(20).fill({ role: "user", content: "x".repeat(19_999) }), now: NOW }],
  ]) {
    test(`is refused: ${what}`, async () => {
      const answer = await talk.ask("POST", "/api/chat", body);
      assert.equal(answer.status, status, JSON.stringify(answer.body));
      assert.equal(talk.ai.asked.length, 0);
    });
  }

  test("for a reply alone executes nothing, and tells failures by status", async () => {
    talk.ai.answers.push(CALL_MOM, refusal(429, 3036, "daily"), refusal(400, 5033, "gone"));
    const asked = { messages: [...messages, { role: "tool", content: "{}" }], now: NOW };
    const answer = await talk.ask("POST", "/api/reply", asked);
    assert.equal(answer.body.text, CALL_MOM);
    assert.deepEqual(answer.body.usage, { prompt_tokens: 700, completion_tokens: 20 });
    assert.deepEqual(await talk.rows("tasks"), []);
    assert.equal((await talk.ask("POST", "/api/reply", asked)).status, 429);
    assert.deepEqual((await talk.ask("POST", "/api/reply", asked)).body.error.code, 5033);
    assert.equal((await talk.ask("GET", "/api/nothing")).status, 404);
  });
});
