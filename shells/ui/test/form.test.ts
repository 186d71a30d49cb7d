// The form, the addresses and the times.

import { expect, test } from "vitest";
import type { Param, TaskTypes } from "../src/core/api";
import { bodyOf, defaultOf, draftOf, errorsByField, firstDraft, shellWords, typedOf } from "../src/core/form";
import { NO_FILTERS } from "../src/core/list";
import { listAddress, readRoute, taskAddress, writeLines } from "../src/core/route";
import { ago, duration, since } from "../src/core/time";
import { task } from "./values";

function param(name: string, change: Partial<Param> = {}): Param {
  return { name, as: "option", type: "string", required: false, description: "", ...change };
}

const TYPES: TaskTypes = {
  types: {
    agent: {
      description: "",
      params: [],
      commands: {
        run: { description: "", params: [param("input", { required: true }), param("workers", { type: "integer" })] },
      },
    },
    seed: { description: "", commands: {}, params: [param("reset", { as: "flag", type: "string" })] },
  },
};

test("a draft becomes the body that the table asks for", () => {
  const draft = firstDraft(TYPES);
  draft.values = { input: "Analyze", workers: "3", gone: "x" };
  const body = { project: "default", type: "agent", command: "run", params: { input: "Analyze", workers: 3 } };
  expect(bodyOf(TYPES, draft)).toEqual(body);
  draft.values = { input: "", workers: "many" };
  expect(bodyOf(TYPES, draft)).toMatchObject({ params: { workers: "many" } });
  const seed = { project: "p", type: "seed", command: "", values: { reset: "true" } };
  expect(bodyOf(TYPES, seed)).toEqual({ project: "p", type: "seed", params: { reset: true } });
});

test("what the table says of a parameter fills its field, and is sent where it must be", () => {
  const params = [
    param("quiet", { as: "flag", default: true }),
    param("tags", { repeated: true, type: "integer" }),
    param("level", { default: "info", enum: ["info", "debug"] }),
  ];
  const types: TaskTypes = { types: { one: { description: "", commands: {}, params } } };
  const draft = firstDraft(types);
  const [quiet, , level] = params as [Param, Param, Param];
  expect([typedOf(quiet, draft), typedOf(level, draft), defaultOf(level)]).toEqual(["true", "", "info"]);
  expect(bodyOf(types, draft)).toMatchObject({ params: { quiet: true } });
  draft.values = { quiet: "", tags: "1\n\n2\nx", level: "debug" };
  expect(bodyOf(types, draft).params).toEqual({ quiet: false, tags: [1, 2, "x"], level: "debug" });
  const again = draftOf(task({ type: "one", command: null, params: { quiet: false, tags: [1, 2] } }));
  expect(bodyOf(types, again).params).toEqual({ quiet: false, tags: [1, 2] });
});

test("a task becomes a draft that asks the same", () => {
  const asked = task({ params: { input: "Analyze\nall", workers: 3 } });
  const draft = draftOf(asked);
  expect(bodyOf(TYPES, draft)).toMatchObject({ type: "agent", command: "run", params: asked.params });
});

test("what the server says stands at its field, and the rest above all", () => {
  const errors = [
    { field: "params.input", reason: "is missing" },
    { field: "params.other", reason: "is not a parameter" },
  ];
  const failure = { status: 422, title: "", detail: "no", errors };
  const draft = firstDraft(TYPES);
  expect(errorsByField(failure, TYPES, draft)).toEqual({
    "params.input": "is missing",
    "": "params.other: is not a parameter",
  });
  expect(errorsByField({ ...failure, errors: [] }, TYPES, draft)).toEqual({ "": "no" });
});

test("a command line can be copied into a shell", () => {
  const words = ["python3", "agent.py", "--input", "it's; rm -rf /", "--tab=a b", ""];
  expect(shellWords(words)).toBe("python3 agent.py --input 'it'\\''s; rm -rf /' '--tab=a b' ''");
});

test("addresses are read as they were written", () => {
  const filters = { statuses: ["running", "failed"], project: "p", type: "agent", q: "a b&c", cursor: "1.x" };
  expect(readRoute(new URL(`http://x${listAddress(filters)}`))).toEqual({ name: "tasks", filters });
  expect(readRoute(new URL("http://x/tasks"))).toEqual({ name: "tasks", filters: NO_FILTERS });
  const address = new URL(`http://x${taskAddress("a/b c")}${writeLines(119, 139)}`);
  expect(address.hash).toBe("#L120-L140");
  expect(readRoute(address)).toEqual({ name: "task", id: "a/b c", lines: { from: 119, to: 139 } });
  for (const [hash, lines] of [
    ["#L5", { from: 4, to: 4 }],
    ["#L9-L5", { from: 4, to: 8 }],
    ["#L0", undefined],
    ["#Lx", undefined],
    ["", undefined],
  ] as const) {
    expect(readRoute(new URL(`http://x/tasks/a${hash}`))).toEqual({ name: "task", id: "a", lines });
  }
  expect(readRoute(new URL("http://x/tasks/%E0%A4%A"))).toMatchObject({ name: "task", id: "%E0%A4%A" });
  expect(readRoute(new URL("http://x/a/b/c"))).toEqual({ name: "nowhere", path: "/a/b/c" });
});

test("times are read at a glance", () => {
  expect([0, 1234, 59_999, 61_000, 3_600_000, 200_000_000].map(duration)).toEqual([
    "0.0 s",
    "1.2 s",
    "59 s",
    "1 m 01 s",
    "1 h 00 m",
    "2 d 7 h",
  ]);
  expect([0, 9000, 200_000, 9_000_000].map((past) => ago(0, past))).toEqual([
    "just now",
    "9 s ago",
    "3 min ago",
    "2 h ago",
  ]);
  expect([5, 1234, 62_345, 3_723_004, -5].map(since)).toEqual([
    "+0.005",
    "+1.234",
    "+1:02.345",
    "+1:02:03.004",
    "-0.005",
  ]);
});
