/** The result of a query as a chart: one column over another, as lines, points or bars. */
import { useSignal } from "./signal.js";
import { buildOption, completeChart, KINDS, MOST_SERIES, makeSeries } from "./sql_chart_option.js";
import { scheme, themeColors } from "./theme.js";
import * as echarts from "./vendor/echarts/echarts.esm.min.mjs";
import { html, useEffect, useMemo, useRef } from "./vendor/htm/standalone.module.js";

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
    const names = { text: "--text", muted: "--muted", line: "--line", raised: "--raised" };
    const colors = themeColors(names);
    chart.current.setOption(buildOption(columns, series.slice(0, MOST_SERIES), chosen, shownScheme, colors), {
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
