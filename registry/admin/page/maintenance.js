// The switch that takes an instance out of the answers, and puts it back.

import { $, h, say } from "./dom.js";
import { put } from "./api.js";

// maintenanceSwitch is the switch of an instance, or why there is none.
export function maintenanceSwitch(i, overview) {
  const out = i.Maintenance !== undefined;
  if (!i.Ours) return h("span", { class: "faint small", title: "Maintenance is switched on the node that an instance runs on" }, `${i.Node}'s to switch`);
  if (!overview?.MayWrite) return h("span", { class: "faint small" }, "your token only reads");
  return h("button", {
    type: "button", class: "switch", role: "switch", "aria-checked": String(out), "aria-label": `Maintenance of ${i.ID}`,
    data: { key: `switch ${i.ID}` }, on: { click: () => (out ? end(i) : begin(i)) },
  }, h("span", { "aria-hidden": "true" }, "Maintenance"), h("i", { "aria-hidden": "true" }));
}

const path = (i, query) => `/v1/agent/service/maintenance/${encodeURIComponent(i.ID)}?${new URLSearchParams(query)}`;

async function end(i) {
  try {
    await put(path(i, { enable: "false" }));
    say(`${i.ID} is in the answers again, as far as its checks let it`);
  } catch (e) {
    say(e.message);
  }
}

function begin(i) {
  const dialog = $("maintenance"), error = $("maintenance-error"), reason = $("maintenance-reason"), lasts = $("maintenance-for");
  $("maintenance-what").textContent = `Clients that ask for the service are no longer sent to ${i.ID}.`;
  error.textContent = "";
  reason.value = lasts.value = "";
  dialog.querySelector("[value=cancel]").onclick = () => dialog.close();
  dialog.querySelector("form").onsubmit = async (e) => {
    e.preventDefault();
    try {
      await put(path(i, { enable: "true", reason: reason.value.trim(), ...(lasts.value && { for: lasts.value }) }));
      dialog.close();
      say(`${i.ID} is in maintenance`);
    } catch (e) {
      error.textContent = e.message;
    }
  };
  dialog.showModal();
  reason.focus();
}
