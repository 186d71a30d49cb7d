// Watches one task: fetches the end of its history first, goes on live from there, and comes back after the last row
// whenever the connection is lost. It decides when to call what; it must never call anything itself.

import { endsTask, type Frame, hasEnded, rowOf, type Task, type Window } from "./api";
import { CHUNK, Log } from "./log";
import type { Failure, Machine, Now } from "./machine";
import { Outage } from "./outage";
import { anew, type Report, withResult } from "./report";

export type Input =
  | { type: "open" }
  | { type: "task"; task: Task }
  | { type: "task failed"; failure: Failure }
  | { type: "window"; purpose: Purpose; window: Window }
  | { type: "window failed"; purpose: Purpose; failure: Failure }
  | { type: "connected" }
  | { type: "frames"; frames: Frame[] }
  | { type: "closed"; code: number; reason: string }
  /** The browser is online again, or was asleep: the connection may be dead without a word. */
  | { type: "woke" }
  /** These positions are on show. */
  | { type: "see"; from: number; to: number }
  /** By force: without the grace, or without what is left of it. */
  | { type: "stop"; force: boolean }
  | { type: "stop answered"; failure?: Failure }
  | { type: "timeout" };

/** Why a window is fetched: to begin or go on at the end, or because someone looks at it. */
export type Purpose = "resume" | "tail" | "look";

export type Effect =
  | { type: "fetch task" }
  | { type: "fetch window"; purpose: Purpose; from?: number; limit: number }
  | { type: "connect"; after?: string }
  | { type: "disconnect" }
  | { type: "stop"; force: boolean };

type State =
  /** The end of the history is being fetched; of a flood, while the rows are still coming. */
  | { name: "fetching"; flooded: boolean }
  /** A socket is being opened, or is open. */
  | { name: "watching"; open: boolean }
  /** The server is not there; to be tried again. */
  | { name: "waiting"; until: number }
  | { name: "ended" }
  /** There is no such task. */
  | { name: "missing" };

/** How often a task is looked at that may change without an update, in milliseconds: its STOP was acknowledged elsewhere. */
const LOOK_EVERY = 3000;
/** How many rows the end of a history has at first: some screens full. */
const TAIL = CHUNK;
/** So many frames at once are more than anyone can read: the watch goes to the end, and leaves out what is between. */
export const FLOOD = 4000;
/** So far behind the agent, in milliseconds, it goes to the end too, if so many frames come for each drawn one: a screen full. */
const BEHIND = 2000;
const MANY = 40;
/** How long after a failed look the same rows are asked for again. */
const LOOK_AGAIN_AFTER = 2000;

export class Watch implements Machine<Input, Effect> {
  readonly log = new Log();
  task: Task | undefined;
  state: State = { name: "fetching", flooded: false };
  /** Why the last call failed, while it does. */
  trouble: Failure | undefined;
  /** Why rows that are looked at can't be had, while they can't. */
  lookFailure: Failure | undefined;
  /** What became of the last STOP from here. */
  stopping: { asked: boolean; forced: boolean; failure?: Failure } = { asked: false, forced: false };
  /** When SIGKILL follows, once the grace has begun. */
  killAt: number | undefined;
  /** What the agent has said of itself so far. */
  report: Report | undefined;
  /** How many rows there were with the last one that says so. */
  private toldAt = 0;
  private outage = new Outage();
  /** The shortest way of an update to here since the watch began at the end, in milliseconds; clocks may differ by as much. */
  private shortestWay = Infinity;
  /** From which position on rows are being fetched. */
  private looking: number | undefined;
  private lookAgainAt: number | undefined;
  private seen = { from: 0, to: 0 };
  private nextTask: number | undefined;
  private effects: Effect[] = [];

  handle(input: Input, now: Now): void {
    switch (input.type) {
      case "open":
        return this.begin();
      case "task":
        return this.onTask(input.task, now);
      case "task failed":
        if (input.failure.status === 404 && this.log.total === 0) this.state = { name: "missing" };
        this.nextTask = now.mono + LOOK_EVERY;
        return;
      case "window":
        return input.purpose === "look" ? this.onLook(input.window, now) : this.onEnd(input.purpose, input.window, now);
      case "window failed":
        return this.onWindowFailed(input.purpose, input.failure, now);
      case "connected":
        return this.onConnected();
      case "frames":
        return this.onFrames(input.frames, now);
      case "closed":
        return this.onClosed(input.code, input.reason, now);
      case "woke":
        return this.onWoke();
      case "see":
        this.seen = { from: input.from, to: input.to };
        this.log.touch(input.from, input.to);
        return this.look();
      case "stop":
        if (input.force ? this.stopping.forced : this.stopping.asked) return;
        this.stopping = { asked: true, forced: input.force };
        this.effects.push({ type: "stop", force: input.force });
        return;
      case "stop answered":
        if (input.failure) this.stopping = { asked: false, forced: false, failure: input.failure };
        this.effects.push({ type: "fetch task" });
        return;
      case "timeout":
        return this.onTimeout(now);
    }
  }

  poll(): Effect | undefined {
    return this.effects.shift();
  }

  deadline(): number | undefined {
    const times = [
      this.state.name === "waiting" ? this.state.until : undefined,
      this.isTaskDue() ? this.nextTask : undefined,
      this.outage.deadline,
      this.lookAgainAt,
    ].filter((time) => time !== undefined);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /** Whether the connection has been down for so long that people should know. */
  isDown(now: Now): boolean {
    return this.outage.isLong(now);
  }

  /** Whether rows arrive as they are written. */
  isLive(): boolean {
    if (this.state.name === "fetching") return this.state.flooded;
    return this.state.name === "watching" && this.state.open;
  }

  isOver(): boolean {
    return this.state.name === "ended" || this.state.name === "missing";
  }

  /** Whether the task is to be looked at from time to time: until it is known how it ended. */
  private isTaskDue(): boolean {
    if (this.state.name === "ended") return !this.task || !hasEnded(this.task.status);
    return this.state.name === "watching";
  }

  private begin(flooded = false): void {
    this.shortestWay = Infinity;
    this.state = { name: "fetching", flooded };
    this.effects.push({ type: "fetch task" });
    const total = this.log.total;
    if (total > 0) {
      // The last row once more: it proves that the positions still mean the same.
      this.effects.push({ type: "fetch window", purpose: "resume", from: total - 1, limit: TAIL });
    } else {
      this.effects.push({ type: "fetch window", purpose: "tail", limit: TAIL });
    }
  }

  private onTask(task: Task, now: Now): void {
    this.task = task;
    this.nextTask = now.mono + LOOK_EVERY;
    // An answer may be older than what has come since it was asked for.
    if (task.updates >= this.toldAt) this.report = withResult(task.report, this.report);
    if (task.status !== "stopping") this.killAt = undefined;
    if (hasEnded(task.status)) this.stopping = { asked: false, forced: false };
  }

  /** The end of the history, or what came after the last row. */
  private onEnd(purpose: Purpose, window: Window, now: Now): void {
    if (this.state.name !== "fetching") return;
    if (purpose === "resume") {
      const first = window.updates[0];
      if (window.from !== this.log.total - 1 || first?.id !== this.log.last()?.id) {
        this.log.clear();
        this.toldAt = 0;
        this.looking = undefined;
        this.effects.push({ type: "fetch window", purpose: "tail", limit: TAIL });
        return;
      }
    }
    this.take(window);
    const end = window.from + window.updates.length;
    if (end < window.total && window.updates.length > 0) {
      // Too much to read it all before going on: the rows between are fetched when they are looked at.
      const from = Math.max(end, window.total - TAIL);
      this.effects.push({ type: "fetch window", purpose: "tail", from, limit: TAIL });
      return;
    }
    this.recovered();
    this.nextTask = now.mono + LOOK_EVERY;
    const last = this.log.last();
    if (last && endsTask(last.kind)) {
      this.state = { name: "ended" };
    } else {
      this.state = { name: "watching", open: false };
      this.effects.push(last ? { type: "connect", after: last.id } : { type: "connect" });
    }
    this.look();
  }

  private take(window: Window): void {
    this.log.put(window.from, window.updates.map(rowOf));
    this.log.total = Math.max(this.log.total, window.total);
    this.note(window.updates, window.from + window.updates.length);
  }

  private onLook(window: Window, now: Now): void {
    if (this.looking === undefined) return;
    if (window.from > this.looking) this.log.goneBefore = Math.max(this.log.goneBefore, window.from);
    this.looking = undefined;
    this.lookFailure = undefined;
    this.log.put(window.from, window.updates.map(rowOf));
    // An answer with nothing in it must not be asked for at once again.
    if (window.updates.length === 0) this.lookAgainAt = now.mono + LOOK_AGAIN_AFTER;
    else this.look();
  }

  /** Fetches what is on show and not known. */
  private look(): void {
    if (this.looking !== undefined || this.lookAgainAt !== undefined || this.log.total === 0) return;
    const missing = this.log.missing(this.seen.from, this.seen.to);
    if (!missing) return;
    this.looking = missing.from;
    this.effects.push({ type: "fetch window", purpose: "look", ...missing });
  }

  private onWindowFailed(purpose: Purpose, failure: Failure, now: Now): void {
    if (purpose === "look") {
      this.looking = undefined;
      this.lookFailure = failure;
      this.lookAgainAt = now.mono + LOOK_AGAIN_AFTER;
      return;
    }
    if (this.state.name !== "fetching") return;
    if (failure.status === 404) {
      this.recovered();
      this.state = { name: "missing" };
      return;
    }
    this.trouble = failure;
    this.wait(now, failure.retryAfter);
  }

  private onConnected(): void {
    if (this.state.name !== "watching") return;
    this.state.open = true;
    this.recovered();
  }

  private onFrames(frames: Frame[], now: Now): void {
    if (this.state.name !== "watching") return;
    for (const frame of frames) this.log.push(rowOf(frame));
    this.note(frames, this.log.total);
    const last = frames.at(-1);
    if (frames.some((frame) => frame.kind !== "line") || this.task?.status === "queued") {
      this.effects.push({ type: "fetch task" });
    }
    if (last && endsTask(last.kind)) {
      this.state = { name: "ended" };
      this.effects.push({ type: "disconnect" });
    } else if (frames.length >= FLOOD || (this.isBehind(last, now) && frames.length >= MANY)) {
      this.effects.push({ type: "disconnect" });
      this.begin(true);
    }
    this.nextTask = now.mono + LOOK_EVERY;
  }

  /** Whether more comes than can be drawn: then each update has been on its way for longer than the one before. */
  private isBehind(last: Frame | undefined, now: Now): boolean {
    if (!last) return false;
    const way = now.wall - Date.parse(last.at);
    this.shortestWay = Math.min(this.shortestWay, way);
    return way - this.shortestWay > BEHIND;
  }

  /** Reads what is more than a row, of frames that stand before position `end`. */
  private note(frames: Frame[], end: number): void {
    frames.forEach((frame, index) => {
      if (frame.kind === "stopping" && frame.deadline !== undefined) this.killAt = Date.parse(frame.deadline);
      if (frame.kind === "started" || endsTask(frame.kind)) this.killAt = undefined;
      if (frame.kind === "started") this.report = anew(this.report);
      if (frame.report === undefined) return;
      this.report = withResult(frame.report, this.report);
      this.toldAt = end - frames.length + index + 1;
    });
  }

  private onClosed(code: number, reason: string, now: Now): void {
    if (this.state.name !== "watching") return;
    if (code === 4404) {
      this.state = { name: "missing" };
      return;
    }
    this.trouble = {
      status: 0,
      title: "The connection was lost",
      detail: reason || "the server can't be reached",
      errors: [],
    };
    this.wait(now);
  }

  private onWoke(): void {
    if (this.isOver() || this.state.name === "fetching") return;
    if (this.state.name === "watching") this.effects.push({ type: "disconnect" });
    this.outage.hope();
    this.begin();
  }

  private onTimeout(now: Now): void {
    this.outage.timeout(now);
    if (this.state.name === "waiting" && now.mono >= this.state.until) this.begin();
    if (this.nextTask !== undefined && now.mono >= this.nextTask && this.isTaskDue()) {
      this.nextTask = now.mono + LOOK_EVERY;
      this.effects.push({ type: "fetch task" });
    }
    if (this.lookAgainAt !== undefined && now.mono >= this.lookAgainAt) {
      this.lookAgainAt = undefined;
      this.look();
    }
  }

  private wait(now: Now, atLeast?: number): void {
    this.state = { name: "waiting", until: this.outage.failed(now, atLeast) };
  }

  private recovered(): void {
    this.outage.over();
    this.trouble = undefined;
  }
}
