// Reads a line that is a JSON object, as agents and structured loggers write them, into what a person wants to know of it.
// It must take any object; what it does not know it shows by name.

export interface Event {
  /** What sort of event it is, in a word or two. */
  label: string;
  level: "debug" | "info" | "warn" | "error" | "";
  /** What it says. */
  text: string;
  /** The rest: names and values. */
  fields: [string, string][];
}

type Fields = Record<string, unknown>;

const TEXTS = ["msg", "message", "text", "result", "error", "summary", "status", "description", "output", "content"];
const LABELS = ["type", "event", "kind", "subtype", "logger", "target"];
const LEVELS = ["level", "severity", "lvl"];
const TIMES = ["time", "timestamp", "ts", "at", "@timestamp"];
/** Never longer than this: it is one line of many. */
const MOST_FIELDS = 8;
const MOST_VALUE = 160;

export function readEvent(line: string): Event | undefined {
  if (!line.startsWith("{") || !line.trimEnd().endsWith("}")) return undefined;
  const fields = parsed(line);
  if (!fields) return undefined;
  return ofAgent(fields) ?? ofAny(fields);
}

function parsed(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) && Object.keys(value).length > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The messages of agents whose content comes in blocks: `{"type": "assistant", "message": {"content": [...]}}`. */
function ofAgent(fields: Fields): Event | undefined {
  const message = isFields(fields.message) ? fields.message : undefined;
  const blocks = Array.isArray(message?.content) ? message.content.filter(isFields) : [];
  if (blocks.length === 0) return undefined;
  const said = blocks.map((block) => {
    if (typeof block.text === "string") return block.text;
    if (typeof block.thinking === "string") return block.thinking;
    if (block.type === "tool_use") return `${String(block.name)} ${written(block.input)}`;
    if (block.type === "tool_result") return written(block.content);
    return written(block);
  });
  const label = blocks.some((block) => block.type === "tool_use") ? "tool" : String(fields.type ?? "message");
  return { label, level: "", text: oneLine(said.join(" ")), fields: [] };
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
  const shown = rest.slice(0, MOST_FIELDS).map(([name, value]): [string, string] => [name, cut(written(value))]);
  if (rest.length > MOST_FIELDS) shown.push(["…", `${rest.length - MOST_FIELDS} more`]);
  return { label, level, text: oneLine(text), fields: shown };
}

function levelOf(word: string): Event["level"] {
  const name = word.toLowerCase();
  if (["error", "fatal", "critical", "err", "panic"].includes(name)) return "error";
  if (name.startsWith("warn")) return "warn";
  if (name === "debug" || name === "trace") return "debug";
  return name === "" ? "" : "info";
}

function written(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

function cut(text: string): string {
  const line = oneLine(text);
  return line.length > MOST_VALUE ? `${line.slice(0, MOST_VALUE)}…` : line;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** The raw form, for reading. */
export function pretty(line: string): string {
  try {
    return JSON.stringify(JSON.parse(line), null, 2);
  } catch {
    return line;
  }
}
