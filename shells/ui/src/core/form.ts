// The form of a new task: its fields come from the table of task types, its errors from the server. It must send what was
// typed as the table has it, and leave to the server what is right.

import type { Command, Param, Params, Task, TaskTypes } from "./api";
import type { Failure } from "./machine";

export interface Draft {
  project: string;
  type: string;
  command: string;
  /** As typed, by name; flags are "true" or "". */
  values: Record<string, string>;
}

/** A draft for the first type there is. */
export function firstDraft(types: TaskTypes): Draft {
  const type = Object.keys(types.types)[0] ?? "";
  return { project: "default", type, command: firstCommand(types, type), values: {} };
}

export function firstCommand(types: TaskTypes, type: string): string {
  return Object.keys(types.types[type]?.commands ?? {})[0] ?? "";
}

/** What the draft's command takes. */
export function commandOf(types: TaskTypes, draft: Draft): Command | undefined {
  const type = types.types[draft.type];
  if (!type) return undefined;
  return draft.command === "" ? type : type.commands[draft.command];
}

/** A draft that asks what the task was asked. */
export function draftOf(task: Task): Draft {
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(task.params ?? {})) {
    if (value === null) continue;
    if (value === false) values[name] = "";
    else if (Array.isArray(value)) values[name] = value.map(textOf).join("\n");
    else values[name] = textOf(value);
  }
  return { project: task.project ?? "", type: task.type ?? "", command: task.command ?? "", values };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What stands in the field of a parameter: what was typed, or as the table has it. */
export function typedOf(param: Param, draft: Draft): string {
  const typed = draft.values[param.name];
  return typed ?? (isFlag(param) && param.default === true ? "true" : "");
}

/** What a parameter is where nothing is typed, to show to people; empty if it is not there then. */
export function defaultOf(param: Param): string {
  if (param.default === undefined) return "";
  return [param.default].flat().map(textOf).join(", ");
}

export function isFlag(param: Param): boolean {
  return param.as === "flag" || param.type === "boolean";
}

/** The body of the POST. */
export function bodyOf(types: TaskTypes, draft: Draft): Params {
  const params: Params = {};
  for (const param of commandOf(types, draft)?.params ?? []) {
    const value = readValue(param, typedOf(param, draft));
    if (value !== undefined) params[param.name] = value;
  }
  const body: Params = { project: draft.project, type: draft.type };
  if (draft.command !== "") body.command = draft.command;
  return { ...body, params };
}

/** The value as the table has it; what can't be one is sent as it is, for the server to say so. */
function readValue(param: Param, text: string): unknown {
  if (isFlag(param)) return text === "true" ? true : param.default === true ? false : undefined;
  if (text === "") return undefined;
  if (param.repeated)
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => readScalar(param, line));
  return readScalar(param, text);
}

function readScalar(param: Param, text: string): unknown {
  if (param.type === "string") return text;
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) ? number : text;
}

/** What the server says of each field; what is of no field stands under "". */
export function errorsByField(failure: Failure | undefined, types: TaskTypes, draft: Draft): Record<string, string> {
  if (!failure) return {};
  const errors: Record<string, string> = {};
  const own = new Set(["project", "type", "command"]);
  for (const param of commandOf(types, draft)?.params ?? []) own.add(`params.${param.name}`);
  for (const { field, reason } of failure.errors) {
    const key = own.has(field) ? field : "";
    const said = key === "" ? `${field}: ${reason}` : reason;
    errors[key] = errors[key] === undefined ? said : `${errors[key]}; ${said}`;
  }
  if (failure.errors.length === 0) errors[""] = failure.detail;
  return errors;
}

/** A command line as a shell would take it. */
export function shellWords(words: string[]): string {
  return words.map((word) => (/^[\w@%+=:,./<>-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}
