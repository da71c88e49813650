/**
 * Tasks and events in D1.
 *
 * Covers: the eight tools for tasks and events, for one user.
 * Does not cover: weather and e-mail, which say that they are not connected; several users: give each a database, or
 * the tables an owner, before you show this to more than one.
 *
 * Results have the form that the model was trained on: an entry as a whole, {"tasks": [...]}, {"ok": true, "id": ...}.
 */

import type { JsonObject } from "./json";
import type { ToolCall } from "./reader";
import { readInstant, sayTime } from "./time";
import { type Outcome, type ToolExecutor, failed } from "./tools";

const LISTED = 20; // the list goes to the model, whose context it must fit

type Row = { [column: string]: string | number | null };
type Params = { [name: string]: string | string[] }; // the schemas of these tools know no other type

interface Kind {
  table: "tasks" | "events";
  prefix: string;
  noun: string;
  name: "title" | "summary";
  idParam: "taskId" | "eventId";
  columns: readonly string[]; // in the order of the results
}

const TASK: Kind = {
  table: "tasks", prefix: "task_", noun: "task", name: "title", idParam: "taskId",
  columns: ["title", "priority", "status", "dueDate", "description"],
};
const EVENT: Kind = {
  table: "events", prefix: "event_", noun: "event", name: "summary", idParam: "eventId",
  columns: ["summary", "startTime", "endTime", "location", "attendees", "description"],
};

export class D1Tools implements ToolExecutor {
  constructor(private readonly db: D1Database) {}

  async execute({ tool, params: given }: ToolCall): Promise<Outcome> {
    const params = given as Params;
    switch (tool) {
      case "createTask": return this.create(TASK, params);
      case "updateTask": return this.update(TASK, params, "Changed");
      case "completeTask": return this.complete(params);
      case "deleteTask": return this.remove(TASK, params);
      case "listTasks": return this.list(params);
      case "createCalendarEvent": return this.create(EVENT, params);
      case "updateCalendarEvent": return this.update(EVENT, params, "Changed");
      case "deleteCalendarEvent": return this.remove(EVENT, params);
      default: return failed(`${tool} is not connected in this demo`);
    }
  }

  private async create(kind: Kind, params: Params): Promise<Outcome> {
    if (endsTooEarly(params)) return failed("the event would end before it starts");
    const columns = kind.columns.filter((column) => Object.hasOwn(params, column));
    const sql = `INSERT INTO ${kind.table} (${columns}) VALUES (${columns.map(() => "?")}) RETURNING *`;
    const row = await this.db.prepare(sql).bind(...columns.map((column) => stored(params[column]!))).first<Row>();
    return told(kind, row!, "Saved");
  }

  private async update(kind: Kind, params: Params, said: string): Promise<Outcome> {
    const row = await this.find(kind, params);
    if (row === null) return unknown(kind, params);
    if (endsTooEarly({ ...row, ...params })) {
      return failed("the event would end before it starts; say when it ends as well");
    }
    const columns = kind.columns.filter((column) => Object.hasOwn(params, column));
    const sql = `UPDATE ${kind.table} SET ${columns.map((column) => `${column} = ?`)} WHERE id = ? RETURNING *`;
    const values = columns.map((column) => stored(params[column]!));
    const changed = await this.db.prepare(sql).bind(...values, row.id).first<Row>();
    return changed === null ? unknown(kind, params) : told(kind, changed, said);
  }

  private async complete(params: Params): Promise<Outcome> {
    const outcome = await this.update(TASK, { taskId: params.taskId!, status: "completed" }, "Completed");
    return outcome.failed ? outcome : { ...outcome, result: { ok: true, id: outcome.result.id! } };
  }

  private async remove(kind: Kind, params: Params): Promise<Outcome> {
    const sql = `DELETE FROM ${kind.table} WHERE id = ? RETURNING *`;
    const row = await this.db.prepare(sql).bind(number(kind, params)).first<Row>();
    if (row === null) return unknown(kind, params);
    return { ...told(kind, row, "Deleted"), result: { ok: true, id: kind.prefix + row.id } };
  }

  private async list(params: Params): Promise<Outcome> {
    const status = params.status ?? "open"; // as training reads "my tasks"
    const sql =
      "SELECT * FROM tasks WHERE (?1 = 'all' OR status = ?1) AND (?2 IS NULL OR priority = ?2)" +
      " AND (?3 IS NULL OR substr(dueDate, 1, 10) <= ?3) ORDER BY dueDate IS NULL, dueDate, id LIMIT ?4";
    const bound = [status, params.priority ?? null, params.dueBefore ?? null, LISTED + 1];
    const { results } = await this.db.prepare(sql).bind(...bound).all<Row>();
    const rows = results.slice(0, LISTED);
    const lines = rows.map((row) => `- ${describe(TASK, row)}${row.status === "completed" ? " (completed)" : ""}`);
    if (results.length > LISTED) lines.push("There are more; ask for a priority or a day.");
    const text = lines.length === 0 ? "There is no such task." : `Your tasks:\n${lines.join("\n")}`;
    return { result: { tasks: rows.map((row) => shown(TASK, row)) }, text, failed: false };
  }

  private find(kind: Kind, params: Params): Promise<Row | null> {
    return this.db.prepare(`SELECT * FROM ${kind.table} WHERE id = ?`).bind(number(kind, params)).first<Row>();
  }
}

/** The row's number in an id that was given out; -1, which no row has, for any other text. */
function number(kind: Kind, params: Params): number {
  const found = new RegExp(`^${kind.prefix}([1-9][0-9]{0,14})$`).exec(String(params[kind.idParam]));
  return found === null ? -1 : Number(found[1]);
}

function unknown(kind: Kind, params: Params): Outcome {
  return failed(`there is no ${kind.noun} ${String(params[kind.idParam]).slice(0, 40)}`);
}

function endsTooEarly(entry: { [column: string]: unknown }): boolean {
  const [start, end] = [entry.startTime, entry.endTime].map((time) => readInstant(String(time)));
  return start !== undefined && end !== undefined && end < start;
}

function stored(value: string | string[]): string {
  return Array.isArray(value) ? JSON.stringify(value) : value;
}

/** A row as tool results show it: id first, without what is not set. */
function shown(kind: Kind, row: Row): JsonObject {
  const set = kind.columns.filter((column) => row[column] !== null);
  const read = (column: string) => (column === "attendees" ? JSON.parse(String(row[column])) : row[column]);
  const entries = set.map((column) => [column, read(column)]);
  return { id: kind.prefix + row.id, ...Object.fromEntries(entries) };
}

function told(kind: Kind, row: Row, said: string): Outcome {
  return { result: shown(kind, row), text: `${said}: ${describe(kind, row)}.`, failed: false };
}

function describe(kind: Kind, row: Row): string {
  const start = row.dueDate ?? row.startTime;
  const parts = [row[kind.name]];
  if (start) parts.push(kind === TASK ? `due ${sayTime(String(start))}` : sayTime(String(start)));
  if (row.endTime) parts.push(`until ${sayTime(String(row.endTime))}`);
  if (row.location) parts.push(String(row.location));
  return parts.join(", ");
}
