/** The item of a menu that downloads a report: the runs of a view in one file, to send. */
import { address, queryPath } from "./api.js";
import { Dialog, ErrorNote } from "./components.js";
import { saveBlob } from "./save_file.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

/**
 * Return a button for a menu, and what is shown next to the menu while the server writes the report.
 *
 * @param {object|undefined} spec of `api/report`; without one there is no button
 * @returns {{button: object|null, progress: object|null}}
 */
export function useReport(spec) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const download = async () => {
    setBusy(true);
    try {
      await downloadReport(spec);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return {
    button: spec
      ? html`<hr /><button type="button" disabled=${isBusy} onClick=${download}>Report as HTML</button>`
      : null,
    progress: html`<span class="muted" role="status">${isBusy ? "Writing the report…" : ""}</span>
      ${error && html`<${Dialog} title="Report" onClose=${() => setError(null)}><${ErrorNote} error=${error} /></${Dialog}>`}`,
  };
}

/**
 * Return the spec of a report of a view.
 *
 * @param {object} state of the address
 * @param {number[]|null} runs ids of the runs, null for those of the filter
 * @param {any[]|null} columns of the table, null for the server's choice
 */
export function reportSpec(state, runs = null, columns = null) {
  const { filter, sort, selected, metrics, value, x, log, join, group, band } = state;
  const ids = { facets: [], where: null, search: null, ids: runs };
  return { filter: runs === null ? filter : ids, columns, sort, selected, metrics, value, x, log, join, group, band };
}

async function downloadReport(spec) {
  const response = await fetch(address(await queryPath("report", spec)), { credentials: "same-origin" });
  if (!response.ok) {
    const { error } = await response.json();
    throw new Error(error);
  }
  saveBlob(await response.blob(), "report.html");
}
