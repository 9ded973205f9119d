/** The view of curves: charts of the selected runs, and what they show. */
import { columnId } from "./address.js";
import { ErrorNote } from "./components.js";
import { CurveCharts, nameGroup, nameX } from "./curve_charts.js";
import { newestText, useMetrics, useShownRuns } from "./curve_runs.js";
import { ExportMenu } from "./export.js";
import { GroupChoice } from "./group_choice.js";
import { BANDS } from "./group_notes.js";
import { useKeys } from "./keys.js";
import { GroupLegend, Legend } from "./legend.js";
import { MetricChooser } from "./metric_chooser.js";
import { styleAt } from "./palette.js";
import { reportSpec } from "./report_download.js";
import { createSignal, useSignal } from "./signal.js";
import { scheme } from "./theme.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm/standalone.module.js";

const MOST_SMOOTHING = 0.99;

/** Show the curves of the selected runs. */
export function View({ state, setState, navigate }) {
  const { runs, isChosen, answer, error } = useShownRuns(state);
  const highlight = useMemo(() => createSignal(null), []);
  const [isChoosing, setChoosing] = useState(false);
  const [isGrouping, setGrouping] = useState(false);
  const [curves, setCurves] = useState(null);
  // The database counts the values of all metrics, which takes as long as to read one: the curves come first.
  const [isEarly, setEarly] = useState(true);
  useEffect(() => setEarly((before) => before && !isChoosing && !isAnswered(curves)), [isChoosing, curves]);
  const metrics = useMetrics(runs, state.metrics, { isLater: isEarly });
  const names = useMemo(() => makeNames(answer), [answer]);
  useCurveKeys({ state, setState, metrics, openChooser: () => setChoosing(true), openGroups: () => setGrouping(true) });
  const remove = (id) => setState({ selected: runs.filter((other) => other !== id) });
  const legend =
    state.group === null
      ? html`<${Legend} answer=${answer} runs=${runs} hidden=${state.hidden ?? []} highlight=${highlight} onRemove=${remove}
          onHide=${(hidden) => setState({ hidden: hidden.length ? hidden : undefined }, { replace: true })} />`
      : html`<${Groups} curves=${curves} highlight=${highlight} />`;
  return html`<div class=${`curves-view ${state.full ? "full" : ""}`}>
    <h1 class="visually-hidden">Curves</h1>
    <${Bar} state=${state} setState=${setState} known=${metrics.known} columns=${answer?.columns ?? []} curves=${curves} runs=${runs} onChoose=${() => setChoosing(true)} isGrouping=${isGrouping} onGroup=${setGrouping} />
    <${ErrorNote} error=${error ?? metrics.error} />
    ${!isChosen && runs.length > 0 && html`<p class="note">No runs are selected: ${newestText(runs)}. Select runs in the <a href="./" onClick=${(event) => follow(event, () => navigate(""))}>table</a> with <kbd>x</kbd>, or the three best with <kbd>b</kbd>.</p>`}
    <div class="curves-body">
      ${legend}
      <${CurveCharts} runs=${runs} metrics=${metrics.shown} state=${state} setState=${setState} highlight=${highlight} nameRun=${names} onAnswer=${setCurves} />
    </div>
    ${isChoosing && html`<${MetricChooser} known=${metrics.known} chosen=${metrics.shown} runs=${runs.length} onChange=${(chosen) => setState({ metrics: chosen }, { replace: true })} onClose=${() => setChoosing(false)} />`}
  </div>`;
}

function isAnswered(curves) {
  return curves !== null && !curves.loading && (curves.byMetric.size > 0 || curves.error !== null);
}

function follow(event, act) {
  event.preventDefault();
  act();
}

// A run is named by its id, and by its experiment if there are several.
function makeNames(answer) {
  const rows = answer?.rows ?? [];
  const experiments = new Map(rows.map((row) => [row.id, row.experiment]));
  const hasSeveral = new Set(experiments.values()).size > 1;
  return (id) => (hasSeveral && experiments.has(id) ? `${id} ${experiments.get(id)}` : `run ${id}`);
}

function useCurveKeys({ state, setState, metrics, openChooser, openGroups }) {
  const full = () => setState({ full: state.full ? undefined : titleUnderFocus(metrics.shown, state.overlay) });
  useKeys("Curves", {
    f: ["fill the window with a chart, or show all", full],
    l: ["logarithmic y axis", () => setState({ log: { ...state.log, y: !state.log.y } })],
    0: ["show all of the x axis", () => setState({ range: null })],
    m: ["choose metrics", openChooser],
    y: ["group the runs", openGroups],
    e: ["draw the runs of groups, or only their means", () => setState(flipMembers(state), { replace: true })],
    o: ["all metrics in one chart", () => setState({ overlay: state.overlay ? undefined : true, full: undefined })],
    Escape: ["leave the full window", () => state.full && setState({ full: undefined })],
  });
}

function flipMembers({ members }) {
  return { members: members ? undefined : true };
}

// The chart under the pointer or with the focus, else the first.
function titleUnderFocus(shown, isOverlay) {
  if (isOverlay && shown.length > 1) {
    return shown.join(", ");
  }
  const chart = document.querySelector(".chart:hover h2, .chart:focus-within h2");
  return chart?.title ?? shown[0];
}

function Groups({ curves, highlight }) {
  const shownScheme = useSignal(scheme);
  const groups = new Map();
  for (const { groups: found } of curves?.byMetric.values() ?? []) {
    for (const group of found) {
      const name = nameGroup(group.value);
      groups.set(name, [...(groups.get(name) ?? []), group]);
    }
  }
  const rows = [...groups].map(([name, parts], index) => {
    const runs = Math.max(...parts.map((group) => group.n_runs));
    return { name, runs, parts, ...styleAt(index, shownScheme) };
  });
  return html`<${GroupLegend} groups=${rows} highlight=${highlight} />`;
}

function Bar({ state, setState, known, columns, curves, runs, onChoose, isGrouping, onGroup }) {
  const set = (patch) => setState(patch);
  const flip = (axis) => set({ log: { ...state.log, [axis]: !state.log[axis] } });
  const count = runs.length === 1 ? "1 run" : `${runs.length} runs`;
  return html`<div class="bar curves-bar">
    <span class="muted" role="status">${count}${curves?.loading ? " …" : ""}</span>
    <button type="button" class="button" title="Choose metrics (m)" onClick=${onChoose}>Metrics</button>
    <${AxisChoice} state=${state} set=${set} known=${known} />
    <span class="choice" role="group" aria-label="Logarithmic axes">
      <button type="button" class="button" aria-pressed=${state.log.x} onClick=${() => flip("x")}>log x</button>
      <button type="button" class="button" aria-pressed=${state.log.y} title="l" onClick=${() => flip("y")}>log y</button>
    </span>
    <${Smoothing} value=${state.smoothing} onChange=${(smoothing) => setState({ smoothing }, { replace: true })} />
    <${GroupChoice} group=${state.group} onChange=${(group) => set({ group })} filter=${filterOf(runs)} columns=${columns.map(({ column }) => column)} label="group" isAsking=${isGrouping} onAsk=${onGroup} />
    ${state.group !== null && html`<${BandChoice} state=${state} set=${set} />`}
    <label class="control"><input type="checkbox" checked=${state.join} onChange=${() => set({ join: !state.join })} /> join resumed</label>
    <label class="control"><input type="checkbox" checked=${Boolean(state.overlay)} onChange=${() => set({ overlay: state.overlay ? undefined : true, full: undefined })} /> one chart</label>
    <span class="space"></span>
    ${state.range !== null && html`<button type="button" class="button primary" title="0" onClick=${() => set({ range: null })}>Reset zoom</button>`}
    <${ExportMenu} sql=${curves?.sql} python=${curves?.python} report=${runs.length > 0 && reportSpec(state, runs)} />
  </div>`;
}

function AxisChoice({ state, set, known }) {
  const value = JSON.stringify(state.x);
  const names = ["step", "progress", "time"];
  const metrics = known.slice(0, 500).map(({ name }) => ["metric", name]);
  if (Array.isArray(state.x) && !metrics.some((metric) => columnId(metric) === value)) {
    metrics.push(state.x);
  }
  return html`<label class="control">x
    <select class="field" value=${value} onChange=${(event) => set({ x: JSON.parse(event.target.value), range: null })}>
      ${names.map((name) => html`<option value=${JSON.stringify(name)} selected=${name === state.x}>${nameX(name)}</option>`)}
      <optgroup label="metrics">
        ${metrics.map((metric) => html`<option value=${columnId(metric)} selected=${columnId(metric) === value}>${metric[1]}</option>`)}
      </optgroup>
    </select>
  </label>`;
}

function Smoothing({ value, onChange }) {
  const [shown, setShown] = useState(value);
  const timer = useRef(null);
  useEffect(() => setShown(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const change = (event) => {
    const next = Number(event.target.value);
    setShown(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(next), 200);
  };
  return html`<label class="control" title="Debiased exponential moving average of all values; the raw curve stays behind it">smoothing
    <input type="range" min="0" max=${MOST_SMOOTHING} step="0.01" value=${shown} onInput=${change} />
    <output class="number">${shown.toFixed(2)}</output>
  </label>`;
}

function BandChoice({ state, set }) {
  return html`<label class="control">band
      <select class="field" value=${state.band} onChange=${(event) => set({ band: event.target.value })}>
        ${Object.entries(BANDS).map(([name, text]) => html`<option key=${name} value=${name} selected=${name === state.band}>${text}</option>`)}
      </select>
    </label>
    <label class="control" title="Draw the runs of each group (e)"><input type="checkbox" checked=${Boolean(state.members)} onChange=${() => set(flipMembers(state))} /> members</label>`;
}

function filterOf(ids) {
  return { facets: [], where: null, search: null, ids };
}
