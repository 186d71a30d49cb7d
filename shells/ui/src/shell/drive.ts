// Drives a machine: gives it the time, carries out its effects, wakes it at its deadline, and says when to draw.

import type { Machine, Now } from "../core/machine";

export function now(): Now {
  return { mono: performance.now(), wall: Date.now(), random: Math.random() };
}

export class Driver<Input extends { type: string }, Effect> {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopped = false;
  private draining = false;

  constructor(
    private readonly machine: Machine<Input, Effect>,
    private readonly carryOut: (effect: Effect, send: (input: Input) => void) => void,
    private readonly changed: () => void,
    private readonly timeout: Input,
  ) {}

  /** Some inputs change nothing that is seen. */
  readonly send = (input: Input, isSeen = true): void => {
    if (this.stopped) return;
    this.machine.handle(input, now());
    this.drain();
    this.setTimer();
    if (isSeen) this.changed();
  };

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** An effect may be answered at once: its answer is handled after it, not within it. */
  private drain(): void {
    if (this.draining) return;
    this.draining = true;
    for (let effect = this.machine.poll(); effect !== undefined; effect = this.machine.poll()) {
      this.carryOut(effect, this.send);
    }
    this.draining = false;
  }

  private setTimer(): void {
    clearTimeout(this.timer);
    const deadline = this.machine.deadline();
    if (deadline === undefined || this.stopped) return;
    // At least a little later: a deadline that has passed and is not acted upon must not spin.
    this.timer = setTimeout(() => this.send(this.timeout), Math.max(10, deadline - performance.now()));
  }
}
