/**
 * Whether parameters fit a tool's JSON Schema.
 *
 * Covers: the keywords that the toolset uses; any other is refused when the Worker starts, so that a schema is never
 * checked in part. A test compares the verdicts with Python's jsonschema.
 * Does not cover: the rest of JSON Schema.
 */

import { type Json, type JsonObject, isObject, quote } from "./json";
import { isDate, isInstant } from "./time";

const KNOWN = new Set([
  "type", "properties", "required", "additionalProperties", "minProperties", "enum", "minLength", "format", "anyOf",
  "items",
]);
const FORMATS: ReadonlyMap<string, (text: string) => boolean> = new Map([["date", isDate], ["date-time", isInstant]]);
const TYPES: ReadonlyMap<string, (value: Json) => boolean> = new Map<string, (value: Json) => boolean>([
  ["object", isObject],
  ["array", Array.isArray],
  ["string", (value) => typeof value === "string"],
]);

/** Why a value does not fit, one line each; empty when it does. */
export function schemaErrors(value: Json, schema: JsonObject, place = ""): string[] {
  const where = place === "" ? "the parameters" : place;
  const errors: string[] = [];
  const kind = schema.type as string | undefined;
  if (kind !== undefined && !TYPES.get(kind)!(value)) return [`${where}: not of type ${kind}`];
  const options = schema.enum as Json[] | undefined;
  if (options !== undefined && !options.includes(value)) errors.push(`${where}: not one of ${options.join(", ")}`);
  if (typeof value === "string") {
    if ([...value].length < ((schema.minLength as number | undefined) ?? 0)) errors.push(`${where}: too short`);
    const format = schema.format as string | undefined;
    if (format !== undefined && !FORMATS.get(format)!(value)) errors.push(`${where}: ${quote(value)} is no ${format}`);
  }
  const choices = schema.anyOf as JsonObject[] | undefined;
  if (choices !== undefined && choices.every((choice) => schemaErrors(value, choice, place).length > 0)) {
    errors.push(`${where}: fits none of the choices`);
  }
  if (Array.isArray(value) && schema.items !== undefined) {
    errors.push(...value.flatMap((item, at) => schemaErrors(item, schema.items as JsonObject, `${place}.${at}`)));
  }
  return isObject(value) ? errors.concat(objectErrors(value, schema, where)) : errors;
}

function objectErrors(value: JsonObject, schema: JsonObject, where: string): string[] {
  const properties = (schema.properties ?? {}) as { [name: string]: JsonObject };
  const errors = ((schema.required ?? []) as string[])
    .filter((name) => !Object.hasOwn(value, name))
    .map((name) => `${where}: ${name} is missing`);
  if (Object.keys(value).length < ((schema.minProperties as number | undefined) ?? 0)) {
    errors.push(`${where}: too few of them`);
  }
  for (const [name, inner] of Object.entries(value)) {
    if (Object.hasOwn(properties, name)) errors.push(...schemaErrors(inner, properties[name]!, name));
    else if (schema.additionalProperties === false) errors.push(`${where}: ${quote(name)} is not one of them`);
  }
  return errors;
}

/** Throws for a schema with a keyword, type or format that is not checked here. */
export function checkSchema(schema: JsonObject): void {
  const unknown = Object.keys(schema).find((keyword) => !KNOWN.has(keyword));
  if (unknown !== undefined) throw new Error(`The toolset uses the keyword ${unknown}; teach src/schema.ts.`);
  if (schema.type !== undefined && !TYPES.has(schema.type as string)) {
    throw new Error(`The toolset uses the type ${String(schema.type)}; teach src/schema.ts.`);
  }
  if (schema.format !== undefined && !FORMATS.has(schema.format as string)) {
    throw new Error(`The toolset uses the format ${String(schema.format)}; teach src/schema.ts.`);
  }
  if (schema.additionalProperties !== undefined && typeof schema.additionalProperties !== "boolean") {
    throw new Error("The toolset has a schema under additionalProperties; teach src/schema.ts.");
  }
  const inner = [
    ...Object.values((schema.properties ?? {}) as { [name: string]: JsonObject }),
    ...((schema.anyOf ?? []) as JsonObject[]),
    ...(schema.items === undefined ? [] : [schema.items as JsonObject]),
  ];
  inner.forEach(checkSchema);
}
