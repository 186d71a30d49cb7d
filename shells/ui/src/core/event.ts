// Reads a line that is a JSON object, as agents and structured loggers write them, into what a person wants to know of it.
// It must take any object; what it does not know it shows by name.

import { agentEvent } from "./agents";
import { brief, type Fields, fieldOf, isFields, oneLine } from "./json";

/** A line of JSON, as a person reads it. */
export interface Event {
  /** What it is, as far as that is known: so it is drawn. */
  look: "says" | "thinks" | "tool" | "output" | "result" | "about" | "other";
  /** The same in a word or two. */
  label: string;
  level: "debug" | "info" | "warn" | "error" | "";
  /** What it says; may have many lines. */
  text: string;
  /** The rest: names and values. */
  fields: [string, string][];
}

const TEXTS = ["msg", "message", "text", "result", "error", "summary", "status", "description", "output", "content"];
const LABELS = ["type", "event", "kind", "subtype", "logger", "target"];
const LEVELS = ["level", "severity", "lvl"];
const TIMES = ["time", "timestamp", "ts", "at", "@timestamp"];
/** A longer line is not read, in characters: it would hold up the drawing of those around it. */
export const MOST_READ = 256 * 1024;
/** It is one line of many: never more fields than this. */
const MOST_FIELDS = 8;
/** How much of the raw form stands around what was found in it. */
const AROUND = 40;

export function readEvent(line: string): Event | undefined {
  if (!line.startsWith("{") || line.length > MOST_READ || !line.trimEnd().endsWith("}")) return undefined;
  const fields = parsed(line);
  if (!fields) return undefined;
  return agentEvent(fields) ?? ofAny(fields);
}

function parsed(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) && Object.keys(value).length > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}

function ofAny(fields: Fields): Event {
  const taken = new Set<string>();
  const take = (names: string[]) => {
    const name = names.find((name) => typeof fields[name] === "string" && fields[name] !== "");
    if (name === undefined) return "";
    taken.add(name);
    return String(fields[name]);
  };
  const level = levelOf(take(LEVELS));
  const text = take(TEXTS);
  const label = take(LABELS);
  for (const name of TIMES) taken.add(name);
  const rest = Object.entries(fields).filter(([name, value]) => !taken.has(name) && value !== null);
  const shown = rest.slice(0, MOST_FIELDS).map(([name, value]) => fieldOf(name, value));
  if (rest.length > MOST_FIELDS) shown.push(["…", `${rest.length - MOST_FIELDS} more`]);
  return { look: "other", label, level, text, fields: shown };
}

function levelOf(word: string): Event["level"] {
  const name = word.toLowerCase();
  if (["error", "fatal", "critical", "err", "panic"].includes(name)) return "error";
  if (name.startsWith("warn")) return "warn";
  if (name === "debug" || name === "trace") return "debug";
  return name === "" ? "" : "info";
}

/** What is said of an event on its one line: text that goes over several lines says how many more there are. */
export function lineOf(event: Event): { text: string; more: number } {
  if (event.look !== "output") return { text: oneLine(event.text), more: 0 };
  const lines = event.text.trim().split("\n");
  return { text: brief(lines[0] ?? ""), more: lines.length - 1 };
}

/** Where words that were searched for stand in the raw form alone: that part of it. */
export function foundInRaw(event: Event, line: string, words: string): string | undefined {
  if (words === "") return undefined;
  const wanted = words.toLowerCase();
  const shown = [event.level, event.label, lineOf(event).text, ...event.fields.flat()];
  if (shown.some((text) => text.toLowerCase().includes(wanted))) return undefined;
  const at = line.toLowerCase().indexOf(wanted);
  if (at === -1) return undefined;
  const [from, to] = [Math.max(0, at - AROUND), at + words.length + AROUND];
  return `${from > 0 ? "…" : ""}${line.slice(from, to)}${to < line.length ? "…" : ""}`;
}

/** The raw form, for reading. */
export function pretty(line: string): string {
  try {
    return JSON.stringify(JSON.parse(line), null, 2);
  } catch {
    return line;
  }
}
