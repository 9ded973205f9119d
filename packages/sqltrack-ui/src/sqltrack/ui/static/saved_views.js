/** The saved views and the defaults of experiments, as the server keeps them. */
import { complete } from "./address.js";
import { getPath, post, remove } from "./api.js";
import { createSignal } from "./signal.js";
import { navigate, openState, place, setState } from "./state.js";

/** The views and defaults: {views: [{id, name, owner, page, state, updated, own}], defaults: [{experiment, view}]}. */
export const saved = createSignal(null);

/** A number that changes when a view is opened, so that it is checked for what is gone. */
export const openings = createSignal(0);

/** Read the views again. */
export async function loadViews() {
  saved.set(await getPath("api/views"));
}

/** Show a view; `state` is what to show of it, default: all. */
export function openView(view, { state = view.state, replace = false } = {}) {
  openState(view.page === "runs" ? "" : view.page, { ...state, view: view.id }, replace);
  openings.set(openings.get() + 1);
}

/** Save what is shown as a new view, or in place of the own view of this page with that name. */
export async function saveView(name) {
  const { path, state } = place.get();
  const { id } = await post("views", { name, page: path === "" ? "runs" : path, state: stateOf(state) });
  setState({ view: id }, { replace: true });
  await loadViews();
}

/** Save what is shown in place of a view's state. */
export async function updateView(view) {
  await post("views", { id: view.id, state: stateOf(place.get().state) });
  await loadViews();
}

export async function renameView(view, name) {
  await post("views", { id: view.id, name });
  await loadViews();
}

/** Save a copy of a view under a name that is free. */
export async function copyView(view) {
  const taken = new Set(saved.get().views.map(({ name }) => name));
  let name = `${view.name} (copy)`;
  for (let number = 2; taken.has(name); number += 1) {
    name = `${view.name} (copy ${number})`;
  }
  await post("views", { name, page: view.page, state: view.state });
  await loadViews();
}

export async function deleteView(view) {
  await remove(`views?id=${encodeURIComponent(view.id)}`);
  await loadViews();
}

/** Choose the view in which an experiment opens; null for none. */
export async function setDefault(experiment, view) {
  await post("defaults", { experiment, view: view?.id ?? null });
  await loadViews();
}

/** Return the only experiment that a filter lets pass, null if it lets pass others. */
export function onlyExperiment({ facets }) {
  const facet = facets.find(({ column }) => column[0] === "experiment" && column[1] === "name");
  return facet !== undefined && !facet.exclude && facet.values.length === 1 ? facet.values[0] : null;
}

/** Show the runs that a filter lets pass: in the default view of their experiment, or as runs are shown now. */
export function openRuns(filter) {
  const { state } = place.get();
  const view = defaultOf(onlyExperiment(filter));
  if (view !== null) {
    openView(view, { state: defaultState(view, { filter, selected: state.selected }) });
  } else if (saved.get()?.defaults.some((known) => known.view === state.view)) {
    // What is shown now suits another experiment.
    openState("", { filter, selected: state.selected });
  } else {
    navigate("", { filter });
  }
}

function defaultOf(experiment) {
  const { views = [], defaults = [] } = saved.get() ?? {};
  const id = defaults.find((known) => known.experiment === experiment)?.view;
  return views.find((view) => view.id === id && view.page === "runs") ?? null;
}

/** Return the view in which the runs of an experiment open, null if it has none or the user chose otherwise. */
export function findDefault({ path, state }) {
  const isOpen = path === "" && state.view === undefined && isPlain(state);
  return isOpen ? defaultOf(onlyExperiment(state.filter)) : null;
}

/** Return the state of a default view for the runs that are filtered and selected now. */
export function defaultState(view, { filter, selected }) {
  const { facets = [] } = view.state.filter ?? {};
  const own = new Set(filter.facets.map(({ column }) => JSON.stringify(column)));
  const others = facets.filter(({ column }) => !own.has(JSON.stringify(column)));
  const merged = { ...view.state.filter, ...definedParts(filter), facets: [...filter.facets, ...others] };
  return complete({ ...view.state, filter: merged, selected });
}

function definedParts(filter) {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== null));
}

function isPlain({ columns, sort, pinned, widths }) {
  return columns === null && sort.length === 0 && pinned.length === 0 && Object.keys(widths).length === 0;
}

// A view does not name itself.
function stateOf({ view, ...state }) {
  return state;
}
