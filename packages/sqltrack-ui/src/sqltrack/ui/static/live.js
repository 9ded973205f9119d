/** The view of running runs: how far they are, how fast, and which are silent. */
import { get } from "./api.js";
import { capitalize, ErrorNote } from "./components.js";
import { formatDuration, formatNumber, setServerTime, shownName } from "./format.js";
import { useKeys } from "./keys.js";
import { Link, Progress } from "./parts.js";
import { usePoll } from "./poll.js";
import { Status } from "./status.js";
import { html, useEffect, useState } from "./vendor/htm/standalone.module.js";

/** Show the runs that have not ended. */
export function View({ state, setState, navigate }) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const ask = async (signal) => {
    try {
      const next = await get("live", {}, { signal });
      setServerTime(next.time);
      setAnswer(next);
      setError(null);
    } catch (problem) {
      if (!signal.aborted) {
        setError(problem);
      }
      throw problem;
    }
  };
  useEffect(() => {
    const controller = new AbortController();
    ask(controller.signal).catch(() => {});
    return () => controller.abort();
  }, []);
  usePoll(ask);
  const runs = answer?.runs ?? [];
  const ids = runs.map(({ id }) => id);
  const showCurves = () => ids.length > 0 && navigate("curves", { selected: ids });
  useKeys("Live", { v: ["curves of the running runs", showCurves] });
  if (answer && runs.length === 0) {
    return html`<div class="empty"><h1>Nothing is running</h1><p>Runs appear here while their status is RUNNING. <${Link} path="">All runs</${Link}></p></div>`;
  }
  const stalled = runs.filter((run) => run.stalled).length;
  return html`<div class="live-view">
    <div class="bar">
      <h1>${runs.length === 1 ? "1 run is running" : `${runs.length} runs are running`}</h1>
      ${stalled > 0 && html`<span class="stalled">${stalled === 1 ? "1 is" : `${stalled} are`} stalled</span>`}
      <span class="space"></span>
      <button type="button" class="button primary" disabled=${ids.length === 0} title="v" onClick=${showCurves}>Curves</button>
    </div>
    <${ErrorNote} error=${error} />
    <ul class="live-list">${runs.map((run) => html`<${LiveRun} key=${run.id} run=${run} selected=${state.selected} setState=${setState} />`)}</ul>
  </div>`;
}

function LiveRun({ run, selected, setState }) {
  const isSelected = selected.includes(run.id);
  const toggle = () =>
    setState(
      { selected: isSelected ? selected.filter((id) => id !== run.id) : [...selected, run.id] },
      { replace: true },
    );
  return html`<li class=${`panel live-run ${run.stalled ? "is-stalled" : ""}`}>
    <div class="live-head">
      <input type="checkbox" checked=${isSelected} aria-label=${`Select run ${run.id}`} onChange=${toggle} />
      <${Link} path=${`run/${run.id}`} className="live-id">Run ${run.id}</${Link}>
      <bdi class="cut muted" title=${run.experiment}>${shownName(run.experiment)}</bdi>
      <span class="space"></span>
      <${Status} status=${run.status} />
    </div>
    ${run.progress > 0 && html`<${Progress} value=${run.progress} />`}
    <p class="live-pace">${describePace(run)}</p>
    <dl class="live-metrics">${run.metrics.map(({ name, value }) => html`<div key=${name}><dt class="cut" title=${name}><bdi>${name}</bdi></dt><dd class="number">${value === null ? "–" : formatNumber(value)}</dd></div>`)}</dl>
    <p class="live-foot muted">
      ${run.host && html`<bdi>${run.host}</bdi> · `}
      ${
        run.stalled
          ? html`<span class="stalled">stalled: silent for ${formatDuration(run.silent)}</span>`
          : run.silent !== null && html`last row ${formatDuration(Math.floor(run.silent))} ago`
      }
    </p>
  </li>`;
}

function describePace({ step, rate, progress, seconds_left: left }) {
  const parts = [];
  if (step !== null) {
    parts.push(`step ${formatNumber(step)}`);
  }
  if (rate > 0) {
    parts.push(
      rate >= 1 ? `${formatNumber(Number(rate.toPrecision(3)))} steps/s` : `${formatDuration(1 / rate)} a step`,
    );
  }
  if (left > 0 && progress < 1) {
    parts.push(`${formatDuration(Math.round(left))} left`);
  }
  return capitalize(parts.join(" · ")) || "No rows yet";
}
