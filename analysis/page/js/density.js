// Density of many curves on a grid of pixels: every curve counts once in each column that it crosses.

import { channels } from "./scales.js";

/** @typedef {import("./rows.js").Rows} Rows */

// A curve counts this much in a column that it crosses in one pixel, shared out where it is steep. Counts are whole, so
// that runs are taken out again without a trace, and those of all runs fit in 31 bits.
const MOST_UNIT = 2 ** 14;
// Rows are whole numbers of 2^-16 pixels while a curve is followed.
const BITS = 16;
const PART = 2 ** BITS;

export class Density {
  /** @param {Rows} rows @param {number} width @param {number} height @param {number} numKinds */
  constructor(rows, width, height, numKinds) {
    this.rows = rows;
    this.width = width;
    this.height = height;
    this.unit = Math.min(MOST_UNIT, 2 ** (30 - Math.ceil(Math.log2(rows.numRuns + 1))));
    /** @type {(Int32Array | null)[]} counts of each kind, column after column */
    this.counts = new Array(numKinds).fill(null);
    this.numDrawn = new Int32Array(numKinds);
    // Of each run the kind as which it is drawn, and one; 0 if it is not.
    this.drawn = new Uint8Array(rows.numRuns);
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.image = context.createImageData(width, height);
    this.context = context;
  }

  /** Let the runs in `mask` be those that count: only what differs from before is drawn. @param {Uint8Array} mask @param {ArrayLike<number>} kinds */
  show(mask, kinds) {
    const added = this.counts.map(() => /** @type {number[]} */ ([]));
    const removed = this.counts.map(() => /** @type {number[]} */ ([]));
    let numKept = 0;
    let numRemoved = 0;
    for (let r = 0; r < mask.length; r += 1) {
      const now = mask[r] ? kinds[r] + 1 : 0;
      const before = this.drawn[r];
      if (now === before) {
        if (now) numKept += 1;
        continue;
      }
      if (now) added[now - 1].push(r);
      if (before) {
        removed[before - 1].push(r);
        numRemoved += 1;
      }
    }
    if (numRemoved > numKept) {
      this.clear();
      this.show(mask, kinds);
      return;
    }
    removed.forEach((runs, kind) => this.add(runs, kind, -1));
    added.forEach((runs, kind) => this.add(runs, kind, 1));
  }

  clear() {
    this.drawn.fill(0);
    this.numDrawn.fill(0);
    for (const counts of this.counts) counts?.fill(0);
  }

  /** @param {number[]} runs @param {number} kind @param {1 | -1} sign */
  add(runs, kind, sign) {
    if (!runs.length) return;
    const counts = (this.counts[kind] ??= new Int32Array(this.width * this.height));
    const { columns } = this.rows;
    const own = Int32Array.from(runs);
    for (let t = 1; t < columns.length; t += 1) {
      if (columns[t] > columns[t - 1]) addSegments(counts, this.rows, t, this.height, own, sign * this.unit);
    }
    for (const r of runs) this.drawn[r] = sign > 0 ? kind + 1 : 0;
    this.numDrawn[kind] += sign * runs.length;
  }

  /**
   * A picture of it: opacity by the logarithm of how many curves pass, colour by the mix of kinds.
   * @param {string[]} colours @param {number} strength largest opacity
   */
  picture(colours, strength) {
    const { width, height, unit } = this;
    const used = this.counts.flatMap((counts, kind) => (counts && this.numDrawn[kind] ? [{ counts, rgb: channels(colours[kind]) }] : []));
    const pixels = new Uint32Array(this.image.data.buffer).fill(0);
    let most = unit;
    for (const { counts } of used) for (let i = 0; i < counts.length; i += 1) if (counts[i] > most) most = counts[i];
    const alphas = alphasOf(unit, most, strength);
    const sums = new Float32Array(4 * height);
    for (let x = 0; x < width && used.length; x += 1) {
      if (used.length === 1) paintOne(pixels, used[0], alphas, x, width, height);
      else paintMix(pixels, used, alphas, x, width, height, sums);
    }
    this.context.putImageData(this.image, 0, 0);
    return this.canvas;
  }
}

/**
 * Add the parts of the curves between two steps.
 * @param {Int32Array} counts @param {Rows} rows @param {number} t the later of the steps @param {number} height
 * @param {Int32Array} runs @param {number} unit negative to take them away
 */
function addSegments(counts, { rows, columns, numRuns }, t, height, runs, unit) {
  const [first, last] = [columns[t - 1] * height, columns[t] * height];
  const [from, to] = [(t - 1) * numRuns, t * numRuns];
  const share = PART / (columns[t] - columns[t - 1]);
  for (let i = 0; i < runs.length; i += 1) {
    const start = rows[from + runs[i]];
    const exact = (rows[to + runs[i]] - start) * share;
    if (exact !== exact) continue;
    const rise = exact | 0;
    let here = (start * PART) | 0;
    if (rise < PART && rise > -PART) {
      if (rise < 0) here += rise;
      for (let at = first; at < last; at += height, here += rise) counts[at + (here >> BITS)] += unit;
    } else {
      for (let at = first; at < last; at += height, here += rise) addColumn(counts, at, here >> BITS, (here + rise) >> BITS, unit);
    }
  }
}

/** @param {Int32Array} counts @param {number} at @param {number} here @param {number} there @param {number} unit */
function addColumn(counts, at, here, there, unit) {
  const top = here < there ? here : there;
  const size = here < there ? there - here : here - there;
  if (size <= 1) counts[at + top] += unit;
  else {
    const weight = (unit / size) | 0;
    for (let y = at + top; y < at + top + size; y += 1) counts[y] += weight;
  }
}

/** The place of a count in `alphasOf`: exact below 128, beyond by its power of two and the next seven bits. @param {number} count */
function codeOf(count) {
  if (count < 128) return count;
  const power = 31 - Math.clz32(count);
  return (power - 7) * 128 + (count >>> (power - 7));
}

/** Opacity (0 to 255) by `codeOf` a count. @param {number} unit @param {number} most @param {number} strength */
function alphasOf(unit, most, strength) {
  const alphas = new Uint8Array(codeOf(2 ** 31 - 1) + 1);
  const scale = 1 / Math.log1p(most / unit);
  for (let code = 0; code < alphas.length; code += 1) {
    const power = Math.max(7, (code >> 7) + 6);
    const count = (code < 128 ? code : (code & 127) + 128) * 2 ** (power - 7);
    alphas[code] = 255 * strength * Math.min(1, 0.18 + 0.82 * Math.log1p(count / unit) * scale);
  }
  return alphas;
}

/** @typedef {{counts: Int32Array, rgb: number[]}} Part */

/**
 * The pixels of one column where a single kind is drawn.
 * @param {Uint32Array} pixels @param {Part} part @param {Uint8Array} alphas @param {number} x @param {number} width
 * @param {number} height
 */
function paintOne(pixels, { counts, rgb }, alphas, x, width, height) {
  const colour = rgb[0] | (rgb[1] << 8) | (rgb[2] << 16);
  for (let y = 0, from = x * height, to = x; y < height; y += 1, from += 1, to += width) {
    const count = counts[from];
    if (count) pixels[to] = colour | (alphas[codeOf(count)] << 24);
  }
}

/**
 * The pixels of one column where several are.
 * @param {Uint32Array} pixels @param {Part[]} used @param {Uint8Array} alphas @param {number} x @param {number} width
 * @param {number} height @param {Float32Array} sums red, green, blue and count of each row, for the while
 */
function paintMix(pixels, used, alphas, x, width, height, sums) {
  sums.fill(0);
  for (const { counts, rgb } of used) {
    const [red, green, blue] = rgb;
    for (let place = 0, from = x * height; place < sums.length; place += 4, from += 1) {
      const count = counts[from];
      if (!count) continue;
      sums[place] += count * red;
      sums[place + 1] += count * green;
      sums[place + 2] += count * blue;
      sums[place + 3] += count;
    }
  }
  for (let place = 0, to = x; place < sums.length; place += 4, to += width) {
    const count = sums[place + 3];
    if (!count) continue;
    const share = 1 / count;
    pixels[to] = (sums[place] * share) | ((sums[place + 1] * share) << 8) | ((sums[place + 2] * share) << 16) | (alphas[codeOf(count | 0)] << 24);
  }
}
