// The forecasts of the runs, by what became of them.

import { followDrags } from "./drag.js";
import { Axis, drawAxes, fitted, grouped, linearTicks, numberText, palette } from "./scales.js";

/** @typedef {import("./main.js").App} App */

const MARGIN = { left: 44, right: 14, top: 10, bottom: 42 };
const BINS = 20;

export class ForecastsView {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.holder = holder;
    this.canvas = /** @type {HTMLCanvasElement} */ (holder.querySelector("canvas"));
    this.x = new Axis(0, 1, 0, 1);
    this.size = [0, 0];
    const moved = (/** @type {number} */ from, /** @type {number} */ to) => {
      app.isDragging = true;
      app.choose([Math.max(0, this.x.value(from)), Math.min(1, this.x.value(to))]);
    };
    followDrags(this.canvas, moved, (wasDragged) => {
      app.isDragging = false;
      app.choose(wasDragged ? app.selection.probabilities?.range ?? null : null);
    });
  }

  measure() {
    this.size = [this.holder.clientWidth, this.holder.clientHeight];
  }

  draw() {
    const { sweep, selection, probabilityColumn } = this.app;
    const [width, height] = this.size;
    if (!width || !probabilityColumn) return;
    const numKinds = sweep.state.kinds.length;
    const chosen = Array.from({ length: numKinds }, () => new Float64Array(BINS));
    const all = new Float64Array(BINS);
    let [count, sum] = [0, 0];
    for (let r = 0; r < sweep.numRuns; r += 1) {
      const p = sweep.probability(r, probabilityColumn);
      if (p !== p) continue;
      const bin = Math.min(BINS - 1, Math.floor(p * BINS));
      all[bin] += 1;
      if (!selection.mask[r]) continue;
      chosen[sweep.columns.kind[r]][bin] += 1;
      count += 1;
      sum += p;
    }
    const context = fitted(this.canvas, width, height);
    const x = new Axis(0, 1, MARGIN.left, width - MARGIN.right);
    const y = new Axis(0, Math.max(...all, 1), height - MARGIN.bottom, MARGIN.top);
    this.x = x;
    drawAxes(
      context, x, y, [0, 0.25, 0.5, 0.75, 1].map((p) => ({ place: x.pixel(p), text: numberText(p) })),
      linearTicks(0, y.high, 3).filter(Number.isInteger).map((n) => ({ place: y.pixel(n), text: numberText(n) })),
      "P(converged); height: runs",
    );
    const colours = palette();
    const wide = (x.to - x.from) / BINS - 1;
    for (let bin = 0; bin < BINS; bin += 1) {
      const left = x.pixel(bin / BINS) + 0.5;
      let below = 0;
      if (!selection.isEmpty) {
        context.fillStyle = colours.context;
        context.globalAlpha = 0.5;
        context.fillRect(left, y.pixel(all[bin]), wide, y.from - y.pixel(all[bin]));
        context.globalAlpha = 1;
      }
      for (let kind = 0; kind < numKinds; kind += 1) {
        if (!chosen[kind][bin]) continue;
        const [top, bottom] = [y.pixel(below + chosen[kind][bin]), y.pixel(below)];
        context.fillStyle = colours.kinds[kind];
        context.fillRect(left, top, wide, bottom - top);
        below += chosen[kind][bin];
      }
    }
    if (selection.probabilities && selection.probabilities.column === probabilityColumn) {
      const [left, right] = selection.probabilities.range.map((p) => x.pixel(p));
      context.strokeStyle = colours.text;
      context.strokeRect(left, y.to, right - left, y.from - y.to);
    }
    const converged = chosen[0].reduce((total, one) => total + one, 0);
    const mean = count ? `; mean P ${numberText(Number((sum / count).toFixed(3)))}, ${converged} of them converged` : "";
    const [chosenRuns, grey] = selection.isEmpty ? ["runs", ""] : ["chosen runs", " Grey: all runs."];
    this.app.note("forecasts", `${grouped(count)} ${chosenRuns} have this forecast${mean}.${grey}`);
  }
}
