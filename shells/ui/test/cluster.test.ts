// The cluster in words and numbers.

import { expect, test } from "vitest";
import { type Cluster, callOf, type Member, ranges, rate, short, stateOf, strip, troubles } from "../src/core/cluster";
import { lettersAddress, NO_LETTER_FILTERS, readLetterFilters } from "../src/core/letters";
import { readRoute } from "../src/core/route";

function worker(change: Partial<Member> = {}): Member {
  const time = "2026-01-01T00:00:00.000Z";
  return {
    id: "0123456789abcdef",
    host: "box",
    version: "0.1.0",
    started_at: time,
    last_seen: time,
    lost: false,
    draining: false,
    ...change,
  };
}

function cluster(workers: Member[], held: (string | null)[], open = 0): Cluster {
  const partitions = held.map((worker, partition) => ({
    partition,
    end: open,
    watermark: 0,
    open,
    running: 0,
    worker,
  }));
  return { at: "", workers, apis: [], partitions, pulse: { step_s: 10, steps: [] } };
}

test("who has no name is called after its machine", () => {
  expect(callOf(worker({ name: "blue" }))).toBe("blue");
  expect(callOf(worker())).toBe("box 012345");
  expect(callOf(worker({ host: "" }))).toBe("unnamed 012345");
});

test("who is lost is lost, whatever it was about to do", () => {
  expect(stateOf(worker())).toBe("live");
  expect(stateOf(worker({ draining: true }))).toBe("draining");
  expect(stateOf(worker({ draining: true, lost: true }))).toBe("lost");
});

test("partitions in a row are one range", () => {
  expect(ranges([])).toBe("");
  expect(ranges([3])).toBe("3");
  expect(ranges([7, 0, 2, 1, 9, 8])).toBe("0-2, 7-9");
});

test("a strip is as high as its highest", () => {
  expect(strip([0, 5, null, 10])).toEqual({ values: [0, 5, null, 10], heights: [0, 0.5, 0, 1], most: 10 });
  expect(strip([0, null])).toEqual({ values: [0, null], heights: [0, 0], most: 0 });
});

test("a rate is of the last whole minute", () => {
  expect(rate([100, 6, 6, 6, 6, 6, 6, 1000], 10)).toBeCloseTo(0.6);
  expect(rate([3, 99], 10)).toBeCloseTo(0.3);
  expect(rate([7], 10)).toBe(0);
});

test("numbers are short", () => {
  expect([0, 0.034, 4.14, 7, 120, 9999, 12_345, 12_345_678].map(short)).toEqual([
    "0",
    "0.03",
    "4.1",
    "7",
    "120",
    "9,999",
    "12 k",
    "12 M",
  ]);
});

test("what is wrong is said, the worst first", () => {
  const id = worker().id;
  expect(troubles(cluster([worker()], [id, id]))).toEqual([]);
  expect(troubles(cluster([], [null], 3))).toEqual(["No worker is there: tasks wait, and none will begin."]);
  expect(troubles(cluster([], []))).toEqual(["No worker is there."]);
  expect(troubles(cluster([worker({ name: "a" }), worker({ name: "b", lost: true })], [id, null, null]))).toEqual([
    "Worker b has not been heard of for a while: it is dead, or cut off from the log.",
    "Partitions 1-2 are held by no worker that was heard of: their tasks wait.",
  ]);
});

test("a list of dead letters has an address, and back", () => {
  const filters = { ...NO_LETTER_FILTERS, reason: "exit code 3", type: "seed-db" };
  expect(lettersAddress(filters, 5)).toBe("/dead-letters?reason=exit+code+3&type=seed-db&limit=5");
  const url = new URL(lettersAddress(filters), "http://here");
  expect(readLetterFilters(url.searchParams)).toEqual(filters);
  expect(readRoute(url)).toEqual({ name: "letters", filters });
  expect(lettersAddress()).toBe("/dead-letters");
  expect(readRoute(new URL("http://here/cluster"))).toEqual({ name: "cluster" });
});
