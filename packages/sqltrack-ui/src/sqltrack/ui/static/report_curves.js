/** The curves of a report: those of the selected runs, or of groups of all runs. */
import { ChartFigure } from "./chart_figure.js";
import { nameGroup, nameX } from "./chart_names.js";
import { groupNote } from "./group_notes.js";
import { lineStyles, styleAt } from "./palette.js";
import { useSignal } from "./signal.js";
import { scheme } from "./theme.js";
import { html, useMemo, useState } from "./vendor/htm/standalone.module.js";

/** Put the positions of points, which curves share, back into the curves: {curves, groups}. */
export function decodeCurves({ curves, groups, xs }) {
  const place = (curve) => ({ ...curve, x: xs[curve.x] });
  return { curves: curves.map(place), groups: groups.map(place) };
}

/**
 * Draw a chart for each metric.
 *
 * @param {object} props
 * @param {object} props.data the data of the report: `rows`, `metrics`, `view`
 * @param {{curves: object[], groups: object[]}} props.curves result of `decodeCurves`
 * @param {object} props.selected signal with the ids of the selected runs
 * @param {object} props.highlight signal with the key of the highlighted curve
 */
export function ReportCurves({ data, curves, selected, highlight }) {
  const ids = useSignal(selected);
  const shownScheme = useSignal(scheme);
  const [isGrouped, setGrouped] = useState(false);
  const [log, setLog] = useState(data.view.log);
  const [range, setRange] = useState(null);
  const names = useMemo(() => nameRuns(data.rows), [data]);
  const charts = useMemo(
    () =>
      isGrouped
        ? data.metrics.map((metric) => groupChart(metric, curves.groups, shownScheme))
        : data.metrics.map((metric) => runChart(metric, curves.curves, ids, names, shownScheme)),
    [data, curves, ids, isGrouped, shownScheme],
  );
  const x = { name: nameX(data.view.x), kind: data.view.x === "time" ? "time" : "number", log: log.x, range };
  const flip = (axis) => setLog({ ...log, [axis]: !log[axis] });
  return html`<div class="report-bar">
      ${
        curves.groups.length > 0 &&
        html`<span class="choice" role="group" aria-label="Curves of">
          <button type="button" class="button" aria-pressed=${!isGrouped} onClick=${() => setGrouped(false)}>Runs</button>
          <button type="button" class="button" aria-pressed=${isGrouped} onClick=${() => setGrouped(true)}>Groups</button>
        </span>`
      }
      <span class="choice" role="group" aria-label="Logarithmic axes">
        <button type="button" class="button" aria-pressed=${log.x} onClick=${() => flip("x")}>log x</button>
        <button type="button" class="button" aria-pressed=${log.y} onClick=${() => flip("y")}>log y</button>
      </span>
      ${range !== null && html`<button type="button" class="button primary" onClick=${() => setRange(null)}>Reset zoom</button>`}
      <span class="muted">${describe(isGrouped, ids)}</span>
    </div>
    <div class="charts">
      ${charts.map(
        (chart) =>
          html`<${ChartFigure} key=${chart.title} ...${chart} x=${x} y=${{ log: log.y }} highlight=${highlight} onZoom=${setRange}
          note=${groupNote(chart.bands, { x: x.name, metric: chart.title, smoothing: 0 })} />`,
      )}
    </div>`;
}

function describe(isGrouped, ids) {
  if (isGrouped) {
    return "The colors are those of the table of groups.";
  }
  return ids.length > 0 ? "Select runs in the table to draw their curves." : "No runs are selected in the table.";
}

/** Return the style of each group by its name; a group keeps it in all charts. */
export function groupStyles(groups, shownScheme) {
  const names = [...new Set(groups.map(({ value }) => nameGroup(value)))];
  return new Map(names.map((name, index) => [name, styleAt(index, shownScheme)]));
}

// A run is named by its id, and by its experiment if there are several.
function nameRuns(rows) {
  const experiments = new Map(rows.map(({ id, experiment }) => [id, experiment]));
  const hasSeveral = new Set(experiments.values()).size > 1;
  return (id) => (hasSeveral && experiments.has(id) ? `${id} ${experiments.get(id)}` : `run ${id}`);
}

function runChart(metric, curves, ids, nameRun, shownScheme) {
  const styles = lineStyles(ids, shownScheme);
  const lines = curves
    .filter((curve) => curve.metric === metric && styles.has(curve.run))
    .map((curve) => ({
      ...curve,
      ...styles.get(curve.run),
      key: curve.run,
      name: curve.runs.map(nameRun).join(" + "),
    }));
  return { title: metric, lines, bands: [] };
}

function groupChart(metric, groups, shownScheme) {
  const styles = groupStyles(groups, shownScheme);
  const bands = groups
    .filter((group) => group.metric === metric)
    .map((group) => {
      const name = nameGroup(group.value);
      return { ...group, ...styles.get(name), key: name, name };
    });
  return { title: metric, lines: [], bands };
}
