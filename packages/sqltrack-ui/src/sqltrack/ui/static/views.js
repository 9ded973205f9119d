/** The menu of saved views: open one, save what is shown; and the dialog to rename, copy, delete and choose defaults. */

import { get } from "./api.js";
import { capitalize, Dialog, ErrorNote, Menu } from "./components.js";
import { formatAgo, formatTime } from "./format.js";
import { useKeys } from "./keys.js";
import {
  copyView,
  deleteView,
  loadViews,
  onlyExperiment,
  openView,
  renameView,
  saved,
  saveView,
  setDefault,
  updateView,
} from "./saved_views.js";
import { useSignal } from "./signal.js";
import { place } from "./state.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Experiments to choose a default for, at most; the experiment that is shown comes first. */
const MOST_EXPERIMENTS = 500;

/** Show the menu of saved views. */
export function ViewsMenu() {
  const known = useSignal(saved);
  const { state } = useSignal(place);
  const [message, setMessage] = useState(null);
  const [isManaging, manage] = useState(false);
  useKeys("Saved views", { "g v": ["saved views: open, rename, copy, delete", () => manage(true)] });
  const views = known?.views ?? [];
  const current = views.find(({ id }) => id === state.view);
  const tell = (action) => async () => {
    try {
      setMessage(await action());
    } catch (error) {
      setMessage(error.message);
    }
  };
  const load = tell(async () => {
    await loadViews();
    return null;
  });
  const save = (event) => {
    event.preventDefault();
    const field = event.target.elements.name;
    const name = field.value.trim();
    if (name !== "") {
      tell(async () => {
        await saveView(name);
        field.value = "";
        return `saved ${JSON.stringify(name)}`;
      })();
    }
  };
  const update = tell(async () => {
    await updateView(current);
    return `saved ${JSON.stringify(current.name)}`;
  });
  return html`<${Menu} label=${html`<bdi class="cut view-label">${current?.name ?? "Views"}</bdi> ▾`} title="Saved views (g v)" onOpen=${load} quiet>
      <form class="save-view" onSubmit=${save} data-stay>
        <input class="field" name="name" placeholder="Name of this view" aria-label="Name of this view" maxlength="200" />
        <button type="submit" class="button primary">Save</button>
      </form>
      ${current?.own && html`<button type="button" data-stay onClick=${update}>Save changes to <b><bdi>${current.name}</bdi></b></button>`}
      <p class="save-message muted" role="status">${message && `${capitalize(message)}.`}</p>
      ${views.length > 0 && html`<hr />`}
      ${views.map(
        (
          view,
        ) => html`<button type="button" key=${view.id} aria-current=${view.id === state.view ? "true" : null} onClick=${() => openView(view)}>
        <bdi class="cut">${view.name}</bdi><span class="muted view-detail">${detailOf(view)}</span>
      </button>`,
      )}
      ${known !== null && views.length === 0 && html`<p class="save-message muted">No saved views yet.</p>`}
      ${views.length > 0 && html`<hr /><button type="button" onClick=${() => manage(true)}>Manage views …</button>`}
    </${Menu}>
    ${isManaging && html`<${ViewsDialog} onClose=${() => manage(false)} />`}`;
}

function detailOf({ page, owner, updated }) {
  return [page, owner, formatAgo(updated)].filter(Boolean).join(" · ");
}

/** A dialog with all views. */
function ViewsDialog({ onClose }) {
  const known = useSignal(saved);
  const [error, setError] = useState(null);
  const [experiments, setExperiments] = useState([]);
  const attempt = async (action) => {
    try {
      await action();
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => {
    attempt(loadViews);
    attempt(async () => setExperiments((await get("experiments")).experiments.map(({ name }) => name)));
  }, []);
  const views = known?.views ?? [];
  const open = (view) => {
    onClose();
    openView(view);
  };
  return html`<${Dialog} title="Saved views" className="views-dialog" onClose=${onClose}>
    <${ErrorNote} error=${error} />
    ${known !== null && views.length === 0 && html`<p class="muted">No saved views yet. The menu "Views" saves what you see under a name.</p>`}
    <ul class="view-list">
      ${views.map((view, index) => html`<${SavedView} key=${view.id} view=${view} isFirst=${index === 0} defaults=${known.defaults} experiments=${experiments} attempt=${attempt} onOpen=${() => open(view)} />`)}
    </ul>
  </${Dialog}>`;
}

function SavedView({ view, isFirst, defaults, experiments, attempt, onOpen }) {
  const [isRenaming, setRenaming] = useState(false);
  const rename = (name) =>
    attempt(async () => {
      await renameView(view, name);
      setRenaming(false);
    });
  return html`<li>
    ${
      isRenaming
        ? html`<${RenameForm} name=${view.name} onRename=${rename} onCancel=${() => setRenaming(false)} />`
        : html`<button type="button" class="view-name" data-focus=${isFirst} title="Open this view" onClick=${onOpen}><bdi>${view.name}</bdi></button>`
    }
    <span class="muted" title=${formatTime(view.updated)}>${detailOf(view)}${!view.own && " · read-only"}</span>
    <span class="view-actions">
      ${view.own && !isRenaming && html`<button type="button" class="button" aria-label=${`Rename ${view.name}`} onClick=${() => setRenaming(true)}>Rename</button>`}
      <button type="button" class="button" aria-label=${`Copy ${view.name}`} onClick=${() => attempt(() => copyView(view))}>Copy</button>
      ${view.own && html`<button type="button" class="button" aria-label=${`Delete ${view.name}`} onClick=${() => attempt(() => deleteView(view))}>Delete</button>`}
    </span>
    ${view.page === "runs" && html`<${Defaults} view=${view} defaults=${defaults} experiments=${experiments} attempt=${attempt} />`}
  </li>`;
}

function RenameForm({ name, onRename, onCancel }) {
  const field = useRef(null);
  useEffect(() => field.current.select(), []);
  const submit = (event) => {
    event.preventDefault();
    onRename(field.current.value);
  };
  const cancelByKey = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      event.preventDefault();
      onCancel();
    }
  };
  return html`<form class="save-view" onSubmit=${submit}>
    <input class="field" ref=${field} defaultValue=${name} aria-label=${`New name of ${name}`} maxlength="200" onKeyDown=${cancelByKey} />
    <button type="submit" class="button primary">Rename</button>
  </form>`;
}

/** The experiments that open in a view. */
function Defaults({ view, defaults, experiments, attempt }) {
  const chosen = defaults.filter((known) => known.view === view.id).map(({ experiment }) => experiment);
  const shown = onlyExperiment(place.get().state.filter);
  const others = [...new Set([shown, ...experiments])].filter((name) => name !== null && !chosen.includes(name));
  const add = (event) => {
    const { value } = event.target;
    event.target.value = "";
    attempt(() => setDefault(others[Number(value)], view));
  };
  return html`<span class="view-defaults">
    ${chosen.map((experiment) => html`<span class="chip" key=${experiment}><span class="cut">default of <bdi>${experiment}</bdi></span><button type="button" aria-label=${`No longer the default of ${experiment}`} onClick=${() => attempt(() => setDefault(experiment, null))}>✕</button></span>`)}
    ${
      others.length > 0 &&
      html`<select class="field" aria-label=${`Make ${view.name} the default of an experiment`} onChange=${add}>
      <option value="">Default of …</option>
      ${others.slice(0, MOST_EXPERIMENTS).map((name, index) => html`<option value=${index}>${name}</option>`)}
    </select>`
    }
  </span>`;
}
