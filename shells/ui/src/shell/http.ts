// Calls the API. Every failure comes back as a `Failure`, whatever it was that failed.

import type { Failure } from "../core/machine";

/** How long an answer may take, in milliseconds. */
const ANSWERED_WITHIN = 15_000;

export type Answer<T> = { ok: true; value: T; headers: Headers; status: number } | { ok: false; failure: Failure };

export async function call<T>(path: string, options: RequestInit = {}): Promise<Answer<T>> {
  try {
    const response = await fetch(path, {
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWERED_WITHIN),
      ...options,
    });
    if (response.status === 304) return { ok: true, value: undefined as T, headers: response.headers, status: 304 };
    const body: unknown = await response.json();
    if (response.ok) return { ok: true, value: body as T, headers: response.headers, status: response.status };
    return { ok: false, failure: failureOf(response, body) };
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    const detail = late ? "the server did not answer in time" : "the server can't be reached";
    return { ok: false, failure: { status: 0, title: "No answer", detail, errors: [] } };
  }
}

function failureOf(response: Response, body: unknown): Failure {
  const problem = (typeof body === "object" && body !== null ? body : {}) as Partial<Failure>;
  const failure: Failure = {
    status: response.status,
    title: problem.title ?? response.statusText,
    detail: problem.detail ?? `the server answered ${response.status}`,
    errors: Array.isArray(problem.errors) ? problem.errors : [],
  };
  const after = Number(response.headers.get("retry-after"));
  if (after > 0) failure.retryAfter = after * 1000;
  return failure;
}

export function post<T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer<T>> {
  const options = {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  };
  return call<T>(path, options);
}
