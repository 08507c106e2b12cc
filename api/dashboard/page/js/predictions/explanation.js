// Why a text got its label: the probabilities, and what each part of the text added.
import { bar, el } from "../core/dom.js";
import { cut, percent, signed } from "../core/format.js";
import { labelTag } from "../core/palette.js";

const SHOWN = 14;

/** The probabilities of the classes, the most probable first. */
export function probabilities(proba, limit = 5) {
  const sorted = Object.entries(proba ?? {}).sort((one, other) => other[1] - one[1]).slice(0, limit);
  return el("div", { class: "probabilities", role: "list", "aria-label": "Probabilities" }, sorted.map(([label, p]) =>
    el("div", { role: "listitem", class: "contents" }, labelTag(label), bar(p), el("span", { class: "small" }, percent(p)))));
}

/** What speaks for the label and what against it. */
export function evidence(explanation) {
  const { contributions, model, same_model: same, label } = explanation;
  const strong = contributions.filter((part) => Math.abs(part.value) >= 0.005).slice(0, SHOWN);
  if (!strong.length) return el("p", { class: "said" }, "No part of the text speaks for or against it.");
  return el("div", { class: "stack" },
    el("ul", { class: "evidence", "aria-label": `What speaks for and against ${label}` }, strong.map(part)),
    same === false ? el("p", { class: "quiet small" }, `As the model sees it now (${model.line} at seq ${model.seq}); it has learned since.`) : null);
}

function part({ kind, text, value }) {
  const shown = text ? cut(text, 40) : "(every text)";
  return el("li", { class: value > 0 ? "for" : "against", title: kind }, el("bdi", {}, shown), el("small", {}, signed(value)));
}
