/** The view of a sweep: which arguments are good, by charts, correlations, the best configuration and the grid. */
import { columnId } from "./address.js";
import { get } from "./api.js";
import { metricOf } from "./column_names.js";
import { ColumnPicker } from "./column_picker.js";
import { ErrorNote, Menu, useDebounced } from "./components.js";
import { useQuery } from "./curve_runs.js";
import { ExportMenu } from "./export.js";
import { clearFacet, toggleValue } from "./facets.js";
import { useFigure } from "./figures.js";
import { FilterBar } from "./filter_bar.js";
import { formatCount, formatPlural, shownName } from "./format.js";
import { useKeys } from "./keys.js";
import { usePoll } from "./poll.js";
import { AxisMenu, ColorLegend, Parallel, Scatter, useScheme } from "./sweep_charts.js";
import { makeAxes, makeColors, passing, rangeText } from "./sweep_data.js";
import { AxesDialog, RangesDialog } from "./sweep_dialogs.js";
import { figureOf } from "./sweep_figure.js";
import { Best, Correlations, Grid } from "./sweep_panels.js";
import { SweepTable } from "./sweep_table.js";
import { columnOfKind, kindOfColumn, ValueKind } from "./value_kind.js";
import { html, useMemo, useRef, useState } from "./vendor/htm/standalone.module.js";

const EXPERIMENT = ["experiment", "name"];
const MOST_EXPERIMENTS = 500;
const INITIAL = Object.freeze({ metric: null, axes: null, x: null, color: null, flipped: [], ranges: [], grid: null });
/** Milliseconds without a change of ranges before the table follows. */
const SETTLED = 150;
const NO_RUNS = Object.freeze([]);

/** Show the sweep of the runs that pass the filter. */
export function View({ state, setState, navigate }) {
  const { filter, selected } = state;
  const sweep = { ...INITIAL, ...state.sweep };
  const set = (patch, options = { replace: true }) => setState({ sweep: { ...sweep, ...patch } }, options);
  const [turn, setTurn] = useState(0);
  const [dialog, setDialog] = useState(null);
  const [tableError, setTableError] = useState(null);
  const { answer, error, isLoading } = useQuery("sweep", { filter, metric: sweep.metric }, true, turn);
  useLive(answer, () => setTurn((before) => before + 1));
  const colors = useScheme();
  const chosen = useAxes(answer, sweep);
  const { axes, shown, x, color, metric } = chosen;
  const runs = answer?.runs ?? NO_RUNS;
  const rangesText = JSON.stringify(sweep.ranges);
  const passed = useMemo(() => passing(runs, axes, sweep.ranges), [runs, axes, rangesText]);
  const passedIds = useMemo(() => new Set(passed.map(({ id }) => id)), [passed]);
  // Charts of points and tables are slower to draw than lines: they follow when a drag rests.
  const settled = useDebounced(passed, SETTLED);
  const settledIds = useMemo(() => new Set(settled.map(({ id }) => id)), [settled]);
  const selectedIds = useMemo(() => new Set(selected), [selected]);
  const colorOf = useMemo(() => makeColors(color, colors.name, colors.missing), [color, colors]);
  const tableAxes = useMemo(() => tableAxesOf(chosen), [axes, shown, x]);
  const setFilter = (next) =>
    setState({ filter: next, sweep: { ...sweep, ranges: [], axes: null, grid: null, x: null } });
  const setRange = (axis, range) => {
    const others = sweep.ranges.filter(({ column }) => columnId(column) !== axis.id);
    set({ ranges: range === null ? others : [...others, range] });
  };
  const select = (ids) => setState({ selected: ids }, { replace: true });
  const toggle = (id) => select(selectedIds.has(id) ? selected.filter((other) => other !== id) : [...selected, id]);
  const flip = (axis) => axis && set({ flipped: toggleItem(sweep.flipped, axis.id) });
  const selectPassed = () => select(passed.map(({ id }) => id));
  useKeys("Sweep", {
    a: ["axes", () => setDialog("axes")],
    b: ["ranges that filter the table", () => setDialog("ranges")],
    m: ["choose the metric", () => setDialog("metric")],
    l: ["logarithmic axis of the argument", () => flip(x)],
    y: ["logarithmic axis of the metric", () => flip(metric)],
    0: ["clear the ranges", () => set({ ranges: [] })],
    s: ["select the runs within the ranges", selectPassed],
    u: ["select no run", () => select([])],
    v: ["curves of the selected runs", () => navigate("curves")],
    d: ["compare the selected runs", () => navigate("compare")],
    "/": ["filter by an SQL condition", () => focusWhere()],
  });
  const [openFigure, figureDialog] = useFigure();
  const makeFigure = () =>
    openFigure(figureOf(settled, { x, y: metric, color }, filter, settled.length === answer.total));
  const whereError = error?.kind === "where" ? error : null;
  return html`<div class="sweep-view">
    <h1 class="visually-hidden">Sweep</h1>
    <${FilterBar} filter=${filter} error=${whereError} onFilter=${setFilter} />
    <div class="bar">
      <span class="muted" role="status">${answer ? countText(answer) : ""}${isLoading ? " …" : ""}</span>
      <${ExperimentChoice} filter=${filter} version=${answer?.version} onFilter=${setFilter} />
      ${answer?.metric && html`<${MetricChoice} column=${answer.metric.column} filter=${filter} onOpen=${() => setDialog("metric")} onChange=${(column) => set({ metric: column, ranges: withoutMetric(sweep.ranges) })} />`}
      <button type="button" class="button" title="Axes (a)" onClick=${() => setDialog("axes")}>Axes</button>
      <button type="button" class="button" title="Ranges (b)" aria-pressed=${sweep.ranges.length > 0} onClick=${() => setDialog("ranges")}>Ranges</button>
      <span class="space"></span>
      <${ExportMenu} sql=${answer?.sql} python=${answer?.python} />
    </div>
    ${!whereError && html`<${ErrorNote} error=${error ?? tableError} retry=${() => setTurn(turn + 1)} />`}
    ${answer && html`<${Notes} answer=${answer} />`}
    ${
      answer &&
      runs.length > 0 &&
      html`<div class="sweep-body">
        ${
          metric &&
          shown.length > 1 &&
          html`<${Parallel} runs=${runs} axes=${shown} ranges=${sweep.ranges} onRange=${setRange} colorOf=${colorOf} selected=${selectedIds} shown=${passedIds}>
          <${ColorLegend} axis=${color} />
          <${AxisMenu} label="Color ▾" title="What the colors show" axes=${axes} chosen=${color?.id} onChoose=${({ column }) => set({ color: column })} />
        </${Parallel}>`
        }
        <div class="sweep-columns">
          ${
            metric &&
            x &&
            html`<${Scatter} runs=${runs} x=${x} y=${metric} color=${color} colorOf=${colorOf} selected=${selectedIds} shown=${settledIds} onToggle=${toggle} onOpen=${(id) => navigate(`run/${id}`)}>
            <${AxisMenu} label="x ▾" title="The argument of the x axis" axes=${axes.filter(({ isMetric }) => !isMetric)} chosen=${x.id} onChoose=${({ column }) => set({ x: column })} />
            <${LogButton} axis=${x} text="log x" keyName="l" onFlip=${flip} />
            <${LogButton} axis=${metric} text="log y" keyName="y" onFlip=${flip} />
            <${Menu} label="⋯" title="More for this chart" quiet><button type="button" onClick=${makeFigure}>Figure for a paper …</button></${Menu}>
          </${Scatter}>`
          }
          ${answer.metric && html`<${Correlations} answer=${answer} chosen=${x?.id} onChoose=${(column) => set({ x: column })} />`}
        </div>
        ${answer.metric && html`<${Best} answer=${answer} />`}
        <section class="panel sweep-runs" aria-label="Runs within the ranges">
          <div class="bar">
            <h2>Runs</h2><span class="muted" role="status">${passed.length === runs.length ? "" : `${formatCount(passed.length)} of ${formatCount(runs.length)} within the ranges`}</span>
            <${RangeChips} ranges=${sweep.ranges} axes=${axes} onRanges=${(ranges) => set({ ranges })} />
            <span class="space"></span>
            <${Selection} selected=${selected} onClear=${() => select([])} navigate=${navigate} />
            <button type="button" class="button" title="Select the runs within the ranges (s)" disabled=${passed.length === 0} onClick=${selectPassed}>Select ${passed.length === runs.length ? "all" : `these ${formatCount(passed.length)}`}</button>
          </div>
          <${SweepTable} runs=${settled} axes=${tableAxes} better=${answer.metric?.better ?? null} selected=${selected} onSelect=${select} onOpen=${(id) => navigate(`run/${id}`)} onError=${setTableError} />
        </section>
        <${Grid} filter=${filter} chosen=${sweep.grid} onAxes=${(grid) => set({ grid })} turn=${turn} />
      </div>`
    }
    ${figureDialog}
    ${dialog === "axes" && html`<${AxesDialog} axes=${axes.filter(({ isMetric }) => !isMetric)} chosen=${shown.filter(({ isMetric }) => !isMetric)} onChange=${(columns) => set({ axes: columns })} onFlip=${(id) => set({ flipped: toggleItem(sweep.flipped, id) })} onClose=${() => setDialog(null)} />`}
    ${dialog === "ranges" && html`<${RangesDialog} axes=${shown} ranges=${sweep.ranges} onChange=${(ranges) => set({ ranges })} onClose=${() => setDialog(null)} />`}
    ${dialog === "metric" && html`<${ColumnPicker} title="Metric" filter=${filter} kinds=${["metric"]} onChoose=${(column) => set({ metric: column, ranges: withoutMetric(sweep.ranges) })} onClose=${() => setDialog(null)} />`}
  </div>`;
}

/** The axes of an answer, and those that the state chooses. */
function useAxes(answer, sweep) {
  const flipped = JSON.stringify(sweep.flipped);
  const axes = useMemo(() => (answer === null ? [] : makeAxes(answer, sweep.flipped)), [answer, flipped]);
  return useMemo(() => {
    const find = (column) => (column ? axes.find(({ id }) => id === columnId(column)) : undefined);
    const metric = axes.find(({ isMetric }) => isMetric);
    const shown = (sweep.axes ?? answer?.axes ?? []).map(find).filter((axis) => axis !== undefined && !axis.isMetric);
    const x = find(sweep.x) ?? find(mostCorrelated(answer)) ?? shown[0];
    return { axes, metric, x, shown: metric ? [...shown, metric] : shown, color: find(sweep.color) ?? metric };
  }, [axes, JSON.stringify([sweep.axes, sweep.x, sweep.color])]);
}

// The argument that says most about the metric is the first to look at.
function mostCorrelated(answer) {
  const known = (answer?.arguments ?? []).filter(({ rho, is_seed: isSeed }) => rho !== null && !isSeed);
  const byWeight = known.sort((one, other) => Math.abs(other.rho) - Math.abs(one.rho));
  return (byWeight.find(({ kind }) => kind === "number") ?? byWeight[0])?.column;
}

function tableAxesOf({ axes, shown, x }) {
  const others = x === undefined || shown.includes(x) ? [] : [x];
  const seeds = axes.filter((axis) => axis.isSeed && !shown.includes(axis) && !others.includes(axis));
  const experiment = axes.filter((axis) => axis.id === columnId(EXPERIMENT) && !shown.includes(axis) && axis !== x);
  return [...experiment, ...shown, ...others, ...seeds];
}

function withoutMetric(ranges) {
  return ranges.filter(({ column }) => column[0] !== "metric");
}

function toggleItem(items, item) {
  return items.includes(item) ? items.filter((other) => other !== item) : [...items, item];
}

function focusWhere() {
  const field = document.getElementById("where");
  field.focus();
  field.select();
}

/** Ask again when the data have changed. */
function useLive(answer, onChange) {
  const seen = useRef(null);
  usePoll(
    async (signal) => {
      if (answer === null) {
        return;
      }
      const known = seen.current ?? answer.version;
      const { version } = await get("changes", { runs: [], version: known }, { signal });
      seen.current = version;
      if (version !== known) {
        onChange();
      }
    },
    [answer === null],
  );
}

function countText({ total, shown }) {
  return shown < total
    ? `the newest ${formatCount(shown)} of ${formatPlural(total, "run")}`
    : formatPlural(total, "run");
}

function Notes({ answer }) {
  if (answer.total === 0) {
    return html`<div class="empty"><h2>No runs</h2><p>No run passes the filter.</p></div>`;
  }
  return html`${answer.experiments > 1 && html`<p class="note">These runs belong to ${answer.experiments} experiments. Choose one to compare like with like.</p>`}
    ${answer.metric === null && html`<p class="note">These runs have logged no numbers yet.</p>`}
    ${answer.arguments.length === 0 && html`<p class="note">These runs do not differ in their arguments.</p>`}`;
}

function ExperimentChoice({ filter, version, onFilter }) {
  const spec = { filter, columns: [EXPERIMENT], limit: MOST_EXPERIMENTS };
  const { answer } = useQuery("facets", spec, version !== undefined);
  const values = answer?.facets[0]?.values ?? [];
  const facet = filter.facets.find(({ column }) => columnId(column) === columnId(EXPERIMENT));
  const chosen = facet && !facet.exclude && facet.values.length === 1 ? facet.values[0] : null;
  const change = ({ target }) => {
    const cleared = clearFacet(filter, EXPERIMENT);
    onFilter(target.value === "" ? cleared : toggleValue(cleared, EXPERIMENT, JSON.parse(target.value)));
  };
  return html`<select class="field sweep-experiment" aria-label="Experiment" value=${chosen === null ? "" : JSON.stringify(chosen)} onChange=${change}>
    <option value="" selected=${chosen === null}>${facet && chosen === null ? "several experiments" : "all experiments"}</option>
    ${values.map(({ value, count }) => html`<option key=${value} value=${JSON.stringify(value)} selected=${value === chosen}>${shownName(value)} (${formatCount(count)})</option>`)}
  </select>`;
}

function MetricChoice({ column, filter, onOpen, onChange }) {
  const name = metricOf(column);
  return html`<span class="sweep-metric">
    <button type="button" class="button" title="Metric (m)" onClick=${onOpen}><bdi class="cut">${name}</bdi></button>
    <${ValueKind} kind=${kindOfColumn(column)} label=${`Value of ${name}`} filter=${filter} onChange=${(kind) => onChange(columnOfKind(kind, name))} />
  </span>`;
}

function LogButton({ axis, text, keyName, onFlip }) {
  return (
    axis.kind === "number" &&
    html`<button type="button" class="button" aria-pressed=${axis.isLog} title=${keyName} onClick=${() => onFlip(axis)}>${text}</button>`
  );
}

function RangeChips({ ranges, axes, onRanges }) {
  const known = ranges.flatMap((range) => {
    const axis = axes.find(({ id }) => id === columnId(range.column));
    return axis === undefined ? [] : [{ range, text: rangeText(axis, range) }];
  });
  return known.map(
    ({ range, text }) =>
      html`<span class="chip" key=${columnId(range.column)}><bdi class="cut">${text}</bdi><button type="button" aria-label=${`Remove the range ${text}`} onClick=${() => onRanges(ranges.filter((other) => other !== range))}>✕</button></span>`,
  );
}

function Selection({ selected, onClear, navigate }) {
  return (
    selected.length > 0 &&
    html`<span class="chip">${formatCount(selected.length)} selected<button type="button" aria-label="Select no run" title="Select no run (u)" onClick=${onClear}>✕</button></span>
    <button type="button" class="button primary" title="Curves of the selected runs (v)" onClick=${() => navigate("curves")}>Curves</button>
    <button type="button" class="button" title="Compare the selected runs (d)" onClick=${() => navigate("compare")}>Compare</button>`
  );
}
