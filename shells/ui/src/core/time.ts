// Times and durations as people read them. The clock's time comes in.

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${(Math.floor(seconds * 10) / 10).toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const pad = (number: number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${pad(Math.floor(seconds % 60))} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A duration that may be much less than a second. */
export function brief(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : duration(milliseconds);
}

/** Bytes in the unit in which they are read at a glance. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let number = bytes;
  for (; number >= 1024 && unit < units.length - 1; unit++) number /= 1024;
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

/** How long ago, roughly. */
export function ago(at: number, now: number): string {
  const seconds = Math.max(0, now - at) / 1000;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

const pad = (number: number, width = 2) => String(number).padStart(width, "0");

/** The time of day, to the millisecond. */
export function clock(at: number): string {
  const date = new Date(at);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** Date and time of day. */
export function moment(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(at).slice(0, 8)}`;
}

/** A time after another, to the millisecond: `+1:02.345`. */
export function since(milliseconds: number): string {
  const [sign, all] = [milliseconds < 0 ? "-" : "+", Math.abs(milliseconds)];
  const [hours, minutes] = [Math.floor(all / 3_600_000), Math.floor(all / 60_000) % 60];
  const seconds = `${hours > 0 || minutes > 0 ? pad(Math.floor(all / 1000) % 60) : Math.floor(all / 1000)}.${pad(all % 1000, 3)}`;
  if (hours > 0) return `${sign}${hours}:${pad(minutes)}:${seconds}`;
  return minutes > 0 ? `${sign}${minutes}:${seconds}` : `${sign}${seconds}`;
}
