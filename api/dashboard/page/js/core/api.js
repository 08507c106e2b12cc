// Asks the API: paths relative to the page, the task and the key added, errors as problems.
import { askForKey, headers } from "./key.js";
import { task } from "./state.js";

const TIMEOUT_MS = 20_000;

/** What the API said instead of an answer. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 if there was no answer at all
   * @param {string} detail what happened
   * @param {number|null} retryAfterMs how long to wait, if it said so
   */
  constructor(status, detail, retryAfterMs = null, errors = []) {
    super(detail);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
    this.errors = errors;
  }
}

/** Return the URL of a route. The task is added, unless the query names it. */
export function address(path, query = {}) {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  url.hash = "";
  const all = path.startsWith("/v1/") && task.get() ? { task: task.get(), ...query } : query;
  for (const [name, value] of Object.entries(all)) if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  return url;
}

/** Ask for an answer: JSON. `accept` names statuses beside 2xx whose body is an answer too. */
export function get(path, query = {}, { accept = [] } = {}) {
  return ask("GET", path, query, undefined, accept);
}

/** Send something, and return the answer. */
export function post(path, body, query = {}, { timeoutMs = TIMEOUT_MS } = {}) {
  return ask("POST", path, query, body, [], timeoutMs);
}

async function ask(method, path, query, body, accept, timeoutMs = TIMEOUT_MS) {
  const answer = await attempt(method, path, query, body, timeoutMs);
  if (answer.status === 401 && await askForKey("The API wants a key for this.", method !== "GET")) {
    return read(await attempt(method, path, query, body, timeoutMs), accept);
  }
  return read(answer, accept);
}

async function attempt(method, path, query, body, timeoutMs) {
  const sent = body === undefined ? {} : { "Content-Type": "application/json" };
  try {
    return await fetch(address(path, query), {
      method,
      headers: { Accept: "application/json", ...sent, ...headers() },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
      cache: "no-store",
    });
  } catch (error) {
    throw new ApiError(0, error.name === "TimeoutError" ? "The API has not answered in time." : "The API does not answer.");
  }
}

async function read(answer, accept) {
  let body = null;
  try {
    body = await answer.json();
  } catch { /* not JSON: the status says it */ }
  if ((answer.ok || accept.includes(answer.status)) && body !== null) return body;
  throw problem(answer, body);
}

/** Return the error that an answer stands for. */
export function problem(answer, body) {
  const seconds = Number(answer.headers.get("Retry-After"));
  const named = (body?.errors ?? []).map((error) => `${error.field}: ${error.detail}`).join("; ");
  const detail = [body?.detail ?? `${answer.status} ${answer.statusText}`, named].filter(Boolean).join(" — ");
  return new ApiError(answer.status, detail, seconds > 0 ? seconds * 1000 : null, body?.errors ?? []);
}
