// One run in a panel of its own: outcome, forecasts, all curves, attention maps, hyperparameters, and how to replay it.

import { readBlob } from "./decode.js";
import { element } from "./groups.js";
import { Axis, drawAxes, fitted, linearTicks, logTicks, numberText, palette } from "./scales.js";
import { MARKS } from "./sweep.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {import("./sweep.js").Metric} Metric */

const SIZE = { width: 250, height: 130 };

export class RunPanel {
  /** @param {App} app @param {HTMLElement} holder */
  constructor(app, holder) {
    this.app = app;
    this.holder = holder;
    this.shown = 0;
    /** @type {HTMLElement | null} */
    this.before = null;
  }

  /** @param {number | null} run */
  show(run) {
    this.shown += 1;
    if (run === null) {
      this.holder.hidden = true;
      this.before?.focus({ preventScroll: true });
      this.before = null;
      return;
    }
    if (this.holder.hidden) this.before = /** @type {HTMLElement | null} */ (document.activeElement);
    const { sweep } = this.app;
    const kind = sweep.columns.kind[run];
    const close = element("button", { type: "button", class: "close", "aria-label": "Close the run" }, ["✕"]);
    close.addEventListener("click", () => this.app.open(null));
    const title = element("h2", { id: "run-title", tabindex: "-1" }, [`Run ${sweep.texts.run_id[run]}`]);
    const outcome = element("p", {}, [
      element("span", { class: `mark kind-${kind}`, "aria-hidden": "true" }, [MARKS[kind]]), ` ${sweep.outcomeText(run)}`,
    ]);
    const about = [sweep.setting(run).label, sweep.seeds(run)];
    if (sweep.texts.parent?.[run]) about.push(`fork of ${sweep.texts.parent[run]}`);
    this.holder.replaceChildren(
      close, title, outcome, element("p", { class: "note" }, [about.join("; ")]),
      ...this.forecasts(run), ...this.replay(run), ...this.curves(run), ...this.attention(run), this.values(run),
    );
    this.holder.hidden = false;
    this.holder.scrollTop = 0;
    /** @type {HTMLElement} */ (title).focus({ preventScroll: true });
  }

  /** P(converged) from each window. @param {number} run */
  forecasts(run) {
    const { sweep } = this.app;
    const rows = sweep.state.forecasts.map((/** @type {any} */ forecast) => {
      const p = sweep.probability(run, forecast.column);
      if (p !== p) return null;
      const bar = element("span", { class: "meter", "aria-hidden": "true" }, [element("span", {})]);
      /** @type {HTMLElement} */ (bar.firstChild).style.width = `${100 * p}%`;
      const times = forecast.column === "newest" ? this.timesText(run) : "";
      return element("tr", {}, [
        element("th", { scope: "row" }, [forecast.text]), element("td", { class: "number" }, [p.toFixed(3)]),
        element("td", {}, [bar]), element("td", {}, [times]),
      ]);
    }).filter(Boolean);
    if (!rows.length) return [];
    return [element("h3", {}, ["P(converged) as it was forecast"]), element("table", { class: "plain" }, rows)];
  }

  /** @param {number} run */
  timesText(run) {
    const { columns, state } = this.app.sweep;
    const [median, low, high] = ["median", "low", "high"].map((name) => {
      const step = columns[`newest_${name}`][run];
      return step !== step ? `>${state.budget}` : numberText(step);
    });
    return `by step ${median} (${low} to ${high})`;
  }

  /** @param {number} run */
  replay(run) {
    const { sweep } = this.app;
    const { lower, upper } = sweep.columns;
    const last = upper[run];
    if (!last) return [];
    const first = lower[run] < last ? lower[run] : Math.max(0, last - Math.max(...sweep.state.windows.map((/** @type {number[]} */ one) => one[1]), 50));
    const folder = sweep.state.folder ? ` --results ${quoted(sweep.state.folder)}` : "";
    const command = `seedbed replay ${sweep.texts.run_id[run]} --from ${first} --to ${last} --every 5${folder}`;
    const button = element("button", { type: "button" }, ["Copy"]);
    // An option is kept whole on its line: a browser breaks after hyphens.
    const parts = command.split(/ (?=--)/).flatMap((part, i) => [i ? " " : "", element("span", {}, [part])]);
    const code = element("code", { tabindex: "0" }, parts);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command);
        button.textContent = "Copied";
      } catch {
        // Without permission: the text is chosen, for the keyboard to copy.
        getSelection()?.selectAllChildren(code);
        button.textContent = "Selected";
      }
    });
    return [element("h3", {}, ["Train it again, measured more densely"]), element("div", { class: "command" }, [code, button])];
  }

  /** A small plot of each metric, drawn when it is read. @param {number} run */
  curves(run) {
    const { sweep } = this.app;
    const holder = element("div", { class: "small-plots" });
    const mine = this.shown;
    const draw = async () => {
      for (const name of sweep.state.metrics) {
        const metric = await sweep.metric(name);
        if (mine !== this.shown) return;
        const canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { role: "img", "aria-label": `${name} of this run over steps` }));
        const figure = element("figure", {}, [element("figcaption", {}, [name]), canvas]);
        if (drawSmall(canvas, metric, run, this.app)) holder.append(figure);
      }
    };
    draw().catch((error) => holder.append(String(error)));
    return [element("h3", {}, ["Curves"]), element("p", { class: "note" }, ["By step. Band: the middle half of the runs of its setting."]), holder];
  }

  /** @param {number} run */
  attention(run) {
    const { sweep } = this.app;
    const { attention } = sweep.state;
    if (!attention || (attention.runs && !attention.runs.includes(run))) {
      return attention?.runs?.length ? [element("p", { class: "note" }, [`Attention maps are in this page for ${attention.runs.length} runs; seedbed watch shows those of all.`])] : [];
    }
    const holder = element("div", { class: "maps" });
    const title = element("h3", {}, ["Attention"]);
    const mine = this.shown;
    const draw = async () => {
      const { header, arrays } = await readBlob(attention.runs ? "attention" : `attention-${sweep.texts.run_id[run]}`);
      if (mine !== this.shown) return;
      let place = 0;
      for (const entry of header.texts.entries.map((/** @type {string} */ text) => JSON.parse(text))) {
        const size = entry.length * entry.length;
        for (let head = 0; head < entry.heads; head += 1, place += size) {
          if (entry.run !== run) continue;
          holder.append(mapOf(arrays.maps.subarray(place, place + size), entry, head));
        }
      }
      if (!holder.childElementCount) title.hidden = note.hidden = true;
    };
    const note = element("p", { class: "note" }, ["Of the first item of the fixed batch: a row for each query, dark where it attends."]);
    draw().catch((error) => holder.append(String(error)));
    return [title, note, holder];
  }

  /** @param {number} run */
  values(run) {
    const rows = Object.entries(this.app.sweep.setting(run).values).map(([path, value]) =>
      element("tr", {}, [element("th", { scope: "row" }, [path]), element("td", {}, [String(value)])]));
    return element("details", {}, [element("summary", {}, ["Hyperparameters"]), element("table", { class: "plain" }, rows)]);
  }
}

/** A text as one word of a shell. @param {string} text */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}

/** @param {Uint8Array} codes @param {any} entry @param {number} head */
function mapOf(codes, entry, head) {
  const canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { role: "img", "aria-label": `Attention of layer ${entry.layer}, head ${head}, at step ${entry.step}` }));
  canvas.width = canvas.height = entry.length;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(entry.length, entry.length);
  for (let i = 0; i < codes.length; i += 1) {
    const light = 255 - codes[i];
    image.data.set([light, Math.min(255, light + 14), Math.min(255, light + 34), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return element("figure", {}, [canvas, element("figcaption", {}, [`step ${entry.step}, l${entry.layer}h${head}`])]);
}

/**
 * A run's curve of one metric before the middle half of its setting's; whether it has one.
 * @param {HTMLCanvasElement} canvas @param {Metric} metric @param {number} run @param {App} app
 */
function drawSmall(canvas, metric, run, app) {
  const { sweep } = app;
  const numSteps = metric.steps.length;
  const own = metric.values.subarray(run * numSteps, (run + 1) * numSteps);
  const [low, high] = quartiles(metric, sweep.columns.setting, sweep.columns.setting[run]);
  const known = [...own, ...low, ...high].filter(Number.isFinite);
  if (!own.some(Number.isFinite)) return false;
  const isLog = Math.min(...known) > 0 && Math.max(...known) > 20 * Math.min(...known);
  const placed = (/** @type {number} */ value) => (isLog ? Math.log10(value) : value);
  const [bottom, top] = [Math.min(...known), Math.max(...known)].map(placed);
  const context = fitted(canvas, SIZE.width, SIZE.height);
  const x = new Axis(0, Math.max(...metric.steps, 1), 46, SIZE.width - 8);
  const pad = 0.06 * (top - bottom || 1);
  const y = new Axis(bottom - pad, top + pad, SIZE.height - 24, 6);
  const values = isLog ? logTicks(y.low, y.high) : linearTicks(y.low, y.high, 3);
  drawAxes(
    context, x, y, linearTicks(0, x.high, 3).map((step) => ({ place: x.pixel(step), text: numberText(step) })),
    values.slice(0, 5).map((value) => ({ place: y.pixel(placed(value)), text: numberText(value) })),
  );
  const colours = palette();
  const trace = (/** @type {ArrayLike<number>} */ row) => metric.steps.map((step, t) => [x.pixel(step), y.pixel(placed(row[t]))])
    .filter(([, place]) => Number.isFinite(place));
  context.fillStyle = colours.context;
  context.globalAlpha = 0.35;
  context.beginPath();
  for (const [px, py] of [...trace(low), ...trace(high).reverse()]) context.lineTo(px, py);
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = colours.kinds[sweep.columns.kind[run]];
  context.lineWidth = 2;
  context.beginPath();
  for (const [px, py] of trace(own)) context.lineTo(px, py);
  context.stroke();
  return true;
}

/** First and third quartile at each step, of the runs of a setting. @param {Metric} metric @param {ArrayLike<number>} settings @param {number} setting */
function quartiles(metric, settings, setting) {
  const numSteps = metric.steps.length;
  const [low, high] = [new Float32Array(numSteps).fill(NaN), new Float32Array(numSteps).fill(NaN)];
  const held = new Float32Array(metric.numRuns);
  for (let t = 0; t < numSteps; t += 1) {
    let count = 0;
    for (let r = 0; r < metric.numRuns; r += 1) {
      const value = metric.values[r * numSteps + t];
      if (settings[r] === setting && value === value) held[count++] = value;
    }
    const sorted = held.subarray(0, count).sort();
    if (count) [low[t], high[t]] = [sorted[count >> 2], sorted[(3 * count) >> 2]];
  }
  return [low, high];
}
