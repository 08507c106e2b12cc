// The figures at the top: what matters, at one glance.
import { get } from "../core/api.js";
import { byId, el, fill } from "../core/dom.js";
import { ago, count, decimal, duration, NONE, percent, rate, short } from "../core/format.js";
import { onLive } from "../core/live.js";
import { poll } from "../core/poll.js";
import { live, task } from "../core/state.js";
import { throttled } from "../core/throttle.js";
import { Value } from "../core/value.js";
import { newest } from "./counts.js";
import { latency } from "./latency.js";

/** The newest answer of GET /v1/quality. */
export const quality = new Value(null);
let receivedAt = 0;

export function startFigures() {
  const draw = throttled(() => fill(byId("figures"), figures().map(([name, value, more]) => one(name, value, more))));
  for (const value of [newest, latency, quality]) value.watch(draw);
  onLive("quality", (found) => {
    if (!task.get() || found.task === task.get()) took(found);
  });
  poll(async () => {
    if (live.get() === "live" && quality.get()) return;
    took(await get("/v1/quality"));
  }, 3000, ["overview", "quality", "models", "system"]);
  setInterval(() => { if (!document.hidden) draw(); }, 5000);
  task.watch(() => quality.set(null));
  draw();
}

function took(found) {
  receivedAt = Date.now();
  quality.set(found);
}

/** Return one figure for a list of figures. */
export function one(name, value, more) {
  return el("div", {}, el("dt", {}, name), el("dd", { class: "value" }, value), el("dd", { class: "more" }, more || " "));
}

function figures() {
  const counts = newest.get();
  const found = quality.get();
  const states = counts?.label_states ?? found?.label_states ?? {};
  const delay = latency.get();
  const model = found?.model;
  return [
    ["Predictions a second", rate(counts?.per_second), counts ? `${count(counts.total)} in all` : ""],
    ["Latency, half within", delay ? duration(delay.middle) : NONE, delay ? `95 % within ${duration(delay.slow)}` : ""],
    ["Served accuracy", percent(found?.window?.accuracy), windowText(found)],
    ["Labels learned", short(counts || found ? (states.trained ?? 0) + (states.corrected ?? 0) : null), `${count(states.waiting ?? 0)} waiting for their event`],
    ["Model", model ? [model.line, " ", el("small", {}, `seq ${count(model.seq)}`)] : NONE, model ? `learned ${agoOf(model)}` : "has learned nothing yet"],
    ["Drift alarms", found ? count(found.alarms) : NONE, alarmText(found?.last_alarm)],
  ];
}

function agoOf(model) {
  // By the API's clock, plus what has passed here since: clocks of two machines differ.
  return ago(Date.now() - model.age_ms - (Date.now() - receivedAt));
}

function windowText(found) {
  if (!found?.window) return "no label has scored yet";
  return `last ${count(found.window.labels)} labels; macro-F1 ${decimal(found.window.macro_f1, 2)}`;
}

function alarmText(last) {
  return last ? `last: errors ${percent(last.errors_before, 0)} → ${percent(last.errors_after, 0)}` : "none so far";
}
