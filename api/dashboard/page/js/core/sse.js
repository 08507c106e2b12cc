// Takes a stream of server-sent events apart, as the HTML standard says. EventSource could not send the key.

export class EventStream {
  #rest = "";
  #data = [];
  #type = "";
  /** The id of the last event that was whole; sent when the stream is taken up again. */
  lastId = null;
  #id = null;
  /** How long the server wants to be left alone after the stream has ended, in ms; null if it did not say. */
  retryMs = null;

  /** Take in a piece of text; return the events that are whole now: `{type, data, id}`. */
  push(text) {
    const whole = this.#rest + text;
    const events = [];
    let from = 0;
    for (;;) {
      const end = whole.slice(from).search(/[\r\n]/);
      if (end < 0) break;
      const at = from + end;
      // A CR at the end of a piece may be the first half of a CRLF.
      if (whole[at] === "\r" && at + 1 === whole.length) break;
      const event = this.#line(whole.slice(from, at));
      if (event) events.push(event);
      from = at + (whole[at] === "\r" && whole[at + 1] === "\n" ? 2 : 1);
    }
    this.#rest = whole.slice(from);
    return events;
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #dispatch() {
    const event = { type: this.#type || "message", data: this.#data.join("\n"), id: this.#id };
    const any = this.#data.length > 0;
    this.#data = [];
    this.#type = "";
    if (this.#id !== null) this.lastId = this.#id;
    return any ? event : null;
  }
}
