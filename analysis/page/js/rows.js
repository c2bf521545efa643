// Curves in pixels: as rows, step after step, from which density and the nearest curve are computed, and as lines.

/**
 * @typedef {object} Curves
 * @property {Float32Array} values R x T, NaN where there is none
 * @property {Float32Array} places T, the column of each step, in pixels
 * @property {number} slope @property {number} offset row of a value: slope * value + offset
 */

/**
 * @typedef {object} Rows
 * @property {Float32Array} rows T x R, between 0 and the lowest row; NaN before a run's first value and after its last
 * @property {Int32Array} columns T, the whole column of each step
 * @property {number} numRuns
 */

// Pixels between the pointer and a curve that it names.
const NEAR = 14;

/**
 * The rows of all curves, kept within the plot; where a run lacks a value, its curve is straight.
 * @param {Curves} curves @param {number} numRuns @param {number} height
 * @returns {Rows}
 */
export function rowsOf(curves, numRuns, height) {
  const { values, places, slope, offset } = curves;
  const numSteps = places.length;
  const columns = Int32Array.from(places, Math.round);
  const rows = new Float32Array(numSteps * numRuns).fill(NaN);
  const bottom = height - 1;
  for (let r = 0; r < numRuns; r += 1) {
    let before = -1;
    for (let t = 0; t < numSteps; t += 1) {
      const value = values[r * numSteps + t];
      if (value !== value) continue;
      const at = slope * value + offset;
      rows[t * numRuns + r] = at < 0 ? 0 : at > bottom ? bottom : at;
      if (before >= 0 && before < t - 1) bridge(rows, columns, numRuns, r, before, t);
      before = t;
    }
  }
  return { rows, columns, numRuns };
}

/**
 * The rows of a run between two steps at which it has a value.
 * @param {Float32Array} rows @param {Int32Array} columns @param {number} numRuns @param {number} r @param {number} before
 * @param {number} after
 */
function bridge(rows, columns, numRuns, r, before, after) {
  const first = rows[before * numRuns + r];
  const rise = (rows[after * numRuns + r] - first) / (columns[after] - columns[before] || 1);
  for (let t = before + 1; t < after; t += 1) rows[t * numRuns + r] = first + rise * (columns[t] - columns[before]);
}

/**
 * The run in `mask` whose curve is nearest to a point above or below it, null if none is near.
 * @param {Rows} found @param {Uint8Array} mask @param {number} x @param {number} y
 */
export function nearestRun({ rows, columns, numRuns }, mask, x, y) {
  const t = columns.findIndex((column) => column >= x);
  if (t < 0) return null;
  const isStartNear = columns[t] - x < NEAR;
  const part = t ? (x - columns[t - 1]) / (columns[t] - columns[t - 1] || 1) : 1;
  let best = null;
  let least = NEAR;
  for (let r = 0; r < numRuns; r += 1) {
    if (!mask[r]) continue;
    const end = rows[t * numRuns + r];
    const start = t ? rows[(t - 1) * numRuns + r] : NaN;
    if (start !== start && !isStartNear) continue;
    const distance = Math.abs((start === start ? start + part * (end - start) : end) - y);
    if (distance < least) [best, least] = [r, distance];
  }
  return best;
}

/**
 * The runs' curves as lines.
 * @param {CanvasRenderingContext2D} context @param {Curves} curves @param {number[]} runs @param {number} left
 * @param {number} top
 */
export function strokeCurves(context, curves, runs, left, top) {
  const { values, places, slope, offset } = curves;
  const numSteps = places.length;
  context.beginPath();
  for (const r of runs) {
    let isOpen = false;
    for (let t = 0; t < numSteps; t += 1) {
      const value = values[r * numSteps + t];
      if (value !== value) continue;
      const x = left + places[t];
      const y = top + slope * value + offset;
      if (isOpen) context.lineTo(x, y);
      else context.moveTo(x, y);
      isOpen = true;
    }
  }
  context.stroke();
}
