/** The filter of the runs as text: an SQL condition, a search and the chosen facets. */

import { columnId, packIds } from "./address.js";
import { columnText } from "./column_names.js";
import { capitalize } from "./components.js";
import { clearFacet } from "./facets.js";
import { formatValue, isMissing } from "./format.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

const LONGEST_CHIP = 60;

/** Return whether a filter lets all runs pass. */
export function isEmptyFilter({ facets, where, search, ids }) {
  return facets.length === 0 && !where && !search && ids === null;
}

/** Show the fields of the filter and its facets as chips. `error` is that of the condition. */
export function FilterBar({ filter, error, onFilter, children }) {
  const setWhere = (where) => onFilter({ ...filter, where });
  const setSearch = (search) => onFilter({ ...filter, search });
  return html`<div class="bar filter-bar">
      ${children}
      <${TextField} id="where" className="where mono" value=${filter.where} onSet=${setWhere} label="SQL condition" placeholder="SQL condition, such as status = 'COMPLETED' AND id > 100" isWrong=${Boolean(error)} />
      <${TextField} id="search" className="search" value=${filter.search} onSet=${setSearch} label="Search runs" placeholder="Search" />
    </div>
    ${error && html`<p class="note error where-error" id="where-error" role="alert" tabindex="0">${capitalize(error.message)}</p>`}
    <${Chips} filter=${filter} onFilter=${onFilter} />`;
}

function TextField({ id, className, value, onSet, label, placeholder, isWrong }) {
  const [text, setText] = useState(value ?? "");
  const field = useRef(null);
  useEffect(() => setText(value ?? ""), [value]);
  const apply = (next) => {
    const trimmed = next.trim();
    if (trimmed !== (value ?? "")) {
      onSet(trimmed === "" ? null : trimmed);
    }
  };
  const onSubmit = (event) => {
    event.preventDefault();
    apply(text);
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      setText(value ?? "");
      // At once, because leaving the field applies its text.
      field.current.value = value ?? "";
      field.current.blur();
    }
  };
  // The cross of a search field empties it.
  const onSearch = (event) => event.target.value === "" && apply("");
  return html`<form class=${className} onSubmit=${onSubmit} role="search" aria-label=${label}>
    <input ref=${field} id=${id} class="field" type="search" value=${text} aria-label=${label} placeholder=${placeholder} spellcheck="false" autocomplete="off" autocapitalize="off" aria-invalid=${Boolean(isWrong)} aria-describedby=${isWrong ? `${id}-error` : null} onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown} onSearch=${onSearch} onBlur=${({ target }) => apply(target.value)} />
  </form>`;
}

function Chips({ filter, onFilter }) {
  if (filter.facets.length === 0 && filter.ids === null) {
    return null;
  }
  return html`<div class="bar chips" aria-label="Filters">
    ${filter.facets.map((facet) => html`<${Chip} key=${columnId(facet.column)} text=${facetText(facet)} onRemove=${() => onFilter(clearFacet(filter, facet.column))} />`)}
    ${filter.ids !== null && html`<${Chip} text=${`runs ${packIds(filter.ids)}`} onRemove=${() => onFilter({ ...filter, ids: null })} />`}
    <button type="button" class="button quiet" onClick=${() => onFilter({ ...filter, facets: [], ids: null })}>Clear</button>
  </div>`;
}

function Chip({ text, onRemove }) {
  const shown = text.length > LONGEST_CHIP ? `${text.slice(0, LONGEST_CHIP)}…` : text;
  return html`<span class="chip"><bdi class="cut" title=${text.slice(0, 500)}>${shown}</bdi><button type="button" aria-label=${`Remove the filter ${shown}`} onClick=${onRemove}>✕</button></span>`;
}

/** Return the text of a facet's choice: "model (args) = resnet or vit". */
export function facetText({ column, values, exclude }) {
  const texts = values.map((value) => (isMissing(value) ? "none" : formatValue(value)));
  return `${columnText(column)} ${exclude ? "≠" : "="} ${texts.join(exclude ? ", " : " or ")}`;
}
