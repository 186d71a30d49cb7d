// What is looked at again and again: late answers, failures, and pages that nobody sees.

import { expect, test } from "vitest";
import { Poll } from "../src/core/poll";
import { at, drain } from "./values";

const FAILURE = { status: 503, title: "Unavailable", detail: "away", errors: [] };

function polled(): Poll<string> {
  const poll = new Poll<string>(1000);
  poll.handle({ type: "timeout" }, at(0));
  drain(poll);
  poll.handle({ type: "answer", asked: 1, value: "one" }, at(5));
  return poll;
}

test("it asks at once, and again some time after each answer", () => {
  const poll = new Poll<string>(1000);
  expect(poll.deadline()).toBe(0);
  poll.handle({ type: "timeout" }, at(0));
  expect(drain(poll)).toEqual([{ type: "fetch", asked: 1, tag: null }]);
  expect(poll.deadline()).toBeUndefined();
  poll.handle({ type: "answer", asked: 1, value: "one" }, at(400));
  expect([poll.value, poll.deadline()]).toEqual(["one", 1400]);
  poll.handle({ type: "timeout" }, at(1399));
  expect(drain(poll)).toEqual([]);
  poll.handle({ type: "timeout" }, at(1400));
  expect(drain(poll)).toEqual([{ type: "fetch", asked: 2, tag: null }]);
});

test("an answer to an earlier question changes nothing", () => {
  const poll = polled();
  poll.handle({ type: "again" }, at(10));
  expect(drain(poll)).toEqual([{ type: "fetch", asked: 2, tag: null }]);
  poll.handle({ type: "again" }, at(11));
  expect(drain(poll)).toEqual([{ type: "fetch", asked: 3, tag: null }]);
  poll.handle({ type: "answer", asked: 2, value: "two" }, at(12));
  poll.handle({ type: "failed", asked: 2, failure: FAILURE }, at(12));
  expect([poll.value, poll.failure]).toEqual(["one", undefined]);
  poll.handle({ type: "answer", asked: 3, value: "three" }, at(13));
  expect(poll.value).toBe("three");
});

test("what was seen stays while the server is away, and soon that is said", () => {
  const poll = polled();
  poll.handle({ type: "timeout" }, at(1005));
  drain(poll);
  poll.handle({ type: "failed", asked: 2, failure: FAILURE }, at(1100));
  expect([poll.value, poll.failure, poll.isDown(at(1100))]).toEqual(["one", FAILURE, false]);
  expect(poll.isDown(at(3100))).toBe(true);
  // The first delay, without jitter.
  expect(poll.deadline()).toBe(1300);
  poll.handle({ type: "timeout" }, at(1300));
  drain(poll);
  poll.handle({ type: "answer", asked: 3, value: "back" }, at(3200));
  expect([poll.value, poll.failure, poll.isDown(at(9000))]).toEqual(["back", undefined, false]);
});

test("nobody asks for a page that nobody sees", () => {
  const poll = polled();
  poll.handle({ type: "visible", visible: false }, at(10));
  expect(poll.deadline()).toBeUndefined();
  poll.handle({ type: "timeout" }, at(5000));
  expect(drain(poll)).toEqual([]);
  poll.handle({ type: "visible", visible: true }, at(6000));
  expect(poll.deadline()).toBe(6000);
});

test("what has not changed is not sent again, and another question waits until it is typed", () => {
  const poll = polled();
  poll.handle({ type: "again" }, at(10));
  poll.handle({ type: "answer", asked: 2, value: "two", tag: "t" }, at(11));
  poll.handle({ type: "timeout" }, at(1011));
  expect(drain(poll).at(-1)).toEqual({ type: "fetch", asked: 3, tag: "t" });
  poll.handle({ type: "same", asked: 3 }, at(1012));
  expect([poll.value, poll.deadline()]).toEqual(["two", 2012]);
  poll.handle({ type: "ask", pause: 120 }, at(1100));
  poll.handle({ type: "ask", pause: 120 }, at(1150));
  expect([drain(poll), poll.deadline(), poll.value]).toEqual([[], 1270, "two"]);
  poll.handle({ type: "timeout" }, at(1270));
  expect(drain(poll)).toEqual([{ type: "fetch", asked: 4, tag: null }]);
});

test("a server that is away makes nobody look but when it is tried, ever more rarely", () => {
  const poll = polled();
  const deadlines: (number | undefined)[] = [];
  for (let time = 1005, asked = 1; deadlines.length < 8; time = poll.deadline() ?? 0) {
    deadlines.push(time);
    poll.handle({ type: "timeout" }, at(time));
    if (drain(poll).length > 0) poll.handle({ type: "failed", asked: ++asked, failure: FAILURE }, at(time));
  }
  // The banner, 2 s after the first failure, is one of them, once.
  expect(deadlines).toEqual([1005, 1205, 1605, 2405, 3005, 4005, 7205, 13605]);
});
