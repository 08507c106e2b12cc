// The drift alarms: when the served predictions came to be wrong more often.
import { get } from "../core/api.js";
import { fill, table } from "../core/dom.js";
import { count, full, percent } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";

export function startAlarms() {
  const panel = new Panel("alarms");
  poll(() => panel.filled(async () => {
    const { alarms } = await get("/v1/alarms", { limit: 20 });
    if (!alarms.length) {
      panel.empty("None so far. An alarm says that the served predictions have come to be wrong more often.");
      return;
    }
    panel.ok();
    const rows = alarms.map(({ time, model, drift }) => [count(drift.number), full(time), `${percent(drift.errors_before)} → ${percent(drift.errors_after)}`, drift.detector, `${model.line}, seq ${count(drift.seq)}`]);
    fill(panel.content, table([{ name: "number" }, { name: "when" }, { name: "errors" }, { name: "detector" }, { name: "model" }], rows, { caption: "Drift alarms", kind: "table-cards" }));
  }), 8000, ["quality"]);
  task.watch(() => panel.empty("…"));
}
