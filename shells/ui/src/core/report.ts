// What an agent says of its own work: how far it is, what it costs, and what came of it, made fit to be read.
// It comes from the agent: any of it may be missing, and all of its text is text alone.

/** What was said so far; what nothing was said of is not there. */
export interface Report {
  /** From 0 to 1. */
  progress?: number;
  /** What it does now, in words. */
  status?: string;
  cost_usd?: number;
  tokens?: { input?: number; output?: number };
  /** Any JSON; a list of tasks leaves it out. */
  result?: unknown;
}

/** What is known after more was said: a result may be long, and is told once. */
export function withResult(said: Report | undefined, before: Report | undefined): Report | undefined {
  if (said === undefined || said.result !== undefined || before?.result === undefined) return said;
  return { ...said, result: before.result };
}

/** What stays when a new attempt begins: what all of them have spent. */
export function anew(report: Report | undefined): Report | undefined {
  if (report?.cost_usd === undefined && report?.tokens === undefined) return undefined;
  const { cost_usd, tokens } = report;
  return { ...(cost_usd !== undefined && { cost_usd }), ...(tokens !== undefined && { tokens }) };
}

/** How far it is, from 0 to 1, whatever was said. */
export function progressOf(report: Report | undefined): number | undefined {
  const progress = report?.progress;
  return progress === undefined || Number.isNaN(progress) ? undefined : Math.min(1, Math.max(0, progress));
}

/** Rounded down, so that only what is done is at 100 %. */
export function percent(progress: number): string {
  return `${Math.floor(progress * 100 + 1e-9)} %`;
}

/** Cents, and of less than a dollar as much as tells something. */
export function money(dollars: number): string {
  if (dollars === 0 || dollars >= 1) return `$${dollars.toFixed(2)}`;
  return dollars < 0.0001 ? "< $0.0001" : `$${dollars.toFixed(4).replace(/0{1,2}$/, "")}`;
}

/** `1,234 in, 56 out` */
export function tokens(report: Report): string {
  const { input, output } = report.tokens ?? {};
  const parts: string[] = [];
  if (!input && !output) return "";
  if (input !== undefined) parts.push(`${input.toLocaleString("en")} in`);
  if (output !== undefined) parts.push(`${output.toLocaleString("en")} out`);
  return parts.join(", ");
}

/** A result as it is copied: what is text as it stands, anything else as JSON that can be read. */
export function resultText(result: unknown): string {
  return typeof result === "string" ? result : JSON.stringify(result, null, 2);
}

/** How much of a result is on show before it is opened. */
const MOST_LINES = 8;
const MOST_CHARACTERS = 1200;

/** A result as it is shown. */
export interface ResultView {
  kind: "text" | "JSON";
  /** All of it, as it is copied. */
  whole: string;
  lines: number;
  /** Its beginning, if it is too long to be shown at once. */
  beginning: string | undefined;
}

export function viewOf(result: unknown): ResultView {
  const whole = resultText(result);
  const lines = whole.replace(/\n+$/, "").split("\n");
  const beginning = lines.slice(0, MOST_LINES).join("\n").slice(0, MOST_CHARACTERS);
  const isLong = lines.length > MOST_LINES || whole.length > MOST_CHARACTERS;
  return {
    kind: typeof result === "string" ? "text" : "JSON",
    whole,
    lines: lines.length,
    beginning: isLong ? beginning : undefined,
  };
}
