/** The choice of what the runs of a group have in common: columns, or all arguments except some. */

import { columnId } from "./address.js";
import { columnText, columnTitle } from "./column_names.js";
import { Candidates } from "./column_picker.js";
import { Dialog, ErrorNote } from "./components.js";
import { useQuery } from "./curve_runs.js";
import { formatPlural } from "./format.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

const ALL_BUT_SEED = "all_but_seed";
const CHOOSE = "choose";
/** Kinds of columns by which runs are grouped, see the query `columns`. */
const KINDS = ["args", "tag", "experiment", "extras", "env"];
const STATUS = ["run", "status"];

/** Return the columns of a group, [] if all arguments count. */
function columnsOf(group) {
  if (!Array.isArray(group)) {
    return [];
  }
  return Array.isArray(group[0]) ? group : [group];
}

/** Return a group as text: "lr, model", or "all but the seed". */
export function groupText(group) {
  if (group === null) {
    return "none";
  }
  if (group === ALL_BUT_SEED) {
    return "all but the seed";
  }
  const ignored = group.all_but;
  if (ignored) {
    return ignored.length === 0 ? "all arguments" : `all but ${ignored.map((path) => path.join(".")).join(", ")}`;
  }
  return columnsOf(group)
    .map((column) => columnTitle(column).name)
    .join(", ");
}

/**
 * A list of groups, and a dialog for the others.
 *
 * @param {object} props
 * @param {*} props.group the current group: null, a column, a list of columns, "all_but_seed" or {all_but: paths}
 * @param {function(*)} props.onChange gets the new group
 * @param {object} props.filter filter of the runs that are grouped
 * @param {object[]} props.columns columns that the list offers
 * @param {string} props.label name of the list
 * @param {boolean} [props.isAsking] whether to open the dialog
 * @param {function(boolean)} props.onAsk opens and closes the dialog
 */
export function GroupChoice({ group, onChange, filter, columns, label, isAsking, onAsk }) {
  const value = JSON.stringify(group);
  const quick = [null, ALL_BUT_SEED, ...columns.filter((column) => KINDS.includes(column[0])), STATUS];
  const isKnown = quick.some((choice) => JSON.stringify(choice) === value);
  const change = ({ target }) => {
    if (target.value === CHOOSE) {
      target.value = value;
      onAsk(true);
    } else {
      onChange(JSON.parse(target.value));
    }
  };
  return html`<label class="control">${label}
      <select class="field" value=${value} onChange=${change} title="Group (y)">
        ${(isKnown ? quick : [...quick, group]).map((choice) => {
          const id = JSON.stringify(choice);
          return html`<option key=${id} value=${id} selected=${id === value}>${groupText(choice)}</option>`;
        })}
        <option value=${CHOOSE}>choose…</option>
      </select>
    </label>
    ${isAsking && html`<${GroupDialog} group=${group} filter=${filter} onChange=${onChange} onClose=${() => onAsk(false)} />`}`;
}

function GroupDialog({ group, filter, onChange, onClose }) {
  const [byArguments, setByArguments] = useState(group !== null && !Array.isArray(group));
  const choose = (isAll) => {
    setByArguments(isAll);
    onChange(isAll ? ALL_BUT_SEED : null);
  };
  const none = html`<button type="button" class="button" disabled=${group === null} onClick=${() => onChange(null)}>No groups</button>`;
  return html`<${Dialog} title="Group by" onClose=${onClose} actions=${none} className="group-dialog">
    <div class="choice" role="radiogroup" aria-label="What the runs of a group have in common">
      <label class="control"><input type="radio" name="group-kind" checked=${!byArguments} onChange=${() => choose(false)} /> columns</label>
      <label class="control"><input type="radio" name="group-kind" checked=${byArguments} onChange=${() => choose(true)} data-focus=${byArguments} /> all arguments but …</label>
    </div>
    ${
      byArguments
        ? html`<${IgnoredArguments} group=${group} filter=${filter} onChange=${onChange} />`
        : html`<${GroupColumns} columns=${columnsOf(group)} filter=${filter} onChange=${onChange} />`
    }
  </${Dialog}>`;
}

function GroupColumns({ columns, filter, onChange }) {
  const ids = new Set(columns.map(columnId));
  const toggle = ({ column }) => {
    const id = columnId(column);
    const next = ids.has(id) ? columns.filter((known) => columnId(known) !== id) : [...columns, column];
    onChange(next.length > 1 ? next : (next[0] ?? null));
  };
  return html`<p class="chips" aria-label="Chosen columns">
      ${columns.length === 0 && html`<span class="muted">No column is chosen.</span>`}
      ${columns.map((column) => html`<span key=${columnId(column)} class="chip"><bdi class="cut">${columnText(column)}</bdi><button type="button" aria-label=${`Do not group by ${columnText(column)}`} onClick=${() => toggle({ column })}>✕</button></span>`)}
    </p>
    <${Candidates} filter=${filter} kinds=${KINDS} isChosen=${(column) => ids.has(columnId(column))} onToggle=${toggle} />`;
}

function IgnoredArguments({ group, filter, onChange }) {
  const { answer, error } = useQuery("group_choices", { filter });
  const known = answer?.arguments ?? [];
  const seeds = known.filter(({ seed }) => seed).map(({ path }) => path);
  const ignored = group?.all_but ?? seeds;
  const ids = new Set(ignored.map(columnId));
  const toggle = (path) => {
    const id = columnId(path);
    onChange({ all_but: ids.has(id) ? ignored.filter((other) => columnId(other) !== id) : [...ignored, path] });
  };
  return html`<${ErrorNote} error=${error} />
    <p class="muted">Runs are in one group if all their arguments are equal, except those that you check here.</p>
    <ul class="choices">
      ${known.map(
        ({ path, label, values, seed }) => html`<li key=${columnId(path)}><label>
          <input type="checkbox" checked=${ids.has(columnId(path))} onChange=${() => toggle(path)} />
          <bdi class="cut" title=${label}>${label}</bdi>${seed && html`<small>seed</small>`}
          <span class="count">${formatPlural(values, "value")}</span>
        </label></li>`,
      )}
    </ul>
    ${answer && known.length === 0 && html`<p class="muted">These runs have the same arguments.</p>`}`;
}
