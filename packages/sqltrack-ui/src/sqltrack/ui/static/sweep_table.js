/** The table of a sweep: the runs within the ranges, sorted in the browser, with the selection of the page. */
import { decode, isMissing } from "./format.js";
import { baseOptions, columnDefinition, loadGrid } from "./grid.js";
import { RUN_DEFINITION, SELECTED_BY_USER, SELECTION_COLUMN, SELECTION_OPTIONS } from "./runs_grid.js";
import { html, useEffect, useRef } from "./vendor/htm/standalone.module.js";

const STATUS = { column: ["run", "status"], kind: "text", read: (run) => run.status };

/**
 * The table.
 *
 * @param {object} props
 * @param {object[]} props.runs the runs to show
 * @param {object[]} props.axes the axes that are columns
 * @param {string|null} props.better "max" or "min", by which the metric sorts at first
 * @param {number[]} props.selected ids of the selected runs
 * @param {function(number[])} props.onSelect gets the ids after a change
 * @param {function(number)} props.onOpen opens a run
 * @param {function(Error)} props.onError gets the error if the table cannot be loaded
 */
export function SweepTable(props) {
  const { runs, axes, better, selected } = props;
  const element = useRef(null);
  const table = useRef(null);
  const latest = useRef(props);
  latest.current = props;
  const ids = axes.map(({ id }) => id).join();
  useEffect(() => {
    let isGone = false;
    loadGrid().then(
      (agGrid) => {
        if (!isGone) {
          table.current = createTable(agGrid, element.current, latest);
        }
      },
      (error) => latest.current.onError(error),
    );
    return () => {
      isGone = true;
      table.current?.destroy();
      table.current = null;
    };
  }, []);
  useEffect(() => {
    table.current?.setGridOption("columnDefs", makeDefinitions(axes, better));
    fitColumns(table.current);
  }, [ids, better]);
  useEffect(() => {
    table.current?.setGridOption("rowData", runs);
    showSelection(table.current, latest.current.selected);
  }, [runs]);
  useEffect(() => showSelection(table.current, selected), [selected]);
  return html`<div class="sweep-table grid" ref=${element}></div>`;
}

function createTable(agGrid, element, latest) {
  const { runs, axes, better, selected } = latest.current;
  const table = agGrid.createGrid(element, {
    ...baseOptions(agGrid),
    getRowId: ({ data }) => String(data.id),
    defaultColDef: { resizable: true, sortable: true, suppressHeaderMenuButton: true },
    rowData: runs,
    columnDefs: makeDefinitions(axes, better),
    onFirstDataRendered: ({ api }) => fitColumns(api),
    rowSelection: SELECTION_OPTIONS,
    selectionColumnDef: SELECTION_COLUMN,
    onSelectionChanged: ({ source, api }) =>
      SELECTED_BY_USER.has(source) && latest.current.onSelect(readSelection(api, latest.current.selected)),
    onRowDoubleClicked: ({ data }) => latest.current.onOpen(data.id),
    onCellKeyDown: ({ event, data }) => {
      if (event.key === "Enter" && !(event.target instanceof HTMLAnchorElement)) {
        event.preventDefault();
        latest.current.onOpen(data.id);
      }
    },
  });
  showSelection(table, selected);
  return table;
}

function fitColumns(table) {
  table?.autoSizeAllColumns({ defaultMinWidth: 64, defaultMaxWidth: 260 });
}

function makeDefinitions(axes, better) {
  const columns = [STATUS, ...axes.filter(({ isMetric }) => isMetric), ...axes.filter(({ isMetric }) => !isMetric)];
  return [
    { ...RUN_DEFINITION, comparator: (one, other) => one - other },
    ...columns.map(({ column, kind, isMetric, read }) => ({
      ...columnDefinition({ column, kind: kind === "places" ? "text" : kind }, read),
      comparator: compareValues,
      ...(isMetric && { initialSort: better === "max" ? "desc" : "asc" }),
    })),
  ];
}

// Missing values and NaN come last in both directions.
function compareValues(one, other, _one, _other, isDescending) {
  const [a, b] = [one, other].map(rank);
  if (a !== b) {
    return isDescending ? b - a : a - b;
  }
  if (a > 1) {
    return 0;
  }
  const [first, second] = a === 0 ? [decode(one), decode(other)] : [String(one), String(other)];
  return first < second ? -1 : first > second ? 1 : 0;
}

function rank(value) {
  if (isMissing(value)) {
    return 3;
  }
  const decoded = decode(value);
  if (Number.isNaN(decoded)) {
    return 2;
  }
  return typeof decoded === "number" || typeof decoded === "bigint" ? 0 : 1;
}

// Runs that are selected elsewhere, and not in this table, stay so.
function readSelection(api, selected) {
  const shown = new Map();
  api.forEachNode((node) => shown.set(node.data.id, node.isSelected()));
  const kept = selected.filter((id) => shown.get(id) ?? true);
  const added = [...shown].filter(([id, isSelected]) => isSelected && !selected.includes(id)).map(([id]) => id);
  return [...kept, ...added];
}

function showSelection(table, selected) {
  const wanted = new Set(selected);
  table?.forEachNode((node) => {
    if (node.isSelected() !== wanted.has(node.data.id)) {
      node.setSelected(wanted.has(node.data.id), false, "api");
    }
  });
}
