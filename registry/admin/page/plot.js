// A plot of the last hour: lines over time, drawn as SVG, with what is under the
// pointer in words.

import { h, svg } from "./dom.js";
import { at } from "./time.js";

const HEIGHT = 180, LEFT = 56, BOTTOM = 22, TOP = 10;

// plot draws series, each { name, class, value(sample), area }, over samples with a
// time .t. With log, the axis is logarithmic. say puts a value into words.
export function plot({ title, samples, series, say, span, now, log = false, summary }) {
  const narrow = innerWidth < 704, WIDTH = narrow ? 340 : 720; // a phone's text stays as large as others'
  const values = samples.flatMap((s) => series.map((p) => p.value(s))).filter((v) => v > 0);
  const scale = log ? logScale(values) : linearScale(values);
  const x = (t) => LEFT + (1 - (now - t) / span) * (WIDTH - LEFT);
  const y = (v) => TOP + (1 - scale.place(v)) * (HEIGHT - TOP - BOTTOM);
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary },
    scale.ticks.map((v) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(v), y2: y(v) }),
      svg("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, say(v)),
    ]),
    (narrow ? [60, 30, 0] : [60, 45, 30, 15, 0]).map((m) => svg("text", {
      x: x(now - m * 60000), y: HEIGHT - 4, "text-anchor": m === 60 ? "start" : m === 0 ? "end" : "middle",
    }, m ? `−${m} min` : "now")),
    series.map((p) => lines(samples, p, x, y, span)), cursor);
  const readout = h("figcaption", { class: "readout" });
  const rest = () => {
    cursor.setAttribute("visibility", "hidden");
    readout.replaceChildren(...legend(series, samples.at(-1), say, "now"));
  };
  drawing.addEventListener("pointermove", (e) => {
    const box = drawing.getBoundingClientRect();
    const t = now - (1 - ((e.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT)) * span;
    const near = samples.reduce((best, s) => (Math.abs(s.t - t) < Math.abs(best.t - t) ? s : best), samples[0]);
    if (!near) return;
    cursor.setAttribute("x1", x(near.t));
    cursor.setAttribute("x2", x(near.t));
    cursor.setAttribute("visibility", "visible");
    readout.replaceChildren(...legend(series, near, say, at(near.t)));
  });
  drawing.addEventListener("pointerleave", rest);
  rest();
  return h("figure", { class: "plot" }, h("h3", {}, title), readout, drawing);
}

const legend = (series, sample, say, when) => [
  ...series.map((p) => h("span", { class: `key ${p.class}` }, `${p.name} `, h("b", {}, sample && p.value(sample) > 0 ? say(p.value(sample)) : p.zero ?? "–"))),
  h("span", { class: "faint" }, when),
];

// lines are the line of a series, in as many parts as there are gaps in time, and
// the area under it.
function lines(samples, p, x, y, span) {
  const parts = [[]];
  let before = null;
  for (const s of samples) {
    const missing = p.zero === undefined && !(p.value(s) > 0);
    if (missing || (before !== null && s.t - before > span / 60)) parts.push([]);
    before = s.t;
    if (!missing) parts.at(-1).push(`${x(s.t).toFixed(1)},${y(p.value(s)).toFixed(1)}`);
  }
  return parts.filter((part) => part.length).map((part) => {
    const first = part[0].split(",")[0], last = part.at(-1).split(",")[0];
    return [
      p.area && svg("polygon", { class: `area ${p.class}`, points: `${first},${HEIGHT - BOTTOM} ${part.join(" ")} ${last},${HEIGHT - BOTTOM}` }),
      part.length > 1 ? svg("polyline", { class: `line ${p.class}`, points: part.join(" ") })
        : svg("circle", { class: `dot ${p.class}`, cx: first, cy: part[0].split(",")[1], r: 2 }),
    ];
  });
}

function linearScale(values) {
  const most = Math.max(1, ...values);
  const magnitude = 10 ** Math.floor(Math.log10(most));
  const step = [0.25, 0.5, 1, 2.5].map((m) => m * magnitude).find((s) => most / s <= 4);
  const top = Math.ceil(most / step) * step;
  const ticks = [];
  for (let v = 0; v <= top + step / 2; v += step) ticks.push(v);
  return { place: (v) => v / top, ticks };
}

function logScale(values) {
  const low = Math.floor(Math.log10(Math.min(1e-5, ...values))), high = Math.ceil(Math.log10(Math.max(1e-4, ...values)));
  const ticks = [];
  for (let d = low; d <= high; d++) ticks.push(10 ** d);
  return { place: (v) => (v > 0 ? (Math.log10(v) - low) / (high - low) : 0), ticks };
}
