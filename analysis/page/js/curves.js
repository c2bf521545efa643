// Learning curves: lines of few runs, densities of many, the chosen ones in colour on top of all others in grey.

import { logBounds, nearestRun, stepTicks, valueTicks } from "./curve_axes.js";
import { densities, medians, picture, strokeCurves } from "./raster.js";
import { Axis, DASHES, drawAxes, fitted, numberText, palette } from "./scales.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {import("./sweep.js").Metric} Metric */

// More lines than this are ink; their density is drawn instead.
const MOST_LINES = 300;
const MARGIN = { left: 58, right: 14, top: 10, bottom: 30 };
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
    /** @type {import("./raster.js").Curves} */
    this.curves = { values: new Float32Array(0), places: new Float32Array(0), slope: 1, offset: 0 };
    this.isCut = false;
    this.name = app.sweep.state.criterion.metric;
    /** @type {Metric | null} */
    this.metric = null;
    this.isLog = true;
    this.isShare = false;
    this.isLogStep = false;
    this.isDragging = false;
    /** @type {[number, number] | null} */
    this.pressed = null;
    this.idle = 0;
    this.contextKey = "";
    /** @type {HTMLCanvasElement | null} */
    this.contextPicture = null;
    this.listen();
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

  layout() {
    const metric = /** @type {Metric} */ (this.metric);
    const width = Math.max(220, this.holder.clientWidth);
    const height = Math.max(220, this.holder.clientHeight);
    const last = Math.max(...metric.steps, 1);
    this.x = new Axis(this.placed(0), this.placed(last), MARGIN.left, width - MARGIN.right);
    const [low, most, high] = metric.range();
    let bounds = [low, high > 3 * Math.abs(most) ? 1.1 * most : high];
    if (this.isLog) bounds = logBounds(metric);
    const pad = 0.03 * (bounds[1] - bounds[0] || 1);
    this.y = new Axis(bounds[0] - pad, bounds[1] + pad, height - MARGIN.bottom, MARGIN.top);
    this.isCut = !this.isLog && bounds[1] < high;
    const places = Float32Array.from(metric.steps, (step) => this.x.pixel(this.placed(step)) - MARGIN.left);
    const slope = (this.y.to - this.y.from) / (this.y.high - this.y.low);
    const offset = this.y.from - MARGIN.top - slope * this.y.low;
    this.curves = { values: metric.plotted(this.isLog), places, slope, offset };
    return { width, height };
  }

  draw() {
    if (!this.metric || !this.holder.clientWidth) return;
    const { width, height } = this.layout();
    const context = fitted(this.base, width, height);
    drawAxes(context, this.x, this.y, stepTicks(this), valueTicks(this));
    const [inner, tall] = [Math.round(width - MARGIN.left - MARGIN.right), height - MARGIN.top - MARGIN.bottom];
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top, inner, tall);
    context.clip();
    const { selection } = this.app;
    if (!selection.isEmpty) this.drawContext(context, inner, tall);
    this.drawChosen(context, inner, tall);
    this.drawLimit(context);
    context.restore();
    this.drawOver();
    this.app.note("curves", this.noteText());
  }

  /** All runs, in grey. @param {CanvasRenderingContext2D} context @param {number} inner @param {number} tall */
  drawContext(context, inner, tall) {
    const { sweep, version, theme } = this.app;
    const colours = palette();
    const key = [this.name, this.isLog, this.isShare, this.isLogStep, inner, tall, version, theme].join();
    if (this.contextKey !== key) {
      const all = new Uint8Array(sweep.numRuns).fill(1);
      const found = densities(this.curves, all, new Uint8Array(sweep.numRuns), 1, inner, tall, 1);
      this.contextPicture = picture(found, inner, tall, 1, [colours.context], 0.7);
      this.contextKey = key;
    }
    context.drawImage(/** @type {HTMLCanvasElement} */ (this.contextPicture), MARGIN.left, MARGIN.top, inner, tall);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} inner @param {number} tall */
  drawChosen(context, inner, tall) {
    const { sweep, selection } = this.app;
    const colours = palette();
    const { kind } = sweep.columns;
    const isFew = selection.count <= MOST_LINES;
    if (isFew) {
      for (let k = colours.kinds.length - 1; k >= 0; k -= 1) {
        const runs = [];
        for (let r = 0; r < sweep.numRuns; r += 1) if (selection.mask[r] && kind[r] === k) runs.push(r);
        context.strokeStyle = colours.kinds[k];
        context.lineWidth = runs.length > 60 ? 1 : 1.4;
        context.globalAlpha = Math.max(0.28, Math.min(0.9, 14 / Math.sqrt(selection.count * 12)));
        strokeCurves(context, this.curves, runs, MARGIN.left, MARGIN.top);
      }
      context.globalAlpha = 1;
    } else {
      const stride = this.isDragging ? 2 : 1;
      const found = densities(this.curves, selection.mask, kind, colours.kinds.length, inner, tall, stride);
      const drawn = picture(found, inner, tall, stride, colours.kinds, 0.92);
      context.drawImage(drawn, MARGIN.left, MARGIN.top, Math.ceil(inner / stride) * stride, tall);
    }
    if (!this.isDragging && selection.count > 12) this.drawMedians(context);
  }

  /** A dashed median of each outcome, with a rim that sets it off. @param {CanvasRenderingContext2D} context */
  drawMedians(context) {
    const { sweep, selection } = this.app;
    const colours = palette();
    for (let k = 0; k < colours.kinds.length; k += 1) {
      const values = medians(this.curves, selection.mask, sweep.columns.kind, k);
      const one = { ...this.curves, values };
      for (const [colour, wide] of [[colours.ground, 5], [colours.kinds[k], 2.5]]) {
        context.strokeStyle = String(colour);
        context.lineWidth = Number(wide);
        context.setLineDash(colour === colours.ground ? [] : DASHES[k]);
        strokeCurves(context, one, [0], MARGIN.left, MARGIN.top);
      }
      context.setLineDash([]);
    }
  }

  /** The threshold that runs are judged by. @param {CanvasRenderingContext2D} context */
  drawLimit(context) {
    const { criterion } = this.app.sweep.state;
    if (criterion.metric !== this.name || (this.isLog && criterion.limit <= 0)) return;
    const place = this.y.pixel(this.isLog ? Math.log10(criterion.limit) : criterion.limit);
    const colours = palette();
    context.strokeStyle = context.fillStyle = colours.text;
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(this.x.from, place);
    context.lineTo(this.x.to, place);
    context.stroke();
    context.setLineDash([]);
    context.textAlign = "left";
    context.textBaseline = "bottom";
    context.font = "12px system-ui, sans-serif";
    const text = `converged: ${numberText(criterion.limit)}`;
    context.fillStyle = colours.ground;
    context.globalAlpha = 0.8;
    context.fillRect(this.x.from + 3, place - 17, context.measureText(text).width + 6, 15);
    context.globalAlpha = 1;
    context.fillStyle = colours.text;
    context.fillText(text, this.x.from + 6, place - 3);
  }

  /** The run under the pointer, the opened run and the box, on a canvas of their own. */
  drawOver() {
    if (!this.metric) return;
    const context = fitted(this.over, Math.max(220, this.holder.clientWidth), Math.max(220, this.holder.clientHeight));
    const colours = palette();
    const { hovered, opened, sweep } = this.app;
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top, this.x.to - this.x.from, this.y.from - this.y.to);
    context.clip();
    for (const run of new Set([opened, hovered])) {
      if (run === null) continue;
      for (const [colour, wide] of [[colours.ground, 6], [colours.text, 4], [colours.kinds[sweep.columns.kind[run]], 2]]) {
        context.strokeStyle = String(colour);
        context.lineWidth = Number(wide);
        strokeCurves(context, this.curves, [run], MARGIN.left, MARGIN.top);
      }
    }
    const box = this.app.selection.box;
    if (box && box.metric === this.metric && box.isLog === this.isLog) {
      const [left, right] = box.steps.map((step) => this.x.pixel(this.placed(step)));
      const [bottom, top] = box.values.map((value) => this.y.pixel(value));
      context.strokeStyle = colours.text;
      context.lineWidth = 1.5;
      context.strokeRect(left, top, right - left, bottom - top);
      context.globalAlpha = 0.07;
      context.fillStyle = colours.text;
      context.fillRect(left, top, right - left, bottom - top);
    }
    context.restore();
  }

  /** The chosen run whose curve is nearest to a point, null if none is near. @param {number} px @param {number} py */
  nearest(px, py) {
    return nearestRun(this.curves, this.app.selection.mask, px - MARGIN.left, py - MARGIN.top);
  }

  listen() {
    const { over, app } = this;
    over.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.pressed = [event.offsetX, event.offsetY];
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointermove", (event) => {
      if (this.pressed) this.dragTo(event.offsetX, event.offsetY);
      else app.hover(this.nearest(event.offsetX, event.offsetY), event);
    });
    over.addEventListener("pointerup", (event) => {
      const wasDragging = this.isDragging;
      this.pressed = null;
      this.isDragging = false;
      if (wasDragging) app.update();
      else {
        const run = this.nearest(event.offsetX, event.offsetY);
        if (run !== null) app.open(run);
        else if (app.selection.box) {
          app.selection.box = null;
          app.update();
        }
      }
    });
    over.addEventListener("pointercancel", () => {
      this.pressed = null;
      this.isDragging = false;
    });
    over.addEventListener("pointerleave", () => app.hover(null, null));
  }

  /** @param {number} px @param {number} py */
  dragTo(px, py) {
    const start = /** @type {[number, number]} */ (this.pressed);
    if (!this.isDragging && Math.hypot(px - start[0], py - start[1]) < DRAG) return;
    this.isDragging = true;
    this.app.hover(null, null);
    const sorted = (/** @type {number} */ one, /** @type {number} */ other) =>
      /** @type {[number, number]} */ ([Math.min(one, other), Math.max(one, other)]);
    this.app.selection.box = {
      metric: /** @type {Metric} */ (this.metric),
      isLog: this.isLog,
      steps: sorted(this.unplaced(this.x.value(start[0])), this.unplaced(this.x.value(px))),
      values: sorted(this.y.value(start[1]), this.y.value(py)),
    };
    this.app.update();
  }

  noteText() {
    const { selection, sweep } = this.app;
    const shown = selection.count > MOST_LINES ? "shown as density, brighter where more runs pass" : "a line each";
    const parts = [`${selection.count.toLocaleString("en")} of ${sweep.numRuns.toLocaleString("en")} runs, ${shown}`];
    if (this.isLog && this.metric?.range()[0] !== undefined && this.metric.range()[0] <= 0) parts.push("values of 0 and below are not on a log axis");
    if (!this.isDragging && selection.count > 12) parts.push("thick: medians by outcome, of the runs that still have values");
    if (this.isCut) parts.push("cut above the 99.5th percentile");
    parts.push(this.metric?.precision ?? "");
    return `${parts.join("; ")}.`;
  }
}
