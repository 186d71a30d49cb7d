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
  answer(list, first, 0);
  return list;
}

/** The server answers what the list has asked for. */
function answer(list: List, value: TaskPage, time: number): void {
  const asked = drain(list).at(-1)?.asked ?? 0;
  list.handle({ type: "answer", asked, value, tag: "a" }, at(time));
}

test("it looks again each second, and says what it has", () => {
  const list = listOf(page("2", "1"));
  expect(list.deadline()).toBe(1000);
  list.handle({ type: "timeout" }, at(1000));
  expect(drain(list)).toEqual([{ type: "fetch", asked: 2, tag: "a" }]);
  list.handle({ type: "same", asked: 2 }, at(1001));
  expect([shown(list), list.deadline()]).toEqual(["21", 2001]);
});

test("while someone reads, tasks change in their places and new ones wait", () => {
  const list = listOf(page("2", "1"));
  list.handle({ type: "settled", settled: false }, at(1));
  const next = page("4", "3", "2", "1");
  next.tasks[2] = task({ task_id: "2", status: "done", submitted_at: "2026-01-01T00:00:02.000Z" });
  list.handle({ type: "timeout" }, at(1000));
  answer(list, next, 1001);
  expect([shown(list), list.waiting, list.tasks?.[0]?.status]).toEqual(["21", 2, "done"]);
  list.handle({ type: "let in" }, at(3));
  expect([shown(list), list.waiting]).toEqual(["4321", 0]);
});

test("a task that no longer fits the filters stays while someone reads, and no older one counts as new", () => {
  const list = listOf(page("3", "2"));
  list.handle({ type: "settled", settled: false }, at(1));
  list.handle({ type: "timeout" }, at(1000));
  answer(list, page("3", "1"), 1001);
  expect([shown(list), list.waiting]).toEqual(["32", 0]);
  list.handle({ type: "settled", settled: true }, at(3));
  expect(shown(list)).toBe("31");
});

test("an answer to what is no longer asked is dropped", () => {
  const list = listOf(page("1"));
  list.handle({ type: "timeout" }, at(1000));
  drain(list);
  list.handle({ type: "ask", filters: { ...NO_FILTERS, q: "x" } }, at(1010));
  list.handle({ type: "answer", asked: 2, value: page("2") }, at(1011));
  expect(shown(list)).toBe("1");
  expect(list.deadline()).toBe(1130);
  list.handle({ type: "timeout" }, at(1130));
  expect(drain(list)).toEqual([{ type: "fetch", asked: 3, tag: null }]);
  list.handle({ type: "answer", asked: 3, value: page("3") }, at(1131));
  expect(shown(list)).toBe("3");
});
