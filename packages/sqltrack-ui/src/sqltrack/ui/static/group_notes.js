/** What a chart of groups says about its numbers: the band, and which runs and values count. */

import { formatNumber, formatPlural } from "./format.js";

/** Names of the bands in lists. */
export const BANDS = { std: "± std", sem: "± std error", ci: "± 95 % CI", minmax: "min to max" };

const BAND_TEXTS = {
  std: "standard deviation",
  sem: "standard error of the mean",
  ci: "95 % confidence interval of the mean (Student's t)",
  minmax: "range from the smallest to the largest value",
};
/** Ids of runs that are named. */
const NAMED = 5;

/** Return half the width of a band as text, with two digits. */
export function formatHalf(half) {
  return formatNumber(Number(half.toPrecision(2)));
}

/** Return the spread of a point as text: "± 0.012, n = 5", or "0.1 to 0.3, n = 5" for the range. */
export function spreadText({ low, high, n }, band) {
  const count = `n = ${n}`;
  if (n === 1) {
    return count;
  }
  const width =
    band === "minmax" ? `${formatNumber(low)} to ${formatNumber(high)}` : `± ${formatHalf((high - low) / 2)}`;
  return `${width}, ${count}`;
}

/** Return the smallest and the largest n of groups as text: "5", or "3 to 5"; "" without points. */
export function rangeOfN(groups) {
  const numbers = groups.flatMap(({ n }) => n);
  if (numbers.length === 0) {
    return "";
  }
  const [least, most] = numbers.reduce(
    ([low, high], n) => [Math.min(low, n), Math.max(high, n)],
    [numbers[0], numbers[0]],
  );
  return least === most ? `${least}` : `${least} to ${most}`;
}

/**
 * Return sentences about the groups of one metric, "" without groups.
 *
 * @param {object[]} groups groups in an answer of the query `curves`
 * @param {{x: string, metric: string, smoothing: number}} view name of the x axis, of the metric, and the smoothing
 */
export function groupNote(groups, { x, metric, smoothing }) {
  if (groups.length === 0) {
    return "";
  }
  return [
    `Mean and ${BAND_TEXTS[groups[0].band]}.`,
    smoothing > 0 ? "Each run is smoothed before." : "",
    sayEnds(groups, x),
    saySingle(groups),
    sayBins(groups, x),
    sayLeftOut(groups),
    sayMissing(groups, metric),
    sayJoined(groups),
    sayResumed(groups),
  ]
    .filter(Boolean)
    .join(" ");
}

function sayEnds(groups, x) {
  const uneven = groups.filter(({ ends }) => ends[0] < ends[1]);
  if (uneven.length === 0) {
    return "";
  }
  const first = Math.min(...uneven.map(({ ends }) => ends[0]));
  const last = Math.max(...uneven.map(({ ends }) => ends[1]));
  return `The curves end between ${x} ${formatNumber(first)} and ${formatNumber(last)}; the mean counts those that have a value, n says how many.`;
}

function saySingle(groups) {
  const number = groups.filter((group) => group.n_runs === 1).length;
  return number === 0 ? "" : `Groups of a single run have no band: ${number}.`;
}

function sayBins(groups, x) {
  const widths = groups.map((group) => group.bin).filter((width) => width !== null);
  return widths.length === 0
    ? ""
    : `The runs were logged at different places of ${x}; their values are averaged in bins of ${formatNumber(Math.max(...widths))}.`;
}

function sayLeftOut(groups) {
  const number = groups.reduce((sum, group) => sum + group.left_out, 0);
  return number === 0 ? "" : `NaN and infinite values do not count: ${number}.`;
}

function sayMissing(groups, metric) {
  const ids = groups.flatMap((group) => group.without);
  return ids.length === 0 ? "" : `Without a value of ${metric}: ${nameRuns(ids)}.`;
}

function sayJoined(groups) {
  const number = groups.reduce((sum, group) => sum + group.joined, 0);
  return number === 0 ? "" : `Resumed runs are joined and count once: ${formatPlural(number, "curve")}.`;
}

function sayResumed(groups) {
  const ids = groups.flatMap((group) => group.resumed);
  return ids.length === 0
    ? ""
    : `Runs that resume another run of their group count separately, unless you select "join resumed": ${nameRuns(ids)}.`;
}

function nameRuns(ids) {
  const shown = ids.slice(0, NAMED).join(", ");
  const rest = ids.length > NAMED ? ` and ${ids.length - NAMED} more` : "";
  return `${ids.length === 1 ? "run" : "runs"} ${shown}${rest}`;
}
