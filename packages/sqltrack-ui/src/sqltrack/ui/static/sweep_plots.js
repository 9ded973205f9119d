/** The two charts of a sweep in elements: parallel coordinates, and points to point at. */

import { drawBehind, drawLines, placeLines } from "./sweep_lines.js";
import { buildParallelAxes, buildScatter, placePoints } from "./sweep_option.js";
import * as echarts from "./vendor/echarts/echarts.esm.min.mjs";

const FARTHEST_POINT = 24;

/** Parallel coordinates: two canvases with lines, and the axes above them. */
export class ParallelPlot {
  constructor(element) {
    this.element = element;
    this.behind = addLayer(element, "canvas");
    this.behind.classList.add("sweep-faint");
    this.lines = addLayer(element, "canvas");
    this.chart = echarts.init(addLayer(element, "div"), null, { renderer: "canvas" });
  }

  /** Draw runs: `colorOf` gives their colors, `ids` says which are `selected`, and which are `shown` and not faint. */
  draw({ runs, axes, colorOf, ids, colors }) {
    const isSame = this.last?.runs === runs && this.last.axes === axes && this.last.colors.text === colors.text;
    this.last = { runs, axes, colorOf, ids, colors };
    if (!isSame) {
      this.chart.setOption(buildParallelAxes(axes, colors), { notMerge: true });
      this.#place();
    }
    this.#drawLines();
  }

  resize() {
    this.chart.resize();
    if (this.last !== undefined) {
      this.#place();
      this.#drawLines();
    }
  }

  dispose() {
    this.chart.dispose();
    this.element.textContent = "";
  }

  #place() {
    const { runs, axes, colors } = this.last;
    const size = { width: this.element.clientWidth, height: this.element.clientHeight };
    this.placed = placeLines(runs, axes, size);
    drawBehind(clearCanvas(this.behind, size), this.placed, colors.muted);
  }

  #drawLines() {
    const { runs, colorOf, ids } = this.last;
    const size = { width: this.element.clientWidth, height: this.element.clientHeight };
    const shown = this.placed.filter(({ run }) => ids.shown.has(run.id));
    this.behind.hidden = ids.shown.size === runs.length;
    drawLines(clearCanvas(this.lines, size), shown, colorOf, ids.selected);
  }
}

function addLayer(element, name) {
  const layer = document.createElement(name);
  layer.className = "sweep-layer";
  element.append(layer);
  return layer;
}

// Gives a canvas its size and returns its context, with pixels of CSS as the unit.
function clearCanvas(canvas, { width, height }) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.lineJoin = "bevel";
  return context;
}

/** One argument against the metric. `events.onPoint` gets {run, left, top} under the pointer, or null. */
export class ScatterPlot {
  constructor(element, events) {
    this.element = element;
    this.chart = echarts.init(element, null, { renderer: "canvas" });
    this.points = [];
    this.listeners = new AbortController();
    const options = { signal: this.listeners.signal };
    const find = (event) => {
      const box = element.getBoundingClientRect();
      return this.#findPoint(event.clientX - box.left, event.clientY - box.top);
    };
    element.addEventListener("pointermove", (event) => events.onPoint(find(event)), options);
    element.addEventListener("pointerleave", () => events.onPoint(null), options);
    element.addEventListener("click", (event) => events.onChoose(find(event)), options);
  }

  /** Draw runs; see `buildScatter`. Returns the number of runs that have a place on both axes. */
  draw({ runs, x, y, colorOf, selected, shown, colors }) {
    this.points = placePoints(runs, x, y);
    this.chart.setOption(buildScatter(this.points, x, y, colorOf, { selected, shown }, colors), { notMerge: true });
    this.shown = shown;
    this.#measure();
    return this.points.length;
  }

  resize() {
    this.chart.resize();
    this.#measure();
  }

  dispose() {
    this.listeners.abort();
    this.chart.dispose();
  }

  /** The point next to that of a run along the x axis, in steps; the first or last one without a run. */
  pointAfter(id, step) {
    const order = this.#chosen().sort((one, other) => one.left - other.left || one.top - other.top);
    const index = order.findIndex(({ run }) => run.id === id);
    return order.at(index < 0 ? (step > 0 ? 0 : -1) : Math.min(order.length - 1, Math.max(0, index + step))) ?? null;
  }

  #measure() {
    this.pixels = this.points.map(({ run, x, y }) => {
      const [left, top] = this.chart.convertToPixel({ gridIndex: 0 }, [x, y]);
      return { run, left, top };
    });
  }

  #chosen() {
    return this.pixels.filter(({ run }) => this.shown.has(run.id));
  }

  #findPoint(left, top) {
    const found = this.#chosen()
      .map((point) => ({ point, distance: Math.hypot(point.left - left, point.top - top) }))
      .filter(({ distance }) => distance <= FARTHEST_POINT)
      .sort((one, other) => one.distance - other.distance);
    return found[0]?.point ?? null;
  }
}
