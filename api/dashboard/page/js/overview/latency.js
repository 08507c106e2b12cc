// From event to prediction: the middle and the slow end, second by second, of the predictions that the page has seen.
import { Chart } from "../charts/chart.js";
import { clock, duration, local, quantile } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { Value } from "../core/value.js";
import { throttled } from "../core/throttle.js";
import { onRecent } from "./recent.js";

const KEPT_MS = 600_000;
const WIDTH_MS = 5_000;
const MOST_SAMPLES = 400;

/** `{middle, slow, slowest}` in ms of the last seconds, or null. */
export const latency = new Value(null);
let slots = [];

export function startLatency() {
  const panel = new Panel("latency");
  const chart = new Chart(panel.content, "Latency");
  const draw = throttled(() => {
    const points = pointsOf();
    latency.set(points.length ? now(points) : null);
    if (!points.length) {
      panel.empty("No prediction has come since the page was opened.");
      return;
    }
    panel.ok();
    const last = points.at(-1);
    chart.show({
      summary: `the last of ${points.length} steps: half within ${duration(last.middle)}, 95 % within ${duration(last.slow)}`,
      make: (look) => drawn(points, look),
      columns: [{ name: "time" }, { name: "half within", number: true }, { name: "95 % within", number: true }, { name: "predictions seen", number: true }],
      rows: () => points.slice(-120).reverse().map((point) => [clock(point.time), duration(point.middle), duration(point.slow), point.n]),
    });
  });
  onRecent((fresh) => {
    if (fresh === null) slots = [];
    else fresh.forEach(take);
    draw();
  });
}

function take(prediction) {
  // The clocks of broker and jobs may differ a little: what would be negative is nothing.
  const ms = prediction.predicted_at - prediction.arrived_at;
  const start = prediction.predicted_at - (prediction.predicted_at % WIDTH_MS);
  let slot = slots.find((known) => known.start === start);
  if (!slot) {
    slot = { start, samples: [] };
    slots.push(slot);
    slots.sort((one, other) => one.start - other.start);
  }
  if (slot.samples.length < MOST_SAMPLES) slot.samples.push(Math.max(0, ms));
  else slot.samples[Math.floor(Math.random() * MOST_SAMPLES)] = Math.max(0, ms);
}

function pointsOf() {
  slots = slots.filter((slot) => slot.start > Date.now() - KEPT_MS).slice(-(KEPT_MS / WIDTH_MS));
  return slots.map((slot) => {
    const sorted = [...slot.samples].sort((one, other) => one - other);
    return { time: slot.start + WIDTH_MS / 2, middle: quantile(sorted, 0.5), slow: quantile(sorted, 0.95), n: sorted.length };
  });
}

function now(points) {
  const recent = slots.slice(-3).flatMap((slot) => slot.samples).sort((one, other) => one - other);
  return { middle: quantile(recent, 0.5), slow: quantile(recent, 0.95), slowest: recent.at(-1), time: points.at(-1).time };
}

function drawn(points, look) {
  const line = (name, of, colour, dash) => ({
    type: "scatter", mode: points.length < 3 ? "lines+markers" : "lines", name, line: { color: look.colour(colour), width: 1.8, dash },
    x: points.map((point) => local(point.time)), y: points.map((point) => point[of]),
    text: points.map((point) => `${clock(point.time)}<br>${name} ${duration(point[of])}`), hoverinfo: "text",
  });
  return {
    traces: [line("half within", "middle", "--c0"), line("95 % within", "slow", "--c1", "4px,3px")],
    layout: {
      ...look.layout, hovermode: "x", showlegend: true,
      xaxis: { ...look.time, showgrid: false },
      yaxis: { ...look.axis, rangemode: "tozero", nticks: 5, ticksuffix: " ms" },
    },
  };
}
