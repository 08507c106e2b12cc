// Which colour a label has: the eight most frequent ones get one each, for as long as the page is open.
import { el } from "./dom.js";
import { cut } from "./format.js";
import { task } from "./state.js";

export const COLOURS = 8;
let known = new Map();
task.watch(() => { known = new Map(); });

/** Give colours to labels, the most frequent first; those that have one keep it. */
export function seen(labels) {
  for (const label of labels) if (label && known.size < COLOURS && !known.has(label)) known.set(label, known.size);
}

/** The labels that have a colour, in its order. */
export const coloured = () => [...known.keys()];

/** The number of a label's colour, or null. */
export const colourOf = (label) => known.get(label) ?? null;

/** A label as it is shown: with its colour, or as none. */
export function labelTag(label) {
  if (label === null || label === "") return el("span", { class: "key none" }, "no class yet");
  return el("span", { class: "key", data: { colour: colourOf(label) }, title: label.length > 60 ? label : null }, cut(label, 60));
}
