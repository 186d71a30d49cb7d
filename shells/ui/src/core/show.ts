// What is on show of a log: where it is scrolled to, what is folded and opened, and whether its end is followed.
// It decides which rows are drawn; it must not know how.

import type { Attempt } from "./api";
import { Folds } from "./folds";
import { Overwritten } from "./overwritten";
import { Heights, Scroll } from "./scroll";

/** The height of a row of one line, in pixels, as the style sheet has it. */
export const ROW = 20;
/** Rows drawn beyond each edge of the view. */
const OVERSCAN = 12;
/** How near the end is "at the end", in pixels. */
const NEAR = 6;

export class Show {
  readonly heights = new Heights(ROW);
  readonly scroll = new Scroll(this.heights);
  readonly folds = new Folds();
  readonly folded = new Set<number>();
  readonly opened = new Set<number>();
  /** How high the view is. */
  view = 600;
  follow = true;
  /** How many rows there were when the reader went away from the end. */
  private leftAt = 0;
  private total = 0;
  private attempts: Attempt[] = [];
  private overwritten = new Overwritten();
  /** A position to go to as soon as it is known that there is one. */
  private wanted: number | undefined;

  /** The log has so many rows now. To be called before anything is drawn. */
  update(total: number, attempts: Attempt[], overwritten = this.overwritten): void {
    this.total = total;
    this.attempts = attempts;
    this.overwritten = overwritten;
    this.fold();
    this.heights.count = this.folds.shown(total);
    if (this.wanted !== undefined && total > 0) {
      this.center(Math.min(this.wanted, total - 1));
      this.wanted = undefined;
    }
    this.scroll.goTo(this.follow ? Number.MAX_SAFE_INTEGER : this.scroll.place, this.view);
  }

  /** Hides what is to be hidden. What is at the top of the view stays there, or what stands in its place. */
  private fold(): void {
    const top = this.heights.rowAt(this.scroll.place);
    const [position, within] = [this.folds.position(top), this.scroll.place - this.heights.top(top)];
    const attempts = this.attempts
      .map((attempt, index) => ({ attempt, to: this.attempts[index + 1]?.position ?? this.total }))
      .filter(({ attempt }) => this.folded.has(attempt.attempt))
      .map(({ attempt, to }) => ({ from: attempt.position + 1, to }));
    const { stretches } = this.overwritten;
    const changed = this.folds.set(attempts.length === 0 ? stretches : [...attempts, ...stretches]);
    if (changed === undefined) return;
    this.heights.forget(this.folds.row(changed - 1) + 1);
    this.scroll.place = this.heights.top(this.row(position)) + within;
  }

  /** The row at which a position is on show, or what stands in its place. */
  private row(position: number): number {
    return this.folds.row(this.overwritten.standIn(position));
  }

  /** The first and the last row to draw. */
  get range(): { first: number; last: number } {
    const { heights, scroll } = this;
    const first = Math.max(0, heights.rowAt(scroll.place) - OVERSCAN);
    return { first, last: Math.min(heights.count - 1, heights.rowAt(scroll.place + this.view) + OVERSCAN) };
  }

  /** The position at the top of the view. */
  get top(): number {
    return this.folds.position(this.heights.rowAt(this.scroll.place));
  }

  get isAtEnd(): boolean {
    return this.scroll.place >= this.heights.total - this.view - NEAR;
  }

  /** How many rows have come since the reader went away from the end. */
  get fresh(): number {
    return this.standing - this.leftAt;
  }

  /** How many rows there are that nothing stands in the place of, as far as that is known. */
  private get standing(): number {
    return this.total - this.overwritten.count;
  }

  /** Goes to a position, and unfolds what hides it. */
  goTo(position: number): void {
    const attempt = this.attempts.findLast((attempt) => attempt.position <= position);
    if (attempt && attempt.position < position) this.setFolded(attempt.attempt, false);
    this.wanted = position;
  }

  /** The view is so high now. A browser scrolls up what would end above the end of a view that has grown: that is not its reader. */
  resize(view: number): void {
    // As it shrinks the browser leaves it where it is, until it is drawn.
    const clamped = this.follow && view > this.view;
    this.view = view;
    if (clamped) this.scroll.goTo(Number.MAX_SAFE_INTEGER, view);
  }

  /** The element is scrolled so far, and so high. Says whether that was its reader, and not this page or the browser. */
  onScroll(scrolled: number, view = this.view): boolean {
    // It may have grown since it was last heard of: a scroll is told before a size.
    if (view !== this.view) this.resize(view);
    if (Math.abs(scrolled - this.scroll.scrolled) <= 1) return false;
    const before = this.scroll.place;
    this.scroll.onScroll(scrolled, this.view);
    // The first step away may be a small one, and is one all the same.
    this.setFollow(this.scroll.place >= before && this.isAtEnd);
    return true;
  }

  setFollow(follow: boolean): void {
    if (this.follow && !follow) this.leftAt = this.standing;
    this.follow = follow;
  }

  setFolded(attempt: number, folded: boolean): void {
    if (this.folded.has(attempt) === folded) return;
    if (folded) this.folded.add(attempt);
    else this.folded.delete(attempt);
    this.setFollow(false);
  }

  toggleOpened(position: number): void {
    if (!this.opened.delete(position)) this.opened.add(position);
    this.setFollow(false);
  }

  /** Rows are as high as this; says whether that is news. What is at the top of the view stays there. */
  measured(first: number, heights: number[]): boolean {
    const top = this.heights.rowAt(this.scroll.place);
    const within = this.scroll.place - this.heights.top(top);
    let news = false;
    heights.forEach((height, index) => {
      if (this.heights.set(first + index, height)) news = true;
    });
    if (news && !this.follow) this.scroll.goTo(this.heights.top(top) + within, this.view);
    return news;
  }

  /** Shows a position, unless it is on show already. */
  private center(position: number): void {
    const top = this.heights.top(this.row(position));
    const { place } = this.scroll;
    if (!this.follow && top >= place && top + ROW <= place + this.view) return;
    this.setFollow(false);
    this.scroll.goTo(top - this.view / 3, this.view);
  }
}
