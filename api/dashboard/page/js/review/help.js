// The keys, on one page.
import { button, byId, el } from "../core/dom.js";
import { setShortcuts, shortcutsOn } from "./shortcuts.js";

const KEYS = [
  [["1", "…", "9"], "the class with that number"],
  [["r"], "right: what was predicted is the label"],
  [["w"], "wrong, without saying what it is instead"],
  [["n"], "another label, known or new: type it, Enter sends, Esc goes back"],
  [["s"], "skip: another one may come to it"],
  [["?"], "this page"],
];

export function showHelp() {
  const off = el("input", { type: "checkbox", checked: shortcutsOn(), on: { change: (event) => setShortcuts(event.target.checked) } });
  const shown = el("dialog", { "aria-labelledby": "help-title", on: { close: () => shown.remove() } },
    el("h2", { id: "help-title" }, "Keys of the review"),
    el("dl", { class: "keys" }, KEYS.map(([keys, what]) => [el("dt", {}, keys.map((key) => [el("kbd", {}, key), " "])), el("dd", {}, what)])),
    el("div", { class: "row" }, el("label", { class: "row grow" }, off, "Single keys are shortcuts"), button("Close", () => shown.close(), { class: "main" })));
  byId("dialogs").append(shown);
  shown.showModal();
}
