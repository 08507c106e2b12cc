// A card of the page: shows what it has, or says why it has nothing.
import { byId, el, fill, say } from "./dom.js";
import { clock } from "./format.js";

/** Say in a sentence why something cannot be shown. */
export function reason(error) {
  switch (error.status) {
    case 0: return error.message;
    case 401: return "The API wants a key: choose “API key” above.";
    case 403: return `Your key may not see this: ${error.message}`;
    case 404: return error.message === "Not Found" ? "This server does not offer it: it may be older than this page." : `Not there: ${error.message}`;
    case 429: return "Asked too often; it is asked again in a while.";
    case 503: return `Not available now: ${error.message}`;
    default: return error.message;
  }
}

export class Panel {
  #shown = null;
  #said;
  #since = null;

  /** @param {string} id of the card */
  constructor(id) {
    this.card = byId(id);
    this.body = this.card.querySelector(".body");
    this.note = this.card.querySelector(".note");
    this.#said = el("p", { class: "said", hidden: true });
    this.content = el("div", { hidden: true });
    this.body.append(this.#said, this.content);
    this.#say("…");
  }

  /** The content is there. */
  ok() {
    this.#since = Date.now();
    this.#shown = true;
    this.#said.hidden = true;
    this.content.hidden = false;
    this.card.classList.remove("stale");
  }

  /** There is nothing (yet); say what would bring something. */
  empty(...why) {
    this.#shown = false;
    this.content.hidden = true;
    this.card.classList.remove("stale");
    this.#say(...why);
  }

  /** It could not be had. What was shown stays, and is marked as old. */
  trouble(error) {
    const why = reason(error);
    if (this.#shown) {
      this.card.classList.add("stale");
      this.#say(`${why} This is as of ${clock(this.#since)}.`);
    } else {
      this.#say(why);
    }
    this.#said.classList.toggle("bad", error.status !== 404);
  }

  /** Run something that fills the panel; an error is shown in it, and passed on. */
  async filled(fillIt) {
    try {
      await fillIt();
    } catch (error) {
      if (error.status === undefined) throw error;
      this.trouble(error);
      throw error;
    }
  }

  #say(...what) {
    this.#said.hidden = false;
    this.#said.classList.remove("bad");
    if (what.length === 1 && typeof what[0] === "string") say(this.#said, what[0]);
    else fill(this.#said, ...what);
  }
}
