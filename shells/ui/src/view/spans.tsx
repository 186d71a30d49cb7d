// Text of an agent's with its colours, its links, and the words that were searched for.

import type { Span } from "../core/text";

export function Spans({ spans }: { spans: Span[] }) {
  return <>{spans.map(drawn)}</>;
}

function drawn(span: Span) {
  if (span.look === "" && !span.link && !span.found && !span.colour && !span.background) return span.text;
  const style: Record<string, string> = {};
  if (span.colour) style["--own"] = span.colour;
  if (span.background) style["--own-ground"] = span.background;
  const look = [span.look, span.colour && "t-colour", span.background && "t-ground"].filter(Boolean).join(" ");
  const inner = span.found ? <mark>{span.text}</mark> : span.text;
  if (span.link) {
    return (
      <a class={look} style={style} href={span.link} target="_blank" rel="noopener noreferrer">
        {inner}
      </a>
    );
  }
  return (
    <span class={look} style={style}>
      {inner}
    </span>
  );
}
