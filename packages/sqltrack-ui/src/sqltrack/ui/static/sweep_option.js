/** Options of the charts of a sweep: parallel coordinates, and one argument against the metric. */
import { positionOf } from "./sweep_data.js";

/** Part of the distance between two places on an axis that points of equal runs are moved apart. */
const SPREAD = 0.3;
const SPREAD_STEPS = 7;
/** Characters of a tick label that make the axis one of words. */
const CHARACTER = 6.6;

/** Return the number of a tick in a list of ticks, -1 if it is none of them. */
function findTick(ticks, position) {
  return ticks.findIndex((tick) => Math.abs(tick - position) <= 1e-9 * Math.max(1, Math.abs(tick)));
}

function buildAxis(axis, colors) {
  return {
    type: "value",
    min: axis.extent[0],
    max: axis.extent[1],
    axisLine: { show: true, onZero: false, lineStyle: { color: colors.border } },
    axisTick: { show: true, customValues: axis.ticks, lineStyle: { color: colors.border } },
    axisLabel: {
      customValues: axis.ticks,
      formatter: (position) => axis.labels[findTick(axis.ticks, position)] ?? "",
      color: colors.muted,
      fontSize: 11,
      hideOverlap: true,
    },
  };
}

function nameOf(axis) {
  return axis.isLog ? `${axis.name}, log` : axis.name;
}

/** Pixels around the axes of parallel coordinates, for names and labels. */
export const PARALLEL_MARGINS = Object.freeze({ left: 64, right: 84, top: 38, bottom: 18 });

/**
 * Build the options of the axes of parallel coordinates; the lines are drawn by `drawLines`.
 *
 * @param {object[]} axes the axes, see `makeAxes`
 * @param {object} colors CSS colors: `text`, `muted`, `border`, `surface`
 */
export function buildParallelAxes(axes, colors) {
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif", color: colors.muted },
    parallel: { ...PARALLEL_MARGINS },
    parallelAxis: axes.map((axis, dim) => ({
      ...withPlates(buildAxis(axis, colors), colors),
      dim,
      name: nameOf(axis),
      nameTextStyle: { color: colors.text, fontSize: 12, fontWeight: axis.isMetric ? "bold" : "normal" },
      nameGap: 12,
      nameTruncate: { maxWidth: 110 },
    })),
    // Without a series there are no axes.
    series: [{ type: "parallel", silent: true, data: [] }],
  };
}

// Labels are above the lines, which would hide them.
function withPlates(axis, colors) {
  return { ...axis, axisLabel: { ...axis.axisLabel, backgroundColor: colors.surface, padding: [1, 3] } };
}

/**
 * Place runs as points: [{run, x, y}] in positions; runs without a value on an axis are left out.
 *
 * On an axis of words, points are moved apart a little, each run always in the same way.
 */
export function placePoints(runs, x, y) {
  return runs
    .map((run) => ({ run, x: spread(x, run, SPREAD), y: spread(y, run, SPREAD) }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
}

/** Return the position of a run on an axis; on one of words, runs are moved apart by a part of the distance. */
export function spread(axis, run, width) {
  const position = positionOf(axis, run);
  const step = (run.id * 3) % SPREAD_STEPS;
  return axis.kind === "places" ? position + (step / (SPREAD_STEPS - 1) - 0.5) * width : position;
}

/**
 * Build the options of a scatter chart.
 *
 * @param {object[]} points result of `placePoints`
 * @param {object} x the axis of the argument
 * @param {object} y the axis of the metric
 * @param {function(object): string} colorOf gives a run its color
 * @param {{selected: Set<number>, shown: Set<number>}} ids runs that stand out, and runs that are not faint
 * @param {object} colors CSS colors: `text`, `muted`, `border`, `surface`
 */
export function buildScatter(points, x, y, colorOf, { selected, shown }, colors) {
  const data = points.map(({ run, x: px, y: py }) => ({
    value: [px, py],
    symbolSize: selected.has(run.id) ? 13 : 9,
    itemStyle: {
      color: colorOf(run),
      opacity: shown.has(run.id) ? 0.9 : 0.1,
      borderColor: selected.has(run.id) ? colors.text : colors.surface,
      borderWidth: selected.has(run.id) ? 2 : 1,
    },
  }));
  const left = 14 + CHARACTER * Math.max(2, ...y.labels.map((label) => label.length));
  const line = { splitLine: { show: true, lineStyle: { color: colors.border, opacity: 0.45 } } };
  const title = { nameLocation: "middle", nameGap: 24, nameTextStyle: { color: colors.muted, fontSize: 12 } };
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif", color: colors.muted },
    grid: { left, right: 18, top: 14, bottom: 42 },
    xAxis: { ...buildAxis(x, colors), ...line, ...title, name: nameOf(x) },
    yAxis: { ...buildAxis(y, colors), ...line },
    series: [{ type: "scatter", silent: true, animation: false, data }],
  };
}
