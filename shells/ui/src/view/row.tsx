// One row of the log. It is drawn anew only if something of it has changed, and its elements may have been another row's.

import { createRef } from "preact";
import type { Row } from "../core/api";
import { readEvent } from "../core/event";
import { writeLines } from "../core/route";
import { MOST_SHOWN, spansOf } from "../core/text";
import { clock, moment, since } from "../core/time";
import type { Settings } from "../shell/settings";
import { EventView } from "./event";
import { Icon, type IconName } from "./icon";
import { Spans } from "./spans";
import { Still } from "./still";

export interface RowProps {
  position: number;
  row: Row | undefined;
  /** Whether it is unknown for good. */
  gone: boolean;
  /** When the row before it was written. */
  before: number | undefined;
  /** When the first row was. */
  start: number;
  times: Settings["times"];
  events: boolean;
  words: string;
  chosen: boolean;
  current: boolean;
  opened: boolean;
  /** Whether the attempt that begins here is folded; `undefined` if none does that can be. */
  folded: boolean | undefined;
  choose: (position: number, further: boolean) => void;
  open: (position: number) => void;
  fold: (attempt: number) => void;
}

const BANDS: Record<string, IconName> = {
  started: "play",
  retrying: "retrying",
  stopping: "stop",
  done: "check",
  stopped: "stop",
  failed: "x",
  truncated: "warning",
};

export class RowView extends Still<RowProps> {
  private element = createRef<HTMLDivElement>();

  /** Its elements may be those of another row: then what had the focus there is gone. */
  override componentDidUpdate(last: RowProps): void {
    const focused = document.activeElement;
    if (last.position !== this.props.position && this.element.current?.contains(focused))
      (focused as HTMLElement).blur();
  }

  override render() {
    const { position, row, gone, chosen, current, opened, choose } = this.props;
    const kind = row === undefined ? "unknown" : row.kind;
    const classes = ["row", `is-${kind}`];
    if (chosen) classes.push("is-chosen");
    if (current) classes.push("is-current");
    if (row?.stderr) classes.push("is-stderr");
    if (opened) classes.push("is-open");
    return (
      <div ref={this.element} class={classes.join(" ")} data-position={position}>
        <a
          class="number"
          href={writeLines(position, position)}
          aria-label={`Line ${position + 1}`}
          onClick={(event) => {
            event.preventDefault();
            choose(position, event.shiftKey);
          }}
        >
          {position + 1}
        </a>
        {row && this.time(row)}
        {row === undefined ? <span class="text faint">{gone ? "no longer kept" : "…"}</span> : this.content(row)}
      </div>
    );
  }

  private time(row: Row) {
    const { times, before, start } = this.props;
    if (times === "off") return null;
    const text =
      times === "clock"
        ? clock(row.at)
        : times === "start"
          ? since(row.at - start)
          : since(row.at - (before ?? row.at));
    return (
      <span class="time" title={moment(row.at)}>
        {text}
      </span>
    );
  }

  private content(row: Row) {
    const { folded, fold, words } = this.props;
    if (row.kind !== "line" && row.kind !== "progress" && row.kind !== "other") {
      const icon = BANDS[row.kind];
      return (
        <span class="text band">
          {folded === undefined ? (
            icon && <Icon name={icon} />
          ) : (
            <button
              type="button"
              class="fold"
              aria-expanded={!folded}
              aria-label={`Attempt ${row.attempt}: ${folded ? "unfold" : "fold"}`}
              onClick={() => fold(row.attempt)}
            >
              <Icon name={folded ? "chevron-right" : "chevron-down"} />
            </button>
          )}
          <Spans spans={spansOf(row.text, words)} />
          {folded && <small> folded</small>}
        </span>
      );
    }
    return (
      <>
        {row.stderr && (
          <span class="stderr" title="stderr">
            err
          </span>
        )}
        {this.line(row)}
      </>
    );
  }

  private line(row: Row) {
    const { events, opened, open, position, words } = this.props;
    const event = events ? readEvent(row.text) : undefined;
    const isLong = row.text.length > MOST_SHOWN;
    if (!event && !isLong) {
      return (
        <code class="text">
          <Spans spans={spansOf(row.text, words)} />
        </code>
      );
    }
    const toggle = (
      <button
        type="button"
        class="fold"
        aria-expanded={opened}
        aria-label={`Line ${position + 1}: ${opened ? "close" : event ? "show the raw JSON" : "show all of it"}`}
        onClick={() => open(position)}
      >
        <Icon name={opened ? "chevron-down" : "chevron-right"} />
      </button>
    );
    return (
      <code class="text">
        {toggle}
        {event && <EventView event={event} line={row.text} words={words} opened={opened} />}
        {!event && !opened && <Spans spans={spansOf(row.text.slice(0, MOST_SHOWN), words)} />}
        {!event && !opened && <small> … {(row.text.length - MOST_SHOWN).toLocaleString("en")} more characters</small>}
        {!event && opened && (
          <span class="raw">
            <Spans spans={spansOf(row.text, words)} />
          </span>
        )}
      </code>
    );
  }
}
