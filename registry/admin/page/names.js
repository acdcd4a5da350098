// The names that are asked for most, and those of them that there are not: what a
// program asks for by a wrong name, or before it is registered.

import { $, h } from "./dom.js";
import { get } from "./api.js";
import { href, place } from "./place.js";

const SHOWN = 10;
const SPANS = [["", "Last minute"], ["hour", "Last hour"]];

// Kinds in words: a class for their colour, and what they mean.
const KINDS = {
  NOERROR: ["passing", "answered"],
  NODATA: ["warning", "nothing of the type"],
  NXDOMAIN: ["maintenance", "no such name"],
  FORWARDED: ["passing", "asked upstream"],
  REFUSED: ["critical", "refused"],
  SERVFAIL: ["critical", "failed"],
  DROPPED: ["critical", "not answered"],
};

// showNames draws the lists; where they cannot be had, what was drawn last stays.
export async function showNames() {
  let all;
  try {
    all = await get("/v1/overview/names");
  } catch (e) {
    if (!$("names").childElementCount) $("names").replaceChildren(h("p", { class: "banner" }, e.message));
    return;
  }
  const { span } = place();
  const of = span === "hour" ? all.Hour : all.Minute;
  const focused = document.activeElement?.closest?.("#names a")?.getAttribute("href");
  $("names").replaceChildren(
    h("div", { class: "line apart" },
      h("h2", {}, "Names"),
      h("div", { class: "chips", role: "group", "aria-label": "Names of the" }, SPANS.map(([value, text]) => h("a", {
        class: "chip", href: href({ span: value }), "aria-current": span === value ? "true" : null,
      }, text)))),
    list("top", "Asked for most", of.Names, of.Questions ? "None was asked for often enough." : "Nothing was asked."),
    list("unknown", "Asked for, but not there", of.Unknown, "Every name that was asked for is there."),
    h("p", { class: "faint small" }, "Shares of all questions, from samples where there are many, and rather too low than too high; a name that is asked for seldom may be missing."));
  if (focused) [...document.querySelectorAll("#names a")].find((a) => a.getAttribute("href") === focused)?.focus();
}

function list(id, title, names, none) {
  const most = Math.max(...names.map((n) => n.Share));
  return h("section", { class: "names", "aria-labelledby": `${id}-title` },
    h("h3", { id: `${id}-title` }, title),
    names.length ? h("ol", { id }, names.slice(0, SHOWN).map((n) => row(n, most))) : h("p", { class: "faint", id }, none));
}

function row({ Name, Kind, Share, PerSecond }, most) {
  const [kind, words] = KINDS[Kind] ?? ["critical", Kind];
  const name = Name.length > 1 ? Name.replace(/(?<!\\)\.$/, "") : Name;
  const bar = h("i", { class: "bar", "aria-hidden": "true" });
  bar.style.inlineSize = `${Math.max(100 * Share / most, 0.5)}%`;
  return h("li", {},
    h("a", { class: "name", href: href({ view: "test", name, type: name.startsWith("_") ? "SRV" : "A" }), title: name }, name),
    h("span", { class: `small ${kind} kind` }, words),
    h("span", { class: "faint small rate" }, each(PerSecond)),
    h("b", { class: "share" }, percent(Share)), bar);
}

const percent = (v) => (v >= 0.0995 ? `${Math.round(100 * v)} %` : `${+(100 * v).toPrecision(v < 0.001 ? 1 : 2)} %`);

function each(perSecond) {
  if (perSecond >= 1) return `${perSecond >= 10 ? Math.round(perSecond).toLocaleString("en") : +perSecond.toPrecision(2)}/s`;
  return perSecond * 60 >= 1 ? `${+(perSecond * 60).toPrecision(2)}/min` : `${+(perSecond * 3600).toPrecision(2)}/h`;
}
