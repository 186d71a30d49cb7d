// Rows that others stand in the place of: what lines showed before they were over.

import { expect, test } from "vitest";
import type { Row } from "../src/core/api";
import { Folds } from "../src/core/folds";
import { Overwritten } from "../src/core/overwritten";
import { ROW, Show } from "../src/core/show";
import { Watch } from "../src/core/watch";
import { at, drain, frame, frames } from "./values";

/** Rows of a stream each: `p` and `l` are progress and a line, `P` and `L` those of stderr; a digit begins that attempt. */
function rows(written: string): Row[] {
  let attempt = 1;
  return [...written].map((letter, index) => {
    if (/\d/.test(letter)) attempt = Number(letter);
    const kind = /\d/.test(letter) ? "started" : letter.toLowerCase() === "p" ? "progress" : "line";
    const stderr = letter === "P" || letter === "L";
    return { id: `${attempt}-${index}`, attempt, kind, text: letter, at: 0, stderr };
  });
}

/** What is left of them, with the positions noted in this order. */
function left(written: string, order = [...written].map((_, index) => index)): string {
  const overwritten = new Overwritten();
  const all = rows(written);
  for (const position of order) overwritten.note(position, all[position] as Row);
  const kept = [...written].map((letter, index) => (overwritten.standIn(index) === index ? letter : "."));
  expect(kept.filter((letter) => letter === ".")).toHaveLength(overwritten.count);
  return kept.join("");
}

test.each([
  ["1pppl", "1...l"],
  ["1lpp", "1l.p"],
  ["1pPpPlL", "1....lL"],
  ["1pLLLl", "1.LLLl"],
  ["1pp2pl", "1.p2.l"], // a worker that was lost says no more of its line
  ["1plplp", "1.l.lp"],
])("%s becomes %s, in whatever order it becomes known", (written, expected) => {
  const all = [...written].map((_, index) => index);
  expect(left(written)).toBe(expected);
  expect(left(written, all.toReversed())).toBe(expected);
  expect(left(written, [...all.slice(3), ...all.slice(0, 3), ...all])).toBe(expected);
});

test("it is what a plain look at all rows gives, however they come", () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  for (let round = 0; round < 300; round++) {
    const written = `1${Array.from({ length: 40 }, () => "ppppplPL"[random(8)]).join("")}2${"pplPL".repeat(3)}`;
    const all = rows(written);
    const plainly = all.map((row, index) => {
      const isOver = all.slice(index + 1).some((later) => {
        return later.kind !== "started" && later.attempt === row.attempt && later.stderr === row.stderr;
      });
      return row.kind === "progress" && isOver ? "." : written[index];
    });
    const order = [...written].map((_, index) => index).sort(() => random(3) - 1);
    expect(left(written, order)).toBe(plainly.join(""));
  }
});

test("a position that is overwritten leads to what stands in its place, and back", () => {
  const overwritten = new Overwritten();
  rows("1lpppl").forEach((row, position) => {
    overwritten.note(position, row);
  });
  expect([0, 1, 2, 3, 4, 5].map((position) => overwritten.standIn(position))).toEqual([0, 1, 5, 5, 5, 5]);
  expect([0, 1, 5, 6].map((position) => overwritten.firstOf(position))).toEqual([0, 1, 2, 6]);
});

test("folds of both kinds are one", () => {
  const folds = new Folds();
  const stretches = [
    { from: 2, to: 4 },
    { from: 10, to: 11 },
    { from: 30, to: 31 },
  ];
  expect(folds.set(stretches)).toBe(2);
  expect(folds.set(stretches)).toBeUndefined();
  expect(folds.set([...stretches, { from: 30, to: 33 }])).toBe(31);
  expect(folds.set([{ from: 9, to: 20 }, ...stretches])).toBe(9);
  const shown = Array.from({ length: 40 }, (_, position) => position).filter(
    (position) => ![2, 3, 30].includes(position) && (position < 9 || position >= 20),
  );
  expect(folds.shown(40)).toBe(shown.length);
  expect(shown.map((_, row) => folds.position(row))).toEqual(shown);
  expect(shown.map((position) => folds.row(position))).toEqual(shown.map((_, row) => row));
});

const progress = (seq: number) => frame(seq, "progress", `${seq} %`);

function live(): Watch {
  const watch = new Watch();
  watch.handle({ type: "open" }, at(0));
  watch.handle({ type: "window", purpose: "tail", window: { total: 2, from: 0, updates: frames(1, 2) } }, at(0));
  watch.handle({ type: "connected" }, at(0));
  drain(watch);
  return watch;
}

/** The texts on show, and their numbers. */
function shown(watch: Watch): string[] {
  const show = new Show();
  show.update(watch.log.total, [], watch.log.overwritten);
  return Array.from({ length: show.heights.count }, (_, row) => {
    const position = show.folds.position(row);
    return `${position + 1}: ${watch.log.get(position)?.text ?? "…"}`;
  });
}

test("a line that is not over is one row, which changes until it is, and keeps the numbers of all others", () => {
  const watch = live();
  const numbers = ["1: line 1", "2: line 2"];
  for (const seq of [3, 4, 5]) {
    watch.handle({ type: "frames", frames: [progress(seq)] }, at(seq));
    expect(shown(watch)).toEqual([...numbers, `${seq}: ${seq} %`]);
  }
  watch.handle({ type: "frames", frames: [frame(6, "line", "100 %"), frame(7)] }, at(6));
  expect(shown(watch)).toEqual([...numbers, "6: 100 %", "7: line 7"]);
});

test("in a long log they are found where it is read, and what is read stays where it is", () => {
  const history = Array.from({ length: 1_000_000 }, (_, index) =>
    index % 7 < 5 ? progress(index + 1) : frame(index + 1),
  );
  const watch = new Watch();
  const show = new Show();
  show.view = 10 * ROW;
  const serve = () => {
    for (let effect = watch.poll(); effect !== undefined; effect = watch.poll()) {
      if (effect.type !== "fetch window") continue;
      const from = effect.from ?? history.length - effect.limit;
      const window = { total: history.length, from, updates: history.slice(from, from + effect.limit) };
      watch.handle({ type: "window", purpose: effect.purpose, window }, at(0));
    }
    show.update(watch.log.total, [], watch.log.overwritten);
  };
  watch.handle({ type: "open" }, at(0));
  serve();
  expect(show.heights.count).toBeLessThan(1_000_000);
  expect(watch.log.get(show.folds.position(show.heights.count - 1))?.text).toBe("1000000 %");
  // A link to a line in the middle, of which nothing is known: what comes to be known above it moves nothing.
  show.goTo(500_000 - (500_000 % 7) + 6);
  show.update(watch.log.total, [], watch.log.overwritten);
  for (let look = 0; look < 5; look++) {
    const before = [show.top, show.scroll.place - show.heights.top(show.heights.rowAt(show.scroll.place))];
    const { first, last } = show.range;
    watch.handle({ type: "see", from: show.folds.position(first), to: show.folds.position(last) + 1 }, at(0));
    serve();
    const [top, within] = [show.top, show.scroll.place - show.heights.top(show.heights.rowAt(show.scroll.place))];
    expect([watch.log.overwritten.standIn(before[0] as number), before[1]]).toEqual([top, within]);
  }
  const { first, last } = show.range;
  const drawn = Array.from({ length: last - first + 1 }, (_, index) => show.folds.position(first + index));
  expect(drawn.map((position) => watch.log.get(position)?.text)).toEqual(
    drawn.map((position) => `line ${position + 1}`),
  );
  expect(drawn.length).toBeGreaterThan(10);
  // A link to what was overwritten shows what stands in its place.
  const wanted = 500_010 - (500_010 % 7) + 2;
  show.goTo(wanted);
  show.update(watch.log.total, [], watch.log.overwritten);
  expect(watch.log.overwritten.standIn(wanted)).toBe(wanted + 3);
  expect(watch.log.overwritten.firstOf(wanted + 3)).toBe(wanted - 2);
});

test("a reader who went away from the end is told of lines alone, and own heights stay those of their rows", () => {
  const watch = live();
  watch.handle({ type: "frames", frames: frames(3, 100) }, at(1));
  const show = new Show();
  show.view = 10 * ROW;
  show.update(watch.log.total, [], watch.log.overwritten);
  show.onScroll(20 * ROW);
  show.measured(30, [3 * ROW, ROW]);
  for (let seq = 101; seq <= 150; seq++) watch.handle({ type: "frames", frames: [progress(seq)] }, at(seq));
  show.update(watch.log.total, [], watch.log.overwritten);
  expect([show.fresh, show.heights.count, show.top, show.heights.heightOf(30)]).toEqual([1, 101, 20, 3 * ROW]);
});
