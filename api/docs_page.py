"""The page at /docs: shows the OpenAPI description and tries requests. One file, no CDN, so it works without the internet."""

from __future__ import annotations

import base64
import hashlib
import re

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Millrace API</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
  details { border: 1px solid #ccc; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
  summary { cursor: pointer; } summary b { display: inline-block; width: 4rem; color: #06c; } summary b.post { color: #070; }
  code, pre, textarea, input { font: 14px/1.4 ui-monospace, monospace; }
  pre { background: #f4f4f4; padding: .6rem; overflow: auto; max-height: 24rem; white-space: pre-wrap; }
  textarea { width: 100%; box-sizing: border-box; } label { display: block; margin: .3rem 0; }
  label span { color: #666; } input { width: 16rem; } button { font: inherit; padding: .1rem 1rem; margin: .4rem 0; }
  @media (prefers-color-scheme: dark) {
    body { color: #ddd; background: #161616; } pre { background: #222; } summary b { color: #6bf; } summary b.post { color: #7d7; }
  }
</style>
<h1>Millrace API</h1>
<p id="about"></p>
<p><label>API key, if one is needed: <input type="password" id="key" autocomplete="off" size="60"></label></p>
<p>The description in machine-readable form: <a href="openapi.json">openapi.json</a></p>
<main></main>
<h2>Types</h2>
<section></section>
<script>
"use strict";
const first = (holder) => Object.values((holder || {}).examples || {}).map((example) => example.value)[0];
const text = (value) => typeof value === "string" ? value : JSON.stringify(value, null, 2);
const make = (tag, text, parent, set = {}) => {
  const node = Object.assign(document.createElement(tag), set);
  if (text !== null) node.textContent = text;
  parent.append(node);
  return node;
};
const show = (path, verb, operation) => {
  const box = make("details", null, document.querySelector("main"));
  const head = make("summary", null, box);
  make("b", verb.toUpperCase(), head, { className: verb });
  make("code", path, head);
  make("p", operation.description || operation.summary, box);
  const form = make("form", null, box);
  const fields = (operation.parameters || []).map((parameter) => {
    const row = make("label", parameter.name + " ", form);
    const input = make("input", null, row, { name: parameter.name, required: parameter.required });
    const kind = parameter.schema;
    input.placeholder = first(parameter) ?? kind.default ?? (kind.enum || []).join(" | ");
    make("span", " " + (parameter.description || ""), row);
    return { parameter, input };
  });
  const [taken] = operation.requestBody ? Object.values(operation.requestBody.content) : [];
  const body = taken ? make("textarea", text(first(taken) ?? {}), form, { rows: 6 }) : null;
  make("button", "Send", form);
  const result = make("pre", null, box, { hidden: true });
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    const query = new URLSearchParams(), headers = {};
    let url = path;
    for (const { parameter, input } of fields) {
      if (parameter.in === "path") url = url.replace(new RegExp(`[{]${parameter.name}(:path)?[}]`), encodeURIComponent(input.value));
      else if (input.value === "") continue;
      else if (parameter.in === "header") headers[parameter.name] = input.value;
      else query.set(parameter.name, input.value);
    }
    url = url.slice(1) + (query.size ? "?" + query : "");
    result.hidden = false;
    try {
      const key = document.getElementById("key").value.trim();
      if (key) headers.Authorization = `Bearer ${key}`;
      const options = body ? { method: verb, body: body.value, headers: { ...headers, "Content-Type": "application/json" } } : { headers };
      const answer = await fetch(url, options);
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      result.textContent = `${verb.toUpperCase()} ${url}\\n${answer.status} ${answer.statusText}\\n\\n${shown}`;
    } catch (error) { result.textContent = String(error); }
  });
  make("p", "Answers:", box);
  const list = make("ul", null, box);
  for (const [status, answer] of Object.entries(operation.responses)) {
    const item = make("li", `${status}: ${answer.description}`, list);
    for (const content of Object.values(answer.content || {})) {
      const sample = make("details", null, item);
      make("summary", "example", sample);
      make("pre", text(first(content) ?? ""), sample);
    }
  }
};
fetch("openapi.json").then((answer) => answer.json()).then((api) => {
  document.getElementById("about").textContent = api.info.description;
  for (const [path, verbs] of Object.entries(api.paths)) for (const [verb, operation] of Object.entries(verbs)) show(path, verb, operation);
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    const box = make("details", null, document.querySelector("section"));
    make("code", name, make("summary", null, box));
    make("pre", JSON.stringify(schema, null, 2), box);
  }
});
</script>
</html>
"""


def _script_hash(page: str) -> str:
    """Return the hash by which a Content-Security-Policy lets the page's script run, and no other."""
    script = re.search("<script>(.*?)</script>", page, flags=re.DOTALL)
    return "sha256-" + base64.b64encode(hashlib.sha256((script[1] if script else "").encode()).digest()).decode()


SCRIPT_HASH = _script_hash(PAGE)
