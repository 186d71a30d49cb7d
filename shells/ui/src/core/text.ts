// What an agent printed, made fit to be shown: colours, links and words that were searched for become spans; whatever could
// deceive a reader (control characters, changes of writing direction, cursor movements) is shown as a sign or left out.
// Text stays text: nothing here makes markup.

import Anser from "anser";

export interface Span {
  text: string;
  /** Names of classes, for colours and weights. */
  look: string;
  /** Colours beyond the sixteen. */
  colour?: string;
  background?: string;
  /** Where it leads: http or https, nothing else. */
  link?: string;
  found?: boolean;
}

/** The longest part of a line that is shown before it is opened, in characters. */
export const MOST_SHOWN = 2000;

// Every escape sequence but colours (SGR): links, titles, cursor movements, and what is cut off at the end of the line.
const ESCAPES =
  /\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|\[[0-?]*[ -/]*(?:[@-ln-~]|$)|[ -/]*[0-OQ-WYZ\\`-~]|$)/g;
const COLOURS = /\x1b\[[0-9;:]*m/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const LINK = /https?:\/\/[^\s<>"'`\u0000-\u001f]*[^\s<>"'`.,:;!?)\]}\u0000-\u001f]/g;

/** The line as a terminal would leave it: a carriage return begins it again. */
export function settled(text: string): string {
  if (!text.includes("\r")) return text;
  const parts = text.split("\r").filter((part) => part.replace(COLOURS, "") !== "");
  return parts.at(-1) ?? "";
}

/** The text without colours. */
export function plain(text: string): string {
  return signs(settled(text).replace(ESCAPES, "").replace(COLOURS, ""));
}

/** Text of many lines, with signs for what can't be seen. */
export function plainLines(text: string): string {
  return text.split("\n").map(plain).join("\n");
}

/** Characters that can't be seen, as signs that can. */
function signs(text: string): string {
  return text.replace(CONTROLS, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}

/** The spans of a line. */
export function spansOf(text: string, found = ""): Span[] {
  const line = settled(text).replace(ESCAPES, "");
  const coloured = line.includes("\x1b[") ? coloursOf(line) : [{ text: signs(line), look: "" }];
  const linked = line.includes("://") ? coloured.flatMap(linksOf) : coloured;
  return found === "" ? linked : markFound(linked, found);
}

function coloursOf(line: string): Span[] {
  const parts = Anser.ansiToJson(line, { use_classes: true, remove_empty: true });
  return parts.map((part) => {
    const span: Span = { text: signs(part.content), look: "" };
    const looks = part.decorations.map((name) => `t-${name}`);
    if (part.fg) {
      if (part.fg_truecolor) span.colour = `rgb(${part.fg_truecolor})`;
      else if (part.fg.startsWith("ansi-palette-")) span.colour = palette(Number(part.fg.slice(13)));
      else looks.push(part.fg);
    }
    if (part.bg) {
      if (part.bg_truecolor) span.background = `rgb(${part.bg_truecolor})`;
      else if (part.bg.startsWith("ansi-palette-")) span.background = palette(Number(part.bg.slice(13)));
      else looks.push(`${part.bg}-bg`);
    }
    span.look = looks.join(" ");
    return span;
  });
}

/** The colours 16 to 255 of xterm's palette: a cube, and greys. */
function palette(number: number): string {
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const level = (step: number) => (step === 0 ? 0 : 55 + step * 40);
  const index = number - 16;
  return `rgb(${level(Math.floor(index / 36))}, ${level(Math.floor(index / 6) % 6)}, ${level(index % 6)})`;
}

function linksOf(span: Span): Span[] {
  const spans: Span[] = [];
  let end = 0;
  for (const match of span.text.matchAll(LINK)) {
    if (match.index > end) spans.push({ ...span, text: span.text.slice(end, match.index) });
    spans.push({ ...span, text: match[0], link: match[0] });
    end = match.index + match[0].length;
  }
  if (end < span.text.length || spans.length === 0) spans.push({ ...span, text: span.text.slice(end) });
  return spans;
}

/** Marks the words, also where they go from one span to the next. */
function markFound(spans: Span[], words: string): Span[] {
  const [whole, wanted] = [
    spans
      .map((span) => span.text)
      .join("")
      .toLowerCase(),
    words.toLowerCase(),
  ];
  const places: number[] = [];
  for (let at = whole.indexOf(wanted); at !== -1; at = whole.indexOf(wanted, at + wanted.length)) places.push(at);
  if (places.length === 0) return spans;
  const marked: Span[] = [];
  let start = 0;
  for (const span of spans) {
    const end = start + span.text.length;
    let done = start;
    for (const place of places) {
      const [from, to] = [Math.max(place, start), Math.min(place + wanted.length, end)];
      if (from >= to) continue;
      if (from > done) marked.push({ ...span, text: span.text.slice(done - start, from - start) });
      marked.push({ ...span, text: span.text.slice(from - start, to - start), found: true });
      done = to;
    }
    if (done < end) marked.push({ ...span, text: span.text.slice(done - start) });
    start = end;
  }
  return marked;
}
