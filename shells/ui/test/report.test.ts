// What agents say of themselves, as people read it.

import { describe, expect, test } from "vitest";
import { money, percent, progressOf, tokens, viewOf } from "../src/core/report";
import { plainLines } from "../src/core/text";
import { Watch } from "../src/core/watch";
import { at, drain, frame, frames, task } from "./values";

test("progress is within its bounds, whatever an agent said", () => {
  expect([0.4, 7, -1, Number.NaN].map((progress) => progressOf({ progress }))).toEqual([0.4, 1, 0, undefined]);
  expect([progressOf({}), progressOf(undefined)]).toEqual([undefined, undefined]);
  expect([0, 0.29, 0.999, 1].map(percent)).toEqual(["0 %", "29 %", "99 %", "100 %"]);
});

test("costs and tokens are short", () => {
  const costs = [0, 0.00001, 0.0042, 0.0123, 0.12, 0.5, 1.005, 12.5];
  expect(costs.map(money)).toEqual(["$0.00", "< $0.0001", "$0.0042", "$0.0123", "$0.12", "$0.50", "$1.00", "$12.50"]);
  expect(tokens({ tokens: { input: 1234, output: 56 } })).toBe("1,234 in, 56 out");
  expect([tokens({ tokens: { output: 56 } }), tokens({})]).toEqual(["56 out", ""]);
});

test("a result is text, or JSON that can be read, and a long one has a beginning", () => {
  expect(viewOf("All is well.\n")).toEqual({ kind: "text", whole: "All is well.\n", lines: 1, beginning: undefined });
  expect(viewOf({ ok: true }).whole).toBe('{\n  "ok": true\n}');
  expect([viewOf(null).whole, viewOf(0).whole, viewOf("").whole]).toEqual(["null", "0", ""]);
  const many = viewOf(Array.from({ length: 100 }, (_, index) => index));
  expect([many.lines, many.beginning]).toEqual([102, "[\n  0,\n  1,\n  2,\n  3,\n  4,\n  5,\n  6,"]);
  expect(viewOf("x".repeat(5000)).beginning).toBe("x".repeat(1200));
});

test("a result deceives no one, line by line", () => {
  expect(plainLines("<b>a</b>\n\u202egnp.exe\n\x1b[31mred\x1b[0m")).toBe("<b>a</b>\n‹U+202E›gnp.exe\nred");
});

describe("of a task that is watched", () => {
  function live(): Watch {
    const watch = new Watch();
    watch.handle({ type: "open" }, at(0));
    watch.handle({ type: "window", purpose: "tail", window: { total: 2, from: 0, updates: frames(1, 2) } }, at(0));
    watch.handle({ type: "connected" }, at(0));
    drain(watch);
    return watch;
  }

  test("the last word counts, of frames and of the task alike", () => {
    const watch = live();
    expect(watch.report).toBeUndefined();
    watch.handle({ type: "task", task: task({ updates: 2, report: { progress: 0.1 } }) }, at(1));
    expect(watch.report).toEqual({ progress: 0.1 });
    const said = { ...frame(3), report: { progress: 0.2, status: "reads" } };
    watch.handle({ type: "frames", frames: [said, frame(4)] }, at(2));
    expect(watch.report).toEqual({ progress: 0.2, status: "reads" });
    watch.handle({ type: "task", task: task({ updates: 2, report: { progress: 0.1 } }) }, at(3));
    expect(watch.report, "an answer from before it").toEqual({ progress: 0.2, status: "reads" });
    watch.handle({ type: "frames", frames: frames(5, 99) }, at(4));
    watch.handle({ type: "task", task: task({ updates: 4, report: { progress: 0.3 } }) }, at(4));
    expect(watch.report).toEqual({ progress: 0.3 });
  });

  test("the end brings the result", () => {
    const watch = live();
    const end = { ...frame(3, "done", "DONE"), report: { progress: 1, result: { ok: true } } };
    watch.handle({ type: "frames", frames: [end] }, at(1));
    expect(watch.report?.result).toEqual({ ok: true });
  });

  test("a result is told once, and is of its attempt; what was spent is of all", () => {
    const watch = live();
    const cost = { cost_usd: 1, tokens: { input: 2 } };
    watch.handle({ type: "frames", frames: [{ ...frame(3), report: { ...cost, progress: 1, result: "all" } }] }, at(1));
    watch.handle({ type: "frames", frames: [{ ...frame(4), report: { ...cost, status: "ends" } }] }, at(2));
    expect(watch.report).toEqual({ ...cost, status: "ends", result: "all" });
    watch.handle({ type: "task", task: task({ updates: 4, report: cost }) }, at(3));
    expect(watch.report).toEqual({ ...cost, result: "all" });
    watch.handle({ type: "frames", frames: [frame(1, "started", "Starting... (attempt 2)", 2)] }, at(4));
    expect(watch.report).toEqual(cost);
    watch.handle({ type: "task", task: task({ updates: 5 }) }, at(5));
    expect(watch.report).toBeUndefined();
    watch.handle({ type: "frames", frames: [frame(1, "started", "Starting... (attempt 3)", 3)] }, at(6));
    expect(watch.report).toBeUndefined();
  });

  test("rows that are looked at are of long ago", () => {
    const watch = live();
    watch.handle({ type: "frames", frames: [{ ...frame(3), report: { progress: 0.9 } }] }, at(1));
    const old = frames(1, 3).map((frame) => ({ ...frame, report: { progress: 0.1 } }));
    watch.handle({ type: "window", purpose: "look", window: { total: 3, from: 0, updates: old } }, at(2));
    expect(watch.report).toEqual({ progress: 0.9 });
  });
});
