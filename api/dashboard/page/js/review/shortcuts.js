// The keys of the review: only while it is shown, nothing is being typed and no dialog is open; they can be switched off.
import { view } from "../core/state.js";

const STORED = "millrace-shortcuts";
let on = true;
try {
  on = localStorage.getItem(STORED) !== "off";
} catch { /* storage is forbidden: they are on */ }

export const shortcutsOn = () => on;

export function setShortcuts(wanted) {
  on = wanted;
  try {
    localStorage.setItem(STORED, wanted ? "on" : "off");
  } catch { /* as above */ }
}

/** Call `press` with each key that is meant for the review; it returns whether it took it. */
export function onKey(press) {
  document.addEventListener("keydown", (event) => {
    if (view.get() !== "review" || !on || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    if (press(event.key)) event.preventDefault();
  });
}
