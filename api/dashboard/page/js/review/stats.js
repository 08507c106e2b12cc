// How the review goes: what waits, how right the model is on events drawn at random, how far reviewers agree.
import { get } from "../core/api.js";
import { el, fill, table } from "../core/dom.js";
import { count, cut, decimal, percent } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";
import { DRAWN } from "./drawn.js";

export function startStats() {
  const panel = new Panel("review-stats");
  const asked = poll(() => panel.filled(async () => {
    const found = await get("/v1/review/stats");
    panel.ok();
    fill(panel.content, el("div", { class: "stack" }, queue(found.queue), scores(found), reviewers(found.reviewers)));
  }), 5000, ["review"]);
  task.watch(() => panel.empty("…"));
  return asked;
}

function queue(waiting) {
  const rows = Object.entries(waiting ?? {}).map(([slice, n]) => [el("span", { title: DRAWN[slice]?.means }, DRAWN[slice]?.name ?? slice), count(n)]);
  return rows.length ? table([{ name: "to draw from, being" }, { name: "texts", number: true }], rows, { caption: "The queue" }) : el("p", { class: "quiet" }, "The queue is empty.");
}

function scores({ reviewed, random, agreement }) {
  const rows = [["reviewed", count(reviewed)]];
  if (random?.labels) rows.push(["right, drawn at random", `${percent(random.accuracy)} of ${count(random.labels)}`], ["95 % interval", `${percent(random.low)} to ${percent(random.high)}`]);
  if (agreement?.pairs) rows.push(["reviewers agree", `${count(agreement.agreed)} of ${count(agreement.pairs)} pairs`], ["Krippendorff's alpha", decimal(agreement.alpha, 2)]);
  return el("dl", { class: "facts" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function reviewers(known) {
  if (!known?.length) return null;
  return table([{ name: "reviewer" }, { name: "labels", number: true }], known.slice(0, 20).map(({ reviewer, labels }) => [el("span", { class: "breaks" }, cut(reviewer, 60)), count(labels)]), { caption: "Reviewers" });
}
