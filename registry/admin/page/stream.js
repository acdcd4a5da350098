// The stream of changes, /v1/events. EventSource can send no token, so this reads
// server-sent events from fetch: it comes back by itself, from where it was, and
// takes a connection that says nothing for dead.

import { request } from "./api.js";

const SILENCE = 40_000; // milliseconds; the server shows every 15 s that it lives
const LONGEST_WAIT = 5_000;

// follow calls on.event with each event, and on.state with "live" or "lost"
// whenever that changes. It never ends.
export async function follow(on) {
  let last = null, failures = 0;
  for (;;) {
    try {
      await read(last, (event) => {
        if (event.id) last = event.id;
        on.event(event);
      }, () => {
        failures = 0;
        on.state("live");
      });
    } catch { /* the state says it */ }
    on.state("lost");
    await pause(Math.min(LONGEST_WAIT, 500 * 2 ** failures++) * (0.75 + Math.random() / 2));
  }
}

async function read(last, tell, alive) {
  const abort = new AbortController();
  let watchdog;
  const wind = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => abort.abort(), SILENCE);
  };
  wind();
  try {
    const response = await request("/v1/events", { signal: abort.signal, headers: last ? { "Last-Event-ID": last } : {} });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      wind();
      alive();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event.data) tell(event);
      }
    }
  } finally {
    clearTimeout(watchdog);
  }
}

function parse(block) {
  const event = { id: null, type: "message", data: null };
  for (const line of block.split("\n")) {
    const [, field, value] = line.match(/^(\w+): ?(.*)$/) ?? [];
    if (field === "id") event.id = value;
    if (field === "event") event.type = value;
    if (field === "data") event.data = JSON.parse(value);
  }
  return event;
}

// pause waits, and no longer once the network is back.
function pause(milliseconds) {
  return new Promise((done) => {
    const timer = setTimeout(end, milliseconds);
    function end() {
      clearTimeout(timer);
      removeEventListener("online", end);
      done();
    }
    addEventListener("online", end);
  });
}
