/** JSON objects as lists of names and values: arguments, environment, extras. */
import { exactText, formatValue, isMissing, shownName } from "./format.js";
import { html, useMemo, useState } from "./vendor/htm/standalone.module.js";

const SEARCH_FROM = 16;
const MOST_SHOWN = 500;
/** Values that a folded list shows. */
const FOLDED = 10;
/** Characters of a value that scrolls. */
const LONG = 100;
const COMMIT = /^[0-9a-f]{40}$/;
const SHORT_COMMIT = 8;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

/** List the values of an object with their paths; objects are opened, lists are values. */
export function flatten(object, path = []) {
  return Object.entries(object ?? {}).flatMap(([name, value]) => {
    const isOpen = value !== null && typeof value === "object" && !Array.isArray(value) && !("$number" in value);
    return isOpen && Object.keys(value).length > 0
      ? flatten(value, [...path, name])
      : [{ path: [...path, name], value }];
  });
}

/** Return whether a value may need to be scrolled, which takes the focus. */
export function isLong(value) {
  return exactText(value).length > LONG;
}

/** A value as text that can be selected; a missing one is a dash. `kind` is "tags", "duration" or undefined. */
export function Value({ value, path = [], kind }) {
  if (isMissing(value)) {
    return html`<span class="muted">–</span>`;
  }
  if (kind === "tags" && Array.isArray(value)) {
    return value.length === 0
      ? html`<span class="muted">–</span>`
      : value.map((tag) => html`<span class="tag" title=${tag}><bdi>${shownName(tag)}</bdi></span> `);
  }
  const isCommit =
    typeof value === "string" && (COMMIT.test(value) || (path.at(-1) === "commit" && value.length > SHORT_COMMIT));
  const text = isCommit
    ? value.slice(0, SHORT_COMMIT)
    : formatValue(value, typeof value === "string" && TIME.test(value) ? "time" : kind);
  return html`<bdi class=${isCommit ? "mono" : ""} title=${exactText(value)}>${text}</bdi>`;
}

/** A list of names and values, with a search and folded if it is long. */
export function ValueList({ object, label }) {
  const items = useMemo(() => flatten(object), [object]);
  const [text, setText] = useState("");
  const [isOpen, setOpen] = useState(false);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = items.filter(({ path, value }) => {
    const line = `${path.join(".")} ${exactText(value)}`.toLowerCase();
    return words.every((word) => line.includes(word));
  });
  if (items.length === 0) {
    return html`<p class="muted">None</p>`;
  }
  const isFolded = !isOpen && words.length === 0 && items.length >= SEARCH_FROM;
  return html`${items.length >= SEARCH_FROM && html`<input class="field value-search" type="search" placeholder=${`Search ${items.length} values`} aria-label=${`Search ${label}`} value=${text} onInput=${(event) => setText(event.target.value)} />`}
    <dl class="values">
      ${found
        .slice(0, isFolded ? FOLDED : MOST_SHOWN)
        .map(
          ({ path, value }) =>
            html`<div key=${JSON.stringify(path)}><dt title=${path.join(".")}><bdi>${shownName(path.join("."))}</bdi></dt><dd tabindex=${isLong(value) ? 0 : null}><${Value} value=${value} path=${path} /></dd></div>`,
        )}
    </dl>
    ${isFolded && html`<button type="button" class="button" onClick=${() => setOpen(true)}>Show all ${items.length}</button>`}
    ${found.length === 0 && html`<p class="muted">Nothing found</p>`}
    ${!isFolded && found.length > MOST_SHOWN && html`<p class="muted">${found.length - MOST_SHOWN} more; search to find them.</p>`}`;
}
