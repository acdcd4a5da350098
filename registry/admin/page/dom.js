// Elements, made from text that may be anything. Nothing here, and nothing in the
// page, turns text into markup; the Content-Security-Policy forbids it, too.

// h makes an element. Of props, class, text, data and on are what they say;
// anything else is an attribute, and left out where it is null or false.
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

// svg makes an element of a drawing.
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

// say tells what was done, also to those who listen to the page.
export function say(text) {
  const said = $("said");
  said.textContent = text;
  said.classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => said.classList.remove("shown"), 4000);
}

// copier is a button that copies a text.
export function copier(text, what) {
  return h("button", {
    class: "copy", type: "button", "aria-label": `Copy ${what}`, title: `Copy ${what}`,
    on: { click: () => copy(text).then(() => say("Copied"), () => say("The browser does not let this page copy")) },
  }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("rect", { x: 5.5, y: 5.5, width: 8, height: 8, rx: 1.5 }), svg("path", { d: "M3.5 10.5h-1v-7a1 1 0 0 1 1-1h7v1" })));
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h("textarea", { class: "unseen" }); // without TLS there is no clipboard, but away from loopback there is this
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("not copied");
}

// plural says how many there are.
export function plural(n, one, many = one + "s") {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}
