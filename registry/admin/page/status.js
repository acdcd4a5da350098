// How a status looks: a shape, a word and a colour, never a colour alone.

import { h } from "./dom.js";

const shapes = { passing: "✓", warning: "!", critical: "✕", maintenance: "‖" };

export const glyph = (status) => h("span", { class: `glyph ${status}`, "aria-hidden": "true" }, shapes[status]);

// count says how many are in a status.
export const count = (n, status) => h("span", { class: `count ${status}` },
  h("span", { "aria-hidden": "true" }, shapes[status] + "\u2009"), n.toLocaleString("en"), h("span", { class: "word" }, " " + status));

export const badge = (status) => h("span", { class: `pill ${status}` }, h("span", { "aria-hidden": "true" }, shapes[status] + " "), status);
