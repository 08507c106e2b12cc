// The API key: asked for when the API wants one, kept for this tab only.
import { button, byId, el, field } from "./dom.js";

const STORED = "millrace-key";
let asked = null;
let declined = false;
let memory = null;

export function key() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return memory;
  }
}

function keep(given) {
  memory = given;
  try {
    if (given) sessionStorage.setItem(STORED, given);
    else sessionStorage.removeItem(STORED);
  } catch { /* storage is forbidden: it is kept as long as the page */ }
}

export function headers() {
  const held = key();
  return held ? { Authorization: `Bearer ${held}` } : {};
}

/**
 * Ask for a key, once however many requests want it. Resolves to whether there is a new one.
 * @param {string} why what is said above the field
 * @param {boolean} again whether to ask although the person has closed the dialog before
 */
export function askForKey(why, again = false) {
  byId("key").hidden = false;
  if (declined && !again) return Promise.resolve(false);
  asked ??= dialog(why).finally(() => { asked = null; });
  return asked;
}

function dialog(why) {
  return new Promise((resolve) => {
    const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, name: "key" });
    const shown = el("dialog", { "aria-labelledby": "key-title", on: { close: () => end(false) } },
      el("form", { on: { submit: (event) => { event.preventDefault(); end(true); } } },
        el("h2", { id: "key-title" }, "API key"),
        el("p", {}, why),
        field("Key", input),
        el("p", { class: "quiet small" }, "It is kept in this tab until it is closed, and sent to this server only."),
        el("div", { class: "row end" },
          key() ? button("Forget it", () => { keep(null); location.reload(); }) : null,
          button("Cancel", () => shown.close()),
          el("button", { class: "main" }, "Use it"))));
    let ended = false;
    function end(given) {
      if (ended) return;
      ended = true;
      declined = !given;
      if (given) keep(input.value.trim());
      shown.close();
      shown.remove();
      resolve(given);
    }
    byId("dialogs").append(shown);
    shown.showModal();
    input.focus();
  });
}
