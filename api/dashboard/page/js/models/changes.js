// What was changed, by whom, and why; and what was refused.
import { get } from "../core/api.js";
import { el, fill, table } from "../core/dom.js";
import { count, cut, full } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";

export function startChanges() {
  const panel = new Panel("changes");
  poll(() => panel.filled(async () => {
    const { changes } = await get("/v1/models/history", { limit: 50 });
    if (!changes.length) {
      panel.empty("The first line has served from the beginning. A release, a promotion or a rollback will be listed here.");
      return;
    }
    panel.ok();
    const rows = changes.map((change) => [
      count(change.seq), full(change.time), el("span", { class: change.kind === "refusal" ? "bad" : "" }, change.what),
      el("span", { class: "breaks" }, change.command_id ? cut(change.by, 60) : `${cut(change.by, 60)} (by itself)`), el("span", { class: "breaks" }, cut(change.why, 300)),
    ]);
    fill(panel.content, el("div", { class: "scroll" }, table([{ name: "seq" }, { name: "when" }, { name: "what" }, { name: "who" }, { name: "why" }], rows, { caption: "Changes of the model", kind: "table-cards" })));
  }), 4000, ["models"]);
  task.watch(() => panel.empty("…"));
}
