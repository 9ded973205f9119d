/** Small parts of several views: links within the page, progress. */
import { href, navigate } from "./state.js";
import { html } from "./vendor/htm/standalone.module.js";

const PERCENT = 100;

/** A link to another view of this page. */
export function Link({ path, patch, className, title, rel, children }) {
  const onClick = (event) => {
    if (!(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      navigate(path, patch);
    }
  };
  return html`<a href=${href(path, patch)} class=${className} title=${title} rel=${rel} onClick=${onClick}>${children}</a>`;
}

/** A bar from 0 to 1 with its percentage. */
export function Progress({ value }) {
  const part = Math.min(1, Math.max(0, Number(value) || 0));
  return html`<span class="progress"><progress max="1" value=${part} aria-label="progress"></progress> <span class="number">${Math.floor(part * PERCENT)}%</span></span>`;
}
