// The list of tasks: what is on show holds its place.

import { expect, test } from "vitest";
import type { Task, TaskPage } from "../src/core/api";
import { List, NO_FILTERS } from "../src/core/list";
import { at, drain, task } from "./values";

const TOTALS = { queued: 0, running: 0, retrying: 0, stopping: 0, done: 0, stopped: 0, failed: 0 };

function page(...ids: string[]): TaskPage {
  // A later id was submitted later.
  const tasks: Task[] = ids.map((id) => task({ task_id: id, submitted_at: `2026-01-01T00:00:0${id}.000Z` }));
  return { tasks, next_cursor: null, totals: TOTALS, projects: ["default"] };
}

function shown(list: List): string {
  return (list.tasks ?? []).map((task) => task.task_id).join("");
}

/** A list that shows this page. */
function listOf(first: TaskPage): List {
  const list = new List();
  list.handle({ type: "ask", filters: NO_FILTERS }, at(0));
  list.handle({ type: "timeout" }, at(0));
  drain(list);
  list.handle({ type: "page", key: "1", page: first, tag: "a" }, at(0));
  return list;
}

test("it looks again each second, and says what it has", () => {
  const list = listOf(page("2", "1"));
  expect(list.deadline()).toBe(1000);
  list.handle({ type: "timeout" }, at(1000));
  expect(drain(list)).toEqual([{ type: "fetch", key: "1", filters: NO_FILTERS, tag: "a" }]);
  list.handle({ type: "same", key: "1" }, at(1001));
  expect([shown(list), list.deadline()]).toEqual(["21", 2001]);
});

test("while someone reads, tasks change in their places and new ones wait", () => {
  const list = listOf(page("2", "1"));
  list.handle({ type: "settled", settled: false }, at(1));
  const next = page("4", "3", "2", "1");
  next.tasks[2] = task({ task_id: "2", status: "done", submitted_at: "2026-01-01T00:00:02.000Z" });
  list.handle({ type: "page", key: "1", page: next, tag: "b" }, at(2));
  expect([shown(list), list.waiting, list.tasks?.[0]?.status]).toEqual(["21", 2, "done"]);
  list.handle({ type: "let in" }, at(3));
  expect([shown(list), list.waiting]).toEqual(["4321", 0]);
});

test("a task that no longer fits the filters stays while someone reads, and no older one counts as new", () => {
  const list = listOf(page("3", "2"));
  list.handle({ type: "settled", settled: false }, at(1));
  list.handle({ type: "page", key: "1", page: page("3", "1"), tag: "b" }, at(2));
  expect([shown(list), list.waiting]).toEqual(["32", 0]);
  list.handle({ type: "settled", settled: true }, at(3));
  expect(shown(list)).toBe("31");
});

test("an answer to what is no longer asked is dropped", () => {
  const list = listOf(page("1"));
  list.handle({ type: "ask", filters: { ...NO_FILTERS, q: "x" } }, at(10));
  list.handle({ type: "page", key: "1", page: page("2"), tag: "b" }, at(11));
  expect(shown(list)).toBe("1");
  expect(list.deadline()).toBe(130);
  list.handle({ type: "timeout" }, at(130));
  expect(drain(list)).toEqual([{ type: "fetch", key: "2", filters: { ...NO_FILTERS, q: "x" }, tag: null }]);
});

test("nobody who can't see it makes it look", () => {
  const list = listOf(page("1"));
  list.handle({ type: "visible", visible: false }, at(10));
  expect(list.deadline()).toBeUndefined();
  list.handle({ type: "timeout" }, at(5000));
  expect(drain(list)).toEqual([]);
  list.handle({ type: "visible", visible: true }, at(6000));
  expect(list.deadline()).toBe(6000);
});

test("a server that is away is said so after two seconds, and tried ever more rarely", () => {
  const list = listOf(page("1"));
  const failure = { status: 0, title: "", detail: "gone", errors: [] };
  list.handle({ type: "timeout" }, at(1000));
  list.handle({ type: "failed", key: "1", failure }, at(1000));
  expect(list.deadline()).toBe(1200);
  list.handle({ type: "timeout" }, at(1200));
  list.handle({ type: "failed", key: "1", failure }, at(1201));
  expect([list.isDown(at(2999)), list.isDown(at(3000)), shown(list)]).toEqual([false, true, "1"]);
  list.handle({ type: "page", key: "1", page: page("1"), tag: null }, at(3001));
  expect(list.isDown(at(9000))).toBe(false);
});
