// The rows of one task that this page knows, by position: some stretches of a log that may have millions.
// A position is written with the same row however often it comes, so there can be no duplicate; and what is not known is
// known to be missing, so there can be no silent gap. It never holds more than MAX_ROWS.

import type { Row } from "./api";
import { Overwritten } from "./overwritten";

/** Rows that are fetched and let go of together. */
export const CHUNK = 512;
/** The most rows in memory: with long lines about 100 MB. */
export const MAX_ROWS = 400 * CHUNK;

export class Log {
  /** How many rows there are, known or not. */
  total = 0;
  /** Rows before this position are gone, as history was truncated. */
  goneBefore = 0;
  /** Rows that others stand in the place of. They keep their positions all the same. */
  readonly overwritten = new Overwritten();
  /** The ones looked at last stand last. */
  private chunks = new Map<number, (Row | undefined)[]>();

  /** Writes rows at their positions. */
  put(from: number, rows: Row[]): void {
    rows.forEach((row, index) => {
      const position = from + index;
      this.chunk(Math.floor(position / CHUNK))[position % CHUNK] = row;
      this.overwritten.note(position, row);
    });
    this.total = Math.max(this.total, from + rows.length);
  }

  /** Adds a row at the end. */
  push(row: Row): void {
    this.chunk(Math.floor(this.total / CHUNK))[this.total % CHUNK] = row;
    this.overwritten.note(this.total, row);
    this.total += 1;
  }

  get(position: number): Row | undefined {
    return this.chunks.get(Math.floor(position / CHUNK))?.[position % CHUNK];
  }

  /** The last row, if it is known. */
  last(): Row | undefined {
    return this.get(this.total - 1);
  }

  /** What is on show is kept longest. */
  touch(from: number, to: number): void {
    for (let number = Math.floor(from / CHUNK); number <= Math.floor((to - 1) / CHUNK); number++) {
      const chunk = this.chunks.get(number);
      if (chunk) {
        this.chunks.delete(number);
        this.chunks.set(number, chunk);
      }
    }
  }

  /** The first stretch of unknown rows in this range, widened to the rest of its chunk. */
  missing(from: number, to: number): { from: number; limit: number } | undefined {
    const end = Math.min(to, this.total);
    for (let position = Math.max(from, this.goneBefore, 0); position < end; position++) {
      if (this.get(position)) continue;
      let first = Math.max(this.goneBefore, Math.floor(position / CHUNK) * CHUNK);
      while (first < position && this.get(first)) first++;
      const limit = Math.min(this.total, (Math.floor(position / CHUNK) + 1) * CHUNK) - first;
      return { from: first, limit };
    }
    return undefined;
  }

  /** Forgets everything: the positions mean other rows now. */
  clear(): void {
    this.chunks.clear();
    this.overwritten.clear();
    this.total = 0;
    this.goneBefore = 0;
  }

  /** How many rows are in memory, at most. */
  held(): number {
    return this.chunks.size * CHUNK;
  }

  private chunk(number: number): (Row | undefined)[] {
    let chunk = this.chunks.get(number);
    if (!chunk) {
      chunk = [];
      this.chunks.set(number, chunk);
      this.hold(number);
    }
    return chunk;
  }

  /** Lets go of what was looked at longest ago; not of the new one, nor of the last row, after which a watch resumes. */
  private hold(fresh: number): void {
    const last = Math.floor(Math.max(0, this.total - 1) / CHUNK);
    for (const number of this.chunks.keys()) {
      if (this.held() <= MAX_ROWS) return;
      if (number !== last && number !== fresh) this.chunks.delete(number);
    }
  }
}
