/** The view of one run: what it was, how it went, its metrics. */
import { get } from "./api.js";
import { Extras } from "./capture.js";
import { ErrorNote } from "./components.js";
import { CurveCharts } from "./curve_charts.js";
import { isDrawn, useQuery } from "./curve_runs.js";
import { EditRuns, lastEdit } from "./edit.js";
import { ExportMenu } from "./export.js";
import { formatAgo, formatCount, formatDuration, formatNumber, formatTime, formatValue, shownName } from "./format.js";
import { useKeys } from "./keys.js";
import { Link, Progress } from "./parts.js";
import { usePoll } from "./poll.js";
import { createSignal, useSignal } from "./signal.js";
import { Status } from "./status.js";
import { ValueList } from "./values.js";
import { html, useEffect, useMemo, useState } from "./vendor/htm/standalone.module.js";

/** Show the run with this id. */
export function View({ id, state, setState, about, navigate }) {
  const { answer, error, again } = useRun(id);
  const open = (other) => other && navigate(`run/${other}`);
  useKeys("Run", {
    n: ["next run of the experiment", () => open(answer?.next)],
    p: ["previous run of the experiment", () => open(answer?.previous)],
    x: ["select the run, or take it out", () => setState({ selected: toggle(state.selected, id) }, { replace: true })],
    l: ["logarithmic y axis", () => setState({ log: { ...state.log, y: !state.log.y } }, { replace: true })],
    0: ["show all of the x axis", () => setState({ range: null })],
    v: ["curves of the run", () => navigate("curves", { selected: [id] })],
  });
  if (!answer || answer.run.id !== id) {
    return html`<${ErrorNote} error=${error} retry=${again} />`;
  }
  return html`<div class="run-view">
    <${Head} answer=${answer} about=${about} state=${state} setState=${setState} navigate=${navigate} />
    <${ErrorNote} error=${error} />
    <div class="run-body">
      <div class="run-facts"><${Facts} answer=${answer} /></div>
      <div class="run-metrics"><${Metrics} answer=${answer} state=${state} setState=${setState} navigate=${navigate} /></div>
    </div>
  </div>`;
}

function toggle(ids, id) {
  return ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id];
}

// The answer of `run`, asked again when the run has changed.
function useRun(id) {
  const [count, setCount] = useState(0);
  const edit = useSignal(lastEdit);
  const { answer, error } = useQuery("run", { id }, true, `${count} ${edit?.version}`);
  const known = useMemo(() => ({ state: null }), [id]);
  usePoll(
    async (signal) => {
      const { runs } = await get("changes", { runs: [id] }, { signal });
      const state = JSON.stringify(runs);
      if (known.state !== null && known.state !== state) {
        setCount((before) => before + 1);
      }
      known.state = state;
    },
    [id],
  );
  return { answer, error, again: () => setCount(count + 1) };
}

function RunLink({ id, children, title, rel }) {
  if (!id) {
    return html`<button type="button" class="button" disabled title=${title}>${children}</button>`;
  }
  return html`<${Link} path=${`run/${id}`} className="button" title=${title} rel=${rel}>${children}</${Link}>`;
}

function Head({ answer, about, state, setState, navigate }) {
  const { run, experiment, previous, next, siblings } = answer;
  const isSelected = state.selected.includes(run.id);
  const findTargets = () => [{ label: `run ${run.id}`, spec: { runs: [run.id] }, values: { text: run.comment ?? "" } }];
  const leaveDeleted = (action) => {
    if (action === "delete") {
      navigate(next ? `run/${next}` : "", { selected: state.selected.filter((id) => id !== run.id) });
    }
  };
  return html`<div class="bar run-head">
    <h1>Run ${run.id}</h1>
    <${Status} status=${run.status} />
    <${Link} path="" patch=${{ filter: { facets: [{ column: ["experiment", "name"], values: [experiment.name] }], where: null, search: null, ids: null } }} className="cut" title=${`All runs of the experiment ${experiment.name}`}><bdi>${shownName(experiment.name)}</bdi></${Link}>
    ${siblings > 1 && html`<span class="muted">${formatCount(siblings)} runs in the experiment</span>`}
    <span class="space"></span>
    <${RunLink} id=${previous} title="Previous run of the experiment (p)" rel="prev">‹ Previous</${RunLink}>
    <${RunLink} id=${next} title="Next run of the experiment (n)" rel="next">Next ›</${RunLink}>
    <button type="button" class="button" aria-pressed=${isSelected} title="x" onClick=${() => setState({ selected: toggle(state.selected, run.id) }, { replace: true })}>${isSelected ? "Selected" : "Select"}</button>
    <button type="button" class="button" title="v" onClick=${() => navigate("curves", { selected: [run.id] })}>Curves</button>
    <${EditRuns} about=${about} findTargets=${findTargets} onDone=${leaveDeleted} />
    <${ExportMenu} sql=${answer.sql} python=${answer.python} />
  </div>`;
}

function Facts({ answer }) {
  const { run, args, env, extras, links } = answer;
  return html`<section class="run-part">
      ${run.tags?.length > 0 && html`<p class="tags">${run.tags.map((tag) => html`<span class="tag" title=${tag}><bdi>${shownName(tag)}</bdi></span> `)}</p>`}
      ${run.comment && html`<p class="comment" tabindex="0"><bdi>${run.comment}</bdi></p>`}
      <${Times} answer=${answer} />
    </section>
    ${links.length > 0 && html`<section class="run-part"><h2>Links</h2><ul class="links">${links.map((link) => html`<${LinkedRun} link=${link} />`)}</ul></section>`}
    <section class="run-part"><h2>Arguments</h2><${ValueList} object=${args} label="arguments" /></section>
    <${Extras} extras=${extras} />
    <section class="run-part">
      <${Folded} title=${`Environment, ${Object.keys(env ?? {}).length} variables`}><${ValueList} object=${env} label="the environment" /></${Folded}>
    </section>`;
}

// The content is made when the user opens it.
function Folded({ title, children }) {
  const [isOpen, setOpen] = useState(false);
  return html`<details onToggle=${(event) => setOpen(event.target.open)}><summary>${title}</summary>${isOpen && children}</details>`;
}

function LinkedRun({ link }) {
  const label = link.label || `${link.kind} ${link.id}`;
  const target =
    link.kind === "run"
      ? html`<${Link} path=${`run/${link.id}`}><bdi>${label}</bdi></${Link}>`
      : html`<bdi>${label}</bdi>`;
  const relation = html`<bdi class="muted">${link.relation}</bdi>`;
  return html`<li>${link.direction === "from" ? html`${target} ${relation} this` : html`${relation} ${target}`} ${link.status && html`<${Status} status=${link.status} />`}</li>`;
}

function Times({ answer }) {
  const { run, rows, last_step: lastStep, progress } = answer;
  const fact = (name, value, title) => value && html`<div><dt>${name}</dt><dd title=${title}>${value}</dd></div>`;
  const time = (name, iso) =>
    fact(name, iso && html`${formatTime(iso)} <span class="muted">${formatAgo(iso)}</span>`, iso);
  return html`<dl class="values times">
    ${time("created", run.time_created)} ${time("started", run.time_started)} ${time("updated", run.time_updated)}
    ${time("ended", run.time_ended)} ${fact("duration", formatDuration(run.duration))}
    ${fact("rows", rows > 0 && html`${formatCount(rows)}${lastStep !== null && html`, last step ${formatNumber(lastStep)}`}`)}
    ${progress > 0 && html`<div><dt>progress</dt><dd><${Progress} value=${progress} /></dd></div>`}
  </dl>`;
}

function Metrics({ answer, state, setState, navigate }) {
  const highlight = useMemo(() => createSignal(null), []);
  const names = useMemo(() => answer.metrics.filter(isDrawn).map(({ name }) => name), [answer]);
  const [text, setText] = useState("");
  const found = names.filter((name) => name.toLowerCase().includes(text.toLowerCase()));
  const [isTable, setTable] = useState(false);
  useEffect(() => setText(""), [answer.run.id]);
  const own = useMemo(
    () => ({ ...state, group: null, join: false, overlay: undefined, full: undefined, hidden: undefined }),
    [state],
  );
  if (answer.metrics.length === 0) {
    return html`<p class="empty">This run has no metrics yet.</p>`;
  }
  return html`<div class="metrics-head">
      <h2>Metrics</h2>
      ${names.length > 6 && html`<input class="field" type="search" placeholder=${`Search ${names.length} metrics`} aria-label="Search metrics" value=${text} onInput=${(event) => setText(event.target.value)} />`}
      <span class="choice" role="group" aria-label="Show metrics as">
        <button type="button" class="button" aria-pressed=${!isTable} onClick=${() => setTable(false)}>Charts</button>
        <button type="button" class="button" aria-pressed=${isTable} onClick=${() => setTable(true)}>Table</button>
      </span>
      <button type="button" class="button" aria-pressed=${state.log.y} title="l" onClick=${() => setState({ log: { ...state.log, y: !state.log.y } }, { replace: true })}>log y</button>
      ${state.range !== null && html`<button type="button" class="button primary" title="0" onClick=${() => setState({ range: null })}>Show all</button>`}
    </div>
    ${
      isTable
        ? html`<${MetricTable} metrics=${answer.metrics.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()))} />`
        : html`<${CurveCharts} runs=${[answer.run.id]} metrics=${found} state=${own} setState=${setState} highlight=${highlight} small
        onFull=${(full) => navigate("curves", { selected: [answer.run.id], metrics: [full], full })} />`
    }`;
}

function MetricTable({ metrics }) {
  const cell = (value, kind) => html`<td class="number">${formatValue(value, kind)}</td>`;
  return html`<div class="panel metric-table" tabindex="0" role="region" aria-label="Metrics"><table class="table">
    <thead><tr><th scope="col">Metric</th>${["Last", "Least", "at step", "Largest", "at step", "Rows"].map((name) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
    <tbody>${metrics.map(
      (metric) => html`<tr key=${metric.name}><th scope="row"><bdi>${metric.name}</bdi></th>
        ${cell(metric.last, metric.kind)}${cell(metric.min, metric.kind)}${cell(metric.at_min)}${cell(metric.max, metric.kind)}${cell(metric.at_max)}${cell(metric.rows)}</tr>`,
    )}</tbody>
  </table></div>`;
}
