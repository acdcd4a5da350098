// Keeps the rows as the server has them: an event says which service changed, and
// those that did are asked for together, a moment later. Where many changed, or a
// node did, all are.

import { get } from "./api.js";
import * as model from "./model.js";

const MOMENT = 100; // milliseconds that changes are gathered for
const MANY = 60; // names that are asked for one by one

export class Refresher {
  // told is called with the names that changed, or with null for all of them.
  constructor(told) {
    this.told = told;
    this.names = new Set();
    this.all = false;
    this.timer = null;
    this.rest = MOMENT;
  }

  // event takes in what the stream says.
  event({ type, data }) {
    if (type === "reset" || type === "node") return this.everything();
    this.names.add(data.Service.Service);
    if (data.Former) this.names.add(data.Former);
    this.schedule();
  }

  everything() {
    this.all = true;
    this.schedule();
  }

  schedule() {
    this.timer ??= setTimeout(() => this.run(), this.rest);
  }

  async run() {
    const names = this.all || this.names.size > MANY ? null : [...this.names];
    this.names.clear();
    this.all = false;
    const began = performance.now();
    try {
      if (names) model.setSome(names, await get("/v1/overview/services?" + new URLSearchParams(names.map((n) => ["name", n]))));
      else model.setAll(await get("/v1/overview/services"));
      this.told(names);
    } catch {
      if (names) for (const n of names) this.names.add(n);
      else this.all = true; // again, when the stream is back
    }
    // Of a very large registry, asking for all takes a while: not more than a third of the time.
    this.rest = names ? MOMENT : Math.max(MOMENT, 2 * (performance.now() - began));
    this.timer = null;
    if (this.names.size || this.all) this.schedule();
  }
}
