// Choosing a class: from a list where there are some dozens, with suggestions where there are more.
import { el, fill } from "./dom.js";
import { cut } from "./format.js";
import { classes } from "./state.js";

const LISTED = 150;
const SUGGESTED = 1000;

/** A control for one of the known classes, or none. `onChange` is called with the class, "" for none. */
export function classFilter(name, onChange) {
  const holder = el("span", { class: "contents" });
  let chosen = "";
  const change = (event) => { chosen = event.target.value; onChange(chosen); };
  classes.follow((known) => {
    if (holder.contains(document.activeElement)) return;
    const many = known.length > LISTED;
    const all = chosen && !known.includes(chosen) ? [chosen, ...known] : known;
    fill(holder, many
      ? [el("input", { name, type: "search", value: chosen, list: `${name}-list`, placeholder: "any", on: { change } }), suggestions(`${name}-list`, known)]
      : el("select", { name, on: { change } }, el("option", { value: "" }, "any"), all.map((label) => el("option", { value: label, selected: label === chosen }, cut(label, 60)))));
  });
  return holder;
}

/** A field for any class, known or new. */
export function classInput(name, attributes = {}) {
  const id = `${name}-${Math.random().toString(36).slice(2)}`;
  const input = el("input", { name, list: id, maxlength: 256, autocomplete: "off", spellcheck: "false", ...attributes });
  return { input, parts: [input, suggestions(id, classes.get())] };
}

function suggestions(id, known) {
  return el("datalist", { id }, known.slice(0, SUGGESTED).map((label) => el("option", { value: label })));
}
