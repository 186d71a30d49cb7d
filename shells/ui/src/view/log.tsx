// The log of a task: as much of it as is on show. It follows the end until its reader scrolls away.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Attempt, type Found, hasEnded } from "../core/api";
import { Folds } from "../core/folds";
import { taskAddress, writeLines } from "../core/route";
import { Heights, Scroll } from "../core/scroll";
import { type Effect, Search, type Input as SearchInput } from "../core/search";
import type { Input, Watch } from "../core/watch";
import { copyLines } from "../shell/copy";
import { Driver } from "../shell/drive";
import { go, leave, useKeys, useRedraw } from "../shell/hooks";
import { call } from "../shell/http";
import type { Settings } from "../shell/settings";
import { Icon } from "./icon";
import { RowView } from "./row";

interface Props {
  id: string;
  watch: Watch;
  send: (input: Input) => void;
  version: number;
  lines: { from: number; to: number } | undefined;
  settings: Settings;
  choose: (change: Partial<Settings>) => void;
}

/** The height of a row of one line, as the style sheet has it. */
const ROW = 20;
/** Rows drawn beyond each edge of the view. */
const OVERSCAN = 12;
/** How near the end is "at the end", in pixels. */
const NEAR = 6;

/** What is on show. It is not part of what is drawn, but decides it. */
class Show {
  readonly heights = new Heights(ROW);
  readonly scroll = new Scroll(this.heights);
  readonly folds = new Folds();
  readonly folded = new Set<number>();
  readonly opened = new Set<number>();
  view = 600;
  follow = true;
  /** How many rows there were when the reader went away from the end. */
  leftAt = 0;
  /** A position to go to as soon as it is known that there is one. */
  wanted: number | undefined;

  update(total: number, attempts: Attempt[]): void {
    this.folds.set(
      attempts
        .map((attempt, index) => ({ attempt, to: attempts[index + 1]?.position ?? total }))
        .filter(({ attempt }) => this.folded.has(attempt.attempt))
        .map(({ attempt, to }) => ({ from: attempt.position + 1, to })),
    );
    this.heights.count = this.folds.shown(total);
    if (this.wanted !== undefined && total > 0) {
      this.center(Math.min(this.wanted, total - 1));
      this.wanted = undefined;
    }
    if (this.follow) this.scroll.goTo(Number.MAX_SAFE_INTEGER, this.view);
    else this.scroll.goTo(this.scroll.place, this.view);
  }

  /** Shows a position, unless it is on show already. */
  center(position: number): void {
    const top = this.heights.top(this.folds.row(position));
    const { place } = this.scroll;
    if (!this.follow && top >= place && top + ROW <= place + this.view) return;
    this.follow = false;
    this.scroll.goTo(top - this.view / 3, this.view);
  }

  get isAtEnd(): boolean {
    return this.scroll.place >= this.heights.total - this.view - NEAR;
  }
}

function useSearch(id: string, show: (position: number) => void) {
  const [, redraw] = useRedraw();
  const latest = useRef(show);
  latest.current = show;
  const [{ search, driver }] = useState(() => {
    const search = new Search();
    const carryOut = (effect: Effect, send: (input: SearchInput) => void) => {
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
    return { search, driver: new Driver<SearchInput, Effect>(search, carryOut, redraw, { type: "timeout" }) };
  });
  useEffect(() => () => driver.stop(), [driver]);
  return { search, send: driver.send };
}

export function LogView({ id, watch, send, version, lines, settings, choose }: Props) {
  const [, redraw] = useRedraw();
  const [show] = useState(() => new Show());
  const view = useRef<HTMLDivElement>(null);
  const rows = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const { log, task } = watch;
  const attempts = task?.attempts ?? [];

  const goTo = (position: number) => {
    const fold = attempts.findLast((attempt) => attempt.position < position);
    if (fold && show.folded.delete(fold.attempt)) show.update(log.total, attempts);
    show.wanted = position;
    show.leftAt = log.total;
    redraw();
  };
  const toEnd = () => {
    show.follow = true;
    redraw();
  };
  const { search, send: ask } = useSearch(id, goTo);
  const step = (by: 1 | -1) =>
    ask({ type: "step", by, from: show.folds.position(show.heights.rowAt(show.scroll.place)) });

  // The lines are a new object each time
  useEffect(() => {
    if (lines) goTo(lines.from);
  }, [lines?.from, lines?.to]);
  // The version says when the log may have grown
  useEffect(() => {
    if (search.query !== "") ask({ type: "grew", total: log.total });
  }, [version]);
  // Wrapped or not, with times or not, rows have other heights
  useLayoutEffect(() => {
    show.heights.reset(ROW);
    redraw();
  }, [settings.wrap, settings.times, settings.events]);
  useEffect(() => {
    const element = view.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      show.view = element.clientHeight;
      if (settings.wrap) show.heights.reset(ROW);
      redraw();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [show, redraw, settings.wrap]);

  show.update(log.total, attempts);
  const { heights, scroll, folds } = show;
  const first = Math.max(0, heights.rowAt(scroll.place) - OVERSCAN);
  const last = Math.min(heights.count - 1, heights.rowAt(scroll.place + show.view) + OVERSCAN);
  const [from, to] = [folds.position(first), folds.position(Math.max(first, last)) + 1];

  // Rows that are not known yet are asked for once
  useEffect(() => {
    if (log.total > 0) send({ type: "see", from, to });
  }, [from, to, log.total > 0]);
  useLayoutEffect(() => {
    const element = view.current;
    if (element && Math.abs(element.scrollTop - scroll.scrolled) > 1) element.scrollTop = scroll.scrolled;
    if ((settings.wrap || show.opened.size > 0) && measure(rows.current, show, first)) redraw();
  });

  const onScroll = () => {
    const scrolled = view.current?.scrollTop ?? 0;
    if (Math.abs(scrolled - scroll.scrolled) <= 1) return;
    scroll.onScroll(scrolled, show.view);
    setFollow(show.isAtEnd);
    redraw();
  };
  const setFollow = (follow: boolean) => {
    if (show.follow && !follow) show.leftAt = log.total;
    show.follow = follow;
  };
  const chooseLine = (position: number, further: boolean) => {
    const start = further && lines ? lines.from : position;
    go(`${location.pathname}${writeLines(Math.min(start, position), Math.max(start, position))}`, true);
  };
  const toggle = (set: Set<number>, one: number) => {
    if (!set.delete(one)) set.add(one);
    show.follow = false;
    redraw();
  };
  // The same functions each time, so that rows need not be drawn anew.
  const acts = useRef({ chooseLine, toggle });
  acts.current = { chooseLine, toggle };
  const [stable] = useState(() => ({
    choose: (position: number, further: boolean) => acts.current.chooseLine(position, further),
    open: (position: number) => acts.current.toggle(show.opened, position),
    fold: (attempt: number) => acts.current.toggle(show.folded, attempt),
  }));

  useKeys((key) => {
    if (key === "/") input.current?.focus();
    else if (key === "n") step(1);
    else if (key === "N") step(-1);
    else if (key === "f" || key === "G") toEnd();
    else if (key === "g") goTo(0);
    else if (key === "w") choose({ wrap: !settings.wrap });
    else if (key === "s") choose({ times: nextTimes(settings.times) });
    else if (key === "Escape" && search.query !== "") ask({ type: "query", text: "" });
    else if (key === "Escape" && lines) go(location.pathname, true);
    else return false;
    return true;
  });

  const drawn = [];
  const start = task?.started_at ? Date.parse(task.started_at) : (log.get(0)?.at ?? 0);
  const foldable =
    attempts.length > 1 ? new Map(attempts.map((attempt) => [attempt.position, attempt.attempt])) : undefined;
  const current = search.current === undefined ? undefined : search.positions[search.current];
  for (let line = first; line <= last; line++) {
    const position = folds.position(line);
    const attempt = foldable?.get(position);
    drawn.push(
      <RowView
        key={position}
        position={position}
        row={log.get(position)}
        before={log.get(position - 1)?.at}
        start={start}
        times={settings.times}
        events={settings.events}
        words={search.query}
        chosen={lines !== undefined && position >= lines.from && position <= lines.to}
        current={position === current}
        opened={show.opened.has(position)}
        folded={attempt === undefined ? undefined : show.folded.has(attempt)}
        {...stable}
      />,
    );
  }
  const fresh = log.total - show.leftAt;
  const digits = Math.max(3, String(log.total).length);
  return (
    <section class={`log digits-${digits}${settings.wrap ? " is-wrapped" : ""}`} aria-label="Log">
      <div class="bar">
        <label class="search">
          <Icon name="search" />
          <span class="unseen">Search the log</span>
          <input
            ref={input}
            type="search"
            placeholder="Search the log"
            maxLength={200}
            value={search.query}
            onInput={(event) => ask({ type: "query", text: event.currentTarget.value })}
            onKeyDown={(event) => {
              if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
              else if (event.key === "Escape") leave(event);
            }}
          />
          <output aria-label="Matches">{search.says()}</output>
          <button
            type="button"
            class="quiet square"
            aria-label="Previous match"
            disabled={search.positions.length === 0}
            onClick={() => step(-1)}
          >
            <Icon name="chevron-up" />
          </button>
          <button
            type="button"
            class="quiet square"
            aria-label="Next match"
            disabled={search.positions.length === 0}
            onClick={() => step(1)}
          >
            <Icon name="chevron-down" />
          </button>
        </label>
        <Standing watch={watch} />
        <span class="fill" />
        <label class="times">
          <Icon name="clock" />
          <span class="unseen">Timestamps</span>
          <select
            value={settings.times}
            onChange={(event) => choose({ times: event.currentTarget.value as Settings["times"] })}
          >
            <option value="off">No times</option>
            <option value="clock">Time of day</option>
            <option value="start">Since start</option>
            <option value="last">Since last line</option>
          </select>
        </label>
        <Toggle on={settings.events} icon="braces" name="JSON as events" set={(events) => choose({ events })} />
        <Toggle on={settings.wrap} icon="wrap" name="Wrap lines" set={(wrap) => choose({ wrap })} />
        <a
          class="button quiet square"
          href={`${taskAddress(id)}/log`}
          download={`${id}.log`}
          title="Download"
          aria-label="Download the log"
        >
          <Icon name="download" />
        </a>
      </div>
      {lines && <Chosen id={id} lines={lines} total={log.total} />}
      <div
        ref={view}
        class="view"
        role="log"
        aria-live="off"
        aria-label="Lines"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled by keys
        tabIndex={0}
        onScroll={onScroll}
        onWheel={(event) => {
          if (event.deltaY < 0 && heights.total > show.view) setFollow(false);
        }}
      >
        <div class="space" style={{ height: `${scroll.height}px` }}>
          <div ref={rows} class="rows" style={{ transform: `translateY(${scroll.offset(heights.top(first))}px)` }}>
            {drawn}
          </div>
        </div>
        {log.total === 0 && watch.state.name === "watching" && (
          <p class="empty">
            {task?.status === "queued" ? "Waiting for a free worker." : "Nothing yet."} Lines appear here as they are
            written.
          </p>
        )}
      </div>
      {!show.follow && !show.isAtEnd && (
        <button type="button" class="more" onClick={toEnd}>
          {fresh > 0 && !watch.isOver()
            ? `${fresh.toLocaleString("en")} new ${fresh === 1 ? "line" : "lines"}`
            : "To the end"}
          <Icon name="down" />
        </button>
      )}
      <p class="unseen" role="status">
        {task && hasEnded(task.status) ? `The task has ended: ${task.last_update}` : ""}
      </p>
    </section>
  );
}

/** Reads how high the rows really are; says whether that was news. What is at the top of the view stays there. */
function measure(rows: HTMLElement | null, show: Show, first: number): boolean {
  const { heights, scroll } = show;
  const top = heights.rowAt(scroll.place);
  const within = scroll.place - heights.top(top);
  let news = false;
  Array.from(rows?.children ?? []).forEach((row, index) => {
    if (heights.set(first + index, row.getBoundingClientRect().height)) news = true;
  });
  if (news && !show.follow) scroll.goTo(heights.top(top) + within, show.view);
  return news;
}

function nextTimes(times: Settings["times"]): Settings["times"] {
  const all: Settings["times"][] = ["off", "clock", "start", "last"];
  return all[(all.indexOf(times) + 1) % all.length] ?? "off";
}

function Standing({ watch }: { watch: Watch }) {
  const count = `${watch.log.total.toLocaleString("en")} ${watch.log.total === 1 ? "line" : "lines"}`;
  const [look, says] = watch.isLive()
    ? ["live", "Live"]
    : watch.isOver()
      ? ["over", "Complete"]
      : watch.state.name === "waiting"
        ? ["waiting", "Reconnecting"]
        : ["loading", "Loading"];
  return (
    <span class={`standing is-${look}`}>
      <i aria-hidden="true" />
      {says} <span class="faint">{count}</span>
    </span>
  );
}

function Toggle(props: { on: boolean; icon: "braces" | "wrap"; name: string; set: (on: boolean) => void }) {
  const { on, icon, name, set } = props;
  return (
    <button
      type="button"
      class="quiet square"
      aria-pressed={on}
      title={name}
      aria-label={name}
      onClick={() => set(!on)}
    >
      <Icon name={icon} />
    </button>
  );
}

function Chosen({ id, lines, total }: { id: string; lines: { from: number; to: number }; total: number }) {
  const [said, setSaid] = useState("");
  const copy = async (colours: boolean) => {
    const why = await copyLines(id, lines.from, lines.to, colours);
    setSaid(why === undefined ? "Copied" : `Not copied: ${why}`);
    setTimeout(() => setSaid(""), 4000);
  };
  const link = async () => {
    await navigator.clipboard.writeText(location.href);
    setSaid("Copied");
    setTimeout(() => setSaid(""), 4000);
  };
  const name =
    lines.from === lines.to
      ? `Line ${(lines.from + 1).toLocaleString("en")}`
      : `Lines ${(lines.from + 1).toLocaleString("en")} to ${(lines.to + 1).toLocaleString("en")}`;
  return (
    <div class="chosen" role="group" aria-label="Chosen lines">
      <b>{name}</b>
      {total > 0 && lines.from >= total && <span class="is-wrong">not there, or no longer</span>}
      <button type="button" class="quiet" onClick={() => copy(false)}>
        <Icon name="copy" /> <span>Copy</span>
      </button>
      <button type="button" class="quiet" onClick={() => copy(true)}>
        <Icon name="palette" /> <span>Copy with colours</span>
      </button>
      <button type="button" class="quiet" onClick={link}>
        <Icon name="link" /> <span>Copy link</span>
      </button>
      <span role="status">{said}</span>
      <span class="fill" />
      <button
        type="button"
        class="quiet square"
        aria-label="Choose no lines"
        onClick={() => go(location.pathname, true)}
      >
        <Icon name="x" />
      </button>
    </div>
  );
}
