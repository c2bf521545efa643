// The chosen runs as a table of which only the rows in sight exist: sorted by any column, walked by keys.

import { element } from "./groups.js";
import { numberText } from "./scales.js";
import { shortName } from "./selection.js";
import { MARKS } from "./sweep.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {{key: string, title: string, value: (run: number) => any, text?: (run: number) => string, number?: boolean, digits?: number}} Column */

const ROW = 30;

export class RunTable {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.holder = holder;
    this.columns = columnsOf(app);
    this.sorted = { key: "", down: false };
    /** @type {number[]} */
    this.order = [];
    this.active = 0;
    this.head = element("div", { role: "row", class: "row head", "aria-rowindex": "1" });
    this.space = element("div", { class: "space", role: "rowgroup" });
    holder.replaceChildren(element("div", { role: "rowgroup", class: "heads" }, [this.head]), this.space);
    holder.setAttribute("aria-colcount", String(this.columns.length));
    // Head and rows are as wide as each other, wherever the holder is too narrow for them.
    const widths = this.columns.map(leastWidth);
    holder.style.setProperty("--columns", this.columns.map(({ number }, i) => `minmax(${widths[i]}px, ${number ? 1 : 1.6}fr)`).join(" "));
    holder.style.setProperty("--table-width", `${widths.reduce((sum, width) => sum + width, 0)}px`);
    for (const column of this.columns) {
      const button = element("button", { type: "button" }, [column.title]);
      button.addEventListener("click", () => this.sortBy(column.key));
      this.head.append(element("div", { role: "columnheader", class: column.number ? "number" : "", "data-key": column.key }, [button]));
    }
    holder.addEventListener("scroll", () => this.fill());
    holder.addEventListener("keydown", (event) => this.onKey(event));
    this.space.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("[data-place]");
      if (row) this.act(Number(/** @type {HTMLElement} */ (row).dataset.place), true);
    });
    this.space.addEventListener("pointerover", (event) => {
      const row = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-place]"));
      if (row) app.hover(this.order[Number(row.dataset.place)], null);
    });
    this.space.addEventListener("pointerleave", () => app.hover(null, null));
  }

  /** @param {string} key */
  sortBy(key) {
    this.sorted = { key, down: this.sorted.key === key ? !this.sorted.down : false };
    this.draw();
  }

  draw() {
    const { selection, sweep } = this.app;
    this.order = [];
    for (let r = 0; r < sweep.numRuns; r += 1) if (selection.mask[r]) this.order.push(r);
    const column = this.columns.find(({ key }) => key === this.sorted.key);
    if (column) {
      const keys = this.order.map(column.value);
      const places = this.order.map((_, place) => place);
      const sign = this.sorted.down ? -1 : 1;
      places.sort((one, other) => sign * compared(keys[one], keys[other], sign));
      this.order = places.map((place) => this.order[place]);
    }
    for (const head of this.head.children) {
      const isSorted = /** @type {HTMLElement} */ (head).dataset.key === this.sorted.key;
      head.setAttribute("aria-sort", isSorted ? (this.sorted.down ? "descending" : "ascending") : "none");
    }
    this.active = Math.min(this.active, Math.max(0, this.order.length - 1));
    this.holder.setAttribute("aria-rowcount", String(this.order.length + 1));
    this.space.style.height = `${Math.max(1, this.order.length) * ROW}px`;
    this.fill();
  }

  /** The rows in sight. */
  fill() {
    const first = Math.max(0, Math.floor(this.holder.scrollTop / ROW) - 4);
    const last = Math.min(this.order.length, first + Math.ceil(this.holder.clientHeight / ROW) + 8);
    const rows = [];
    for (let place = first; place < last; place += 1) rows.push(this.row(place));
    this.space.replaceChildren(...rows);
    if (this.order.length) this.holder.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.holder.removeAttribute("aria-activedescendant");
  }

  /** @param {number} place */
  row(place) {
    const run = this.order[place];
    const isActive = place === this.active;
    const row = element("div", {
      role: "row", id: `row-${place}`, class: `row${isActive ? " active" : ""}${run === this.app.opened ? " opened" : ""}`,
      "data-place": String(place), "aria-rowindex": String(place + 2), "aria-selected": String(run === this.app.opened),
    });
    row.style.top = `${place * ROW}px`;
    for (const column of this.columns) {
      const text = column.text ? column.text(run) : String(column.value(run) ?? "");
      const cell = element("div", { role: "gridcell", class: column.number ? "number" : "", title: text }, []);
      if (column.key === "outcome") {
        const kind = this.app.sweep.columns.kind[run];
        cell.append(element("span", { class: `mark kind-${kind}`, "aria-hidden": "true" }, [MARKS[kind]]), " ");
      }
      cell.append(text);
      row.append(cell);
    }
    return row;
  }

  /** @param {number} place @param {boolean} opens */
  act(place, opens) {
    this.active = Math.max(0, Math.min(this.order.length - 1, place));
    const top = this.active * ROW;
    const seen = this.holder.clientHeight - ROW;
    if (top < this.holder.scrollTop) this.holder.scrollTop = top;
    else if (top + ROW > this.holder.scrollTop + seen) this.holder.scrollTop = top + ROW - seen;
    if (opens && this.order.length) this.app.open(this.order[this.active]);
    else {
      this.fill();
      this.app.hover(this.order[this.active] ?? null, null);
    }
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.target !== this.holder) return;
    const page = Math.max(1, Math.floor(this.holder.clientHeight / ROW) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) this.act(this.active + moves[/** @type {keyof typeof moves} */ (event.key)], false);
    else if (event.key === "Enter" || event.key === " ") this.act(this.active, true);
    else return;
    event.preventDefault();
  }

  /** The table as CSV, in its order. */
  csv() {
    const lines = [this.columns.map(({ key }) => quoted(key)).join(",")];
    for (const run of this.order) lines.push(this.columns.map((column) => quoted(column.value(run))).join(","));
    return `${lines.join("\r\n")}\r\n`;
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv" }));
    link.download = "runs.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

/** A cell of CSV; text that a spreadsheet would compute is marked as text. @param {any} value */
function quoted(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(String(value)) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Order of two values; nothing comes last whatever the sign. @param {any} one @param {any} other @param {number} sign */
function compared(one, other, sign) {
  const [isNone, isOther] = [one, other].map((value) => value === null || value === undefined || Number.isNaN(value) || value === "");
  if (isNone || isOther) return sign * (Number(isNone) - Number(isOther));
  const [first, second] = [one, other].every((value) => ["number", "bigint"].includes(typeof value)) ? [one, other] : [String(one), String(other)];
  return first < second ? -1 : Number(first > second);
}

/** @param {App} app @returns {Column[]} */
function columnsOf(app) {
  const { sweep } = app;
  const { columns, texts, state } = sweep;
  const isOneSeed = columns.init_seed.every((/** @type {bigint} */ seed, /** @type {number} */ run) => seed === columns.data_seed[run]);
  const names = state.varied.map(shortName);
  const varied = state.varied.map((/** @type {string} */ path, /** @type {number} */ number) => ({
    key: path, title: names.filter((/** @type {string} */ name) => name === names[number]).length > 1 ? path : names[number], number: true,
    value: (/** @type {number} */ run) => sweep.setting(run).values[path],
    text: (/** @type {number} */ run) => cellText(sweep.setting(run).values[path]),
    digits: Math.max(0, ...state.settings.map((/** @type {any} */ setting) => cellText(setting.values[path]).length)),
  }));
  const seeds = ["init_seed", ...(isOneSeed ? [] : ["data_seed"])].map((key) => ({
    key: isOneSeed ? "seed" : key, title: isOneSeed ? "seed" : key.replace("_", " "), number: true, digits: digitsOf(columns[key]),
    value: (/** @type {number} */ run) => columns[key][run],
  }));
  const parent = texts.parent ? [{ key: "parent", title: "fork of", value: (/** @type {number} */ run) => texts.parent[run] }] : [];
  return [
    { key: "run", title: "run", value: (run) => texts.run_id[run] },
    ...varied, ...seeds, ...parent,
    { key: "outcome", title: "outcome", value: (run) => sweep.kind(run) },
    { key: "by_step", title: "by step", number: true, value: (run) => columns.upper[run] },
    { key: "P(converged)", title: "P(converged)", number: true, value: (run) => sweep.probability(run, app.probabilityColumn ?? ""),
      text: (run) => { const p = sweep.probability(run, app.probabilityColumn ?? ""); return p !== p ? "" : p.toFixed(3); } },
  ];
}

/** Pixels for the longest text of a column, a seed of 19 digits at most, and for its title. @param {Column} column */
function leastWidth({ title, number, digits = 0 }) {
  return Math.max(number ? 84 : 180, 8 * title.length + 44, 9 * Math.min(digits, 24) + 28);
}

/** @param {BigUint64Array} seeds */
function digitsOf(seeds) {
  return String(seeds.reduce((most, seed) => (seed > most ? seed : most), 0n)).length;
}

/** @param {any} value */
function cellText(value) {
  return typeof value === "number" && !Number.isInteger(value) ? numberText(value) : String(value ?? "");
}
