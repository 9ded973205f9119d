/** Search for columns among thousands, and choose one. */

import { columnId } from "./address.js";
import { get, isAbort } from "./api.js";
import { columnText, columnTitle } from "./column_names.js";
import { Dialog, ErrorNote, useDebounced } from "./components.js";
import { formatCount, formatPlural } from "./format.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

const PAGE = 200;

/** Choose one column, of some kinds such as "metric" or of all, see the query `columns`; `onChoose` gets it. */
export function ColumnPicker({ title, filter, kinds, onChoose, onClose }) {
  const choose = ({ column }) => {
    onChoose(column);
    onClose();
  };
  return html`<${Dialog} title=${title} onClose=${onClose} className="chooser">
    <${Candidates} filter=${filter} kinds=${kinds} isChosen=${() => false} onToggle=${choose} />
  </${Dialog}>`;
}

/** A list of all columns that a search finds, of which more are fetched as it is scrolled. */
export function Candidates({ filter, kinds, isChosen, onToggle }) {
  const [search, setSearch] = useState("");
  const wanted = useDebounced(search, 120);
  const [found, setFound] = useState({ columns: [], total: 0 });
  const [error, setError] = useState(null);
  const controller = useRef(null);
  const ask = (offset) => {
    controller.current?.abort();
    controller.current = new AbortController();
    const { signal } = controller.current;
    get("columns", { search: wanted, filter, limit: PAGE, offset, ...(kinds && { kinds }) }, { signal }).then(
      ({ columns, total }) => {
        setFound((known) => ({ columns: offset === 0 ? columns : [...known.columns, ...columns], total }));
        setError(null);
      },
      (failure) => isAbort(failure) || setError(failure),
    );
  };
  useEffect(() => {
    ask(0);
    return () => controller.current.abort();
  }, [wanted]);
  const onScroll = ({ target }) => {
    const isNearEnd = target.scrollTop + target.clientHeight > target.scrollHeight - 300;
    if (isNearEnd && found.columns.length < found.total) {
      ask(found.columns.length);
    }
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && found.columns.length > 0) {
      event.preventDefault();
      onToggle(found.columns[0]);
    }
  };
  return html`<input class="field wide" type="search" placeholder="Search columns" aria-label="Search columns" value=${search} onInput=${(event) => setSearch(event.target.value)} onKeyDown=${onKeyDown} data-focus />
    <${ErrorNote} error=${error} />
    <p class="muted" role="status">${formatPlural(found.total, "column")}</p>
    <ul class="choices" onScroll=${onScroll}>
      ${found.columns.map((entry) => html`<${Candidate} key=${columnId(entry.column)} entry=${entry} isChosen=${isChosen(entry.column)} onToggle=${onToggle} />`)}
    </ul>`;
}

function Candidate({ entry, isChosen, onToggle }) {
  const { name, detail } = columnTitle(entry.column);
  return html`<li>
    <label>
      <input type="checkbox" checked=${isChosen} onChange=${() => onToggle(entry)} />
      <bdi class="cut" title=${columnText(entry.column).slice(0, 500)}>${name}</bdi>
      <small>${detail}</small>
      ${entry.count !== undefined && entry.count !== null && html`<span class="count" title="Runs with a value">${formatCount(entry.count)}</span>`}
    </label>
  </li>`;
}
