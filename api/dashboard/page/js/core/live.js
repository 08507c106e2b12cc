// The live stream: read by fetch, taken up where it ended, with longer and longer pauses if it keeps ending.
import { address, problem } from "./api.js";
import { askForKey, headers } from "./key.js";
import { EventStream } from "./sse.js";
import { live, task } from "./state.js";

const KINDS = "prediction,counts,quality";
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 20_000;
/** The server sends a comment now and then; a stream that is silent for longer is dead. */
const SILENT_MS = 45_000;
/** A stream that has lasted so long is a good one: after it the pauses begin anew. */
const STABLE_MS = 5_000;

const listeners = { prediction: new Set(), counts: new Set(), quality: new Set() };
let filters = {};
let current = null;
let lastId = null;
let wait = FIRST_WAIT_MS;
let timer = null;

/** Call `listener` with each event of a kind: prediction, counts, quality. */
export function onLive(kind, listener) {
  listeners[kind].add(listener);
}

/** Narrow the predictions of the stream, so that rare ones are not lost among those that are left out. */
export function narrow(wanted) {
  if (JSON.stringify(wanted) === JSON.stringify(filters)) return;
  filters = wanted;
  reconnect();
}

export function startLive() {
  task.watch(reconnect);
  document.addEventListener("visibilitychange", () => {
    // A page that nobody sees holds no connection.
    if (document.hidden) stop("off");
    else if (!current) reconnect();
  });
  reconnect();
}

function stop(state) {
  clearTimeout(timer);
  current?.abort();
  current = null;
  if (state) live.set(state);
}

function reconnect() {
  stop();
  // Ids belong to a stream; one with other filters begins anew.
  lastId = null;
  wait = FIRST_WAIT_MS;
  if (!document.hidden) run();
}

async function run() {
  const mine = new AbortController();
  current = mine;
  let pause = null;
  try {
    pause = await listen(mine);
  } catch (error) {
    if (mine.signal.aborted) return;
    pause = error.retryAfterMs ?? null;
    // Without the route, or without leave to use it, the page asks again and again instead.
    live.set([403, 404, 405, 501].includes(error.status) ? "polling" : "retrying");
    if (error.status === 401 && await askForKey("The API wants a key to show its data.")) wait = 0;
  }
  if (current !== mine) return;
  current = null;
  // A stream that has ended in order is taken up again, and nothing is amiss: the server lets each go after a while.
  const jitter = 0.75 + Math.random() / 2;
  timer = setTimeout(run, Math.max(pause ?? 0, wait * jitter));
  wait = Math.min(LONGEST_WAIT_MS, Math.max(FIRST_WAIT_MS, wait * 2));
}

/** Read one stream to its end; return how long the server wants a pause, or null. */
async function listen(mine) {
  const resumed = lastId === null ? {} : { "Last-Event-ID": lastId };
  const url = address("/v1/live", { kinds: KINDS, ...filters });
  const answer = await fetch(url, { headers: { Accept: "text/event-stream", ...resumed, ...headers() }, signal: mine.signal, cache: "no-store" });
  if (!answer.ok || !answer.body) throw problem(answer, await answer.json().catch(() => null));
  live.set("live");
  const stream = new EventStream();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const began = performance.now();
  let alarm = null;
  try {
    for (;;) {
      clearTimeout(alarm);
      alarm = setTimeout(() => reader.cancel(), SILENT_MS);
      const { done, value } = await reader.read();
      if (done) return stream.retryMs;
      for (const event of stream.push(value)) tell(event);
      if (stream.lastId !== null) lastId = stream.lastId;
      if (performance.now() - began > STABLE_MS) wait = FIRST_WAIT_MS;
    }
  } finally {
    clearTimeout(alarm);
  }
}

function tell({ type, data }) {
  const called = listeners[type];
  if (!called) return;
  let value = null;
  try {
    value = JSON.parse(data);
  } catch (error) {
    console.error(`a live event of kind ${type} is no JSON`, error);
    return;
  }
  for (const listener of called) listener(value);
}
