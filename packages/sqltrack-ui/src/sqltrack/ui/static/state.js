/** The address: which view is shown, and the state of all views. */
import { complete, readState, writeState } from "./address.js";
import { getPath, post } from "./api.js";
import { createSignal } from "./signal.js";

/** Longest address that is written out; a longer state is kept by the server and named by `?v=`. */
const LONGEST_ADDRESS = 190;
/** Milliseconds without a change before a long state is sent. */
const PATIENCE = 300;
/** Name of the storage for the last long state: a reload that begins before the server has it asks for its address. */
const LAST = "sqltrack-last-state";

/** The current place: {path, state}. `path` is relative to the base: "" for the runs, "run/812". */
export const place = createSignal({ path: "", state: complete({}) });

/** What went wrong when a state was read or kept, null if nothing. */
export const stateError = createSignal(null);

let timer = null;

/** Read the address, and follow the browser's buttons for back and forward. */
export async function startState() {
  window.addEventListener("popstate", readAddress);
  const last = readLast();
  if (last === null) {
    remember(null);
    await readAddress();
  } else {
    enter(currentPath(), complete(last), true);
  }
}

/**
 * Change parts of the state.
 *
 * @param {object} patch names and values to replace
 * @param {{replace?: boolean}} options whether to replace the entry of the browser's history, default: add one
 */
export function setState(patch, { replace = false } = {}) {
  const { path, state } = place.get();
  enter(path, { ...state, ...patch }, replace);
}

/** Go to a view such as "curves" or "run/812", and change parts of the state on the way. */
export function navigate(path, patch = {}) {
  enter(path, { ...place.get().state, ...patch }, false);
}

/** Go to a view and show a state, such as a saved one, with the defaults of all that it does not name. */
export function openState(path, state, replace = false) {
  enter(path, complete(state), replace);
}

/** Return the address of a view with the current state and a patch, for links. A long state is left out. */
export function href(path, patch = {}) {
  const url = new URL(path || "./", document.baseURI);
  const query = writeState({ ...place.get().state, ...patch });
  url.search = url.href.length + query.length <= LONGEST_ADDRESS ? query : "";
  return url.href;
}

function enter(path, state, replace) {
  const url = new URL(path || "./", document.baseURI);
  const query = writeState(state);
  const isShort = url.href.length + query.length <= LONGEST_ADDRESS;
  const next = url.href + (isShort ? query : "");
  clearTimeout(timer);
  remember(isShort ? null : { href: next, state });
  if (!isShort) {
    timer = setTimeout(keepLongState, PATIENCE, url.href, state);
  }
  const entry = { state };
  if (replace) {
    history.replaceState(entry, "", next);
  } else {
    history.pushState(entry, "", next);
  }
  stateError.set(null);
  place.set({ path, state });
}

async function keepLongState(base, state) {
  try {
    const { id } = await post("states", state);
    if (place.get().state === state) {
      history.replaceState({ state }, "", `${base}?v=${encodeURIComponent(id)}`);
    }
  } catch (error) {
    stateError.set(`the address does not hold this view: ${error.message}`);
  }
}

function remember(last) {
  try {
    if (last === null) {
      sessionStorage.removeItem(LAST);
    } else {
      sessionStorage.setItem(LAST, JSON.stringify(last));
    }
  } catch {
    // Without storage, only a reload right after a change forgets it.
  }
}

// The long state of this address, if the page was loaded again before the address named it; otherwise null.
function readLast() {
  try {
    const { href, state } = JSON.parse(sessionStorage.getItem(LAST)) ?? {};
    const isReload = performance.getEntriesByType("navigation")[0]?.type === "reload";
    return isReload && href === location.href ? state : null;
  } catch {
    return null;
  }
}

async function readAddress() {
  const path = currentPath();
  const id = new URLSearchParams(location.search).get("v");
  // The entry of the history knows the state, also before the server has it.
  const kept = history.state?.state;
  if (kept !== undefined) {
    place.set({ path, state: complete(kept) });
  } else if (id === null) {
    place.set({ path, state: readState(location.search) });
  } else {
    place.set({ path, state: await fetchState(id) });
  }
}

async function fetchState(id) {
  try {
    const { state } = await getPath(`api/states?id=${encodeURIComponent(id)}`);
    return complete(state);
  } catch (error) {
    stateError.set(`the view ${JSON.stringify(id)} cannot be opened: ${error.message}`);
    return complete({});
  }
}

function currentPath() {
  const base = new URL("./", document.baseURI).pathname;
  return decodeURIComponent(location.pathname.slice(base.length)).replace(/\/+$/, "");
}
