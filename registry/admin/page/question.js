// Test a name: the answer as dig shows it, and why each instance that is not in it
// is not.

import { $, copier, h, plural } from "./dom.js";
import { get } from "./api.js";
import { go, place } from "./place.js";
import { badge } from "./status.js";

const TYPES = ["SRV", "A", "AAAA", "TXT", "SVCB", "HTTPS", "PTR", "NS", "SOA", "ANY"];
let form, answer, asked = "";

// showQuestion draws the form and, where the place has a name, the answer; again
// asks even if nothing of the question changed.
export async function showQuestion(overview, again = false) {
  const { name, type } = place();
  if (!form) build();
  if (!overview) return;
  if (!overview.Explains) return answer.replaceChildren(h("p", { class: "big" }, "This endpoint answers no DNS questions."));
  form.elements.name.placeholder = `web.service.${overview.Zone}`;
  const question = `${name} ${type}`;
  if (question === asked && !again) return;
  if (question !== asked) {
    form.elements.name.value = name;
    form.elements.type.value = TYPES.includes(type) ? type : "SRV";
    answer.replaceChildren();
  }
  asked = question;
  if (!name) return;
  let content;
  try {
    content = explained(await get(`/v1/explain/${encodeURIComponent(name)}?${new URLSearchParams({ type: form.elements.type.value })}`));
  } catch (e) {
    content = [h("p", { class: "banner" }, e.message)];
  }
  if (asked === question) answer.replaceChildren(...content);
}

function build() {
  form = h("form", { class: "question" },
    h("label", {}, "Name", h("input", { name: "name", type: "text", required: true, autocomplete: "off", autocapitalize: "off", spellcheck: "false" })),
    h("label", {}, "Type", h("select", { name: "type" }, TYPES.map((t) => h("option", {}, t)))),
    h("button", { class: "main" }, "Ask"));
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    asked = "";
    go({ view: "test", name: form.elements.name.value.trim(), type: form.elements.type.value }, { replace: true });
    dispatchEvent(new PopStateEvent("popstate"));
  });
  answer = h("div", { role: "status" });
  $("test").append(
    h("h2", { id: "test-title" }, "Test a name"),
    h("p", { class: "faint" }, "What a client is answered, and of each instance that it is not sent to, why."), form, answer);
}

function explained(e) {
  const dig = `dig ${e.name.replace(/(?<=.)\.$/, "")} ${e.type}`;
  return [
    h("p", { class: "line" }, h("code", {}, dig), copier(dig, "the command")),
    h("pre", { class: "answer", tabindex: "0", "aria-label": "The answer" }, digText(e)),
    e.note && h("p", { class: "faint" }, e.note[0].toUpperCase() + e.note.slice(1) + "."),
    ...leftOut(e),
  ].filter(Boolean);
}

// digText is the answer in dig's form.
export function digText(e) {
  const lines = [
    `;; ->>HEADER<<- opcode: QUERY, status: ${e.rcode}`,
    `;; ANSWER: ${e.answer.length}, AUTHORITY: ${e.authority.length}, ADDITIONAL: ${e.additional.length}`,
  ];
  if (e.reason) lines.push(`; EDE: (${e.reason})`);
  lines.push("", ";; QUESTION SECTION:", `;${e.name} IN ${e.type}`);
  const records = [...e.answer, ...e.authority, ...e.additional].map((r) => r.split("\t"));
  const owner = Math.max(0, ...records.map((r) => r[0].length)), ttl = Math.max(0, ...records.map((r) => (r[1] ?? "").length));
  for (const [title, section] of [["ANSWER", e.answer], ["AUTHORITY", e.authority], ["ADDITIONAL", e.additional]]) {
    if (!section.length) continue;
    lines.push("", `;; ${title} SECTION:`);
    for (const record of section) {
      const [name, seconds, cls, type, ...data] = record.split("\t");
      lines.push([name.padEnd(owner), (seconds ?? "").padStart(ttl), cls, (type ?? "").padEnd(4), data.join(" ")].join(" ").trimEnd());
    }
  }
  return lines.join("\n");
}

function leftOut(e) {
  if (!e.service) return [];
  if (!e.left_out.length) return [h("p", { class: "faint" }, `All of ${e.service}: ${plural(e.instances, "instance")}.`)];
  return [
    h("h3", {}, `${e.left_out.length.toLocaleString("en")} of ${plural(e.instances, "instance")} of ${e.service} left out`),
    h("ul", { class: "absent" }, e.left_out.map((l) => h("li", {},
      badge(l.reason.startsWith("in maintenance") ? "maintenance" : l.status),
      h("div", {}, h("b", {}, l.id), " ", h("span", { class: "faint" }, "on ", l.node), h("div", { class: "why" }, l.reason))))),
  ];
}
