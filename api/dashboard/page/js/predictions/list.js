// The list of predictions: asked for with the filters, and followed live. New rows wait while someone works in the list.
import { announce } from "../core/announce.js";
import { get } from "../core/api.js";
import { button, byId, el, fill, say } from "../core/dom.js";
import { clock, count } from "../core/format.js";
import { narrow } from "../core/live.js";
import { reason } from "../core/panel.js";
import { poll } from "../core/poll.js";
import { live, task, view } from "../core/state.js";
import { throttled } from "../core/throttle.js";
import { parameters } from "../core/views.js";
import { onRecent } from "../overview/recent.js";
import { onStatus } from "./corrections.js";
import { canTell, matches, queryOf, wanted } from "./filters.js";
import { Row } from "./row.js";

const PAGE = 50;
const LIVE_ROWS = 100;
const MOST_ROWS = 1000;
const MOST_WAITING = 100;

class List {
  rows = new Map();
  waiting = [];
  next = null;
  following = true;
  asked = 0;
  among = null;
  oneIn = 1;

  constructor() {
    this.holder = byId("predictions-list");
    this.summary = byId("predictions-summary");
    this.list = el("ul", { class: "rows" });
    this.held = button("", () => this.release(), { class: "held", hidden: true });
    this.more = button("More", () => this.loadMore());
    this.moreRow = el("div", { class: "more-row", hidden: true }, this.more);
    this.said = el("p", { class: "said", hidden: true });
    fill(this.holder, this.held, this.said, this.list, this.moreRow);
    this.insert = throttled(() => this.#insert(), 1000);
    this.followButton = byId("follow");
    this.followButton.addEventListener("click", () => this.follow(!this.following));
  }

  /** Whether someone is busy in the list, so that no row may move. */
  get busy() {
    return this.list.matches(":hover") || this.list.querySelector(":focus-visible") || [...this.rows.values()].some((row) => row.isOpen);
  }

  follow(on) {
    this.following = on;
    this.followButton.setAttribute("aria-pressed", String(on));
    say(this.followButton, on ? "Following" : "Paused");
    if (on) this.release();
  }

  /** Ask for the first page anew. */
  async load() {
    const asked = this.asked += 1;
    const given = wanted.get();
    try {
      const page = await get("/v1/predictions", { ...queryOf(given, Date.now()), limit: PAGE });
      if (asked !== this.asked) return;
      const open = [...this.rows.values()].filter((row) => row.isOpen).map((row) => row.prediction.event_id);
      for (const row of this.rows.values()) if (!page.predictions.some((p) => p.event_id === row.prediction.event_id)) this.#drop(row);
      page.predictions.forEach((prediction) => this.#put(prediction));
      this.list.append(...page.predictions.map((p) => this.rows.get(p.event_id).node));
      open.forEach((id) => this.rows.get(id)?.toggle(true));
      this.waiting = [];
      this.#tell(page);
    } catch (error) {
      if (error.status === undefined) throw error;
      this.said.hidden = false;
      say(this.said, reason(error));
      throw error;
    }
  }

  /** Ask what has become known of the rows since they came; none is moved. */
  async renew() {
    const { predictions, indexed } = await get("/v1/predictions", { ...queryOf(wanted.get(), Date.now()), limit: LIVE_ROWS });
    for (const prediction of predictions) if (this.rows.has(prediction.event_id)) this.#put(prediction);
    this.#count(indexed);
  }

  clear() {
    for (const row of [...this.rows.values()]) this.#drop(row);
    this.waiting = [];
    this.asked += 1;
  }

  async loadMore() {
    this.more.disabled = true;
    try {
      const page = await get("/v1/predictions", { ...queryOf(wanted.get(), Date.now()), limit: PAGE, cursor: this.next });
      this.follow(false);
      for (const prediction of page.predictions) {
        if (this.rows.has(prediction.event_id) || this.rows.size >= MOST_ROWS) continue;
        this.list.append(this.#put(prediction).node);
      }
      this.#tell(page);
    } catch (error) {
      if (error.status === undefined) throw error;
      this.said.hidden = false;
      say(this.said, reason(error));
    }
    this.more.disabled = false;
  }

  /** Show one event on top, opened. */
  async show(eventId) {
    try {
      const found = await get(`/v1/predictions/${encodeURIComponent(eventId)}`);
      const row = this.rows.get(eventId) ?? this.#put(found);
      this.list.prepend(row.node);
      row.toggle(true);
      row.opener.focus();
    } catch (error) {
      if (error.status === undefined) throw error;
      this.said.hidden = false;
      say(this.said, reason(error));
    }
  }

  /** Take in what has just come. */
  take(fresh) {
    const passed = fresh.reduce((all, { passed_over: n = 0 }) => all + n, 0);
    this.oneIn = 0.9 * this.oneIn + 0.1 * ((fresh.length + passed) / fresh.length);
    const given = wanted.get();
    if (!canTell(given)) return;
    this.waiting.push(...fresh.filter((prediction) => !this.rows.has(prediction.event_id) && matches(given, prediction)));
    if (this.waiting.length > MOST_WAITING) this.waiting.splice(0, this.waiting.length - MOST_WAITING);
    if (this.waiting.length) this.insert();
  }

  release() {
    this.#insert(true);
  }

  #insert(forced = false) {
    if (view.get() !== "predictions") return;
    if (!forced && (!this.following || this.busy)) {
      const many = this.waiting.length >= MOST_WAITING ? `${MOST_WAITING} or more` : count(this.waiting.length);
      this.held.hidden = !this.waiting.length;
      say(this.held, `${many} new: show`);
      return;
    }
    const fresh = this.waiting;
    this.waiting = [];
    this.held.hidden = true;
    this.list.prepend(...fresh.reverse().map((prediction) => this.#put(prediction).node));
    this.#trim();
    if (this.rows.size) this.said.hidden = true;
    this.#summarise();
    if (fresh.length) announce(`${fresh.length} new predictions`);
  }

  #put(prediction) {
    const known = this.rows.get(prediction.event_id);
    if (known) {
      known.refresh(prediction);
      return known;
    }
    const row = new Row(prediction, () => { if (!this.busy) this.insert(); });
    this.rows.set(prediction.event_id, row);
    return row;
  }

  #drop(row) {
    row.node.remove();
    this.rows.delete(row.prediction.event_id);
  }

  #trim() {
    const nodes = [...this.list.children];
    for (const node of nodes.slice(LIVE_ROWS)) this.#drop(this.rows.get(node.dataset.event));
    if (nodes.length > LIVE_ROWS) this.moreRow.hidden = true;
  }

  #tell({ next, indexed }) {
    this.next = next;
    this.moreRow.hidden = !next || this.rows.size >= MOST_ROWS;
    this.said.hidden = this.rows.size > 0;
    if (!this.rows.size) say(this.said, Object.keys(wanted.get()).length ? "No prediction fits these filters." : "No prediction yet. What to send is said on the overview.");
    this.#count(indexed);
  }

  #count(indexed) {
    if (indexed) this.among = `the ${count(indexed.events)} newest events${indexed.oldest ? `, since ${clock(indexed.oldest)}` : ""}`;
    this.#summarise();
  }

  #summarise() {
    const sample = this.following && this.oneIn > 1.5 ? `; of those that come, about one in ${count(this.oneIn)} is shown` : "";
    say(this.summary, this.rows.size ? `Showing ${count(this.rows.size)}${this.among ? ` among ${this.among}` : ""}${sample}` : "");
  }
}

export function startPredictions() {
  const list = new List();
  const asked = poll(async () => {
    const quiet = list.rows.size && canTell(wanted.get()) && ["live", "polling"].includes(live.get());
    if (quiet) await list.renew();
    else if (list.following && !list.busy) await list.load();
  }, 5000, ["predictions"]);
  const again = () => {
    for (const row of [...list.rows.values()]) row.toggle(false);
    if (view.get() === "predictions") list.load().catch(() => asked.now());
    else list.clear();
    narrowed();
  };
  const narrowed = () => {
    const { label, min_confidence: least } = view.get() === "predictions" ? wanted.get() : {};
    narrow({ ...(label ? { label } : {}), ...(least ? { min_confidence: least } : {}) });
  };
  wanted.watch(again);
  view.watch((shown) => {
    // What came while another view was shown was not kept as a whole: the list is asked for anew.
    if (shown === "predictions" && list.following && !list.busy) list.load().catch(() => asked.now());
    narrowed();
  });
  task.watch(again);
  onStatus((eventId) => list.rows.get(eventId)?.changed());
  onRecent((fresh) => { if (fresh) list.take(fresh); });
  setInterval(() => { if (!document.hidden && view.get() === "predictions" && !list.busy) for (const row of list.rows.values()) row.refresh(); }, 5000);
  const linked = () => {
    const eventId = view.get() === "predictions" ? parameters().get("event") : null;
    if (eventId) list.show(eventId);
  };
  addEventListener("hashchange", () => setTimeout(linked));
  linked();
}
