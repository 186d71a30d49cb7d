// The watch of a task, through every way in which a connection can be lost.

import { describe, expect, test } from "vitest";
import type { Frame } from "../src/core/api";
import { MAX_ROWS } from "../src/core/log";
import { type Effect, FLOOD, Watch } from "../src/core/watch";
import { at, drain, frame, frames, task } from "./values";

const LOST = { status: 0, title: "No answer", detail: "the server can't be reached", errors: [] };

function texts(watch: Watch): (string | undefined)[] {
  return Array.from({ length: watch.log.total }, (_, position) => watch.log.get(position)?.text);
}

function lines(from: number, to: number): string[] {
  return frames(from, to).map((frame) => frame.update);
}

/** A watch that is live after these frames. */
function live(known: Frame[], total = known.length): Watch {
  const watch = new Watch();
  watch.handle({ type: "open" }, at(0));
  const window = { total, from: total - known.length, updates: known };
  watch.handle({ type: "window", purpose: "tail", window }, at(0));
  watch.handle({ type: "connected" }, at(0));
  drain(watch);
  return watch;
}

/** A server that holds these frames, and answers what a watch asks for. */
function serve(watch: Watch, history: Frame[], now: number): Effect[] {
  const asked: Effect[] = [];
  for (let effect = watch.poll(); effect !== undefined; effect = watch.poll()) {
    asked.push(effect);
    if (effect.type === "fetch window") {
      const from = effect.from ?? Math.max(0, history.length - effect.limit);
      const updates = history.slice(from, from + effect.limit);
      watch.handle(
        { type: "window", purpose: effect.purpose, window: { total: history.length, from, updates } },
        at(now),
      );
    }
  }
  return asked;
}

test("the end comes first, then what follows it, live", () => {
  const watch = new Watch();
  watch.handle({ type: "open" }, at(0));
  const asked = serve(watch, frames(1, 100_000), 0);
  expect(asked).toEqual([
    { type: "fetch task" },
    { type: "fetch window", purpose: "tail", limit: 512 },
    { type: "connect", after: "1-100000" },
  ]);
  watch.handle({ type: "connected" }, at(1));
  watch.handle({ type: "frames", frames: [frame(100_001)] }, at(2));
  expect(watch.isLive()).toBe(true);
  expect(watch.log.get(100_000)?.text).toBe("line 100001");
  expect(watch.log.get(50_000)).toBeUndefined();
});

test("rows that are looked at are fetched, once", () => {
  const watch = live(frames(5001, 5512), 5512);
  watch.handle({ type: "see", from: 1000, to: 1060 }, at(1));
  watch.handle({ type: "see", from: 1010, to: 1070 }, at(1));
  const asked = drain(watch);
  expect(asked).toEqual([{ type: "fetch window", purpose: "look", from: 512, limit: 512 }]);
  const window = { total: 5512, from: 512, updates: frames(513, 1024) };
  watch.handle({ type: "window", purpose: "look", window }, at(2));
  expect(watch.log.get(1000)?.text).toBe("line 1001");
  expect(drain(watch)).toEqual([{ type: "fetch window", purpose: "look", from: 1024, limit: 512 }]);
});

test("rows that are gone are not asked for again, and an empty answer not at once", () => {
  const watch = live(frames(5001, 5512), 5512);
  watch.handle({ type: "see", from: 0, to: 100 }, at(1));
  expect(drain(watch)).toEqual([{ type: "fetch window", purpose: "look", from: 0, limit: 512 }]);
  const window = { total: 5512, from: 90, updates: frames(91, 512) };
  watch.handle({ type: "window", purpose: "look", window }, at(2));
  expect([drain(watch), watch.log.goneBefore, watch.log.get(90)?.text]).toEqual([[], 90, "line 91"]);
  watch.handle({ type: "see", from: 600, to: 650 }, at(3));
  drain(watch);
  watch.handle({ type: "window", purpose: "look", window: { total: 5512, from: 512, updates: [] } }, at(4));
  expect(drain(watch)).toEqual([]);
  watch.handle({ type: "timeout" }, at(2004));
  expect(drain(watch)).toEqual([{ type: "fetch window", purpose: "look", from: 512, limit: 512 }]);
  watch.handle({ type: "window failed", purpose: "look", failure: LOST }, at(2005));
  expect(watch.lookFailure).toEqual(LOST);
  watch.handle({ type: "timeout" }, at(4005));
  expect(drain(watch)).toContainEqual({ type: "fetch window", purpose: "look", from: 512, limit: 512 });
  watch.handle(
    { type: "window", purpose: "look", window: { total: 5512, from: 512, updates: frames(513, 1024) } },
    at(4006),
  );
  expect([watch.lookFailure, watch.log.get(600)?.text]).toEqual([undefined, "line 601"]);
});

test("a server that was killed and came back leaves no gap and no duplicate", () => {
  const watch = live(frames(1, 10));
  watch.handle({ type: "closed", code: 1006, reason: "" }, at(100));
  expect(watch.state).toEqual({ name: "waiting", until: 300 });
  expect(watch.deadline()).toBe(300);
  watch.handle({ type: "timeout" }, at(300));
  expect(drain(watch)).toContainEqual({ type: "fetch window", purpose: "resume", from: 9, limit: 512 });
  watch.handle({ type: "window failed", purpose: "resume", failure: LOST }, at(301));
  expect(watch.isDown(at(2099))).toBe(false);
  expect(watch.isDown(at(2100))).toBe(true);
  watch.handle({ type: "timeout" }, at(2100));
  expect(watch.deadline() ?? Infinity, "the banner is said once").toBeGreaterThan(2100);
  const asked = serve(watch, frames(1, 2000), 3000);
  expect(asked.at(-1)).toEqual({ type: "connect", after: "1-2000" });
  watch.handle({ type: "connected" }, at(3001));
  expect(watch.isDown(at(9000))).toBe(false);
  watch.handle({ type: "see", from: 0, to: 2000 }, at(3002));
  serve(watch, frames(1, 2000), 3003);
  expect(texts(watch)).toEqual(lines(1, 2000));
});

test("positions that mean something else now are all read anew", () => {
  const watch = live(frames(1, 10));
  watch.handle({ type: "closed", code: 1012, reason: "the server is shutting down" }, at(0));
  watch.handle({ type: "timeout" }, at(500));
  serve(watch, frames(4, 30), 500);
  expect(texts(watch)).toEqual(lines(4, 30));
});

test("an answer that comes too late changes nothing", () => {
  const watch = live(frames(1, 10));
  watch.handle({ type: "window", purpose: "tail", window: { total: 3, from: 0, updates: frames(1, 3) } }, at(1));
  watch.handle({ type: "window failed", purpose: "tail", failure: LOST }, at(1));
  watch.handle({ type: "connected" }, at(1));
  expect(texts(watch)).toEqual(lines(1, 10));
  watch.handle({ type: "closed", code: 1006, reason: "" }, at(2));
  watch.handle({ type: "frames", frames: [frame(11)] }, at(3));
  expect(watch.log.total).toBe(10);
});

test("the end is the end", () => {
  const watch = live(frames(1, 3));
  watch.handle({ type: "frames", frames: [frame(4), frame(5, "done", "DONE")] }, at(1));
  expect(drain(watch)).toEqual([{ type: "fetch task" }, { type: "disconnect" }]);
  watch.handle({ type: "closed", code: 1000, reason: "" }, at(2));
  watch.handle({ type: "task failed", failure: LOST }, at(3));
  watch.handle({ type: "timeout" }, at(3003));
  expect(drain(watch)).toEqual([{ type: "fetch task" }]);
  watch.handle({ type: "task", task: task({ status: "done" }) }, at(3004));
  watch.handle({ type: "woke" }, at(3005));
  watch.handle({ type: "timeout" }, at(9999));
  expect(watch.state).toEqual({ name: "ended" });
  expect(drain(watch)).toEqual([]);
  expect(watch.deadline()).toBeUndefined();
});

test("a task that has ended is not watched", () => {
  const watch = new Watch();
  watch.handle({ type: "open" }, at(0));
  const asked = serve(watch, [...frames(1, 3), frame(4, "failed", "FAILED: no")], 0);
  expect(asked.some((effect) => effect.type === "connect")).toBe(false);
  expect(watch.state.name).toBe("ended");
});

test.each([
  ["a fetch", { type: "window failed", purpose: "tail", failure: { ...LOST, status: 404 } }],
  ["the task", { type: "task failed", failure: { ...LOST, status: 404 } }],
] as const)("no such task, says %s", (_, input) => {
  const watch = new Watch();
  watch.handle({ type: "open" }, at(0));
  watch.handle(input, at(1));
  expect(watch.state.name).toBe("missing");
});

test("waking up connects anew, at once", () => {
  const watch = live(frames(1, 10));
  watch.handle({ type: "woke" }, at(60_000));
  expect(drain(watch)).toEqual([
    { type: "disconnect" },
    { type: "fetch task" },
    { type: "fetch window", purpose: "resume", from: 9, limit: 512 },
  ]);
});

test("tries grow apart, are spread, and heed Retry-After", () => {
  const waits: number[] = [];
  const watch = new Watch();
  watch.handle({ type: "open" }, at(0));
  for (let time = 0; waits.length < 8; ) {
    watch.handle({ type: "window failed", purpose: "tail", failure: LOST }, { ...at(time), random: 0.999999 });
    const { state } = watch;
    if (state.name !== "waiting") throw new Error(state.name);
    waits.push(Math.round(state.until - time));
    time = state.until;
    watch.handle({ type: "timeout" }, at(time));
  }
  expect(waits).toEqual([400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000]);
  watch.handle({ type: "window failed", purpose: "tail", failure: { ...LOST, retryAfter: 20_000 } }, at(100_000));
  expect(watch.state).toEqual({ name: "waiting", until: 120_000 });
});

describe("stop", () => {
  test("is asked once, and counts down while its grace lasts", () => {
    const watch = live(frames(1, 2));
    watch.handle({ type: "task", task: task() }, at(0));
    watch.handle({ type: "stop", force: false }, at(1));
    watch.handle({ type: "stop", force: false }, at(2));
    expect(drain(watch)).toEqual([{ type: "stop", force: false }]);
    watch.handle({ type: "stop answered" }, at(3));
    watch.handle({ type: "task", task: task({ status: "stopping" }) }, at(3));
    const stopping = { ...frame(3, "stopping", "Stopping"), deadline: "2026-01-01T00:00:10.000Z" };
    watch.handle({ type: "frames", frames: [stopping] }, at(4));
    expect(watch.killAt).toBe(Date.parse(stopping.deadline));
    watch.handle({ type: "frames", frames: [frame(4, "stopped", "STOPPED")] }, at(5));
    expect(watch.killAt).toBeUndefined();
  });

  test("can be asked again if it was not taken", () => {
    const watch = live(frames(1, 2));
    watch.handle({ type: "stop", force: false }, at(1));
    watch.handle({ type: "stop answered", failure: LOST }, at(2));
    expect(watch.stopping).toEqual({ asked: false, forced: false, failure: LOST });
    watch.handle({ type: "stop", force: false }, at(3));
    expect(watch.stopping).toEqual({ asked: true, forced: false });
  });

  test("can be forced once, also where someone else asked first", () => {
    const watch = live(frames(1, 2));
    watch.handle({ type: "stop", force: false }, at(1));
    drain(watch);
    watch.handle({ type: "stop", force: true }, at(2));
    watch.handle({ type: "stop", force: true }, at(3));
    watch.handle({ type: "stop", force: false }, at(4));
    expect(drain(watch)).toEqual([{ type: "stop", force: true }]);
    expect(watch.stopping).toEqual({ asked: true, forced: true });
    watch.handle({ type: "task", task: task({ status: "stopped" }) }, at(5));
    expect(watch.stopping).toEqual({ asked: false, forced: false });
  });
});

test("of a flood only the end is read, and the rest when it is looked at", () => {
  const watch = live(frames(1, 10));
  watch.handle({ type: "frames", frames: frames(11, 10 + FLOOD) }, at(1));
  expect(watch.isLive()).toBe(true);
  const asked = serve(watch, frames(1, 50_000), 2);
  expect(asked[0]).toEqual({ type: "disconnect" });
  expect(asked.at(-1)).toEqual({ type: "connect", after: "1-50000" });
  watch.handle({ type: "frames", frames: [frame(50_001)] }, at(3));
  expect([watch.log.get(50_000)?.text, watch.log.get(20_000)]).toEqual(["line 50001", undefined]);
  watch.handle({ type: "see", from: 20_000, to: 20_010 }, at(4));
  serve(watch, frames(1, 50_001), 5);
  expect(watch.log.get(20_000)?.text).toBe("line 20001");
});

test("who falls behind goes to the end, whatever the clocks say", () => {
  const watch = live(frames(1, 10));
  // The agent's clock is an hour ahead.
  const written = (first: number, time: number) =>
    frames(first, first + 99).map((frame) => ({ ...frame, at: new Date(at(time).wall + 3_600_000).toISOString() }));
  watch.handle({ type: "frames", frames: written(11, 1000) }, at(1005));
  watch.handle({ type: "frames", frames: written(111, 2000) }, at(3990));
  expect(watch.log.total).toBe(210);
  expect(drain(watch)).toEqual([]);
  // Some lines that were late are no reason.
  watch.handle({ type: "frames", frames: written(211, 2500).slice(0, 5) }, at(5000));
  expect(drain(watch)).toEqual([]);
  watch.handle({ type: "frames", frames: written(216, 3000) }, at(5100));
  const asked = serve(watch, frames(1, 50_000), 5101);
  expect([asked[0], asked.at(-1)]).toEqual([{ type: "disconnect" }, { type: "connect", after: "1-50000" }]);
  watch.handle({ type: "connected" }, at(5102));
  watch.handle({ type: "frames", frames: written(50_001, 3050) }, at(5103));
  expect(drain(watch)).toEqual([]);
});

test("memory is bounded, and what was let go of can be had again", () => {
  const watch = live(frames(1, 1));
  for (let seq = 2; seq <= 1_000_000; seq += 3000) {
    watch.handle({ type: "frames", frames: frames(seq, Math.min(1_000_000, seq + 2999)) }, at(1));
  }
  expect(watch.log.held()).toBeLessThanOrEqual(MAX_ROWS);
  expect(watch.log.total).toBe(1_000_000);
  expect(watch.log.last()?.id).toBe("1-1000000");
  drain(watch);
  watch.handle({ type: "see", from: 500_000, to: 500_050 }, at(1));
  expect(drain(watch)).toEqual([{ type: "fetch window", purpose: "look", from: 499_712, limit: 512 }]);
});
