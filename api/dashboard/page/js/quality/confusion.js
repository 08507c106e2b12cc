// Which label is taken for which: truth by row, served label by column.
import { Chart } from "../charts/chart.js";
import { plain } from "../charts/plotly.js";
import { get } from "../core/api.js";
import { count, cut, percent } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";

const LIMIT = 30;
const LETTERED = 12;
const REST = "other labels";

export function startConfusion() {
  const panel = new Panel("confusion");
  const chart = new Chart(panel.content, "Confusion", "square");
  poll(() => panel.filled(async () => {
    const found = await get("/v1/quality/confusion", { limit: LIMIT });
    if (!found.cells.length) {
      panel.empty("No label has scored a prediction yet.");
      return;
    }
    panel.ok();
    panel.note.textContent = `rows: the truth; columns: what was served; ${found.model.line} at seq ${count(found.model.seq)}`;
    const matrix = matrixOf(found);
    const worst = mistakes(found.cells)[0];
    chart.show({
      summary: worst ? `most often ${worst.label || "no class"} was served for ${worst.truth}, ${count(worst.count)} times` : "no mistake so far",
      make: (look) => drawn(matrix, look),
      columns: [{ name: "truth" }, { name: "served" }, { name: "labels", number: true }],
      rows: () => [...found.cells].sort((one, other) => other.count - one.count).slice(0, 200).map((cell) => [cell.truth, cell.label || "no class yet", count(cell.count)]),
    });
  }), 8000, ["quality"]);
  task.watch(() => panel.empty("…"));
}

const mistakes = (cells) => cells.filter((cell) => cell.truth !== cell.label).sort((one, other) => other.count - one.count);

function matrixOf({ labels, cells }) {
  const names = [...labels];
  for (const { truth, label } of cells) for (const name of [truth, label ?? ""]) if (!names.includes(name)) names.push(name);
  const at = new Map(names.map((name, place) => [name, place]));
  const counts = names.map(() => names.map(() => 0));
  for (const cell of cells) counts[at.get(cell.truth)][at.get(cell.label ?? "")] += cell.count;
  const totals = counts.map((row) => row.reduce((all, n) => all + n, 0));
  const used = names.map((_, place) => totals[place] > 0);
  const served = names.map((_, place) => counts.some((row) => row[place] > 0));
  return { names, counts, totals, rows: names.map((_, place) => place).filter((place) => used[place]), columns: names.map((_, place) => place).filter((place) => served[place] || used[place]) };
}

function drawn({ names, counts, totals, rows, columns }, look) {
  const shown = (place) => plain(cut(names[place] === "" ? "no class yet" : names[place] || REST, 18));
  const share = (row, column) => (totals[row] ? counts[row][column] / totals[row] : 0);
  const few = columns.length <= LETTERED;
  return {
    traces: [{
      type: "heatmap", xgap: 1, ygap: 1, showscale: false, zmin: 0, zmax: 1,
      x: columns.map((_, place) => place), y: rows.map((_, place) => place),
      z: rows.map((row) => columns.map((column) => share(row, column))),
      text: rows.map((row) => columns.map((column) => (few && counts[row][column] ? count(counts[row][column]) : ""))),
      texttemplate: few ? "%{text}" : undefined,
      hovertext: rows.map((row) => columns.map((column) => `truth ${shown(row)}<br>served ${shown(column)}<br>${count(counts[row][column])} labels, ${percent(share(row, column))} of the truth`)),
      hoverinfo: "text",
      colorscale: [[0, look.colour("--heat-0")], [1, look.colour("--heat-1")]],
    }],
    layout: {
      ...look.layout, showlegend: false,
      xaxis: { ...look.axis, tickmode: "array", tickvals: columns.map((_, place) => place), ticktext: columns.map(shown), tickangle: -40, showgrid: false, side: "bottom" },
      yaxis: { ...look.axis, tickmode: "array", tickvals: rows.map((_, place) => place), ticktext: rows.map(shown), autorange: "reversed", showgrid: false },
    },
  };
}
