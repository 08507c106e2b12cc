// Served accuracy over the chosen range, on the overview and, larger, among the quality.
import { AccuracyChart } from "../charts/accuracy.js";
import { get } from "../core/api.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";

/**
 * @param {string} id of the card
 * @param {string} shownIn the view
 * @param {Value} range the chosen one
 * @param {function} chosen returns `{granularity, limit, ms}`
 */
export function startAccuracy(id, shownIn, range, chosen, kind = "") {
  const panel = new Panel(id);
  const chart = new AccuracyChart(panel.content, "Served accuracy", kind);
  const asked = poll(() => panel.filled(async () => {
    const { granularity, limit, ms } = chosen();
    const [history, alarms, changes] = await Promise.all([
      get("/v1/quality/history", { granularity, limit }),
      // What is marked is beside the point: the line is shown without it.
      get("/v1/alarms", { limit: 50 }).catch(() => ({ alarms: [] })),
      get("/v1/models/history", { limit: 50 }).catch(() => ({ changes: [] })),
    ]);
    const buckets = history.buckets.filter((bucket) => bucket.start >= Date.now() - ms - 86_400_000 && bucket.labels > 0);
    if (!buckets.length) {
      panel.empty("No label has scored a prediction in this time. A label is sent to POST /v1/feedback, or given on this page.");
      return;
    }
    panel.ok();
    chart.show(buckets, alarms.alarms, changes.changes);
  }), 5000, [shownIn]);
  range.watch(() => asked.now());
  task.watch(() => panel.empty("…"));
}
