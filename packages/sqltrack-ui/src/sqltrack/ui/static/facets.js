/** The panel of facets: values with counts, by which runs are filtered. */

import { columnId } from "./address.js";
import { get, isAbort } from "./api.js";
import { columnText, columnTitle } from "./column_names.js";
import { ErrorNote } from "./components.js";
import { exactText, formatCount, formatValue, isMissing, shownName } from "./format.js";
import { useRetry } from "./poll.js";
import { Status } from "./status.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Values shown of each facet at first, and when all are asked for. */
const FEW = 20;
const MANY = 2000;
const TAG = "tag";

/** Return a filter in which a value of a facet is chosen, or no longer. */
export function toggleValue(filter, column, value, exclude = false) {
  const id = columnId(column);
  const text = JSON.stringify(value);
  const others = filter.facets.filter((facet) => columnId(facet.column) !== id);
  const facet = filter.facets.find((known) => columnId(known.column) === id) ?? { column, values: [] };
  const isSame = Boolean(facet.exclude) === exclude;
  const hasValue = facet.values.some((known) => JSON.stringify(known) === text);
  const kept = isSame ? facet.values.filter((known) => JSON.stringify(known) !== text) : [];
  const values = isSame && hasValue ? kept : [...kept, value];
  const changed = values.length === 0 ? [] : [{ column, values, ...(exclude && { exclude }) }];
  return { ...filter, facets: [...others, ...changed] };
}

/** Return a filter without any choice in a facet. */
export function clearFacet(filter, column) {
  return { ...filter, facets: filter.facets.filter((facet) => columnId(facet.column) !== columnId(column)) };
}

/** Show the facets of the filtered runs. `extra` are columns that the user added. The rows come first: `isReady` says when. */
export function Facets({ filter, extra, version, isReady, onFilter, onAdd, onRemove }) {
  const [facets, setFacets] = useState([]);
  const [error, setError] = useState(null);
  const [tries, setTries] = useState(0);
  useRetry(error, () => setTries((count) => count + 1));
  const inputs = JSON.stringify([filter, extra]);
  useEffect(() => {
    if (!isReady) {
      return undefined;
    }
    const controller = new AbortController();
    fetchFacets(filter, extra, controller.signal).then(
      (found) => {
        setFacets(found);
        setError(null);
      },
      (failure) => isAbort(failure) || setError(failure),
    );
    return () => controller.abort();
  }, [inputs, version, isReady, tries]);
  return html`<div class="facets">
    <${ErrorNote} error=${error} />
    ${facets
      .filter(({ column }) => column[0] !== TAG)
      .map((facet) => {
        const id = columnId(facet.column);
        const isExtra = extra.some((column) => columnId(column) === id);
        return html`<${Facet} key=${id} facet=${facet} filter=${filter} onFilter=${onFilter} onRemove=${isExtra && (() => onRemove(facet.column))} />`;
      })}
    <${TagFacet} facets=${facets.filter(({ column }) => column[0] === TAG)} filter=${filter} onFilter=${onFilter} />
    <button type="button" class="button quiet" onClick=${onAdd}>+ Add a facet</button>
  </div>`;
}

async function fetchFacets(filter, extra, signal) {
  const calls = [get("facets", { filter, columns: null, limit: FEW }, { signal })];
  if (extra.length > 0) {
    calls.push(get("facets", { filter, columns: extra, limit: FEW }, { signal }));
  }
  const answers = await Promise.all(calls);
  const byId = new Map(answers.flatMap(({ facets }) => facets).map((facet) => [columnId(facet.column), facet]));
  return [...byId.values()];
}

function Facet({ facet, filter, onFilter, onRemove }) {
  const { column, values, others } = facet;
  const [isAll, setAll] = useState(false);
  const [all, setAllValues] = useState(null);
  const [search, setSearch] = useState("");
  const field = useRef(null);
  useEffect(() => field.current?.focus(), [isAll]);
  const choice = filter.facets.find((known) => columnId(known.column) === columnId(column));
  const inputs = JSON.stringify(filter);
  useEffect(() => {
    if (!isAll) {
      return undefined;
    }
    const controller = new AbortController();
    get("facets", { filter, columns: [column], limit: MANY }, { signal: controller.signal }).then(
      (answer) => setAllValues(answer.facets[0]),
      () => {},
    );
    return () => controller.abort();
  }, [isAll, inputs]);
  const source = isAll && all !== null ? all : facet;
  const shown = useMemo(() => filterValues(source.values, search), [source, search]);
  const { name, detail } = columnTitle(column);
  const largest = Math.max(1, ...values.map(({ count }) => count));
  return html`<details class="facet" open>
    <summary>
      <bdi class="cut" title=${columnText(column)}>${name}</bdi>${detail && html` <small>${detail}</small>`}
      ${choice && html`<span class="badge" title="Chosen values">${choice.exclude ? "not " : ""}${choice.values.length}</span>`}
      ${onRemove && html`<button type="button" class="drop" aria-label=${`Remove the facet ${name}`} onClick=${onRemove}>✕</button>`}
    </summary>
    ${isAll && html`<input class="field" type="search" placeholder="Search values" aria-label=${`Search values of ${name}`} value=${search} onInput=${(event) => setSearch(event.target.value)} ref=${field} />`}
    <ul aria-label=${columnText(column)}>
      ${shown.slice(0, isAll ? 200 : FEW).map((value) => html`<${FacetValue} key=${JSON.stringify(value.value)} column=${column} value=${value} share=${value.count / largest} exclude=${Boolean(choice?.exclude)} filter=${filter} onFilter=${onFilter} />`)}
    </ul>
    ${shown.length === 0 && html`<p class="muted">No such value</p>`}
    ${!isAll && others > 0 && html`<button type="button" class="more" onClick=${() => setAll(true)}>${formatCount(others)} more…</button>`}
    ${isAll && html`<button type="button" class="more" onClick=${() => setAll(false)}>Show fewer</button>`}
  </details>`;
}

/** All tags in one list: the runs that have them. Alt-click: the runs that do not. */
function TagFacet({ facets, filter, onFilter }) {
  if (facets.length === 0) {
    return null;
  }
  const tags = facets.map(({ column, values }) => {
    const has = values.find(({ value }) => value === true);
    const hasNot = values.find(({ value }) => value === false);
    return { column, count: has?.count ?? 0, isChosen: Boolean(has?.selected), isExcluded: Boolean(hasNot?.selected) };
  });
  const largest = Math.max(1, ...tags.map(({ count }) => count));
  const choose = ({ column, isExcluded }, event) =>
    onFilter(toggleValue(filter, column, !(event.altKey || isExcluded)));
  return html`<details class="facet" open>
    <summary>Tags</summary>
    <ul aria-label="Tags">
      ${tags.map(
        (tag) => html`<li key=${tag.column[1]} class=${tag.isExcluded ? "excluded" : ""}>
        <label title=${`${tag.column[1].slice(0, 500)} (Alt-click: runs without this tag)`} style=${shareStyle(tag.count / largest)}>
          <input type="checkbox" checked=${tag.isChosen || tag.isExcluded} onClick=${(event) => choose(tag, event)} />
          <bdi class="cut">${shownName(tag.column[1])}</bdi>
          <span class="count">${formatCount(tag.count)}</span>
        </label>
      </li>`,
      )}
    </ul>
  </details>`;
}

function shareStyle(share) {
  return { "--share": `${Math.round(share * 100)}%` };
}

function filterValues(values, search) {
  const wanted = search.trim().toLowerCase();
  return wanted === "" ? values : values.filter(({ value }) => exactText(value).toLowerCase().includes(wanted));
}

function FacetValue({ column, value: { value, count, selected }, share, exclude, filter, onFilter }) {
  const isStatus = column[0] === "run" && column[1] === "status";
  const text = isMissing(value) ? "none" : shownName(formatValue(value));
  const choose = (event) => onFilter(toggleValue(filter, column, value, event.altKey || (exclude && selected)));
  return html`<li class=${selected && exclude ? "excluded" : ""}>
    <label title=${`${exactText(value).slice(0, 500)} (Alt-click: all but this)`} style=${shareStyle(share)}>
      <input type="checkbox" checked=${selected} onClick=${choose} />
      ${isStatus && !isMissing(value) ? html`<${Status} status=${value} />` : html`<bdi class=${`cut ${isMissing(value) ? "muted" : ""}`}>${text}</bdi>`}
      <span class="count">${formatCount(count)}</span>
    </label>
  </li>`;
}
