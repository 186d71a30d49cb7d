// What the views need of the browser: the time as it passes, keys, and the address.

import { useEffect, useReducer, useRef, useState } from "preact/hooks";

/** The wall clock, anew each second while `ticking`. */
export function useClock(ticking: boolean): number {
  const [time, setTime] = useState(Date.now());
  useEffect(() => {
    if (!ticking) return;
    const timer = setInterval(() => setTime(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [ticking]);
  return ticking ? Math.max(time, 0) : time;
}

/** A number that grows whenever the returned function is called, and draws the component anew. */
export function useRedraw(): [number, () => void] {
  const [version, redraw] = useReducer((version: number) => version + 1, 0);
  return [version, () => redraw(undefined)];
}

/** Calls `handle` for keys that are not typed into a field. It says whether it took the key. */
export function useKeys(handle: (key: string, event: KeyboardEvent) => boolean): void {
  const latest = useRef(handle);
  latest.current = handle;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const target = event.target as Element | null;
      if (target?.closest("input, textarea, select, dialog[open]")) return;
      if (latest.current(event.key, event)) event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** Leaves a field with what was typed in it; the browser would clear it. */
export function leave(event: KeyboardEvent): void {
  event.preventDefault();
  (event.currentTarget as HTMLElement).blur();
}

/** Goes to an address of this page. */
export function go(address: string, replace = false): void {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** The address, anew whenever it changes. Links of this page are followed without loading it again. */
export function useAddress(): URL {
  const [address, setAddress] = useState(location.href);
  useEffect(() => {
    const onMove = () => setAddress(location.href);
    const onClick = (event: MouseEvent) => {
      const link = (event.target as Element | null)?.closest("a");
      const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
      if (!link || !plain || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin)
        return;
      if (event.defaultPrevented) return;
      event.preventDefault();
      go(link.href);
      scrollTo(0, 0);
    };
    addEventListener("popstate", onMove);
    addEventListener("hashchange", onMove);
    addEventListener("click", onClick);
    return () => {
      removeEventListener("popstate", onMove);
      removeEventListener("hashchange", onMove);
      removeEventListener("click", onClick);
    };
  }, []);
  return new URL(address);
}
