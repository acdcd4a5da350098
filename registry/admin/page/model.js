// What the page knows of the services: a row for each, and which of them a place
// shows. Nothing here touches the document.

export const STATUSES = ["critical", "warning", "maintenance", "passing"]; // the worst first

const rows = new Map(); // by name
let byRank = null; // all rows in an order, as long as it holds
let order = null;

export const countOf = (row, status) => row[status[0].toUpperCase() + status.slice(1)];
export const sizeOf = (row) => row.Passing + row.Warning + row.Critical + row.Maintenance;
export const worstOf = (row) => STATUSES.find((s) => countOf(row, s) > 0) ?? "passing";

// setAll forgets what was known.
export function setAll(list) {
  rows.clear();
  for (const row of list) rows.set(row.Name, row);
  byRank = null;
}

// setSome takes in what is now known of the names: those that are not in the list
// are gone. Names differ in nothing but case are one.
export function setSome(names, list) {
  const asked = new Set(names.map((n) => n.toLowerCase()));
  for (const name of rows.keys()) if (asked.has(name.toLowerCase())) rows.delete(name);
  for (const row of list) rows.set(row.Name, row);
  byRank = null;
}

export const has = (name) => rows.has(name);
export const size = () => rows.size;

// totals are all instances by their status, and all services.
export function totals() {
  const sum = { services: rows.size, instances: 0 };
  for (const s of STATUSES) sum[s] = 0;
  for (const row of rows.values()) {
    for (const s of STATUSES) sum[s] += countOf(row, s);
    sum.instances += sizeOf(row);
  }
  return sum;
}

const byName = (a, b) => (a.Name < b.Name ? -1 : a.Name > b.Name ? 1 : 0);
const orders = {
  "": (a, b) => b.Critical - a.Critical || b.Warning - a.Warning || b.Maintenance - a.Maintenance || byName(a, b),
  name: byName,
  size: (a, b) => sizeOf(b) - sizeOf(a) || byName(a, b),
};

// shown are the rows that a search, a status and an order leave, in that order. A
// word of the search is a part of the name, or tag:x.
export function shown({ q, status, sort }) {
  if (!byRank || order !== sort) {
    byRank = [...rows.values()].sort(orders[sort] ?? orders[""]);
    order = sort;
  }
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const tags = words.filter((w) => w.startsWith("tag:")).map((w) => w.slice(4));
  const parts = words.filter((w) => !w.startsWith("tag:"));
  return byRank.filter((row) =>
    (!STATUSES.includes(status) || countOf(row, status) > 0) &&
    parts.every((part) => row.Name.toLowerCase().includes(part)) &&
    tags.every((tag) => row.Tags.some((t) => t.toLowerCase() === tag)));
}
