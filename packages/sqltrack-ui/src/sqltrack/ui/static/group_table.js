/** The table of groups of runs: how many, mean and spread of each column, and the runs of a group on demand. */

import { columnId } from "./address.js";
import { nameGroup } from "./chart_names.js";
import { columnText, columnTitle } from "./column_names.js";
import { ErrorNote } from "./components.js";
import { useQuery } from "./curve_runs.js";
import {
  decode,
  exactText,
  formatCount,
  formatDuration,
  formatNumber,
  formatPlural,
  formatValue,
  shownName,
} from "./format.js";
import { BANDS, formatHalf } from "./group_notes.js";
import { useKeys } from "./keys.js";
import { href, navigate } from "./state.js";
import { Status } from "./status.js";
import { Value } from "./values.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Groups that are shown at first, and those that are added. */
const PAGE = 100;
/** Runs of an open group, at most. */
const MOST_RUNS = 1000;
const BY_VALUE = ["group", "value"];
const BY_SIZE = ["group", "n"];

/**
 * Show groups of runs.
 *
 * @param {object} props
 * @param {object} props.state state of the address: `filter`, `rowGroup`, `columns`, `band`, `selected`, and
 *   `groupSort`, like `sort`
 * @param {function} props.setState
 * @param {object[]|null} props.columns columns that are shown, null for the server's choice
 * @param {string|null} props.version of the data
 * @param {function(object)} props.onAnswer gets the answer of the query `group_rows`
 */
export function GroupTable({ state, setState, columns, version, onAnswer }) {
  const [limit, setLimit] = useState(PAGE);
  const [open, setOpen] = useState(new Set());
  const root = useRef(null);
  const { filter, rowGroup: group, groupSort: sort, band, selected } = state;
  const { answer, error } = useQuery("group_rows", { filter, group, columns, sort, limit }, true, version);
  useEffect(() => onAnswer(answer), [answer]);
  useEffect(() => setOpen(new Set()), [JSON.stringify(group)]);
  const toggle = (key) => setOpen((before) => flip(before, key));
  const select = (ids) => setState({ selected: toggleAll(selected, ids) }, { replace: true });
  useRowKeys(root);
  if (answer === null) {
    return html`<${ErrorNote} error=${error} />`;
  }
  const shared = { answer, band, filter, selected: new Set(selected), select };
  return html`<div class="group-table" tabindex="0" role="region" aria-label="Groups of runs" ref=${root}>
    <${ErrorNote} error=${error} />
    <table class="table">
      <${Head} columns=${answer.columns} sort=${sort} band=${band} onSort=${(next) => setState({ groupSort: next })} />
      ${answer.rows.map((row) => {
        const key = JSON.stringify(row.value);
        return html`<${Group} key=${key} row=${row} isOpen=${open.has(key)} onToggle=${() => toggle(key)} ...${shared} />`;
      })}
    </table>
    <p class="group-foot muted">
      ${formatPlural(answer.total, "group")} of ${formatPlural(answer.runs, "run")}.${" "}
      ${answer.truncated > 0 && `The oldest ${formatPlural(answer.truncated, "run")} are left out; filter to group them.`}
      ${answer.rows.length < answer.total && html`<button type="button" class="button" onClick=${() => setLimit(Math.min(limit + PAGE, 1000))}>Show more</button>`}
    </p>
  </div>`;
}

/** Choose the spread that the table of groups shows. */
export function SpreadChoice({ band, onChange }) {
  return html`<label class="control">spread
    <select class="field" value=${band} onChange=${(event) => onChange(event.target.value)}>
      ${Object.entries(BANDS).map(([name, text]) => html`<option key=${name} value=${name} selected=${name === band}>${text}</option>`)}
    </select>
  </label>`;
}

// The keys of the table of runs, for groups and their runs.
function useRowKeys(root) {
  const rows = () => [...(root.current?.querySelectorAll("[data-row]") ?? [])];
  const current = () => document.activeElement?.closest?.("tr")?.querySelector("[data-row]") ?? null;
  const move = (step) => {
    const all = rows();
    const index = all.indexOf(current());
    all[Math.min(Math.max(index + step, 0), all.length - 1)]?.focus();
  };
  useKeys("Groups of runs", {
    j: ["next group or run", () => move(1)],
    k: ["previous group or run", () => move(-1)],
    x: [
      "select the runs of the group, or no longer",
      () => current()?.closest("tr").querySelector("[type=checkbox]").click(),
    ],
    Enter: ["show the runs of the group, or open the run", () => current()?.click()],
  });
}

function Head({ columns, sort, band, onSort }) {
  const heading = (column, title, isNumber) => {
    const known = sort.find((item) => columnId(item.column) === columnId(column));
    const arrow = known === undefined ? "" : known.descending ? " ↓" : " ↑";
    const next =
      known === undefined
        ? [{ column, descending: isNumber }]
        : isNumber === known.descending
          ? [{ column, descending: !isNumber }]
          : [];
    const order = known === undefined ? "none" : known.descending ? "descending" : "ascending";
    return html`<th scope="col" key=${columnId(column)} class=${isNumber ? "number" : ""} aria-sort=${order}>
      <button type="button" class="group-sort" title="Sort" onClick=${() => onSort(next)}>${title}${arrow}</button>
    </th>`;
  };
  return html`<thead><tr>
    <th scope="col"><span class="visually-hidden">Selected</span></th>
    ${heading(BY_VALUE, "Group", false)}
    ${heading(BY_SIZE, "Runs", true)}
    ${columns.map(({ column, kind }) => {
      const { name, detail } = columnTitle(column);
      const isNumber = kind === "number";
      const title = html`<bdi title=${columnText(column)}>${name}</bdi> <small>${[detail, isNumber && `mean ${BANDS[band]}`].filter(Boolean).join(", ")}</small>`;
      return heading(column, title, isNumber);
    })}
  </tr></thead>`;
}

function Group({ row, answer, band, filter, selected, select, isOpen, onToggle }) {
  const name = nameGroup(row.value);
  const chosen = row.runs.filter((id) => selected.has(id)).length;
  const box = (element) => {
    if (element) {
      element.indeterminate = chosen > 0 && chosen < row.runs.length;
    }
  };
  return html`<tbody>
    <tr class="group-row">
      <td><input type="checkbox" ref=${box} checked=${chosen === row.runs.length} aria-label=${`Select the runs of ${name}`} onChange=${() => select(row.runs)} /></td>
      <th scope="row"><button type="button" data-row class="group-name" aria-expanded=${isOpen} onClick=${onToggle}>
        <span aria-hidden="true">${isOpen ? "▾" : "▸"}</span> <bdi>${name}</bdi>
      </button></th>
      <td class="number">${formatCount(row.n)}</td>
      ${row.cells.map((cell, index) => html`<${Cell} key=${index} cell=${cell} n=${row.n} column=${answer.columns[index]} band=${band} />`)}
    </tr>
    ${isOpen && html`<${Members} ids=${row.runs} columns=${answer.columns} filter=${filter} selected=${selected} select=${select} />`}
  </tbody>`;
}

function Cell({ cell, n, column, band }) {
  if (cell.mean === undefined) {
    const known = cell.values.reduce((sum, { count }) => sum + count, 0);
    const isPart = cell.distinct > 1 || known < n;
    const parts = cell.values.map(
      ({ value, count }) => `${formatWords(value, column.kind)}${isPart ? ` (${count})` : ""}`,
    );
    const more = cell.distinct > cell.values.length ? ` and ${cell.distinct - cell.values.length} more` : "";
    return html`<td class="group-words"><bdi>${parts.join(", ")}${more}</bdi></td>`;
  }
  const show = column.column[1] === "duration" ? formatDuration : formatNumber;
  const half = cell[band] ?? null;
  const spread =
    cell.n === 1
      ? ""
      : band === "minmax"
        ? `${show(cell.min)} to ${show(cell.max)}`
        : `± ${show === formatNumber ? formatHalf(half) : show(half)}`;
  return html`<td class="number" title=${describeCell(cell, n)}>${show(cell.mean)} <small>${spread}</small>
    ${cell.n < n && html` <small class="group-n">n = ${cell.n}</small>`}</td>`;
}

function formatWords(value, kind) {
  // Of the lists, only tags are columns.
  return Array.isArray(value) ? value.map(shownName).join(", ") : formatValue(value, kind);
}

function describeCell(cell, n) {
  const lines = [
    `mean ${exactText(cell.mean)}, n = ${cell.n} of ${n}`,
    cell.std !== null &&
      `std ${exactText(cell.std)}, std error ${exactText(cell.sem)}, 95 % confidence ± ${exactText(cell.ci)}`,
    `from ${exactText(cell.min)} to ${exactText(cell.max)}`,
    cell.left_out > 0 && `NaN and infinite values, which do not count: ${cell.left_out}`,
  ];
  return lines.filter(Boolean).join("\n");
}

function Members({ ids, columns, filter, selected, select }) {
  const spec = {
    filter: { ...filter, ids: ids.slice(0, MOST_RUNS) },
    columns: columns.map(({ column }) => column),
    sort: [{ column: ["run", "id"], descending: false }],
    limit: MOST_RUNS,
  };
  const { answer, error } = useQuery("runs", spec);
  if (answer === null) {
    return html`<tr><td></td><td colspan=${columns.length + 2}>${error ? html`<${ErrorNote} error=${error} />` : "…"}</td></tr>`;
  }
  return html`${answer.rows.map(
    ({ id, status, values }) => html`<tr key=${id} class="group-member">
        <td><input type="checkbox" checked=${selected.has(id)} aria-label=${`Select run ${id}`} onChange=${() => select([id])} /></td>
        <th scope="row"><${MemberLink} id=${id} status=${status} /></th>
        <td></td>
        ${values.map((value, index) => html`<${MemberCell} key=${index} value=${value} column=${columns[index]} />`)}
      </tr>`,
  )}
    ${ids.length > MOST_RUNS && html`<tr><td></td><td colspan=${columns.length + 2} class="muted">Only the first ${MOST_RUNS} runs of the group are listed.</td></tr>`}`;
}

function MemberLink({ id, status }) {
  const follow = (event) => {
    if (!(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      navigate(`run/${id}`);
    }
  };
  return html`<span class="group-link"><a data-row href=${href(`run/${id}`)} onClick=${follow}>run ${id}</a> <${Status} status=${status} /></span>`;
}

function MemberCell({ value, column: { column, kind } }) {
  if (kind === "number") {
    const show = column[1] === "duration" ? formatDuration : formatNumber;
    const isMissing = decode(value) === null || value === undefined;
    return html`<td class="number">${isMissing ? "–" : show(value)}</td>`;
  }
  return html`<td class="group-words">${column[1] === "status" ? "" : html`<${Value} value=${value} kind=${column[1]} />`}</td>`;
}

function flip(set, key) {
  const next = new Set(set);
  if (!next.delete(key)) {
    next.add(key);
  }
  return next;
}

// If all are selected, none of them is afterwards; otherwise all are.
function toggleAll(selected, ids) {
  const known = new Set(selected);
  const group = new Set(ids);
  return ids.every((id) => known.has(id))
    ? selected.filter((id) => !group.has(id))
    : [...new Set([...selected, ...ids])];
}
