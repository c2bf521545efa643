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
    /** @type {number} */
    this.version = header.version;
    this.precision = precisionText(header);
    /** @type {Float32Array | null} */
    this.logs = null;
    /** @type {number[] | null} */
    this.extent = null;
    /** @type {[number, number] | null} */
    this.logExtent = null;
    /** @type {Float32Array | null} */
    this.turned = null;
  }

  /** Values step by step: T x R. */
  byStep() {
    if (this.turned === null) {
      const [numSteps, { values, numRuns }] = [this.steps.length, this];
      this.turned = new Float32Array(values.length);
      for (let r = 0; r < numRuns; r += 1) for (let t = 0; t < numSteps; t += 1) this.turned[t * numRuns + r] = values[r * numSteps + t];
    }
    return this.turned;
  }

  /** The logarithms between which the positive values lie. @returns {[number, number]} */
  logRange() {
    if (this.logExtent === null) {
      const logs = this.plotted(true);
      let low = Infinity;
      let high = -Infinity;
      for (let i = 0; i < logs.length; i += 1) {
        if (logs[i] < low) low = logs[i];
        if (logs[i] > high) high = logs[i];
      }
      this.logExtent = low <= high ? [low, high] : [-1, 0];
    }
    return this.logExtent;
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

  /** Put whole curves in place of those of some runs. @param {number[]} runs @param {number[]} steps @param {Float32Array} rows */
  replace(runs, steps, rows) {
    const merged = [...new Set([...this.steps, ...steps])].sort((one, other) => one - other);
    if (merged.length > this.steps.length) this.widen(merged);
    const columns = steps.map((step) => this.steps.indexOf(step));
    const width = this.steps.length;
    runs.forEach((run, i) => {
      this.values.fill(NaN, run * width, (run + 1) * width);
      for (let t = 0; t < steps.length; t += 1) this.values[run * width + columns[t]] = rows[i * steps.length + t];
    });
    this.logs = this.extent = this.logExtent = this.turned = null;
  }

  /** @param {number[]} merged the steps there are, and new ones */
  widen(merged) {
    const columns = this.steps.map((step) => merged.indexOf(step));
    const [old, width] = [this.steps.length, merged.length];
    const values = new Float32Array(this.numRuns * width).fill(NaN);
    for (let r = 0; r < this.numRuns; r += 1) {
      for (let t = 0; t < old; t += 1) values[r * width + columns[t]] = this.values[r * old + t];
    }
    this.values = values;
    this.steps = merged;
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
