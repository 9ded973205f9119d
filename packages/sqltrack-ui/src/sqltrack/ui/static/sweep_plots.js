/** The two charts of a sweep in elements: parallel coordinates, and points to point at. */

import { buildParallel, buildScatter, placePoints } from "./sweep_option.js";
import * as echarts from "./vendor/echarts/echarts.esm.min.mjs";

const FARTHEST_POINT = 24;

/** Parallel coordinates. */
export class ParallelPlot {
  constructor(element) {
    this.chart = echarts.init(element, null, { renderer: "canvas" });
  }

  /** Draw runs; see `buildParallel`. */
  draw({ runs, axes, colorOf, ids, colors }) {
    this.chart.setOption(buildParallel(runs, axes, colorOf, ids, colors), { notMerge: true });
  }

  resize() {
    this.chart.resize();
  }

  dispose() {
    this.chart.dispose();
  }
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
