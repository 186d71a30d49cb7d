// The one shape of every machine of the page: inputs with the time in, effects out, one deadline.
// Nothing in this folder may touch the network, the document, a clock or randomness: all of that comes in as values.

/** The time of an input, in milliseconds; and a random number in [0, 1) for whoever needs jitter. */
export interface Now {
  /** Never goes back. */
  mono: number;
  /** Since the Unix epoch; may jump. */
  wall: number;
  random: number;
}

export interface Machine<Input, Effect> {
  /** Takes an input in. A late or repeated one changes nothing. */
  handle(input: Input, now: Now): void;
  /** The next effect; to be drained after every input. */
  poll(): Effect | undefined;
  /** When to call `handle` with a timeout, on the monotonic clock. */
  deadline(): number | undefined;
}

/** Why a call failed, as a person can be told. */
export interface Failure {
  /** The HTTP status; 0 if there was no answer. */
  status: number;
  title: string;
  detail: string;
  /** What is wrong with which field. */
  errors: { field: string; reason: string }[];
  /** When to try again at the earliest, in milliseconds. */
  retryAfter?: number;
}

/** The first and the longest delay before the server is tried again, in milliseconds. */
const FIRST_DELAY = 400;
const LONGEST_DELAY = 15_000;

/** How long to wait before the try after `failures` of them: doubling, and spread so that not all come back at once. */
export function backOff(failures: number, random: number, atLeast = 0): number {
  const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(failures, 10));
  return Math.max(atLeast, delay * (0.5 + random / 2));
}

/** How long a connection may be down before that is worth a banner, in milliseconds. */
export const BANNER_AFTER = 2000;
