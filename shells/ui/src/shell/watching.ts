// Carries out what a `Watch` asks for: fetches, and one WebSocket whose frames are handed over once a drawn frame.

import type { Frame, Task, Window } from "../core/api";
import { taskAddress } from "../core/route";
import { type Effect, FLOOD, type Input, Watch } from "../core/watch";
import { Driver } from "./drive";
import { call } from "./http";

/** How often frames are handed over while the page is not drawn, in milliseconds. */
const UNSEEN_EVERY = 250;
/** A page that was not looked at for this long may have slept; its connection may be dead. */
const SLEPT_AFTER = 30_000;
const BEAT_EVERY = 5000;

export interface Watching {
  watch: Watch;
  send: (input: Input) => void;
  stop: () => void;
}

export function startWatching(id: string, changed: () => void): Watching {
  const watch = new Watch();
  const address = taskAddress(id);
  let socket: WebSocket | undefined;

  const carryOut = (effect: Effect, send: (input: Input) => void): void => {
    switch (effect.type) {
      case "fetch task":
        call<Task>(address).then((answer) =>
          send(answer.ok ? { type: "task", task: answer.value } : { type: "task failed", failure: answer.failure }),
        );
        return;
      case "fetch window": {
        const { purpose, from, limit } = effect;
        const place = from === undefined ? "" : `from=${from}&`;
        call<Window>(`${address}/updates?${place}limit=${limit}`).then((answer) =>
          send(
            answer.ok
              ? { type: "window", purpose, window: answer.value }
              : { type: "window failed", purpose, failure: answer.failure },
          ),
        );
        return;
      }
      case "connect":
        socket = connect(address, effect.after, send);
        return;
      case "disconnect":
        hangUp(socket);
        socket = undefined;
        return;
      case "stop":
        call(effect.force ? `${address}?force=true` : address, { method: "DELETE" }).then((answer) =>
          // It had ended before the STOP came: that is what was wanted.
          send(
            answer.ok || answer.failure.status === 409
              ? { type: "stop answered" }
              : { type: "stop answered", failure: answer.failure },
          ),
        );
        return;
    }
  };

  const driver = new Driver<Input, Effect>(watch, carryOut, changed, { type: "timeout" });
  let hiddenAt = 0;
  const onVisible = () => {
    if (document.hidden) hiddenAt = Date.now();
    else if (hiddenAt > 0 && Date.now() - hiddenAt > SLEPT_AFTER) driver.send({ type: "woke" });
  };
  const onOnline = () => driver.send({ type: "woke" });
  // A machine that sleeps with the page on show stops its timers, and nothing else says so.
  let beat = Date.now();
  const heart = setInterval(() => {
    if (Date.now() - beat > SLEPT_AFTER && !document.hidden) driver.send({ type: "woke" });
    beat = Date.now();
  }, BEAT_EVERY);
  document.addEventListener("visibilitychange", onVisible);
  addEventListener("online", onOnline);
  driver.send({ type: "open" });
  const stop = () => {
    driver.stop();
    clearInterval(heart);
    hangUp(socket);
    document.removeEventListener("visibilitychange", onVisible);
    removeEventListener("online", onOnline);
  };
  // What is looked at changes with each row that comes; what is drawn does not change for it.
  return { watch, send: (input) => driver.send(input, input.type !== "see"), stop };
}

function hangUp(socket: WebSocket | undefined): void {
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
}

function connect(address: string, after: string | undefined, send: (input: Input) => void): WebSocket {
  const url = new URL(`${address}/watch`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (after !== undefined) url.searchParams.set("after", after);
  const socket = new WebSocket(url, "baton.v1");
  let waiting: string[] = [];
  const handOver = () => {
    if (waiting.length === 0 || socket.onmessage === null) return;
    const frames = waiting.map((text): Frame => JSON.parse(text));
    waiting = [];
    send({ type: "frames", frames });
  };
  socket.onopen = () => send({ type: "connected" });
  socket.onmessage = (message: MessageEvent<string>) => {
    waiting.push(message.data);
    if (waiting.length >= FLOOD) return handOver();
    if (waiting.length > 1) return;
    if (document.hidden) setTimeout(handOver, UNSEEN_EVERY);
    else requestAnimationFrame(handOver);
  };
  socket.onclose = (close) => {
    handOver();
    send({ type: "closed", code: close.code, reason: close.reason });
  };
  return socket;
}
