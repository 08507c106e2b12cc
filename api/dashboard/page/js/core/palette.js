// Which colour a label has: the eight most frequent ones get one each, for as long as the page is open.
import { el } from "./dom.js";
import { cut } from "./format.js";
import { task } from "./state.js";

export const COLOURS = 8;
let known = new Map();
task.watch(() => { known = new Map(); });

/**
 * Give colours to the most frequent labels; those that have one keep it. The first ones get theirs in alphabetical order, so
 * that the same classes have the same colours the next time.
 * @param {Object<string, number>} counts of all labels
 */
export function rank(counts) {
  const frequent = Object.keys(counts).filter((label) => label && !known.has(label)).sort((one, other) => counts[other] - counts[one]);
  const coming = frequent.slice(0, COLOURS - known.size).sort();
  if (!coming.length) return;
  for (const label of coming) known.set(label, known.size);
  for (const node of document.querySelectorAll(".key[data-label]")) paint(node);
}

/** The labels that have a colour, in its order. */
export const coloured = () => [...known.keys()];

/** The number of a label's colour, or null. */
export const colourOf = (label) => known.get(label) ?? null;

/** A label as it is shown: with its colour, or as none. */
export function labelTag(label) {
  if (label === null || label === "") return el("span", { class: "key none" }, "no class yet");
  const node = el("span", { class: "key", data: { label }, title: label.length > 60 ? label : null }, el("bdi", {}, cut(label, 60)));
  paint(node);
  return node;
}

function paint(node) {
  const colour = colourOf(node.dataset.label);
  if (colour !== null) node.dataset.colour = colour;
}
