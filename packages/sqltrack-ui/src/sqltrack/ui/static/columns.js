/** The chooser of columns: search among thousands, order, pin and remove. */

import { columnId } from "./address.js";
import { columnText, columnTitle, metricOf } from "./column_names.js";
import { Candidates } from "./column_picker.js";
import { Dialog } from "./components.js";
import { columnOfKind, kindOfColumn, ValueKind } from "./value_kind.js";
import { html, useRef, useState } from "./vendor/htm/standalone.module.js";

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
    ${metricOf(column) === null ? html`<small>${detail}</small>` : html`<${ValueKind} kind=${kindOfColumn(column)} label=${`Value of ${name}`} filter=${filter} onChange=${(kind) => onReplace(columnOfKind(kind, name))} />`}
    <button type="button" data-name="pin" class="button quiet icon" aria-pressed=${isPinned} aria-label=${`Pin ${text}`} title="Keep at the left" onClick=${onPin}>⇤</button>
    <button type="button" data-name="remove" class="button quiet icon" aria-label=${`Remove ${text}`} title="Remove" onClick=${onRemove}>✕</button>`;
}

function unique(columns) {
  return [...new Map(columns.map((column) => [columnId(column), column])).values()];
}
