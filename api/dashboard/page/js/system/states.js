// How many labels are in each state, and what the states mean.
import { el, fill, table } from "../core/dom.js";
import { count } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { throttled } from "../core/throttle.js";
import { newest } from "../overview/counts.js";
import { quality } from "../overview/figures.js";
import { STATES, statePill } from "../predictions/states.js";

export function startStates() {
  const panel = new Panel("states");
  const draw = throttled(() => {
    const states = newest.get()?.label_states ?? quality.get()?.label_states;
    if (!states) return;
    panel.ok();
    const rows = Object.entries(STATES).map(([state, { means }]) => [statePill(state), count(states[state] ?? 0), el("span", { class: "quiet" }, means)]);
    fill(panel.content, table([{ name: "state" }, { name: "labels", number: true }, { name: "means" }], rows, { caption: "Labels by state" }));
  });
  newest.watch(draw);
  quality.watch(draw);
}
