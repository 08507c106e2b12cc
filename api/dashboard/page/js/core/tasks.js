// The tasks, who asks, and the classes of the model: what the rest of the page goes by.
import { get } from "./api.js";
import { byId, el, fill, say } from "./dom.js";
import { askForKey } from "./key.js";
import { poll } from "./poll.js";
import { classes, me, setup, task } from "./state.js";

export function startTasks() {
  poll(async () => {
    if (setup.get()) return;
    const found = await get("/v1/tasks");
    setup.set(found);
    show(found);
  }, 5000);
  poll(async () => {
    const found = await get("/v1/me");
    me.set(found);
    byId("key").hidden = !found.keys_required && byId("key").hidden;
    say(byId("signed"), found.name ? `Signed in as ${found.name} (${found.roles.join(", ")})` : "");
  }, 60_000);
  poll(async () => {
    const found = await get("/v1/classes");
    if (JSON.stringify(found.classes) !== JSON.stringify(classes.get())) classes.set(found.classes);
  }, 5000);
  byId("key").addEventListener("click", async () => {
    if (await askForKey("A key says who asks and what they may do.", true)) location.reload();
  });
  task.watch(() => classes.set([]));
}

function show({ tasks, default: first }) {
  const chosen = new URLSearchParams(location.search).get("task");
  const select = byId("task");
  fill(select, tasks.map((name) => el("option", { value: name, selected: name === (tasks.includes(chosen) ? chosen : first) }, name)));
  select.closest("label").hidden = tasks.length < 2;
  select.addEventListener("change", () => {
    const url = new URL(location.href);
    url.searchParams.set("task", select.value);
    history.replaceState(null, "", url);
    task.set(select.value);
  });
  task.set(select.value);
}
