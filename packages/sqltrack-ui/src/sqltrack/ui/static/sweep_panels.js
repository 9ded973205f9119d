/** What a sweep tells besides its charts: correlations, the best configurations, and the cells of the grid. */
import { columnId } from "./address.js";
import { copyText } from "./clipboard.js";
import { columnText } from "./column_names.js";
import { ErrorNote } from "./components.js";
import { useQuery } from "./curve_runs.js";
import { TextDialog } from "./export.js";
import { formatCount, formatNumber, formatPlural, formatValue } from "./format.js";
import { Link } from "./parts.js";
import { Status } from "./status.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

const DIGITS = 2;
const STATES = { done: "completed", open: "not ended", failed: "failed", missing: "missing" };
const MOST_RUNS_OF_CELL = 5;

/** The rank correlation of each argument with the metric; a click shows the argument in the scatter chart. */
export function Correlations({ answer, chosen, onChoose }) {
  const known = answer.arguments.filter(({ n, kind }) => kind !== "text" && n > 0);
  const texts = answer.arguments.filter(({ kind }) => kind === "text");
  const sorted = known.sort((one, other) => Math.abs(other.rho ?? 0) - Math.abs(one.rho ?? 0));
  return html`<section class="panel sweep-panel" aria-labelledby="sweep-correlations">
    <h2 id="sweep-correlations">Rank correlation with <bdi>${columnText(answer.metric.column)}</bdi></h2>
    <div class="sweep-table-scroll" tabindex="0" role="region" aria-label="Rank correlations">
      <table class="table">
        <thead><tr><th scope="col">Argument</th><th scope="col" class="number">ρ</th><th scope="col"><span class="visually-hidden">Bar</span></th><th scope="col" class="number">n</th></tr></thead>
        <tbody>${sorted.map((item) => html`<${Correlation} key=${columnId(item.column)} item=${item} isChosen=${columnId(item.column) === chosen} onChoose=${onChoose} />`)}</tbody>
      </table>
    </div>
    ${sorted.length === 0 && html`<p class="muted">The runs differ in no argument that is a number and has a value of the metric.</p>`}
    <p class="muted">Spearman's ρ, over runs with finite values; –1 and 1 mean that the order is the same throughout. Gray: chance alone gives such a value in more than 5 % of the cases. It tells nothing about a best value in the middle: look at the chart.${texts.length > 0 && html` Not ordered: <bdi>${texts.map(({ label }) => label).join(", ")}</bdi>.`}</p>
  </section>`;
}

function Correlation({ item, isChosen, onChoose }) {
  const { column, label, rho, n, is_clear: isClear } = item;
  const share = `${Math.abs(rho ?? 0) * 50}%`;
  const style = rho < 0 ? { width: share, right: "50%" } : { width: share, left: "50%" };
  return html`<tr class=${isClear ? "" : "muted"}>
    <th scope="row"><button type="button" class="more" aria-pressed=${isChosen} onClick=${() => onChoose(column)}><bdi class="cut">${label}</bdi></button></th>
    <td class="number">${rho === null ? "–" : rho.toFixed(DIGITS).replace("-", "−")}</td>
    <td><span class=${`sweep-bar ${isClear ? "clear" : ""}`} aria-hidden="true"><i style=${style}></i></span></td>
    <td class="number">${n}</td>
  </tr>`;
}

/** The best configurations, each as a command line. */
export function Best({ answer }) {
  const { best, metric } = answer;
  return html`<section class="panel sweep-panel" aria-labelledby="sweep-best">
    <h2 id="sweep-best">Best configuration</h2>
    ${best.length === 0 && html`<p class="muted">No run has a finite value of this metric.</p>`}
    <div class="sweep-bests">${best.map((item) => html`<${Configuration} key=${item.of} item=${item} metric=${metric} />`)}</div>
  </section>`;
}

function Configuration({ item, metric }) {
  const { command } = item;
  const [said, setSaid] = useState("Copy");
  const name = columnText(metric.column);
  const copy = async (event) => {
    const block = event.currentTarget.closest("figure").querySelector("pre");
    setSaid((await copyText(command.text, block)) ? "Copied" : "Press Ctrl-C");
  };
  const source =
    command.source === "captured"
      ? "The command of this run, as it was captured."
      : "No command was captured: these are the arguments of this run as options.";
  return html`<figure class="sweep-best">
    <figcaption>
      ${
        item.of === "run"
          ? html`<span><b>Best run:</b> <${Link} path=${`run/${item.run}`}>${item.run}</${Link}>, <bdi>${name}</bdi> <b class="number">${formatNumber(item.value)}</b></span>`
          : html`<span><b>Best mean over seeds:</b> <bdi>${name}</bdi> <b class="number">${formatNumber(item.mean)} ± ${formatNumber(item.stddev)}</b> (standard deviation, n = ${item.n}), its best run is <${Link} path=${`run/${item.run}`}>${item.run}</${Link}></span>`
      }
      <button type="button" class="button" onClick=${copy}>${said}</button>
    </figcaption>
    <pre class="code" tabindex="0" aria-label="Command line">${splitWords(command.text || "(no arguments)").map((word) => html`<span>${word}</span> `)}</pre>
    <p class="muted">${source}${command.masked && " Credentials are masked (***); fill them in."}</p>
  </figure>`;
}

// The words of a command line stay whole when a line breaks; a browser would break them at hyphens.
function splitWords(text) {
  return text.split(" ");
}

/** The cells of the grid that have no completed run, with the Python that plans them. */
export function Grid({ filter, chosen, onAxes, turn }) {
  const [hasFailed, setFailed] = useState(true);
  const [isShown, setShown] = useState(false);
  const states = hasFailed ? ["missing", "failed"] : ["missing"];
  const { answer, error } = useQuery("grid", { filter, axes: chosen, states }, true, turn);
  return html`<section class="panel sweep-panel sweep-grid" aria-labelledby="sweep-grid">
    <h2 id="sweep-grid">Grid</h2>
    <${ErrorNote} error=${error} retry=${chosen === null ? undefined : () => onAxes(null)} />
    ${answer && html`<${Cells} answer=${answer} hasFailed=${hasFailed} onFailed=${setFailed} onAxes=${onAxes} onPlan=${() => setShown(true)} />`}
    ${isShown && answer?.plan && html`<${TextDialog} title="Plan the runs in Python" text=${answer.plan} onClose=${() => setShown(false)} />`}
  </section>`;
}

function Cells({ answer, hasFailed, onFailed, onAxes, onPlan }) {
  const { axes, cells, counts, listed, wanted, experiments, runs } = answer;
  if (runs === 0) {
    return html`<p class="muted">No runs.</p>`;
  }
  if (experiments > 1) {
    return html`<p class="muted">These runs belong to ${experiments} experiments. Choose one to see the cells of its grid.</p>`;
  }
  return html`<${GridAxes} answer=${answer} onAxes=${onAxes} />
    ${
      axes.length === 0
        ? html`<p class="muted">No argument makes a grid: runs have the same arguments, or each has values of its own as in a random search.</p>`
        : html`<p>${formatPlural(cells, "cell")}: ${Object.entries(STATES)
            .map(([state, text]) => `${formatCount(counts[state])} ${text}`)
            .join(", ")}.</p>`
    }
    ${
      axes.length > 0 &&
      html`<div class="bar sweep-actions">
        <label class="control"><input type="checkbox" checked=${hasFailed} onChange=${() => onFailed(!hasFailed)} /> also the failed ones</label>
        <button type="button" class="button primary" disabled=${listed.length === 0} title="Python that creates a planned run for each cell" onClick=${onPlan}>Plan ${formatPlural(listed.length, "run")} in Python</button>
        ${wanted > listed.length && html`<span class="muted">the first ${listed.length} of ${formatCount(wanted)}</span>`}
      </div>`
    }
    ${listed.length > 0 && html`<${CellTable} axes=${axes} listed=${listed} />`}
    ${axes.length > 0 && listed.length === 0 && html`<p class="muted">Each cell has a run.</p>`}`;
}

function GridAxes({ answer, onAxes }) {
  const { axes, followers, left_out: leftOut } = answer;
  const columns = axes.map(({ column }) => column);
  const without = (id) => columns.filter((column) => columnId(column) !== id);
  return html`<p class="sweep-grid-axes">
    ${axes.map(({ column, label, values }) => html`<span key=${columnId(column)} class="chip"><bdi class="cut">${label}</bdi> × ${values.length}<button type="button" aria-label=${`Leave ${label} out of the grid`} onClick=${() => onAxes(without(columnId(column)))}>✕</button></span> `)}
    ${followers.map(({ label, leader }) => html`<span key=${label} class="muted"><bdi>${label}</bdi> follows <bdi>${leader}</bdi>.</span> `)}
    ${leftOut.map(
      ({ column, label, distinct, is_everywhere: isEverywhere }) =>
        html`<button type="button" key=${columnId(column)} class="button quiet" title=${`${distinct} values${isEverywhere ? "" : ", and some runs lack it"}; planned runs do not set it. Add it to the grid`} onClick=${() => onAxes([...columns, column])}>+ <bdi class="cut">${label}</bdi></button> `,
    )}
  </p>`;
}

function isNumber(value) {
  return typeof value === "number" || value?.$number !== undefined;
}

function CellTable({ axes, listed }) {
  return html`<div class="sweep-table-scroll" tabindex="0" role="region" aria-label="Cells without a completed run">
    <table class="table">
      <thead><tr>${axes.map(({ label, column }, index) => html`<th scope="col" key=${columnId(column)} class=${isNumber(listed[0].values[index]) ? "number" : ""}><bdi>${label}</bdi></th>`)}<th scope="col">Cell</th><th scope="col">Runs</th></tr></thead>
      <tbody>${listed.map(
        ({ values, state, runs }, index) => html`<tr key=${index}>
          ${values.map((value) => html`<td class=${isNumber(value) ? "number" : ""}>${value === null ? html`<span class="muted">not set</span>` : html`<bdi>${formatValue(value)}</bdi>`}</td>`)}
          <td class=${`sweep-state ${state}`}>${STATES[state]}</td>
          <td>${runs.slice(0, MOST_RUNS_OF_CELL).map(({ id, status }) => html`<span key=${id} class="sweep-cell-run"><${Link} path=${`run/${id}`}>${id}</${Link}> <${Status} status=${status} /></span> `)}${runs.length > MOST_RUNS_OF_CELL && `and ${runs.length - MOST_RUNS_OF_CELL} more`}</td>
        </tr>`,
      )}</tbody>
    </table>
  </div>`;
}
