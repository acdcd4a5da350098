// A list of any length of which only what can be seen is in the document. Rows
// have one height. A row that has the focus stays, wherever it is scrolled to.

const AHEAD = 12; // rows beyond the edges of the window

export class VirtualList {
  // list is a <ul>; render makes the <li> of an item, and key names an item.
  constructor(list, { render, key }) {
    this.list = list;
    this.render = render;
    this.key = key;
    this.items = [];
    this.drawn = new Map(); // key -> { element, item, index }
    this.draw = this.draw.bind(this);
    addEventListener("scroll", this.draw, { passive: true });
    addEventListener("resize", () => this.measure());
    list.addEventListener("keydown", (e) => this.move(e));
    this.measure();
  }

  measure() {
    this.height = parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || 48;
    this.set(this.items);
  }

  set(items) {
    this.items = items;
    this.list.style.height = `${items.length * this.height}px`;
    this.draw();
  }

  draw() {
    if (!this.list.offsetParent) return; // hidden
    const top = -this.list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.height) - AHEAD);
    const last = Math.min(this.items.length, Math.ceil((top + innerHeight) / this.height) + AHEAD);
    const wanted = new Map();
    for (let n = first; n < last; n++) wanted.set(this.key(this.items[n]), n);
    const focused = [...this.drawn].find(([, d]) => d.element.contains(document.activeElement));
    if (focused && !wanted.has(focused[0])) {
      const n = this.items.findIndex((item) => this.key(item) === focused[0]);
      if (n >= 0) wanted.set(focused[0], n);
    }
    for (const [key, d] of this.drawn) {
      if (!wanted.has(key)) {
        d.element.remove();
        this.drawn.delete(key);
      }
    }
    for (const [key, n] of wanted) this.put(key, n);
  }

  put(key, n) {
    const item = this.items[n];
    let d = this.drawn.get(key);
    if (!d || d.item !== item) {
      const element = this.render(item);
      if (d) {
        const focused = d.element.contains(document.activeElement);
        d.element.replaceWith(element);
        if (focused) element.querySelector("a")?.focus({ preventScroll: true });
      } else {
        this.list.append(element);
      }
      d = { element, item, index: -1 };
      this.drawn.set(key, d);
    }
    if (d.index !== n || d.length !== this.items.length) {
      d.index = n;
      d.length = this.items.length;
      d.element.style.transform = `translateY(${n * this.height}px)`;
      d.element.setAttribute("aria-setsize", this.items.length);
      d.element.setAttribute("aria-posinset", n + 1);
    }
  }

  // again draws rows anew whose look depends on more than their item.
  again() {
    for (const d of this.drawn.values()) d.item = null;
    this.draw();
  }

  move(e) {
    const here = [...this.drawn.values()].find((d) => d.element.contains(document.activeElement));
    if (!here || e.altKey || e.ctrlKey || e.metaKey) return;
    const page = Math.max(1, Math.floor(innerHeight / this.height) - 4);
    const last = this.items.length - 1;
    const to = { ArrowDown: here.index + 1, ArrowUp: here.index - 1, PageDown: here.index + page, PageUp: here.index - page, Home: 0, End: last }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    this.focus(Math.min(last, Math.max(0, to)));
  }

  focus(n) {
    if (n < 0 || n >= this.items.length) return;
    const top = this.list.getBoundingClientRect().top + n * this.height;
    const roof = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
    if (top < roof) scrollBy({ top: top - roof, behavior: "instant" });
    else if (top + this.height > innerHeight) scrollBy({ top: top + this.height - innerHeight + 8, behavior: "instant" });
    this.draw();
    this.drawn.get(this.key(this.items[n]))?.element.querySelector("a").focus({ preventScroll: true });
  }
}
