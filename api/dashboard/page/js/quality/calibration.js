// Whether a prediction that says 80 % is right 80 times of 100.
import { Chart } from "../charts/chart.js";
import { get } from "../core/api.js";
import { count, percent } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";

export function startCalibration() {
  const panel = new Panel("calibration");
  const chart = new Chart(panel.content, "Calibration", "square");
  poll(() => panel.filled(async () => {
    const found = await get("/v1/quality/calibration");
    const bins = found.bins.filter((bin) => bin.labels > 0);
    if (!bins.length) {
      panel.empty("No label has scored a prediction yet.");
      return;
    }
    panel.ok();
    panel.note.textContent = `${count(found.labels)} labels; off by ${percent(found.ece)} in the mean (ECE)`;
    chart.show({
      summary: `confidence and accuracy differ by ${percent(found.ece)} in the mean`,
      make: (look) => drawn(bins, look),
      columns: [{ name: "confidence" }, { name: "labels", number: true }, { name: "mean confidence", number: true }, { name: "right", number: true }],
      rows: () => bins.map((bin) => [`${percent(bin.low, 0)} to ${percent(bin.high, 0)}`, count(bin.labels), percent(bin.confidence), percent(bin.accuracy)]),
    });
  }), 8000, ["quality"]);
  task.watch(() => panel.empty("…"));
}

function drawn(bins, look) {
  const most = Math.max(...bins.map((bin) => bin.labels));
  const ideal = { type: "scatter", mode: "lines", name: "ideal", x: [0, 1], y: [0, 1], hoverinfo: "skip", line: { color: look.soft, width: 1, dash: "5px,4px" } };
  const bars = {
    type: "bar", name: "share of the labels", yaxis: "y2", x: bins.map((bin) => (bin.low + bin.high) / 2), y: bins.map((bin) => bin.labels / most),
    width: bins.map((bin) => (bin.high - bin.low) * 0.9), marker: { color: look.colour("--rest"), opacity: 0.28 }, hoverinfo: "skip",
  };
  const points = {
    type: "scatter", mode: "lines+markers", name: "right", x: bins.map((bin) => bin.confidence), y: bins.map((bin) => bin.accuracy),
    text: bins.map((bin) => `said ${percent(bin.confidence)}, right ${percent(bin.accuracy)}<br>${count(bin.labels)} labels`), hoverinfo: "text",
    line: { color: look.colour("--c0"), width: 2 }, marker: { color: look.colour("--c0"), size: bins.map((bin) => 5 + 6 * Math.sqrt(bin.labels / most)) },
  };
  return {
    traces: [bars, ideal, points],
    layout: {
      ...look.layout, hovermode: "closest", barmode: "overlay",
      xaxis: { ...look.axis, range: [0, 1.02], tickformat: ".0%", title: { ...look.axis.title, text: "confidence" } },
      yaxis: { ...look.axis, range: [0, 1.04], tickformat: ".0%", title: { ...look.axis.title, text: "right" } },
      yaxis2: { overlaying: "y", range: [0, 3], visible: false, fixedrange: true },
    },
  };
}
