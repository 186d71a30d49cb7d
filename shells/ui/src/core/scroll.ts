// Where rows stand in a list of millions of them, most of one height and some of their own. Browsers can't make an element
// as high as that, so what is scrolled is shorter than the list where it must be: then a small move is a move by as many
// pixels, and a large one a jump to that part of the list.
//
// Virtual lists of the libraries keep numbers for every row, and make them anew when one is added: too slow for a log that
// grows by thousands of rows a second.

/** The highest element that all browsers can make, in pixels, with room to spare. */
export const MOST_HEIGHT = 8_000_000;
/** Rows whose own heights are summed up together. */
const GROUP = 1024;

export class Heights {
  count = 0;
  private own = new Map<number, number>();
  /** What the rows of a group are higher than usual, in sum. */
  private extra: number[] = [];

  constructor(public usual: number) {}

  /** Forgets all rows' own heights. */
  reset(usual: number): void {
    this.usual = usual;
    this.own.clear();
    this.extra = [];
  }

  /** Forgets the own heights of rows from this one on: other rows stand there now. */
  forget(from: number): void {
    for (const [row, height] of this.own) {
      if (row < from) continue;
      this.own.delete(row);
      const group = Math.floor(row / GROUP);
      this.extra[group] = (this.extra[group] ?? 0) - (height - this.usual);
    }
  }

  /** A row has this height. Says whether that is news. */
  set(row: number, height: number): boolean {
    const before = this.own.get(row) ?? this.usual;
    if (Math.abs(before - height) < 0.5) return false;
    if (Math.abs(height - this.usual) < 0.5) this.own.delete(row);
    else this.own.set(row, height);
    const group = Math.floor(row / GROUP);
    while (this.extra.length <= group) this.extra.push(0);
    this.extra[group] = (this.extra[group] ?? 0) + height - before;
    return true;
  }

  heightOf(row: number): number {
    return this.own.get(row) ?? this.usual;
  }

  /** Where a row begins. */
  top(row: number): number {
    const group = Math.floor(row / GROUP);
    let top = row * this.usual;
    for (let before = 0; before < group; before++) top += this.extra[before] ?? 0;
    if ((this.extra[group] ?? 0) !== 0 || this.own.size > 0) {
      for (let before = group * GROUP; before < row; before++) top += this.heightOf(before) - this.usual;
    }
    return top;
  }

  get total(): number {
    return this.top(this.count);
  }

  /** The row at this place. */
  rowAt(place: number): number {
    let top = 0;
    let group = 0;
    const groups = Math.ceil(this.count / GROUP);
    while (group < groups - 1) {
      const height = GROUP * this.usual + (this.extra[group] ?? 0);
      if (top + height > place) break;
      top += height;
      group += 1;
    }
    if (this.own.size === 0) return this.held(Math.floor(place / this.usual));
    let row = group * GROUP;
    while (row < this.count - 1 && top + this.heightOf(row) <= place) {
      top += this.heightOf(row);
      row += 1;
    }
    return this.held(row);
  }

  private held(row: number): number {
    return Math.max(0, Math.min(this.count - 1, row));
  }
}

/** What is on show of a list that may be higher than an element can be. */
export class Scroll {
  /** The place of the list at the top of the view. */
  place = 0;
  /** How far the element was scrolled. */
  scrolled = 0;
  private moved = false;

  constructor(readonly heights: Heights) {}

  /** How high the element is. */
  get height(): number {
    return Math.min(MOST_HEIGHT, this.heights.total);
  }

  /** The element was scrolled by its reader. */
  onScroll(scrolled: number, view: number): void {
    const move = scrolled - this.scrolled;
    this.scrolled = scrolled;
    const [most, furthest] = [this.height - view, this.heights.total - view];
    if (most <= 0) this.place = 0;
    else if (this.height === this.heights.total) this.place = scrolled;
    else if (scrolled <= 0) this.place = 0;
    else if (scrolled >= most - 1) this.place = furthest;
    else if (Math.abs(move) < 2 * view) this.place = Math.min(furthest, Math.max(0, this.place + move));
    else this.place = (scrolled / most) * furthest;
  }

  /** Goes to a place; answers how far the element must be scrolled for it. */
  goTo(place: number, view: number): number {
    const [most, furthest] = [Math.max(0, this.height - view), Math.max(0, this.heights.total - view)];
    this.place = Math.max(0, Math.min(furthest, place));
    const scrolled = this.height === this.heights.total ? this.place : (this.place / furthest) * most;
    if (Math.abs(scrolled - this.scrolled) > 0.5) this.moved = true;
    this.scrolled = scrolled;
    return scrolled;
  }

  /** How far the element must be scrolled now, if it must be: once, as setting it ends its reader's own scrolling. */
  takeMove(): number | undefined {
    if (!this.moved) return undefined;
    this.moved = false;
    return this.scrolled;
  }

  /** Where in the element what stands at a place of the list is to be put. */
  offset(place: number): number {
    return place - this.place + this.scrolled;
  }
}
