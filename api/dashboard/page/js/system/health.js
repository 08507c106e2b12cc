// Which parts are ready, and since when not; in short in the bar, in full among the system.
import { get } from "../core/api.js";
import { byId, el, fill, say, table } from "../core/dom.js";
import { ago, clock, full } from "../core/format.js";
import { Panel } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { live } from "../core/state.js";

const LIVE = {
  waiting: ["waiting", "connecting"], live: ["good", "live"], polling: ["warn", "every 3 s"], retrying: ["warn", "reconnecting"], off: ["waiting", "paused"],
};

export function startHealth() {
  const panel = new Panel("health");
  const pill = byId("health-pill");
  const tell = (state, text) => {
    pill.dataset.state = state;
    say(pill, text);
  };
  poll(async () => {
    try {
      show(panel, await get("/readyz", {}, { accept: [503] }), tell);
    } catch (error) {
      if (error.status === undefined) throw error;
      tell("bad", error.status === 0 ? "API away" : "health unknown");
      panel.trouble(error);
      throw error;
    }
  }, 4000);
  live.follow((state) => {
    const [kind, text] = LIVE[state];
    byId("live").dataset.state = kind;
    say(byId("live"), text);
  });
}

function show(panel, { ready, parts }, tell) {
  const away = Object.entries(parts).filter(([, part]) => part.ready === false).map(([name]) => name);
  const unknown = Object.entries(parts).filter(([, part]) => part.ready === null).map(([name]) => name);
  if (away.length) tell("bad", away.length === 1 ? `${away[0]} not ready` : `${away.length} parts not ready`);
  else if (unknown.length) tell("warn", unknown.length === 1 ? `${unknown[0]} unknown` : `${unknown.length} parts unknown`);
  else tell("good", "all parts ready");
  panel.ok();
  panel.note.textContent = `${ready ? "the API can serve" : "the API cannot serve"}; as of ${clock(Date.now())}`;
  const rows = Object.entries(parts).map(([name, part]) => [name, state(part), el("span", { class: "breaks" }, part.detail), since(part)]);
  fill(panel.content, el("div", { class: "scroll" }, table([{ name: "part" }, { name: "is" }, { name: "says" }, { name: "since" }], rows, { caption: "Parts", kind: "table-cards" })));
}

function state({ ready }) {
  const [kind, text] = ready === true ? ["good", "ready"] : ready === false ? ["bad", "not ready"] : ["warn", "unknown"];
  return el("span", { class: "pill", data: { state: kind } }, text);
}

function since({ since: time }) {
  return time ? el("span", { title: full(time) }, `${clock(time)}, ${ago(time)}`) : "";
}
