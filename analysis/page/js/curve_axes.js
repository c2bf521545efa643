// Ticks of the learning curves, the range of their values, and the curve that is nearest to the pointer.

import { linearTicks, logTicks, numberText } from "./scales.js";

/** @typedef {import("./curves.js").CurvesView} CurvesView */
/** @typedef {import("./raster.js").Curves} Curves */
/** @typedef {import("./sweep.js").Metric} Metric */

// Pixels between the pointer and a curve that it names.
const NEAR = 14;

/** @param {CurvesView} view */
export function stepTicks(view) {
  const { x, isShare } = view;
  const text = (/** @type {number} */ value) => (isShare ? `${Number((100 * value).toPrecision(3))}%` : numberText(value));
  if (!view.isLogStep) {
    const values = linearTicks(x.low, x.high, (x.to - x.from) / 90);
    return values.map((value) => ({ place: x.pixel(value), text: text(value) }));
  }
  const values = isShare ? [0, 0.001, 0.01, 0.1, 0.25, 0.5, 1] : [0, 1, 10, 100, 1000, 1e4, 1e5, 1e6];
  return values
    .map((value) => ({ place: x.pixel(Math.log10(1 + (isShare ? 1000 * value : value))), text: text(value) }))
    .filter(({ place }) => place <= x.to + 1);
}

/** @param {CurvesView} view */
export function valueTicks(view) {
  const { y, isLog } = view;
  const values = isLog ? logTicks(y.low, y.high) : linearTicks(y.low, y.high, 5);
  return values.map((value) => ({ place: y.pixel(isLog ? Math.log10(value) : value), text: numberText(value) }));
}

/** The logarithms between which the positive values lie. @param {Metric} metric */
export function logBounds(metric) {
  const logs = metric.plotted(true);
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < logs.length; i += 1) {
    if (logs[i] < low) low = logs[i];
    if (logs[i] > high) high = logs[i];
  }
  return low <= high ? [low, high] : [-1, 0];
}

/**
 * The run in `mask` whose curve is nearest to a point above or below it, null if none is near.
 * @param {Curves} curves @param {Uint8Array} mask @param {number} x @param {number} y
 */
export function nearestRun(curves, mask, x, y) {
  const { values, places, slope, offset } = curves;
  const numSteps = places.length;
  let best = null;
  let least = NEAR;
  for (let r = 0; r < mask.length; r += 1) {
    if (!mask[r]) continue;
    let before = -1;
    for (let t = 0; t < numSteps; t += 1) {
      const value = values[r * numSteps + t];
      if (value !== value) continue;
      if (places[t] >= x && (before >= 0 || places[t] - x < NEAR)) {
        const first = before < 0 ? value : values[r * numSteps + before];
        const part = before < 0 ? 1 : (x - places[before]) / (places[t] - places[before] || 1);
        const distance = Math.abs(slope * (first + part * (value - first)) + offset - y);
        if (distance < least) [best, least] = [r, distance];
        break;
      }
      before = t;
      if (places[t] >= x) break;
    }
  }
  return best;
}
