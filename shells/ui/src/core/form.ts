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
    if (value === null || value === false) continue;
    values[name] = typeof value === "string" ? value : JSON.stringify(value);
  }
  return { project: task.project ?? "", type: task.type ?? "", command: task.command ?? "", values };
}

/** The body of the POST. */
export function bodyOf(types: TaskTypes, draft: Draft): Params {
  const params: Params = {};
  for (const param of commandOf(types, draft)?.params ?? []) {
    const value = readValue(param, draft.values[param.name] ?? "");
    if (value !== undefined) params[param.name] = value;
  }
  const body: Params = { project: draft.project, type: draft.type };
  if (draft.command !== "") body.command = draft.command;
  return { ...body, params };
}

/** The value as the table has it; what can't be one is sent as it is, for the server to say so. */
function readValue(param: Param, text: string): unknown {
  if (param.as === "flag" || param.type === "boolean") return text === "true" ? true : undefined;
  if (text === "") return undefined;
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
