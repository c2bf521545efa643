// The bands in numbers below the curves, at a step that pointer or keyboard chooses.

import { element } from "./groups.js";
import { grouped, numberText } from "./scales.js";
import { MARKS } from "./sweep.js";

/** @typedef {import("./curves.js").CurvesView} CurvesView */

/** A row for each band that is drawn: its quantiles at the step that is told, by default the last one. @param {CurvesView} view */
export function drawLegend(view) {
  const holder = /** @type {HTMLElement} */ (document.getElementById("bands-legend"));
  const isBanded = view.drawing !== "curves";
  holder.hidden = !isBanded;
  setSlider(view, isBanded);
  if (!isBanded) return;
  const { steps } = /** @type {import("./sweep.js").Metric} */ (view.metric);
  const t = view.cursor ?? steps.length - 1;
  const heads = ["median", "50%", "90%", "runs"].map((text) => element("th", { scope: "col" }, [text]));
  const title = element("th", { scope: "col" }, [`at step ${numberText(steps[t] ?? 0)}`]);
  const rows = view.groups.map((group, g) => {
    const kind = view.app.sweep.state.kinds.indexOf(group.label);
    const swatch = element("span", { class: group.letter ? `swatch band-${g}` : `mark kind-${kind}` }, [group.letter || MARKS[kind]]);
    const cells = cellsOf(group, t).map((text) => element("td", {}, [text]));
    return element("tr", {}, [element("th", { scope: "row" }, [swatch, ` ${group.label}`]), ...cells]);
  });
  holder.replaceChildren(element("table", {}, [element("thead", {}, [element("tr", {}, [title, ...heads])]), element("tbody", {}, rows)]));
}

/** Median, middle 50%, middle 90% and number of runs of a band at a step. @param {import("./bands.js").Group} group @param {number} t */
function cellsOf({ band, size }, t) {
  const [low, first, median, third, high] = band.quantiles.map((values) => numberText(values[t]));
  const runs = `${grouped(band.count[t] ?? 0)} of ${grouped(size)}`;
  return [median, first && `${first} to ${third}`, low && `${low} to ${high}`, runs];
}

/** The same as text. @param {CurvesView} view @param {number} t */
function bandsText(view, t) {
  const step = numberText(/** @type {import("./sweep.js").Metric} */ (view.metric).steps[t]);
  const texts = view.groups.map((group) => {
    const [median, middle, most, runs] = cellsOf(group, t);
    const parts = [median && `median ${median}`, middle && `50% from ${middle}`, most && `90% from ${most}`, `${runs} runs`];
    return `${group.label}: ${parts.filter(Boolean).join(", ")}`;
  });
  return [`step ${step}`, ...texts].join("; ");
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
    view.tell(t);
    over.setAttribute("aria-valuenow", numberText(/** @type {import("./sweep.js").Metric} */ (view.metric).steps[t]).replaceAll(",", ""));
    over.setAttribute("aria-valuetext", bandsText(view, t));
  });
  over.addEventListener("blur", () => view.leave());
}
