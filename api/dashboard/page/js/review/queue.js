// The review queue: asks for one text after the other, holds its claim, and sends what is said of it.
import { answered } from "../core/announce.js";
import { get, post } from "../core/api.js";
import { button, byId, el, field, fill } from "../core/dom.js";
import { count } from "../core/format.js";
import { Panel, reason } from "../core/panel.js";
import { classes, myName, setMyName, task, view } from "../core/state.js";
import { showHelp } from "./help.js";
import { Item } from "./item.js";
import { onKey } from "./shortcuts.js";

const EMPTY_AGAIN_MS = 5000;

class Queue {
  item = null;
  busy = false;
  timer = null;

  constructor(stats) {
    this.stats = stats;
    this.panel = new Panel("review-item");
  }

  /** Begin, or go on, when the view is shown. */
  begin() {
    if (view.get() !== "review") return;
    if (!myName()) this.#askName();
    else if (!this.item || this.item.lapsed) this.next();
  }

  /** Ask for the next text. */
  async next(before = null) {
    clearTimeout(this.timer);
    this.item = null;
    try {
      const { item, left } = await get("/v1/review/next", { reviewer: myName() });
      if (item) this.#show(item, left, before);
      else this.#nothing(before);
    } catch (error) {
      if (error.status === undefined) throw error;
      this.panel.empty(reason(error));
      this.timer = setTimeout(() => this.begin(), error.retryAfterMs ?? EMPTY_AGAIN_MS);
    }
  }

  /** Take a key; return whether it was one of ours. */
  press(key) {
    if (key === "?") showHelp();
    else if (!this.item || this.busy) return false;
    else if (key === "r") this.item.right();
    else if (key === "w") this.label({ verdict: "wrong" });
    else if (key === "s") this.skip();
    else if (key === "n") this.item.typeNew();
    else if (/^[1-9]$/.test(key)) return this.item.choose(Number(key) - 1);
    else return false;
    return true;
  }

  async label(said) {
    await this.#send("label", said, said.label ?? said.verdict);
  }

  async skip() {
    await this.#send("skip", {}, "skipped");
  }

  async #send(what, said, meant) {
    if (this.busy || !this.item) return;
    this.busy = true;
    const { event_id: id, claim } = this.item.asked;
    this.item.wait(true);
    // A new class is there for the next text at once; the model will have learned it in a second.
    if (said.label && !classes.get().includes(said.label)) classes.set([...classes.get(), said.label].sort());
    try {
      await post(`/v1/review/${encodeURIComponent(id)}/${what}`, { reviewer: myName(), claim, ...said });
      await this.next(meant);
      this.stats.now();
    } catch (error) {
      if (error.status === undefined) throw error;
      // Someone else has it now, or it was labelled meanwhile: there is nothing more to say of it here.
      if (error.status === 404 || error.status === 409) await this.next(`not taken: ${error.message}`);
      else this.item?.fail(reason(error));
    } finally {
      this.busy = false;
      this.item?.wait(false);
    }
  }

  #show(asked, left, before) {
    this.item = new Item(asked, left, this);
    this.panel.ok();
    fill(this.panel.content, this.item.node);
    this.item.focus();
    answered(`${before ? `${before}. ` : ""}Next of ${count(left)}`);
    // Once the claim is over another reviewer may get the text: it is asked for anew.
    this.timer = setTimeout(() => this.begin(), Math.max(1000, asked.claim_until - Date.now() + 500));
  }

  #nothing(before) {
    this.panel.empty(before ? `${before}. ` : "", "Nothing waits for a label now. The queue fills as predictions come; it is looked at every few seconds.");
    if (before) answered(`${before}. The queue is empty.`);
    this.timer = setTimeout(() => this.begin(), EMPTY_AGAIN_MS);
  }

  #askName() {
    if (this.panel.content.querySelector("form")) return;
    const input = el("input", { name: "reviewer", required: true, maxlength: 256, autocomplete: "name" });
    this.panel.ok();
    fill(this.panel.content, el("form", { class: "stack", on: { submit: (event) => {
      event.preventDefault();
      setMyName(input.value);
      if (myName()) this.next();
    } } },
    el("p", {}, "Who labels? The name goes with each label, so that reviewers can be compared; two never get the same text at once."),
    el("div", { class: "row" }, field("Your name", input, { class: "field grow" }), el("button", { class: "main" }, "Begin"))));
  }
}

export function startQueue(stats) {
  const queue = new Queue(stats);
  onKey((key) => queue.press(key));
  byId("review-help").addEventListener("click", showHelp);
  view.watch(() => queue.begin());
  task.watch(() => { queue.item = null; queue.begin(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) queue.begin(); });
  byId("review-item").querySelector(".body").append(el("p", { class: "quiet small" }, button("Another reviewer", () => {
    setMyName("");
    queue.item = null;
    queue.panel.content.replaceChildren();
    queue.begin();
  }, { class: "quiet-button" })));
  queue.begin();
}
