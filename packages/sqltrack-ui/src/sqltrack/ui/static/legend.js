/** The legend of curves: the runs as a table with the color and the dash of each, or the groups. */

import { columnId } from "./address.js";
import { Swatch } from "./chart_figure.js";
import { exactText, formatValue } from "./format.js";
import { rangeOfN } from "./group_notes.js";
import { lineStyles } from "./palette.js";
import { useSignal } from "./signal.js";
import { href, navigate } from "./state.js";
import { findGroup } from "./status.js";
import { scheme } from "./theme.js";
import { html, useMemo } from "./vendor/htm/standalone.module.js";

/**
 * Runs as rows; the pointer or the focus on one highlights its curves.
 *
 * @param {object} props
 * @param {{rows: object[], columns: object[]}|null} props.answer answer of the query `runs`
 * @param {number[]} props.runs ids of the runs, in this order
 * @param {number[]} props.hidden ids of the runs whose curves are not drawn
 * @param {function(number[])} props.onHide gets the new ids
 * @param {function(number)} props.onRemove gets the id of a run to take out of the selection
 * @param {object} props.highlight signal with the id of the highlighted run
 */
export function Legend({ answer, runs, hidden, onHide, onRemove, highlight }) {
  const shownScheme = useSignal(scheme);
  const highlighted = useSignal(highlight);
  const styles = useMemo(() => lineStyles(runs, shownScheme), [String(runs), shownScheme]);
  const rows = new Map((answer?.rows ?? []).map((row) => [row.id, row]));
  const columns = (answer?.columns ?? []).filter(({ column }) => !isShownAnyway(column));
  const hasSeveral = new Set([...rows.values()].map(({ experiment }) => experiment)).size > 1;
  const isGone = (id) => answer?.total === answer?.rows.length && !rows.has(id);
  const toggle = (id) => onHide(hidden.includes(id) ? hidden.filter((other) => other !== id) : [...hidden, id]);
  const toggleAll = () => onHide(hidden.length ? [] : [...runs]);
  return html`<div class="legend" tabindex="0" role="region" aria-label="Runs">
    <table class="table legend-table">
      <thead><tr>
        <th scope="col"><input type="checkbox" aria-label="Draw all runs" title="Draw all or none" checked=${hidden.length === 0} onChange=${toggleAll} /></th>
        <th scope="col">Run</th>${hasSeveral && html`<th scope="col">Experiment</th>`}
        ${columns.map(({ column, label, kind }) => html`<th scope="col" key=${columnId(column)} title=${label} class=${kind === "number" ? "number" : ""}><bdi>${label}</bdi></th>`)}
        <th scope="col"><span class="visually-hidden">Remove</span></th>
      </tr></thead>
      <tbody onPointerLeave=${() => highlight.set(null)}>
        ${runs.map(
          (
            id,
          ) => html`<${LegendRow} key=${id} id=${id} row=${rows.get(id)} columns=${answer?.columns ?? []} hasSeveral=${hasSeveral} style=${styles.get(id)} isGone=${answer !== null && isGone(id)}
            isHidden=${hidden.includes(id)} isHighlighted=${highlighted === id} highlight=${highlight} onToggle=${() => toggle(id)} onRemove=${onRemove} />`,
        )}
      </tbody>
    </table>
  </div>`;
}

function isShownAnyway(column) {
  const [kind, name] = column;
  return (kind === "run" && ["id", "status"].includes(name)) || (kind === "experiment" && name === "name");
}

function LegendRow(props) {
  const { id, row, columns, hasSeveral, style, isGone, isHidden, isHighlighted, highlight, onToggle, onRemove } = props;
  const follow = (event) => {
    if (!(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      navigate(`run/${id}`);
    }
  };
  const cells = columns
    .map(({ column, kind }, index) => [column, kind, row?.values[index]])
    .filter(([column]) => !isShownAnyway(column));
  return html`<tr class=${`${isHighlighted ? "highlighted" : ""} ${isHidden ? "hidden-run" : ""}`} onPointerEnter=${() => highlight.set(id)} onFocusIn=${() => highlight.set(id)}>
    <td><input type="checkbox" aria-label=${`Draw run ${id}`} checked=${!isHidden} onChange=${onToggle} /></td>
    <td class="legend-run"><${Swatch} ...${style} /> <a href=${href(`run/${id}`)} onClick=${follow}>${id}</a> ${row && html`<${StatusSymbol} status=${row.status} />`}${isGone && html`<span class="muted">deleted</span>`}</td>
    ${hasSeveral && html`<td class="cut legend-text" title=${row?.experiment}><bdi>${row?.experiment}</bdi></td>`}
    ${cells.map(
      ([
        column,
        kind,
        value,
      ]) => html`<td key=${columnId(column)} class=${`cut legend-text ${kind === "number" ? "number" : ""}`} title=${exactText(value)}>
        <bdi>${formatValue(value, column[1] === "duration" ? "duration" : kind)}</bdi>
      </td>`,
    )}
    <td><button type="button" class="button quiet legend-remove" aria-label=${`Take run ${id} out`} title="Take out of the selection" onClick=${() => onRemove(id)}>✕</button></td>
  </tr>`;
}

// Only the symbol, as the table is narrow; the status is its name.
function StatusSymbol({ status }) {
  const group = findGroup(status);
  return html`<span class="status legend-status" style=${{ color: group[scheme.get()] }} role="img" aria-label=${status} title=${status}>${group.symbol}\ufe0e</span>`;
}

/** The groups with their styles: [{name, color, dash, runs, parts}]; `parts` are the groups of the charts. */
export function GroupLegend({ groups, highlight }) {
  const highlighted = useSignal(highlight);
  return html`<div class="legend" tabindex="0" role="region" aria-label="Groups">
    <table class="table legend-table">
      <thead><tr><th scope="col">Group</th><th scope="col" class="number">Runs</th><th scope="col" class="number" title="Runs with a value, over all points of the charts">n</th></tr></thead>
      <tbody onPointerLeave=${() => highlight.set(null)}>
        ${groups.map(
          ({
            name,
            color,
            dash,
            runs,
            parts,
          }) => html`<tr key=${name} class=${highlighted === name ? "highlighted" : ""} onPointerEnter=${() => highlight.set(name)}>
            <td><${Swatch} color=${color} dash=${dash} /> <bdi>${name}</bdi></td><td class="number">${runs}</td><td class="number">${rangeOfN(parts)}</td>
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
