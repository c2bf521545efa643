// The sweep that the page shows: columns by run, and metrics that are read when they are first needed.

import { precisionText, readBlob, valuesOf } from "./decode.js";

export const NO_PROBABILITY = 65535;
export const MARKS = ["●", "✕", "▲", "◇", "◌"];

/** One metric: values of all runs, row by row, at its own steps. */
export class Metric {
  /** @param {any} header @param {Float32Array} values */
  constructor(header, values) {
    this.name = header.metric;
    /** @type {number[]} */
    this.steps = header.steps;
    this.numRuns = header.runs;
    this.values = values;
    this.precision = precisionText(header);
    /** @type {Float32Array | null} */
    this.logs = null;
    /** @type {number[] | null} */
    this.extent = null;
  }

  /** Values, or their decimal logarithms (NaN unless positive). @param {boolean} isLog */
  plotted(isLog) {
    if (!isLog) return this.values;
    if (this.logs === null) {
      this.logs = new Float32Array(this.values.length);
      for (let i = 0; i < this.values.length; i += 1) {
        this.logs[i] = this.values[i] > 0 ? Math.log10(this.values[i]) : NaN;
      }
    }
    return this.logs;
  }

  /** [lowest, 99.5th percentile, highest] of a sample of the values, finite. */
  range() {
    if (this.extent === null) {
      const stride = Math.max(1, Math.floor(this.values.length / 40000));
      const sample = [];
      for (let i = 0; i < this.values.length; i += stride) if (isFinite(this.values[i])) sample.push(this.values[i]);
      const sorted = Float64Array.from(sample).sort();
      const last = sorted.length - 1;
      this.extent = last < 0 ? [0, 1, 1] : [sorted[0], sorted[Math.floor(0.995 * last)], sorted[last]];
    }
    return this.extent;
  }

  /** Add a value, at a step that may be new. @param {number} run @param {number} step @param {number} value */
  put(run, step, value) {
    let t = this.steps.indexOf(step);
    if (t < 0) {
      t = this.steps.findIndex((other) => other > step);
      if (t < 0) t = this.steps.length;
      this.widen(t, step);
    }
    this.values[run * this.steps.length + t] = value;
    this.logs = null;
    this.extent = null;
  }

  /** @param {number} place @param {number} step */
  widen(place, step) {
    const old = this.steps.length;
    const values = new Float32Array(this.numRuns * (old + 1)).fill(NaN);
    for (let r = 0; r < this.numRuns; r += 1) {
      values.set(this.values.subarray(r * old, r * old + place), r * (old + 1));
      values.set(this.values.subarray(r * old + place, (r + 1) * old), r * (old + 1) + place + 1);
    }
    this.values = values;
    this.steps = [...this.steps.slice(0, place), step, ...this.steps.slice(place)];
  }
}

/** Everything about the runs of one sweep (of one budget). */
export class Sweep {
  /** @param {any} state */
  constructor(state) {
    this.state = state;
    /** @type {Record<string, any>} */
    this.columns = {};
    /** @type {Record<string, string[]>} */
    this.texts = {};
    /** @type {Map<string, Promise<Metric>>} */
    this.reading = new Map();
    /** @type {Map<string, Metric>} */
    this.metrics = new Map();
  }

  get numRuns() {
    return this.columns.setting.length;
  }

  async readRuns() {
    const { header, arrays } = await readBlob("runs");
    this.columns = arrays;
    this.texts = header.texts;
  }

  /** @param {string} name @returns {Promise<Metric>} */
  metric(name) {
    const known = this.reading.get(name);
    if (known) return known;
    const number = this.state.metrics.indexOf(name);
    const found = readBlob(`metric_${number}`).then(({ header, arrays }) => {
      const metric = new Metric(header, valuesOf(header, arrays.planes));
      this.metrics.set(name, metric);
      return metric;
    });
    this.reading.set(name, found);
    return found;
  }

  /** P(converged) of a run, NaN without. @param {number} run @param {string} column */
  probability(run, column) {
    const codes = this.columns[column];
    return codes && codes[run] !== NO_PROBABILITY ? codes[run] / 10000 : NaN;
  }

  /** @param {number} run */
  kind(run) {
    return this.state.kinds[this.columns.kind[run]];
  }

  /** @param {number} run */
  setting(run) {
    return this.state.settings[this.columns.setting[run]];
  }

  /** @param {number} run */
  seeds(run) {
    const init = this.columns.init_seed[run];
    const data = this.columns.data_seed[run];
    return init === data ? `seed ${init}` : `init seed ${init}, data seed ${data}`;
  }

  /** The outcome with its step or steps. @param {number} run */
  outcomeText(run) {
    const { lower, upper, step } = this.columns;
    const kind = this.kind(run);
    if (kind === "converged") return `converged, between steps ${lower[run]} and ${upper[run]}`;
    return kind === "in training" ? `in training, at step ${step[run]}` : `${kind}, at step ${upper[run]}`;
  }
}
