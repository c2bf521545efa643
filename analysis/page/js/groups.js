// Outcomes and settings as buttons with counts: the legend, and conditions that can be switched.

/** @typedef {import("./main.js").App} App */

import { grouped } from "./scales.js";
import { MARKS } from "./sweep.js";

// More settings than this are searched for, not listed.
const MOST_SETTINGS = 200;

/**
 * An element with text or children.
 * @param {string} tag @param {Record<string, string>} attributes @param {(Node | string)[]} children
 */
export function element(tag, attributes = {}, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Put a text where another one stands; the same again costs nothing. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export class OutcomeButtons {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.buttons = app.sweep.state.kinds.map((/** @type {string} */ kind, /** @type {number} */ number) => {
      const mark = element("span", { class: `mark kind-${number}`, "aria-hidden": "true" }, [MARKS[number]]);
      const button = element("button", { type: "button", class: "chip", "aria-pressed": "false" }, [
        mark, element("span", {}, [kind]), element("span", { class: "count" }),
      ]);
      button.addEventListener("click", () => {
        const { kinds } = app.selection;
        if (!kinds.delete(number)) kinds.add(number);
        app.update();
      });
      return button;
    });
    holder.replaceChildren(...this.buttons);
  }

  draw() {
    const { sweep, selection } = this.app;
    const chosen = new Array(this.buttons.length).fill(0);
    const all = new Array(this.buttons.length).fill(0);
    const { kind } = sweep.columns;
    for (let r = 0; r < kind.length; r += 1) {
      all[kind[r]] += 1;
      if (selection.mask[r]) chosen[kind[r]] += 1;
    }
    this.buttons.forEach((/** @type {HTMLElement} */ button, /** @type {number} */ number) => {
      button.hidden = all[number] === 0;
      button.setAttribute("aria-pressed", String(selection.kinds.has(number)));
      const few = chosen[number] === all[number] ? "" : `${grouped(chosen[number])} of `;
      setText(/** @type {Element} */ (button.lastElementChild), `${few}${grouped(all[number])}`);
    });
  }
}

export class SettingBars {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    const { settings } = app.sweep.state;
    const panel = /** @type {HTMLElement} */ (holder.closest("section"));
    panel.hidden = settings.length < 2;
    this.rows = settings.slice(0, MOST_SETTINGS).map((/** @type {any} */ setting, /** @type {number} */ number) => {
      const bar = element("span", { class: "bar", "aria-hidden": "true" },
        app.sweep.state.kinds.map((/** @type {string} */ _, /** @type {number} */ kind) => element("span", { class: `part fill-${kind}` })));
      const row = element("button", { type: "button", class: "setting", "aria-pressed": "false" }, [
        element("span", { class: "label" }, [setting.label]), bar, element("span", { class: "count" }),
      ]);
      row.addEventListener("click", () => {
        const chosen = app.selection.settings;
        if (!chosen.delete(number)) chosen.add(number);
        app.update();
      });
      return row;
    });
    holder.replaceChildren(...this.rows);
    if (settings.length > MOST_SETTINGS) {
      holder.append(element("p", { class: "note" }, [`${settings.length - MOST_SETTINGS} more settings: search for them above.`]));
    }
  }

  draw() {
    const { sweep, selection } = this.app;
    const numKinds = sweep.state.kinds.length;
    const counts = new Float64Array(this.rows.length * numKinds);
    const totals = new Float64Array(this.rows.length);
    const { setting: settings, kind } = sweep.columns;
    for (let r = 0; r < settings.length; r += 1) {
      const setting = settings[r];
      if (setting >= this.rows.length) continue;
      totals[setting] += 1;
      if (selection.mask[r]) counts[setting * numKinds + kind[r]] += 1;
    }
    this.rows.forEach((/** @type {HTMLElement} */ row, /** @type {number} */ setting) => {
      row.setAttribute("aria-pressed", String(selection.settings.has(setting)));
      const parts = /** @type {HTMLElement[]} */ ([...row.children[1].children]);
      parts.forEach((part, kind) => {
        part.style.flexGrow = String(counts[setting * numKinds + kind]);
      });
      let chosen = 0;
      for (let kind = 0; kind < numKinds; kind += 1) chosen += counts[setting * numKinds + kind];
      /** @type {HTMLElement} */ (row.children[1]).style.width = `${(100 * chosen) / Math.max(totals[setting], 1)}%`;
      const [few, converged, all] = [chosen, counts[setting * numKinds], totals[setting]].map(grouped);
      const told = chosen === totals[setting] ? `${converged} of ${all} converged` : `${converged} of ${few} chosen converged`;
      setText(row.children[2], told);
    });
  }
}
