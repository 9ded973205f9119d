/** The values of a sweep as axes: positions, ranges that let runs pass, and colors. */
import { columnId } from "./address.js";
import { columnText } from "./column_names.js";
import { decode, formatNumber, formatValue, isMissing } from "./format.js";
import { styleAt } from "./palette.js";
import { findTicks, labelTicks, makeScale, padExtent } from "./scales.js";

/** Different numbers that are all shown as ticks. */
const FEW_TICKS = 6;
const TICKS = 5;
const LONGEST_LABEL = 14;
const PADDING = 0.04;
const EXPERIMENT = ["experiment", "name"];

/** Different colors of a ramp; more would be slower to draw, and look the same. */
const SHADES = 40;
/** Colors from low to high, of which the high end stands out. Their lightness changes evenly, for color-blind readers. */
const RAMPS = {
  light: ["#d3a13a", "#c8684f", "#93407a", "#3b2a78"],
  dark: ["#5d4fc0", "#b9559a", "#f2935f", "#ffe9a0"],
};

/**
 * Return the axes of an answer: the arguments, the metric, and the experiment if there are several.
 *
 * @param {object} answer that of the query `sweep`
 * @param {string[]} flipped ids of columns whose axis is logarithmic although it would not be, or the other way around
 * @returns {object[]} axes with `column`, `id`, `name`, `kind` ("number" or "places"), `isLog`, `isMetric`, `isSeed`,
 *   `better` (of the metric), `read` (the value of a run), `scale` and `span` (from the least to the largest position) or `places`, `extent`, and `ticks` with `labels`
 */
export function makeAxes(answer, flipped) {
  const { arguments: known, metric, runs, experiments } = answer;
  const ofArguments = known
    .map((argument, index) => ({ ...argument, read: (run) => run.values[index] }))
    .filter(({ kind, values }) => kind === "number" || values !== null);
  const names = [...new Set(runs.map(({ experiment }) => experiment))].sort();
  const all = [
    ...ofArguments,
    ...(experiments > 1 ? [{ column: EXPERIMENT, kind: "text", values: names, read: (run) => run.experiment }] : []),
    ...(metric
      ? [{ column: metric.column, kind: "number", isMetric: true, better: metric.better, read: (run) => run.value }]
      : []),
  ];
  return all.map((item) => makeAxis(item, runs, flipped.includes(columnId(item.column))));
}

function makeAxis(
  { column, kind, values, is_log: suitsLog, is_seed: isSeed, isMetric = false, better, read },
  runs,
  isFlipped,
) {
  const base = { column, id: columnId(column), name: nameOf(column), isMetric, isSeed: Boolean(isSeed), better, read };
  if (kind !== "number") {
    return { ...base, kind: "places", isLog: false, ...makePlaces(values) };
  }
  const isLog = Boolean(suitsLog) !== isFlipped;
  const scale = makeScale(isLog);
  const positions = runs.map((run) => scale.to(toNumber(read(run)))).filter(Number.isFinite);
  const span = [least(positions), -least(positions.map((position) => -position))];
  const extent = padExtent(...span, PADDING);
  const different = [...new Set(positions)].sort((a, b) => a - b);
  const ticks = different.length <= FEW_TICKS ? different : findTicks(scale, extent, TICKS);
  const labels =
    different.length <= FEW_TICKS
      ? ticks.map((tick) => formatNumber(Number(scale.from(tick).toPrecision(12))))
      : labelTicks(scale, ticks);
  return { ...base, kind: "number", isLog, scale, span, extent, ticks, labels };
}

// Most axes are arguments, so that there is no need to say so.
function nameOf(column) {
  return column[0] === "args" ? column.slice(1).join(".") : columnText(column);
}

function makePlaces(values) {
  const places = new Map(values.map((value, index) => [JSON.stringify(value), index]));
  const labels = values.map((value) => shorten(formatValue(value) || '""'));
  return { values, places, extent: [-0.5, Math.max(values.length, 1) - 0.5], ticks: [...values.keys()], labels };
}

function shorten(text) {
  return text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1)}…` : text;
}

// Not Math.min(...values), which fails with many values.
function least(values) {
  return values.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
}

function toNumber(value) {
  const number = decode(value);
  return typeof number === "number" || typeof number === "bigint" ? Number(number) : Number.NaN;
}

/** Return the position of a run on an axis, NaN if it has none there. */
export function positionOf(axis, run) {
  const value = axis.read(run);
  if (isMissing(value)) {
    return Number.NaN;
  }
  return axis.kind === "places"
    ? (axis.places.get(JSON.stringify(value)) ?? Number.NaN)
    : finite(axis.scale.to(toNumber(value)));
}

function finite(position) {
  return Number.isFinite(position) ? position : Number.NaN;
}

/** Return the runs that pass all ranges: {column, low, high} for numbers, {column, values} for others. */
export function passing(runs, axes, ranges) {
  const tests = ranges.flatMap((range) => {
    const axis = axes.find(({ id }) => id === columnId(range.column));
    return axis === undefined ? [] : [makeTest(axis, range)];
  });
  return runs.filter((run) => tests.every((test) => test(run)));
}

function makeTest(axis, { low, high, values }) {
  if (axis.kind === "places") {
    const wanted = new Set((values ?? []).map((value) => JSON.stringify(value)));
    return (run) => wanted.has(JSON.stringify(axis.read(run)));
  }
  return (run) => {
    const number = toNumber(axis.read(run));
    return number >= (low ?? Number.NEGATIVE_INFINITY) && number <= (high ?? Number.POSITIVE_INFINITY);
  };
}

/** Return the range of an axis for two positions, null if it lets no value pass. */
export function rangeOf(axis, [low, high]) {
  if (axis.kind === "places") {
    const values = axis.values.filter((_, index) => index >= low && index <= high);
    return values.length === 0 ? null : { column: axis.column, values };
  }
  const [first, last] = [low, high].map((position) => Number(axis.scale.from(position).toPrecision(6)));
  return { column: axis.column, low: first, high: last };
}

/** Return the two positions of a range, null if it has none on the axis. */
export function positionsOf(axis, range) {
  if (axis.kind === "places") {
    const found = (range.values ?? []).map((value) => axis.places.get(JSON.stringify(value))).filter((at) => at >= 0);
    return found.length === 0 ? null : [Math.min(...found) - 0.4, Math.max(...found) + 0.4];
  }
  const low = finite(axis.scale.to(range.low ?? Number.NaN));
  const high = finite(axis.scale.to(range.high ?? Number.NaN));
  return [Number.isNaN(low) ? axis.extent[0] : low, Number.isNaN(high) ? axis.extent[1] : high];
}

/** Return a range as text: "lr = 0.1 to 1". */
export function rangeText(axis, { low, high, values }) {
  if (axis.kind === "places") {
    return `${axis.name} = ${values.map((value) => formatValue(value) || '""').join(" or ")}`;
  }
  const ends = [low, high].map((end) => (end === undefined || end === null ? null : formatNumber(end)));
  if (ends[0] === null || ends[1] === null) {
    return ends[0] === null ? `${axis.name} ≤ ${ends[1]}` : `${axis.name} ≥ ${ends[0]}`;
  }
  return `${axis.name} = ${ends[0]} to ${ends[1]}`;
}

/**
 * Return a function that gives a run its color by an axis, `missing` for runs without a place there.
 *
 * Good values of the metric stand out, large or small.
 */
export function makeColors(axis, scheme, missing) {
  if (axis === undefined) {
    return () => missing;
  }
  return (run) => {
    const position = positionOf(axis, run);
    if (Number.isNaN(position)) {
      return missing;
    }
    if (axis.kind === "places") {
      return styleAt(position, scheme).color;
    }
    const [low, high] = axis.span;
    return rampColor(partOf(axis, (position - low) / (high - low || 1)), scheme);
  };
}

/** Return the part of the ramp for a part of an axis: the other way around if small values are good. */
export function partOf(axis, part) {
  return axis.better === "min" ? 1 - part : part;
}

/** Return the color of a number from 0 (low) to 1 (high), as hexadecimal digits. */
export function rampColor(part, scheme) {
  const ramp = RAMPS[scheme] ?? RAMPS.light;
  const at = (Math.round(Math.min(1, Math.max(0, part)) * SHADES) / SHADES) * (ramp.length - 1);
  const index = Math.min(ramp.length - 2, Math.floor(at));
  const mix = at - index;
  const [from, to] = [channels(ramp[index]), channels(ramp[index + 1])];
  const mixed = from.map((channel, place) => Math.round(channel + (to[place] - channel) * mix));
  return `#${mixed.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}

function channels(color) {
  return [1, 3, 5].map((start) => Number.parseInt(color.slice(start, start + 2), 16));
}
