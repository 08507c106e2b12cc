// What all of the page shares: the task, its classes, who is asking.
import { Value } from "./value.js";

/** The chosen task; null until the tasks are known, which means the default one. */
export const task = new Value(null);
/** What there is to ask about and to send to: the answer of GET /v1/tasks, or null. */
export const setup = new Value(null);
/** The classes that the serving model knows, sorted. */
export const classes = new Value([]);
/** The answer of GET /v1/me, or null. */
export const me = new Value(null);
/** Whether the key that is used may do what needs a role; true as long as that is not known. */
export const may = (role) => me.get()?.roles.includes(role) ?? true;
/** The view that is shown. */
export const view = new Value("overview");
/** How the live stream is: waiting, live, polling, retrying, off. */
export const live = new Value("waiting");
/** Whether anything was ever predicted in this task: null until that is known. */
export const anything = new Value(null);

const NAME = "millrace-name";
let name = "";
try {
  name = localStorage.getItem(NAME) ?? "";
} catch { /* storage is forbidden: the name is kept as long as the page */ }

/** The name under which this person labels and changes models. */
export function myName() {
  return me.get()?.name ?? name;
}

export function setMyName(given) {
  name = given.trim();
  try {
    localStorage.setItem(NAME, name);
  } catch { /* as above */ }
}
