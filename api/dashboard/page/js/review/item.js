// One text of the queue, and all that can be said of it.
import { classInput } from "../core/class_choice.js";
import { button, el } from "../core/dom.js";
import { count, percent } from "../core/format.js";
import { labelTag } from "../core/palette.js";
import { classes } from "../core/state.js";
import { DRAWN } from "./drawn.js";

const NUMBERED = 9;

export class Item {
  constructor(asked, left, queue) {
    this.asked = asked;
    this.queue = queue;
    this.choices = choicesOf(asked, classes.get());
    this.buttons = this.choices.map((label, place) => this.#choice(label, place));
    const { input, parts } = classInput("new-label", { "aria-label": "Another label, known or new", placeholder: "another label, known or new", class: "grow", required: true });
    this.input = input;
    this.failed = el("p", { class: "said bad", role: "alert", hidden: true });
    this.text = el("p", { class: "text", tabindex: "-1", id: "review-text", dir: "auto" }, asked.text || "(no text)");
    this.others = this.#others(parts);
    this.node = el("div", { class: "asked", data: { event: asked.event_id } }, this.#head(left), this.text, el("div", { class: "choices", role: "group", "aria-label": "Classes" }, this.buttons), this.others, this.failed);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.focus();
    });
  }

  /** Whether another reviewer may have it by now. */
  get lapsed() {
    return Date.now() > this.asked.claim_until;
  }

  focus() {
    this.text.focus();
  }

  typeNew() {
    this.input.focus();
  }

  right() {
    if (this.asked.label !== null) this.queue.label({ verdict: "right" });
  }

  choose(place) {
    if (place >= this.choices.length) return false;
    this.queue.label({ label: this.choices[place] });
    return true;
  }

  wait(waiting) {
    for (const control of this.node.querySelectorAll("button, input")) control.disabled = waiting;
    if (!waiting && this.asked.label === null) this.rightButton.disabled = true;
  }

  fail(why) {
    this.failed.hidden = false;
    this.failed.textContent = why;
    this.focus();
  }

  #head(left) {
    const { why, label, confidence, reviews } = this.asked;
    const drawn = DRAWN[why];
    return el("div", { class: "row small" },
      el("span", { class: "pill", data: { state: why === "wrong" ? "bad" : "plain" }, title: drawn?.means }, drawn?.name ?? why),
      label === null ? el("span", { class: "quiet" }, "the model knew no class") : el("span", {}, "predicted ", labelTag(label), " ", el("span", { class: "quiet" }, percent(confidence))),
      reviews?.length ? el("span", { class: "quiet" }, `${count(reviews.length)} other ${reviews.length === 1 ? "reviewer has" : "reviewers have"} said something`) : null,
      el("span", { class: "quiet" }, `${count(left)} wait`));
  }

  #choice(label, place) {
    const p = this.asked.proba?.[label];
    return el("button", { type: "button", "aria-keyshortcuts": String(place + 1), data: { guess: label === this.asked.label ? "" : null }, on: { click: () => this.choose(place) } },
      el("kbd", { "aria-hidden": "true" }, place + 1), labelTag(label), p === undefined ? null : el("span", { class: "sure" }, percent(p, 0)));
  }

  #others(parts) {
    this.rightButton = action("r", "Right", () => this.right(), "right");
    this.rightButton.disabled = this.asked.label === null;
    return el("div", { class: "row" }, this.rightButton,
      action("w", "Wrong", () => this.queue.label({ verdict: "wrong" }), "wrong"),
      action("s", "Skip", () => this.queue.skip()),
      el("form", { class: "row grow", on: { submit: (event) => {
        event.preventDefault();
        const label = this.input.value.trim();
        if (label) this.queue.label({ label });
      } } }, parts, el("button", {}, el("kbd", { "aria-hidden": "true" }, "n"), " Give label")));
  }
}

function action(key, text, run, kind = "") {
  return el("button", { type: "button", class: kind, "aria-keyshortcuts": key, on: { click: run } }, el("kbd", { "aria-hidden": "true" }, key), ` ${text}`);
}

/** The classes with numbers: up to nine always in the same order, so that hands learn them; of more the most probable ones. */
function choicesOf({ proba, label }, known) {
  const likely = Object.entries(proba ?? {}).sort((one, other) => other[1] - one[1]).map(([name]) => name);
  const all = [...new Set([...known, ...likely, ...(label === null ? [] : [label])])];
  if (all.length <= NUMBERED) return all.sort();
  return [...new Set([...likely, ...all])].slice(0, NUMBERED);
}
