// A server that is away: when to try it again, and from when on people should know.

import type { Now } from "./machine";

/** The first and the longest delay before the server is tried again, in milliseconds. */
const FIRST_DELAY = 400;
const LONGEST_DELAY = 15_000;
/** How long it may be away before that is worth a banner, in milliseconds. */
const BANNER_AFTER = 2000;

export class Outage {
  /** When people should know; gone once that has passed. */
  deadline: number | undefined;
  private since: number | undefined;
  private failures = 0;

  /** It was tried in vain. Gives when to try again: delays double, and are spread so that not all come back at once. */
  failed(now: Now, atLeast = 0): number {
    if (this.since === undefined) {
      this.since = now.mono;
      this.deadline = now.mono + BANNER_AFTER;
    }
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(this.failures, 10));
    this.failures += 1;
    return now.mono + Math.max(atLeast, delay * (0.5 + now.random / 2));
  }

  /** It is there. */
  over(): void {
    this.failures = 0;
    this.since = undefined;
    this.deadline = undefined;
  }

  /** There is reason to think that it is back: delays begin anew. */
  hope(): void {
    this.failures = 0;
  }

  /** To be called at the deadline. */
  timeout(now: Now): void {
    if (this.deadline !== undefined && now.mono >= this.deadline) this.deadline = undefined;
  }

  /** Whether it is away for so long that people should know. */
  isLong(now: Now): boolean {
    return this.since !== undefined && now.mono >= this.since + BANNER_AFTER;
  }
}
