// The last hour's questions: how many, how they were answered, how fast.

import { $, h } from "./dom.js";
import { get } from "./api.js";
import { showNames } from "./names.js";
import { plot } from "./plot.js";
import { duration, serverNow } from "./time.js";

const HOUR = 3600_000;
const rate = (v) => `${v >= 100 ? Math.round(v).toLocaleString("en") : +v.toPrecision(2)}/s`;

export async function showTraffic(overview) {
  if (!overview) return;
  $("names").hidden = !overview.Names;
  if (overview.Names) showNames();
  let content;
  try {
    content = overview.Measures ? drawn(await get("/v1/overview/traffic")) : [h("p", { class: "big" }, "This endpoint counts no DNS questions.")];
  } catch (e) {
    if ($("plots").childElementCount > 1) return; // what was drawn last stays
    content = [h("p", { class: "banner" }, e.message)];
  }
  $("plots").replaceChildren(...content);
}

function drawn({ Every, Samples }) {
  const samples = Samples.map((s) => ({ ...s, t: Date.parse(s.At) }));
  if (!samples.length) return [h("p", { class: "big" }, "Nothing is measured yet."), h("p", { class: "faint" }, `The first figures are here within ${2 * Every} seconds.`)];
  const now = serverNow(), last = samples.at(-1);
  const most = Math.max(...samples.map((s) => s.Queries));
  const absent = (s) => s.Responses.NXDOMAIN ?? 0;
  const failed = (s) => (s.Responses.SERVFAIL ?? 0) + (s.Responses.REFUSED ?? 0) + (s.Responses.FORMERR ?? 0);
  const slowest = Math.max(...samples.map((s) => s.Slowest ?? 0));
  return [
    plot({
      title: "Questions", samples, span: HOUR, now, say: rate,
      summary: `Questions a second over the last hour: ${rate(last.Queries)} now, ${rate(most)} at most.`,
      series: [
        { name: "all", class: "first", value: (s) => s.Queries, area: true, zero: "0" },
        { name: "no such name", class: "second", value: absent, zero: "0" },
        { name: "refused or failed", class: "third", value: failed, zero: "0" },
      ],
    }),
    plot({
      title: "Time to answer", samples, span: HOUR, now, say: duration, log: true,
      summary: slowest ? `Time to answer over the last hour: 99 of 100 within ${duration(slowest)} at worst.` : "No answer was timed.",
      series: [
        { name: "half within", class: "first", value: (s) => s.Median ?? 0 },
        { name: "99 of 100 within", class: "second", value: (s) => s.Slowest ?? 0 },
      ],
    }),
    h("p", { class: "faint small" }, "Times are those of one answer in 64, estimated from a histogram; the counters behind them are at /metrics."),
  ];
}
