/** Notes on the view that was opened: that it is the default of an experiment, and which names are gone. */
import { complete } from "./address.js";
import { get } from "./api.js";
import { goneParts, namesAnything, prune, replaceMetric } from "./gone.js";
import { defaultState, findDefault, loadViews, onlyExperiment, openings, openView, saved } from "./saved_views.js";
import { useSignal } from "./signal.js";
import { openState, place, setState } from "./state.js";
import { html, useEffect, useState } from "./vendor/htm/standalone.module.js";

/** Open the default view of an experiment whose runs are looked at, and tell what an opened view lacks. */
export function ViewNotice() {
  const shown = useSignal(place);
  const known = useSignal(saved);
  useEffect(() => {
    // Without the list of views, the page only lacks defaults; the menu tells why.
    loadViews().catch(() => {});
  }, []);
  useEffect(() => {
    const view = known && findDefault(shown);
    if (view) {
      openView(view, { state: defaultState(view, shown.state), replace: true });
    }
  }, [known, shown]);
  return html`<${DefaultNote} shown=${shown} known=${known} /><${GoneNote} />`;
}

function DefaultNote({ shown: { path, state }, known }) {
  const experiment = onlyExperiment(state.filter);
  const isDefault = known?.defaults.some(({ experiment: name, view }) => name === experiment && view === state.view);
  const view = known?.views.find(({ id }) => id === state.view);
  if (path !== "" || !isDefault || view === undefined) {
    return null;
  }
  const leave = () => openState("", complete({ filter: state.filter, selected: state.selected, view: null }));
  return html`<p class="view-note">
    <span>View <b><bdi>${view.name}</bdi></b>, the default of <bdi>${experiment}</bdi></span>
    <button type="button" class="more" onClick=${leave}>Without it</button>
  </p>`;
}

function GoneNote() {
  const opening = useSignal(openings);
  const [gone, setGone] = useState(null);
  useEffect(() => {
    const { state } = place.get();
    const controller = new AbortController();
    setGone(null);
    if (namesAnything(state)) {
      // The view itself tells when the server does not answer.
      get("gone", { state }, { signal: controller.signal }).then(setGone, () => {});
    }
    return () => controller.abort();
  }, [opening]);
  const parts = gone === null ? [] : goneParts(gone);
  if (parts.length === 0) {
    return null;
  }
  const removeAll = () => {
    setState(prune(place.get().state, gone));
    setGone(null);
  };
  const replace = ({ name, similar }) => {
    setState(replaceMetric(place.get().state, name, similar));
    setGone({ ...gone, metrics: gone.metrics.filter((metric) => metric.name !== name) });
  };
  return html`<div class="note warning view-gone" role="status">
    <span tabindex="0">This view uses names that the database no longer has: <bdi>${parts.join(", ")}</bdi>.</span>
    ${gone.metrics.filter(({ similar }) => similar !== null).map((metric) => html`<button type="button" class="button" onClick=${() => replace(metric)}>Show ${metric.similar} for ${metric.name}</button>`)}
    <button type="button" class="button" onClick=${removeAll}>Remove from the view</button>
    <button type="button" class="button quiet" onClick=${() => setGone(null)}>Keep</button>
  </div>`;
}
