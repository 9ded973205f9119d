/** The view of experiments: comments, tags, links, and how many runs have which status. */

import { get, isAbort } from "./api.js";
import { ErrorNote, useDebounced } from "./components.js";
import { EditExperiment, lastEdit } from "./edit.js";
import { ExportMenu } from "./export.js";
import { toggleValue } from "./facets.js";
import { formatAgo, formatCount, formatPlural, formatTime, shownName } from "./format.js";
import { useKeys } from "./keys.js";
import { usePoll } from "./poll.js";
import { openRuns } from "./saved_views.js";
import { useSignal } from "./signal.js";
import { href } from "./state.js";
import { findGroup, Status } from "./status.js";
import { scheme } from "./theme.js";
import { html, useEffect, useState } from "./vendor/htm/standalone.module.js";

const NAME = ["experiment", "name"];
const STATUS = ["run", "status"];
const NO_FILTER = { facets: [], where: null, search: null, ids: null };
const ORDERS = {
  last: { label: "Last run", compare: (a, b) => compareTexts(b.last, a.last) },
  name: { label: "Name", compare: (a, b) => compareTexts(a.name, b.name) },
  runs: { label: "Runs", compare: (a, b) => b.runs - a.runs },
};

/** Show the experiments. */
export function View({ state, setState, about }) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const edit = useSignal(lastEdit);
  const search = state.experimentSearch ?? "";
  const order = Object.hasOwn(ORDERS, state.experimentOrder ?? "") ? state.experimentOrder : "last";
  const read = async (signal) => {
    try {
      setAnswer(await get("experiments", {}, { signal }));
      setError(null);
    } catch (failure) {
      if (!isAbort(failure)) {
        setError(failure);
      }
      throw failure;
    }
  };
  useEffect(() => {
    const controller = new AbortController();
    read(controller.signal).catch(() => {});
    return () => controller.abort();
  }, [edit]);
  usePoll(
    async (signal) => {
      const { version } = await get("changes", { runs: [] }, { signal });
      if (version !== answer?.version) {
        await read(signal);
      }
    },
    [answer?.version],
  );
  useKeys("Experiments", { "/": ["search experiments", () => document.getElementById("experiment-search").focus()] });
  const shown = arrange(answer?.experiments ?? [], search, order);
  const open = (experiment, status) => openRuns(filterOf(experiment, status));
  return html`<div class="bar">
      <b class="number">${answer && formatPlural(shown.length, "experiment")}</b>
      <span class="space"></span>
      <${Search} value=${search} onSet=${(text) => setState({ experimentSearch: text === "" ? undefined : text }, { replace: true })} />
      <label>Order <select class="field" value=${order} onChange=${(event) => setState({ experimentOrder: event.target.value }, { replace: true })}>
        ${Object.entries(ORDERS).map(([name, { label }]) => html`<option value=${name}>${label}</option>`)}
      </select></label>
      <${ExportMenu} sql=${answer?.sql} python=${answer?.python} />
    </div>
    <div class="experiments">
      <h1 class="visually-hidden">Experiments</h1>
      <${ErrorNote} error=${error} retry=${() => read().catch(() => {})} />
      <ul class="experiment-list">
        ${shown.map((experiment) => html`<${Experiment} key=${experiment.id} experiment=${experiment} about=${about} onOpen=${open} />`)}
      </ul>
    </div>`;
}

function Search({ value, onSet }) {
  const [text, setText] = useState(value);
  const settled = useDebounced(text, 200);
  useEffect(() => {
    if (settled !== value) {
      onSet(settled);
    }
  }, [settled]);
  return html`<input id="experiment-search" class="field" type="search" placeholder="Search" aria-label="Search experiments" value=${text} onInput=${(event) => setText(event.target.value)} />`;
}

function Experiment({ experiment, about, onOpen }) {
  const { name, comment, tags, runs, by_status: byStatus, first, last, links } = experiment;
  const counts = Object.entries(byStatus).sort(([, a], [, b]) => b - a);
  const open = (event) => {
    if (!(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      onOpen(experiment);
    }
  };
  return html`<li class="panel experiment">
    <div class="experiment-head"><h2>
      <a href=${href("", { filter: filterOf(experiment) })} onClick=${open} title=${name}><bdi>${shownName(name)}</bdi></a>
      <span class="count number">${formatPlural(runs, "run")}</span>
    </h2><${EditExperiment} about=${about} experiment=${experiment} /></div>
    ${comment && html`<p dir="auto">${comment}</p>`}
    <${ShareBar} counts=${counts} />
    <div class="statuses">
      ${counts.map(([status, count]) => html`<button type="button" title=${`Runs with the status ${status}`} onClick=${() => onOpen(experiment, status)}><${Status} status=${status} count=${formatCount(count)} /></button>`)}
    </div>
    <${Tags} tags=${tags} />
    ${links.map((link) => html`<${Link} key=${`${link.direction}${link.relation}${link.id}`} link=${link} />`)}
    <p class="muted" title=${`${formatTime(first)} to ${formatTime(last)}`}>${last ? `last run ${formatAgo(last)}` : "no runs yet"}</p>
  </li>`;
}

function Link({ link: { relation, name, direction } }) {
  const text = direction === "from" ? `← ${relation}` : `${relation} →`;
  const address = href("", { filter: filterOf({ name }) });
  return html`<p class="muted">${text} <a href=${address}><bdi>${shownName(name)}</bdi></a></p>`;
}

function ShareBar({ counts }) {
  const shown = useSignal(scheme);
  return html`<div class="share-bar" aria-hidden="true">
    ${counts.map(([status, count]) => html`<span style=${{ "--runs": count, background: findGroup(status)[shown] }}></span>`)}
  </div>`;
}

function Tags({ tags }) {
  const names = Array.isArray(tags) ? tags : Object.keys(tags ?? {});
  return (
    names.length > 0 &&
    html`<p>${names.map((name) => html`<bdi class="tag" key=${name}>${shownName(name)}</bdi> `)}</p>`
  );
}

function filterOf({ name }, status) {
  const filter = toggleValue(NO_FILTER, NAME, name);
  return status === undefined ? filter : toggleValue(filter, STATUS, status);
}

function arrange(experiments, search, order) {
  const wanted = search.trim().toLowerCase();
  const hasText = ({ name, comment }) => `${name} ${comment ?? ""}`.toLowerCase().includes(wanted);
  return experiments.filter(hasText).sort(ORDERS[order].compare);
}

function compareTexts(a, b) {
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
}
