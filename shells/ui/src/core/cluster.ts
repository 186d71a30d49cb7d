// The cluster as the API tells it, and what a person wants to read of it.

/** What every process says of itself. */
export interface Member {
  id: string;
  name?: string;
  host: string;
  version: string;
  started_at: string;
  last_seen: string;
  lost: boolean;
  draining: boolean;
  slots?: number;
  running?: number;
  runs?: { task_id: string; attempt: number }[];
  claims?: Claim[];
}

/** A partition that a worker holds, and its tasks. */
export interface Claim {
  partition: number;
  watermark: number;
  running: number;
  /** Those included that wait for their next attempt. */
  waiting: number;
  retrying?: number;
  leaving: boolean;
}

export interface Partition {
  partition: number;
  end: number;
  watermark: number | null;
  open: number | null;
  running: number;
  worker: string | null;
}

export interface Step {
  accepted: number;
  begun: number;
  done: number;
  failed: number;
  stopped: number;
  lines: number;
  waited_p50_ms: number | null;
  waited_p95_ms: number | null;
}

export interface Cluster {
  at: string;
  workers: Member[];
  apis: Member[];
  partitions: Partition[];
  pulse: { step_s: number; steps: Step[] };
}

/** What people call a process: its name, or where it is and the beginning of its id. */
export function callOf(member: Member): string {
  return member.name || `${member.host || "unnamed"} ${member.id.slice(0, 6)}`;
}

export type State = "live" | "draining" | "lost";

export function stateOf(member: Member): State {
  if (member.lost) return "lost";
  return member.draining ? "draining" : "live";
}

/** The partitions of a worker in few words: `0-3, 7`. */
export function ranges(numbers: number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let at = 0; at < sorted.length; at++) {
    const first = at;
    while (sorted[at + 1] === (sorted[at] as number) + 1) at++;
    parts.push(first === at ? `${sorted[at]}` : `${sorted[first]}-${sorted[at]}`);
  }
  return parts.join(", ");
}

/** A strip of bars: what is counted in each step, and how high that is of the highest, from 0 to 1. */
export interface Strip {
  values: (number | null)[];
  heights: number[];
  most: number;
}

export function strip(values: (number | null)[]): Strip {
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  return { values, heights: values.map((value) => (most === 0 ? 0 : (value ?? 0) / most)), most };
}

/** How many a second, over the last whole minute that the steps hold; the one that is going on does not count. */
export function rate(values: number[], stepSeconds: number): number {
  const steps = Math.max(1, Math.round(60 / stepSeconds));
  const whole = values.slice(0, -1).slice(-steps);
  return whole.length === 0 ? 0 : whole.reduce((sum, value) => sum + value, 0) / (whole.length * stepSeconds);
}

/** A number that is read at a glance: `0.03`, `4.1`, `120`, `12 k`. */
export function short(value: number): string {
  if (value < 10 && Number.isInteger(value)) return String(value);
  if (value < 1) return value.toFixed(2);
  if (value < 10) return value.toFixed(1);
  if (value < 10_000) return Math.round(value).toLocaleString("en");
  if (value < 10_000_000) return `${Math.round(value / 1000).toLocaleString("en")} k`;
  return `${Math.round(value / 1_000_000).toLocaleString("en")} M`;
}

/** What is wrong with the cluster, the worst first, in sentences. */
export function troubles(cluster: Cluster): string[] {
  const found: string[] = [];
  const live = cluster.workers.filter((worker) => !worker.lost);
  const open = cluster.partitions.reduce((sum, partition) => sum + (partition.open ?? 0), 0);
  if (live.length === 0) {
    found.push(open > 0 ? "No worker is there: tasks wait, and none will begin." : "No worker is there.");
  }
  for (const worker of cluster.workers.filter((worker) => worker.lost)) {
    found.push(`Worker ${callOf(worker)} has not been heard of for a while: it is dead, or cut off from the log.`);
  }
  const orphans = cluster.partitions.filter((partition) => partition.worker === null).map((one) => one.partition);
  if (live.length > 0 && orphans.length > 0) {
    const [what, are, its] = orphans.length === 1 ? ["Partition", "is", "its"] : ["Partitions", "are", "their"];
    found.push(`${what} ${ranges(orphans)} ${are} held by no worker that was heard of: ${its} tasks wait.`);
  }
  return found;
}
