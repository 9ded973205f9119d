/** A report: runs in a file without a server. Tables are there already; they get an order, and the curves are drawn. */
import { decodeCurves, ReportCurves } from "./report_curves.js";
import { ComparedRuns, decorateGroups, RunsTable } from "./report_tables.js";
import { createSignal } from "./signal.js";
import { setStatusGroups } from "./status.js";
import { show, toggleScheme } from "./theme.js";
import { html, render } from "./vendor/htm/standalone.module.js";

/**
 * Show a report.
 *
 * @param {object} data what `sqltrack.ui._report` writes: answers of the queries of the page
 */
export function start(data) {
  show();
  setStatusGroups(data.statuses);
  const selected = createSignal(data.selected);
  const highlight = createSignal(null);
  new RunsTable(document.getElementById("runs"), data, { selected, highlight });
  const compared = document.getElementById("compare");
  if (compared !== null) {
    new ComparedRuns(compared, data.comparison, selected);
  }
  const curves = decodeCurves(data);
  const groups = document.getElementById("groups");
  if (groups !== null) {
    decorateGroups(groups, data.group_values, curves.groups, highlight);
  }
  render(
    html`<${ReportCurves} data=${data} curves=${curves} selected=${selected} highlight=${highlight} />`,
    document.getElementById("curves"),
  );
  const button = document.getElementById("report-scheme");
  button.hidden = false;
  button.addEventListener("click", toggleScheme);
  document.getElementById("report-note").remove();
}
