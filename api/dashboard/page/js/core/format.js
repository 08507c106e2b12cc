// Numbers and times as people read them. Pure.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const fullFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
export const NONE = "–";

export const count = (n) => (n === null || n === undefined ? NONE : whole.format(n));
export const short = (n) => (n === null || n === undefined ? NONE : n < 10_000 ? whole.format(n) : compact.format(n));
export const rate = (n) => (n === null || n === undefined ? NONE : n === 0 || n >= 100 ? whole.format(n) : n.toFixed(n < 10 ? 2 : 1).replace(/\.?0+$/, ""));
export const percent = (share, digits = 1) => (share === null || share === undefined ? NONE : `${(share * 100).toFixed(digits)} %`);
export const decimal = (n, digits = 3) => (n === null || n === undefined ? NONE : n.toFixed(digits));
export const signed = (n, digits = 2) => `${n < 0 ? "−" : "+"}${Math.abs(n).toFixed(digits)}`;

/** A duration of some milliseconds. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NONE;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 48 * 3_600_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** How long ago a time (epoch ms) was. */
export function ago(time, now = Date.now()) {
  if (time === null || time === undefined) return NONE;
  const past = now - time;
  return past < 1500 ? "now" : `${duration(past)} ago`;
}

export const clock = (time) => (time === null || time === undefined ? NONE : clockFormat.format(time));
export const day = (time) => (time === null || time === undefined ? NONE : dayFormat.format(time));
export const full = (time) => (time === null || time === undefined ? NONE : fullFormat.format(time));

/** A time as plotly takes it: it knows UTC only, so that what it shows is local. */
export const local = (time) => time - new Date(time).getTimezoneOffset() * 60_000;

/** A text cut to a length, at whole characters. */
export function cut(text, length) {
  const characters = Array.from(text.slice(0, 4 * length));
  return characters.length <= length && text.length <= 4 * length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

/** The quantile of sorted numbers, null of none. */
export function quantile(sorted, share) {
  if (!sorted.length) return null;
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}
