/** The result of a query as a table. All its rows are in the browser, which sorts them. */
import { decode, exactText, formatValue, isMissing } from "./format.js";
import { baseOptions, loadGrid } from "./grid.js";
import { runLink } from "./run_link.js";
import { html, useEffect, useRef } from "./vendor/htm/standalone.module.js";

const RUN_COLUMNS = new Set(["run_id", "run"]);
const MOST_FITTED = 60;

/** Return the index of the column with ids of runs, -1 if there is none. */
export function findRunColumn(columns) {
  return columns.findIndex(({ name, kind }) => RUN_COLUMNS.has(name.toLowerCase()) && kind === "number");
}

/** Show a result: `answer` is that of the call `sql`. */
export function ResultGrid({ answer, onError }) {
  const element = useRef(null);
  useEffect(() => {
    let api = null;
    let isGone = false;
    loadGrid().then((agGrid) => {
      if (!isGone) {
        api = agGrid.createGrid(element.current, gridOptions(agGrid, answer));
      }
    }, onError);
    return () => {
      isGone = true;
      api?.destroy();
    };
  }, [answer]);
  return html`<div class="grid sql-grid" ref=${element}></div>`;
}

function gridOptions(agGrid, { columns, rows }) {
  const runColumn = findRunColumn(columns);
  return {
    ...baseOptions(agGrid),
    defaultColDef: { resizable: true, sortable: true, suppressHeaderMenuButton: true },
    columnDefs: columns.map((column, index) => definition(column, index, index === runColumn)),
    rowData: rows,
    onFirstDataRendered: ({ api }) =>
      columns.length <= MOST_FITTED && api.autoSizeAllColumns({ defaultMinWidth: 64, defaultMaxWidth: 320 }),
  };
}

function definition({ name, kind }, index, isRun) {
  const isNumber = kind === "number";
  return {
    colId: String(index),
    headerName: name,
    headerTooltip: name,
    valueGetter: ({ data }) => data[index],
    valueFormatter: ({ value }) =>
      isRun ? exactText(value) : formatValue(value, kind === "time" ? "time" : undefined),
    tooltipValueGetter: ({ value }) => exactText(value).slice(0, 1000),
    cellClass: isNumber ? "number" : "words",
    headerClass: isNumber ? "number" : "",
    comparator: compareValues,
    minWidth: 56,
    ...(isRun && { cellRenderer: ({ value }) => (isMissing(value) ? "" : runLink(exactText(value))) }),
  };
}

/** Compare two values of a column: numbers, then NaN, then texts; missing values last in both directions. */
export function compareValues(a, b, _nodeA, _nodeB, isDescending) {
  const [rankA, rankB] = [rank(a), rank(b)];
  if (rankA !== rankB) {
    return rankA === MISSING || rankB === MISSING ? (rankA - rankB) * (isDescending ? -1 : 1) : rankA - rankB;
  }
  const [first, second] = rankA === NUMBER ? [decode(a), decode(b)] : [exactText(a), exactText(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}

const [NUMBER, NAN, TEXT, MISSING] = [0, 1, 2, 3];

function rank(value) {
  if (isMissing(value)) {
    return MISSING;
  }
  const decoded = decode(value);
  if (typeof decoded === "number" || typeof decoded === "bigint") {
    return Number.isNaN(decoded) ? NAN : NUMBER;
  }
  return TEXT;
}
