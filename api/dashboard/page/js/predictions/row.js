// One prediction of the list: its label, how sure, its text, the state of its label, and what can be said about it.
import { bar, button, el, fill } from "../core/dom.js";
import { ago, cut, decimal, full, percent } from "../core/format.js";
import { labelTag } from "../core/palette.js";
import { may } from "../core/state.js";
import { correct, statusOf } from "./corrections.js";
import { details } from "./details.js";
import { statePill, statusPill } from "./states.js";

let numbered = 0;

export class Row {
  #side = el("span", { class: "side" });
  #details = null;

  constructor(prediction, onToggle) {
    this.prediction = prediction;
    this.onToggle = onToggle;
    this.id = `prediction-${numbered += 1}`;
    const snippet = cut(prediction.text, 60) || prediction.event_id;
    this.opener = button("▾", () => this.toggle(), { class: "icon-button", "aria-expanded": "false", "aria-controls": `${this.id}-more`, "aria-label": `Why, and other labels: ${snippet}` });
    this.right = button("✓", () => this.#say({ verdict: "right" }), { class: "icon-button right", "aria-label": `Right: ${snippet}`, title: "Right" });
    this.wrong = button("✗", () => this.#wrong(), { class: "icon-button wrong", "aria-label": `Wrong: ${snippet}`, title: "Wrong" });
    this.right.disabled = this.wrong.disabled = prediction.label === null || !may("write");
    if (!may("write")) this.right.title = this.wrong.title = "Your key may not label";
    this.more = el("div", { id: `${this.id}-more`, hidden: true });
    this.node = el("li", { data: { event: prediction.event_id } }, el("div", { class: "prediction" },
      el("span", {}, labelTag(prediction.label)),
      el("span", { class: "sure" }, el("span", {}, prediction.score === null || prediction.score === undefined ? percent(prediction.confidence) : decimal(prediction.score)), bar(prediction.confidence)),
      el("span", { class: "text" }, el("bdi", {}, cut(prediction.text, 2000) || "(no text)")),
      this.#side,
      el("span", { class: "actions" }, this.right, this.wrong, this.opener)), this.more);
    this.refresh();
  }

  get isOpen() {
    return !this.more.hidden;
  }

  /** Show the time anew, and what has become known since. */
  refresh(prediction = null) {
    if (prediction) this.prediction = prediction;
    this.#tell();
  }

  /** The status of a label that was given here has changed. */
  changed() {
    this.#tell();
    this.#details?.changed(statusOf(this.prediction.event_id));
  }

  toggle(open = !this.isOpen) {
    this.more.hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
    if (open) this.node.dataset.open = "";
    else delete this.node.dataset.open;
    if (open && !this.#details) {
      this.#details = details(this.prediction, (said) => this.#say(said));
      fill(this.more, this.#details.node);
    }
    this.onToggle();
  }

  #wrong() {
    this.#say({ verdict: "wrong" });
    this.toggle(true);
  }

  #say(said) {
    correct(this.prediction.event_id, said);
  }

  #tell() {
    const { predicted_at: at, label_state: state, label_seq: seq, correct: was, marked_wrong: marked } = this.prediction;
    const status = statusOf(this.prediction.event_id);
    const pill = status ? statusPill(status) : state ? statePill(state, seq) : null;
    const verdict = status ? null : was === true ? el("span", { class: "good" }, "right") : was === false || marked ? el("span", { class: "bad" }, "wrong") : null;
    fill(this.#side, pill, verdict, el("time", { datetime: new Date(at).toISOString(), title: full(at) }, ago(at)));
    const pressed = status?.meant;
    this.right.setAttribute("aria-pressed", String(pressed === "right"));
    this.wrong.setAttribute("aria-pressed", String(pressed === "wrong"));
  }
}
