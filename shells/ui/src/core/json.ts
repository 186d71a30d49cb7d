// Values that came as JSON, written in few words. They may be anything; nothing is taken for granted of them.

export type Fields = Record<string, unknown>;

/** A longer value is cut: it stands in one line of many. */
const MOST_VALUE = 160;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

/** A text that is there and says something. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function written(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

export function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** On one line, and not too long. */
export function brief(value: unknown): string {
  const line = oneLine(written(value));
  return line.length > MOST_VALUE ? `${line.slice(0, MOST_VALUE)}…` : line;
}

export function fieldOf(name: string, value: unknown): [string, string] {
  return [name, brief(value)];
}
