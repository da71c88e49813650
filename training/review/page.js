// The page of `python -m training review`: shows one example, sends what is decided.
// Text of examples is foreign: it enters the page through text nodes (make, reveal) and form values, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
// Characters that change or hide text without being seen: controls, zero widths, directions.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;
const COLUMNS = ["total", "read", "rejected", "edited"];
let state = null;
let busy = false;

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);  // a string becomes a text node
  return node;
}

function reveal(text) {
  const code = (sign) => "U+" + sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  const parts = text.split(new RegExp(`(${UNSEEN.source})`, "u"));
  return parts.filter(Boolean).map((part) => (UNSEEN.test(part) ? make("mark", {}, code(part)) : part));
}

function showCall(call) {
  const rows = call.params.map((param) =>
    make("tr", {}, make("th", { scope: "row" }, ...reveal(param.name)),
      make("td", { dir: "auto" }, ...reveal(param.value), ...(param.note ? [make("small", {}, param.note)] : []))));
  return make("table", {}, make("caption", {}, ...reveal(call.tool)), make("tbody", {}, ...rows));
}

function showReply(reply) {
  const called = reply.calls.length > 0;
  const body = reply.calls.map(showCall);
  if (reply.prose) body.push(make("p", { dir: "auto" }, ...reveal(reply.prose)));
  if (called) body.push(make("pre", { "aria-label": "raw reply" }, ...reveal(reply.text)));
  return make("section", { class: called ? "turn call" : "turn" }, make("h2", {}, called ? "assistant calls" : "assistant"), ...body);
}

function showSaid(said) {
  const text = make(said.role === "tool" ? "pre" : "p", { dir: "auto" }, ...reveal(said.text));
  return make("section", { class: `turn ${said.role}` }, make("h2", {}, said.role === "tool" ? "tool result" : said.role), text);
}

function showExample(example) {
  const fact = (name, value) => make("span", {}, `${name} `, make("b", {}, ...reveal(value)));
  const facts = make("p", { class: "facts" },
    fact("now", `${example.weekday} ${example.now}`), fact("kind", example.kind),
    fact("tools", example.tools.join(", ") || "none"), fact("id", example.id), fact("from", example.origin));
  const exchanges = example.exchanges.map((exchange) =>
    make("div", { class: "exchange" }, make("div", { class: "column" }, ...exchange.said.map(showSaid)),
      make("div", { class: "column" }, showReply(exchange.reply))));
  return [facts, ...exchanges];
}

function showEnd() {
  const row = (tag, cells) => make("tr", {}, make("th", {}, cells[0]), ...cells.slice(1).map((cell) => make(tag, {}, cell)));
  const rows = state.strata.map((stratum) =>
    row("td", [`${stratum.kind} / ${stratum.tool}`, ...COLUMNS.map((name) => String(stratum[name]))]));
  const table = make("table", { class: "strata" },
    make("thead", {}, row("th", ["kind / tool", "all", ...COLUMNS.slice(1)])), make("tbody", {}, ...rows));
  return [
    make("h2", {}, "All that was drawn is read."),
    make("p", {}, state.problems.length
      ? "A build will refuse these: read on with a larger --share, or have them written anew."
      : "A build will take these examples. Stop the server with Ctrl-C."),
    make("ul", {}, ...state.problems.map((problem) => make("li", {}, problem))),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "strata" }, table),
  ];
}

function show(next) {
  state = next;
  $("progress").max = state.drawn;
  $("progress").value = state.read;
  $("counts").textContent = `${state.read} of ${state.drawn} read, ${state.rejected} rejected, ${state.total} in all`;
  document.title = `${state.read}/${state.drawn} Review`;
  $("main").replaceChildren(...(state.example ? showExample(state.example) : showEnd()));
  for (const id of ["accept", "reject", "edit", "skip"]) $(id).disabled = !state.example;
  $("undo").disabled = !state.undo;
  window.scrollTo(0, 0);
  $("main").focus({ preventScroll: true });
}

async function send(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, body && post);
  } catch {
    throw new Error("The server does not answer. Start `python -m training review` again and open its new address.");
  }
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  let why = text;
  try { why = JSON.parse(text).error; } catch { /* plain text it is */ }
  throw new Error(why);
}

// Returns why it failed, or "" when the next example is shown.
async function decide(action, more = {}) {
  if (busy || $(action).disabled) return "";
  busy = true;
  try {
    show(await send("decide", { action, hash: state.example?.hash, ...more }));
    return report("");
  } catch (error) {
    return report(error.message);
  } finally {
    busy = false;
  }
}

function report(why) {
  $("error").textContent = why;
  $("error").hidden = !why;
  return why;
}

function openReject() {
  if ($("reject").disabled) return;
  $("reject-form").reset();
  document.querySelector("#reject-form .problem").textContent = "";
  $("reasons").replaceChildren(...state.reasons.map((reason, place) =>
    make("label", {}, make("input", { type: "checkbox", value: reason }), make("kbd", {}, String(place + 1)), reason)));
  $("reject-dialog").showModal();
  $("reasons").querySelector("input").focus();
}

function openEdit() {
  if ($("edit").disabled) return;
  const { example } = state;
  const kind = make("select", { id: "kind" }, ...state.kinds.map((name) => make("option", {}, name)));
  kind.value = example.kind;
  const now = make("input", { id: "now", autocomplete: "off", spellcheck: "false" });
  now.value = example.now;
  const turns = example.messages.flatMap((message, place) => {
    const area = make("textarea", { id: `turn-${place}`, dir: "auto", spellcheck: "false" });
    area.value = message.content;
    area.rows = Math.min(12, message.content.split("\n").length + Math.ceil(message.content.length / 70));
    return [make("label", { for: area.id }, `${place + 1}. ${message.role}`), area];
  });
  document.querySelector("#edit-form .problem").textContent = "";
  $("turns").replaceChildren(
    ...turns, make("label", { for: "now" }, "now"), now, make("label", { for: "kind" }, "kind"), kind);
  $("edit-dialog").showModal();
  $("turn-0").focus();
}

async function submit(event, action, more) {
  event.preventDefault();
  const form = event.target;
  const why = await decide(action, more);
  report("");  // shown in the dialog, which covers the page
  form.querySelector(".problem").textContent = why;
  if (!why && !busy) form.closest("dialog").close();
}

$("reject-form").addEventListener("submit", (event) => submit(event, "reject", {
  reasons: [...$("reasons").querySelectorAll("input:checked")].map((box) => box.value), note: $("note").value,
}));
$("edit-form").addEventListener("submit", (event) => submit(event, "edit", { example: {
  now: $("now").value, kind: $("kind").value, messages: state.example.messages.map((_, place) => $(`turn-${place}`).value),
} }));
for (const button of document.querySelectorAll(".cancel")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", () => $("main").focus({ preventScroll: true }));

const KEYS = { a: () => decide("accept"), s: () => decide("skip"), u: () => decide("undo"), r: openReject, e: openEdit };
$("accept").addEventListener("click", KEYS.a);
$("skip").addEventListener("click", KEYS.s);
$("undo").addEventListener("click", KEYS.u);
$("reject").addEventListener("click", KEYS.r);
$("edit").addEventListener("click", KEYS.e);

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if ($("edit-dialog").open) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("edit-form").requestSubmit();
    return;
  }
  // A key that is held down must not decide about what nobody has read.
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !state) return;
  if ($("reject-dialog").open) {
    if (event.target === $("note")) return;
    const box = $("reasons").querySelectorAll("input")[Number(event.key) - 1];
    if (box) box.checked = !box.checked;
    if (event.key === "n") { event.preventDefault(); $("note").focus(); }
    return;
  }
  const act = KEYS[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});

send("state").then(show, (error) => report(error.message));
