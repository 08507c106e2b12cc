// The counts of the chosen range, asked for once and shown by two charts; and the counts of the live stream.
import { get } from "../core/api.js";
import { onLive } from "../core/live.js";
import { rank } from "../core/palette.js";
import { poll } from "../core/poll.js";
import { anything, live, task } from "../core/state.js";
import { Value } from "../core/value.js";
import { chosenRange, range, WIDTHS } from "./range.js";

const KEPT = 600;

/** `{range, buckets}`, oldest first, or `{error}`. */
export const buckets = new Value(null);
/** The newest `{total, counts, label_states, per_second}`. */
export const newest = new Value(null);
/** What the live stream said of the rate: `{time, rate}`, one a second, at most ten minutes of it. */
export const rates = [];

export function startCounts() {
  const asked = poll(ask, () => (chosenRange().granularity === "minute" ? 5000 : 30_000), ["overview"]);
  range.watch(() => asked.now());
  // The totals: known at once, and in place of the live stream while that is not there.
  poll(async () => {
    if (live.get() === "live" && newest.get()) return;
    const [total, minute, quality] = await Promise.all([
      get("/v1/counts", { granularity: "total", limit: 1 }),
      get("/v1/counts", { granularity: "minute", limit: 2 }),
      get("/v1/quality"),
    ]);
    const all = total.buckets[0];
    took({ total: all?.total ?? 0, counts: all?.counts ?? {}, label_states: quality.label_states, per_second: perSecond(minute.buckets, Date.now()) });
  }, 3000);
  onLive("counts", (counts) => {
    if (task.get() && counts.task !== task.get()) return;
    rates.push({ time: Date.now(), rate: counts.per_second });
    if (rates.length > KEPT) rates.splice(0, rates.length - KEPT);
    took(counts);
  });
  task.watch(() => {
    rates.length = 0;
    newest.set(null);
    anything.set(null);
    buckets.set(null);
  });
}

function took(counts) {
  rank(counts.counts);
  newest.set(counts);
  anything.set(counts.total > 0);
}

async function ask() {
  const chosen = chosenRange();
  try {
    const { buckets: found } = await get("/v1/counts", { granularity: chosen.granularity, limit: chosen.limit });
    const now = Date.now();
    const rated = found.map((bucket) => ({ ...bucket, seconds: secondsOf(bucket, chosen.granularity, now) }));
    buckets.set({ range: chosen, buckets: rated.reverse().filter((bucket) => bucket.start >= now - chosen.ms - WIDTHS[chosen.granularity]) });
  } catch (error) {
    if (error.status === undefined) throw error;
    buckets.set({ error });
    throw error;
  }
}

/** How long a window was, or has lasted so far. */
function secondsOf(bucket, granularity, now) {
  return bucket.seconds ?? Math.max(1, Math.min(WIDTHS[granularity], now - bucket.start) / 1000);
}

/** The rate now, from the newest minutes: of the one that runs if it is old enough to tell, else of the one before. */
function perSecond(minutes, now) {
  const [running, before] = minutes;
  if (!running || now - running.start > 120_000) return 0;
  const seconds = secondsOf(running, "minute", now);
  const chosen = seconds < 10 && before && now - before.start < 120_000 ? before : running;
  return chosen.total / secondsOf(chosen, "minute", now);
}
