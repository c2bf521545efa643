// Ticks of the learning curves.

import { linearTicks, logTicks, numberText } from "./scales.js";

/** @typedef {import("./curves.js").CurvesView} CurvesView */

// Pixels around the learning curves.
export const MARGIN = { left: 58, right: 14, top: 10, bottom: 42 };

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
export function stepTitle({ isShare, isLogStep }) {
  return `${isShare ? "share of the budget" : "step"}${isLogStep ? " (log)" : ""}`;
}

/** @param {CurvesView} view */
export function valueTicks(view) {
  const { y, isLog } = view;
  const values = isLog ? logTicks(y.low, y.high) : linearTicks(y.low, y.high, 5);
  return values.map((value) => ({ place: y.pixel(isLog ? Math.log10(value) : value), text: numberText(value) }));
}
