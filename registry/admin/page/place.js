// Where the reader is: the view, the search, the filter, the service that is
// open. All of it is in the URL, so that a link shows what its sender saw.

const listeners = [];

// place reads the URL.
export function place() {
  const p = new URLSearchParams(location.search);
  const view = ["services", "test", "traffic", "settings"].includes(p.get("view")) ? p.get("view") : "services";
  return {
    view, q: p.get("q") ?? "", status: p.get("status") ?? "", sort: p.get("sort") ?? "",
    service: p.get("service") ?? "", name: p.get("name") ?? "", type: p.get("type") ?? "",
    span: p.get("span") ?? "",
  };
}

// href is the URL of another place, which is as this one but for the changes.
export function href(changes) {
  const next = { ...place(), ...changes };
  const p = new URLSearchParams();
  const keep = { services: ["q", "status", "sort", "service"], test: ["view", "name", "type"], traffic: ["view", "span"], settings: ["view", "q"] };
  for (const key of keep[next.view]) if (next[key]) p.set(key, next[key]);
  const query = p.toString();
  return query ? `/?${query}` : "/";
}

// go changes the place; with replace the way back does not stop here.
export function go(changes, { replace = false } = {}) {
  const url = href(changes);
  if (url === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  for (const f of listeners) f();
}

export function onMove(f) {
  listeners.push(f);
  addEventListener("popstate", f);
}

// Links to this page move within it, unless the reader asks for another tab.
document.addEventListener("click", (e) => {
  const link = e.target.closest?.("a[href^='/?'], a[href='/']");
  if (!link || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  if (link.getAttribute("href") === location.pathname + location.search) return;
  history.pushState(null, "", link.getAttribute("href"));
  for (const f of listeners) f();
});
