// Quantile bands: at each step the median, the middle 50% and the middle 90% of the runs that were recorded there.

import { MARGIN } from "./curve_axes.js";
import { quantiles } from "./quantiles.js";
import { DASHES, palette } from "./scales.js";

/** @typedef {import("./curves.js").CurvesView} CurvesView */
/** @typedef {import("./sweep.js").Metric} Metric */
/** @typedef {{count: Int32Array, quantiles: Float32Array[]}} Band runs recorded at each step, and their quantiles; NaN of too few */
/** @typedef {{label: string, size: number, colour: string, dash: number[], letter: string, band: Band}} Group */

const SHARES = [0.05, 0.25, 0.5, 0.75, 0.95];
// Of fewer runs at a step there is no such quantile: the outermost 5% of twenty are one run.
const FEWEST = [20, 4, 3, 4, 20];
/** The place of the median in `SHARES`. */
export const MEDIAN = 2;
// More bands than this hide each other.
export const MOST_BANDS = 6;

/**
 * The quantiles of each group of runs at each step of a metric.
 * @param {Metric} metric @param {Int16Array} groups of each run; -1 where it is of none @param {number} numGroups
 * @param {number[]} wanted places in `SHARES`, ascending; the others stay NaN
 * @returns {Band[]}
 */
export function bandsOf(metric, groups, numGroups, wanted = [...SHARES.keys()]) {
  const { numRuns } = metric;
  const numSteps = metric.steps.length;
  const values = metric.byStep();
  const held = new Float32Array(numRuns);
  const membersOf = Array.from({ length: numGroups }, () => /** @type {number[]} */ ([]));
  for (let r = 0; r < numRuns; r += 1) if (groups[r] >= 0) membersOf[groups[r]].push(r);
  return membersOf.map((found) => {
    const members = Int32Array.from(found);
    const band = { count: new Int32Array(numSteps), quantiles: SHARES.map(() => new Float32Array(numSteps).fill(NaN)) };
    for (let t = 0; t < numSteps; t += 1) {
      let count = 0;
      for (let i = 0; i < members.length; i += 1) {
        const value = values[t * numRuns + members[i]];
        if (value === value) held[count++] = value;
      }
      fill(band, t, held, count, wanted);
    }
    return band;
  });
}

/** @param {Band} band @param {number} t @param {Float32Array} held @param {number} count @param {number[]} wanted */
function fill(band, t, held, count, wanted) {
  band.count[t] = count;
  const known = wanted.filter((q) => count >= FEWEST[q]);
  if (!known.length) return;
  quantiles(held, count, known.map((q) => SHARES[q])).forEach((value, i) => {
    band.quantiles[known[i]][t] = value;
  });
}

/**
 * The bands that a view draws, of the runs in `mask`: by outcome, or of the first settings that have any.
 * @param {CurvesView} view @param {Uint8Array} mask
 * @returns {Group[]}
 */
export function groupsOf(view, mask) {
  const { sweep } = view.app;
  const isBySetting = view.drawing === "setting";
  const column = isBySetting ? sweep.columns.setting : sweep.columns.kind;
  const sizes = new Int32Array(isBySetting ? sweep.state.settings.length : sweep.state.kinds.length);
  for (let r = 0; r < mask.length; r += 1) if (mask[r]) sizes[column[r]] += 1;
  const shown = [...sizes.keys()].filter((one) => sizes[one]).slice(0, MOST_BANDS);
  const place = new Int16Array(sizes.length).fill(-1);
  shown.forEach((one, g) => { place[one] = g; });
  const groups = Int16Array.from(mask, (is, r) => (is ? place[column[r]] : -1));
  const colours = palette();
  return bandsOf(/** @type {Metric} */ (view.metric), groups, shown.length).map((band, g) => ({
    band, size: sizes[shown[g]], letter: isBySetting ? String.fromCharCode(65 + g) : "",
    label: isBySetting ? sweep.state.settings[shown[g]].label : sweep.state.kinds[shown[g]],
    colour: isBySetting ? colours.bands[g] : colours.kinds[shown[g]], dash: DASHES[(isBySetting ? g : shown[g]) % DASHES.length],
  }));
}

/** Both bands and the median of each group; the medians on top. @param {CanvasRenderingContext2D} context @param {CurvesView} view @param {Group[]} groups */
export function drawBands(context, view, groups) {
  // Of many, one must see through to the others.
  const strength = groups.length > 3 ? 0.6 : 1;
  for (const [low, high, alpha] of [[0, 4, 0.13], [1, 3, 0.25]]) {
    for (const { band, colour } of groups) {
      context.fillStyle = colour;
      context.globalAlpha = alpha * strength;
      fillBetween(context, view, band.quantiles[low], band.quantiles[high]);
    }
  }
  context.globalAlpha = 1;
  for (const group of groups) drawMedian(context, view, group);
  groups.forEach((group, g) => drawLetter(context, view, group, (g + 1) / (groups.length + 1)));
}

/** A median with a rim that sets it off. @param {CanvasRenderingContext2D} context @param {CurvesView} view @param {Group} group */
export function drawMedian(context, view, { band, colour, dash }) {
  for (const [style, wide] of [[palette().ground, 5], [colour, 2.5]]) {
    context.strokeStyle = String(style);
    context.lineWidth = Number(wide);
    context.setLineDash(style === colour ? dash : []);
    context.beginPath();
    for (const stretch of stretches(band.quantiles[MEDIAN])) {
      stretch.forEach((t, i) => {
        if (i) context.lineTo(left(view, t), top(view, band.quantiles[MEDIAN][t]));
        else context.moveTo(left(view, t), top(view, band.quantiles[MEDIAN][t]));
      });
    }
    context.stroke();
  }
  context.setLineDash([]);
}

/** The letter of a group on its median, so that it is told without colours. @param {CanvasRenderingContext2D} context @param {CurvesView} view @param {Group} group @param {number} share */
function drawLetter(context, view, { band, colour, letter }, share) {
  const known = [...band.count.keys()].filter((t) => band.count[t] >= FEWEST[MEDIAN]);
  if (!letter || !known.length) return;
  const t = known[Math.round(share * (known.length - 1))];
  const [x, y] = [left(view, t), top(view, band.quantiles[MEDIAN][t])];
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  context.fillStyle = palette().ground;
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.fill();
  context.stroke();
  context.fillStyle = palette().text;
  context.font = "600 11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x, y + 0.5);
}

/** @param {CanvasRenderingContext2D} context @param {CurvesView} view @param {Float32Array} low @param {Float32Array} high */
function fillBetween(context, view, low, high) {
  for (const stretch of stretches(low)) {
    context.beginPath();
    for (const t of stretch) context.lineTo(left(view, t), top(view, low[t]));
    for (const t of stretch.reverse()) context.lineTo(left(view, t), top(view, high[t]));
    context.fill();
  }
}

/** Steps without a gap between them. @param {Float32Array} values */
function stretches(values) {
  /** @type {number[][]} */
  const found = [];
  values.forEach((value, t) => {
    if (value !== value) return;
    if (found.length && found[found.length - 1][found[found.length - 1].length - 1] === t - 1) found[found.length - 1].push(t);
    else found.push([t]);
  });
  return found;
}

/** @param {CurvesView} view @param {number} t */
function left(view, t) {
  return MARGIN.left + view.curves.places[t];
}

/** The row of a value; what lies outside of the plot, as 0 does on a log axis, is beyond its edge. @param {CurvesView} view @param {number} value */
function top(view, value) {
  const { slope, offset } = view.curves;
  const row = slope * (view.isLog ? Math.log10(Math.max(value, 0)) : value) + offset;
  return MARGIN.top + Math.max(-20, Math.min(view.tall + 20, row));
}
