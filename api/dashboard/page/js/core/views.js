// Which view is shown: the part of the address after the #, so that it can be linked to and gone back to.
import { byId } from "./dom.js";
import { view } from "./state.js";

export const VIEWS = ["overview", "predictions", "quality", "review", "models", "system"];

/** Return the parameters of the address: `#predictions?event=e1`. */
export function parameters() {
  return new URLSearchParams(location.hash.split("?")[1] ?? "");
}

export function startViews() {
  addEventListener("hashchange", () => show(true));
  document.querySelector(".skip").addEventListener("click", (event) => {
    // The address names the view; a step within it is no place to come back to.
    event.preventDefault();
    byId("main").focus();
  });
  show(false);
}

/** Mark the link of the view that is shown; on a narrow page it may lie beyond the edge of the bar. */
function mark(link) {
  link.setAttribute("aria-current", "page");
  const bar = link.closest("ul");
  bar.scrollLeft = link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
}

function show(moved) {
  const [name] = location.hash.slice(1).split("?");
  const shown = VIEWS.includes(name) ? name : "overview";
  for (const other of VIEWS) byId(other).hidden = other !== shown;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.getAttribute("href") === `#${shown}`) mark(link);
    else link.removeAttribute("aria-current");
  }
  const heading = byId(`${shown}-title`);
  document.title = `${heading.textContent} · Millrace`;
  view.set(shown);
  if (moved) {
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}
