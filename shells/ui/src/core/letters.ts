// Dead letters as the API tells them, and the addresses of their lists.

export interface Letter {
  id: string;
  project: string | null;
  type: string | null;
  reason: string;
  attempts: number;
  at: string;
  redrivable: boolean;
  redriven_as: string | null;
}

export interface LetterPage {
  dead_letters: Letter[];
  next_cursor: string | null;
  unlisted: number;
}

export interface LetterFilters {
  reason: string;
  project: string;
  type: string;
  cursor: string;
}

export const NO_LETTER_FILTERS: LetterFilters = { reason: "", project: "", type: "", cursor: "" };

const NAMES = ["reason", "project", "type", "cursor"] as const;

export function readLetterFilters(query: URLSearchParams): LetterFilters {
  const [reason, project, type, cursor] = NAMES.map((name) => query.get(name) ?? "") as [
    string,
    string,
    string,
    string,
  ];
  return { reason, project, type, cursor };
}

/** The address of a list, for the page and for the API alike. */
export function lettersAddress(filters: LetterFilters = NO_LETTER_FILTERS, limit?: number): string {
  const query = new URLSearchParams();
  for (const name of NAMES) if (filters[name] !== "") query.set(name, filters[name]);
  if (limit !== undefined) query.set("limit", String(limit));
  return query.size > 0 ? `/dead-letters?${query}` : "/dead-letters";
}
