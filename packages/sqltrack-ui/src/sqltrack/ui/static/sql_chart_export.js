/** The chart of a query's result as SVG, and as a Python program. */
import { saveText } from "./save_file.js";
import { buildOption, completeChart, MOST_SERIES, makeSeries } from "./sql_chart_option.js";
import * as echarts from "./vendor/echarts/echarts.esm.min.mjs";

const SIZE = { width: 800, height: 450 };
const ON_PAPER = { text: "#18212b", muted: "#56626f", line: "#e2e7ec", raised: "#ffffff" };
const METHODS = { line: "plot", scatter: "scatter", bar: "bar" };

/** Let the browser save the chart of a result as SVG, in the light colors. */
export function saveSvg(answer, choice) {
  const chosen = completeChart(choice, answer.columns, answer.rows);
  const { series } = makeSeries(answer, chosen);
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, ...SIZE });
  chart.setOption(buildOption(answer.columns, series.slice(0, MOST_SERIES), chosen, "light", ON_PAPER));
  saveText(chart.renderToSVGString(), "image/svg+xml", "query.svg");
  chart.dispose();
}

/** Return a Python program that runs the query, and draws the same chart with matplotlib. */
export function writePython(answer, choice) {
  const { columns, rows } = answer;
  const { x, y, by, kind, logX, logY } = completeChart(choice, columns, rows);
  // Names of columns may repeat, so columns are taken by their places.
  const draw = (indent, frame, column, label) =>
    `${indent}axes.${METHODS[kind]}(${frame}.iloc[:, ${x}], ${frame}.iloc[:, ${column}], label=${label})`;
  const name = (column) => JSON.stringify(columns[column].name);
  const drawn =
    by === null
      ? y.map((column) => draw("", "frame", column, name(column)))
      : [
          `for value, part in frame.groupby(frame.iloc[:, ${by}].astype(str), sort=False):`,
          ...y.map((column) => draw("    ", "part", column, y.length > 1 ? `${name(column)} + " " + value` : "value")),
        ];
  const title = y.length === 1 ? [`axes.set_ylabel(${name(y[0])})`] : [];
  return [
    answer.python.trimEnd(),
    "",
    "import matplotlib.pyplot as plt",
    "",
    "figure, axes = plt.subplots()",
    ...drawn,
    `axes.set_xlabel(${name(x)})`,
    ...title,
    ...(logX ? ['axes.set_xscale("log")'] : []),
    ...(logY ? ['axes.set_yscale("log")'] : []),
    "axes.legend()",
    'figure.savefig("query.pdf", bbox_inches="tight")',
    "",
  ].join("\n");
}
