// What is on show of a log that grows.

import { expect, test } from "vitest";
import type { Attempt } from "../src/core/api";
import { ROW, Show } from "../src/core/show";

function attempt(attempt: number, position: number): Attempt {
  return { attempt, position, started_at: "2026-01-01T00:00:00Z" };
}

/** A view of ten rows. */
function showing(total: number, attempts: Attempt[] = []): Show {
  const show = new Show();
  show.view = 10 * ROW;
  show.update(total, attempts);
  return show;
}

test("it follows the end until its reader goes away, counts what comes, and follows again", () => {
  const show = showing(100);
  expect([show.top, show.isAtEnd]).toEqual([90, true]);
  show.update(200, []);
  expect(show.top).toBe(190);
  show.onScroll(show.scroll.scrolled - 5 * ROW);
  expect(show.follow).toBe(false);
  show.update(250, []);
  expect([show.top, show.fresh]).toEqual([185, 50]);
  show.onScroll(240 * ROW);
  show.update(260, []);
  expect([show.follow, show.top]).toEqual([true, 250]);
});

test("the smallest step away from the end lets go of it, and nothing moves against its reader", () => {
  const show = showing(100);
  expect(show.scroll.takeMove()).toBe(90 * ROW);
  show.onScroll(90 * ROW - 2);
  expect(show.follow).toBe(false);
  show.update(120, []);
  expect([show.scroll.takeMove(), show.scroll.place]).toEqual([undefined, 90 * ROW - 2]);
  show.setFollow(true);
  show.update(120, []);
  expect(show.scroll.takeMove()).toBe(110 * ROW);
});

test("a view that grows or shrinks goes on following the end, and scrolling by the browser is not the reader's", () => {
  const show = showing(100);
  show.resize(8 * ROW);
  // What this page had scrolled before is told only now.
  expect(show.onScroll(90 * ROW, 8 * ROW)).toBe(false);
  show.update(100, []);
  expect([show.follow, show.scroll.scrolled]).toEqual([true, 92 * ROW]);
  // The browser had to scroll up by two rows, and says so before it tells the new size.
  expect(show.onScroll(90 * ROW, 10 * ROW)).toBe(false);
  show.resize(10 * ROW);
  show.update(110, []);
  expect([show.follow, show.top]).toEqual([true, 100]);
  show.setFollow(false);
  show.resize(8 * ROW);
  expect(show.scroll.scrolled).toBe(100 * ROW);
});

test("a position is gone to as soon as it can be, and not if it is on show", () => {
  const show = new Show();
  show.view = 9 * ROW;
  show.goTo(500);
  show.update(0, []);
  show.update(1000, []);
  expect([show.top, show.follow]).toEqual([497, false]);
  show.goTo(502);
  show.update(1000, []);
  expect(show.top).toBe(497);
  show.goTo(5000);
  show.update(1000, []);
  expect(show.top).toBe(991);
});

test("a position that is folded away is unfolded", () => {
  const attempts = [attempt(1, 0), attempt(2, 100)];
  const show = showing(200, attempts);
  show.setFolded(1, true);
  show.update(200, attempts);
  expect(show.heights.count).toBe(101);
  show.goTo(100);
  show.update(200, attempts);
  expect(show.folded.has(1)).toBe(true);
  show.goTo(150);
  show.update(200, attempts);
  expect(show.folded.has(1)).toBe(true);
  show.goTo(50);
  show.update(200, attempts);
  expect([show.heights.count, show.folded.has(1)]).toEqual([200, false]);
});

test("what is at the top stays there while rows above it turn out higher", () => {
  const show = showing(1000);
  show.onScroll(500 * ROW + 7);
  const { first } = show.range;
  expect(show.measured(first, Array(20).fill(3 * ROW))).toBe(true);
  expect([show.top, show.scroll.place - show.heights.top(500)]).toEqual([500, 7]);
  expect(show.measured(first, Array(20).fill(3 * ROW))).toBe(false);
});
