// Plain values for the tests: frames, tasks and times, with nothing in them but what a test says.

import type { Frame, Task } from "../src/core/api";
import type { Now } from "../src/core/machine";

export function at(mono: number): Now {
  return { mono, wall: 1_700_000_000_000 + mono, random: 0 };
}

export function frame(seq: number, kind = "line", update = `line ${seq}`, attempt = 1): Frame {
  return { id: `${attempt}-${seq}`, attempt, seq, kind, update, at: "2026-01-01T00:00:00.000Z" };
}

/** Frames from number `from` to `to`, both included. */
export function frames(from: number, to: number): Frame[] {
  return Array.from({ length: to - from + 1 }, (_, index) => frame(from + index));
}

export function task(change: Partial<Task> = {}): Task {
  return {
    task_id: "abc",
    project: "default",
    type: "agent",
    command: "run",
    summary: "Analyze it",
    status: "running",
    updates: 0,
    attempt: 1,
    last_update: null,
    submitted_at: "2026-01-01T00:00:00.000Z",
    started_at: null,
    ended_at: null,
    ...change,
  };
}

export function drain<Effect>(machine: { poll(): Effect | undefined }): Effect[] {
  const effects: Effect[] = [];
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) effects.push(effect);
  return effects;
}
