// Density of many curves on a grid of pixels: every curve counts once in each column that it crosses.

import { channels } from "./scales.js";

/**
 * @typedef {object} Curves
 * @property {Float32Array} values R x T, NaN where there is none
 * @property {Float32Array} places T, the column of each step, in pixels
 * @property {number} slope @property {number} offset row of a value: slope * value + offset
 */

/**
 * Densities by kind, column after column, of the runs in `mask`; `stride` columns are made at once while one drags.
 * @param {Curves} curves @param {Uint8Array} mask @param {ArrayLike<number>} kinds @param {number} numKinds
 * @param {number} width @param {number} height @param {number} stride
 * @returns {Float32Array[]}
 */
export function densities(curves, mask, kinds, numKinds, width, height, stride) {
  const { values, places, slope, offset } = curves;
  const numSteps = places.length;
  const columns = Math.ceil(width / stride);
  const found = Array.from({ length: numKinds }, () => new Float32Array(columns * height));
  const bottom = height - 1;
  for (let r = 0; r < mask.length; r += 1) {
    if (!mask[r]) continue;
    const density = found[kinds[r]];
    const base = r * numSteps;
    let column = -1;
    let row = 0;
    for (let t = 0; t < numSteps; t += 1) {
      const value = values[base + t];
      if (value !== value) continue;
      const next = Math.round(places[t] / stride);
      let at = slope * value + offset;
      at = at < 0 ? 0 : at > bottom ? bottom : at;
      if (column >= 0 && next > column) {
        const rise = (at - row) / (next - column);
        let here = row;
        for (let c = column; c < next; c += 1) {
          const there = here + rise;
          const top = (here < there ? here : there) | 0;
          const end = (here < there ? there : here) | 0;
          const start = c * height;
          if (end - top <= 1) density[start + top] += 1;
          else {
            const weight = 1 / (end - top);
            for (let y = top; y < end; y += 1) density[start + y] += weight;
          }
          here = there;
        }
      }
      column = next;
      row = at;
    }
  }
  return found;
}

/**
 * Densities as a picture: opacity by their logarithm, colour by the mix of kinds.
 * @param {Float32Array[]} found @param {number} width @param {number} height @param {number} stride
 * @param {string[]} colours @param {number} strength largest opacity
 * @returns {HTMLCanvasElement}
 */
export function picture(found, width, height, stride, colours, strength) {
  const columns = Math.ceil(width / stride);
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(columns, height);
  const pixels = image.data;
  const used = found.map((density, kind) => ({ density, rgb: channels(colours[kind]) })).filter(({ density }) => {
    for (let i = 0; i < density.length; i += 1) if (density[i]) return true;
    return false;
  });
  let most = 1;
  for (const { density } of used) for (let i = 0; i < density.length; i += 1) if (density[i] > most) most = density[i];
  const scale = 1 / Math.log1p(most);
  for (let x = 0; x < columns; x += 1) {
    for (let y = 0; y < height; y += 1) {
      let sum = 0;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (const { density, rgb } of used) {
        const part = density[x * height + y];
        if (!part) continue;
        sum += part;
        red += part * rgb[0];
        green += part * rgb[1];
        blue += part * rgb[2];
      }
      if (!sum) continue;
      const at = 4 * (y * columns + x);
      pixels[at] = red / sum;
      pixels[at + 1] = green / sum;
      pixels[at + 2] = blue / sum;
      pixels[at + 3] = 255 * strength * Math.min(1, 0.18 + 0.82 * Math.log1p(sum) * scale);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
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
      const [x, y] = [left + places[t], top + slope * value + offset];
      if (isOpen) context.lineTo(x, y);
      else context.moveTo(x, y);
      isOpen = true;
    }
  }
  context.stroke();
}

/**
 * The median of each kind at each step, of the runs in `mask`: R x T values of rows, NaN where fewer than three runs are.
 * @param {Curves} curves @param {Uint8Array} mask @param {ArrayLike<number>} kinds @param {number} kind
 * @returns {Float32Array}
 */
export function medians(curves, mask, kinds, kind) {
  const { values, places } = curves;
  const numSteps = places.length;
  const runs = [];
  for (let r = 0; r < mask.length; r += 1) if (mask[r] && kinds[r] === kind) runs.push(r);
  const found = new Float32Array(numSteps).fill(NaN);
  const held = new Float32Array(runs.length);
  for (let t = 0; t < numSteps; t += 1) {
    let count = 0;
    for (const r of runs) {
      const value = values[r * numSteps + t];
      if (value === value) held[count++] = value;
    }
    if (count >= 3) found[t] = held.subarray(0, count).sort()[count >> 1];
  }
  return found;
}
