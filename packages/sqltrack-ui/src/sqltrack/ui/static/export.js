/** The buttons that give a view as SQL, as Python and as a file. */

import { address, queryPath } from "./api.js";
import { copyText } from "./clipboard.js";
import { Dialog, Menu } from "./components.js";
import { useReport } from "./report_download.js";
import { navigate, place } from "./state.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

/**
 * Show a menu with "as SQL", "as Python" and, with `spec`, downloads of all rows.
 *
 * `sql` and `python` are the texts of the last answer; `spec` is the query of the table for `api/export`; `items` are
 * further entries [{label, act}], such as figures; `report` is the query of `api/report`.
 */
export function ExportMenu({ sql, python, spec, items = [], report }) {
  const [shown, setShown] = useState(null);
  const { button, progress } = useReport(report);
  const show = (title, text, action) => () => setShown({ title, text, action });
  const openInSql = () => {
    setShown(null);
    navigate("sql", { sql: { text: sql } });
  };
  const sqlButton =
    place.get().path !== "sql" && html`<button type="button" class="button" onClick=${openInSql}>Open in SQL</button>`;
  return html`<${Menu} label="Export ▾" title="This view as SQL, as Python or as a file">
      <button type="button" disabled=${!sql} onClick=${show("As SQL", sql, sqlButton)}>As SQL</button>
      <button type="button" disabled=${!python} onClick=${show("As Python", python)}>As Python</button>
      ${spec && html`<hr />${["csv", "json"].map((format) => html`<button type="button" onClick=${() => download(spec, format)}>All rows as ${format.toUpperCase()}</button>`)}`}
      ${items.length > 0 && html`<hr />${items.map(({ label, act }) => html`<button type="button" onClick=${act}>${label}</button>`)}`}
      ${button}
    </${Menu}>
    ${progress}
    ${shown && html`<${TextDialog} ...${shown} onClose=${() => setShown(null)} />`}`;
}

/** Show a text that can be copied; `action` is another button. */
export function TextDialog({ title, text, action, onClose }) {
  const [said, setSaid] = useState("Copy");
  const copy = async () =>
    setSaid((await copyText(text, document.querySelector("dialog[open] pre"))) ? "Copied" : "Press Ctrl-C");
  const button = html`${action}<button type="button" class="button" onClick=${copy} data-focus>${said}</button>`;
  return html`<${Dialog} title=${title} onClose=${onClose} actions=${button}>
    <pre class="code" tabindex="0">${text}</pre>
  </${Dialog}>`;
}

async function download(spec, format) {
  const link = document.createElement("a");
  link.href = address(await queryPath("export", { ...spec, format }));
  link.download = "";
  link.click();
}
