// What to do next, while there is nothing to see; the same lines stay among the system's.
import { byId, el, fill, say } from "../core/dom.js";
import { anything, me, setup, task } from "../core/state.js";

export function startFirstSteps() {
  const show = () => {
    const empty = anything.get() === false;
    const place = byId("first-steps");
    if (!empty) fill(place);
    else if (!place.hasChildNodes()) {
      fill(place, el("section", { class: "card steps", "aria-labelledby": "steps-title" },
        el("h2", { id: "steps-title" }, "Nothing has come in yet"),
        el("p", {}, "Send an event and it is classified within a second; send its label and the model learns it. This page shows both as they come."),
        ...lines(), el("p", { class: "quiet small" }, "A stream to look at: ", el("code", {}, "millrace replay FILE"), ". Labelled texts of before: ", el("code", {}, "millrace import-labels FILE"), ".")));
    }
    fill(byId("send").querySelector(".body"), el("div", { class: "stack" }, ...lines()));
  };
  anything.watch(show);
  setup.watch(() => { fill(byId("first-steps")); show(); });
  task.watch(show);
  me.watch(show);
  show();
}

function lines() {
  const here = new URL(".", document.baseURI).href.replace(/#.*$/, "");
  const { kafka = "127.0.0.1:9092", topics = { events: "events", feedback: "feedback" } } = setup.get() ?? {};
  const named = task.get() && task.get() !== setup.get()?.default ? { task: task.get() } : {};
  const key = me.get()?.keys_required ? " -H \"Authorization: Bearer $MILLRACE_KEY\"" : "";
  const event = JSON.stringify({ event_id: "ticket-1", text: "Where is my refund?", ...named });
  const label = JSON.stringify({ event_id: "ticket-1", label: "refund", ...named });
  const curl = (path, body) => `curl -s ${here}v1/${path} -H 'Content-Type: application/json'${key} -d '${body}'`;
  const kcat = (topic, body) => `echo 'ticket-1:${body}' | kcat -b ${kafka} -P -t ${topic} -K:`;
  return [
    copied("With curl", [curl("events", event), curl("feedback", label)]),
    copied("With kcat", [kcat(topics.events, event), kcat(topics.feedback, label)]),
  ];
}

function copied(name, commands) {
  const text = commands.join("\n");
  const copy = el("button", { type: "button", "aria-label": `Copy the lines for ${name.toLowerCase()}`, on: { click: async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(copy, "Copied");
    } catch {
      say(copy, "Not allowed");
    }
    setTimeout(() => say(copy, "Copy"), 2000);
  } } }, "Copy");
  return el("div", {}, el("h3", {}, name), el("div", { class: "copy" }, el("pre", {}, text), copy));
}
