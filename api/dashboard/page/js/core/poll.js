// Asks again and again, but only while what is asked for can be seen; after an error less and less often.
import { task, view } from "./state.js";

const SLOWEST_MS = 30_000;
const jobs = new Set();

class Job {
  #timer = null;
  #running = false;
  #again = false;
  #failures = 0;
  #last = 0;

  constructor(ask, everyMs, views) {
    this.ask = ask;
    this.everyMs = everyMs;
    this.views = views;
  }

  get seen() {
    return !document.hidden && (!this.views || this.views.includes(view.get()));
  }

  get #wait() {
    return typeof this.everyMs === "function" ? this.everyMs() : this.everyMs;
  }

  /** Ask now, unless it cannot be seen. */
  async now() {
    clearTimeout(this.#timer);
    if (!this.seen) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    let wait = this.#wait;
    try {
      await this.ask();
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      wait = Math.max(error.retryAfterMs ?? 0, Math.min(SLOWEST_MS, wait * 2 ** Math.min(this.#failures, 6)));
      if (error.status === undefined) console.error(error);
    }
    this.#running = false;
    this.#last = Date.now();
    if (this.#again) wait = 0;
    this.#again = false;
    this.#timer = setTimeout(() => this.now(), wait);
  }

  /** It can be seen again: ask if the answer is old. */
  woken() {
    if (this.seen && Date.now() - this.#last > this.#wait / 2) this.now();
  }
}

/**
 * Ask every so many milliseconds while one of the views is shown (all views, if none is named). Starts with `startPolling`.
 * @returns {{now: function}} asks at once, for instance when what is asked for has changed
 */
export function poll(ask, everyMs, views = null) {
  const job = new Job(ask, everyMs, views);
  jobs.add(job);
  return job;
}

/** Begin asking. */
export function startPolling() {
  const wake = () => jobs.forEach((job) => job.woken());
  view.watch(wake);
  document.addEventListener("visibilitychange", wake);
  task.watch(() => jobs.forEach((job) => job.now()));
  jobs.forEach((job) => job.now());
}
