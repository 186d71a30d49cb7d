// What stands above the log: its search, how it stands, how it is shown; and what may be done with the lines that were chosen.

import type { RefObject } from "preact";
import { useState } from "preact/hooks";
import { taskAddress } from "../core/route";
import type { Search } from "../core/search";
import type { Watch } from "../core/watch";
import { copyLines, write } from "../shell/copy";
import { go, leave } from "../shell/hooks";
import type { Settings } from "../shell/settings";
import { Icon } from "./icon";

interface BarProps {
  id: string;
  watch: Watch;
  search: Search;
  input: RefObject<HTMLInputElement | null>;
  query: (text: string) => void;
  step: (by: 1 | -1) => void;
  settings: Settings;
  choose: (change: Partial<Settings>) => void;
}

export function Bar({ id, watch, search, input, query, step, settings, choose }: BarProps) {
  return (
    <div class="bar">
      <SearchField search={search} input={input} query={query} step={step} />
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
  );
}

function SearchField({ search, input, query, step }: Pick<BarProps, "search" | "input" | "query" | "step">) {
  const nothing = search.positions.length === 0;
  return (
    <label class="search">
      <Icon name="search" />
      <span class="unseen">Search the log</span>
      <input
        ref={input}
        type="search"
        placeholder="Search the log"
        maxLength={120}
        value={search.query}
        onInput={(event) => query(event.currentTarget.value)}
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
        disabled={nothing}
        onClick={() => step(-1)}
      >
        <Icon name="chevron-up" />
      </button>
      <button type="button" class="quiet square" aria-label="Next match" disabled={nothing} onClick={() => step(1)}>
        <Icon name="chevron-down" />
      </button>
    </label>
  );
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

export function Chosen({ id, lines, total }: { id: string; lines: { from: number; to: number }; total: number }) {
  const [said, setSaid] = useState("");
  const copy = async (colours: boolean) => {
    const why = await copyLines(id, lines.from, lines.to, colours);
    setSaid(why === undefined ? "Copied" : `Not copied: ${why}`);
    setTimeout(() => setSaid(""), 4000);
  };
  const link = async () => {
    const why = await write(location.href);
    setSaid(why === undefined ? "Copied" : `Not copied: ${why}`);
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
