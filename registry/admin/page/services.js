// The list of services: what is ill first, a search, a filter.

import { $, h, plural } from "./dom.js";
import { VirtualList } from "./virtual.js";
import { STATUSES, countOf, shown, sizeOf, totals, worstOf, size } from "./model.js";
import { count, glyph } from "./status.js";
import { go, href, place } from "./place.js";

let list, known = false;

// showServices draws the list as the place has it.
export function showServices() {
  const at = place();
  list ??= start();
  if (document.activeElement !== $("q")) $("q").value = at.q;
  $("sort").value = at.sort;
  const found = shown(at);
  drawTotals(at);
  list.set(found);
  markOpen(at.service);
  const filtered = at.q || at.status;
  $("found").textContent = filtered && known ? `${plural(found.length, "service")} of ${size().toLocaleString("en")}` : "";
  drawNothing(known && found.length === 0, filtered);
}

// servicesKnown says that the rows are there, be they none.
export function servicesKnown() {
  known = true;
}

function start() {
  $("q").addEventListener("input", () => go({ q: $("q").value.trim() }, { replace: true }));
  $("q").addEventListener("keydown", (e) => {
    if (e.key === "ArrowDown" || e.key === "Enter") {
      e.preventDefault();
      list.focus(0);
    }
  });
  $("q").form.addEventListener("submit", (e) => e.preventDefault());
  $("sort").addEventListener("change", () => go({ sort: $("sort").value }, { replace: true }));
  document.addEventListener("keydown", (e) => {
    const writing = e.target.closest("input, textarea, select, dialog");
    if (e.key === "/" && !writing && !e.ctrlKey && !e.metaKey) {
      e.preventDefault();
      if (place().view !== "services") go({ view: "services" });
      $("q").focus();
      $("q").select();
    } else if (e.key === "Escape" && place().service && !e.target.closest("dialog")) {
      const name = place().service;
      go({ service: "" });
      list.focus(list.items.findIndex((row) => row.Name === name));
    }
  });
  return new VirtualList($("rows"), { render: row, key: (r) => r.Name });
}

function row(r) {
  const worst = worstOf(r);
  return h("li", { class: "row" },
    h("a", { href: href({ service: r.Name }), data: { service: r.Name }, "aria-current": place().service === r.Name ? "true" : null },
      glyph(worst),
      h("span", { class: "name" }, r.Name, " ", r.Tags.slice(0, 4).map((t) => h("span", { class: "tag" }, t))),
      h("span", { class: "counts" }, STATUSES.filter((s) => countOf(r, s)).map((s) => count(countOf(r, s), s))),
      shares(r)));
}

// shares is a bar of the instances by status.
function shares(r) {
  const bar = h("span", { class: "shares", "aria-hidden": "true" });
  for (const s of [...STATUSES].reverse()) {
    if (!countOf(r, s)) continue;
    const part = h("i", { class: s });
    part.style.flexGrow = countOf(r, s) / sizeOf(r);
    bar.append(part);
  }
  return bar;
}

let hrefsFor = "";

// markOpen marks the row of the open service, and renews the rows' links, which
// lead to the same search and filter.
function markOpen(name) {
  const base = href({ service: "" });
  for (const a of $("rows").querySelectorAll("a")) {
    if (base !== hrefsFor) a.setAttribute("href", href({ service: a.dataset.service }));
    if (a.dataset.service === name) a.setAttribute("aria-current", "true");
    else a.removeAttribute("aria-current");
  }
  hrefsFor = base;
}

function drawTotals(at) {
  const sum = totals();
  $("totals").replaceChildren(...(known ? [
    h("b", {}, plural(sum.services, "service")), " · ", plural(sum.instances, "instance"), ": ",
    ...(sum.instances ? STATUSES.filter((s) => sum[s]).flatMap((s) => [count(sum[s], s), " "]) : ["none"]),
  ] : ["Asking…"]));
  const chip = (status, text) => h("a", {
    class: `chip ${status}`, href: href({ status }), "aria-current": at.status === status ? "true" : null,
  }, text);
  const focused = document.activeElement?.closest?.("#statuses a")?.getAttribute("href");
  $("statuses").replaceChildren(chip("", "All"), ...STATUSES.map((s) => chip(s, [glyph(s), s])));
  if (focused) [...$("statuses").children].find((a) => a.getAttribute("href") === focused)?.focus();
}

function drawNothing(nothing, filtered) {
  $("nothing").hidden = !nothing;
  if (!nothing) return $("nothing").replaceChildren();
  $("nothing").replaceChildren(...(filtered
    ? [h("p", { class: "big" }, "No service is like that."), h("p", {}, h("a", { href: "/" }, "Show all"))]
    : [h("p", { class: "big" }, "Nothing is registered yet."),
      h("p", { class: "faint" }, "Register something, and it appears here within the second:"),
      h("pre", {}, `curl -X PUT ${location.origin}/v1/agent/service/register -d '{"Name": "web", "Port": 8000}'`)]));
}
