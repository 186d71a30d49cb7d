// Keeps something of the server's on show: asks for it, again and again, while the page can be seen.

import { useEffect, useState } from "preact/hooks";
import { type Effect, type Input, Poll } from "../core/poll";
import { Driver } from "./drive";
import { useRedraw } from "./hooks";
import { call } from "./http";

export interface Polling<T> {
  poll: Poll<T>;
  again: () => void;
}

/** What is at `path`, looked at again every so many milliseconds. */
export function usePoll<T>(path: string, every: number): Polling<T> {
  const [, redraw] = useRedraw();
  const [{ poll, driver, at }] = useState(() => {
    const poll = new Poll<T>(every);
    const at = { path };
    const carryOut = ({ asked }: Effect, send: (input: Input<T>) => void) => {
      call<T>(at.path).then((answer) => {
        if (answer.ok) send({ type: "answer", asked, value: answer.value });
        else send({ type: "failed", asked, failure: answer.failure });
      });
    };
    return { poll, at, driver: new Driver<Input<T>, Effect>(poll, carryOut, redraw, { type: "timeout" }) };
  });
  at.path = path;
  // Another path is another question; it may not be answered by what was on its way
  useEffect(() => driver.send({ type: "again" }), [path]);
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
  return { poll, again: () => driver.send({ type: "again" }) };
}
