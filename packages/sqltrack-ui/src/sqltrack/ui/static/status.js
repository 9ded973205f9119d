/** Statuses of runs with their symbols and colors, which the server tells (see sqltrack.statuses). */

import { useSignal } from "./signal.js";
import { scheme } from "./theme.js";
import { html, useMemo } from "./vendor/htm/standalone.module.js";

const OTHER = { name: "other", symbol: "•", light: "currentcolor", dark: "currentcolor", states: [] };
// Shows a symbol as text, not as an emoji.
const AS_TEXT = "\ufe0e";

let groups = [];

/** Set the groups of statuses, as `about` answers them. */
export function setStatusGroups(known = []) {
  groups = known;
}

/** Return the group of a status: {name, symbol, light, dark, states}. */
export function findGroup(status) {
  const [state] = String(status ?? "")
    .trim()
    .toUpperCase()
    .split(/\s+/);
  return groups.find(({ states }) => states.includes(state)) ?? OTHER;
}

/** Return the color of a status in a scheme. */
export function statusColor(status, shown = scheme.get()) {
  return findGroup(status)[shown];
}

/** Show a status with its symbol in its color; `count` runs have it, if given. */
export function Status({ status, count }) {
  const shown = useSignal(scheme);
  const group = useMemo(() => findGroup(status), [status]);
  const style = { color: group[shown] };
  return html`<span class="status" style=${style}
    ><span class="symbol" aria-hidden="true">${group.symbol}${AS_TEXT}</span>${status}${count !== undefined && html` <span class="number">${count}</span>`}</span
  >`;
}
