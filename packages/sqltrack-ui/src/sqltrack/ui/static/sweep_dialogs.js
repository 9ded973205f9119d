/** The dialogs of a sweep: which axes are shown, and ranges by keyboard. */
import { columnId } from "./address.js";
import { Dialog } from "./components.js";
import { exactText, formatNumber, formatValue } from "./format.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

/** Choose the axes, their order, and which are logarithmic. `onChange` gets the columns, `onFlip` the id of an axis. */
export function AxesDialog({ axes, chosen, onChange, onFlip, onClose }) {
  const ids = new Set(chosen.map(({ id }) => id));
  const toggle = (axis) => {
    const next = ids.has(axis.id) ? chosen.filter(({ id }) => id !== axis.id) : [...chosen, axis];
    onChange(next.map(({ column }) => column));
  };
  const move = (axis, step) => {
    const from = chosen.findIndex(({ id }) => id === axis.id);
    const next = [...chosen];
    next.splice(Math.max(0, from + step), 0, ...next.splice(from, 1));
    onChange(next.map(({ column }) => column));
  };
  const ordered = [...chosen, ...axes.filter(({ id }) => !ids.has(id))];
  return html`<${Dialog} title="Axes" onClose=${onClose}>
    <p class="muted">The metric is always the last axis. Arrows move an axis to the left or right.</p>
    <ul class="choices sweep-axes">
      ${ordered.map(
        (axis, index) => html`<li key=${axis.id}>
          <label><input type="checkbox" checked=${ids.has(axis.id)} data-focus=${index === 0} onChange=${() => toggle(axis)} /><bdi class="cut">${axis.name}</bdi></label>
          ${axis.kind === "number" && html`<label class="control"><input type="checkbox" checked=${axis.isLog} aria-label=${`Logarithmic ${axis.name}`} onChange=${() => onFlip(axis.id)} /> log</label>`}
          ${
            ids.has(axis.id) &&
            html`<button type="button" class="button quiet icon" aria-label=${`Move ${axis.name} to the left`} disabled=${index === 0} onClick=${() => move(axis, -1)}>←</button>
            <button type="button" class="button quiet icon" aria-label=${`Move ${axis.name} to the right`} disabled=${index === chosen.length - 1} onClick=${() => move(axis, 1)}>→</button>`
          }
        </li>`,
      )}
    </ul>
  </${Dialog}>`;
}

/** Choose ranges without a mouse: two numbers, or some of the values, for each axis. */
export function RangesDialog({ axes, ranges, onChange, onClose }) {
  const known = new Map(ranges.map((range) => [columnId(range.column), range]));
  const set = (axis, range) => {
    const others = ranges.filter(({ column }) => columnId(column) !== axis.id);
    onChange(range === null ? others : [...others, { column: axis.column, ...range }]);
  };
  const clear = html`<button type="button" class="button" disabled=${ranges.length === 0} onClick=${() => onChange([])}>Clear all</button>`;
  return html`<${Dialog} title="Ranges" onClose=${onClose} actions=${clear}>
    <p class="muted">Runs that are within all ranges stay in the charts and in the table.</p>
    ${axes.map((axis, index) => html`<${AxisRange} key=${axis.id} axis=${axis} range=${known.get(axis.id)} isFirst=${index === 0} onSet=${(range) => set(axis, range)} />`)}
  </${Dialog}>`;
}

function AxisRange({ axis, range, isFirst, onSet }) {
  return html`<fieldset class="sweep-range">
    <legend><bdi>${axis.name}</bdi></legend>
    ${
      axis.kind === "places"
        ? html`<${PlacesRange} axis=${axis} range=${range} isFirst=${isFirst} onSet=${onSet} />`
        : html`<${NumberRange} axis=${axis} range=${range} isFirst=${isFirst} onSet=${onSet} />`
    }
  </fieldset>`;
}

function PlacesRange({ axis, range, isFirst, onSet }) {
  const chosen = new Set((range?.values ?? []).map((value) => JSON.stringify(value)));
  const toggle = (value) => {
    const id = JSON.stringify(value);
    const next = axis.values.filter((other) => (JSON.stringify(other) === id) !== chosen.has(JSON.stringify(other)));
    onSet(next.length === 0 ? null : { values: next });
  };
  return axis.values.map(
    (value, index) => html`<label key=${index} class="control" title=${exactText(value)}>
      <input type="checkbox" checked=${chosen.has(JSON.stringify(value))} data-focus=${isFirst && index === 0} onChange=${() => toggle(value)} /> <bdi>${formatValue(value) || '""'}</bdi>
    </label>`,
  );
}

function NumberRange({ axis, range, isFirst, onSet }) {
  const set = (end, value) => {
    const next = { low: range?.low, high: range?.high, [end]: value };
    onSet(next.low === undefined && next.high === undefined ? null : next);
  };
  return html`<${NumberField} label=${`${axis.name} from`} text="from" value=${range?.low} isFirst=${isFirst} onSet=${(value) => set("low", value)} />
    <${NumberField} label=${`${axis.name} to`} text="to" value=${range?.high} onSet=${(value) => set("high", value)} />`;
}

// Numbers such as 1e-4 are hard to type into a field of the type "number".
function NumberField({ label, text, value, isFirst, onSet }) {
  const [isWrong, setWrong] = useState(false);
  const change = ({ target }) => {
    const trimmed = target.value.trim();
    const number = Number(trimmed);
    setWrong(!Number.isFinite(number));
    if (Number.isFinite(number)) {
      onSet(trimmed === "" ? undefined : number);
    }
  };
  return html`<label class="control">${text}
    <input class="field number" inputmode="decimal" size="9" aria-label=${label} aria-invalid=${isWrong} data-focus=${isFirst} value=${value === undefined || value === null ? "" : formatNumber(value)} onChange=${change} />
  </label>`;
}
