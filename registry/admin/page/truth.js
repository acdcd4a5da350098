// Whether what the page shows is true: the badge, and a banner for each reason why
// it may not be.

import { $, h } from "./dom.js";
import { at, lasting } from "./time.js";

const PATIENCE = 10_000; // milliseconds without the server, until what is shown is called stale

// Truth knows how the connection and the server's own view are.
export const truth = { connected: false, ever: false, heard: null, overview: null };

export function drawTruth() {
  const { state, text } = judge();
  const badge = $("badge");
  if (badge.dataset.state !== state || badge.textContent !== text) {
    badge.dataset.state = state;
    badge.textContent = text;
  }
  const banners = reasons().map(([title, text]) => h("p", { class: "banner" }, h("b", {}, title), " ", text));
  const now = banners.map((b) => b.textContent).join("\n");
  if ($("banners").dataset.now !== now) {
    $("banners").dataset.now = now;
    $("banners").replaceChildren(...banners);
  }
  document.body.classList.toggle("untrue", state === "stale");
}

function judge() {
  const { connected, ever, heard, overview } = truth;
  if (!ever) return { state: "connecting", text: "Connecting" };
  if (!connected) {
    const stale = Date.now() - heard > PATIENCE;
    return stale ? { state: "stale", text: `Stale since ${at(heard)}` } : { state: "reconnecting", text: "Reconnecting" };
  }
  if (overview?.Stale) {
    const since = Date.parse(overview.Stale.Since);
    return { state: "stale", text: since > 0 ? `Stale since ${at(since)}` : "Stale" };
  }
  return { state: "live", text: "Live" };
}

// reasons are what to say, the worst first.
function reasons() {
  const { connected, ever, heard, overview } = truth;
  const all = [];
  if (ever && !connected && Date.now() - heard > 1500) {
    all.push(["rollcall does not answer this page.", `What you see is from ${at(heard)}, and tells nothing of now.`]);
  }
  if (overview?.Stale) {
    const since = Date.parse(overview.Stale.Since);
    all.push([
      overview.Stale.Empty ? "The registry behind rollcall has not been heard of yet." : `rollcall answers from what it remembers${since > 0 ? `, for ${lasting(since)} now` : ""}.`,
      overview.Stale.Reason,
    ]);
  }
  if (overview?.Unready) all.push(["Clients are sent elsewhere.", overview.Unready]);
  if (overview?.ReloadFailed) all.push(["The configuration that was read last is wrong, and not in force.", overview.ReloadFailed]);
  return all;
}
