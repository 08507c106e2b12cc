// Predictions per label over time: the most frequent labels by name, the others together.
import { Chart } from "../charts/chart.js";
import { plain } from "../charts/plotly.js";
import { count, cut, day, local, rate } from "../core/format.js";
import { colourOf, coloured, rank } from "../core/palette.js";
import { Panel } from "../core/panel.js";
import { buckets } from "./counts.js";
import { WIDTHS } from "./range.js";

export function startLabels() {
  const panel = new Panel("labels");
  const chart = new Chart(panel.content, "Predictions per label");
  buckets.watch((known) => {
    if (!known) return;
    if (known.error) {
      panel.trouble(known.error);
      return;
    }
    if (!known.buckets.length) {
      panel.empty("Nothing was predicted in this time.");
      return;
    }
    panel.ok();
    panel.note.textContent = `by ${known.range.granularity}`;
    const { names, series } = seriesOf(known.buckets);
    chart.show({
      summary: names.slice(0, 3).map((name) => `${name} ${count(sum(series.get(name)))}`).join(", "),
      make: (look) => drawn(known, names, series, look),
      columns: [{ name: "from" }, ...names.map((name) => ({ name: cut(name, 30), number: true }))],
      rows: () => known.buckets.map((bucket, place) => [day(bucket.start), ...names.map((name) => count(series.get(name)[place]))]).reverse(),
    });
  });
}

const sum = (values) => values.reduce((all, value) => all + value, 0);
const REST = "other labels";
const NO_CLASS = "no class yet";

function seriesOf(found) {
  const totals = new Map();
  for (const bucket of found) for (const [label, n] of Object.entries(bucket.counts)) totals.set(label, (totals.get(label) ?? 0) + n);
  rank(Object.fromEntries(totals));
  const named = coloured().filter((label) => totals.has(label)).sort((one, other) => totals.get(other) - totals.get(one));
  const series = new Map(named.map((label) => [label, found.map((bucket) => bucket.counts[label] ?? 0)]));
  const rest = found.map((bucket) => bucket.total - sum(named.map((label) => bucket.counts[label] ?? 0)) - (bucket.counts[""] ?? 0));
  if (sum(rest) > 0) series.set(REST, rest);
  if (totals.has("")) series.set(NO_CLASS, found.map((bucket) => bucket.counts[""] ?? 0));
  return { names: [...series.keys()], series };
}

function drawn(known, names, series, look) {
  const width = WIDTHS[known.range.granularity];
  const now = Date.now();
  return {
    traces: names.map((name) => {
      const place = name === REST || name === NO_CLASS ? null : colourOf(name);
      return {
        type: "bar", name: plain(cut(name, 24)), x: known.buckets.map((bucket) => local(bucket.start)), y: series.get(name),
        offset: 0, width: width * 0.88,
        marker: { color: look.colour(place === null ? "--rest" : `--c${place}`), pattern: name === NO_CLASS ? { shape: "/", size: 5, solidity: 0.3 } : undefined },
        text: series.get(name).map((n, at) => `${day(known.buckets[at].start)} ${plain(cut(name, 60))}<br>${count(n)}, ${rate(n / known.buckets[at].seconds)} a second`),
        hoverinfo: "text", textposition: "none",
      };
    }),
    layout: {
      ...look.layout, barmode: "stack", showlegend: true, hovermode: "closest", legend: { ...look.layout.legend, traceorder: "normal" },
      xaxis: { ...look.time, range: [local(now - known.range.ms), local(now)], showgrid: false },
      yaxis: { ...look.axis, rangemode: "tozero", nticks: 5 },
    },
  };
}
