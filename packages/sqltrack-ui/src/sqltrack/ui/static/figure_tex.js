/** Write a chart for LaTeX with pgfplots: a table of its points, and the code that draws it. */
import { escapeLabel, toTex } from "./figure_text.js";

const CORNERS = {
  "upper left": "north west",
  "upper right": "north east",
  "lower left": "south west",
  "lower right": "south east",
  outside: "outer north east",
};
const LEGEND_STYLE = "legend style={draw=none, fill opacity=0.8, text opacity=1}";
const DIGITS = 8;

/**
 * Return the points of a chart as a table for pgfplots: columns x0, y0, x1, y1, … with nan where a curve is shorter.
 *
 * @param {object} chart as for `buildScene`
 */
export function writeTable(chart) {
  const columns = columnsOf(chart);
  const rows = Math.max(0, ...columns.map(({ values }) => values.length));
  const lines = [columns.map(({ name }) => name).join(" ")];
  for (let row = 0; row < rows; row += 1) {
    lines.push(columns.map(({ values }) => shortNumber(values[row])).join(" "));
  }
  return `${lines.join("\n")}\n`;
}

function columnsOf({ lines, bands, dots = [] }) {
  const ofBands = bands.flatMap((band, index) => [
    { name: `bx${index}`, values: band.x },
    { name: `mean${index}`, values: band.mean },
    { name: `low${index}`, values: band.low },
    { name: `high${index}`, values: band.high },
    { name: `n${index}`, values: band.n },
  ]);
  const ofLines = [...lines, ...dots].flatMap(({ x, y, smooth }, index) => [
    { name: `x${index}`, values: x },
    { name: `y${index}`, values: smooth ?? y },
  ]);
  return [...ofBands, ...ofLines];
}

function shortNumber(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(DIGITS))) : "nan";
}

/**
 * Return the code of a figure.
 *
 * @param {object} chart as for `buildScene`
 * @param {object} look as for `buildScene`; its labels are LaTeX
 * @param {string} file name of the file with the table
 */
export function writeTex(chart, look, file) {
  const series = [...chart.bands, ...chart.lines, ...(chart.dots ?? [])];
  const colors = series.map(
    ({ color }, index) => `\\definecolor{curve${index}}{HTML}{${color.slice(1).toUpperCase()}}`,
  );
  const plots = [
    ...chart.bands.flatMap((band, index) => bandCode(band, index, file)),
    ...[...chart.lines, ...(chart.dots ?? [])].map((item, index) =>
      plotCode(item, index, index + chart.bands.length, look, file),
    ),
  ];
  const legend = look.legend
    ? series.filter(({ isFaint }) => !isFaint).map(({ label }) => `\\addlegendentry{${toTex(label)}}`)
    : [];
  const isBand = chart.bands.length > 0;
  return `${[
    "% \\usepackage{pgfplots}",
    "% \\pgfplotsset{compat=1.18}",
    ...(isBand ? ["% \\usepgfplotslibrary{fillbetween}"] : []),
    ...colors,
    "\\begin{tikzpicture}",
    "\\begin{axis}[",
    ...axisOptions(chart, look).map((option) => `  ${option},`),
    "]",
    ...withLegend(plots, legend),
    "\\end{axis}",
    "\\end{tikzpicture}",
  ].join("\n")}\n`;
}

// The size is that of the whole figure, with the labels, as in the other formats.
function axisOptions(chart, look) {
  const range = chart.x.range;
  return [
    `width=${look.width}cm`,
    `height=${look.height}cm`,
    `xlabel={${toTex(look.xLabel)}}`,
    `ylabel={${toTex(look.yLabel)}}`,
    ...(chart.x.log ? ["xmode=log"] : []),
    ...(chart.y.log ? ["ymode=log"] : []),
    ...(range
      ? [`xmin=${shortNumber(range[0])}`, `xmax=${shortNumber(range[1])}`]
      : chart.dots?.length
        ? []
        : ["enlarge x limits=false"]),
    ...placeOptions(chart.x.places),
    ...(look.grid ? ["grid=major", "grid style={gray!30, line width=0.4pt}"] : []),
    `font=\\fontsize{${look.size}}{${Math.round(look.size * 12) / 10}}\\selectfont`,
    `every axis plot/.append style={line width=${look.lineWidth}pt, line join=round}`,
    "no markers",
    ...(look.legend ? [`legend pos=${CORNERS[look.legend]}`, "legend cell align=left", LEGEND_STYLE] : []),
  ];
}

function placeOptions(places) {
  if (!places) return [];
  const labels = places.map(({ label }) => `{${toTex(escapeLabel(label))}}`).join(", ");
  return [`xtick={${places.map(({ at }) => at).join(", ")}}`, `xticklabels={${labels}}`];
}

const dashOf = ({ dash }) => {
  const lengths = (dash ?? []).map((length, index) => `${index % 2 === 0 ? "on" : "off"} ${length}pt`);
  return lengths.length ? `, dash pattern=${lengths.join(" ")}` : "";
};

function plotCode(item, index, color, look, file) {
  const faint = item.isFaint ? ", opacity=0.25, line width=0.5pt, forget plot" : "";
  const style = item.isDots
    ? `only marks, mark=*, mark size=${1.2 + look.lineWidth / 2}pt, mark options={curve${color}}`
    : `curve${color}${dashOf(item)}${faint}`;
  return `\\addplot[${style}] table[x=x${index}, y=y${index}] {${file}};`;
}

function bandCode(band, index, file) {
  const edge = (name) =>
    `\\addplot[draw=none, forget plot, name path=${name}${index}] table[x=bx${index}, y=${name}${index}] {${file}};`;
  return [
    edge("low"),
    edge("high"),
    `\\addplot[curve${index}, fill opacity=0.16, forget plot] fill between[of=low${index} and high${index}];`,
    `\\addplot[curve${index}${dashOf(band)}] table[x=bx${index}, y=mean${index}] {${file}};`,
  ];
}

// An entry follows its curve; edges and areas of bands, and members of groups, have none.
function withLegend(plots, legend) {
  if (legend.length === 0) return plots;
  let next = 0;
  return plots.flatMap((plot) => (plot.includes("forget plot") ? [plot] : [plot, legend[next++]]));
}

/** Points that LaTeX draws without running out of memory. */
export const MOST_TEX_POINTS = 12000;
