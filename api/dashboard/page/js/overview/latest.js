// The newest predictions in short.
import { el, fill } from "../core/dom.js";
import { ago, cut, percent } from "../core/format.js";
import { labelTag } from "../core/palette.js";
import { Panel } from "../core/panel.js";
import { throttled } from "../core/throttle.js";
import { onRecent } from "./recent.js";

const SHOWN = 8;
let newest = [];

export function startLatest() {
  const panel = new Panel("latest");
  const list = el("ul", { class: "latest" });
  panel.content.append(list);
  panel.empty("No prediction yet.");
  const draw = throttled(() => {
    if (!newest.length) {
      panel.empty("No prediction yet.");
      return;
    }
    panel.ok();
    // A link that someone has come to with the keyboard is not taken away.
    if (!list.contains(document.activeElement)) fill(list, newest.map(row));
  }, 1500);
  onRecent((fresh) => {
    newest = fresh === null ? [] : [...fresh.slice(-SHOWN).reverse(), ...newest].slice(0, SHOWN);
    draw();
  });
}

function row(prediction) {
  const link = `#predictions?event=${encodeURIComponent(prediction.event_id)}`;
  return el("li", {},
    el("span", {}, labelTag(prediction.label)),
    el("span", { class: "quiet small" }, `${percent(prediction.confidence, 0)} · ${ago(prediction.predicted_at)}`),
    el("a", { class: "text", href: link }, el("bdi", {}, cut(prediction.text, 160) || "(no text)")));
}
