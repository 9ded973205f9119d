/** The charts of some runs: one for each metric or one for all, with linked zoom and highlight. */
import { ChartFigure } from "./chart_figure.js";
import { nameGroup, nameX } from "./chart_names.js";
import { ErrorNote } from "./components.js";
import { choosePixels, useCurves } from "./curve_data.js";
import { useFigure } from "./figures.js";
import { groupNote } from "./group_notes.js";
import { lineStyles, styleAt } from "./palette.js";
import { useSignal } from "./signal.js";
import { scheme } from "./theme.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Charts that are asked for before the user has scrolled to them. */
const FIRST_CHARTS = 6;
// As in charts.css.
const SMALLEST_CHART = 420;
const SMALLEST_SMALL_CHART = 260;
const MOST_COLUMNS = 3;
const MOST_SMALL_COLUMNS = 5;
const FALLBACK_WIDTH = 800;

export { nameGroup, nameX };

/**
 * Charts of curves.
 *
 * @param {object} props
 * @param {number[]} props.runs ids of the runs
 * @param {string[]} props.metrics names of the metrics
 * @param {object} props.state state of the address: `x`, `log`, `smoothing`, `join`, `group`, `band`, `range`, and
 *   `overlay` (all metrics in one chart), `full` (title of the chart that fills the window), `hidden` (ids of runs),
 *   `members` (whether the runs of groups are drawn, too)
 * @param {function} props.setState
 * @param {object} props.highlight signal with the key of the highlighted curve: the id of a run or the name of a group
 * @param {function(number): string} [props.nameRun] names a run
 * @param {boolean} [props.small] whether to draw small charts
 * @param {function(string)} [props.onFull] fills the window with the chart that has this title, by default in this view
 * @param {function(object)} [props.onAnswer] gets the result of `useCurves`
 */
export function CurveCharts({
  runs,
  metrics,
  state,
  setState,
  highlight,
  nameRun = (id) => `run ${id}`,
  small,
  onFull,
  onAnswer,
}) {
  const root = useRef(null);
  const [width, setWidth] = useState(0);
  const [seen, setSeen] = useState(new Set());
  const shownScheme = useSignal(scheme);
  useEffect(() => observeWidth(root.current, setWidth), []);
  const asked = metrics.filter(
    (metric, index) => state.overlay || index < FIRST_CHARTS || seen.has(metric) || state.full === metric,
  );
  const query = {
    runs: width ? runs : [],
    metrics: asked,
    x: state.x,
    range: state.range,
    pixels: choosePixels(
      chartWidth(width, small, state, metrics),
      state.overlay ? runs.length * metrics.length : runs.length,
    ),
    smoothing: state.smoothing,
    log_x: state.log.x,
    join: state.join,
    group: state.group,
    band: state.band,
  };
  const answer = useCurves(query);
  const [openFigure, figureDialog] = useFigure();
  useEffect(() => onAnswer?.(answer), [answer]);
  const styles = useMemo(() => lineStyles(runs, shownScheme), [String(runs), shownScheme]);
  const groupStyles = useGroupStyles(answer.byMetric, shownScheme);
  const hidden = new Set(state.hidden ?? []);
  const isGrouped = state.group !== null;
  const look = { styles, groupStyles, nameRun, hidden, isGrouped, hasMembers: Boolean(state.members) };
  const charts = useMemo(
    () => layOut(metrics, answer.byMetric, state.overlay, look),
    [
      String(metrics),
      answer.byMetric,
      state.overlay,
      styles,
      groupStyles,
      String(state.hidden),
      state.group,
      state.members,
      nameRun,
    ],
  );
  const shown = state.full ? charts.filter(({ title }) => title === state.full) : charts;
  const x = {
    name: nameX(state.x),
    kind: state.x === "time" ? "time" : "number",
    log: state.log.x,
    range: state.range,
  };
  const fill = onFull ?? ((title) => setState({ full: state.full ? undefined : title }));
  const see = (title) => setSeen((before) => new Set([...before, title]));
  return html`<div class=${`charts ${small ? "small" : ""} ${state.full ? "full" : ""}`} ref=${root} aria-busy=${answer.loading}>
    <${ErrorNote} error=${answer.error} />
    ${answer.truncated.length > 0 && html`<p class="note warning">${answer.truncated.length} of the runs are not drawn; select fewer.</p>`}
    ${shown.map(
      (
        chart,
        index,
      ) => html`<${Lazy} key=${chart.title} isAtOnce=${index < FIRST_CHARTS || Boolean(state.full)} onSeen=${() => see(chart.title)} small=${small}>
        <${ChartFigure} ...${chart} x=${x} y=${{ log: state.log.y }} highlight=${highlight} small=${small}
          note=${groupNote(chart.bands, { x: x.name, metric: chart.title, smoothing: state.smoothing })}
          onZoom=${(range) => setState({ range }, { replace: state.range !== null && range !== null })}
          isFull=${state.full === chart.title}
          onFull=${() => fill(chart.title)}
          onFigure=${() => openFigure({ ...chart, x, y: { log: state.log.y }, query })} />
      </${Lazy}>`,
    )}
    ${figureDialog}
  </div>`;
}

function observeWidth(element, setWidth) {
  const measure = () => setWidth(element.clientWidth || FALLBACK_WIDTH);
  measure();
  const observer = new ResizeObserver(measure);
  observer.observe(element);
  return () => observer.disconnect();
}

function chartWidth(width, small, state, metrics) {
  if (state.full || state.overlay) {
    return width;
  }
  const [smallest, most] = small ? [SMALLEST_SMALL_CHART, MOST_SMALL_COLUMNS] : [SMALLEST_CHART, MOST_COLUMNS];
  const columns = Math.max(1, Math.min(most, Math.floor(width / smallest)));
  return Math.floor(width / (small ? columns : Math.min(columns, Math.max(1, metrics.length))));
}

// A group keeps its style in all charts.
function useGroupStyles(byMetric, shownScheme) {
  const names = [
    ...new Set([...byMetric.values()].flatMap(({ groups }) => groups.map(({ value }) => nameGroup(value)))),
  ];
  const text = JSON.stringify(names);
  return useMemo(() => new Map(names.map((name, index) => [name, styleAt(index, shownScheme)])), [text, shownScheme]);
}

function layOut(metrics, byMetric, isOverlay, look) {
  const parts = metrics.map((metric, index) => {
    const { curves, groups } = byMetric.get(metric) ?? { curves: [], groups: [] };
    return {
      title: metric,
      lines: look.isGrouped
        ? styleMembers(curves, groups, look)
        : curves.map((curve) => styleLine(curve, look)).filter((line) => !look.hidden.has(line.run)),
      bands: groups.map((group) => styleBand(group, look)),
      dash: styleAt(8 * index, "light").dash,
    };
  });
  if (!isOverlay || parts.length < 2) {
    return parts;
  }
  // In one chart for all metrics, the color tells the run and the dash the metric.
  const merge = (name) =>
    parts.flatMap((part) =>
      part[name].map((item) => ({
        ...item,
        dash: part.dash,
        isDashNeeded: true,
        name: `${item.name}, ${part.title}`,
      })),
    );
  return [{ title: metrics.join(", "), lines: merge("lines"), bands: merge("bands") }];
}

function styleLine(curve, { styles, nameRun }) {
  // A curve of joined runs may begin with a run that is not selected.
  const key = curve.runs.find((id) => styles.has(id)) ?? curve.run;
  const style = styles.get(key) ?? styleAt(key, scheme.get());
  return { ...curve, ...style, run: key, key, name: curve.runs.map(nameRun).join(" + ") };
}

// The runs of a group, faint behind its mean.
function styleMembers(curves, groups, { groupStyles, nameRun, hasMembers }) {
  if (!hasMembers) {
    return [];
  }
  const names = new Map(groups.flatMap(({ members, value }) => members.map((id) => [id, nameGroup(value)])));
  return curves
    .filter(({ run }) => names.has(run))
    .map((curve) => {
      const name = `${curve.runs.map(nameRun).join(" + ")}, ${names.get(curve.run)}`;
      return { ...curve, ...groupStyles.get(names.get(curve.run)), dash: [], key: curve.run, name, isFaint: true };
    });
}

function styleBand(group, { groupStyles }) {
  const name = nameGroup(group.value);
  return { ...group, ...groupStyles.get(name), key: name, name };
}

// A chart below the visible part of the page is drawn when the user scrolls to it.
function Lazy({ isAtOnce, onSeen, small, children }) {
  const root = useRef(null);
  const [isSeen, setSeen] = useState(isAtOnce);
  useEffect(() => {
    if (isSeen) {
      return undefined;
    }
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) {
          setSeen(true);
          onSeen();
        }
      },
      { rootMargin: "300px" },
    );
    observer.observe(root.current);
    return () => observer.disconnect();
  }, [isSeen]);
  return isSeen ? children : html`<div class=${`chart panel chart-later ${small ? "small" : ""}`} ref=${root}></div>`;
}
