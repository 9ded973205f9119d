/** The scatter chart of a sweep as a figure for a paper. */
import { decode, formatValue } from "./format.js";
import { styleAt } from "./palette.js";
import { partOf, positionOf, rampColor } from "./sweep_data.js";

const MISSING = "#999999";
const RAMP_STEPS = 24;
/** Places of words are at 0, 1, 2, … */
const HALF = 0.5;

/**
 * Return a scatter chart for `useFigure`.
 *
 * @param {object[]} runs the runs to draw
 * @param {{x: object, y: object, color: object|undefined}} axes axes of `makeAxes`
 * @param {object} filter the filter of the view
 * @param {boolean} isWhole whether these are all runs that pass the filter
 */
export function figureOf(runs, { x, y, color }, filter, isWhole) {
  const placed = runs.filter((run) => [x, y].every((axis) => !Number.isNaN(positionOf(axis, run))));
  // The height shows the metric already.
  const colored = color && color.id !== y.id ? color : undefined;
  const ids = { facets: [], where: null, search: null, ids: placed.map(({ id }) => id) };
  return {
    title: `${y.name} against ${x.name}`,
    yName: y.name,
    x: { name: x.name, kind: "number", log: x.isLog, ...placesOf(x) },
    y: { log: y.isLog },
    lines: [],
    bands: [],
    dots: seriesOf(placed, x, y, colored),
    ramp: colored?.kind === "number" ? rampOf(colored) : null,
    python: {
      kind: "scatter",
      filter: isWhole ? filter : ids,
      x: x.column,
      y: y.column,
      color: colored?.column ?? null,
      color_log: Boolean(colored?.isLog),
    },
  };
}

function placesOf(axis) {
  if (axis.kind !== "places") {
    return { range: null };
  }
  const places = axis.values.map((value, at) => ({ at, label: formatValue(value) || "none" }));
  return { range: [-HALF, axis.values.length - HALF], places };
}

const coordinate = (axis, run) => (axis.kind === "places" ? positionOf(axis, run) : Number(decode(axis.read(run))));

function seriesOf(runs, x, y, color) {
  const make = (members, name, more) => ({
    name,
    x: members.map((run) => coordinate(x, run)),
    y: members.map((run) => coordinate(y, run)),
    ...more,
  });
  if (color?.kind !== "places") {
    const colors = color && runs.map((run) => rampAt(color, positionOf(color, run)));
    return [make(runs, "", { color: styleAt(0, "light").color, colors })];
  }
  const groups = Map.groupBy(runs, (run) => positionOf(color, run));
  const known = [...groups.keys()].filter((place) => !Number.isNaN(place)).sort((one, other) => one - other);
  const series = known.map((place) =>
    make(groups.get(place), formatValue(color.values[place]) || "none", styleAt(place, "light")),
  );
  const others = groups.get(Number.NaN);
  return others ? [...series, make(others, "none", { color: MISSING })] : series;
}

function rampAt(axis, position) {
  if (Number.isNaN(position)) {
    return MISSING;
  }
  const [low, high] = axis.span;
  return rampColor(partOf(axis, (position - low) / (high - low || 1)), "light");
}

function rampOf(axis) {
  const [low, high] = axis.span;
  const at = (step) => low + (step / (RAMP_STEPS - 1)) * (high - low);
  const colors = Array.from({ length: RAMP_STEPS }, (_, step) => rampAt(axis, at(step)));
  return { name: axis.name, ends: axis.span.map((end) => axis.scale.from(end)), colors };
}
