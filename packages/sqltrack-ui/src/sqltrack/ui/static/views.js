/** The menu of saved views: open one, save the current one under a name. */

import { complete } from "./address.js";
import { getPath, post, remove } from "./api.js";
import { capitalize, Menu } from "./components.js";
import { formatAgo } from "./format.js";
import { navigate, place } from "./state.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

/** Show the menu of saved views. */
export function ViewsMenu({ path }) {
  const [views, setViews] = useState(null);
  const [message, setMessage] = useState(null);
  const load = async () => {
    setMessage(null);
    try {
      setViews((await getPath("api/views")).views);
    } catch (error) {
      setMessage(error.message);
    }
  };
  const save = async (event) => {
    event.preventDefault();
    const field = event.target.elements.name;
    const name = field.value.trim();
    if (name === "") {
      return;
    }
    try {
      await post("views", { name, page: path === "" ? "runs" : path, state: place.get().state });
      field.value = "";
      await load();
      setMessage(`saved ${JSON.stringify(name)}`);
    } catch (error) {
      setMessage(error.message);
    }
  };
  const open = (view) => navigate(view.page === "runs" ? "" : view.page, complete(view.state));
  const drop = async (view) => {
    try {
      await remove(`views?id=${encodeURIComponent(view.id)}`);
      await load();
    } catch (error) {
      setMessage(error.message);
    }
  };
  return html`<${Menu} label="Views ▾" title="Saved views" onOpen=${load} quiet>
    <form class="save-view" onSubmit=${save} data-stay>
      <input class="field" name="name" placeholder="Name of this view" aria-label="Name of this view" maxlength="200" />
      <button type="submit" class="button primary">Save</button>
    </form>
    <p class="save-message muted" role="status">${message && `${capitalize(message)}.`}</p>
    ${views?.length > 0 && html`<hr />`}
    ${views?.map((view) => html`<${SavedView} view=${view} open=${() => open(view)} drop=${() => drop(view)} />`)}
    ${views?.length === 0 && html`<p class="save-message muted">No saved views yet.</p>`}
  </${Menu}>`;
}

function SavedView({ view, open, drop }) {
  const detail = [view.page, view.owner, formatAgo(view.updated)].filter(Boolean).join(" · ");
  return html`<div class="saved-view">
    <button type="button" onClick=${open}><bdi class="cut">${view.name}</bdi><span class="muted">${detail}</span></button>
    <button type="button" class="drop" data-stay aria-label=${`Delete the view ${view.name}`} title="Delete" onClick=${drop}>✕</button>
  </div>`;
}
