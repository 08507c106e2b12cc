// Asks the serving model about a text, without storing or teaching anything.
import { answered } from "../core/announce.js";
import { post } from "../core/api.js";
import { byId, el, fill } from "../core/dom.js";
import { count, percent } from "../core/format.js";
import { labelTag } from "../core/palette.js";
import { reason } from "../core/panel.js";
import { evidence, probabilities } from "../predictions/explanation.js";

export function startClassify() {
  const text = el("textarea", { rows: 2, name: "text", required: true, placeholder: "A text to ask the model about", "aria-label": "Text to classify", maxlength: 20000 });
  const send = el("button", { class: "main" }, "Classify");
  const result = el("div", { class: "stack" });
  const form = el("form", { class: "stack", on: { submit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    fill(result, ...await ask(text.value));
    send.disabled = false;
  } } }, text, el("div", { class: "row end" }, send));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  byId("try").querySelector(".body").append(el("div", { class: "stack" }, form, result));
}

async function ask(text) {
  try {
    const { model, results: [found] } = await post("/v1/classify", { text }, { explain: true, top: 5 });
    answered(found.label === null ? "The model knows no class yet." : `${found.label}, ${percent(found.confidence)}`);
    return [
      el("p", {}, labelTag(found.label), " ", el("span", { class: "strong" }, found.label === null ? "" : percent(found.confidence)),
        el("span", { class: "quiet small" }, ` by ${model.line} at seq ${count(model.seq)}`)),
      probabilities(found.proba),
      found.explanation ? evidence(found.explanation) : null,
    ];
  } catch (error) {
    if (error.status === undefined) throw error;
    answered(reason(error));
    return [el("p", { class: "said bad" }, reason(error))];
  }
}
