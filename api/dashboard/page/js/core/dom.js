// Making elements. Texts become text nodes and nothing else: what comes from events cannot be markup.

/** Return the element of an id; it is an error if the page has none. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Make an element.
 * @param {string} tag
 * @param {object} attributes `class`, `data` (an object), `on` (listeners), `share` (0..1, for bars), properties of forms, else attributes
 * @param {...(Node|string|number|null|undefined|Array)} children
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(node, name, value);
  node.append(...kept(children));
  return node;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "required", "selected", "tabIndex"]);

function set(node, name, value) {
  if (value === null || value === undefined || value === false && !name.startsWith("aria-")) return;
  if (name === "class") node.className = value;
  else if (name === "data") Object.assign(node.dataset, Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null && v !== undefined)));
  else if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
  else if (name === "share") node.style.setProperty("--share", `${(Math.max(0, Math.min(1, value)) * 100).toFixed(1)}%`);
  else if (PROPERTIES.has(name)) node[name] = value;
  else if (name.startsWith("on") || name === "style") throw new Error(`${name} is not to be set as an attribute`);
  else node.setAttribute(name, value === true ? "" : String(value));
}

function kept(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((c) => (c instanceof Node ? c : String(c)));
}

/** Replace what is in a node. */
export function fill(node, ...children) {
  node.replaceChildren(...kept(children));
}

/** Set a node's text only if it differs, so that nothing is announced or laid out anew without need. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Return a button. */
export function button(text, onClick, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: onClick } }, text);
}

/** Return a field with its label. */
export function field(label, control, attributes = {}) {
  return el("label", { class: "field", ...attributes }, el("span", {}, label), control);
}

/** Return a bar that is filled to a share; it repeats a figure beside it, so it is hidden from readers. */
export function bar(share, kind = "") {
  return el("span", { class: "fill-track", "aria-hidden": "true" }, el("span", { class: `fill ${kind}`, share }));
}

/**
 * Return a table.
 * @param {Array<{name: string, number?: boolean}>} columns
 * @param {Array<Array<Node|string|number>>} rows the first cell of each is its head
 */
export function table(columns, rows, { caption = null, kind = "" } = {}) {
  const cell = (tag, content, column, more = {}) => el(tag, { class: column.number ? "n" : null, ...more }, content);
  return el("table", { class: kind },
    caption && el("caption", { class: "hidden" }, caption),
    el("thead", {}, el("tr", {}, columns.map((column) => cell("th", column.name, column, { scope: "col" })))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((content, place) => place === 0
      ? cell("th", content, columns[0], { scope: "row" })
      : cell("td", content, columns[place], { "data-name": columns[place].name }))))));
}

/** Return a group of radio buttons as a segmented control, and call `onChange` with the chosen value. */
export function segments(fieldset, name, choices, chosen, onChange) {
  for (const [value, text] of choices) {
    const input = el("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => onChange(value) } });
    fieldset.append(el("label", {}, input, el("span", {}, text)));
  }
}
