// The list of tasks: what is asked for, what is on show, and when to look again. While someone reads further down, or has
// picked a row, what is on show holds its place: tasks change in it, and new ones wait to be let in.

import type { Task, TaskPage } from "./api";
import { BANNER_AFTER, backOff, type Failure, type Machine, type Now } from "./machine";

export interface Filters {
  statuses: string[];
  project: string;
  type: string;
  q: string;
  cursor: string;
}

export const NO_FILTERS: Filters = { statuses: [], project: "", type: "", q: "", cursor: "" };

export type Input =
  | { type: "ask"; filters: Filters }
  | { type: "page"; key: string; page: TaskPage; tag: string | null }
  | { type: "same"; key: string }
  | { type: "failed"; key: string; failure: Failure }
  /** Whether the reader is at the top, with nothing picked: then the list may move. */
  | { type: "settled"; settled: boolean }
  | { type: "let in" }
  /** Whether anyone can see the page. */
  | { type: "visible"; visible: boolean }
  | { type: "woke" }
  | { type: "timeout" };

export type Effect = { type: "fetch"; key: string; filters: Filters; tag: string | null };

/** How often the server is asked whether something has changed, in milliseconds. */
const LOOK_EVERY = 1000;
/** How long typing must pause. */
const PAUSE = 120;

export class List implements Machine<Input, Effect> {
  filters = NO_FILTERS;
  /** What is on show; `undefined` before the first answer to what is asked. */
  tasks: Task[] | undefined;
  totals: TaskPage["totals"] | undefined;
  projects: string[] = [];
  nextCursor: string | null = null;
  /** How many tasks wait to be let in. */
  waiting = 0;
  failure: Failure | undefined;
  private latest: TaskPage | undefined;
  private settled = true;
  private visible = true;
  private tag: string | null = null;
  private asked = 0;
  private key = "";
  private fetching = false;
  private fetchAt: number | undefined;
  private failures = 0;
  private downSince: number | undefined;
  private effects: Effect[] = [];

  handle(input: Input, now: Now): void {
    switch (input.type) {
      case "ask":
        return this.onAsk(input.filters, now);
      case "page":
        if (input.key !== this.key) return;
        this.answered(now);
        this.tag = input.tag;
        return this.onPage(input.page);
      case "same":
        if (input.key === this.key) this.answered(now);
        return;
      case "failed":
        if (input.key !== this.key) return;
        this.fetching = false;
        this.failure = input.failure;
        this.downSince ??= now.mono;
        this.fetchAt = now.mono + backOff(this.failures++, now.random, input.failure.retryAfter);
        return;
      case "settled":
        this.settled = input.settled;
        if (input.settled) this.letIn();
        return;
      case "let in":
        return this.letIn();
      case "visible":
        this.visible = input.visible;
        if (input.visible) this.fetchAt = now.mono;
        return;
      case "woke":
        this.failures = 0;
        this.fetchAt = now.mono;
        return;
      case "timeout":
        if (this.fetchAt !== undefined && now.mono >= this.fetchAt && this.visible && !this.fetching) {
          this.fetchAt = undefined;
          this.fetching = true;
          this.effects.push({ type: "fetch", key: this.key, filters: this.filters, tag: this.tag });
        }
        return;
    }
  }

  poll(): Effect | undefined {
    return this.effects.shift();
  }

  deadline(): number | undefined {
    const banner = this.downSince === undefined ? undefined : this.downSince + BANNER_AFTER;
    const fetch = this.visible && !this.fetching ? this.fetchAt : undefined;
    const times = [banner, fetch].filter((time) => time !== undefined);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  isDown(now: Now): boolean {
    return this.downSince !== undefined && now.mono >= this.downSince + BANNER_AFTER;
  }

  private onAsk(filters: Filters, now: Now): void {
    const typing = filters.q !== this.filters.q && this.tasks !== undefined;
    this.filters = filters;
    this.asked += 1;
    this.key = String(this.asked);
    this.tag = null;
    this.fetching = false;
    this.latest = undefined;
    this.settled = true;
    this.waiting = 0;
    this.fetchAt = now.mono + (typing ? PAUSE : 0);
  }

  private answered(now: Now): void {
    this.fetching = false;
    this.failures = 0;
    this.failure = undefined;
    this.downSince = undefined;
    this.fetchAt = now.mono + LOOK_EVERY;
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
