// Labels given on this page, and what becomes of them: sent, waiting, trained with its place in the log.
import { answered } from "../core/announce.js";
import { get, post } from "../core/api.js";
import { myName, task } from "../core/state.js";
import { reason } from "../core/panel.js";

const FIRST_LOOK_MS = 400;
const SLOWEST_LOOK_MS = 5000;
const LOOK_FOR_MS = 180_000;
const KEPT = 1000;

/** `{phase: "sending" | "sent" | "known" | "failed", meant, state, seq, why}` by task and event. */
const known = new Map();
const listeners = new Set();

/** The status of the label that was given here for an event, or null. */
export function statusOf(eventId) {
  return known.get(`${task.get()}\n${eventId}`) ?? null;
}

/** Call `listener` with the event id whenever a status changes. */
export function onStatus(listener) {
  listeners.add(listener);
}

/**
 * Send a label or a verdict for an event, and follow it.
 * @param {string} eventId
 * @param {{label?: string, verdict?: "right"|"wrong", comment?: string}} said
 */
export async function correct(eventId, said) {
  const key = `${task.get()}\n${eventId}`;
  const tell = (status) => {
    known.delete(key);
    known.set(key, status);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    for (const listener of listeners) listener(eventId);
  };
  const meant = said.label ?? said.verdict;
  tell({ phase: "sending", meant });
  try {
    const by = myName() ? { reviewer: myName() } : {};
    const { ids: [feedbackId] } = await post("/v1/feedback", { event_id: eventId, task: task.get() ?? undefined, source: "dashboard", ...by, ...said });
    tell({ phase: "sent", meant });
    follow(eventId, feedbackId, meant, tell);
  } catch (error) {
    if (error.status === undefined) throw error;
    tell({ phase: "failed", meant, why: reason(error) });
    answered(reason(error));
  }
}

async function follow(eventId, feedbackId, meant, tell) {
  const until = Date.now() + LOOK_FOR_MS;
  let wait = FIRST_LOOK_MS;
  let last = null;
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(SLOWEST_LOOK_MS, wait * 1.3);
    const mine = await lookUp(eventId, feedbackId);
    if (!mine) continue;
    if (last?.state !== mine.state || last?.seq !== mine.seq) tell({ phase: "known", meant, state: mine.state, seq: mine.seq, why: mine.reason });
    last = mine;
    if (mine.state !== "waiting") {
      answered(`The label ${meant} is ${mine.state}${mine.seq ? `, seq ${mine.seq}` : ""}.`);
      return;
    }
  }
}

async function lookUp(eventId, feedbackId) {
  try {
    const receipt = await get(`/v1/labels/${encodeURIComponent(eventId)}`);
    return receipt.history.findLast((state) => state.feedback.feedback_id === feedbackId) ?? null;
  } catch (error) {
    if (error.status === undefined) throw error;
    // Not there yet, or Redis is away: it is looked for again.
    return null;
  }
}
