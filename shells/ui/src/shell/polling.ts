// Keeps something of the server's on show: asks for it, again and again, while the page can be seen.

import { useEffect, useState } from "preact/hooks";
import type { Machine } from "../core/machine";
import { type Effect, type Input, Poll } from "../core/poll";
import { Driver } from "./drive";
import { useRedraw } from "./hooks";
import { call } from "./http";

/** Inputs that every machine takes which polls. */
type Common<T> = Exclude<Input<T>, { type: "ask" }>;

/** Drives a machine that polls what is at `path`; `ask` is what it is told of each other path. */
export function usePolling<T, Own extends { type: string }, M extends Machine<Common<T> | Own, Effect>>(
  make: () => M,
  path: string,
  ask: Own,
): { machine: M; send: (input: Common<T> | Own) => void } {
  const [, redraw] = useRedraw();
  const [{ machine, driver, at }] = useState(() => {
    const machine = make();
    const at = { path };
    const carryOut = ({ asked, tag }: Effect, send: (input: Common<T> | Own) => void) => {
      const headers: Record<string, string> = tag === null ? {} : { "if-none-match": tag };
      call<T>(at.path, { headers }).then((answer) => {
        if (!answer.ok) send({ type: "failed", asked, failure: answer.failure });
        else if (answer.status === 304) send({ type: "same", asked });
        else send({ type: "answer", asked, value: answer.value, tag: answer.headers.get("etag") });
      });
    };
    return { machine, at, driver: new Driver<Common<T> | Own, Effect>(machine, carryOut, redraw, { type: "timeout" }) };
  });
  at.path = path;
  // Another path is another question; it may not be answered by what was on its way
  useEffect(() => driver.send(ask), [path]);
  useEffect(() => {
    const onVisible = () => driver.send({ type: "visible", visible: !document.hidden });
    const again = () => driver.send({ type: "again" });
    document.addEventListener("visibilitychange", onVisible);
    addEventListener("online", again);
    return () => {
      driver.stop();
      document.removeEventListener("visibilitychange", onVisible);
      removeEventListener("online", again);
    };
  }, [driver]);
  return { machine, send: driver.send };
}

/** What is at `path`, looked at again every so many milliseconds. */
export function usePoll<T>(path: string, every: number): { poll: Poll<T>; again: () => void } {
  const ask: { type: "ask"; pause: number } = { type: "ask", pause: 0 };
  const { machine, send } = usePolling<T, typeof ask, Poll<T>>(() => new Poll<T>(every), path, ask);
  return { poll: machine, again: () => send({ type: "again" }) };
}
