// What a reader has chosen, kept in this browser.

export interface Settings {
  theme: "auto" | "light" | "dark";
  wrap: boolean;
  times: "off" | "clock" | "start" | "last";
  events: boolean;
}

const KEY = "baton.settings";
const DEFAULTS: Settings = { theme: "auto", wrap: false, times: "off", events: true };

export function readSettings(): Settings {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return DEFAULTS;
  }
}

export function writeSettings(settings: Settings): void {
  document.documentElement.dataset.theme = settings.theme;
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Private windows have no storage: the choice holds for this visit.
  }
}
