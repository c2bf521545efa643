// A page that is served asks for what was committed since it last did, and puts it into the columns that it has.

import { fromBase64 } from "./decode.js";
import { NO_PROBABILITY } from "./sweep.js";

/** @typedef {import("./main.js").App} App */

const SOON_MS = 1000;
// Of a page that nobody sees.
const LATER_MS = 15000;

export class Live {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.holder = holder;
    this.version = app.sweep.state.version;
    this.failures = 0;
  }

  start() {
    setTimeout(() => this.poll(), document.hidden ? LATER_MS : SOON_MS);
  }

  async poll() {
    const search = new URLSearchParams(location.search);
    search.set("since", String(this.since()));
    search.set("metrics", JSON.stringify([...this.app.sweep.metrics.keys()]));
    try {
      const reply = await fetch(`changes?${search}`, { cache: "no-store" });
      if (!reply.ok) throw new Error(`the server answered ${reply.status}`);
      const changes = await reply.json();
      if (changes.reload) {
        location.reload();
        return;
      }
      this.take(changes);
      this.failures = 0;
    } catch (error) {
      this.failures += 1;
      this.holder.textContent = `Not reached: ${error instanceof Error ? error.message : error}; trying again.`;
      this.holder.classList.add("lost");
    }
    setTimeout(() => this.poll(), document.hidden ? LATER_MS : Math.min(SOON_MS * 2 ** Math.max(0, this.failures - 3), LATER_MS));
  }

  /** The version that all columns here have reached: a metric may have been read before the others were renewed. */
  since() {
    return Math.min(this.version, ...[...this.app.sweep.metrics.values()].map((metric) => metric.version));
  }

  /** @param {any} changes */
  take(changes) {
    const { sweep } = this.app;
    this.holder.textContent = changes.progress;
    this.holder.classList.remove("lost");
    this.holder.classList.toggle("ended", changes.is_done);
    /** @type {HTMLElement} */ (document.getElementById("report")).hidden = !changes.has_report;
    if (changes.version === this.since()) return;
    this.version = changes.version;
    const { runs } = changes;
    runs.run.forEach((/** @type {number} */ run, /** @type {number} */ i) => {
      for (const column of ["kind", "lower", "upper", "step"]) sweep.columns[column][run] = runs[column][i];
    });
    for (const [name, found] of Object.entries(changes.values)) {
      const { steps, rows } = /** @type {any} */ (found);
      const metric = sweep.metrics.get(name);
      metric?.replace(runs.run, steps, new Float32Array(fromBase64(rows).buffer));
      if (metric) metric.version = changes.version;
    }
    if (changes.newest) this.takeForecasts(changes.newest);
    sweep.state.metrics = changes.metrics;
    sweep.state.findings = changes.findings;
    this.app.onCommit();
  }

  /** @param {any} newest columns by run */
  takeForecasts(newest) {
    const { sweep } = this.app;
    const codes = new Uint16Array(sweep.numRuns).fill(NO_PROBABILITY);
    codes.set(newest.newest);
    sweep.columns.newest = codes;
    for (const name of ["newest_median", "newest_low", "newest_high"]) {
      sweep.columns[name] = Float32Array.from(newest[name], (step) => step ?? NaN);
    }
    if (!sweep.state.forecasts.some((/** @type {any} */ forecast) => forecast.column === "newest")) {
      sweep.state.forecasts.unshift({ column: "newest", share: null, text: "newest, of runs in training" });
    }
  }
}
