// Asks whether it is meant, who asks and why; then shows what the learner has answered.
import { answered } from "../core/announce.js";
import { get, post } from "../core/api.js";
import { button, byId, el, field, fill } from "../core/dom.js";
import { count, duration } from "../core/format.js";
import { reason } from "../core/panel.js";
import { myName, setMyName } from "../core/state.js";

const WAIT_S = 20;
const LOOK_MS = 1500;
const LOOK_FOR_MS = 300_000;

const WORDS = {
  promote: { title: (to) => `Promote ${to}`, verb: "Promote", says: (to, serving) => `${to} is to serve instead of ${serving}. The one that serves now stays as the former one: it goes on learning, and can be rolled back to.` },
  rollback: { title: () => "Roll back", verb: "Roll back", says: (to, serving) => `${to} is to serve again instead of ${serving}, which is then held no more.` },
  shadow: { title: (to) => `Watch ${to}`, verb: "Watch", says: (to) => `${to} predicts and learns beside the one that serves. It is promoted if it is better, and dropped if it is not.` },
  drop: { title: (to) => `Drop ${to}`, verb: "Drop", says: (to) => `${to} is watched no more.` },
};

/**
 * Open the dialog.
 * @param {{do: string, line: string|null, serving: string|null, to: string}} wanted
 * @param {function} done called once the learner has answered
 */
export function askFor(wanted, done) {
  const words = WORDS[wanted.do];
  const by = el("input", { name: "by", required: true, maxlength: 256, autocomplete: "name", value: myName() });
  const why = el("textarea", { name: "why", rows: 2, required: true, maxlength: 4096 });
  const answer = el("div", { class: "answer", role: "status", hidden: true });
  const send = el("button", { class: "main" }, words.verb);
  const close = button("Cancel", () => shown.close());
  const form = el("form", { on: { submit: async (event) => {
    event.preventDefault();
    setMyName(by.value);
    send.disabled = true;
    const ended = await ask(wanted, { by: by.value.trim(), why: why.value.trim() }, answer);
    send.disabled = ended;
    if (ended) {
      close.textContent = "Close";
      close.focus();
      done();
    }
  } } },
  el("h2", { id: "ask-title" }, words.title(wanted.to)),
  el("p", {}, words.says(wanted.to, wanted.serving ?? "the one that serves")),
  field("Who asks", by), field("Why", why), answer,
  el("div", { class: "row end" }, close, send));
  const shown = el("dialog", { "aria-labelledby": "ask-title", on: { close: () => shown.remove() } }, form);
  byId("dialogs").append(shown);
  shown.showModal();
  (myName() ? why : by).focus();
}

/** Send the command and show the answer; return whether the learner has done it. */
async function ask(wanted, said, answer) {
  const began = Date.now();
  const tell = (text, kind = "") => {
    answer.hidden = false;
    answer.className = `answer ${kind}`;
    fill(answer, text);
  };
  tell("Asking the learner …");
  try {
    const path = wanted.do === "rollback" ? "/v1/models/rollback" : `/v1/models/${wanted.line}/${wanted.do}`;
    let found = await post(path, { ...said, ...(wanted.serving ? { against: wanted.serving } : {}) }, { wait_s: WAIT_S }, { timeoutMs: (WAIT_S + 15) * 1000 });
    while (found.state === "waiting" && Date.now() - began < LOOK_FOR_MS) {
      tell(`The learner has not answered yet, after ${duration(Date.now() - began)}. The dialog may be closed: the command stays.`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      found = await get(`/v1/models/commands/${encodeURIComponent(found.command_id)}`);
    }
    if (found.state === "refused") tell(`The learner refused it: ${found.answer.why}`, "bad");
    else if (found.state === "done") tell(`Done: ${found.answer.what}. It is entry ${count(found.answer.seq)} of the model log.`, "good");
    else tell("The learner has not answered yet; the changes below will show it.", "");
    if (found.state === "done") answered(`Done: ${found.answer.what}`);
    return found.state !== "refused";
  } catch (error) {
    if (error.status === undefined) throw error;
    tell(reason(error), "bad");
    return false;
  }
}
