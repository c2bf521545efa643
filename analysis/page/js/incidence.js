// How many of the chosen runs had converged, and diverged, by each step.

import { followDrags } from "./drag.js";
import { Axis, DASHES, drawAxes, fitted, linearTicks, numberText, palette } from "./scales.js";

/** @typedef {import("./main.js").App} App */

const MARGIN = { left: 44, right: 14, top: 10, bottom: 42 };

/**
 * Aalen-Johansen estimates: steps, and the shares that converged and diverged by them, which are known up to the step
 * `until`: beyond it no run was seen that could still have an event. An event of the kinds 0 and 1 counts from `upper`;
 * other runs leave at theirs, after the events there.
 * @param {Uint8Array} mask @param {ArrayLike<number>} kinds @param {ArrayLike<number>} upper
 * @param {Uint32Array} order all runs, by `upper`
 */
export function incidence(mask, kinds, upper, order) {
  const runs = order.filter((r) => mask[r]);
  const found = { steps: [0], converged: [0], diverged: [0], until: Infinity };
  let [atRisk, still, converged, diverged] = [runs.length, 1, 0, 0];
  for (let i = 0; i < runs.length; ) {
    const step = upper[runs[i]];
    const counts = [0, 0, 0];
    for (; i < runs.length && upper[runs[i]] === step; i += 1) counts[Math.min(kinds[runs[i]], 2)] += 1;
    converged += (still * counts[0]) / atRisk;
    diverged += (still * counts[1]) / atRisk;
    still *= 1 - (counts[0] + counts[1]) / atRisk;
    atRisk -= counts[0] + counts[1] + counts[2];
    if (counts[0] || counts[1]) {
      found.steps.push(step);
      found.converged.push(converged);
      found.diverged.push(diverged);
    }
  }
  if (still > 1e-9) found.until = runs.length ? upper[runs[runs.length - 1]] : 0;
  return found;
}

export class IncidenceView {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.holder = holder;
    this.canvas = /** @type {HTMLCanvasElement} */ (holder.querySelector("canvas"));
    this.x = new Axis(0, 1, 0, 1);
    this.size = [0, 0];
    this.version = -1;
    this.order = new Uint32Array(0);
    this.all = { steps: [0], converged: [0], diverged: [0], until: 0 };
    const moved = (/** @type {number} */ from, /** @type {number} */ to) => {
      app.selection.times = [this.x.value(from), this.x.value(to)];
      app.isDragging = true;
      app.update();
    };
    followDrags(this.canvas, moved, (wasDragged) => {
      if (!wasDragged) app.selection.times = null;
      app.isDragging = false;
      app.update();
    });
  }

  measure() {
    this.size = [this.holder.clientWidth, this.holder.clientHeight];
  }

  /** What all runs share, computed again after a commit. */
  renew() {
    const { sweep, version } = this.app;
    if (this.version === version) return;
    const { kind, upper } = sweep.columns;
    this.version = version;
    this.order = Uint32Array.from({ length: sweep.numRuns }, (_, r) => r).sort((one, other) => upper[one] - upper[other]);
    this.all = incidence(new Uint8Array(sweep.numRuns).fill(1), kind, upper, this.order);
  }

  draw() {
    const { sweep, selection } = this.app;
    const [width, height] = this.size;
    if (!width) return;
    this.renew();
    const context = fitted(this.canvas, width, height);
    const x = new Axis(0, sweep.state.budget, MARGIN.left, width - MARGIN.right);
    const y = new Axis(0, 1, height - MARGIN.bottom, MARGIN.top);
    this.x = x;
    const steps = linearTicks(0, sweep.state.budget, width / 100);
    drawAxes(
      context, x, y, steps.map((step) => ({ place: x.pixel(step), text: numberText(step) })),
      [0, 0.25, 0.5, 0.75, 1].map((share) => ({ place: y.pixel(share), text: `${100 * share}%` })), "step",
    );
    const colours = palette();
    const { kind, upper } = sweep.columns;
    const { all, order } = this;
    if (!selection.isEmpty) this.line(context, y, all, all.converged, colours.context, [], 4);
    const shown = selection.isEmpty ? all : incidence(selection.mask, kind, upper, order);
    this.line(context, y, shown, shown.converged, colours.kinds[0], [], 2.5);
    if (shown.diverged[shown.diverged.length - 1] > 0) {
      this.line(context, y, shown, shown.diverged, colours.kinds[1], DASHES[1], 2.5);
    }
    if (selection.times) {
      context.fillStyle = colours.text;
      context.globalAlpha = 0.1;
      const [left, right] = selection.times.map((step) => x.pixel(step));
      context.fillRect(left, y.to, right - left, y.from - y.to);
      context.globalAlpha = 1;
    }
    const last = shown.converged[shown.converged.length - 1];
    const half = shown.converged.findIndex((share) => share >= 0.5);
    const middle = half < 0 ? "" : `, half by step ${numberText(shown.steps[half])}`;
    const of = selection.isEmpty ? "all runs" : "the chosen runs (grey: all)";
    const end = shown.until < sweep.state.budget ? `step ${numberText(shown.until)}, beyond which nothing is known yet` : "the budget";
    this.app.note("incidence", `Estimated for ${of}: ${(100 * last).toFixed(0)}% converged by ${end}${middle}.`);
  }

  /**
   * @param {CanvasRenderingContext2D} context @param {Axis} y @param {{steps: number[], until: number}} found
   * @param {number[]} shares @param {string} colour @param {number[]} dash @param {number} wide
   */
  line(context, y, { steps, until }, shares, colour, dash, wide) {
    const { x } = this;
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x.from, y.pixel(0));
    for (let i = 0; i < steps.length; i += 1) {
      const place = x.pixel(steps[i]);
      context.lineTo(place, y.pixel(shares[Math.max(i - 1, 0)]));
      context.lineTo(place, y.pixel(shares[i]));
    }
    context.lineTo(Math.min(x.to, x.pixel(until)), y.pixel(shares[shares.length - 1]));
    context.stroke();
    context.setLineDash([]);
  }
}
