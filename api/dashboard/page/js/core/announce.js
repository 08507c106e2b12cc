// Says things to screen readers, politely, and not more than once in a while.
import { byId, say } from "./dom.js";

const EVERY_MS = 4000;
let last = 0;
let waiting = null;
let timer = null;

/** Say something soon; of several that come meanwhile only the last is said. */
export function announce(text) {
  waiting = text;
  clearTimeout(timer);
  timer = setTimeout(speak, Math.max(50, last + EVERY_MS - Date.now()));
}

/** Say the answer to what the person has just done, at once. */
export function answered(text) {
  waiting = text;
  clearTimeout(timer);
  timer = setTimeout(speak, 50);
}

function speak() {
  last = Date.now();
  say(byId("polite"), waiting);
}
