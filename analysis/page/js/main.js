// The page: what it shows, what is chosen, and how its parts hear of it.

import { CurvesView } from "./curves.js";
import { ForecastsView } from "./forecasts.js";
import { afterFrame } from "./frames.js";
import { OutcomeButtons, SettingBars, element, setText } from "./groups.js";
import { IncidenceView } from "./incidence.js";
import { startList } from "./list.js";
import { Live } from "./live.js";
import { RunPanel } from "./run.js";
import { grouped, numberText } from "./scales.js";
import { Selection } from "./selection.js";
import { Sweep } from "./sweep.js";
import { RunTable } from "./table.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
function part(id) {
  return /** @type {T} */ (document.getElementById(id));
}

export class App {
  /** @param {Sweep} sweep */
  constructor(sweep) {
    this.sweep = sweep;
    this.selection = new Selection(sweep);
    /** @type {number | null} */
    this.hovered = null;
    /** @type {number | null} */
    this.opened = null;
    this.version = 0;
    this.theme = "";
    this.isDragging = false;
    this.frame = 0;
    this.settled = 0;
    this.areCurvesDrawn = false;
    /** @type {string | undefined} */
    this.probabilityColumn = undefined;
  }

  async start() {
    await this.sweep.readRuns();
    part("app").hidden = false;
    this.setTheme(null);
    this.curves = new CurvesView(this, part("curves"));
    this.outcomes = new OutcomeButtons(this, part("outcomes"));
    this.settings = new SettingBars(this, part("settings"));
    this.incidence = new IncidenceView(this, part("incidence"));
    this.forecasts = new ForecastsView(this, part("forecasts"));
    this.chooseForecast();
    this.table = new RunTable(this, part("runs"));
    this.panel = new RunPanel(this, part("run"));
    this.fillMetrics();
    this.showFindings();
    this.listen();
    await this.curves.choose(this.curves.name);
    if (document.body.dataset.live !== undefined) new Live(this, part("live")).start();
    new ResizeObserver(([{ target }]) => {
      const [width, height] = /** @type {CurvesView} */ (this.curves).size;
      if (target.clientWidth !== width || target.clientHeight !== height) this.update();
    }).observe(part("curves"));
    await this.whenDrawn();
  }

  /** When everything that was asked for so far has been drawn, and what this changes of the sizes of plots, too. */
  async whenDrawn() {
    for (let quiet = 0; quiet < 2; ) {
      await new Promise((done) => requestAnimationFrame(() => afterFrame(() => done(null))));
      quiet = this.frame || this.settled ? 0 : quiet + 1;
    }
  }

  /** Choose the column of forecasts: that of the select, by default the newest or the one nearest to a quarter. */
  chooseForecast() {
    const { forecasts } = this.sweep.state;
    const select = /** @type {HTMLSelectElement} */ (part("forecast-window"));
    const old = select.value;
    select.replaceChildren(...forecasts.map((/** @type {any} */ one) => element("option", { value: one.column }, [one.text])));
    const nearest = [...forecasts].sort((one, other) => Math.abs((one.share ?? 0.25) - 0.25) - Math.abs((other.share ?? 0.25) - 0.25))[0];
    if (nearest) select.value = forecasts.some((/** @type {any} */ one) => one.column === old) ? old : nearest.column;
    this.probabilityColumn = nearest ? select.value : undefined;
    this.selection.probabilityColumn = this.probabilityColumn;
    part("forecasts-panel").hidden = !nearest;
  }

  fillMetrics() {
    const select = /** @type {HTMLSelectElement} */ (part("metric"));
    const { metrics } = this.sweep.state;
    if (select.options.length === metrics.length) return;
    select.replaceChildren(...metrics.map((/** @type {string} */ name) => element("option", { value: name }, [name])));
    select.value = /** @type {CurvesView} */ (this.curves).name;
  }

  showFindings() {
    part("findings").textContent = this.sweep.state.findings.join(" ");
  }

  /** Something was chosen: compute it, and draw with the next frame. @param {number} asked when, in milliseconds */
  update(asked = performance.now()) {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.selection.apply();
      for (const view of [this.curves, this.incidence, this.forecasts]) view?.measure();
      this.curves?.draw();
      if (this.areCurvesDrawn) this.drawOthers(asked);
      else {
        // When the page opens, the curves are shown before the others are drawn.
        this.areCurvesDrawn = true;
        afterFrame(() => {
          performance.mark("curves");
          this.drawOthers(asked);
        });
      }
    });
  }

  /** @param {number} asked */
  drawOthers(asked) {
    this.frame = 0;
    for (const view of [this.outcomes, this.settings, this.incidence, this.forecasts]) view?.draw();
    this.showCount();
    clearTimeout(this.settled);
    this.settled = this.isBusy ? window.setTimeout(() => this.drawTable(), 120) : 0;
    if (!this.settled) this.drawTable();
    afterFrame(() => performance.measure("redraw", { start: asked, end: performance.now() }));
  }

  drawTable() {
    this.settled = 0;
    this.table?.draw();
  }

  get isBusy() {
    return this.isDragging || Boolean(this.curves?.isDragging);
  }

  showCount() {
    const { selection, sweep } = this;
    const [all, runs] = [grouped(sweep.numRuns), sweep.state.is_sample ? "sampled runs" : "runs"];
    setText(part("count"), selection.isEmpty ? (sweep.numRuns === 1 ? "1 run" : `all ${all} ${runs}`) : `${grouped(selection.count)} of ${all} ${runs}`);
    part("clear").hidden = selection.isEmpty;
    setText(part("problem"), selection.problem);
    part("none").hidden = selection.count > 0;
    const low = /** @type {HTMLInputElement} */ (part("p-low"));
    const high = /** @type {HTMLInputElement} */ (part("p-high"));
    if (![low, high].includes(/** @type {HTMLInputElement} */ (document.activeElement))) {
      const range = selection.probabilities?.range ?? [0, 1];
      [low.value, high.value] = range.map((p) => p.toFixed(2));
    }
  }

  /** @param {[number, number] | null} range of P(converged) */
  choose(range) {
    this.selection.probabilities = range && this.probabilityColumn ? { column: this.probabilityColumn, range } : null;
    this.update();
  }

  /** @param {string} name @param {string} text */
  note(name, text) {
    setText(part(`${name}-note`), text);
  }

  onMetric() {
    const curves = /** @type {CurvesView} */ (this.curves);
    /** @type {HTMLInputElement} */ (part("log-values")).checked = curves.isLog;
    this.version += 1;
    this.update();
  }

  onCommit() {
    this.version += 1;
    this.fillMetrics();
    this.showFindings();
    this.chooseForecast();
    this.update();
  }

  /** @param {number | null} run @param {PointerEvent | null} event */
  hover(run, event) {
    const tip = part("tip");
    if (run !== this.hovered) {
      this.hovered = run;
      this.curves?.drawOver();
    }
    if (run === null || event === null) {
      tip.hidden = true;
      return;
    }
    const { sweep } = this;
    const p = sweep.probability(run, this.probabilityColumn ?? "");
    const lines = [`run ${sweep.texts.run_id[run]}`, `${sweep.setting(run).label}, ${sweep.seeds(run)}`, sweep.outcomeText(run)];
    if (p === p) lines.push(`P(converged) ${numberText(p)}`);
    tip.hidden = false;
    tip.replaceChildren(...lines.map((line) => element("div", {}, [line])));
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  }

  /** @param {number | null} run */
  open(run) {
    this.opened = run;
    document.body.classList.toggle("has-run", run !== null);
    this.panel?.show(run);
    this.hover(null, null);
    this.curves?.drawOver();
    this.table?.fill();
  }

  /** @param {string | null} theme */
  setTheme(theme) {
    const isDark = theme === null ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
    this.theme = isDark ? "dark" : "light";
    document.documentElement.dataset.theme = this.theme;
    part("theme").textContent = isDark ? "Light" : "Dark";
    part("theme").setAttribute("aria-label", `Switch to ${isDark ? "light" : "dark"} colours`);
    if (this.curves) this.update();
  }

  listen() {
    const curves = /** @type {CurvesView} */ (this.curves);
    part("metric").addEventListener("change", (event) => curves.choose(/** @type {HTMLSelectElement} */ (event.target).value));
    const drawing = /** @type {HTMLSelectElement} */ (part("drawing"));
    drawing.options[2].hidden = this.sweep.state.settings.length < 2;
    drawing.addEventListener("change", () => {
      Object.assign(curves, { drawing: drawing.value, cursor: null });
      this.update();
    });
    const switches = { "log-values": "isLog", "log-steps": "isLogStep", "share-steps": "isShare" };
    for (const [id, name] of Object.entries(switches)) {
      part(id).addEventListener("change", (event) => {
        Object.assign(curves, { [name]: /** @type {HTMLInputElement} */ (event.target).checked });
        this.update();
      });
    }
    part("forecast-window").addEventListener("change", () => {
      this.chooseForecast();
      this.choose(this.selection.probabilities?.range ?? null);
    });
    for (const id of ["p-low", "p-high"]) {
      part(id).addEventListener("change", () => {
        const [low, high] = ["p-low", "p-high"].map((one) => Number(/** @type {HTMLInputElement} */ (part(one)).value));
        this.choose(low <= 0 && high >= 1 ? null : [low, high]);
      });
    }
    const search = /** @type {HTMLInputElement} */ (part("search"));
    search.addEventListener("input", () => {
      this.selection.query = search.value;
      this.update();
    });
    part("clear").addEventListener("click", () => this.clear());
    part("theme").addEventListener("click", () => this.setTheme(this.theme === "dark" ? "light" : "dark"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.setTheme(null));
    part("export").addEventListener("click", () => this.table?.download());
    document.addEventListener("keydown", (event) => this.onKey(event, search));
    addEventListener("beforeprint", () => this.setTheme("light"));
  }

  clear() {
    this.selection.clear();
    /** @type {HTMLInputElement} */ (part("search")).value = "";
    this.update();
  }

  /** @param {KeyboardEvent} event @param {HTMLInputElement} search */
  onKey(event, search) {
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape") {
      if (this.opened !== null) this.open(null);
      else if (event.target === search && search.value) this.clear();
      else if (event.target === search) search.blur();
      else this.clear();
    }
  }
}

const list = part("sweeps");
if (list) startList(list, part("failed"));
const state = part("state");
if (state) {
  const app = new App(new Sweep(JSON.parse(state.textContent ?? "")));
  Object.assign(window, { seedbed: app });
  app.start().then(() => performance.mark("ready")).catch((error) => {
    const problem = part("failed");
    problem.textContent = `This page could not be shown in full: ${error.message}`;
    problem.hidden = false;
    throw error;
  });
}
