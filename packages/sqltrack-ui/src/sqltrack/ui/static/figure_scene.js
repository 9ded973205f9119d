/** Lay out a figure for print: from curves and sizes to lines, dots and texts in points (1/72 inch). */

import { placeCurves } from "./chart_option.js";
import { measureText, splitFaces } from "./figure_fonts.js";
import { escapeLabel, numberLabel, parseLabel } from "./figure_text.js";
import { formatNumber } from "./format.js";
import { findTicks, labelTicks, padExtent } from "./scales.js";

export const POINTS_PER_CM = 72 / 2.54;
const INK = "#000000";
const GRID = "#d9d9d9";
const FRAME_WIDTH = 0.6;
const TICK = 2.5;
const BAND_OPACITY = 0.16;
const RAW_OPACITY = 0.25;
const DOT_MARGIN = 0.04;
/** Points on paper for a pixel of a dash on the page. */
const ON_PAPER = 0.6;
/** The size of the legend, and distances, as parts of the size of the font. */
const LEGEND_SIZE = 0.9;
const LINE_HEIGHT = 1.25;
const SAMPLE = 2.2;
/** The part of a font above the baseline, and half the height of a digit. */
const ASCENT = 0.75;
const HALF_DIGIT = 0.34;
const DASHES = [[], [4, 1.5], [1, 1.2], [5, 1.5, 1, 1.5], [2.5, 1.5], [8, 2]];
const CORNERS = ["upper right", "upper left", "lower right", "lower left"];

/**
 * Lay out a figure.
 *
 * @param {object} chart `lines`, `bands` (see `placeCurves`) and `dots` (series with `x`, `y`, `color`, or `colors` of
 *   each dot), all with `name`; axes `x` and `y` with `log`, and `range` of x; `x.places` are ticks with words instead of
 *   numbers (`at`, `label`); `ramp` says what the colors of dots show (`name`, `ends`, `colors`)
 * @param {object} look `width` and `height` in cm, `font`, `size` and `lineWidth` in points, `styles` ("screen", "solid"
 *   or "dashed"), `legend` (a corner, "best", "outside" or null), `xLabel`, `yLabel`, `grid`, `raw`
 * @returns {{width: number, height: number, plot: object, items: object[], legend: string|null}} sizes in points; `legend`
 *   is the place that was chosen for it; items are lines (`points`,
 *   `stroke`, `width`, `dash`, `fill`, `opacity`, `clip`), dots and texts (`pieces` with `x`, `y`, `size`, `face`)
 */
export function buildScene(chart, look) {
  const width = look.width * POINTS_PER_CM;
  const height = look.height * POINTS_PER_CM;
  const dots = (chart.dots ?? []).map((series) => ({ ...series, marks: [], smooth: null, isDots: true }));
  const placed = placeCurves([...chart.lines, ...dots], chart.bands, chart.x, chart.y);
  if (dots.length > 0 && !chart.x.range) {
    // A dot on the frame would be cut.
    placed.extentX = padExtent(...placed.extentX, DOT_MARGIN);
  }
  const series = withDashes([...placed.bands, ...placed.lines], look);
  const entries = look.legend ? listEntries(series, look) : [];
  const outside = look.legend === "outside" && entries.length > 0 ? legendSize(entries, look).width + look.size : 0;
  const ramp = chart.ramp ? setRamp(chart.ramp, look) : null;
  const inner = { width: width - outside - (ramp?.width ?? 0), height };
  const { plot, ticks } = layOut(placed, look, inner, chart.x.places);
  const toX = (at) => plot.left + ((at - placed.extentX[0]) / (placed.extentX[1] - placed.extentX[0])) * plot.width;
  const toY = (at) => plot.top + plot.height * (1 - (at - placed.extentY[0]) / (placed.extentY[1] - placed.extentY[0]));
  const drawn = series.map((item) => ({ ...item, px: map(item.ax, toX), py: map(item.as ?? item.ay, toY) }));
  const items = [
    ...drawGrid(ticks, plot, toX, toY, look),
    ...drawn.flatMap((item) => drawBand(item, toY, plot)),
    ...(look.raw ? drawn.filter((item) => item.as).map((item) => drawRaw(item, toY)) : []),
    ...drawn.filter((item) => item.isFaint).map(drawFaint),
    ...drawn.flatMap((item) => (item.isDots ? drawDots(item, look) : drawLine(item, look))),
    ...drawn.flatMap((item) => drawMarks(item, placed, toX, plot, look)),
    ...drawAxes(ticks, plot, toX, toY, look, inner),
    ...(ramp ? drawRamp(ramp, plot, inner.width, look) : []),
  ];
  const legend = entries.length > 0 ? drawLegend(entries, drawn, plot, width, look) : { items: [], place: null };
  items.push(...legend.items);
  return { width, height, plot, items, legend: legend.place };
}

const map = (values, change) => Float64Array.from(values, change);

/**
 * Return bands and curves, in this order, with the dashes of a figure, in points.
 *
 * @param {object[]} items bands and curves with `dash`
 * @param {object} look `styles` and `lineWidth`, see `buildScene`
 */
export function withDashes(items, look) {
  return items.map((item, index) => {
    // A dash distinguishes curves in a print without colors.
    const dash = { solid: [], dashed: DASHES[index % DASHES.length] }[look.styles] ?? scaled(item.dash, ON_PAPER);
    return { ...item, dash: scaled(dash, Math.max(1, look.lineWidth)) };
  });
}

const scaled = (dash, factor) => (dash ?? []).map((length) => round(length * factor));
const round = (value) => Math.round(value * 100) / 100;

function layOut(placed, look, { width, height }, places) {
  const { size } = look;
  const words = places?.map(({ at, label }) => makeTick(at, escapeLabel(label), look));
  const longest = Math.max(0, ...(words ?? []).map((tick) => tick.width));
  // Words that would overlap are turned.
  const isTurned = words !== undefined && longest > (0.8 * width) / words.length;
  const tickHeight = isTurned ? longest + 0.4 * size : LINE_HEIGHT * size;
  const below = TICK + tickHeight + (look.xLabel ? 1.35 * size : 0.2 * size);
  const plot = { top: 0.7 * size, isTurned };
  plot.height = height - plot.top - below;
  const yTicks = makeTicks(placed.scaleY, placed.extentY, Math.max(3, Math.floor(plot.height / (2.4 * size))), look);
  const widest = Math.max(0, ...yTicks.map((tick) => tick.width));
  plot.left = widest + TICK + 0.35 * size + (look.yLabel ? 1.45 * size : 0.3 * size);
  plot.width = width - plot.left - 0.9 * size;
  const count = Math.max(2, Math.floor(plot.width / (4 * size)));
  const xTicks = words ?? makeTicks(placed.scaleX, placed.extentX, count, look);
  return { plot, ticks: { x: xTicks, y: yTicks } };
}

function makeTicks(scale, extent, count, look) {
  const found = findTicks(scale, extent, count);
  const ends = extent.map(scale.from);
  const isWide = scale.log && found.length > 1 && ends[1] / ends[0] > 1000;
  return labelTicks(scale, found).map((label, index) => {
    const text = isWide ? numberLabel(asPower(scale.from(found[index]))) : numberLabel(label);
    return makeTick(found[index], text, look);
  });
}

function makeTick(at, label, look) {
  const pieces = setText(label, look.size, look);
  return { at, pieces, width: pieces.width };
}

const asPower = (value) => value.toExponential(0).replace("e+", "e");

/** Return the pieces of a label with their places from its left end, and its width. */
function setText(label, size, look) {
  let x = 0;
  const pieces = splitFaces(parseLabel(label), look.font).map((part) => {
    const piece = { text: part.text, face: part.face, size: size * part.scale, x, y: size * part.shift };
    x += measureText(part.text, part.face, piece.size);
    return piece;
  });
  return Object.assign(pieces, { width: x });
}

function textItem(pieces, x, y, turned = false) {
  return {
    kind: "text",
    turned,
    pieces: pieces.map((piece) =>
      turned ? { ...piece, x: x + piece.y, y: y - piece.x } : { ...piece, x: x + piece.x, y: y + piece.y },
    ),
  };
}

const line = (points, stroke, width, more = {}) => ({ kind: "line", points, stroke, width, ...more });

function drawGrid(ticks, plot, toX, toY, look) {
  if (!look.grid) return [];
  const { left, top, width, height } = plot;
  return [
    ...ticks.x.map(({ at }) => line([toX(at), top, toX(at), top + height], GRID, 0.4)),
    ...ticks.y.map(({ at }) => line([left, toY(at), left + width, toY(at)], GRID, 0.4)),
  ];
}

function drawBand(item, toY, plot) {
  if (!item.ahigh) return [];
  // A low end that a logarithmic axis cannot show is below the plot.
  const low = map(item.alow, (at) => (Number.isFinite(at) ? toY(at) : plot.top + plot.height));
  const upper = interleave(item.px, map(item.ahigh, toY));
  const lower = interleave(item.px.toReversed(), low.toReversed());
  const points = [...upper, ...lower];
  return [{ kind: "line", points, fill: item.color, opacity: BAND_OPACITY, clip: true }];
}

function drawRaw(item, toY) {
  return line(interleave(item.px, map(item.ay, toY)), item.color, 0.5, { opacity: RAW_OPACITY, clip: true });
}

// The members of groups.
function drawFaint(item) {
  return line(interleave(item.px, item.py), item.color, 0.5, { opacity: RAW_OPACITY, clip: true });
}

function drawLine(item, look) {
  if (item.isFaint) return [];
  if (item.px.length === 1) {
    return [{ kind: "dot", x: item.px[0], y: item.py[0], radius: 1.2 * look.lineWidth, fill: item.color, clip: true }];
  }
  return [line(interleave(item.px, item.py), item.color, look.lineWidth, { dash: item.dash, clip: true })];
}

function drawDots(item, look) {
  const radius = 1.2 + look.lineWidth / 2;
  return Array.from(item.px, (x, index) => {
    const fill = item.colors?.[item.kept[index]] ?? item.color;
    return { kind: "dot", x, y: item.py[index], radius, fill, opacity: 0.8, clip: true };
  });
}

function interleave(xs, ys) {
  const points = [];
  for (let index = 0; index < xs.length; index += 1) points.push(xs[index], ys[index]);
  return points;
}

// NaN and infinite values: a diamond or a triangle at the edge.
function drawMarks(item, { scaleX, extentX }, toX, plot, look) {
  const r = 0.3 * look.size;
  return (item.marks ?? [])
    .map((mark) => ({ mark, at: scaleX.to(mark.x) }))
    .filter(({ at }) => at >= extentX[0] && at <= extentX[1])
    .map(({ mark, at }) => {
      const x = toX(at);
      const [y, up] = mark.value === "Infinity" ? [plot.top + r, -1] : [plot.top + plot.height - r, 1];
      const points =
        mark.value === "NaN"
          ? [x - r, y, x, y - r, x + r, y, x, y + r]
          : [x - r, y - up * r, x + r, y - up * r, x, y + up * r];
      return { kind: "line", points, fill: item.color };
    });
}

function drawAxes(ticks, plot, toX, toY, look, { width, height }) {
  const { left, top } = plot;
  const [right, bottom] = [left + plot.width, top + plot.height];
  const items = [line([left, top, right, top, right, bottom, left, bottom, left, top], INK, FRAME_WIDTH)];
  for (const { at, pieces } of ticks.x) {
    const x = toX(at);
    items.push(line([x, bottom, x, bottom + TICK], INK, FRAME_WIDTH));
    if (plot.isTurned) {
      items.push(textItem(pieces, x + HALF_DIGIT * look.size, bottom + TICK + 0.3 * look.size + pieces.width, true));
    } else {
      const start = Math.min(x - pieces.width / 2, width - pieces.width);
      items.push(textItem(pieces, start, bottom + TICK + (ASCENT + 0.25) * look.size));
    }
  }
  for (const { at, pieces } of ticks.y) {
    const y = toY(at);
    items.push(line([left - TICK, y, left, y], INK, FRAME_WIDTH));
    items.push(textItem(pieces, left - TICK - 0.3 * look.size - pieces.width, y + HALF_DIGIT * look.size));
  }
  if (look.xLabel) {
    const pieces = setText(look.xLabel, look.size, look);
    items.push(textItem(pieces, left + (plot.width - pieces.width) / 2, height - 0.4 * look.size));
  }
  if (look.yLabel) {
    const pieces = setText(look.yLabel, look.size, look);
    items.push(textItem(pieces, look.size, top + (plot.height + pieces.width) / 2, true));
  }
  return items;
}

function listEntries(series, look) {
  const size = LEGEND_SIZE * look.size;
  return series
    .filter(({ name, isFaint }) => name && !isFaint)
    .map((item) => ({ item, size, pieces: setText(item.label, size, look) }));
}

function legendSize(entries, look) {
  const size = LEGEND_SIZE * look.size;
  const widest = Math.max(...entries.map(({ pieces }) => pieces.width));
  return { width: widest + (SAMPLE + 1.3) * size, height: entries.length * LINE_HEIGHT * size + 0.5 * size };
}

function drawLegend(entries, drawn, plot, width, look) {
  const box = legendSize(entries, look);
  const size = LEGEND_SIZE * look.size;
  const { x, y, name } = placeLegend(look.legend, box, drawn, plot, width, 0.4 * size);
  const items = [];
  if (look.legend !== "outside") {
    const corners = [x, y, x + box.width, y, x + box.width, y + box.height, x, y + box.height];
    items.push({ kind: "line", points: corners, fill: "#ffffff", opacity: 0.8 });
  }
  for (const [index, { item, pieces }] of entries.entries()) {
    const middle = y + (0.25 + LINE_HEIGHT / 2 + index * LINE_HEIGHT) * size;
    const [start, end] = [x + 0.4 * size, x + (0.4 + SAMPLE) * size];
    if (item.isDots) {
      items.push({ kind: "dot", x: (start + end) / 2, y: middle, radius: 1.2 + look.lineWidth / 2, fill: item.color });
    } else {
      items.push(line([start, middle, end, middle], item.color, look.lineWidth, { dash: item.dash }));
    }
    items.push(textItem(pieces, end + 0.5 * size, middle + HALF_DIGIT * size));
  }
  return { items, place: name };
}

function placeLegend(place, box, drawn, plot, width, gap) {
  if (place === "outside") {
    return { x: width - box.width, y: plot.top, name: place };
  }
  const boxes = CORNERS.map((name) => ({
    name,
    x: name.endsWith("left") ? plot.left + gap : plot.left + plot.width - box.width - gap,
    y: name.startsWith("upper") ? plot.top + gap : plot.top + plot.height - box.height - gap,
  }));
  const chosen = boxes.find(({ name }) => name === place);
  if (chosen) return chosen;
  const covered = boxes.map((corner) => countCovered(corner, box, drawn));
  return boxes[covered.indexOf(Math.min(...covered))];
}

// Points of curves beneath a box; those of sparse curves are joined by lines, so that places in between count as well.
function countCovered({ x, y }, box, drawn) {
  let count = 0;
  const look = (px, py) => {
    if (px >= x && px <= x + box.width && py >= y && py <= y + box.height) count += 1;
  };
  for (const { px, py, isDots } of drawn) {
    for (let index = 0; index < px.length; index += 1) {
      look(px[index], py[index]);
      for (let part = 1; part < 4 && index > 0 && !isDots; part += 1) {
        const at = part / 4;
        look(px[index - 1] + at * (px[index] - px[index - 1]), py[index - 1] + at * (py[index] - py[index - 1]));
      }
    }
  }
  return count;
}

function setRamp({ name, ends, colors }, look) {
  const labels = ends.map((end) => setText(numberLabel(formatNumber(Number(end.toPrecision(3)))), look.size, look));
  const title = setText(escapeLabel(name), look.size, look);
  const bar = 0.8 * look.size;
  const widest = Math.max(...labels.map((label) => label.width), 1.2 * look.size);
  return { labels, title, colors, bar, width: bar + widest + 0.9 * look.size };
}

// A bar of all colors on the right, with numbers at its ends.
function drawRamp({ labels, title, colors, bar, width }, plot, left, look) {
  const step = plot.height / colors.length;
  const cells = colors.map((fill, index) => {
    const bottom = plot.top + plot.height - index * step;
    const [right, top] = [left + bar, bottom - step - (index < colors.length - 1 ? 0.2 : 0)];
    return { kind: "line", points: [left, bottom, right, bottom, right, top, left, top], fill };
  });
  const x = left + bar + 0.3 * look.size;
  const middle = plot.top + (plot.height + title.width) / 2;
  return [
    ...cells,
    textItem(labels[0], x, plot.top + plot.height),
    textItem(labels[1], x, plot.top + ASCENT * look.size),
    textItem(title, left + width - 0.6 * look.size, middle, true),
  ];
}
