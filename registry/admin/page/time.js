// Times as people say them, by the server's clock: what the page is told is by
// that, and this machine's may differ.

let skew = 0; // milliseconds that the server's clock is ahead

export function setServerTime(now) {
  const time = Date.parse(now);
  if (!Number.isNaN(time)) skew = time - Date.now();
}

export const serverNow = () => Date.now() + skew;

const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// lasting says how long something has been so: "3 h", "4 d".
export function lasting(since, now = serverNow()) {
  const seconds = Math.max(0, (now - since) / 1000);
  const [unit, size] = units.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

// at says when something was, with the day if that was long ago.
export function at(time) {
  return (Math.abs(serverNow() - time) < 12 * 3600 * 1000 ? clock : day).format(time);
}

// duration says how long an answer took.
export function duration(seconds) {
  if (seconds >= 1) return `${+seconds.toPrecision(3)} s`;
  if (seconds >= 1e-3) return `${+(seconds * 1e3).toPrecision(2)} ms`;
  return `${+(seconds * 1e6).toPrecision(2)} µs`;
}
