/** The chooser of columns: search among thousands, order, pin and remove. */

import { columnId } from "./address.js";
import { get, isAbort } from "./api.js";
import { columnText, columnTitle, HOWS, metricOf } from "./column_names.js";
import { Dialog, ErrorNote, useDebounced } from "./components.js";
import { formatCount, formatPlural } from "./format.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

const PAGE = 200;
/** Choices in a list of values of a metric that are no value themselves. */
const AT = "at";
const CURRENT = "current";

/** Choose one column, of some groups such as "metric" or of all; `onChoose` gets it. */
export function ColumnPicker({ title, filter, groups, onChoose, onClose }) {
  const choose = ({ column }) => {
    onChoose(column);
    onClose();
  };
  return html`<${Dialog} title=${title} onClose=${onClose} className="chooser">
    <${Candidates} filter=${filter} groups=${groups} isChosen=${() => false} onToggle=${choose} />
  </${Dialog}>`;
}

/** Choose, order and pin the columns of the table. `onChange` gets {columns, pinned}. */
export function ColumnChooser({ columns, pinned, filter, onChange, onReset, onClose }) {
  const ids = new Set(columns.map(columnId));
  const toggle = ({ column }) => {
    const id = columnId(column);
    const next = ids.has(id) ? columns.filter((known) => columnId(known) !== id) : [...columns, column];
    onChange({
      columns: next,
      pinned: pinned.filter((known) => next.some((kept) => columnId(kept) === columnId(known))),
    });
  };
  const reset = html`<button type="button" class="button" onClick=${onReset} title="Show the columns that differ">Reset</button>`;
  return html`<${Dialog} title="Columns" onClose=${onClose} actions=${reset} className="chooser">
    <div class="chooser-sides">
      <section aria-label="All columns">
        <${Candidates} filter=${filter} isChosen=${(column) => ids.has(columnId(column))} onToggle=${toggle} />
      </section>
      <section aria-label="Shown columns">
        <h3>Shown <span class="muted">${columns.length}</span></h3>
        <${ShownColumns} columns=${columns} pinned=${pinned} filter=${filter} onChange=${onChange} />
      </section>
    </div>
  </${Dialog}>`;
}

/** A list of all columns that a search finds, of which more are fetched as it is scrolled. */
function Candidates({ filter, groups, isChosen, onToggle }) {
  const [search, setSearch] = useState("");
  const wanted = useDebounced(search, 120);
  const [found, setFound] = useState({ columns: [], total: 0 });
  const [error, setError] = useState(null);
  const controller = useRef(null);
  const ask = (offset) => {
    controller.current?.abort();
    controller.current = new AbortController();
    const { signal } = controller.current;
    get("columns", { search: wanted, filter, limit: PAGE, offset, ...(groups && { kinds: groups }) }, { signal }).then(
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

function ShownColumns({ columns, pinned, filter, onChange }) {
  const [dragged, setDragged] = useState(null);
  const list = useRef(null);
  const pins = new Set(pinned.map(columnId));
  const move = (from, to) => {
    if (to < 0 || to >= columns.length || from === to) {
      return;
    }
    const next = [...columns];
    next.splice(to, 0, ...next.splice(from, 1));
    onChange({ columns: next, pinned });
  };
  const replace = (index, column) => {
    const before = columnId(columns[index]);
    const rename = (known) => (columnId(known) === before ? column : known);
    onChange({ columns: unique(columns.map(rename)), pinned: unique(pinned.map(rename)) });
  };
  const remove = (index) => {
    const id = columnId(columns[index]);
    onChange({
      columns: columns.filter((_, other) => other !== index),
      pinned: pinned.filter((known) => columnId(known) !== id),
    });
  };
  const pin = (column) => {
    const id = columnId(column);
    onChange({
      columns,
      pinned: pins.has(id) ? pinned.filter((known) => columnId(known) !== id) : [...pinned, column],
    });
  };
  const onKeyDown = (event, index) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step !== undefined && event.altKey) {
      event.preventDefault();
      move(index, index + step);
      const { name } = event.target.dataset;
      requestAnimationFrame(() =>
        list.current?.children[index + step]?.querySelector(`[data-name="${name}"]`)?.focus(),
      );
    }
  };
  return html`<p class="muted">Drag, or Alt-↑ and Alt-↓</p>
    <ol class="choices" ref=${list}>
      ${columns.map(
        (column, index) => html`<li
          key=${columnId(column)}
          draggable="true"
          class=${dragged === index ? "dragged" : ""}
          onDragStart=${(event) => {
            event.dataTransfer.effectAllowed = "move";
            setDragged(index);
          }}
          onDragOver=${(event) => event.preventDefault()}
          onDrop=${(event) => {
            event.preventDefault();
            move(dragged, index);
          }}
          onDragEnd=${() => setDragged(null)}
          onKeyDown=${(event) => onKeyDown(event, index)}
        >
          <${ShownColumn} column=${column} filter=${filter} isPinned=${pins.has(columnId(column))} onPin=${() => pin(column)} onReplace=${(next) => replace(index, next)} onRemove=${() => remove(index)} />
        </li>`,
      )}
    </ol>`;
}

function ShownColumn({ column, filter, isPinned, onPin, onReplace, onRemove }) {
  const { name, detail } = columnTitle(column);
  const text = columnText(column);
  return html`<span class="grip" aria-hidden="true">⠿</span>
    <bdi class="cut" title=${text.slice(0, 500)}>${name}</bdi>
    ${metricOf(column) === null ? html`<small>${detail}</small>` : html`<${HowChoice} column=${column} filter=${filter} onReplace=${onReplace} />`}
    <button type="button" data-name="pin" class="button quiet icon" aria-pressed=${isPinned} aria-label=${`Pin ${text}`} title="Keep at the left" onClick=${onPin}>⇤</button>
    <button type="button" data-name="remove" class="button quiet icon" aria-label=${`Remove ${text}`} title="Remove" onClick=${onRemove}>✕</button>`;
}

/** Choose which value of a metric a column shows: the best, the last, or that where another metric is best. */
function HowChoice({ column, filter, onReplace }) {
  const [isAsking, setAsking] = useState(false);
  const metric = metricOf(column);
  const choose = ({ target }) => {
    if (target.value === AT) {
      setAsking(true);
      target.value = column[1] === "at" ? CURRENT : column[1];
    } else if (target.value !== CURRENT) {
      onReplace(["metric", target.value, metric]);
    }
  };
  const chooseOther = ([, how, other]) => onReplace(["metric", "at", other, how === "min" ? "min" : "max", metric]);
  const isAt = column[1] === "at";
  return html`<select class="field" aria-label=${`Value of ${metric}`} value=${isAt ? CURRENT : column[1]} onChange=${choose}>
      ${isAt && html`<option value=${CURRENT}>${columnTitle(column).detail}</option>`}
      ${HOWS.map((how) => html`<option value=${how}>${how}</option>`)}
      <option value=${AT}>at best of…</option>
    </select>
    ${isAsking && html`<${ColumnPicker} title=${`${metric} at the best value of`} filter=${filter} groups=${["metric"]} onChoose=${chooseOther} onClose=${() => setAsking(false)} />`}`;
}

function unique(columns) {
  return [...new Map(columns.map((column) => [columnId(column), column])).values()];
}
