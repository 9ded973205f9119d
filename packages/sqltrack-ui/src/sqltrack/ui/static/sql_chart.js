/** The result of a query as a chart: one column over another, as lines, points or bars. */
import { decode, exactText, formatValue, isMissing } from "./format.js";
import { styleAt } from "./palette.js";
import { useSignal } from "./signal.js";
import { scheme, themeColor } from "./theme.js";
import * as echarts from "./vendor/echarts/echarts.esm.min.mjs";
import { html, useEffect, useMemo, useRef } from "./vendor/htm/standalone.module.js";

const KINDS = { line: "Lines", scatter: "Points", bar: "Bars" };
/** Series of a chart, at most; more cannot be told apart. */
const MOST_SERIES = 32;
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

/** Show the chart of a result, with the fields to choose columns. */
export function ResultChart({ answer, choice, onChoose }) {
  const { columns, rows } = answer;
  const chosen = completeChart(choice, columns, rows);
  const shownScheme = useSignal(scheme);
  const { series, hidden } = useMemo(() => makeSeries(answer, chosen), [answer, JSON.stringify(chosen)]);
  const element = useRef(null);
  const chart = useRef(null);
  useEffect(() => {
    chart.current = echarts.init(element.current, null, { renderer: "canvas" });
    const observer = new ResizeObserver(() => chart.current.resize());
    observer.observe(element.current);
    return () => {
      observer.disconnect();
      chart.current.dispose();
    };
  }, []);
  useEffect(() => {
    chart.current.setOption(buildOption(columns, series.slice(0, MOST_SERIES), chosen, shownScheme), {
      notMerge: true,
    });
  }, [series, shownScheme]);
  const notes = [
    series.length > MOST_SERIES && `The first ${MOST_SERIES} of ${series.length} series are drawn.`,
    hidden > 0 &&
      `${hidden} of ${rows.length * chosen.y.length} points are missing, not finite, or have no place on a logarithmic axis.`,
  ].filter(Boolean);
  const title = `${chosen.y.map((index) => columns[index].name).join(", ")} by ${columns[chosen.x].name}`;
  return html`<div class="sql-chart">
    <${Choices} columns=${columns} chosen=${chosen} onChoose=${onChoose} />
    <div class="sql-canvas" ref=${element} role="img" aria-label=${`Chart of ${title}, ${series.length} series; the table has the values`}></div>
    ${notes.length > 0 && html`<p class="muted sql-note" role="status">${notes.join(" ")}</p>`}
  </div>`;
}

function Choices({ columns, chosen, onChoose }) {
  const set = (patch) => onChoose({ ...chosen, ...patch });
  const option = (index, current) =>
    html`<option value=${index} selected=${index === current}>${columns[index].name}</option>`;
  const numbers = [...columns.keys()].filter((index) => columns[index].kind === "number");
  const toggle = (index) => {
    const next = chosen.y.includes(index)
      ? chosen.y.filter((other) => other !== index)
      : [...chosen.y, index].sort((a, b) => a - b);
    return next.length > 0 && set({ y: next });
  };
  return html`<div class="bar sql-choices">
    <label class="control">x <select class="field" onChange=${(event) => set({ x: Number(event.target.value) })}>${[...columns.keys()].map((index) => option(index, chosen.x))}</select></label>
    <span class="control" role="group" aria-label="Columns for y">y
      ${
        numbers.length > 8
          ? html`<select class="field" aria-label="y" onChange=${(event) => set({ y: [Number(event.target.value)] })}>${numbers.map((index) => option(index, chosen.y[0]))}</select>`
          : numbers.map(
              (index) =>
                html`<label class="control"><input type="checkbox" checked=${chosen.y.includes(index)} onChange=${() => toggle(index)} /> <bdi>${columns[index].name}</bdi></label>`,
            )
      }
    </span>
    <label class="control">split by <select class="field" onChange=${(event) => set({ by: event.target.value === "" ? null : Number(event.target.value) })}>
      <option value="" selected=${chosen.by === null}>nothing</option>${[...columns.keys()].map((index) => option(index, chosen.by))}
    </select></label>
    <label class="control">as <select class="field" onChange=${(event) => set({ kind: event.target.value })}>
      ${Object.entries(KINDS).map(([kind, text]) => html`<option value=${kind} selected=${kind === chosen.kind}>${text}</option>`)}
    </select></label>
    <span class="choice" role="group" aria-label="Logarithmic axes">
      <button type="button" class="button" aria-pressed=${chosen.logX} disabled=${columns[chosen.x].kind !== "number"} onClick=${() => set({ logX: !chosen.logX })}>log x</button>
      <button type="button" class="button" aria-pressed=${chosen.logY} onClick=${() => set({ logY: !chosen.logY })}>log y</button>
    </span>
  </div>`;
}

function buildOption(columns, series, { x, y, kind, logX, logY }, shownScheme) {
  const [text, muted, line, raised] = ["--text", "--muted", "--line", "--raised"].map(themeColor);
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
