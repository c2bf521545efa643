// Which runs are chosen: the conditions of all panels together, and the language of the search field.

/** @typedef {import("./sweep.js").Sweep} Sweep */
/** @typedef {import("./sweep.js").Metric} Metric */
/** @typedef {{metric: Metric, isLog: boolean, steps: [number, number], values: [number, number]}} Box in data units */

/** The names by which a hyperparameter can be called: its path, and the last part of it. @param {string} path */
export function shortName(path) {
  return path.slice(path.lastIndexOf(".") + 1);
}

export class Selection {
  /** @param {Sweep} sweep */
  constructor(sweep) {
    this.sweep = sweep;
    /** @type {Set<number>} */
    this.kinds = new Set();
    /** @type {Set<number>} */
    this.settings = new Set();
    /** @type {Box | null} */
    this.box = null;
    /** @type {[number, number] | null} */
    this.times = null;
    /** @type {{column: string, range: [number, number]} | null} */
    this.probabilities = null;
    this.query = "";
    this.problem = "";
    this.mask = new Uint8Array(0);
    this.count = 0;
  }

  get isEmpty() {
    return !(this.kinds.size || this.settings.size || this.box || this.times || this.probabilities || this.query.trim());
  }

  clear() {
    this.kinds.clear();
    this.settings.clear();
    this.box = this.times = this.probabilities = null;
    this.query = "";
  }

  /** Compute `mask` (1 of each chosen run) and `count`. */
  apply() {
    const { sweep } = this;
    const count = sweep.numRuns;
    const mask = new Uint8Array(count).fill(1);
    const { kind, setting, upper } = sweep.columns;
    if (this.kinds.size) for (let r = 0; r < count; r += 1) if (!this.kinds.has(kind[r])) mask[r] = 0;
    if (this.settings.size) for (let r = 0; r < count; r += 1) if (!this.settings.has(setting[r])) mask[r] = 0;
    if (this.times) {
      const [low, high] = this.times;
      for (let r = 0; r < count; r += 1) if (!(kind[r] <= 1 && upper[r] >= low && upper[r] <= high)) mask[r] = 0;
    }
    if (this.probabilities) {
      const { column, range: [low, high] } = this.probabilities;
      for (let r = 0; r < count; r += 1) {
        const p = sweep.probability(r, column);
        if (!(p >= low && p <= high)) mask[r] = 0;
      }
    }
    if (this.box) throughBox(this.box, mask);
    this.problem = "";
    for (const word of this.query.trim().split(/\s+/).filter(Boolean)) {
      const test = this.testOf(word);
      for (let r = 0; r < count; r += 1) if (mask[r] && !test(r)) mask[r] = 0;
    }
    this.mask = mask;
    this.count = mask.reduce((sum, one) => sum + one, 0);
  }

  /** What one word of the search asks of a run. @param {string} word @returns {(run: number) => boolean} */
  testOf(word) {
    const { sweep } = this;
    const seeds = /^(seed|init|data):(\d+)(?:-(\d+))?$/.exec(word);
    if (seeds) {
      const [low, high] = [BigInt(seeds[2]), BigInt(seeds[3] ?? seeds[2])];
      const column = sweep.columns[seeds[1] === "data" ? "data_seed" : "init_seed"];
      return (run) => column[run] >= low && column[run] <= high;
    }
    const compared = /^([^<>=@]+)(?:@(\d+))?(<=|>=|=|<|>)(.*)$/.exec(word);
    if (compared) return this.comparison(compared[1], compared[2], compared[3], compared[4]);
    const kinds = sweep.state.kinds.map((/** @type {string} */ kind) => kind.replace(" ", "-"));
    if (kinds.includes(word)) return (run) => sweep.columns.kind[run] === kinds.indexOf(word);
    const text = word.toLowerCase();
    return (run) => sweep.texts.run_id[run].startsWith(text) || sweep.setting(run).label.toLowerCase().includes(text);
  }

  /**
   * @param {string} name @param {string | undefined} step @param {string} sign @param {string} text
   * @returns {(run: number) => boolean}
   */
  comparison(name, step, sign, text) {
    const { sweep } = this;
    const number = Number(text);
    /** @param {any} value */
    const holds = (value) => {
      if (sign === "=") return typeof value === "number" ? value === number : String(value) === text;
      if (typeof value !== "number" || text === "") return false;
      if (sign === "<") return value < number;
      if (sign === ">") return value > number;
      return sign === "<=" ? value <= number : value >= number;
    };
    if (step !== undefined) return this.valueAt(name, Number(step), holds);
    if (name === "P") return (run) => holds(sweep.probability(run, this.probabilityColumn ?? ""));
    if (name === "step") return (run) => holds(sweep.columns.upper[run]);
    const path = sweep.state.settings.length
      ? Object.keys(sweep.state.settings[0].values).find((one) => one === name || shortName(one) === name) ?? name
      : name;
    if (!sweep.state.settings.some((/** @type {any} */ setting) => path in setting.values)) {
      this.problem = `no hyperparameter is called ${name}`;
    }
    return (/** @type {number} */ run) => holds(sweep.setting(run).values[path]);
  }

  /** @param {string} name @param {number} step @param {(value: any) => boolean} holds @returns {(run: number) => boolean} */
  valueAt(name, step, holds) {
    const metric = this.sweep.metrics.get(name);
    const t = metric ? metric.steps.indexOf(step) : -1;
    if (!metric || t < 0) {
      const steps = metric ? `steps ${metric.steps.slice(0, 3).join(", ")}, ...` : "a metric once it was chosen";
      this.problem = `no value of ${name} at step ${step}: there is one at ${steps}`;
      return () => false;
    }
    return (/** @type {number} */ run) => holds(metric.values[run * metric.steps.length + t]);
  }

  /** @type {string | undefined} */
  probabilityColumn = undefined;
}

/** Set `mask` to 0 for the runs whose curve does not pass through the box. @param {Box} box @param {Uint8Array} mask */
function throughBox(box, mask) {
  const { metric, steps: [left, right] } = box;
  const values = metric.plotted(box.isLog);
  const { steps } = metric;
  let first = 0;
  while (first < steps.length && steps[first] < left) first += 1;
  let end = first;
  while (end < steps.length && steps[end] <= right) end += 1;
  for (let r = 0; r < mask.length; r += 1) {
    if (mask[r] && !passes(box, values, steps, r * steps.length, first, end)) mask[r] = 0;
  }
}

/**
 * Whether one curve passes through the box: at a step, by changing sides between two steps, or on the line that an edge cuts.
 * @param {Box} box @param {Float32Array} values @param {number[]} steps @param {number} base where the curve begins
 * @param {number} first place of the first step in the box @param {number} end place after that of the last
 */
function passes(box, values, steps, base, first, end) {
  const [low, high] = box.values;
  let before = first - 1;
  while (before >= 0 && values[base + before] !== values[base + before]) before -= 1;
  let side = 0;
  for (let t = first; t < end; t += 1) {
    const value = values[base + t];
    if (value >= low && value <= high) return true;
    const here = value < low ? -1 : value > high ? 1 : 0;
    // No value was recorded there.
    if (here === 0) continue;
    if (side !== 0 ? here !== side : before >= 0 && crosses(box, values, steps, base, before, t)) return true;
    side = here;
    before = t;
  }
  let after = end;
  while (after < steps.length && values[base + after] !== values[base + after]) after += 1;
  return before >= 0 && after < steps.length && crosses(box, values, steps, base, before, after);
}

/**
 * Whether the line between two recorded values has a part in the box.
 * @param {Box} box @param {Float32Array} values @param {number[]} steps @param {number} base @param {number} before
 * @param {number} after
 */
function crosses({ steps: [left, right], values: [low, high] }, values, steps, base, before, after) {
  const [start, stop, from] = [steps[before], steps[after], values[base + before]];
  if (start >= right || stop <= left) return false;
  const slope = (values[base + after] - from) / (stop - start);
  const one = from + slope * (Math.max(left, start) - start);
  const other = from + slope * (Math.min(right, stop) - start);
  return Math.max(one, other) >= low && Math.min(one, other) <= high;
}
