// The settings that are in force, where each is from, and what became of the last
// reload.

import { $, h } from "./dom.js";
import { get } from "./api.js";
import { go, place } from "./place.js";
import { at } from "./time.js";

let configuration = null;

// showSettings draws the settings; again asks for them although they are known.
export async function showSettings(overview, again = false) {
  if (!overview) return;
  if (!overview.Configures) return $("settings-list").replaceChildren(h("p", { class: "big" }, "There are no settings that this endpoint may show you."));
  const filter = $("settings-filter");
  filter.oninput = () => go({ q: filter.value.trim() }, { replace: true });
  if (document.activeElement !== filter) filter.value = place().q;
  try {
    if (!configuration || again) configuration = await get("/v1/config");
  } catch (e) {
    if (!configuration) return $("settings-list").replaceChildren(h("p", { class: "banner" }, e.message));
  }
  if (place().view === "settings") draw();
}

function draw() {
  if (!configuration) return;
  const { Settings, LastReload } = configuration;
  const words = place().q.toLowerCase().split(/\s+/);
  const found = Settings.filter((s) => words.every((w) => `${s.Name} ${shown(s.Value)} ${s.Source}`.toLowerCase().includes(w)));
  $("settings-reload").textContent = said(LastReload);
  $("settings-list").replaceChildren(found.length
    ? h("dl", { class: "settings" }, found.map((s) => h("div", { class: s.Source.startsWith("default") ? "faint" : "" },
      h("dt", {}, s.Name), h("dd", {}, h("code", {}, shown(s.Value))), h("dd", { class: "small" }, s.Source))))
    : h("p", { class: "faint" }, "No setting is like that."));
}

// shown writes a value as people do: a list without its brackets, and a dash for none.
function shown(value) {
  if (Array.isArray(value)) return value.join(", ") || "–";
  return value === null || value === "" ? "–" : String(value);
}

function said(last) {
  if (!last) return "As read at the start.";
  const time = at(Date.parse(last.At));
  if (!last.OK) return `As it was: a reload failed at ${time}. ${last.Error}`;
  return last.Waiting ? `Reloaded at ${time}. After a restart: ${last.Waiting.join(", ")}.` : `Reloaded at ${time}.`;
}
