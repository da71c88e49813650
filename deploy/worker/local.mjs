// The Worker on this machine, without an account: the real AI binding of workerd, answered by an emulator.
//
//   python -m deploy emulate --port 8787                              in one terminal
//   node local.mjs --ai http://127.0.0.1:8787 --adapter NAME          in another; then open what it prints
//
// `wrangler dev` cannot do this: its AI binding always goes to Cloudflare (4.86.0 and 4.164.0 were tried).
//
//   --port N        8788; 0 takes a free one          --state DIR   where D1 is kept (.wrangler/local); "" forgets it
//   --token TEXT    ACCESS_TOKEN (or the environment's); made up where there is none
//   --model NAME    MODEL            --timeout MS   TIMEOUT_MS        --log-text   LOG_TEXT=on
//   --log FILE      the Worker's log lines are added there (else: stderr)     --entry FILE    src/index.ts
//   --json          one line with the address, for programs

import { build } from "esbuild";
import { randomUUID } from "node:crypto";
import { createWriteStream, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Miniflare } from "miniflare";

const HERE = dirname(fileURLToPath(import.meta.url));
const settings = JSON.parse(readFileSync(join(HERE, "wrangler.jsonc"), "utf8").replaceAll(/^\s*\/\/.*$/gm, ""));

/** The Worker as one module, with the prompt and the page in it, as wrangler builds it. */
export async function bundle(entry = "src/index.ts") {
  const built = await build({
    absWorkingDir: HERE, entryPoints: [entry], bundle: true, write: false, format: "esm", target: "es2022",
    loader: { ".md": "text", ".html": "text" }, logLevel: "error",
  });
  return [{ type: "ESModule", path: "index.js", contents: built.outputFiles[0].text }];
}

/** Start the Worker; `ai` is the emulator's address. Returns the Miniflare instance, with the tables made. */
export async function startWorker({ ai, modules, vars = {}, port = 0, state = "", more = {} } = {}) {
  const worker = new Miniflare({
    host: "127.0.0.1",
    port,
    modules: modules ?? (await bundle()),
    compatibilityDate: settings.compatibility_date,
    bindings: { ...settings.vars, ...vars },
    ai: { binding: "AI", remoteProxyConnectionString: new URL(ai ?? "http://127.0.0.1:8787") },
    d1Databases: { DB: "toolgate-assistant" },
    ...(state ? { d1Persist: state } : {}),
    ...more,
  });
  await worker.ready;
  const db = await worker.getD1Database("DB");
  const statements = readFileSync(join(HERE, "schema.sql"), "utf8").replaceAll(/^--.*$/gm, "").split(";");
  for (const statement of statements) if (statement.trim()) await db.prepare(statement).run();
  return worker;
}

async function main() {
  const { values } = parseArgs({
    options: {
      ai: { type: "string", default: "http://127.0.0.1:8787" },
      adapter: { type: "string", default: "" },
      port: { type: "string", default: "8788" },
      state: { type: "string", default: join(HERE, ".wrangler", "local") },
      token: { type: "string", default: process.env.ACCESS_TOKEN || randomUUID() },
      model: { type: "string", default: settings.vars.MODEL },
      timeout: { type: "string", default: settings.vars.TIMEOUT_MS },
      "log-text": { type: "boolean", default: false },
      log: { type: "string" },
      entry: { type: "string", default: "src/index.ts" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    const [about] = readFileSync(fileURLToPath(import.meta.url), "utf8").split("\n\nimport ");
    return console.log(about.replaceAll(/^\/\/ ?/gm, ""));
  }
  const vars = {
    ADAPTER: values.adapter, MODEL: values.model, TIMEOUT_MS: values.timeout, ACCESS_TOKEN: values.token,
    LOG_TEXT: values["log-text"] ? "on" : "off",
  };
  const modules = await bundle(values.entry);
  const log = values.log ? createWriteStream(values.log, { flags: "a" }) : process.stderr;
  const handleRuntimeStdio = (stdout, stderr) => {
    stdout.pipe(log, { end: false });
    stderr.pipe(process.stderr, { end: false });
  };
  const { ai, state } = values;
  const port = Number(values.port);
  const worker = await startWorker({ ai, modules, vars, port, state, more: { handleRuntimeStdio } });
  const url = String(await worker.ready).replace(/\/$/, "");
  console.log(values.json ? JSON.stringify({ url }) : `${url}   access token: ${values.token}`);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => worker.dispose().then(() => process.exit(0)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error) => {
    console.error(`Error: ${error.message}. See node local.mjs --help`);
    process.exit(1);
  });
}
