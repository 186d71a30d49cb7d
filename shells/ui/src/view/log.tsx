// The log of a task: as much of it as is on show. It follows the end until its reader scrolls away.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { hasEnded } from "../core/api";
import { writeLines } from "../core/route";
import { ROW, Show } from "../core/show";
import type { Input, Watch } from "../core/watch";
import { go, useKeys, useRedraw } from "../shell/hooks";
import { useSearch } from "../shell/searching";
import type { Settings } from "../shell/settings";
import { Bar, Chosen } from "./bar";
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

export function LogView({ id, watch, send, version, lines, settings, choose }: Props) {
  const [, redraw] = useRedraw();
  const [show] = useState(() => new Show());
  const input = useRef<HTMLInputElement>(null);
  const { log, task } = watch;

  const goTo = (position: number) => {
    show.goTo(position);
    redraw();
  };
  const open = (position: number) => {
    show.toggleOpened(position);
    redraw();
  };
  const toEnd = () => {
    show.setFollow(true);
    redraw();
  };
  const { search, send: ask } = useSearch(id, goTo);
  const step = (by: 1 | -1) => ask({ type: "step", by, from: show.top });
  // The lines are a new object each time.
  useEffect(() => {
    if (lines) goTo(lines.from);
  }, [lines?.from, lines?.to]);
  // The version says when the log may have grown.
  useEffect(() => {
    if (search.query !== "") ask({ type: "grew", total: log.total });
  }, [version]);
  useKeys((key) => {
    if (key === "/") input.current?.focus();
    else if (key === "n") step(1);
    else if (key === "N") step(-1);
    else if (key === "f" || key === "G") toEnd();
    else if (key === "g") goTo(0);
    else if (key === "w") choose({ wrap: !settings.wrap });
    else if (key === "s") choose({ times: nextTimes(settings.times) });
    else if (key === "e") choose({ events: !settings.events });
    else if (key === "o" && lines) open(lines.from);
    else if (key === "Escape" && search.query !== "") ask({ type: "query", text: "" });
    else if (key === "Escape" && lines) go(location.pathname, true);
    else return false;
    return true;
  });

  show.update(log.total, task?.attempts ?? [], log.overwritten);
  const digits = Math.max(3, String(log.total).length);
  const fresh = watch.isOver() ? 0 : show.fresh;
  return (
    <section class={`log digits-${digits}${settings.wrap ? " is-wrapped" : ""}`} aria-label="Log">
      <Bar
        id={id}
        watch={watch}
        search={search}
        input={input}
        query={(text) => ask({ type: "query", text })}
        step={step}
        settings={settings}
        choose={choose}
      />
      {watch.lookFailure && !watch.trouble && (
        <p class="problem is-warning" role="status">
          <Icon name="warning" />
          <span>These lines can't be shown now: {watch.lookFailure.detail}. Trying again.</span>
        </p>
      )}
      {lines && <Chosen id={id} lines={lines} total={log.total} />}
      <Lines
        watch={watch}
        send={send}
        show={show}
        redraw={redraw}
        open={open}
        lines={lines}
        settings={settings}
        words={search.query}
        current={search.current === undefined ? undefined : search.positions[search.current]}
      />
      {!show.follow && !show.isAtEnd && (
        <button type="button" class="more" onClick={toEnd}>
          {fresh > 0 ? `${fresh.toLocaleString("en")} new ${fresh === 1 ? "line" : "lines"}` : "To the end"}
          <Icon name="down" />
        </button>
      )}
      <p class="unseen" role="status">
        {task && hasEnded(task.status) ? `The task has ended: ${task.last_update}` : ""}
      </p>
    </section>
  );
}

function nextTimes(times: Settings["times"]): Settings["times"] {
  const all: Settings["times"][] = ["off", "clock", "start", "last"];
  return all[(all.indexOf(times) + 1) % all.length] ?? "off";
}

interface LinesProps extends Pick<Props, "watch" | "send" | "lines" | "settings"> {
  show: Show;
  redraw: () => void;
  open: (position: number) => void;
  words: string;
  current: number | undefined;
}

function Lines({ watch, send, show, redraw, open, lines, settings, words, current }: LinesProps) {
  const view = useRef<HTMLDivElement>(null);
  const rows = useRef<HTMLDivElement>(null);
  const { log, task } = watch;
  const { heights, scroll, folds } = show;
  const { first, last } = show.range;
  const [from, to] = [folds.position(first), folds.position(Math.max(first, last)) + 1];

  // Wrapped or not, with times or not, rows have other heights.
  useLayoutEffect(() => {
    heights.reset(ROW);
    redraw();
  }, [settings.wrap, settings.times, settings.events]);
  useEffect(() => {
    const element = view.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      show.resize(element.clientHeight);
      if (settings.wrap) heights.reset(ROW);
      redraw();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [show, heights, redraw, settings.wrap]);
  // Rows that are not known yet are asked for once.
  useEffect(() => {
    if (log.total > 0) send({ type: "see", from, to });
  }, [from, to, log.total > 0]);
  useLayoutEffect(() => {
    const element = view.current;
    const move = scroll.takeMove();
    if (element && move !== undefined) element.scrollTop = move;
    if (!settings.wrap && show.opened.size === 0) return;
    const drawn = Array.from(rows.current?.children ?? []);
    const isNews = show.measured(
      first,
      drawn.map((row) => row.getBoundingClientRect().height),
    );
    if (isNews) redraw();
  });

  const chooseLine = (position: number, further: boolean) => {
    const start = further && lines ? lines.from : position;
    go(`${location.pathname}${writeLines(Math.min(start, position), Math.max(start, position))}`, true);
  };
  // The same functions each time, so that rows need not be drawn anew.
  const latest = useRef({ chooseLine, open });
  latest.current = { chooseLine, open };
  const [stable] = useState(() => ({
    choose: (position: number, further: boolean) => latest.current.chooseLine(position, further),
    open: (position: number) => latest.current.open(position),
    fold: (attempt: number) => {
      show.setFolded(attempt, !show.folded.has(attempt));
      redraw();
    },
  }));

  const attempts = task?.attempts ?? [];
  const foldable = new Map(attempts.length > 1 ? attempts.map(({ position, attempt }) => [position, attempt]) : []);
  const start = task?.started_at ? Date.parse(task.started_at) : (log.get(0)?.at ?? 0);
  // Rows that go leave their elements to those that come: that costs less than new ones.
  const slots = 32 * Math.ceil((last - first + 1) / 32);
  const drawn = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => {
    const position = folds.position(first + index);
    // It stands in the place of what it has overwritten, for links and searches too
    const since = log.overwritten.firstOf(position);
    const attempt = foldable.get(position);
    return (
      <RowView
        key={position % slots}
        position={position}
        row={log.get(position)}
        gone={position < log.goneBefore}
        before={log.get(since - 1)?.at}
        start={start}
        times={settings.times}
        events={settings.events}
        words={words}
        chosen={lines !== undefined && position >= lines.from && since <= lines.to}
        current={current !== undefined && since <= current && current <= position}
        opened={show.opened.has(position)}
        folded={attempt === undefined ? undefined : show.folded.has(attempt)}
        {...stable}
      />
    );
  });
  return (
    <div
      ref={view}
      class="view"
      role="log"
      aria-live="off"
      aria-label="Lines"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled by keys
      tabIndex={0}
      onScroll={(event) => {
        const { scrollTop, clientHeight } = event.currentTarget;
        if (show.onScroll(scrollTop, clientHeight)) redraw();
      }}
      onWheel={(event) => {
        if (event.deltaY < 0 && heights.total > show.view) show.setFollow(false);
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
  );
}
