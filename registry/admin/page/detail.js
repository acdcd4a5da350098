// A service that is open: its instances, the worst first, and of each its checks,
// what they said last and since when.

import { $, copier, h, plural } from "./dom.js";
import { get } from "./api.js";
import { go, href, place } from "./place.js";
import { badge } from "./status.js";
import { at, lasting } from "./time.js";
import { maintenanceSwitch } from "./maintenance.js";

let open = "", asked = 0;

// showDetail draws the service that the place names, or none. On a narrow screen
// it stands in the place of the list.
export async function showDetail(overview) {
  const name = place().service;
  document.body.classList.toggle("reading", name !== "");
  $("detail").hidden = name === "";
  if (!name) {
    open = "";
    return $("detail").replaceChildren();
  }
  const turn = ++asked, opened = open !== name;
  if (opened) $("detail").replaceChildren(heading(name), h("p", { class: "faint" }, "Asking…"));
  open = name;
  let content;
  try {
    content = service(await get(`/v1/overview/services/${encodeURIComponent(name)}`), overview);
  } catch (e) {
    if (!e.status && !opened) return; // what is shown is still what was last known
    content = [heading(name), h("p", { class: "big" }, e.status === 404 ? "It is not registered (any more)." : "It could not be loaded: " + e.message)];
  }
  if (turn !== asked || place().service !== name) return;
  put(content, opened);
  $("detail").setAttribute("aria-label", `Service ${name}`);
  if (opened && $("rows").contains(document.activeElement)) $("detail").focus({ preventScroll: true }); // Escape leads back
}

// put replaces what is shown and leaves the reader where they are.
function put(content, opened) {
  const detail = $("detail");
  const unfolded = new Map([...detail.querySelectorAll("details")].map((d) => [d.dataset.key, d.open]));
  const focus = detail.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const top = detail.scrollTop;
  detail.replaceChildren(...content);
  if (opened) {
    detail.scrollTop = 0;
    if (matchMedia("(max-width: 60rem)").matches) scrollTo(0, 0);
    return;
  }
  for (const d of detail.querySelectorAll("details")) if (unfolded.has(d.dataset.key)) d.open = unfolded.get(d.dataset.key);
  detail.scrollTop = top;
  if (focus) [...detail.querySelectorAll("[data-key]")].find((e) => e.dataset.key === focus)?.focus({ preventScroll: true });
}

const heading = (name) => h("header", {},
  h("a", { class: "back", href: href({ service: "" }), "aria-label": "Back to the list", data: { key: "back" } }, "←"),
  h("h2", {}, name),
  h("a", { class: "close", href: href({ service: "" }), "aria-label": "Close", data: { key: "close" } }, "✕"));

function service(s, overview) {
  const zone = overview?.Zone, question = zone && `${s.Name}.service.${zone}`;
  const dig = question && `dig ${question} SRV`;
  return [
    heading(s.Name),
    question && h("p", { class: "line" }, h("code", {}, dig), copier(dig, "the command"),
      overview.Explains && h("a", { href: href({ view: "test", name: question, type: "SRV" }), data: { key: "test" } }, "Test it here")),
    ...s.Instances.map((i) => instance(i, overview)),
    s.More > 0 && h("p", { class: "faint" }, `and ${plural(s.More, "more instance")}: `,
      h("code", {}, `/v1/health/service/${s.Name}`)),
  ].filter(Boolean);
}

function instance(i, overview) {
  const status = i.Maintenance ? "maintenance" : i.Status;
  return h("section", { class: `instance ${status}`, "aria-label": `instance ${i.ID}` },
    h("div", { class: "head" }, badge(status), h("h3", {}, i.ID), maintenanceSwitch(i, overview)),
    h("p", { class: "line" }, h("code", {}, i.Address), i.Address && copier(i.Address, "the address"),
      h("span", { class: "faint" }, "on node ", h("b", {}, i.Node),
        i.Weights.Passing !== 1 || i.Weights.Warning !== 1 ? ` · weight ${i.Weights.Passing}, or ${i.Weights.Warning} in warning` : "")),
    i.Tags.length > 0 && h("p", { class: "tags" }, i.Tags.map((t) => h("a", { class: "tag", href: href({ q: `tag:${t}`, status: "", service: "" }), title: "Show the services that bear it" }, t))),
    Object.keys(i.Meta).length > 0 && h("dl", { class: "meta" }, Object.entries(i.Meta).map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, v)))),
    i.Checks.length > 0
      ? h("ul", { class: "checks" }, i.Checks.map((c) => check(c, i)))
      : h("p", { class: "faint small" }, "Nothing checks it: it counts as passing."));
}

// short is a duration without its zeros: 1h for 1h0m0s.
const short = (d) => d.replace(/([hm])0s$/, "$1").replace(/h0m$/, "h");

function check(c, i) {
  const since = Date.parse(c.Since);
  const how = [c.OfNode ? "of the node" : "", c.Type, c.Every && (c.Type === "ttl" ? `within ${short(c.Every)}` : `every ${short(c.Every)}`)].filter(Boolean).join(", ");
  const text = [c.Output, c.Notes].map((t) => t.trim()).filter(Boolean).join("\n\n");
  const head = [
    badge(c.Status), h("span", { class: "name" }, c.Name),
    since > 0 && h("time", { datetime: c.Since, title: `since ${at(since)}`, data: { since } }, `for ${lasting(since)}`),
  ];
  const more = [
    how && h("p", { class: "faint small" }, how, c.Target && [": ", h("code", {}, c.Target)]),
    h("pre", { class: "output" }, text || "It has said nothing yet."),
  ];
  return h("li", {}, h("details", { open: c.Status !== "passing", data: { key: `${i.Node}/${i.ID}/${c.ID}/${c.Status}` } }, h("summary", {}, head), more));
}

// tick lets the times go on.
export function tick() {
  for (const time of document.querySelectorAll("time[data-since]")) time.textContent = `for ${lasting(+time.dataset.since)}`;
}

// isOpen tells whether one of the services is the open one; null are all.
export const isOpen = (names) => open !== "" && (names === null || names.some((n) => n.toLowerCase() === open.toLowerCase()));
