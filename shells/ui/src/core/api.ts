// What the API says, as types, and how its frames become rows. It must take nothing for granted of what agents printed.

import type { Report } from "./report";

export type Status = "queued" | "running" | "retrying" | "stopping" | "done" | "stopped" | "failed";
export const STATUSES: Status[] = ["running", "queued", "retrying", "stopping", "done", "failed", "stopped"];

export function hasEnded(status: Status): boolean {
  return status === "done" || status === "stopped" || status === "failed";
}

export type Params = Record<string, unknown>;

export interface Attempt {
  attempt: number;
  position: number;
  started_at: string;
  ended_at?: string;
  end?: string;
  outcome?: "done" | "stopped" | "failed" | "lost" | "handed_back";
  ending?: Account;
}

/** How an attempt ended, as far as it was measured. */
export interface Account {
  cause: string;
  by?: string;
  queued_ms?: number;
  running_ms?: number;
  draining_ms?: number;
  cpu_ms?: number;
  /** In bytes. */
  peak_memory?: number;
  lines?: number;
  bytes?: number;
}

export interface Task {
  task_id: string;
  project: string | null;
  type: string | null;
  command: string | null;
  params?: Params;
  summary: string | null;
  status: Status;
  updates: number;
  attempts?: Attempt[];
  attempt: number;
  last_update: string | null;
  submitted_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  exit_code?: number;
  signal?: number;
  reason?: string;
  next_attempt_at?: string;
  ending?: Account;
  report?: Report;
}

export interface TaskPage {
  tasks: Task[];
  next_cursor: string | null;
  totals: Record<Status, number>;
  projects: string[];
}

export interface Param {
  name: string;
  as: "flag" | "option" | "positional" | "stdin";
  type: "string" | "integer" | "number" | "boolean";
  required: boolean;
  description: string;
  example?: Scalar;
  default?: Scalar | Scalar[];
  /** It takes a list. */
  repeated?: boolean;
  /** The only values that it takes. */
  enum?: Scalar[];
}

export type Scalar = string | number | boolean;

export interface Command {
  description: string;
  params: Param[];
}

export interface TaskType extends Command {
  commands: Record<string, Command>;
}

export interface TaskTypes {
  types: Record<string, TaskType>;
}

export interface CommandLine {
  agent: string[] | null;
  arguments: string[];
}

export interface Frame {
  id: string;
  attempt: number;
  seq: number;
  kind: string;
  update: string;
  at: string;
  stream?: string;
  cut?: number;
  exit_code?: number;
  signal?: number;
  reason?: string;
  deadline?: string;
  /** What the agent has said of itself so far, where this update says more of it. */
  report?: Report;
}

export interface Window {
  total: number;
  from: number;
  updates: Frame[];
}

export interface Found {
  total: number;
  positions: number[];
  next: number | null;
}

/** One line of the log, as small as it can be: there may be hundreds of thousands. */
export interface Row {
  id: string;
  attempt: number;
  kind: string;
  text: string;
  /** Milliseconds since the Unix epoch. */
  at: number;
  stderr: boolean;
  /** When SIGKILL follows, of a `stopping` row. */
  deadline?: number;
}

export function rowOf(frame: Frame): Row {
  const row: Row = {
    id: frame.id,
    attempt: frame.attempt,
    kind: frame.kind,
    text: frame.update,
    at: Date.parse(frame.at),
    stderr: frame.stream === "stderr",
  };
  if (frame.deadline !== undefined) row.deadline = Date.parse(frame.deadline);
  return row;
}

export function endsTask(kind: string): boolean {
  return kind === "done" || kind === "stopped" || kind === "failed";
}
