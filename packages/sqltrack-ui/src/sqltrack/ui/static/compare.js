/** The comparison of runs: one column for each run, what differs first, the curves next to it. */

import { Swatch } from "./chart_figure.js";
import { ErrorNote } from "./components.js";
import { CurveCharts } from "./curve_charts.js";
import { newestText, useMetrics, useQuery, useShownRuns } from "./curve_runs.js";
import { ExportMenu } from "./export.js";
import { decode, shownName } from "./format.js";
import { useKeys } from "./keys.js";
import { lineStyles } from "./palette.js";
import { Link } from "./parts.js";
import { reportSpec } from "./report_download.js";
import { createSignal, useSignal } from "./signal.js";
import { Status } from "./status.js";
import { scheme } from "./theme.js";
import { ValueKind } from "./value_kind.js";
import { isLong, Value } from "./values.js";
import { html, useMemo, useState } from "./vendor/htm/standalone.module.js";

const MOST_RUNS = 100;
const CHARTS = 3;
/** Sections in the order in which they are read. */
const SECTIONS = {
  args: "Arguments",
  metrics: "Metrics",
  run: "Run",
  extras: "Extras",
  env: "Environment",
};

/** Show how the selected runs differ. */
export function View({ state, setState, navigate }) {
  const shown = useShownRuns(state);
  const runs = shown.runs.slice(0, MOST_RUNS);
  const isAll = Boolean(state.all);
  const kind = state.value;
  const { answer, error, isLoading } = useQuery("compare", { runs, all: isAll, value: kind }, runs.length > 0);
  const metrics = useMetrics(runs, state.metrics, { count: CHARTS });
  const highlight = useMemo(() => createSignal(null), []);
  const [text, setText] = useState("");
  const flip = () => setState({ all: isAll ? undefined : true }, { replace: true });
  useKeys("Compare", {
    d: ["only what differs, or all", flip],
    l: ["logarithmic y axis", () => setState({ log: { ...state.log, y: !state.log.y } }, { replace: true })],
    0: ["show all of the x axis", () => setState({ range: null })],
    v: ["curves of the runs", () => navigate("curves")],
  });
  const own = useMemo(
    () => ({ ...state, group: null, overlay: undefined, full: undefined, hidden: undefined }),
    [state],
  );
  return html`<div class="compare-view">
    <h1 class="visually-hidden">Compare</h1>
    <div class="bar">
      <span class="muted" role="status">${runs.length} runs${isLoading ? " …" : ""}</span>
      <span class="choice" role="group" aria-label="Rows" title="d">
        <button type="button" class="button" aria-pressed=${!isAll} onClick=${() => isAll && flip()}>Differences</button>
        <button type="button" class="button" aria-pressed=${isAll} onClick=${() => isAll || flip()}>All</button>
      </span>
      <label class="control">metrics
        <${ValueKind} kind=${kind} label="Value of metrics" filter=${state.filter} hasBest onChange=${(next) => setState({ value: next })} />
      </label>
      <input class="field" type="search" placeholder="Search rows" aria-label="Search rows" value=${text} onInput=${(event) => setText(event.target.value)} />
      <span class="space"></span>
      <${ExportMenu} sql=${answer?.sql} python=${answer?.python} report=${runs.length > 0 && reportSpec(state, runs)} />
    </div>
    <${ErrorNote} error=${error ?? shown.error ?? metrics.error} />
    ${!shown.isChosen && runs.length > 0 && html`<p class="note">No runs are selected: ${newestText(runs)}.</p>`}
    ${shown.runs.length > MOST_RUNS && html`<p class="note warning">Only the first ${MOST_RUNS} of ${shown.runs.length} runs are compared.</p>`}
    <div class="compare-body">
      ${answer && html`<${Differences} answer=${answer} text=${text} highlight=${highlight} isAll=${isAll} />`}
      <${CurveCharts} runs=${runs} metrics=${metrics.shown.slice(0, CHARTS)} state=${own} setState=${setState} highlight=${highlight}
        onFull=${(full) => navigate("curves", { full })} />
    </div>
  </div>`;
}

function Differences({ answer, text, highlight, isAll }) {
  const shownScheme = useSignal(scheme);
  const highlighted = useSignal(highlight);
  const { runs } = answer;
  const styles = useMemo(
    () =>
      lineStyles(
        runs.map(({ id }) => id),
        shownScheme,
      ),
    [answer, shownScheme],
  );
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = answer.rows.filter(({ label, section }) =>
    words.every((word) => `${section} ${label}`.toLowerCase().includes(word)),
  );
  const mark = (id) => (id === highlighted ? "highlighted" : "");
  return html`<div class="compare-table" tabindex="0" role="region" aria-label="Comparison">
    <table class="table">
      <thead><tr>
        <th scope="col" class="compare-name">${isAll ? "All values" : "What differs"}</th>
        ${runs.map(
          ({
            id,
            experiment,
            status,
          }) => html`<th scope="col" key=${id} class=${mark(id)} onPointerEnter=${() => highlight.set(id)} onPointerLeave=${() => highlight.set(null)}>
            <${Swatch} ...${styles.get(id)} /> <${Link} path=${`run/${id}`}>${id}</${Link}>
            <div class="cut compare-experiment" title=${experiment}><bdi>${shownName(experiment)}</bdi></div><${Status} status=${status} />
          </th>`,
        )}
      </tr></thead>
      ${split(rows).map(([section, part]) => html`<${Section} key=${section} section=${section} rows=${part} runs=${runs} mark=${mark} />`)}
    </table>
    ${rows.length === 0 && html`<p class="muted compare-none">${text ? "Nothing found" : "These runs do not differ."}</p>`}
  </div>`;
}

// Rows by section: what differs, then what is the same.
function split(rows) {
  const names = Object.keys(SECTIONS);
  const sections = new Map([...names, ...names.map((name) => `same ${name}`)].map((name) => [name, []]));
  for (const row of rows) {
    const name = `${row.differs ? "" : "same "}${row.section}`;
    sections.set(name, [...(sections.get(name) ?? []), row]);
  }
  return [...sections].filter(([, part]) => part.length > 0);
}

function Section({ section, rows, runs, mark }) {
  const isSame = section.startsWith("same ");
  const title = SECTIONS[section.replace("same ", "")] ?? section;
  return html`<tbody>
    <tr class="compare-section"><th scope="rowgroup" colspan=${runs.length + 1}><span>${title}${isSame && " (the same)"}</span></th></tr>
    ${rows.map((row) => html`<${Row} key=${JSON.stringify(row.path)} row=${row} runs=${runs} mark=${mark} />`)}
  </tbody>`;
}

function Row({ row, runs, mark }) {
  const { path, label, values, differs } = row;
  const best = findBest(row);
  const classes = (index) => [
    mark(runs[index].id),
    values[index]?.$missing ? "missing" : "",
    best.has(index) ? "best" : "",
  ];
  return html`<tr class=${differs ? "differs" : ""}>
    <th scope="row" class="compare-name" title=${label}><bdi>${shownName(label)}</bdi></th>
    ${values.map(
      (value, index) => html`<td class=${classes(index).join(" ")}>
        <div class="compare-cell" tabindex=${isLong(value) ? 0 : null}><${Value} value=${value} path=${path} kind=${findKind(row)} />${best.has(index) && html`<span class="visually-hidden"> (best)</span>`}</div>
      </td>`,
    )}
  </tr>`;
}

function findKind({ section, path }) {
  return section === "run" ? path[0] : undefined;
}

// The runs with the best of a metric's values, if they differ, and if it is known which is better.
function findBest({ values, differs, better }) {
  const choose = { max: Math.max, min: Math.min }[better];
  if (!differs || !choose) {
    return new Set();
  }
  const best = choose(...values.map(decode).filter(Number.isFinite));
  return new Set([...values.keys()].filter((index) => values[index] === best));
}
