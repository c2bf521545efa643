// Axes: from data to pixels and back, ticks, and numbers as text.

// Kept, since making one takes as long as a hundred numbers.
const ENGLISH = new Intl.NumberFormat("en");

/** A whole number with its thousands apart. @param {number} value */
export function grouped(value) {
  return ENGLISH.format(value);
}

/** A number as short text. @param {number} value @returns {string} */
export function numberText(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return size >= 1000 ? grouped(Math.round(value)) : String(Number(value.toPrecision(4)));
}

/** Round numbers between two ends, about as many as asked. @param {number} low @param {number} high @param {number} count */
export function linearTicks(low, high, count) {
  const span = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(span || 1));
  const step = [1, 2, 5, 10].map((unit) => unit * power).find((unit) => unit >= span) ?? power;
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    ticks.push(Number(value.toPrecision(12)));
  }
  return ticks;
}

/** Powers of ten between two logarithms, some left out where there are many; or parts of one; or round numbers. */
export function logTicks(/** @type {number} */ low, /** @type {number} */ high) {
  const ticks = [];
  const first = Math.ceil(low - 1e-9);
  const every = Math.max(1, Math.ceil((high - first) / 6));
  for (let power = first; power <= high + 1e-9; power += every) ticks.push(10 ** power);
  if (ticks.length > 1) return ticks;
  const finer = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const unit of [1, 2, 5]) {
      const place = Math.log10(unit) + power;
      if (place >= low && place <= high) finer.push(Number((unit * 10 ** power).toPrecision(6)));
    }
  }
  return finer.length > 1 ? finer : linearTicks(10 ** low, 10 ** high, 4);
}

/** A linear map from [low, high] to [from, to] pixels. */
export class Axis {
  /** @param {number} low @param {number} high @param {number} from @param {number} to */
  constructor(low, high, from, to) {
    this.low = low;
    this.high = high > low ? high : low + 1;
    this.from = from;
    this.to = to;
  }

  /** @param {number} value */
  pixel(value) {
    return this.from + ((value - this.low) / (this.high - this.low)) * (this.to - this.from);
  }

  /** @param {number} pixel */
  value(pixel) {
    return this.low + ((pixel - this.from) / (this.to - this.from)) * (this.high - this.low);
  }
}

/** @type {Map<string, ReturnType<typeof readPalette>>} */
const palettes = new Map();

/** Colours of the page's scheme. */
export function palette() {
  const theme = document.documentElement.dataset.theme ?? "";
  const found = palettes.get(theme) ?? readPalette();
  palettes.set(theme, found);
  return found;
}

/** From the style sheet, which makes the browser compute styles. */
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    kinds: [0, 1, 2, 3, 4].map((number) => read(`--kind-${number}`)),
    bands: [0, 1, 2, 3, 4, 5].map((number) => read(`--band-${number}`)),
    text: read("--text"), muted: read("--muted"), line: read("--line"), ground: read("--ground"),
    context: read("--context"), accent: read("--accent"),
  };
}

export const DASHES = [[], [7, 3], [3, 2], [1, 3], [5, 2, 1, 2]];

/** [red, green, blue] of #rrggbb. @param {string} colour */
export function channels(colour) {
  return [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
}

/**
 * A canvas of the holder's size, sharp on this screen, with a context in CSS pixels.
 * @param {HTMLCanvasElement} canvas @param {number} width @param {number} height
 */
export function fitted(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * Ticks, labels and grid of both axes, and below them the title of the horizontal one.
 * @param {CanvasRenderingContext2D} context @param {Axis} x @param {Axis} y
 * @param {{place: number, text: string}[]} xTicks @param {{place: number, text: string}[]} yTicks @param {string} xTitle
 */
export function drawAxes(context, x, y, xTicks, yTicks, xTitle = "") {
  const colours = palette();
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  context.strokeStyle = colours.line;
  context.fillStyle = colours.muted;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of yTicks) {
    const place = Math.round(tick.place) + 0.5;
    context.beginPath();
    context.moveTo(x.from, place);
    context.lineTo(x.to, place);
    context.stroke();
    context.fillText(tick.text, x.from - 6, place);
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  let end = -Infinity;
  for (const tick of xTicks) {
    const half = context.measureText(tick.text).width / 2;
    const centre = Math.min(tick.place, x.to - half + 8);
    context.fillRect(Math.round(tick.place), y.from, 1, 4);
    if (centre - half < end + 8) continue;
    context.fillText(tick.text, centre, y.from + 7);
    end = centre + half;
  }
  context.fillText(xTitle, (x.from + x.to) / 2, y.from + 23);
}
