// The addresses of the page: what each shows, and back. Addresses of tasks are those of the API, so either can be shared.

import { type LetterFilters, readLetterFilters } from "./letters";
import { type Filters, NO_FILTERS } from "./list";

export type Route =
  | { name: "tasks"; filters: Filters }
  | { name: "new"; from: string }
  | { name: "cluster" }
  | { name: "letters"; filters: LetterFilters }
  | { name: "task"; id: string; lines: { from: number; to: number } | undefined }
  | { name: "nowhere"; path: string };

export function readRoute(url: URL): Route {
  const segments = url.pathname.split("/").filter((segment) => segment !== "");
  if (segments.length === 0 || (segments.length === 1 && segments[0] === "tasks")) {
    return { name: "tasks", filters: readFilters(url.searchParams) };
  }
  if (segments.length === 1 && segments[0] === "new") return { name: "new", from: url.searchParams.get("from") ?? "" };
  if (segments.length === 1 && segments[0] === "cluster") return { name: "cluster" };
  if (segments.length === 1 && segments[0] === "dead-letters") {
    return { name: "letters", filters: readLetterFilters(url.searchParams) };
  }
  if (segments.length === 2 && segments[0] === "tasks" && segments[1] !== undefined) {
    return { name: "task", id: decoded(segments[1]), lines: readLines(url.hash) };
  }
  return { name: "nowhere", path: url.pathname };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function readFilters(query: URLSearchParams): Filters {
  const one = (name: string) => query.get(name) ?? "";
  return {
    statuses: query.getAll("status"),
    project: one("project"),
    type: one("type"),
    q: one("q"),
    cursor: one("cursor"),
  };
}

/** The query of these filters, for the address and for the API alike. */
export function writeFilters(filters: Filters): string {
  const query = new URLSearchParams();
  for (const status of filters.statuses) query.append("status", status);
  for (const name of ["project", "type", "q", "cursor"] as const) {
    if (filters[name] !== "") query.set(name, filters[name]);
  }
  return query.size > 0 ? `?${query}` : "";
}

export function listAddress(filters: Filters = NO_FILTERS): string {
  return `/${writeFilters(filters)}`;
}

export function taskAddress(id: string): string {
  return `/tasks/${encodeURIComponent(id)}`;
}

/** Lines are counted from 1, by people; positions from 0. */
function readLines(hash: string): { from: number; to: number } | undefined {
  const found = /^#L(\d{1,9})(?:-L?(\d{1,9}))?$/.exec(hash);
  if (!found) return undefined;
  const [first, second] = [Number(found[1]), Number(found[2] ?? found[1])];
  const [from, to] = [Math.min(first, second), Math.max(first, second)];
  return from >= 1 ? { from: from - 1, to: to - 1 } : undefined;
}

export function writeLines(from: number, to: number): string {
  return from === to ? `#L${from + 1}` : `#L${from + 1}-L${to + 1}`;
}
