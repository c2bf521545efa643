// Learning curves: lines of few runs, densities of many, or quantile bands; the chosen ones in colour on all others in grey.

import { MOST_BANDS } from "./bands.js";
import { MARGIN, stepTicks, stepTitle, valueTicks } from "./curve_axes.js";
import { MOST_LINES, drawBandLayers, drawCurves, drawLimit, drawMarks, hasMedians, isOnTop } from "./curve_layers.js";
import { drawLegend, followSteps } from "./legend.js";
import { nearestRun, rowsOf } from "./rows.js";
import { Axis, drawAxes, fitted, grouped } from "./scales.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {import("./sweep.js").Metric} Metric */

// Pixels that the pointer moves before a press becomes a box.
const DRAG = 4;

export class CurvesView {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.holder = holder;
    const [base, over] = /** @type {HTMLCanvasElement[]} */ ([...holder.querySelectorAll("canvas")]);
    this.base = base;
    this.over = over;
    this.x = new Axis(0, 1, 0, 1);
    this.y = new Axis(0, 1, 1, 0);
    this.size = [0, 0];
    /** @type {import("./rows.js").Curves} */
    this.curves = { values: new Float32Array(0), places: new Float32Array(0), slope: 1, offset: 0 };
    /** @type {import("./rows.js").Rows} */
    this.rows = { rows: new Float32Array(0), columns: new Int32Array(0), numRuns: 0 };
    this.inner = this.tall = 0;
    this.isCut = false;
    this.name = app.sweep.state.criterion.metric;
    /** @type {Metric | null} */
    this.metric = null;
    /** @type {"curves" | "outcome" | "setting"} */
    this.drawing = "curves";
    this.isLog = true;
    this.isShare = false;
    this.isLogStep = false;
    this.isDragging = false;
    /** @type {[number, number] | null} */
    this.pressed = null;
    this.key = "";
    /** @type {import("./density.js").Density | null} */
    this.density = null;
    /** @type {{theme: string, picture: HTMLCanvasElement} | null} */
    this.grey = null;
    /** @type {import("./bands.js").Band | null} */
    this.allBand = null;
    /** @type {import("./bands.js").Group[]} the bands as they were drawn */
    this.groups = [];
    /** @type {number | null} the place of the step whose bands are told */
    this.cursor = null;
    this.listen();
    followSteps(this);
  }

  /** @param {string} name */
  async choose(name) {
    this.name = name;
    const metric = await this.app.sweep.metric(name);
    if (this.name !== name) return;
    this.metric = metric;
    this.isLog = metric.range()[0] > 0 || (name === this.app.sweep.state.criterion.metric && metric.range()[1] > 0);
    this.app.onMetric();
  }

  /** The step as it is placed: a share, or a logarithm with room for 0. @param {number} step */
  placed(step) {
    const value = this.isShare ? step / this.app.sweep.state.budget : step;
    return this.isLogStep ? Math.log10(1 + (this.isShare ? value * 1000 : value)) : value;
  }

  /** @param {number} value */
  unplaced(value) {
    const raw = this.isLogStep ? (10 ** value - 1) / (this.isShare ? 1000 : 1) : value;
    return this.isShare ? raw * this.app.sweep.state.budget : raw;
  }

  measure() {
    this.size = [this.holder.clientWidth, this.holder.clientHeight];
  }

  /** Axes and what is computed from them, unless they are as they were. */
  layout() {
    const metric = /** @type {Metric} */ (this.metric);
    const [width, height] = this.size.map((size) => Math.max(220, size));
    const key = [this.name, this.isLog, this.isShare, this.isLogStep, width, height, this.app.version].join();
    if (key === this.key) return;
    this.key = key;
    const last = Math.max(...metric.steps, 1);
    this.x = new Axis(this.placed(0), this.placed(last), MARGIN.left, width - MARGIN.right);
    const [low, most, high] = metric.range();
    let bounds = [low, high > 3 * Math.abs(most) ? 1.1 * most : high];
    if (this.isLog) bounds = metric.logRange();
    const pad = 0.03 * (bounds[1] - bounds[0] || 1);
    this.y = new Axis(bounds[0] - pad, bounds[1] + pad, height - MARGIN.bottom, MARGIN.top);
    this.isCut = !this.isLog && bounds[1] < high;
    const places = Float32Array.from(metric.steps, (step) => this.x.pixel(this.placed(step)) - MARGIN.left);
    const slope = (this.y.to - this.y.from) / (this.y.high - this.y.low);
    const offset = this.y.from - MARGIN.top - slope * this.y.low;
    [this.inner, this.tall] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
    this.curves = { values: metric.plotted(this.isLog), places, slope, offset };
    this.rows = rowsOf(this.curves, metric.numRuns, this.tall);
    this.density = this.grey = this.allBand = this.cursor = null;
  }

  draw() {
    if (!this.metric || !this.size[0]) return;
    this.layout();
    const context = this.clipped(this.base, true);
    if (this.drawing === "curves") drawCurves(context, this);
    else drawBandLayers(context, this);
    drawLimit(context, this);
    context.restore();
    this.drawOver();
    drawLegend(this);
    this.app.note("curves", this.noteText());
  }

  /** The context of a canvas, empty or with axes, to draw between the axes. @param {HTMLCanvasElement} canvas @param {boolean} hasAxes */
  clipped(canvas, hasAxes) {
    const [width, height] = this.size.map((size) => Math.max(220, size));
    const context = fitted(canvas, width, height);
    if (hasAxes) drawAxes(context, this.x, this.y, stepTicks(this), valueTicks(this), stepTitle(this));
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top, this.inner, this.tall);
    context.clip();
    return context;
  }

  /** What follows the pointer, on a canvas of its own. */
  drawOver() {
    if (!this.metric || !this.key) return;
    const context = this.clipped(this.over, false);
    drawMarks(context, this);
    context.restore();
  }

  /** The chosen run whose line or density is nearest to a point, null if none is near or drawn. @param {number} px @param {number} py */
  nearest(px, py) {
    if (this.drawing !== "curves" && !isOnTop(this)) return null;
    return nearestRun(this.rows, this.app.selection.mask, px - MARGIN.left, py - MARGIN.top);
  }

  /** @param {PointerEvent} event */
  hover(event) {
    const run = this.nearest(event.offsetX, event.offsetY);
    if (run !== null || this.drawing === "curves" || !this.curves.places.length) {
      this.tell(null);
      this.app.hover(run, event);
      return;
    }
    this.app.hover(null, null);
    const distance = this.curves.places.map((place) => Math.abs(place + MARGIN.left - event.offsetX));
    this.tell(distance.indexOf(Math.min(...distance)));
  }

  /** Tell the bands at a step. @param {number | null} t its place, null for the last one */
  tell(t) {
    if (this.cursor === t) return;
    this.cursor = t;
    drawLegend(this);
    this.drawOver();
  }

  leave() {
    this.app.hover(null, null);
    this.tell(null);
  }

  listen() {
    const { over, app } = this;
    over.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.pressed = [event.offsetX, event.offsetY];
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointermove", (event) => {
      if (this.pressed) this.dragTo(event);
      else this.hover(event);
    });
    over.addEventListener("pointerup", (event) => {
      const wasDragging = this.isDragging;
      this.pressed = null;
      this.isDragging = false;
      if (wasDragging) app.update();
      else this.click(event);
    });
    over.addEventListener("pointercancel", () => {
      this.pressed = null;
      this.isDragging = false;
    });
    over.addEventListener("pointerleave", () => this.leave());
  }

  /** @param {PointerEvent} event */
  click(event) {
    const { app } = this;
    const run = this.nearest(event.offsetX, event.offsetY);
    if (run !== null) app.open(run);
    else if (app.selection.box) {
      app.selection.box = null;
      app.update();
    }
  }

  /** @param {PointerEvent} event */
  dragTo(event) {
    const start = /** @type {[number, number]} */ (this.pressed);
    const [px, py] = [event.offsetX, event.offsetY];
    if (!this.isDragging && Math.hypot(px - start[0], py - start[1]) < DRAG) return;
    this.isDragging = true;
    this.cursor = null;
    this.app.hover(null, null);
    const sorted = (/** @type {number} */ one, /** @type {number} */ other) =>
      /** @type {[number, number]} */ ([Math.min(one, other), Math.max(one, other)]);
    this.app.selection.box = {
      metric: /** @type {Metric} */ (this.metric),
      isLog: this.isLog,
      steps: sorted(this.unplaced(this.x.value(start[0])), this.unplaced(this.x.value(px))),
      values: sorted(this.y.value(start[1]), this.y.value(py)),
    };
    this.app.update(event.timeStamp);
  }

  noteText() {
    const { selection, sweep } = this.app;
    const isBanded = this.drawing !== "curves";
    const parts = [`${grouped(selection.count)} of ${grouped(sweep.numRuns)} runs`];
    if (!isBanded) parts[0] += selection.count > MOST_LINES ? ", shown as density, brighter where more runs pass" : ", a line each";
    else if (isOnTop(this)) parts[0] += ", a line each, on the bands of all runs";
    if (isBanded) parts.push("at each step the median and the middle 50% and 90% of the runs recorded there: runs that have ended are in no band");
    else if (hasMedians(this)) parts.push("thick: medians by outcome, of the runs recorded at each step");
    const isFull = this.drawing === "setting" && this.groups.length === MOST_BANDS && sweep.state.settings.length > MOST_BANDS;
    if (isFull) parts.push(`bands of ${MOST_BANDS} settings at most: choose others below`);
    const lowest = this.metric?.range()[0] ?? 1;
    if (this.isLog && lowest <= 0) parts.push(isBanded ? "values of 0 and below are under the log axis" : "values of 0 and below are not on a log axis");
    if (this.isCut) parts.push("cut above the 99.5th percentile");
    parts.push(this.metric?.precision ?? "");
    return `${parts.join("; ")}.`;
  }
}
