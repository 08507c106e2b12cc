// Served accuracy over time, with the drift alarms and the changes of the model that came meanwhile.
import { count, cut, day, local, percent } from "../core/format.js";
import { Chart } from "./chart.js";
import { plain } from "./plotly.js";

const MARKED = new Set(["release", "promote", "rollback"]);

export class AccuracyChart {
  constructor(container, name, kind) {
    this.chart = new Chart(container, name, kind);
  }

  /**
   * @param {Array} buckets of GET /v1/quality/history, in any order
   * @param {Array} alarms of GET /v1/alarms
   * @param {Array} changes of GET /v1/models/history
   */
  show(buckets, alarms, changes) {
    const ordered = [...buckets].sort((one, other) => one.start - other.start);
    const marks = marksOf(ordered, alarms, changes);
    const last = ordered.at(-1);
    const events = marks.map((mark) => `${day(mark.time)} ${mark.text}`).join("; ");
    this.chart.show({
      summary: `last ${percent(last?.accuracy)} of ${count(last?.labels)} labels. ${events ? `Marked: ${events}` : "No alarm and no change of the model in this time"}`,
      make: (look) => drawn(ordered, marks, look),
      columns: [{ name: "from" }, { name: "labels", number: true }, { name: "right", number: true }, { name: "accuracy", number: true }, { name: "what happened" }],
      rows: () => rowsOf(ordered, marks),
    });
  }
}

function marksOf(buckets, alarms, changes) {
  if (!buckets.length) return [];
  const from = buckets[0].start;
  const raised = alarms.map((alarm) => ({ kind: "alarm", time: alarm.time, text: `drift alarm ${alarm.drift.number}`,
    more: `errors ${percent(alarm.drift.errors_before, 0)} → ${percent(alarm.drift.errors_after, 0)}` }));
  const changed = changes.filter((change) => MARKED.has(change.kind) && !change.what.includes("shadow"))
    .map((change) => ({ kind: "change", time: change.time, text: change.what, more: `by ${change.by}${change.why ? `: ${change.why}` : ""}` }));
  return [...raised, ...changed].filter((mark) => mark.time >= from).sort((one, other) => one.time - other.time).slice(-60);
}

function drawn(buckets, marks, look) {
  const scored = buckets.filter((bucket) => bucket.labels > 0);
  const least = Math.min(1, ...scored.map((bucket) => bucket.accuracy));
  const low = Math.max(0, Math.floor((least - 0.05) * 10) / 10);
  const most = Math.max(1, ...scored.map((bucket) => bucket.labels));
  const line = {
    type: "scatter", mode: "lines+markers", name: "served accuracy",
    x: scored.map((bucket) => local(bucket.start)), y: scored.map((bucket) => bucket.accuracy),
    text: scored.map((bucket) => `${day(bucket.start)}<br>${percent(bucket.accuracy)} of ${count(bucket.labels)} labels`), hoverinfo: "text",
    line: { color: look.colour("--c0"), width: 2 },
    marker: { color: look.colour("--c0"), size: scored.map((bucket) => 3 + 4 * Math.sqrt(bucket.labels / most)) },
  };
  const paint = { alarm: look.colour("--bad"), change: look.colour("--good") };
  const signs = ["alarm", "change"].map((kind) => {
    const these = marks.filter((mark) => mark.kind === kind);
    return {
      type: "scatter", mode: "markers", name: kind === "alarm" ? "drift alarm" : "change of the model", showlegend: these.length > 0,
      x: these.map((mark) => local(mark.time)), y: these.map(() => 1), cliponaxis: false,
      text: these.map((mark) => `${day(mark.time)} ${plain(cut(mark.text, 80))}<br>${plain(cut(mark.more, 80))}`), hoverinfo: "text",
      marker: { color: paint[kind], size: 9, symbol: kind === "alarm" ? "triangle-down" : "diamond" },
    };
  });
  const shapes = marks.map((mark) => ({
    type: "line", xref: "x", yref: "paper", x0: local(mark.time), x1: local(mark.time), y0: 0, y1: 1,
    line: { color: paint[mark.kind], width: 1.3, dash: mark.kind === "alarm" ? "dot" : "solid" },
  }));
  return {
    traces: [line, ...signs],
    layout: {
      ...look.layout, shapes, showlegend: marks.length > 0, hovermode: "closest",
      xaxis: { ...look.time },
      yaxis: { ...look.axis, tickformat: ".0%", range: [low, 1.02] },
    },
  };
}

function rowsOf(buckets, marks) {
  return buckets.map((bucket, place) => {
    const until = buckets[place + 1]?.start ?? Infinity;
    const happened = marks.filter((mark) => mark.time >= bucket.start && mark.time < until).map((mark) => mark.text).join("; ");
    return [day(bucket.start), count(bucket.labels), count(bucket.correct), percent(bucket.accuracy), happened];
  }).reverse();
}
