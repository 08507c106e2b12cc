// What is trending: hashtags, mentions, words of the last window, and how that has changed.
import { get } from "../core/api.js";
import { bar, byId, el, fill, segments, table } from "../core/dom.js";
import { clock, count, cut, duration } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { task } from "../core/state.js";

const KINDS = [["hashtag", "Hashtags"], ["mention", "Mentions"], ["word", "Words"]];
const SIGNS = { hashtag: "#", mention: "@", word: "" };
const SHOWN = 10;
let kind = "hashtag";

export function startTrending() {
  const panel = new Panel("trending");
  const asked = poll(() => panel.filled(() => show(panel)), 5000, ["overview"]);
  segments(byId("trending-kind"), "trending", KINDS, kind, (chosen) => {
    kind = chosen;
    asked.now();
  });
  task.watch(() => panel.empty("…"));
}

async function show(panel) {
  const asked = kind;
  const found = await get("/v1/trending", { kind: asked, limit: SHOWN });
  if (asked !== kind) return;
  if (!found.items.length) {
    const names = Object.fromEntries(KINDS)[asked].toLowerCase();
    panel.empty(found.end ? `No ${names} in the last ${duration(found.window_ms)}.` : `The first window of ${duration(found.window_ms)} has not ended yet.`);
    return;
  }
  panel.ok();
  const most = Math.max(...found.items.map((item) => item.count));
  const rows = found.items.map((item) => [
    el("span", { class: "name" }, cut(SIGNS[asked] + item.name, 40)), bar(item.count / most), count(item.count), changeOf(item),
  ]);
  fill(panel.content,
    table([{ name: "name" }, { name: "share" }, { name: "count", number: true }, { name: "change", number: true }], rows, { kind: "ranked", caption: `Trending ${asked}s` }),
    el("p", { class: "note" }, `${clock(found.start)} to ${clock(found.end)}, ${count(found.total)} texts; compared with the ${duration(found.window_ms)} before`));
}

function changeOf({ before, change }) {
  if (!before) return el("span", { class: "good" }, "new");
  if (change === 0) return el("span", { class: "quiet" }, "same");
  return el("span", { class: change > 0 ? "good" : "bad", title: `${count(before)} before` }, `${change > 0 ? "▲" : "▼"} ${count(Math.abs(change))}`);
}
