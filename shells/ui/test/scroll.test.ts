// Where rows stand: against a plain list of heights, and for more rows than an element can hold.

import { describe, expect, test } from "vitest";
import { Folds } from "../src/core/folds";
import { Heights, MOST_HEIGHT, Scroll } from "../src/core/scroll";

test("rows of their own heights stand where a plain sum has them", () => {
  const heights = new Heights(20);
  heights.count = 5000;
  const plain = Array.from({ length: 5000 }, () => 20);
  let seed = 7;
  const next = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  for (let change = 0; change < 300; change++) {
    const [row, height] = [next(5000), 20 * (1 + next(5))];
    expect(heights.set(row, height)).toBe(plain[row] !== height);
    plain[row] = height;
  }
  let top = 0;
  plain.forEach((height, row) => {
    if (row % 37 === 0) expect(heights.top(row)).toBe(top);
    if (row % 41 === 0) expect(heights.rowAt(top)).toBe(row);
    if (row % 43 === 0) expect(heights.rowAt(top + height - 1)).toBe(row);
    top += height;
  });
  expect(heights.total).toBe(top);
  expect([heights.rowAt(-5), heights.rowAt(top + 5)]).toEqual([0, 4999]);
});

describe("ten million rows", () => {
  const VIEW = 800;
  function scroll(): Scroll {
    const heights = new Heights(20);
    heights.count = 10_000_000;
    return new Scroll(heights);
  }

  test("a small move is by as many pixels, and the ends are the ends", () => {
    const long = scroll();
    expect(long.height).toBe(MOST_HEIGHT);
    long.onScroll(100, VIEW);
    expect(long.place).toBe(100);
    const end = MOST_HEIGHT - VIEW;
    long.onScroll(end, VIEW);
    expect(long.place).toBe(200_000_000 - VIEW);
    long.onScroll(end - 60, VIEW);
    expect(long.place).toBe(200_000_000 - VIEW - 60);
    long.onScroll(0, VIEW);
    expect(long.place).toBe(0);
  });

  test("a large move goes to that part, and a place can be gone to", () => {
    const long = scroll();
    long.onScroll((MOST_HEIGHT - VIEW) / 2, VIEW);
    expect(long.place).toBe((200_000_000 - VIEW) / 2);
    const scrolled = long.goTo(123_456_780, VIEW);
    expect(scrolled).toBeGreaterThan(0);
    expect(scrolled).toBeLessThan(MOST_HEIGHT - VIEW);
    expect(long.offset(123_456_780)).toBeCloseTo(scrolled);
  });
});

test("a list that fits is not scrolled", () => {
  const heights = new Heights(20);
  heights.count = 3;
  const short = new Scroll(heights);
  expect(short.goTo(1000, 800)).toBe(0);
  short.onScroll(0, 800);
  expect(short.place).toBe(0);
});

test("folded attempts hide their rows, and nothing else", () => {
  const folds = new Folds();
  folds.set([
    { from: 5, to: 10 },
    { from: 1, to: 3 },
    { from: 20, to: 20 },
  ]);
  expect(folds.shown(12)).toBe(5);
  expect([0, 1, 2, 3, 4].map((row) => folds.position(row))).toEqual([0, 3, 4, 10, 11]);
  expect([0, 1, 2, 3, 4, 5, 9, 10, 11].map((position) => folds.row(position))).toEqual([0, 0, 0, 1, 2, 2, 2, 3, 4]);
});
