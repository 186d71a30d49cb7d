// Something of the server's that is looked at again and again while anyone sees it, and stays on show while it can't be had.

import type { Failure, Machine, Now } from "./machine";
import { Outage } from "./outage";

export type Input<T> =
  | { type: "answer"; asked: number; value: T; tag?: string | null }
  /** What there is has the tag that was sent along. */
  | { type: "same"; asked: number }
  | { type: "failed"; asked: number; failure: Failure }
  /** Whether anyone can see the page. */
  | { type: "visible"; visible: boolean }
  /** Something else is asked for, after so many milliseconds: someone may still be typing it. */
  | { type: "ask"; pause: number }
  /** Someone does not want to wait. */
  | { type: "again" }
  | { type: "timeout" };

/** The tag is that of what was seen last, if it has one. */
export type Effect = { type: "fetch"; asked: number; tag: string | null };

export class Poll<T> implements Machine<Input<T>, Effect> {
  /** What was seen last. */
  value: T | undefined;
  failure: Failure | undefined;
  private tag: string | null = null;
  private visible = true;
  private asked = 0;
  private fetching = false;
  private fetchAt: number | undefined = 0;
  private outage = new Outage();
  private effects: Effect[] = [];

  /** Looks again so many milliseconds after each answer. */
  constructor(private readonly every: number) {}

  handle(input: Input<T>, now: Now): void {
    switch (input.type) {
      case "answer":
        if (!this.isAwaited(input.asked)) return;
        this.value = input.value;
        this.tag = input.tag ?? null;
        return this.answered(now);
      case "same":
        if (this.isAwaited(input.asked)) this.answered(now);
        return;
      case "failed":
        if (!this.isAwaited(input.asked)) return;
        this.fetching = false;
        this.failure = input.failure;
        this.fetchAt = this.outage.failed(now, input.failure.retryAfter);
        return;
      case "visible":
        this.visible = input.visible;
        if (input.visible) this.fetchAt = now.mono;
        return;
      case "ask":
        this.tag = null;
        this.askAt(now.mono + input.pause);
        break;
      case "again":
        this.askAt(now.mono);
        break;
      case "timeout":
        this.outage.timeout(now);
        break;
    }
    if (this.fetchAt !== undefined && now.mono >= this.fetchAt && this.visible && !this.fetching) {
      this.fetchAt = undefined;
      this.fetching = true;
      this.asked += 1;
      this.effects.push({ type: "fetch", asked: this.asked, tag: this.tag });
    }
  }

  poll(): Effect | undefined {
    return this.effects.shift();
  }

  deadline(): number | undefined {
    const fetch = this.visible && !this.fetching ? this.fetchAt : undefined;
    const times = [this.outage.deadline, fetch].filter((time) => time !== undefined);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  isDown(now: Now): boolean {
    return this.outage.isLong(now);
  }
  /** Answers to earlier questions come too late. */
  private isAwaited(asked: number): boolean {
    return this.fetching && asked === this.asked;
  }

  private answered(now: Now): void {
    this.fetching = false;
    this.failure = undefined;
    this.outage.over();
    this.fetchAt = now.mono + this.every;
  }

  private askAt(time: number): void {
    this.outage.hope();
    this.fetching = false;
    this.fetchAt = time;
  }
}
