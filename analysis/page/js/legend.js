// The names of the bands below the curves, and their steps by the keyboard.

import { MOST_BANDS, bandTexts } from "./bands.js";
import { MARGIN } from "./curve_axes.js";
import { element } from "./groups.js";
import { numberText } from "./scales.js";
import { MARKS } from "./sweep.js";

/** @typedef {import("./curves.js").CurvesView} CurvesView */

/** A name for each band that is drawn, with the number of its runs at the first and at the last step. @param {CurvesView} view */
export function drawLegend(view) {
  const holder = /** @type {HTMLElement} */ (document.getElementById("bands-legend"));
  const isBanded = view.drawing !== "curves";
  holder.hidden = !isBanded;
  setSlider(view, isBanded);
  if (!isBanded) return;
  const items = view.groups.map((group, g) => {
    const counts = [...group.band.count].filter((count) => count);
    const [first, last] = [counts[0] ?? 0, counts[counts.length - 1] ?? 0].map((count) => count.toLocaleString("en"));
    const kind = view.app.sweep.state.kinds.indexOf(group.label);
    const swatch = group.letter ? `swatch band-${g}` : `mark kind-${kind}`;
    const told = first === last ? `n = ${first}` : `n = ${first}, at the last step ${last}`;
    return element("li", {}, [element("span", { class: swatch }, [group.letter || MARKS[kind]]), ` ${group.label} `, element("span", { class: "count" }, [told])]);
  });
  const { settings } = view.app.sweep.state;
  if (view.drawing === "setting" && view.groups.length === MOST_BANDS && settings.length > MOST_BANDS) {
    items.push(element("li", { class: "count" }, [`at most ${MOST_BANDS} settings: choose others below`]));
  }
  holder.replaceChildren(...items);
}

/** Let the canvas be a slider over the steps while it shows bands. @param {CurvesView} view @param {boolean} isBanded */
function setSlider({ over, metric }, isBanded) {
  const names = { tabindex: "0", role: "slider", "aria-label": "Step whose bands are told", "aria-valuemin": "0" };
  if (!isBanded) [...Object.keys(names), "aria-valuemax", "aria-valuenow", "aria-valuetext"].forEach((name) => over.removeAttribute(name));
  else if (!over.hasAttribute("role")) {
    Object.entries(names).forEach(([name, value]) => over.setAttribute(name, value));
    over.setAttribute("aria-valuenow", "0");
  }
  if (isBanded) over.setAttribute("aria-valuemax", String(Math.max(...(metric?.steps ?? []), 0)));
}

/** Arrows, Home and End walk the steps of the bands and tell them. @param {CurvesView} view */
export function followSteps(view) {
  const { over } = view;
  over.addEventListener("keydown", (event) => {
    const last = view.curves.places.length - 1;
    const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    if (view.drawing === "curves" || last < 0 || !(event.key in moves)) return;
    event.preventDefault();
    const t = Math.max(0, Math.min(last, (view.cursor ?? 0) + moves[/** @type {keyof typeof moves} */ (event.key)]));
    const box = over.getBoundingClientRect();
    view.tell(t, box.left + MARGIN.left + view.curves.places[t], box.top + 20);
    over.setAttribute("aria-valuenow", numberText(/** @type {import("./sweep.js").Metric} */ (view.metric).steps[t]).replaceAll(",", ""));
    over.setAttribute("aria-valuetext", bandTexts(view, view.groups, t).join("; "));
  });
  over.addEventListener("blur", () => view.leave());
}
