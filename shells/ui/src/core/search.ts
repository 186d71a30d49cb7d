// Searches the whole log of a task, by the server, which has all of it; and walks through what was found.
// It must stay small however much is found: beyond MOST_FOUND it says "more than".

import type { Found } from "./api";
import type { Failure, Machine, Now } from "./machine";

export type Input =
  | { type: "query"; text: string }
  | { type: "found"; query: string; found: Found }
  | { type: "failed"; query: string; failure: Failure }
  /** The log has this many rows now. */
  | { type: "grew"; total: number }
  | { type: "step"; by: 1 | -1; from: number }
  | { type: "timeout" };

export type Effect = { type: "search"; query: string; from: number } | { type: "show"; position: number };

/** The most positions that are kept. */
export const MOST_FOUND = 100_000;
/** How long typing must pause before the server is asked, and how long it is left alone while the log grows. */
const PAUSE = 150;
const AGAIN_EVERY = 1000;

export class Search implements Machine<Input, Effect> {
  query = "";
  /** In order. */
  positions: number[] = [];
  /** The place in `positions` that was shown last. */
  current: number | undefined;
  failure: Failure | undefined;
  private searched = 0;
  private total = 0;
  private asking = false;
  private askAt: number | undefined;
  private untouched = true;
  private effects: Effect[] = [];

  handle(input: Input, now: Now): void {
    switch (input.type) {
      case "query":
        if (input.text === this.query) return;
        this.query = input.text;
        this.positions = [];
        this.current = undefined;
        this.failure = undefined;
        this.searched = 0;
        this.asking = false;
        this.untouched = true;
        this.askAt = input.text === "" ? undefined : now.mono + PAUSE;
        return;
      case "found":
        if (input.query === this.query) this.onFound(input.found, now);
        return;
      case "failed":
        if (input.query !== this.query) return;
        this.asking = false;
        this.failure = input.failure;
        if (input.failure.status === 0 || input.failure.status >= 500) this.askAt = now.mono + AGAIN_EVERY;
        return;
      case "grew":
        this.total = input.total;
        if (this.query !== "" && this.searched < this.total && !this.asking && !this.isFull()) {
          this.askAt ??= now.mono + AGAIN_EVERY;
        }
        return;
      case "step":
        return this.step(input.by, input.from);
      case "timeout":
        if (this.askAt !== undefined && now.mono >= this.askAt) {
          this.askAt = undefined;
          this.ask();
        }
        return;
    }
  }

  poll(): Effect | undefined {
    return this.effects.shift();
  }

  deadline(): number | undefined {
    return this.askAt;
  }

  /** What is said of what was found. */
  says(): string {
    if (this.query === "") return "";
    if (this.failure) return this.failure.errors[0]?.reason ?? this.failure.detail;
    const count = `${this.positions.length.toLocaleString("en")}${this.isFull() ? "+" : ""}`;
    if (this.positions.length === 0) return this.isDone() ? "none" : "…";
    const place = this.current === undefined ? "" : `${(this.current + 1).toLocaleString("en")} of `;
    return `${place}${count}${this.isDone() ? "" : "…"}`;
  }

  private isFull(): boolean {
    return this.positions.length >= MOST_FOUND;
  }

  private isDone(): boolean {
    return !this.asking && this.askAt === undefined;
  }

  private ask(): void {
    this.asking = true;
    this.effects.push({ type: "search", query: this.query, from: this.searched });
  }

  private onFound(found: Found, now: Now): void {
    const news = found.positions.filter((position) => position >= this.searched);
    for (const position of news) this.positions.push(position);
    this.searched = found.next ?? found.total;
    this.asking = false;
    this.failure = undefined;
    if (this.untouched && this.positions.length > 0) {
      this.untouched = false;
      this.show(0);
    }
    if (this.isFull()) return;
    if (found.next !== null) this.ask();
    else if (this.searched < this.total) this.askAt = now.mono + AGAIN_EVERY;
  }

  /** To the next one after, or the last one before, what was shown; from the place on show if nothing was. Goes round. */
  private step(by: 1 | -1, from: number): void {
    const count = this.positions.length;
    if (count === 0) return;
    if (this.current !== undefined) return this.show((this.current + by + count) % count);
    const after = this.positions.findIndex((position) => position >= from);
    const next = after === -1 ? 0 : after;
    this.show(by === 1 ? next : (next - 1 + count) % count);
  }

  private show(index: number): void {
    this.current = index;
    const position = this.positions[index];
    if (position !== undefined) this.effects.push({ type: "show", position });
  }
}
