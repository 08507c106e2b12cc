// The lines of the model: which serves, which are watched and how they compare, and what can be done with each.
import { get } from "../core/api.js";
import { button, byId, el, fill, table } from "../core/dom.js";
import { count, cut, full, percent, signed } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { may, task } from "../core/state.js";
import { askFor } from "./dialog.js";

const KINDS = { serving: "good", shadow: "warn", split: "warn", former: "plain", gone: "plain", stored: "plain" };
const MEANS = {
  serving: "its predictions are what is served", shadow: "predicts and learns beside the one that serves", split: "serves a share of the events",
  former: "served before; learns on, and can come back", gone: "held no more", stored: "a release that was never brought in",
};
let shown = null;

export function startLines() {
  const panel = new Panel("lines");
  const asked = poll(() => panel.filled(async () => {
    const found = await get("/v1/models");
    panel.ok();
    if (panel.content.contains(document.activeElement) && JSON.stringify(found) === JSON.stringify(shown)) return;
    shown = found;
    draw(panel, found, () => asked.now());
  }), 3000, ["models"]);
  byId("rollback").addEventListener("click", () => {
    const former = shown?.lines.find((line) => line.place === "former");
    askFor({ do: "rollback", line: null, serving: shown?.serving ?? null, to: former?.line ?? "the line that served before" }, () => asked.now());
  });
  task.watch(() => {
    shown = null;
    panel.empty("…");
  });
}

function draw(panel, found, again) {
  const focused = panel.content.contains(document.activeElement) ? document.activeElement.dataset.does : null;
  byId("rollback").disabled = !may("admin") || !found.lines.some((line) => line.place === "former");
  const rows = found.lines.slice(0, 50).map((line) => [
    el("span", { class: "breaks" }, line.line), place(line), line.since ? full(line.since) : "from the beginning",
    el("span", {}, trialText(line), line.passed === null ? null : el("span", { class: line.passed ? "good" : "bad" }, ` gate ${line.passed ? "passed" : "not passed"}`)),
    lastText(line.last_change), actions(line, found, again),
  ]);
  fill(panel.content, el("div", { class: "scroll" }, table([{ name: "line" }, { name: "is" }, { name: "since" }, { name: "compared" }, { name: "last change" }, { name: "" }], rows, { caption: "Lines", kind: "table-cards" })));
  panel.note.textContent = `the log is at seq ${count(found.seq)}`;
  if (focused) [...panel.content.querySelectorAll("button")].find((node) => node.dataset.does === focused)?.focus();
}

function place(line) {
  const share = line.place === "split" && line.share ? ` ${percent(line.share)}` : "";
  return el("span", { class: "pill", data: { state: KINDS[line.place] ?? "plain" }, title: MEANS[line.place] }, `${line.place}${share}`);
}

function trialText({ trial }) {
  if (!trial?.labels) return "";
  const points = ((trial.line_correct - trial.champion_correct) / trial.labels) * 100;
  return `${signed(points, 1)} points against ${cut(trial.champion, 30)} over ${count(trial.labels)} labels`;
}

function lastText(change) {
  return change ? `${change.what}, by ${cut(change.by, 40)}` : "";
}

function actions(line, found, again) {
  if (line.place === "serving" || (line.line === "base" && line.place === "gone")) return el("span", {});
  const does = (what, text) => button(text, () => askFor({ do: what, line: line.line, serving: found.serving, to: line.line }, again),
    { data: { does: `${what} ${line.line}` }, disabled: !may("admin"), title: may("admin") ? null : "Your key may not change models", "aria-label": `${text.replace(" …", "")} ${line.line}` });
  const watched = ["shadow", "split", "former"].includes(line.place);
  return el("span", { class: "row" }, does("promote", "Promote …"), watched ? does("drop", "Drop …") : does("shadow", "Watch …"));
}
