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
