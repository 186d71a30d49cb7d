// Which rows of a log another one stands in the place of: what a line showed before it was over (a progress bar, a prompt),
// once anything later of its stream is known. It holds stretches of positions, and never the rows.

import type { Row } from "./api";
import type { Fold } from "./folds";

/** The last update of one stream of one attempt. */
interface Latest {
  position: number;
  isProgress: boolean;
}

export class Overwritten {
  /** In order, and apart from each other. */
  readonly stretches: Fold[] = [];
  /** How many rows. */
  count = 0;
  private latest = new Map<number, Latest>();

  /** Takes in a row; in any order, and as often as it comes. */
  note(position: number, row: Row): void {
    if (row.kind !== "line" && row.kind !== "progress") return;
    const isProgress = row.kind === "progress";
    const stream = row.attempt * 2 + (row.stderr ? 1 : 0);
    const latest = this.latest.get(stream);
    if (!latest) {
      this.latest.set(stream, { position, isProgress });
    } else if (position > latest.position) {
      if (latest.isProgress) this.add(latest.position);
      latest.position = position;
      latest.isProgress = isProgress;
    } else if (isProgress && position < latest.position) {
      this.add(position);
    }
  }

  /** The position that stands in the place of this one: its own, unless it is overwritten. */
  standIn(position: number): number {
    const stretch = this.stretches[this.after(position) - 1];
    return stretch && position < stretch.to ? stretch.to : position;
  }

  /** The first of the positions in whose place this one stands: its own, if it stands for no other. */
  firstOf(position: number): number {
    const stretch = this.stretches[this.after(position - 1) - 1];
    return stretch?.to === position ? stretch.from : position;
  }

  clear(): void {
    this.stretches.length = 0;
    this.count = 0;
    this.latest.clear();
  }

  /** How many stretches begin at or before a position. */
  private after(position: number): number {
    let [low, high] = [0, this.stretches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.stretches[middle] as Fold).from <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private add(position: number): void {
    const index = this.after(position);
    const [before, next] = [this.stretches[index - 1], this.stretches[index]];
    if (before && position < before.to) return;
    this.count += 1;
    const [joinsBefore, joinsNext] = [before?.to === position, next?.from === position + 1];
    if (before && next && joinsBefore && joinsNext) {
      before.to = next.to;
      this.stretches.splice(index, 1);
    } else if (before && joinsBefore) before.to += 1;
    else if (next && joinsNext) next.from -= 1;
    else this.stretches.splice(index, 0, { from: position, to: position + 1 });
  }
}
