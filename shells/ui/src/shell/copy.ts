// Copies lines, with or without their colours: also those that the page does not hold.

import { type Frame, rowOf, type Window } from "../core/api";
import { Overwritten } from "../core/overwritten";
import { taskAddress } from "../core/route";
import { plain } from "../core/text";
import { call } from "./http";

/** The most lines that are copied at once: more is what the download is for. */
export const MOST_COPIED = 10_000;
const PAGE = 2000;

/** Copies the lines of these positions, both included. Gives the reason why not, or nothing. */
export async function copyLines(id: string, from: number, to: number, colours: boolean): Promise<string | undefined> {
  if (to - from >= MOST_COPIED) return `more than ${MOST_COPIED.toLocaleString("en")} lines: download the log instead`;
  const frames: Frame[] = [];
  for (let position = from; position <= to; ) {
    const limit = Math.min(PAGE, to - position + 1);
    const answer = await call<Window>(`${taskAddress(id)}/updates?from=${position}&limit=${limit}`);
    if (!answer.ok) return answer.failure.detail;
    const { updates } = answer.value;
    if (updates.length === 0) break;
    frames.push(...updates);
    position = answer.value.from + updates.length;
  }
  const overwritten = new Overwritten();
  frames.forEach((frame, index) => {
    overwritten.note(index, rowOf(frame));
  });
  const lines = frames.filter((_, index) => overwritten.standIn(index) === index);
  return write(lines.map(({ update }) => `${colours ? update : plain(update)}\n`).join(""));
}

/** Copies a text. Gives the reason why not, or nothing. */
export async function write(text: string): Promise<string | undefined> {
  try {
    await navigator.clipboard.writeText(text);
    return undefined;
  } catch {
    return "the browser did not allow it; it does for pages of https and of localhost";
  }
}
