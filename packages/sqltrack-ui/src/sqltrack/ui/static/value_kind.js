/**
 * Which value of a metric stands for a run.
 *
 * A kind is "max", "min", "last", "mean", or ["at", "val_loss", "min"] for the value at the step where val_loss is
 * smallest. "best" is max or min, as the name of the metric suggests; the server decides which.
 */

import { HOWS } from "./column_names.js";
import { ColumnPicker } from "./column_picker.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

/** The kind that leaves the choice between max and min to the name of a metric. */
export const BEST = "best";
const OTHER = "other";
const OPPOSITES = { max: "min", min: "max" };

/** Return the kind of value that a column of a metric shows. */
export function kindOfColumn(column) {
  return column[1] === "at" ? ["at", column[2], column[3]] : column[1];
}

/** Return the column that shows a metric by its value of a kind, which is not "best". */
export function columnOfKind(kind, metric) {
  return Array.isArray(kind) ? ["metric", ...kind, metric] : ["metric", kind, metric];
}

/** Return a kind as text: "max", or "at min val_loss". */
export function kindText(kind) {
  return Array.isArray(kind) ? `at ${kind[2]} ${kind[1]}` : kind;
}

/**
 * A list of the kinds of values. The other metric of "at" is chosen in a dialog.
 *
 * @param {object} props
 * @param {string|string[]} props.kind the current kind
 * @param {function(string|string[])} props.onChange gets the new kind
 * @param {string} props.label name of the list for screen readers: "Value of val_acc"
 * @param {object} props.filter filter of the runs whose metrics can be chosen
 * @param {boolean} [props.hasBest] whether to offer "best"
 * @param {string} [props.className] class of the list
 */
export function ValueKind({ kind, onChange, label, filter, hasBest = false, className = "field" }) {
  const [isAsking, setAsking] = useState(false);
  const isAt = Array.isArray(kind);
  const kinds = [
    ...(hasBest ? [BEST] : []),
    ...HOWS,
    ...(isAt ? [kind, ["at", kind[1], OPPOSITES[kind[2]] ?? "max"]] : []),
  ];
  const value = JSON.stringify(kind);
  const change = ({ target }) => {
    if (target.value === OTHER) {
      target.value = value;
      setAsking(true);
    } else {
      onChange(JSON.parse(target.value));
    }
  };
  const choose = ([, how, other]) => onChange(["at", other, how]);
  return html`<select class=${className} aria-label=${label} value=${value} onChange=${change}>
      ${kinds.map((choice) => {
        const id = JSON.stringify(choice);
        return html`<option key=${id} value=${id} selected=${id === value}>${kindText(choice)}</option>`;
      })}
      <option value=${OTHER}>${isAt ? "at best of another…" : "at best of…"}</option>
    </select>
    ${isAsking && html`<${ColumnPicker} title=${`${label} at the best of`} filter=${filter} kinds=${["best"]} onChoose=${choose} onClose=${() => setAsking(false)} />`}`;
}
