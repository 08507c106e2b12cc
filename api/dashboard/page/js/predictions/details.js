// What an open row shows: why the label, another label for it, and all that is known of the prediction.
import { get } from "../core/api.js";
import { classInput } from "../core/class_choice.js";
import { button, el, fill } from "../core/dom.js";
import { count, cut, duration, full } from "../core/format.js";
import { reason } from "../core/panel.js";
import { classes } from "../core/state.js";
import { evidence, probabilities } from "./explanation.js";
import { statePill } from "./states.js";

const OFFERED = 8;

/** Return the inside of a row, and what tells it that the label's status has changed; `say` sends `{label}`. */
export function details(prediction, say) {
  const why = el("div", {}, el("p", { class: "said" }, "…"));
  const facts = el("dl", { class: "facts" });
  const history = el("div", {});
  const failed = el("p", { class: "said bad", role: "alert", hidden: true });
  show(prediction, facts, history);
  load(prediction, why, facts, history);
  const changed = (status) => {
    failed.hidden = status?.phase !== "failed";
    if (status?.phase === "failed") failed.textContent = status.why;
    if (status?.phase === "known") load(prediction, null, facts, history);
  };
  const node = el("div", { class: "details" },
    el("div", {},
      el("div", {}, el("h2", {}, "Why"), why),
      el("div", {}, el("h2", {}, "Probabilities"), probabilities(prediction.proba))),
    el("div", {}, el("div", {}, el("h2", {}, "Another label"), others(prediction, say), failed), history, facts));
  return { node, changed };
}

function others(prediction, say) {
  const likely = Object.keys(prediction.proba ?? {});
  const offered = [...new Set([...likely, ...classes.get()])].filter((label) => label !== prediction.label).slice(0, OFFERED);
  const { input, parts } = classInput("other-label", { "aria-label": "Another label, known or new", placeholder: "any other, or a new one", class: "grow", required: true });
  return el("div", { class: "stack" },
    el("div", { class: "chips" }, offered.map((label) => button(cut(label, 60), () => say({ label })))),
    el("form", { class: "row", on: { submit: (event) => {
      event.preventDefault();
      const label = input.value.trim();
      if (label) say({ label });
      input.value = "";
    } } }, parts, el("button", {}, "Give label")));
}

async function load(prediction, why, facts, history) {
  // Asked for only where there is a label: a 404 would be no news.
  let known = Boolean(prediction.label_state) || !why;
  try {
    const found = await get(`/v1/predictions/${encodeURIComponent(prediction.event_id)}`, why ? { explain: true } : {});
    show({ ...prediction, ...found }, facts, history);
    known ||= Boolean(found.label_state);
    if (why) fill(why, found.explanation ? evidence(found.explanation) : el("p", { class: "said" }, prediction.label === null ? "The model knew no class yet." : "This model gives no reasons."));
  } catch (error) {
    if (error.status === undefined) throw error;
    if (why) fill(why, el("p", { class: "said" }, reason(error)));
  }
  if (!known) return;
  try {
    const receipt = await get(`/v1/labels/${encodeURIComponent(prediction.event_id)}`);
    fill(history, el("h2", {}, "Labels"), el("ol", { class: "stack" }, receipt.history.slice(-6).map(step)));
  } catch (error) {
    if (error.status === undefined) throw error;
  }
}

function step({ state, seq, label, feedback, time, reason: said }) {
  const by = feedback.reviewer ?? feedback.source;
  return el("li", { class: "row small" }, statePill(state, seq), label ? el("span", { class: "breaks" }, cut(label, 60)) : null,
    el("span", { class: "quiet" }, [by && `by ${cut(by, 40)}`, full(time), said].filter(Boolean).join(" · ")));
}

function show(p, facts, history) {
  const meta = Object.entries(p.meta ?? {}).map(([name, value]) => `${cut(name, 40)}: ${cut(String(value), 80)}`).join(", ");
  const rows = [
    ["event", p.event_id], ["model", `${p.model.line}, seq ${count(p.model.seq)}, ${count(p.classes)} classes`],
    ["truth", p.truth], ["predicted", `${full(p.predicted_at)}, ${duration(Math.max(0, p.predicted_at - p.arrived_at))} after it came`],
    ["its own time", p.event_ts === p.arrived_at ? null : full(p.event_ts)],
    ["with it", meta], ["trace", p.traceparent],
  ];
  fill(facts, rows.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  if (!history.hasChildNodes() && p.label_state) fill(history, el("h2", {}, "Labels"), statePill(p.label_state, p.label_seq));
}
