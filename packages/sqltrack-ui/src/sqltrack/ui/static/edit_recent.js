/** The dialog of changes that can be undone, also those of other tabs and users of this server. */

import { get, isAbort } from "./api.js";
import { capitalize, Dialog, ErrorNote } from "./components.js";
import { formatAgo, formatTime } from "./format.js";
import { html, useEffect, useState } from "./vendor/htm/standalone.module.js";

/**
 * Show the changes that can be undone, the latest first.
 *
 * @param {function(string, boolean): Promise} onUndo undoes a change, given its name and whether it undoes another one
 */
export function RecentDialog({ onUndo, onClose }) {
  const [edits, setEdits] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    get("recent", {}, { signal: controller.signal }).then(
      (answer) => setEdits(answer.edits),
      (failure) => isAbort(failure) || setError(failure),
    );
    return () => controller.abort();
  }, []);
  const undo = async ({ undo: name, is_undo: isUndo }) => {
    try {
      await onUndo(name, isUndo);
      onClose();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Dialog} title="Recent changes" onClose=${onClose} className="edit-dialog">
    <${ErrorNote} error=${error} />
    ${edits?.length === 0 && html`<p class="muted">No change of tags, comments or statuses since the server was started.</p>`}
    <ul class="edit-recent">
      ${edits?.map((edit) => html`<${Recent} key=${edit.undo} edit=${edit} onUndo=${() => undo(edit)} />`)}
    </ul>
  </${Dialog}>`;
}

function Recent({ edit, onUndo }) {
  const { done, time, is_undo: isUndo } = edit;
  return html`<li>
    <bdi>${capitalize(done)}</bdi>
    <span class="muted" title=${formatTime(time)}>${formatAgo(time)}</span>
    <button type="button" class="button" onClick=${onUndo}>${isUndo ? "Redo" : "Undo"}</button>
  </li>`;
}
