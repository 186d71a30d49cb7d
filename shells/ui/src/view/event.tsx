// A line of JSON, as an event that can be read; opened, with all that it says, and as it was written.

import { type Event, foundInRaw, lineOf, pretty } from "../core/event";
import { MOST_SHOWN, plain, plainLines, spansOf } from "../core/text";
import { Spans } from "./spans";

interface Props {
  event: Event;
  /** As it was written. */
  line: string;
  words: string;
  opened: boolean;
}

export function EventView({ event, line, words, opened }: Props) {
  const { text, more } = lineOf(event);
  const found = foundInRaw(event, line, words);
  const fields: [string, string][] = found === undefined ? event.fields : [...event.fields, ["raw", found]];
  const isWhole = more === 0 && text === event.text;
  return (
    <>
      <span class={`event is-${event.look} level-${event.level || "none"}`}>
        {event.level !== "" && <span class="level">{event.level}</span>}
        {event.label !== "" && <span class="label">{plain(event.label)}</span>}
        {text !== "" && (
          <span class="words">
            <Spans spans={spansOf(text.slice(0, MOST_SHOWN), words)} />
          </span>
        )}
        {more > 0 && <small>{more === 1 ? "and a line" : `and ${more.toLocaleString("en")} lines`}</small>}
        {fields.map(([name, value], index) => (
          // The same name may come twice
          <span key={`${index}`} class="pair">
            <span class="key">{plain(name)}</span>
            <Spans spans={spansOf(value, words)} />
          </span>
        ))}
      </span>
      {opened && !isWhole && <span class="whole">{plainLines(event.text.trim())}</span>}
      {opened && <span class="raw">{plainLines(pretty(line))}</span>}
    </>
  );
}
