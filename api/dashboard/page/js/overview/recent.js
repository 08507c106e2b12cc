// The predictions that have just come: from the live stream, or asked for while that is not there. A few hundred at most.
import { get } from "../core/api.js";
import { onLive } from "../core/live.js";
import { poll } from "../core/poll.js";
import { live, task } from "../core/state.js";

const FIRST = 200;
const KNOWN = 5000;
const listeners = new Set();
const known = new Set();

/** Call `listener` with each batch of new predictions, oldest first; `null` when the task has changed. */
export function onRecent(listener) {
  listeners.add(listener);
}

export function startRecent() {
  onLive("prediction", (prediction) => {
    if (!task.get() || prediction.task === task.get()) take([prediction]);
  });
  let first = true;
  poll(async () => {
    if (live.get() === "live" && !first) return;
    const { predictions } = await get("/v1/predictions", { limit: first ? FIRST : 100 });
    first = false;
    take(predictions.reverse());
  }, 3000, ["overview", "predictions"]);
  task.watch(() => {
    first = true;
    known.clear();
    for (const listener of listeners) listener(null);
  });
}

/** Pass on what was not there before: the stream and the answers to questions overlap. */
function take(predictions) {
  const fresh = predictions.filter((prediction) => !known.has(prediction.event_id));
  if (!fresh.length) return;
  for (const { event_id: id } of fresh) known.add(id);
  // A set keeps the order in which things came: the oldest go first.
  for (const id of known) {
    if (known.size <= KNOWN) break;
    known.delete(id);
  }
  for (const listener of listeners) listener(fresh);
}
