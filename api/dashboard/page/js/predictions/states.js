// The states of a label, as they are shown.
import { el } from "../core/dom.js";
import { count } from "../core/format.js";

export const STATES = {
  waiting: { kind: "warn", means: "its event is not here yet" },
  trained: { kind: "good", means: "the model has learned it" },
  duplicate: { kind: "plain", means: "the same label as before, or the same message again" },
  corrected: { kind: "good", means: "another label after the first; it is learned too" },
  marked: { kind: "bad", means: "called wrong: it counts against the prediction, and teaches nothing" },
  expired: { kind: "bad", means: "it came too long after its event" },
  orphan: { kind: "bad", means: "no such event came in time" },
  rejected: { kind: "bad", means: "it could not be read; a dead letter says why" },
};

/** The state of a label as a pill. */
export function statePill(state, seq = null) {
  const known = STATES[state];
  return el("span", { class: "pill", data: { state: known?.kind ?? "plain" }, title: known?.means }, seq ? `${state} · seq ${count(seq)}` : state);
}

/** What this page knows of a label that was given here, as a pill. */
export function statusPill(status) {
  switch (status.phase) {
    case "sending": return el("span", { class: "pill", data: { state: "warn" } }, "sending");
    case "sent": return el("span", { class: "pill", data: { state: "warn" } }, `${status.meant}: waiting`);
    case "failed": return el("span", { class: "pill", data: { state: "bad" }, title: status.why }, "not accepted");
    default: return statePill(status.state, status.seq);
  }
}
