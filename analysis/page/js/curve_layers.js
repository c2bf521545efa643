// What is drawn of the learning curves, layer by layer: all runs in grey, the chosen ones in colour, what stands above them.

import { MEDIAN, bandsOf, drawBands, drawMedian, groupsOf } from "./bands.js";
import { MARGIN } from "./curve_axes.js";
import { Density } from "./density.js";
import { strokeCurves } from "./rows.js";
import { DASHES, numberText, palette } from "./scales.js";

/** @typedef {import("./curves.js").CurvesView} CurvesView */
/** @typedef {import("./sweep.js").Metric} Metric */
/** @typedef {CanvasRenderingContext2D} Context */

// More lines than this are ink; their density is drawn instead.
export const MOST_LINES = 300;
// So few chosen runs are lines on top of the bands of all; of more there are bands.
export const MOST_ON_TOP = 20;
// Fewer runs than this have no medians.
const FEWEST_FOR_MEDIANS = 13;

/** Density or lines. @param {Context} context @param {CurvesView} view */
export function drawCurves(context, view) {
  const { selection } = view.app;
  if (!selection.isEmpty) context.drawImage(greyPicture(view), MARGIN.left, MARGIN.top, view.inner, view.tall);
  if (selection.count <= MOST_LINES) drawLines(context, view);
  else {
    const { kind } = view.app.sweep.columns;
    view.density ??= new Density(view.rows, view.inner, view.tall, palette().kinds.length);
    view.density.show(selection.mask, kind);
    context.drawImage(view.density.picture(palette().kinds, 0.92), MARGIN.left, MARGIN.top, view.inner, view.tall);
  }
  if (hasMedians(view)) drawMedians(context, view);
}

/** Whether medians are drawn above density or lines: not while a box is dragged. @param {CurvesView} view */
export function hasMedians(view) {
  return !view.isDragging && view.app.selection.count >= FEWEST_FOR_MEDIANS;
}

/** Bands, and few chosen runs on top of them. @param {Context} context @param {CurvesView} view */
export function drawBandLayers(context, view) {
  const { selection, sweep } = view.app;
  const everyRun = new Uint8Array(sweep.numRuns).fill(1);
  view.groups = groupsOf(view, isOnTop(view) ? masked(view, everyRun) : selection.mask);
  if (!selection.isEmpty && !isOnTop(view)) drawBands(context, view, [greyBand(view)]);
  drawBands(context, view, view.groups);
  if (isOnTop(view)) drawLines(context, view);
}

/** Whether the chosen runs are lines on top of the bands of all runs. @param {CurvesView} view */
export function isOnTop({ app: { selection }, drawing }) {
  return drawing !== "curves" && !selection.isEmpty && selection.count <= MOST_ON_TOP;
}

/** Of all runs those whose setting a chosen run has, where bands are by setting. @param {CurvesView} view @param {Uint8Array} everyRun */
function masked({ app: { selection, sweep }, drawing }, everyRun) {
  if (drawing !== "setting") return everyRun;
  const { setting } = sweep.columns;
  const own = new Set();
  for (let r = 0; r < everyRun.length; r += 1) if (selection.mask[r]) own.add(setting[r]);
  return everyRun.map((_, r) => Number(own.has(setting[r])));
}

/** The density of all runs in grey. @param {CurvesView} view */
function greyPicture(view) {
  const { sweep, theme } = view.app;
  if (view.grey?.theme !== theme) {
    const density = new Density(view.rows, view.inner, view.tall, 1);
    density.show(new Uint8Array(sweep.numRuns).fill(1), new Uint8Array(sweep.numRuns));
    view.grey = { theme, picture: density.picture([palette().context], 0.7) };
  }
  return view.grey.picture;
}

/** The band of all runs in grey. @param {CurvesView} view */
function greyBand(view) {
  const { sweep } = view.app;
  view.allBand ??= bandsOf(/** @type {Metric} */ (view.metric), new Int16Array(sweep.numRuns), 1)[0];
  return { label: "all runs", size: sweep.numRuns, colour: palette().context, dash: [], letter: "", band: view.allBand };
}

/** The chosen runs in the colours of their outcomes. @param {Context} context @param {CurvesView} view */
function drawLines(context, view) {
  const { selection, sweep } = view.app;
  const colours = palette();
  const { kind } = sweep.columns;
  for (let k = colours.kinds.length - 1; k >= 0; k -= 1) {
    const runs = [];
    for (let r = 0; r < sweep.numRuns; r += 1) if (selection.mask[r] && kind[r] === k) runs.push(r);
    context.strokeStyle = colours.kinds[k];
    context.lineWidth = runs.length > 60 ? 1 : 1.4;
    context.globalAlpha = Math.max(0.28, Math.min(0.9, 14 / Math.sqrt(selection.count * 12)));
    strokeCurves(context, view.curves, runs, MARGIN.left, MARGIN.top);
  }
  context.globalAlpha = 1;
}

/** A dashed median of each outcome. @param {Context} context @param {CurvesView} view */
function drawMedians(context, view) {
  const { sweep, selection } = view.app;
  const colours = palette();
  const { kind } = sweep.columns;
  const groups = Int16Array.from(selection.mask, (is, r) => (is ? kind[r] : -1));
  bandsOf(/** @type {Metric} */ (view.metric), groups, colours.kinds.length, [MEDIAN]).forEach((band, k) => {
    drawMedian(context, view, { band, colour: colours.kinds[k], dash: DASHES[k], label: "", size: 0, letter: "" });
  });
}

/** The threshold that runs are judged by. @param {Context} context @param {CurvesView} view */
export function drawLimit(context, view) {
  const { criterion } = view.app.sweep.state;
  if (criterion.metric !== view.name || (view.isLog && criterion.limit <= 0)) return;
  const { x, y } = view;
  const place = y.pixel(view.isLog ? Math.log10(criterion.limit) : criterion.limit);
  const colours = palette();
  context.strokeStyle = context.fillStyle = colours.text;
  context.lineWidth = 1;
  context.setLineDash([2, 3]);
  context.beginPath();
  context.moveTo(x.from, place);
  context.lineTo(x.to, place);
  context.stroke();
  context.setLineDash([]);
  context.textAlign = "left";
  context.textBaseline = "bottom";
  context.font = "12px system-ui, sans-serif";
  const text = `converged: ${numberText(criterion.limit)}`;
  context.fillStyle = colours.ground;
  context.globalAlpha = 0.8;
  // Above the line, or below it where the plot ends.
  const bottom = place - 17 >= Math.min(y.from, y.to) ? place - 3 : place + 17;
  context.fillRect(x.from + 3, bottom - 14, context.measureText(text).width + 6, 15);
  context.globalAlpha = 1;
  context.fillStyle = colours.text;
  context.fillText(text, x.from + 6, bottom);
}

/** The run under the pointer, the opened run, the step that is told and the box. @param {Context} context @param {CurvesView} view */
export function drawMarks(context, view) {
  const { hovered, opened, sweep, selection } = view.app;
  const { x, y } = view;
  const colours = palette();
  for (const run of new Set([opened, hovered])) {
    if (run === null) continue;
    for (const [colour, wide] of [[colours.ground, 6], [colours.text, 4], [colours.kinds[sweep.columns.kind[run]], 2]]) {
      context.strokeStyle = String(colour);
      context.lineWidth = Number(wide);
      strokeCurves(context, view.curves, [run], MARGIN.left, MARGIN.top);
    }
  }
  context.fillStyle = context.strokeStyle = colours.text;
  if (view.cursor !== null) context.fillRect(Math.round(MARGIN.left + view.curves.places[view.cursor]), y.to, 1, y.from - y.to);
  const box = selection.box;
  if (!box || box.metric !== view.metric || box.isLog !== view.isLog) return;
  const [left, right] = box.steps.map((step) => x.pixel(view.placed(step)));
  const [bottom, top] = box.values.map((value) => y.pixel(value));
  context.lineWidth = 1.5;
  context.strokeRect(left, top, right - left, bottom - top);
  context.globalAlpha = 0.07;
  context.fillRect(left, top, right - left, bottom - top);
  context.globalAlpha = 1;
}
