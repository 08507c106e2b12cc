// Throughput over time: by the buckets of the API, and by the second from the live stream.
import { Chart } from "../charts/chart.js";
import { day, local, rate } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { throttled } from "../core/throttle.js";
import { buckets, newest, rates } from "./counts.js";
import { range, WIDTHS } from "./range.js";

export function startThroughput() {
  const panel = new Panel("throughput");
  const chart = new Chart(panel.content, "Throughput");
  const draw = throttled(() => {
    const known = buckets.get();
    if (!known) return;
    if (known.error) {
      panel.trouble(known.error);
      return;
    }
    const points = pointsOf(known);
    if (!points.length) {
      panel.empty("Nothing was predicted in this time.");
      return;
    }
    panel.ok();
    const values = points.map((point) => point.rate);
    chart.show({
      summary: `now ${rate(newest.get()?.per_second)} a second; between ${rate(Math.min(...values))} and ${rate(Math.max(...values))} in the last ${known.range.name}`,
      make: (look) => drawn(points, known.range, look),
      columns: [{ name: "time" }, { name: "predictions a second", number: true }],
      rows: () => points.slice(-120).reverse().map((point) => [day(point.time), rate(point.rate)]),
    });
  });
  buckets.watch(draw);
  newest.watch(draw);
}

function pointsOf({ buckets: found, range: chosen }) {
  const half = WIDTHS[chosen.granularity] / 2;
  const points = found.map((bucket) => ({ time: Math.min(Date.now(), bucket.start + half), rate: bucket.total / bucket.seconds }));
  if (range.get() !== "minutes" || !rates.length) return points;
  // Where the stream is known by the second, that is shown in place of the minutes.
  // It speaks only when something changes: what it said last holds until now.
  return [...points.filter((point) => point.time < rates[0].time), ...rates, { time: Date.now(), rate: rates.at(-1).rate }];
}

function drawn(points, chosen, look) {
  const fill = look.colour("--c0").replace("rgb(", "rgba(").replace(")", ", 0.14)");
  const now = Date.now();
  return {
    traces: [{
      type: "scatter", mode: points.length < 3 ? "lines+markers" : "lines", fill: "tozeroy", fillcolor: fill, line: { color: look.colour("--c0"), width: 1.8 },
      x: points.map((point) => local(point.time)), y: points.map((point) => point.rate),
      text: points.map((point) => `${day(point.time)}<br>${rate(point.rate)} a second`), hoverinfo: "text",
    }],
    layout: {
      ...look.layout, showlegend: false, hovermode: "x",
      xaxis: { ...look.time, range: [local(now - chosen.ms), local(now)], showgrid: false },
      yaxis: { ...look.axis, rangemode: "tozero", nticks: 5 },
    },
  };
}
