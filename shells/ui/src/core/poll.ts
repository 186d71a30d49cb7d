// Something of the server's that is looked at again and again while anyone sees it, and stays on show while it can't be had.

import { BANNER_AFTER, backOff, type Failure, type Machine, type Now } from "./machine";

export type Input<T> =
  | { type: "answer"; asked: number; value: T }
  | { type: "failed"; asked: number; failure: Failure }
  /** Whether anyone can see the page. */
  | { type: "visible"; visible: boolean }
  /** What is asked for has changed, or someone does not want to wait. */
  | { type: "again" }
  | { type: "timeout" };

export type Effect = { type: "fetch"; asked: number };

export class Poll<T> implements Machine<Input<T>, Effect> {
  /** What was seen last. */
  value: T | undefined;
  failure: Failure | undefined;
  private visible = true;
  private asked = 0;
  private fetching = false;
  private fetchAt: number | undefined = 0;
  private failures = 0;
  private downSince: number | undefined;
  private effects: Effect[] = [];

  /** Looks again so many milliseconds after each answer. */
  constructor(private readonly every: number) {}

  handle(input: Input<T>, now: Now): void {
    switch (input.type) {
      case "answer":
        if (input.asked !== this.asked) return;
        this.value = input.value;
        this.fetching = false;
        this.failures = 0;
        this.failure = undefined;
        this.downSince = undefined;
        this.fetchAt = now.mono + this.every;
        return;
      case "failed":
        if (input.asked !== this.asked) return;
        this.fetching = false;
        this.failure = input.failure;
        this.downSince ??= now.mono;
        this.fetchAt = now.mono + backOff(this.failures++, now.random, input.failure.retryAfter);
        return;
      case "visible":
        this.visible = input.visible;
        if (input.visible) this.fetchAt = now.mono;
        return;
      case "again":
        this.failures = 0;
        this.fetching = false;
        this.fetchAt = now.mono;
        break;
      case "timeout":
        break;
    }
    if (this.fetchAt !== undefined && now.mono >= this.fetchAt && this.visible && !this.fetching) {
      this.fetchAt = undefined;
      this.fetching = true;
      this.asked += 1;
      this.effects.push({ type: "fetch", asked: this.asked });
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
}
