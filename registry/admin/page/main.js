// The page: what follows what. Each module beside this one does one thing; this
// one starts them, and tells them when something moved.

import { $, h } from "./dom.js";
import { get, hasToken } from "./api.js";
import { follow } from "./stream.js";
import { onMove, place } from "./place.js";
import { Refresher } from "./refresh.js";
import { totals } from "./model.js";
import { servicesKnown, showServices } from "./services.js";
import { isOpen, showDetail, tick } from "./detail.js";
import { showQuestion } from "./question.js";
import { showTraffic } from "./traffic.js";
import { showSettings } from "./settings.js";
import { drawTruth, truth } from "./truth.js";
import { setServerTime } from "./time.js";

const OVERVIEW_EVERY = 5_000; // milliseconds

let shownView = "";

// draw shows the view that the URL names.
function draw() {
  const { view } = place();
  for (const id of ["services", "test", "traffic", "settings"]) $(id).hidden = id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shownView && shownView !== view) scrollTo(0, 0);
  shownView = view;
  if (view === "services") {
    const reading = document.body.classList.contains("reading"), narrow = matchMedia("(max-width: 60rem)").matches;
    if (!reading && place().service && narrow) draw.top = scrollY;
    const back = reading && !place().service && narrow;
    if (place().service !== draw.service) {
      draw.service = place().service;
      showDetail(truth.overview);
    }
    showServices();
    if (back) scrollTo(0, draw.top ?? 0);
  } else {
    document.body.classList.remove("reading");
    draw.service = undefined;
  }
  if (view === "test") showQuestion(truth.overview);
  if (view === "traffic") showTraffic(truth.overview);
  if (view === "settings") showSettings(truth.overview);
}

// loadOverview asks how the server itself is.
async function loadOverview() {
  try {
    const before = truth.overview;
    const overview = await get("/v1/overview");
    truth.overview = overview;
    setServerTime(overview.Now);
    $("where").replaceChildren(...[["node", overview.Node], ["datacenter", overview.Datacenter], ["zone", overview.Zone]]
      .filter(([, value]) => value).map(([what, value]) => h("span", {}, `${what} `, h("b", {}, value))));
    for (const link of document.querySelectorAll("body > footer a")) link.hidden = hasToken();
    document.querySelector("nav a[data-view=settings]").hidden = !overview.Configures;
    if (before && place().view === "settings") showSettings(overview, true);
    $("version").textContent = `rollcall ${overview.Version}`;
    if (!before) {
      draw();
      if (place().service) showDetail(overview);
    }
  } catch { /* the badge says it */ }
  drawTruth();
}

function title() {
  const { critical } = totals();
  document.title = `${truth.connected ? "" : "⚠ "}${critical ? `✕ ${critical.toLocaleString("en")} critical · ` : ""}rollcall${truth.overview ? ` on ${truth.overview.Node}` : ""}`;
}

const refresher = new Refresher((names) => {
  servicesKnown();
  if (place().view === "services") {
    showServices();
    if (isOpen(names)) showDetail(truth.overview);
  } else if (place().view === "test") {
    showQuestion(truth.overview, true);
  }
  title();
});

follow({
  event(event) {
    refresher.event(event);
  },
  state(state) {
    const connected = state === "live";
    if (connected || truth.connected) truth.heard = Date.now(); // up to its loss a connection was there
    if (connected) truth.ever = true;
    if (connected === truth.connected) return;
    truth.connected = connected;
    if (connected) {
      loadOverview();
      if (refresher.all || refresher.names.size) refresher.schedule();
    }
    drawTruth();
    title();
  },
});

onMove(draw);
draw();
loadOverview();
setInterval(loadOverview, OVERVIEW_EVERY);
setInterval(() => { drawTruth(); tick(); }, 1000);
setInterval(() => { if (place().view === "traffic" && !document.hidden) showTraffic(truth.overview); }, 10_000);
