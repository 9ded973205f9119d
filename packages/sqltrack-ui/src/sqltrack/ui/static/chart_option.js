/** From curves to the options of an ECharts chart: positions on the axes, extents, series. */

import { findTicks, labelTicks, makeScale, padExtent } from "./scales.js";

// Of more curves, dashes and strong lines would be clutter, and slow to draw; the highlight tells curves apart there.
const MOST_STRONG_LINES = 24;
// The positions of curves that were drawn last: they do not depend on the range, so a zoom takes them again.
const lastPlaced = new WeakMap();
const MARK_LABELS = { NaN: "NaN", Infinity: "∞", "-Infinity": "-∞" };

/**
 * Turn the curves of a chart into positions on its axes.
 *
 * @param {object[]} lines curves with `x`, `y`, `smooth` (or null), `marks`, `color`, `dash`, `isFaint` (members of a
 *   group), `isDashNeeded` (whether the dash is drawn however many curves there are)
 * @param {object[]} bands groups with `x`, `mean`, `low`, `high`, `n`, `color`, `dash`
 * @param {{name: string, log: boolean, range: number[]|null}} x the x axis; the range is in its own units
 * @param {{name: string, log: boolean}} y the y axis
 * @returns {object} lines and bands with positions, both scales, both extents in positions, and in `hidden` the number
 *   of points that a logarithmic axis cannot show
 */
export function placeCurves(lines, bands, x, y) {
  const [scaleX, scaleY] = [makeScale(x.log), makeScale(y.log)];
  const placed = lines.map((line) => placeOnce(line, scaleX, scaleY));
  const placedBands = bands.map((band) => placeBand(band, scaleX, scaleY));
  const everything = [...placed, ...placedBands];
  const extentX = x.range ? x.range.map(scaleX.to) : findExtent(everything.map((item) => item.ax));
  if (!(extentX[0] < extentX[1])) extentX.splice(0, 2, ...padExtent(extentX[0], extentX[1], 0.5));
  const extentY = findExtent(everything.flatMap((item) => findShown(item, extentX)));
  const hidden = everything.reduce((sum, item) => sum + item.hidden, 0);
  return { lines: placed, bands: placedBands, scaleX, scaleY, extentX, extentY: padExtent(...extentY, 0.05), hidden };
}

function placeOnce(line, scaleX, scaleY) {
  const axes = `${scaleX.log} ${scaleY.log}`;
  if (lastPlaced.get(line)?.axes !== axes) {
    lastPlaced.set(line, { axes, placed: placeLine(line, scaleX, scaleY) });
  }
  return lastPlaced.get(line).placed;
}

function placeLine(line, scaleX, scaleY) {
  const kept = [];
  const size = line.x.length;
  for (let index = 0; index < size; index += 1) {
    if (Number.isFinite(scaleX.to(line.x[index])) && Number.isFinite(scaleY.to(line.y[index]))) kept.push(index);
  }
  const take = (values, scale) => {
    const positions = new Float64Array(kept.length);
    kept.forEach((index, place) => {
      positions[place] = scale.to(values[index]);
    });
    return positions;
  };
  const ax = take(line.x, scaleX);
  return {
    ...line,
    kept,
    hidden: size - kept.length,
    ax,
    isSorted: ax.every((position, index) => index === 0 || position >= ax[index - 1]),
    ay: take(line.y, scaleY),
    as: line.smooth ? take(line.smooth, scaleY) : null,
  };
}

function placeBand(band, scaleX, scaleY) {
  const kept = [...band.x.keys()].filter(
    (index) => Number.isFinite(scaleX.to(band.x[index])) && Number.isFinite(scaleY.to(band.mean[index])),
  );
  const ay = Float64Array.from(kept, (index) => scaleY.to(band.mean[index]));
  const edge = (values) => Float64Array.from(kept, (index) => scaleY.to(values[index]));
  return {
    ...band,
    kept,
    hidden: band.x.length - kept.length,
    ax: Float64Array.from(kept, (index) => scaleX.to(band.x[index])),
    isSorted: true,
    ay,
    as: null,
    alow: edge(band.low),
    ahigh: edge(band.high),
  };
}

function findExtent(arrays) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const array of arrays) {
    for (const value of array) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}

// The positions on y within the extent of x, with those where the curve enters and leaves.
function findShown({ ax, ay, as, alow, ahigh, isSorted }, [low, high]) {
  const inside = (values) => {
    if (!isSorted)
      return values.filter((value, index) => Number.isFinite(value) && ax[index] >= low && ax[index] <= high);
    const first = findFirst(ax, (position) => position >= low);
    if (first === ax.length) return [];
    const end = findFirst(ax, (position) => position > high);
    const shown = Array.from(values.subarray(first, end));
    if (first > 0) shown.push(interpolate(ax, values, first, low));
    if (end > 0 && end < ax.length) shown.push(interpolate(ax, values, end, high));
    return shown.filter(Number.isFinite);
  };
  return [ay, as, alow, ahigh].filter(Boolean).map(inside);
}

function interpolate(ax, values, index, at) {
  const part = (at - ax[index - 1]) / (ax[index] - ax[index - 1]);
  return values[index - 1] + part * (values[index] - values[index - 1]);
}

/**
 * Build the options of a chart.
 *
 * @param {object} placed result of `placeCurves`
 * @param {{x: string, y: string}} names names of the axes; y is shown only where a title is missing
 * @param {object} colors CSS colors: `text`, `muted`, `border`, `surface`
 * @param {{width: number, height: number}} size size in pixels
 */
export function buildOption(placed, names, colors, size) {
  const xTicks = findTicks(placed.scaleX, placed.extentX, Math.max(2, Math.floor(size.width / 75)));
  const yTicks = findTicks(placed.scaleY, placed.extentY, Math.max(3, Math.floor(size.height / 45)));
  const yLabels = labelTicks(placed.scaleY, yTicks);
  const left = 14 + 6.6 * Math.max(2, ...yLabels.map((label) => label.length));
  const isStrong = placed.lines.length <= MOST_STRONG_LINES;
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif", color: colors.muted },
    grid: { left, right: 14, top: 12, bottom: 40 },
    xAxis: {
      ...buildAxis(placed.extentX, xTicks, labelTicks(placed.scaleX, xTicks), colors),
      ...nameBelow(names.x, colors),
    },
    yAxis: buildAxis(placed.extentY, yTicks, yLabels, colors),
    series: [
      ...placed.bands.flatMap((band) => buildBand(band, placed.extentX, placed.extentY[0])),
      ...placed.lines.flatMap((line) => buildLine(line, placed.extentX, isStrong)),
      ...buildMarks(placed, colors),
    ],
  };
}

const nameBelow = (name, colors) => ({
  name,
  nameLocation: "middle",
  nameGap: 24,
  nameTextStyle: { color: colors.muted, fontSize: 12 },
});

function buildAxis([min, max], ticks, labels, colors) {
  return {
    type: "value",
    min,
    max,
    axisLine: { show: true, onZero: false, lineStyle: { color: colors.border } },
    axisTick: { show: true, customValues: ticks, lineStyle: { color: colors.border } },
    axisLabel: {
      customValues: ticks,
      formatter: (position) => labels[findSame(ticks, position)] ?? "",
      color: colors.muted,
      fontSize: 11,
      hideOverlap: true,
    },
    splitLine: { show: true, lineStyle: { color: colors.border, opacity: 0.45 } },
  };
}

const findSame = (ticks, position) => ticks.findIndex((tick) => Math.abs(tick - position) <= Math.abs(tick) * 1e-9);

function buildLine(line, extentX, isStrong) {
  const base = {
    type: "line",
    dimensions: ["x", "y"],
    zlevel: 1,
    silent: true,
    animation: false,
    symbol: "circle",
    symbolSize: 5,
    showSymbol: line.ax.length === 1,
    emphasis: { disabled: true },
    itemStyle: { color: line.color },
  };
  const style = {
    color: line.color,
    width: isStrong ? 1.6 : 1,
    type: (isStrong || line.isDashNeeded) && line.dash?.length ? line.dash : "solid",
  };
  const [first, end] = findWindow(line, extentX);
  const cut = (ys) => interleave(line.ax.subarray(first, end), ys.subarray(first, end));
  const raw = cut(line.ay);
  if (line.isFaint) {
    const data = line.as ? cut(line.as) : raw;
    return [{ ...base, data, lineStyle: { ...style, width: 1, opacity: 0.35 } }];
  }
  if (!line.as) return [{ ...base, data: raw, lineStyle: style }];
  return [
    { ...base, data: raw, lineStyle: { color: line.color, width: 1, opacity: 0.22 } },
    { ...base, data: cut(line.as), z: 3, lineStyle: style },
  ];
}

/** Indices of the points to draw, the end excluded: those within the extent, and one next to them on each side. */
export function findWindow({ ax, isSorted }, [low, high]) {
  if (!isSorted) return [0, ax.length];
  return [
    Math.max(0, findFirst(ax, (position) => position >= low) - 1),
    findFirst(ax, (position) => position > high) + 1,
  ];
}

// Index of the first item that meets a condition, which all after it meet; the length if there is none.
function findFirst(values, meets) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (meets(values[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

// One flat array, which ECharts reads without a copy for each point.
function interleave(xs, ys) {
  const points = new Float64Array(2 * xs.length);
  for (let index = 0; index < xs.length; index += 1) {
    points[2 * index] = xs[index];
    points[2 * index + 1] = ys[index];
  }
  return points;
}

function buildBand(band, extentX, floor) {
  const area = {
    type: "custom",
    zlevel: 1,
    silent: true,
    animation: false,
    clip: true,
    // One polygon for the whole band, drawn with its first item.
    renderItem: (params, api) =>
      params.dataIndex === 0
        ? { type: "polygon", shape: { points: outline(band, floor, api) }, style: { fill: band.color, opacity: 0.16 } }
        : undefined,
    dimensions: ["x", "y"],
    data: interleave(band.ax, band.ay),
  };
  return [area, ...buildLine({ ...band, smooth: null }, extentX, true)];
}

// A low end that a logarithmic axis cannot show is below the chart.
function outline({ ax, alow, ahigh }, floor, api) {
  const upper = Array.from(ax, (x, index) => api.coord([x, ahigh[index]]));
  const lower = Array.from(ax, (x, index) => api.coord([x, Number.isFinite(alow[index]) ? alow[index] : floor]));
  return [...upper, ...lower.reverse()];
}

// NaN and -Infinity at the foot of the chart, Infinity at its head.
function buildMarks({ lines, scaleX, extentX, extentY }, colors) {
  const places = { NaN: extentY[0], "-Infinity": extentY[0], Infinity: extentY[1] };
  const data = lines.flatMap((line) =>
    line.marks
      .map((mark) => ({ position: scaleX.to(mark.x), mark, color: line.color }))
      .filter(({ position }) => position >= extentX[0] && position <= extentX[1])
      .map(({ position, mark, color }) => ({
        value: [position, places[mark.value]],
        symbol: mark.value === "NaN" ? "diamond" : "triangle",
        symbolRotate: mark.value === "-Infinity" ? 180 : 0,
        symbolOffset: [0, mark.value === "Infinity" ? "60%" : "-60%"],
        itemStyle: { color, borderColor: colors.surface, borderWidth: 1 },
        label: { formatter: MARK_LABELS[mark.value] },
      })),
  );
  if (!data.length) return [];
  const label = { show: data.length <= 12, position: "right", fontSize: 10, color: colors.text };
  return [
    {
      type: "scatter",
      zlevel: 2,
      silent: true,
      animation: false,
      symbolSize: 10,
      clip: false,
      data,
      label,
      labelLayout: { hideOverlap: true },
    },
  ];
}
