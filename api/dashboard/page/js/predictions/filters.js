// What is wanted of the predictions: the form above the list.
import { classFilter } from "../core/class_choice.js";
import { byId, el, field } from "../core/dom.js";
import { Value } from "../core/value.js";
import { STATES } from "./states.js";

const PAUSE_MS = 350;
const SPANS = [["", "any time"], ["300000", "last 5 min"], ["3600000", "last hour"], ["86400000", "last day"]];

/** The query, as GET /v1/predictions takes it; `span` is the length of the time in ms. */
export const wanted = new Value({});

export function startFilters() {
  const form = byId("filters");
  const given = {};
  let timer = null;
  const set = (name, value, pause = 0) => {
    given[name] = value;
    clearTimeout(timer);
    timer = setTimeout(() => {
      order.querySelector("[value=score]").disabled = !given.label;
      if (!given.label && order.value === "score") {
        order.value = "time";
        delete given.sort;
      }
      wanted.set(Object.fromEntries(Object.entries(given).filter(([, v]) => v !== "" && v !== null && v !== undefined)));
    }, pause);
  };
  const typed = (name, attributes) => el("input", { name, ...attributes, on: { input: (event) => set(name, event.target.value.trim(), PAUSE_MS) } });
  const share = (name) => el("input", { name, type: "number", min: 0, max: 100, step: 1, inputmode: "numeric", placeholder: "%",
    on: { input: (event) => set(name, event.target.value === "" ? "" : Math.max(0, Math.min(100, Number(event.target.value))) / 100, PAUSE_MS) } });
  const select = (name, choices) => el("select", { name, on: { change: (event) => set(name, event.target.value) } }, choices.map(([value, text]) => el("option", { value }, text)));
  const order = select("sort", [["time", "newest first"], ["score", "score of the label"]]);
  order.querySelector("[value=score]").disabled = true;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(
    field("Search the texts", typed("q", { type: "search", maxlength: 200 }), { class: "field wide" }),
    field("Label", classFilter("label", (label) => set("label", label))),
    field("Order", order),
    el("button", { type: "button", class: "unfold", "aria-expanded": "false", on: { click: (event) => {
      const all = form.toggleAttribute("data-all");
      event.target.setAttribute("aria-expanded", String(all));
    } } }, "More filters"),
    field("Surest at least", share("min_confidence"), { class: "field extra" }),
    field("Surest at most", share("max_confidence"), { class: "field extra" }),
    field("Labelled", select("reviewed", [["", "any"], ["false", "not yet"], ["true", "by someone"]]), { class: "field extra" }),
    field("State of the label", select("state", [["", "any"], ...Object.keys(STATES).map((state) => [state, state])]), { class: "field extra" }),
    field("Line", typed("line", { type: "search", maxlength: 63, placeholder: "any" }), { class: "field extra" }),
    field("When", select("span", SPANS), { class: "field extra" }),
  );
}

/** Return the query for the API. */
export function queryOf(given, now) {
  const { span, sort, ...rest } = given;
  return { ...rest, ...(span ? { since: now - Number(span) } : {}), ...(sort === "score" ? { sort } : {}) };
}

/** Whether new predictions can be told to match without asking the API. */
export function canTell(given) {
  return !given.q && !given.state && given.sort !== "score";
}

/** Whether a prediction that has just come is wanted. */
export function matches(given, prediction) {
  return (!given.label || prediction.label === given.label)
    && (given.min_confidence === undefined || prediction.confidence >= given.min_confidence)
    && (given.max_confidence === undefined || prediction.confidence <= given.max_confidence)
    && (!given.line || prediction.model.line === given.line)
    && (given.reviewed !== "true" || prediction.reviewed === true);
}
