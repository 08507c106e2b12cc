// Light, dark, or as the system has it.
import { byId, say } from "./dom.js";
import { Value } from "./value.js";

const ORDER = ["auto", "light", "dark"];
const STORED = "millrace-theme";

/** Changes whenever the colours do. */
export const colours = new Value(0);

export function startTheme() {
  const button = byId("theme");
  const root = document.documentElement;
  let chosen = root.dataset.theme ?? "auto";
  const show = () => {
    say(byId("theme-name"), chosen);
    button.setAttribute("aria-label", `Theme: ${chosen}`);
  };
  button.addEventListener("click", () => {
    chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
    if (chosen === "auto") delete root.dataset.theme;
    else root.dataset.theme = chosen;
    try {
      localStorage.setItem(STORED, chosen);
    } catch { /* storage is forbidden: it holds as long as the page */ }
    show();
    colours.set(colours.get() + 1);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => colours.set(colours.get() + 1));
  show();
}

let probe = null;

/** Return the colour that a custom property stands for now, as `rgb(…)`. */
export function colour(name) {
  if (!probe) {
    probe = document.createElement("span");
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
