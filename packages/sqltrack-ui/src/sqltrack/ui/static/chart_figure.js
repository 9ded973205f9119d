/** A chart with its title, the values under the pointer, its keys, and the same as a table. */
import { CurvePlot } from "./chart.js";
import { Menu } from "./components.js";
import { formatDuration, formatNumber } from "./format.js";
import { spreadText } from "./group_notes.js";
import { dashArray } from "./palette.js";
import { saveText } from "./save_file.js";
import { useSignal } from "./signal.js";
import { chartColors, scheme } from "./theme.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

const TOOLTIP_WIDTH = 280;
const ZOOM_STEP = 0.5;

/** A line as in the charts: its color and its dash. */
export function Swatch({ color, dash }) {
  return html`<svg class="swatch" width="26" height="10" aria-hidden="true">
    <line x1="1" x2="25" y1="5" y2="5" stroke=${color} stroke-width="3" stroke-dasharray=${dashArray(dash)} />
  </svg>`;
}

/**
 * A chart of curves.
 *
 * @param {object} props
 * @param {string} props.title what the y axis shows
 * @param {object[]} props.lines curves with `key`, `name`, `color`, `dash`, `x`, `y`, `smooth`, `marks`
 * @param {object[]} props.bands groups with `key`, `name`, `color`, `dash`, `x`, `mean`, `low`, `high`, `n`
 * @param {{name: string, kind: string, log: boolean, range: number[]|null}} props.x the x axis; `kind` is "time" for
 *   seconds
 * @param {{log: boolean}} props.y the y axis
 * @param {object} props.highlight signal that holds the key of the curve to highlight in all charts
 * @param {function(number[]|null)} props.onZoom gets a range that was chosen; null shows all
 * @param {function} [props.onFull] fills the window with the chart, or ends that
 * @param {boolean} [props.isFull] whether the chart fills the window
 * @param {function()} [props.onFigure] opens the dialog for a figure; without it, the menu saves the chart as it is
 * @param {boolean} [props.small] whether the chart is one of many small ones
 * @param {string} [props.note] what is said below the chart
 */
export function ChartFigure(props) {
  const { title, lines, bands, x, y, highlight, isFull, onFull, onFigure, small, note } = props;
  const element = useRef(null);
  const plot = useRef(null);
  const latest = useRef(props);
  latest.current = props;
  const [point, setPoint] = useState(null);
  const [hidden, setHidden] = useState(0);
  const [isTable, setTable] = useState(false);
  const shownScheme = useSignal(scheme);
  const show = (next) => {
    setPoint(next);
    latest.current.highlight.set(next?.key ?? null);
  };
  useEffect(() => {
    plot.current = new CurvePlot(element.current, {
      onZoom: (range) => latest.current.onZoom(range),
      onPoint: show,
    });
    const observer = new ResizeObserver(() => plot.current.resize());
    observer.observe(element.current);
    return () => {
      observer.disconnect();
      plot.current.dispose();
    };
  }, []);
  useEffect(() => {
    setHidden(plot.current.draw({ lines, bands, x, y: { ...y, name: title }, colors: chartColors() }));
    setPoint((before) => before && plot.current.pointAgain(before));
  }, [lines, bands, x.name, x.log, String(x.range), y.log, title, shownScheme]);
  useEffect(() => {
    const follow = (key) => plot.current.highlight(key, latest.current.point);
    return highlight.subscribe(follow);
  }, [highlight]);
  latest.current.point = point;
  useEffect(() => plot.current.highlight(highlight.get(), point), [point, lines, bands]);
  const onKeyDown = (event) => handleKey(event, { ...latest.current, plot: plot.current, point, show });
  const label = describe(title, x, lines, bands);
  const count = lines.length + bands.length;
  return html`<figure class=${`chart panel ${small ? "small" : ""} ${isFull ? "full" : ""}`}>
    <figcaption>
      <h2 class="cut" title=${title}><bdi>${title}</bdi></h2>
      ${hidden > 0 && html`<span class="muted chart-hint">${hidden} points ≤ 0 are not on a logarithmic axis</span>`}
      <span class="space"></span>
      ${
        onFull &&
        html`<button type="button" class="button quiet icon" aria-pressed=${isFull} onClick=${onFull}
        aria-label=${isFull ? `Show all charts` : `Fill the window with ${title}`} title="Fill the window (f)"><${FullIcon} /></button>`
      }
      <${Menu} label="⋯" title=${`More for ${title}`} quiet>
        <button type="button" onClick=${() => setTable(!isTable)}>${isTable ? "Hide the table" : "Show as a table"}</button>
        ${
          onFigure
            ? html`<button type="button" onClick=${onFigure}>Figure for a paper …</button>`
            : html`<button type="button" onClick=${() => savePicture(plot.current, title)}>Save as SVG</button>`
        }
      </${Menu}>
    </figcaption>
    <div class="chart-area">
      <div class="chart-canvas" ref=${element} tabindex="0" role="img" aria-label=${label} onKeyDown=${onKeyDown}
        onDblClick=${() => latest.current.onZoom(null)} onBlur=${() => show(null)}></div>
      ${count === 0 && html`<p class="chart-empty muted">No values</p>`}
      ${point && html`<${Tooltip} point=${point} x=${x} element=${element.current} />`}
    </div>
    ${note && html`<p class="chart-note muted">${note}</p>`}
    ${isTable && html`<${CurveTable} title=${title} x=${x} lines=${lines} bands=${bands} />`}
  </figure>`;
}

function FullIcon() {
  return html`<svg width="14" height="14" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="1.6" aria-hidden="true">
    <path d="M1 5V1h4M9 1h4v4M13 9v4H9M5 13H1V9" />
  </svg>`;
}

/** Return a value of the x axis as text. */
export function formatX(value, x) {
  return x.kind === "time" ? formatDuration(value) : formatNumber(value);
}

function describe(title, x, lines, bands) {
  const parts = [];
  if (lines.length) {
    parts.push(`${lines.length} ${lines.length === 1 ? "curve" : "curves"}`);
  }
  if (bands.length) {
    parts.push(`${bands.length} ${bands.length === 1 ? "group" : "groups"}`);
  }
  const range = x.range ? ` from ${formatX(x.range[0], x)} to ${formatX(x.range[1], x)}` : "";
  return `${title} over ${x.name}${range}: ${parts.join(", ") || "no values"}. Arrow keys read values, the menu shows a table.`;
}

// Left and right read one curve, up and down change it, + and - zoom.
function handleKey(event, { plot, point, show, onZoom }) {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const zoom = { "+": ZOOM_STEP, "-": 1 / ZOOM_STEP }[event.key];
  if (event.key === "Escape" && point) {
    event.stopPropagation();
    show(null);
  } else if (move) {
    show(plot.pointOf(point?.key, point ? point.index + move * (event.shiftKey ? 10 : 1) : 0));
  } else if (turn) {
    const keys = plot.keysFromTop();
    const next = keys[(keys.indexOf(point?.key) + turn + keys.length) % keys.length];
    show(plot.pointOf(next, point ? plot.indexAt(next, point.px) : 0));
  } else if (zoom) {
    onZoom(plot.zoomed(zoom, point?.x));
  } else {
    return;
  }
  event.preventDefault();
}

function Tooltip({ point, x, element }) {
  const isLeft = point.px > element.clientWidth / 2;
  const room = isLeft ? point.px : element.clientWidth - point.px;
  const width = Math.min(TOOLTIP_WIDTH, room - 20);
  const left = isLeft ? point.px - width - 14 : point.px + 14;
  const style = { left: `${left}px`, width: `${width}px` };
  const rows = [point, ...point.others].sort((one, other) => one.py - other.py);
  return html`<div class=${`chart-tooltip ${point.py > element.clientHeight / 2 ? "top" : "bottom"}`} style=${style} role="status">
    <div class="chart-tooltip-head">${x.name} <b>${formatX(point.x, x)}</b></div>
    <table>
      <tbody>${rows.map((row) => html`<${TooltipRow} row=${row} x=${x} isFirst=${row === point} isElsewhere=${row.x !== point.x} />`)}</tbody>
    </table>
  </div>`;
}

function TooltipRow({ row, x, isFirst, isElsewhere }) {
  const spread = row.n !== null ? spreadText(row, row.line.band) : null;
  return html`<tr class=${isFirst ? "first" : ""}>
    <td><${Swatch} color=${row.line.color} dash=${row.line.dash} /></td>
    <th scope="row" class="cut"><bdi>${row.line.name}</bdi>${isElsewhere && html`<small> at ${formatX(row.x, x)}</small>`}</th>
    <td class="number">${formatNumber(row.y)}${isFirst && row.smooth !== null && html`<small> smooth ${formatNumber(row.smooth)}</small>`}
      ${spread && html`<small> ${spread}</small>`}</td>
  </tr>`;
}

/** The same as a chart in numbers: for each curve its number of values, its extremes and its last value. */
function CurveTable({ title, x, lines, bands }) {
  return html`<div class="chart-table" tabindex="0" role="region" aria-label=${`Table of ${title}`}>
    <table class="table">
      <thead><tr><th scope="col">Curve</th><th scope="col" class="number">Rows</th><th scope="col" class="number">Least</th>
        <th scope="col" class="number">at ${x.name}</th><th scope="col" class="number">Largest</th>
        <th scope="col" class="number">at ${x.name}</th><th scope="col" class="number">Last</th></tr></thead>
      <tbody>${[...bands, ...lines].map((line) => html`<${CurveRow} line=${line} x=${x} />`)}</tbody>
    </table>
  </div>`;
}

function CurveRow({ line, x }) {
  const values = line.y ?? line.mean;
  const [least, largest] = findExtremes(values);
  const cell = (index) => html`<td class="number">${index < 0 ? "" : formatNumber(values[index])}</td>
    <td class="number">${index < 0 ? "" : formatX(line.x[index], x)}</td>`;
  const last = line.last?.y ?? values.at(-1);
  return html`<tr>
    <th scope="row"><${Swatch} color=${line.color} dash=${line.dash} /> <bdi>${line.name}</bdi></th>
    <td class="number">${line.rows ?? line.x.length}</td>
    ${cell(least)}${cell(largest)}
    <td class="number">${last === undefined ? "" : formatNumber(last)}</td>
  </tr>`;
}

function findExtremes(values) {
  let [least, largest] = [-1, -1];
  for (const [index, value] of values.entries()) {
    if (least < 0 || value < values[least]) {
      least = index;
    }
    if (largest < 0 || value > values[largest]) {
      largest = index;
    }
  }
  return [least, largest];
}

function savePicture(plot, title) {
  saveText(plot.toSvg(title), "image/svg+xml", `${title.replace(/[^\w.-]+/g, "_")}.svg`);
}
