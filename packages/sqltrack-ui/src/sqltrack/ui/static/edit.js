/** Changes of runs and experiments: a menu, its keys, and a notice with which the last change can be undone. */

import { post } from "./api.js";
import { capitalize, Menu } from "./components.js";
import { EditDialog } from "./edit_dialog.js";
import { FORMS } from "./edit_forms.js";
import { RecentDialog } from "./edit_recent.js";
import { useKeys } from "./keys.js";
import { createSignal, useSignal } from "./signal.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

const RUN_ACTIONS = ["tags", "comment", "status", "move", "link", "delete"];
const EXPERIMENT_ACTIONS = ["tags", "comment", "rename", "link", "delete"];

/** The last change: {done, undo, isUndo, version} as the server answered; null before the first one. */
export const lastEdit = createSignal(null);
const isNoticeShown = createSignal(false);

/**
 * Show the menu "Edit" for runs; nothing if the page is read-only.
 *
 * @param {object} about the server's answer
 * @param {function(): {label: string, spec: object, values?: object}[]} findTargets what can be changed, the usual first
 * @param {function(string, object)} onDone called with the action and the spec after a change
 */
export function EditRuns(props) {
  return props.about.edit && html`<${EditControls} ...${props} actions=${RUN_ACTIONS} />`;
}

/** Show the menu "Edit" for an experiment; nothing if the page is read-only. */
export function EditExperiment({ about, experiment, onDone = () => {} }) {
  const { name, comment } = experiment;
  const findTargets = () => [{ label: name, spec: { experiment: name }, values: { text: comment ?? "", name } }];
  return (
    about.edit && html`<${EditMenu} actions=${EXPERIMENT_ACTIONS} findTargets=${findTargets} onDone=${onDone} quiet />`
  );
}

// With the keys, of which a view has only one set.
function EditControls(props) {
  const [open, setOpen] = useState(null);
  const [isRecent, setRecent] = useState(false);
  useKeys("Edit", {
    ...Object.fromEntries(
      props.actions.map((name) => [`e ${FORMS[name].key}`, [FORMS[name].help, () => setOpen(name)]]),
    ),
    "e r": ["recent changes, to undo them", () => setRecent(true)],
  });
  return html`<${EditMenu} ...${props} asked=${open} onAsked=${() => setOpen(null)} hasKeys onRecent=${() => setRecent(true)} />
    ${isRecent && html`<${RecentDialog} onUndo=${undoEdit} onClose=${() => setRecent(false)} />`}`;
}

function EditMenu({
  actions,
  findTargets,
  onDone = () => {},
  asked = null,
  onAsked = () => {},
  hasKeys = false,
  onRecent,
  quiet,
}) {
  const [chosen, setChosen] = useState(null);
  const shown = asked ?? chosen;
  const close = () => {
    setChosen(null);
    onAsked();
  };
  const entry = (name) => html`<button type="button" onClick=${() => setChosen(name)}>
    <span>${FORMS[name].label}</span>${hasKeys && html`<kbd>e ${FORMS[name].key}</kbd>`}
  </button>`;
  return html`<${Menu} label="Edit ▾" title="Change tags, comments and more" quiet=${quiet}>${actions.map(entry)}
      ${onRecent && html`<hr /><button type="button" onClick=${onRecent}><span>Recent changes…</span><kbd>e r</kbd></button>`}
    </${Menu}>
    ${shown && html`<${OpenDialog} key=${shown} action=${shown} findTargets=${findTargets} onDone=${onDone} onClose=${close} />`}`;
}

// What is changed is fixed when the dialog opens, although the table behind it moves on.
function OpenDialog({ action, findTargets, onDone, onClose }) {
  const [targets] = useState(findTargets);
  const done = (answer, spec) => {
    onClose();
    // First, so that no view asks for a run that was deleted.
    onDone(action, spec);
    tell(answer, false);
  };
  return html`<${EditDialog} action=${action} targets=${targets} onDone=${done} onClose=${onClose} />`;
}

function tell(answer, isUndo) {
  isNoticeShown.set(true);
  lastEdit.set({ ...answer, isUndo });
}

/**
 * Undo a change, and tell it as the last one.
 *
 * @param {string} undo name of the change
 * @param {boolean} isUndo whether it undoes another one itself
 * @throws {Error} the values were changed again, or the server refuses
 */
async function undoEdit(undo, isUndo) {
  const { plan, refused } = await post("plan", { action: "undo", undo });
  if (plan === null) {
    throw new Error(refused ?? "nothing is left to undo");
  }
  tell(await post("apply", { plan }), !isUndo);
}

/** Say what was changed last, with a button that undoes it. */
export function EditNotice() {
  const edit = useSignal(lastEdit);
  return useSignal(isNoticeShown) && edit && html`<${Notice} key=${edit.version} edit=${edit} />`;
}

function Notice({ edit }) {
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const undo = async () => {
    if (isBusy || edit.undo === null) {
      return;
    }
    setBusy(true);
    try {
      await undoEdit(edit.undo, edit.isUndo);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  useKeys("Last change", {
    "e u": [edit.isUndo ? "make the last change again" : "undo the last change", undo],
    "e x": ["hide the notice of the last change", () => isNoticeShown.set(false)],
  });
  const label = edit.isUndo ? "Redo" : "Undo";
  return html`<p class="note edited">
    <bdi>${capitalize(edit.done)}.</bdi> ${error && html`<strong>${capitalize(error.message)}.</strong> `}
    ${edit.undo && html`<button type="button" class="button" title="e u" disabled=${isBusy} onClick=${undo}>${label}</button>`}
    <button type="button" class="button quiet icon" title="Hide (e x)" aria-label="Hide this notice" onClick=${() => isNoticeShown.set(false)}>✕</button>
  </p>`;
}
