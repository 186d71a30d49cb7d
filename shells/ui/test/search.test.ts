// The search: found once, walked through both ways, going on while the log grows.

import { expect, test } from "vitest";
import { MOST_FOUND, Search } from "../src/core/search";
import { at, drain } from "./values";

function found(search: Search, positions: number[], total: number, next: number | null = null, now = 1000): void {
  search.handle({ type: "found", query: search.query, found: { positions, total, next } }, at(now));
}

function searching(query: string): Search {
  const search = new Search();
  search.handle({ type: "query", text: query }, at(0));
  search.handle({ type: "timeout" }, at(150));
  expect(drain(search)).toEqual([{ type: "search", query, from: 0 }]);
  return search;
}

test("the first match is shown, and stepping goes round", () => {
  const search = searching("x");
  found(search, [3, 8, 20], 30);
  for (const by of [1, 1, 1, -1] as const) search.handle({ type: "step", by, from: 0 }, at(0));
  const shown = drain(search).map((effect) => (effect.type === "show" ? effect.position : effect));
  expect(shown).toEqual([3, 8, 20, 3, 20]);
  expect(search.says()).toBe("3 of 3");
});

test("it goes on where an answer ended, and where the log has grown", () => {
  const search = searching("x");
  expect(search.says()).toBe("…");
  found(search, [1], 100, 50);
  expect(drain(search)).toEqual([
    { type: "show", position: 1 },
    { type: "search", query: "x", from: 50 },
  ]);
  found(search, [60], 100);
  search.handle({ type: "grew", total: 120 }, at(2000));
  expect(search.deadline()).toBe(3000);
  search.handle({ type: "timeout" }, at(3000));
  expect(drain(search)).toEqual([{ type: "search", query: "x", from: 100 }]);
  found(search, [60, 110], 120);
  expect([search.positions, search.says()]).toEqual([[1, 60, 110], "1 of 3"]);
});

test("what was found for other words is dropped, and nothing is said of none", () => {
  const search = searching("x");
  search.handle({ type: "query", text: "xy" }, at(160));
  search.handle({ type: "found", query: "x", found: { positions: [1], total: 2, next: null } }, at(170));
  expect(search.positions).toEqual([]);
  search.handle({ type: "timeout" }, at(310));
  found(search, [], 2);
  expect(search.says()).toBe("none");
  search.handle({ type: "query", text: "" }, at(400));
  expect([search.says(), search.deadline()]).toEqual(["", undefined]);
});

test("it stops at the most that are kept", () => {
  const search = searching("x");
  found(
    search,
    Array.from({ length: MOST_FOUND }, (_, position) => position),
    1_000_000,
    MOST_FOUND,
  );
  expect(drain(search)).toEqual([{ type: "show", position: 0 }]);
  search.handle({ type: "grew", total: 2_000_000 }, at(5000));
  expect([search.deadline(), search.says()]).toEqual([undefined, "1 of 100,000+"]);
});

test("what can't be searched is said, and a server that is away is asked again", () => {
  const search = searching("x");
  const failure = { status: 503, title: "", detail: "away", errors: [] };
  search.handle({ type: "failed", query: "x", failure }, at(200));
  expect([search.says(), search.deadline()]).toEqual(["away", 1200]);
  const wrong = { status: 400, title: "", detail: "", errors: [{ field: "q", reason: "too long" }] };
  const other = searching("y");
  other.handle({ type: "failed", query: "y", failure: wrong }, at(200));
  expect([other.says(), other.deadline()]).toEqual(["too long", undefined]);
});
