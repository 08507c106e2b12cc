// A chart with its figures as a table beside it. It draws once a second at most, and only while it can be seen.
import { el, fill, say, table } from "../core/dom.js";
import { view } from "../core/state.js";
import { colour, colours } from "../core/theme.js";
import { throttled } from "../core/throttle.js";
import { plotly } from "./plotly.js";

const CONFIG = { displayModeBar: false, responsive: false, showTips: false, scrollZoom: false, doubleClick: false };

export class Chart {
  #wanted = null;
  #drawn = false;
  #draw = throttled(() => this.#now());

  /**
   * @param {HTMLElement} container
   * @param {string} name what the chart is called, for readers
   * @param {string} kind of height: "", "tall" or "square"
   */
  constructor(container, name, kind = "") {
    this.name = name;
    this.plot = el("div", { class: `plot ${kind}`, role: "img", "aria-label": name });
    this.holder = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${name}: table` });
    this.data = el("details", { class: "data", on: { toggle: () => this.#tell() } }, el("summary", {}, "As a table"), this.holder);
    container.append(el("figure", {}, this.plot, this.data));
    new ResizeObserver(() => this.#resize()).observe(this.plot);
    view.watch(() => this.#draw());
    colours.watch(() => this.#draw());
  }

  /**
   * Show something. `make` is called when it is drawn, with the look of the theme, and returns `{traces, layout}`.
   * @param {{make: function, summary: string, columns: Array, rows: function}} wanted
   */
  show(wanted) {
    this.#wanted = wanted;
    this.#draw();
  }

  async #now() {
    if (!this.#wanted || !this.plot.offsetParent) return;
    const { make, summary } = this.#wanted;
    this.plot.setAttribute("aria-label", `${this.name}: ${summary}`);
    this.#tell();
    try {
      const library = await plotly();
      const { traces, layout } = make(look());
      await library.react(this.plot, traces, { ...layout, width: this.plot.clientWidth, height: this.plot.clientHeight }, CONFIG);
      this.#drawn = true;
    } catch (error) {
      console.error(error);
      if (!this.#drawn) say(this.plot, "The chart cannot be drawn; its figures are in the table.");
    }
  }

  #resize() {
    if (this.plot.offsetParent) this.#draw();
  }

  #tell() {
    if (!this.data.open || !this.#wanted) return;
    fill(this.holder, table(this.#wanted.columns, this.#wanted.rows(), { caption: this.name }));
  }
}

/** What a chart looks like now: colours as the theme has them, and the layout that all charts share. */
function look() {
  const [ink, soft, grid, card, edge] = ["--ink", "--soft", "--grid", "--card", "--edge-strong"].map(colour);
  const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, tickfont: { color: soft }, automargin: true, fixedrange: true, title: { font: { color: soft, size: 11.5 } } };
  const time = { ...axis, type: "date", tickformatstops: [
    { dtickrange: [null, 59_999], value: "%H:%M:%S" }, { dtickrange: [60_000, 1_800_000], value: "%H:%M" },
    { dtickrange: [1_800_001, 86_399_999], value: "%H:%M\n%-d %b" }, { dtickrange: [86_400_000, null], value: "%-d %b\n%Y" },
  ] };
  const layout = {
    margin: { l: 8, r: 10, t: 8, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 11.5, color: soft },
    hoverlabel: { bgcolor: card, bordercolor: edge, font: { color: ink, size: 12 }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: ink, size: 11.5 }, itemclick: false, itemdoubleclick: false },
    dragmode: false,
    uirevision: "same",
  };
  return { layout, axis, time, colour, ink, soft, grid, card };
}
