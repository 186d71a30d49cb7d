// Carries out what a `Search` asks for.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Found } from "../core/api";
import { taskAddress } from "../core/route";
import { type Effect, type Input, Search } from "../core/search";
import { Driver } from "./drive";
import { useRedraw } from "./hooks";
import { call } from "./http";

/** A search of the task's log; `show` is called with each position that is to be shown. */
export function useSearch(
  id: string,
  show: (position: number) => void,
): { search: Search; send: (input: Input) => void } {
  const [, redraw] = useRedraw();
  const latest = useRef(show);
  latest.current = show;
  const [{ search, driver }] = useState(() => {
    const search = new Search();
    const carryOut = (effect: Effect, send: (input: Input) => void) => {
      if (effect.type === "show") return latest.current(effect.position);
      const { query, from } = effect;
      call<Found>(`${taskAddress(id)}/search?q=${encodeURIComponent(query)}&from=${from}`).then((answer) =>
        send(
          answer.ok
            ? { type: "found", query, found: answer.value }
            : { type: "failed", query, failure: answer.failure },
        ),
      );
    };
    return { search, driver: new Driver<Input, Effect>(search, carryOut, redraw, { type: "timeout" }) };
  });
  useEffect(() => () => driver.stop(), [driver]);
  return { search, send: driver.send };
}
