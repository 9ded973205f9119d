/** One chart of curves: drawing, zoom by drag, the curve under the pointer or the keys. */

import { buildOption, placeCurves } from "./chart_option.js";
import { findNearest, findNearestIndex } from "./nearest.js";
import * as echarts from "./vendor/echarts/echarts.esm.min.mjs";

const OVERLAY = 10;
const SMALLEST_DRAG = 5;
const FARTHEST_HOVER = 60;

/** A chart in an element. Curves are drawn by ECharts; the highlight is on a layer of its own, so that it costs little. */
export class CurvePlot {
  #locate = () => [];
  #located = null;

  /**
   * @param {HTMLElement} element element with a size
   * @param {{onZoom: (range: number[]) => void, onPoint: (point: object|null) => void}} events
   *   `onZoom` gets the range that was dragged, in units of x; `onPoint` the point under the pointer
   */
  constructor(element, events) {
    this.element = element;
    this.events = events;
    this.chart = echarts.init(element, null, { renderer: "canvas" });
    // The drawing has the size of before, and must not keep its element from shrinking.
    this.chart.getZr().painter.getViewportRoot().style.position = "absolute";
    this.overlay = new echarts.graphic.Group();
    this.chart.getZr().add(this.overlay);
    this.placed = null;
    this.drag = null;
    this.listeners = new AbortController();
    this.#listen();
  }

  /** Draw curves; see `placeCurves` for the arguments. Returns the number of points that the axes cannot show. */
  draw({ lines, bands, x, y, colors }) {
    this.colors = colors;
    this.placed = placeCurves(lines, bands, x, y);
    this.names = { x: x.name, y: y.name };
    this.#render();
    return this.placed.hidden;
  }

  resize() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || (clientWidth === this.chart.getWidth() && clientHeight === this.chart.getHeight())) return;
    this.chart.resize();
    if (this.placed) this.#render();
  }

  dispose() {
    this.listeners.abort();
    this.chart.dispose();
  }

  #render() {
    const size = { width: this.chart.getWidth(), height: this.chart.getHeight() };
    this.chart.setOption(buildOption(this.placed, this.names, this.colors, size), { notMerge: true });
    this.#measure();
    this.clear();
  }

  // Both axes are linear in positions, so two points give the pixels of all.
  #measure() {
    const { extentX, extentY, lines, bands } = this.placed;
    const [left, bottom] = this.chart.convertToPixel({ gridIndex: 0 }, [extentX[0], extentY[0]]);
    const [right, top] = this.chart.convertToPixel({ gridIndex: 0 }, [extentX[1], extentY[1]]);
    this.frame = { left, right, top, bottom };
    const toX = (position) => left + ((position - extentX[0]) / (extentX[1] - extentX[0])) * (right - left);
    const toY = (position) => bottom + ((position - extentY[0]) / (extentY[1] - extentY[0])) * (top - bottom);
    // Most drawings are replaced before the pointer needs this.
    this.#locate = () =>
      [...lines, ...bands].map((line) => ({
        line,
        isSorted: line.isSorted,
        px: line.ax.map(toX),
        py: (line.as ?? line.ay).map(toY),
      }));
    this.#located = null;
  }

  // The curves with the pixels of their points.
  get #drawn() {
    this.#located ??= this.#locate();
    return this.#located;
  }

  #toValue(pixel) {
    const { left, right } = this.frame;
    const { extentX, scaleX } = this.placed;
    return scaleX.from(extentX[0] + ((pixel - left) / (right - left)) * (extentX[1] - extentX[0]));
  }

  /** Draw the curves with this key above the others, and the point of one of them with its step. */
  highlight(key, point = null) {
    this.#clearOverlay();
    const chosen = key === null ? [] : this.#drawn.filter(({ line }) => line.key === key || line.runs?.includes(key));
    this.element.classList.toggle("has-highlight", chosen.length > 0 && this.#drawn.length > 1);
    for (const { line, px, py } of chosen) {
      const points = Array.from(px, (x, index) => [x, py[index]]);
      this.#add(
        "Polyline",
        { points },
        { stroke: line.color, lineWidth: 2.4, lineDash: line.dash, lineJoin: "bevel", fill: null },
      );
    }
    if (point) {
      const x = point.px;
      this.#add("Line", { x1: x, x2: x, y1: this.frame.top, y2: this.frame.bottom }, { stroke: this.colors.muted });
      const style = { fill: point.line.color, stroke: this.colors.surface, lineWidth: 2 };
      this.#add("Circle", { cx: x, cy: point.py, r: 5 }, style);
    }
  }

  /** Remove the highlight. */
  clear() {
    this.#clearOverlay();
    this.element.classList.remove("has-highlight");
  }

  #clearOverlay() {
    this.overlay.removeAll();
  }

  #add(kind, shape, style) {
    const { left, right, top, bottom } = this.frame;
    const clip = { x: left, y: top - 6, width: right - left, height: bottom - top + 12 };
    const element = new echarts.graphic[kind]({ shape, style, zlevel: OVERLAY, silent: true });
    element.setClipPath(new echarts.graphic.Rect({ shape: clip }));
    this.overlay.add(element);
  }

  #listen() {
    const options = { signal: this.listeners.signal };
    const at = (event) => {
      const box = this.element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.element.addEventListener("pointerdown", (event) => this.#startDrag(event, at(event)), options);
    this.element.addEventListener("pointermove", (event) => this.#move(at(event)), options);
    this.element.addEventListener("pointerup", (event) => this.#endDrag(at(event)), options);
    this.element.addEventListener("pointercancel", () => this.#cancelDrag(), options);
    this.element.addEventListener("pointerleave", () => this.#leave(), options);
  }

  #startDrag(event, [x, y]) {
    if (!this.frame || event.button !== 0 || x < this.frame.left || x > this.frame.right || y < this.frame.top) return;
    this.element.setPointerCapture(event.pointerId);
    this.drag = x;
  }

  #move([x, y]) {
    if (!this.frame) return;
    if (this.drag !== null) {
      this.#drawDrag(x);
      return;
    }
    const inside = x >= this.frame.left && x <= this.frame.right && y >= this.frame.top && y <= this.frame.bottom;
    this.events.onPoint(inside ? this.findPoint(x, y) : null);
  }

  #drawDrag(x) {
    const { top, bottom } = this.frame;
    this.#clearOverlay();
    const shape = { x: Math.min(x, this.drag), y: top, width: Math.abs(x - this.drag), height: bottom - top };
    this.#add("Rect", shape, { fill: this.colors.accent, opacity: 0.18 });
  }

  #endDrag([x]) {
    const start = this.drag;
    this.#cancelDrag();
    if (start === null || Math.abs(x - start) < SMALLEST_DRAG) return;
    const ends = [start, x].map((end) => Math.min(this.frame.right, Math.max(this.frame.left, end)));
    this.events.onZoom(ends.sort((one, other) => one - other).map((end) => this.#toValue(end)));
  }

  #cancelDrag() {
    this.drag = null;
    this.#clearOverlay();
  }

  #leave() {
    if (this.drag === null) this.events.onPoint(null);
  }

  /** The point nearest to a position in pixels, with the points of other curves next to it; null if all are far. */
  findPoint(x, y) {
    const found = findNearest(this.#drawn, x, y);
    if (!found.length || found[0].distance > FARTHEST_HOVER) return null;
    return { ...this.#describe(found[0]), others: found.slice(1, 8).map((item) => this.#describe(item)) };
  }

  /** The point of a curve at an index, as if the pointer were there. */
  pointOf(key, index) {
    const chosen = this.#drawn.find(({ line }) => line.key === key) ?? this.#drawn[0];
    if (!chosen?.px.length) return null;
    const shown = [...chosen.px.keys()].filter(
      (at) => chosen.px[at] >= this.frame.left - 1 && chosen.px[at] <= this.frame.right + 1,
    );
    const at = Math.min(Math.max(index, shown[0] ?? 0), shown.at(-1) ?? chosen.px.length - 1);
    return { ...this.#describe({ line: chosen, index: at }), others: [] };
  }

  /** The same point of a curve that was drawn again; null if the curve is gone. */
  pointAgain(point) {
    const chosen = this.#drawn.find(({ line }) => line.key === point.key);
    if (!chosen?.px.length) return null;
    const index = chosen.line.kept.findIndex((source) => chosen.line.x[source] >= point.x);
    const same = this.#describe({ line: chosen, index: index < 0 ? chosen.px.length - 1 : index });
    const near = this.findPoint(same.px, same.py);
    return { ...same, others: near ? [near, ...near.others].filter(({ key }) => key !== same.key) : [] };
  }

  /** Keys of the curves from top to bottom at the right end of the chart. */
  keysFromTop() {
    return [...this.#drawn].sort((one, other) => one.py.at(-1) - other.py.at(-1)).map(({ line }) => line.key);
  }

  /** Index of the point of a curve nearest to a position in pixels. */
  indexAt(key, px) {
    const chosen = this.#drawn.find(({ line }) => line.key === key);
    return chosen ? findNearestIndex(chosen.px, px) : 0;
  }

  /** The range that is shown, smaller or larger by a factor around a value of x, by default around its middle. */
  zoomed(factor, value) {
    const { extentX, scaleX } = this.placed;
    const [low, high] = extentX;
    const center = value === undefined ? (low + high) / 2 : scaleX.to(value);
    return [low, high].map((end) => scaleX.from(center + (end - center) * factor));
  }

  #describe({ line: { line, px, py }, index }) {
    const source = line.kept[index];
    return {
      line,
      key: line.key,
      index,
      px: px[index],
      py: py[index],
      x: line.x[source],
      y: (line.y ?? line.mean)[source],
      smooth: line.smooth?.[source] ?? null,
      low: line.low?.[source] ?? null,
      high: line.high?.[source] ?? null,
      n: line.n?.[source] ?? null,
    };
  }

  /** The chart as an SVG text, for a paper or a slide. */
  toSvg(title) {
    const { width, height } = { width: this.chart.getWidth(), height: this.chart.getHeight() };
    const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
    const option = buildOption(this.placed, this.names, this.colors, { width, height });
    chart.setOption({ ...option, title: { text: title, left: "center", textStyle: { fontSize: 12 } } });
    const text = chart.renderToSVGString();
    chart.dispose();
    return text;
  }
}
