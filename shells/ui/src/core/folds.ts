// Which rows of the log are on show when attempts are folded: a folded attempt shows its first row alone.

export interface Fold {
  /** The first hidden position. */
  from: number;
  /** The position after the last hidden one. */
  to: number;
}

export class Folds {
  /** In order, and apart from each other. */
  private folds: Fold[] = [];

  set(folds: Fold[]): void {
    this.folds = folds.filter((fold) => fold.to > fold.from).sort((a, b) => a.from - b.from);
  }

  /** How many rows are on show of so many. */
  shown(total: number): number {
    return total - this.folds.reduce((sum, fold) => sum + Math.max(0, Math.min(fold.to, total) - fold.from), 0);
  }

  /** The position of a row on show. */
  position(row: number): number {
    let position = row;
    for (const fold of this.folds) {
      if (fold.from > position) break;
      position += fold.to - fold.from;
    }
    return position;
  }

  /** The row at which a position is on show: that of the fold's last row before it, if it is hidden. */
  row(position: number): number {
    let hidden = 0;
    for (const fold of this.folds) {
      if (fold.from > position) break;
      if (position < fold.to) return fold.from - 1 - hidden;
      hidden += fold.to - fold.from;
    }
    return position - hidden;
  }
}
