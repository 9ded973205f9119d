/** The charts of a sweep with their titles, legends and keys. */
import { columnId } from "./address.js";
import { Menu } from "./components.js";
import { exactText, formatNumber, formatValue } from "./format.js";
import { styleAt } from "./palette.js";
import { useSignal } from "./signal.js";
import { partOf, rampColor } from "./sweep_data.js";
import { ParallelPlot, ScatterPlot } from "./sweep_plots.js";
import { RangeStrip } from "./sweep_ranges.js";
import { chartColors, scheme, themeColor } from "./theme.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm/standalone.module.js";

const RAMP_STEPS = 24;
const MOST_LEGEND = 12;
/** Pixels of an axis, so that small screens scroll. */
const AXIS_WIDTH = 96;
const TIP_WIDTH = 220;

// Make a plot in an element once, and draw it again when one of `inputs` changes.
function usePlot(make, draw, inputs) {
  const element = useRef(null);
  const plot = useRef(null);
  useEffect(() => {
    plot.current = make(element.current);
    const observer = new ResizeObserver(() => plot.current.resize());
    observer.observe(element.current);
    return () => {
      observer.disconnect();
      plot.current.dispose();
    };
  }, []);
  useEffect(() => draw(plot.current), inputs);
  return { element, plot };
}

/**
 * Parallel coordinates.
 *
 * @param {object} props
 * @param {object[]} props.runs all runs
 * @param {object[]} props.axes the axes from left to right
 * @param {object[]} props.ranges the ranges that let runs pass
 * @param {function(object, object|null)} props.onRange gets an axis and its new range
 * @param {function} props.colorOf color of a run
 * @param {Set<number>} props.selected ids of runs that stand out
 * @param {Set<number>} props.shown ids of the runs that pass
 */
export function Parallel({ runs, axes, ranges, onRange, colorOf, selected, shown, children }) {
  const { element } = usePlot(
    (root) => new ParallelPlot(root),
    (plot) => plot.draw({ runs, axes, colorOf, ids: { selected, shown }, colors: chartColors() }),
    [runs, axes, colorOf, selected, shown],
  );
  const byAxis = new Map(ranges.map((range) => [columnId(range.column), range]));
  const names = axes.map(({ name }) => name).join(", ");
  const label = `Parallel coordinates of ${runs.length} runs with the axes ${names}. ${shown.size} runs are within the ranges. The key b opens the ranges.`;
  return html`<figure class="chart panel sweep-parallel">
    <figcaption><h2>Parallel coordinates</h2><span class="muted chart-hint">Drag along an axis to choose a range</span><span class="space"></span>${children}</figcaption>
    <div class="sweep-scroll" tabindex="0" role="region" aria-label="Parallel coordinates">
      <div class="sweep-lines" style=${{ minWidth: `${axes.length * AXIS_WIDTH}px` }}>
        <div class="sweep-canvas" ref=${element} role="img" aria-label=${label}></div>
        ${axes.map((axis, index) => html`<${RangeStrip} key=${axis.id} axis=${axis} index=${index} count=${axes.length} range=${byAxis.get(axis.id)} onRange=${(range) => onRange(axis, range)} />`)}
      </div>
    </div>
  </figure>`;
}

/**
 * One argument against the metric.
 *
 * @param {object} props
 * @param {object[]} props.runs all runs
 * @param {object} props.x the axis of the argument
 * @param {object} props.y the axis of the metric
 * @param {object} props.color the axis that colors the points
 * @param {function} props.colorOf color of a run
 * @param {Set<number>} props.selected ids of runs that stand out
 * @param {Set<number>} props.shown ids of the runs that pass
 * @param {function(number)} props.onToggle selects a run, or no longer
 * @param {function(number)} props.onOpen opens a run
 */
export function Scatter(props) {
  const { runs, x, y, color, colorOf, selected, shown, onToggle, onOpen, children } = props;
  const latest = useRef(null);
  const [point, setPoint] = useState(null);
  const [placed, setPlaced] = useState(runs.length);
  latest.current = { onToggle, setPoint };
  const { element, plot } = usePlot(
    (root) =>
      new ScatterPlot(root, {
        onPoint: (found) => latest.current.setPoint(found),
        onChoose: (found) => found && latest.current.onToggle(found.run.id),
      }),
    (drawn) => setPlaced(drawn.draw({ runs, x, y, colorOf, selected, shown, colors: chartColors() })),
    [runs, x, y, colorOf, selected, shown],
  );
  const onKeyDown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step !== undefined) {
      setPoint(plot.current.pointAfter(point?.run.id, step));
    } else if (point !== null && event.key === " ") {
      onToggle(point.run.id);
    } else if (point !== null && event.key === "Enter") {
      onOpen(point.run.id);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const missing = runs.length - placed;
  const label = `${y.name} against ${x.name}: ${placed} runs. Arrow keys read runs, Space selects one, Enter opens it.`;
  return html`<figure class="chart panel sweep-scatter">
    <figcaption><h2 class="cut"><bdi>${y.name} against ${x.name}</bdi></h2><span class="space"></span>${children}</figcaption>
    <div class="chart-area">
      <div class="chart-canvas sweep-points" ref=${element} tabindex="0" role="img" aria-label=${label} onKeyDown=${onKeyDown} onBlur=${() => setPoint(null)}></div>
      ${point && html`<span class="sweep-mark" style=${{ left: `${point.left}px`, top: `${point.top}px` }}></span><${Tip} point=${point} axes=${[x, y, color]} element=${element.current} />`}
    </div>
    ${missing > 0 && html`<p class="muted sweep-missing">${missing} of ${runs.length} runs have no place here: a value is missing, not finite, or not positive on a logarithmic axis.</p>`}
  </figure>`;
}

function Tip({ point, axes, element }) {
  const isRight = point.left > element.clientWidth / 2;
  const room = (isRight ? point.left : element.clientWidth - point.left) - 20;
  const width = Math.min(TIP_WIDTH, Math.max(room, 120));
  const left = isRight ? point.left - width - 12 : point.left + 12;
  const shown = [...new Map(axes.filter(Boolean).map((axis) => [axis.id, axis])).values()];
  return html`<div class=${`chart-tooltip ${point.top > element.clientHeight / 2 ? "top" : "bottom"}`} style=${{ left: `${left}px`, width: `${width}px` }} role="status">
    <div class="chart-tooltip-head">run <b>${point.run.id}</b> ${point.run.status}</div>
    <table><tbody>
      ${shown.map((axis) => html`<tr key=${axis.id}><th scope="row" class="cut"><bdi>${axis.name}</bdi></th><td class="number"><bdi>${formatValue(axis.read(point.run))}</bdi></td></tr>`)}
    </tbody></table>
  </div>`;
}

/** What the colors mean: a ramp with its ends, or the words of an axis. */
export function ColorLegend({ axis }) {
  const shownScheme = useSignal(scheme);
  if (axis === undefined) {
    return null;
  }
  if (axis.kind === "places") {
    const known = axis.values.slice(0, MOST_LEGEND);
    return html`<span class="sweep-legend">
      ${known.map((value, index) => html`<span key=${index} title=${exactText(value)}><i class="sweep-dot" style=${{ background: styleAt(index, shownScheme).color }}></i><bdi class="cut">${axis.labels[index]}</bdi></span>`)}
      ${axis.values.length > MOST_LEGEND && html`<span class="muted">${axis.values.length - MOST_LEGEND} more</span>`}
    </span>`;
  }
  if (!Number.isFinite(axis.span[0])) {
    return html`<span class="muted">no values</span>`;
  }
  const steps = Array.from({ length: RAMP_STEPS }, (_, index) =>
    rampColor(partOf(axis, index / (RAMP_STEPS - 1)), shownScheme),
  );
  const ends = axis.span.map((end) => formatNumber(Number(axis.scale.from(end).toPrecision(3))));
  return html`<span class="sweep-legend number">${ends[0]}<i class="sweep-ramp" style=${{ background: `linear-gradient(90deg, ${steps.join(", ")})` }}></i>${ends[1]}</span>`;
}

/** A menu with the choice of what a chart shows. */
export function AxisMenu({ label, title, axes, chosen, onChoose }) {
  return html`<${Menu} label=${label} title=${title} quiet>
    ${axes.map((axis) => html`<button key=${axis.id} type="button" aria-pressed=${axis.id === chosen} onClick=${() => onChoose(axis)}><bdi class="cut">${axis.name}</bdi></button>`)}
  </${Menu}>`;
}

/** Colors of the page that follow the scheme. */
export function useScheme() {
  const shown = useSignal(scheme);
  return useMemo(() => ({ name: shown, missing: themeColor("--line-strong") }), [shown]);
}
