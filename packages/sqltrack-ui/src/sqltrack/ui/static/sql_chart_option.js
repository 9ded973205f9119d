/** From the result of a query to a chart: which columns suit it, its series, and the options for ECharts. */
import { decode, exactText, formatValue, isMissing } from "./format.js";
import { styleAt } from "./palette.js";

/** The kinds of charts. */
export const KINDS = { line: "Lines", scatter: "Points", bar: "Bars" };
/** Series of a chart, at most; more cannot be told apart. */
export const MOST_SERIES = 32;
const LARGE = 2000;

/** Return the choice that suits a result: x, the columns for y, the column that splits, the kind. Columns by index. */
export function suggestChart(columns, rows) {
  const numbers = columns.flatMap(({ kind }, index) => (kind === "number" ? [index] : []));
  const texts = columns.flatMap(({ kind }, index) => (kind === "number" || kind === "json" ? [] : [index]));
  const time = columns.findIndex(({ kind }) => kind === "time");
  const label = texts.find((index) => index !== time);
  if (time >= 0 && numbers.length > 0) {
    return { x: time, y: [numbers.at(-1)], by: label ?? null, kind: "line" };
  }
  if (label !== undefined && new Set(rows.map((row) => row[label])).size === rows.length && numbers.length > 0) {
    return { x: label, y: [numbers.at(-1)], by: null, kind: "bar" };
  }
  const [x = 0, ...others] = numbers;
  return {
    x,
    y: others.length > 0 ? [others.at(-1)] : [x],
    by: label ?? null,
    kind: others.length > 0 ? "line" : "scatter",
  };
}

/** Return a choice as far as the columns of the result have it, otherwise a suggestion. */
export function completeChart(choice, columns, rows) {
  const has = (index) => Number.isInteger(index) && index >= 0 && index < columns.length;
  const suggested = suggestChart(columns, rows);
  const y = (choice?.y ?? []).filter(has);
  return {
    x: has(choice?.x) ? choice.x : suggested.x,
    y: y.length > 0 ? y : suggested.y,
    by: choice ? (has(choice.by) ? choice.by : null) : suggested.by,
    kind: Object.hasOwn(KINDS, choice?.kind ?? "") ? choice.kind : suggested.kind,
    logX: Boolean(choice?.logX),
    logY: Boolean(choice?.logY),
  };
}

/** Return the series of a chart: {name, points: [[x, y]]}, and how many points have no place on the axes. */
export function makeSeries({ columns, rows }, { x, y, by, logX, logY }) {
  const series = new Map();
  let hidden = 0;
  for (const column of y) {
    for (const row of rows) {
      const split = by === null ? [] : [isMissing(row[by]) ? "none" : formatValue(row[by])];
      const name = [...(y.length > 1 || by === null ? [columns[column].name] : []), ...split].join(" · ");
      const point = [place(row[x], columns[x].kind, logX), place(row[column], "number", logY)];
      if (point.includes(null)) {
        hidden += 1;
        continue;
      }
      if (!series.has(name)) {
        series.set(name, []);
      }
      series.get(name).push(point);
    }
  }
  return { series: [...series].map(([name, points]) => ({ name, points })), hidden };
}

function place(value, kind, isLog) {
  if (isMissing(value)) {
    return null;
  }
  if (kind !== "number") {
    return exactText(value);
  }
  const number = Number(decode(value));
  return Number.isFinite(number) && (!isLog || number > 0) ? number : null;
}

/**
 * Build the options of a chart.
 *
 * @param {object[]} columns columns of the result
 * @param {object[]} series result of `makeSeries`
 * @param {object} chosen result of `completeChart`
 * @param {"light"|"dark"} shownScheme the scheme of the curves
 * @param {{text: string, muted: string, line: string, raised: string}} colors other colors
 */
export function buildOption(columns, series, { x, y, kind, logX, logY }, shownScheme, colors) {
  const { text, muted, line, raised } = colors;
  const axis = {
    axisLabel: { color: muted },
    axisLine: { lineStyle: { color: muted } },
    splitLine: { lineStyle: { color: line } },
  };
  const typeX = { number: logX ? "log" : "value", time: "time" }[columns[x].kind] ?? "category";
  const isCategory = typeX === "category" || kind === "bar";
  return {
    animation: false,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: text },
    grid: { left: 12, right: 24, top: series.length > 1 ? 44 : 24, bottom: 28, containLabel: true },
    legend: {
      show: series.length > 1,
      type: "scroll",
      top: 4,
      textStyle: { color: text },
      pageTextStyle: { color: muted },
      pageIconColor: text,
    },
    tooltip: {
      trigger: kind === "scatter" ? "item" : "axis",
      renderMode: "richText",
      backgroundColor: raised,
      borderColor: line,
      textStyle: { color: text },
    },
    xAxis: {
      ...axis,
      type: isCategory ? "category" : typeX,
      name: columns[x].name,
      nameLocation: "middle",
      nameGap: 26,
      nameTextStyle: { color: muted },
      scale: true,
    },
    yAxis: {
      ...axis,
      type: logY ? "log" : "value",
      name: y.length === 1 ? columns[y[0]].name : "",
      nameTextStyle: { color: muted, align: "left" },
      scale: kind !== "bar",
    },
    series: series.map(({ name, points }, index) => {
      const style = styleAt(index, shownScheme);
      return {
        name,
        type: kind,
        data: points,
        color: style.color,
        lineStyle: { width: 1.6, type: style.dash.length > 0 ? style.dash : "solid" },
        showSymbol: points.length < 60,
        symbolSize: kind === "scatter" ? 7 : 4,
        large: points.length > LARGE,
        barMaxWidth: 48,
      };
    }),
  };
}
