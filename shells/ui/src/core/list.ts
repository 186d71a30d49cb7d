// The list of tasks: what is asked for, and what is on show. While someone reads further down, or has picked a row, what is on
// show holds its place: tasks change in it, and new ones wait to be let in.

import type { Task, TaskPage } from "./api";
import type { Failure, Machine, Now } from "./machine";
import { type Effect, Poll, type Input as PollInput } from "./poll";

export interface Filters {
  statuses: string[];
  project: string;
  type: string;
  q: string;
  cursor: string;
}

export const NO_FILTERS: Filters = { statuses: [], project: "", type: "", q: "", cursor: "" };

export type Input =
  | Exclude<PollInput<TaskPage>, { type: "ask" }>
  | { type: "ask"; filters: Filters }
  /** Whether the reader is at the top, with nothing picked: then the list may move. */
  | { type: "settled"; settled: boolean }
  | { type: "let in" };

/** How often the server is asked whether something has changed, in milliseconds. */
const LOOK_EVERY = 1000;
/** How long typing must pause. */
const PAUSE = 120;

export class List implements Machine<Input, Effect> {
  filters = NO_FILTERS;
  /** What is on show; `undefined` before the first answer. */
  tasks: Task[] | undefined;
  totals: TaskPage["totals"] | undefined;
  projects: string[] = [];
  nextCursor: string | null = null;
  /** How many tasks wait to be let in. */
  waiting = 0;
  private readonly pages = new Poll<TaskPage>(LOOK_EVERY);
  /** The last answer to what is asked for now. */
  private latest: TaskPage | undefined;
  private settled = true;

  handle(input: Input, now: Now): void {
    switch (input.type) {
      case "ask":
        return this.onAsk(input.filters, now);
      case "settled":
        this.settled = input.settled;
        if (input.settled) this.letIn();
        return;
      case "let in":
        return this.letIn();
      default: {
        const before = this.pages.value;
        this.pages.handle(input, now);
        if (this.pages.value && this.pages.value !== before) this.onPage(this.pages.value);
      }
    }
  }

  poll(): Effect | undefined {
    return this.pages.poll();
  }

  deadline(): number | undefined {
    return this.pages.deadline();
  }

  get failure(): Failure | undefined {
    return this.pages.failure;
  }

  isDown(now: Now): boolean {
    return this.pages.isDown(now);
  }

  private onAsk(filters: Filters, now: Now): void {
    const typing = filters.q !== this.filters.q && this.tasks !== undefined;
    this.filters = filters;
    this.latest = undefined;
    this.settled = true;
    this.waiting = 0;
    this.pages.handle({ type: "ask", pause: typing ? PAUSE : 0 }, now);
  }

  private onPage(page: TaskPage): void {
    const first = this.latest === undefined;
    this.latest = page;
    this.totals = page.totals;
    this.projects = page.projects;
    if (first || this.settled || this.tasks === undefined) return this.letIn();
    const news = new Map(page.tasks.map((task) => [task.task_id, task]));
    this.tasks = this.tasks.map((task) => {
      const fresh = news.get(task.task_id);
      news.delete(task.task_id);
      return fresh ?? task;
    });
    // What the page has beyond its end came up from the next one; what is newer than its first row has arrived.
    const newest = this.tasks[0]?.submitted_at ?? "";
    this.waiting = [...news.values()].filter((task) => (task.submitted_at ?? "") >= newest).length;
  }

  private letIn(): void {
    this.waiting = 0;
    if (!this.latest) return;
    this.tasks = this.latest.tasks;
    this.nextCursor = this.latest.next_cursor;
  }
}
