// How each class fares: precision, recall, F1 over the window.
import { el, fill, table } from "../core/dom.js";
import { count, decimal } from "../core/format.js";
import { labelTag } from "../core/palette.js";
import { Panel } from "../core/panel.js";
import { quality } from "../overview/figures.js";

const SHOWN = 100;

export function startClasses() {
  const panel = new Panel("classes");
  quality.follow((found) => {
    const classes = Object.entries(found?.window?.per_class ?? {}).filter(([, scores]) => scores.support > 0);
    if (!classes.length) {
      panel.empty("No label has scored a prediction yet.");
      return;
    }
    panel.ok();
    panel.note.textContent = `over the last ${count(found.window.labels)} labels, the weakest first`;
    const rows = classes.sort((one, other) => one[1].f1 - other[1].f1).slice(0, SHOWN).map(([label, scores]) =>
      [labelTag(label), decimal(scores.f1, 2), decimal(scores.precision, 2), decimal(scores.recall, 2), count(scores.support)]);
    const columns = [{ name: "class" }, { name: "F1", number: true }, { name: "precision", number: true }, { name: "recall", number: true }, { name: "labels", number: true }];
    fill(panel.content, el("div", { class: "scroll" }, table(columns, rows, { caption: "Scores of each class" })));
  });
}
