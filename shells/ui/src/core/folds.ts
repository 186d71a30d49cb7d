// Which rows of the log are on show, and which are hidden: those of folded attempts but the first, and what was overwritten.

export interface Fold {
  /** The first hidden position. */
  from: number;
  /** The position after the last hidden one. */
  to: number;
}

/** A fold, and how many positions are hidden before it. */
interface Counted extends Fold {
  before: number;
}

export class Folds {
  /** In order, and apart from each other. */
  private folds: Counted[] = [];

  /** Takes stretches in any order, also such as overlap. Gives the first position at which it makes a difference, if it does. */
  set(stretches: Fold[]): number | undefined {
    const last = this.folds;
    this.folds = [];
    let hidden = 0;
    for (const { from, to } of inOrder(stretches)) {
      const before = this.folds.at(-1);
      if (to <= (before?.to ?? from)) continue;
      if (before && from <= before.to) {
        hidden += to - before.to;
        before.to = to;
      } else {
        this.folds.push({ from, to, before: hidden });
        hidden += to - from;
      }
    }
    const count = Math.max(last.length, this.folds.length);
    for (let index = 0; index < count; index++) {
      const [one, other] = [last[index], this.folds[index]];
      if (one && other && one.from === other.from && one.to === other.to) continue;
      if (one?.from === other?.from) return Math.min(one?.to ?? Infinity, other?.to ?? Infinity);
      return Math.min(one?.from ?? Infinity, other?.from ?? Infinity);
    }
    return undefined;
  }

  /** How many rows are on show of so many. */
  shown(total: number): number {
    const fold = this.folds[this.count((fold) => fold.from < total) - 1];
    return fold ? total - fold.before - (Math.min(fold.to, total) - fold.from) : total;
  }

  /** The position of a row on show. */
  position(row: number): number {
    const fold = this.folds[this.count((fold) => fold.from - fold.before <= row) - 1];
    return fold ? row + fold.before + fold.to - fold.from : row;
  }

  /** The row at which a position is on show: that of the fold's last row before it, if it is hidden. */
  row(position: number): number {
    const fold = this.folds[this.count((fold) => fold.from <= position) - 1];
    if (!fold) return position;
    if (position < fold.to) return fold.from - 1 - fold.before;
    return position - fold.before - (fold.to - fold.from);
  }

  /** How many of the first folds are like that. */
  private count(like: (fold: Counted) => boolean): number {
    let [low, high] = [0, this.folds.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (like(this.folds[middle] as Counted)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** As a rule they are so already. */
function inOrder(stretches: Fold[]): Fold[] {
  const isInOrder = stretches.every((stretch, index) => stretch.from >= (stretches[index - 1]?.from ?? 0));
  return isInOrder ? stretches : [...stretches].sort((a, b) => a.from - b.from);
}
