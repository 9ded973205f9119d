/** The points of a figure: as many as its print can show, in the styles of the chart on the page. */
import { get } from "./api.js";
import { onPaper } from "./palette.js";

const POINTS_PER_PIXEL = 4;
/** Points of a figure. With more, the file would be larger than 500 KB. */
const MOST_POINTS = 40000;
/** Columns per centimeter that a print can show: 300 per inch. */
const COLUMNS_PER_CM = 118;
/** The largest number of columns that the server accepts. */
const MOST_COLUMNS = 10000;

const idOf = (metric, part) => JSON.stringify([metric, part]);

/** Return the number of columns to ask for, so that a figure is as exact as its print and its file not too large. */
export function chooseColumns(series, { width, isRawDrawn = false, most = MOST_POINTS }) {
  const affordable = most / (POINTS_PER_PIXEL * Math.max(1, series) * (isRawDrawn ? 2 : 1));
  return Math.max(20, Math.min(MOST_COLUMNS, Math.floor(Math.min(width * COLUMNS_PER_CM, affordable))));
}

/** Return the number of curves and groups that a chart draws. */
export function countSeries({ lines = [], bands = [], dots = [] }) {
  return lines.length + bands.length + dots.length;
}

/**
 * Ask for the points of a chart.
 *
 * @param {object} chart see `useFigure`
 * @param {number} columns number of columns, see `chooseColumns`
 * @returns {Promise<object>} the chart with these points, and colors for white paper
 */
export async function readChart(chart, columns, signal) {
  if (!chart.query) {
    return {
      ...chart,
      lines: [],
      bands: [],
      dots: chart.dots.map((dots) => ({ ...dots, color: onPaper(dots.color), isDots: true })),
    };
  }
  const metrics = [...new Set([...chart.lines, ...chart.bands].map(({ metric }) => metric))];
  const answer = await get("curves", { ...chart.query, metrics, pixels: columns }, { signal });
  const known = new Map([
    ...chart.lines.map((line) => [idOf(line.metric, line.runs), line]),
    ...chart.bands.map((band) => [idOf(band.metric, band.value), band]),
  ]);
  const dress = (item, part) => {
    const style = known.get(idOf(item.metric, part));
    const { name, key, color, dash, isFaint } = style ?? {};
    return style && { ...item, name, key, color: onPaper(color), dash, isFaint };
  };
  return {
    ...chart,
    lines: answer.curves.map((curve) => dress(curve, curve.runs)).filter(Boolean),
    bands: (answer.groups ?? []).map((group) => dress(group, group.value)).filter(Boolean),
  };
}

/** Return the points of a chart as CSV, a row for each point. */
export function writeCsv({ lines, bands, dots = [], x }) {
  if (bands.length > 0) {
    return toCsv(["group", "metric", x.name, "mean", "low", "high", "n"], bands, (band, at) => [
      band.name,
      band.metric,
      band.x[at],
      band.mean[at],
      band.low[at],
      band.high[at],
      band.n[at],
    ]);
  }
  if (dots.length > 0) {
    return toCsv(["series", "x", "y"], dots, (series, at) => [series.name, series.x[at], series.y[at]]);
  }
  const isSmooth = lines.some(({ smooth }) => smooth);
  const heads = ["curve", "run", "metric", x.name, "value", ...(isSmooth ? ["smooth"] : [])];
  return toCsv(heads, lines, (line, at) => [
    line.name,
    line.run,
    line.metric,
    line.x[at],
    line.y[at],
    ...(isSmooth ? [line.smooth?.[at]] : []),
  ]);
}

function toCsv(heads, series, row) {
  const lines = [heads.map(cell).join(",")];
  for (const item of series) {
    for (let at = 0; at < item.x.length; at += 1) {
      lines.push(row(item, at).map(cell).join(","));
    }
  }
  return `${lines.join("\r\n")}\r\n`;
}

// A text that a spreadsheet would take for a formula gets a quote, as in the export of the table.
function cell(value) {
  if (typeof value !== "string") {
    return value === null || value === undefined ? "" : String(value);
  }
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
