/** The table of runs: pages come from the server, which also sorts. */
import { columnId } from "./address.js";
import { get, isAbort } from "./api.js";
import { baseOptions, columnDefinition, loadGrid } from "./grid.js";
import { runLink } from "./run_link.js";

/** Rows of one call. */
const PAGE = 100;
/** Pages that are kept; a live update asks for these again. */
const PAGES = 8;
/** Sources of selections that come from the user, not from the page. */
export const SELECTED_BY_USER = new Set(["checkboxSelected", "rowClicked", "spaceKey", "uiSelectAll", "keyboardEvent"]);
const RUN_COLUMN = "run-id";
const ALWAYS = [
  { column: ["run", "status"], label: "Status", kind: "text", field: "status" },
  { column: ["experiment", "name"], label: "Experiment", kind: "text", field: "experiment" },
];

/**
 * Return the columns that the table shows for an answer: those that the state names, or the server's choice behind ours.
 * A filter by one experiment leaves out the column that would say the same in each row.
 */
export function shownColumns(answer, { columns, filter }) {
  if (columns !== null) {
    return answer.columns;
  }
  const ours = new Set(ALWAYS.map(({ column }) => columnId(column)));
  ours.add(columnId(["run", "id"]));
  const theirs = answer.columns.filter(({ column }) => !ours.has(columnId(column)));
  return [...ALWAYS.filter(({ column }) => !isOneValue(filter, column)), ...theirs];
}

function isOneValue({ facets }, column) {
  const facet = facets.find((known) => columnId(known.column) === columnId(column));
  return facet !== undefined && !facet.exclude && facet.values.length === 1;
}

/**
 * A table of runs in an element.
 *
 * `events` holds functions that the table calls: onInfo(answer), onError(error or null), onSelect(ids), onSort(sort),
 * onLayout({columns, widths, pinned}), onOpen(id), onBusy(isBusy).
 */
export class RunsGrid {
  constructor(element, events) {
    this.element = element;
    this.events = events;
    this.selected = new Set();
    this.columns = [];
    this.total = 0;
    this.controller = new AbortController();
    this.api = null;
    this.running = 0;
  }

  /** Load AG Grid and show an empty table. */
  async start() {
    const agGrid = await loadGrid();
    if (this.controller.signal.aborted) {
      return;
    }
    this.api = agGrid.createGrid(this.element, {
      ...baseOptions(agGrid),
      rowModelType: "infinite",
      cacheBlockSize: PAGE,
      maxBlocksInCache: PAGES,
      maxConcurrentDatasourceRequests: 2,
      infiniteInitialRowCount: 1,
      rowBuffer: 10,
      blockLoadDebounceMillis: 40,
      getRowId: ({ data }) => String(data.id),
      defaultColDef: { resizable: true, sortable: true, suppressHeaderMenuButton: true },
      columnDefs: [],
      rowSelection: SELECTION_OPTIONS,
      selectionColumnDef: SELECTION_COLUMN,
      onSelectionChanged: ({ source }) => this.readSelection(source),
      onSortChanged: ({ source }) =>
        source !== "api" && source !== "gridOptionsChanged" && this.events.onSort(this.readSort()),
      onColumnMoved: ({ finished, source }) => finished && source === "uiColumnMoved" && this.tellLayout(),
      onColumnPinned: ({ source }) => source === "uiColumnMoved" && this.tellLayout(),
      onColumnResized: ({ finished, source }) => finished && source === "uiColumnResized" && this.tellLayout(),
      onRowDoubleClicked: ({ data }) => data && this.events.onOpen(data.id),
      onCellKeyDown: (event) => this.handleKey(event),
    });
  }

  /** Show other runs or columns: ask for the first page, then give the table its columns and rows. */
  async show({ filter, columns, sort, widths, pinned }) {
    this.turn?.abort();
    const turn = new AbortController();
    this.turn = turn;
    this.query = { filter, columns };
    this.layout = { widths, pinned };
    this.sort = sort;
    const answer = await this.ask(0, PAGE, sort, turn.signal);
    if (answer === null || turn.signal.aborted || this.api === null) {
      return;
    }
    this.first = { answer, sort: JSON.stringify(sort) };
    this.setColumns(answer, sort);
    this.api.setGridOption("datasource", {
      rowCount: answer.total,
      getRows: (params) => this.getRows(params, turn.signal),
    });
    this.fitColumns(widths);
  }

  /** Sort as the state says, if the table does not yet. */
  setSort(sort) {
    this.sort = sort;
    const current = this.readSort();
    if (this.api === null || JSON.stringify(current) === JSON.stringify(sort)) {
      return;
    }
    const state = sort.map(({ column, descending }, index) => ({
      colId: columnId(column),
      sort: descending ? "desc" : "asc",
      sortIndex: index,
    }));
    this.api.applyColumnState({ state, defaultState: { sort: null } });
  }

  /** Ask for the shown pages again; rows, scroll, selection and focus stay. */
  async refresh() {
    if (this.api === null || this.query === undefined) {
      return;
    }
    this.first = null;
    this.api.refreshInfiniteCache();
  }

  /** Select these runs and no others. */
  select(ids) {
    this.selected = new Set(ids);
    this.showSelection();
  }

  /** Move the focus by some rows. */
  move(step) {
    const focused = this.api?.getFocusedCell();
    const index = focused ? focused.rowIndex + step : this.api.getFirstDisplayedRowIndex();
    if (index < 0 || index >= this.total) {
      return;
    }
    this.api.ensureIndexVisible(index);
    this.api.setFocusedCell(index, focused?.column ?? RUN_COLUMN);
  }

  /** Return the id of the run with the focus, null if none has. */
  focusedId() {
    const focused = this.api?.getFocusedCell();
    return (focused && this.api.getDisplayedRowAtIndex(focused.rowIndex)?.data?.id) ?? null;
  }

  /** Select the run with the focus, or no longer. */
  toggleFocused() {
    const id = this.focusedId();
    if (id !== null) {
      this.toggle(id);
    }
  }

  /** Return the ids of the runs in the loaded pages that are on the screen. */
  visibleIds() {
    return (this.api?.getRenderedNodes() ?? []).map(({ data }) => data?.id).filter((id) => id !== undefined);
  }

  /** Give everything back. */
  destroy() {
    this.controller.abort();
    this.turn?.abort();
    this.api?.destroy();
    this.api = null;
  }

  async ask(offset, limit, sort, signal) {
    this.setBusy(1);
    try {
      const answer = await get("runs", { ...this.query, sort, offset, limit }, { signal });
      const places = new Map(answer.columns.map(({ column }, index) => [columnId(column), index]));
      for (const row of answer.rows) {
        // Rows of different answers can be in the table at once, and the server may choose other columns each time.
        row.places = places;
      }
      this.total = answer.total;
      this.events.onError(null);
      this.events.onInfo(answer);
      return answer;
    } catch (error) {
      if (!isAbort(error)) {
        this.events.onError(error);
      }
      return null;
    } finally {
      this.setBusy(-1);
    }
  }

  async getRows({ startRow, endRow, successCallback, failCallback }, signal) {
    const sort = this.effectiveSort();
    const first = this.first;
    const isKnown = startRow === 0 && first?.sort === JSON.stringify(sort);
    this.first = null;
    const answer = isKnown ? first.answer : await this.ask(startRow, endRow - startRow, sort, signal);
    if (this.api === null || signal.aborted) {
      return;
    }
    if (answer === null) {
      failCallback();
      return;
    }
    if (this.query.columns === null && idsOf(columnsOf(answer, this.query)) !== idsOf(this.columns)) {
      this.setColumns(answer, sort);
    }
    successCallback(answer.rows, answer.total);
    this.showSelection();
  }

  // A column that is not shown may sort as well, until the user sorts by one that is.
  effectiveSort() {
    const byTable = this.readSort();
    const shown = new Set(this.columns.map(({ column }) => columnId(column)));
    return byTable.length === 0 && this.sort.every(({ column }) => !shown.has(columnId(column))) ? this.sort : byTable;
  }

  readSort() {
    return (this.api?.getColumnState() ?? [])
      .filter(({ sort }) => sort)
      .sort((a, b) => (a.sortIndex ?? 0) - (b.sortIndex ?? 0))
      .map(({ colId, sort }) => ({
        column: colId === RUN_COLUMN ? ["run", "id"] : JSON.parse(colId),
        descending: sort === "desc",
      }));
  }

  setColumns(answer, sort) {
    const { widths, pinned } = this.layout;
    this.columns = columnsOf(answer, this.query);
    const sorts = new Map(
      sort.map(({ column, descending }, index) => [
        columnId(column),
        { sort: descending ? "desc" : "asc", sortIndex: index },
      ]),
    );
    const pins = new Set(pinned.map(columnId));
    const definitions = this.columns.map((column) => {
      const id = columnId(column.column);
      const read = column.field ? (row) => row[column.field] : (row) => row.values[row.places.get(id)];
      const definition = columnDefinition(column, read);
      return {
        ...definition,
        sort: null,
        pinned: pins.has(id) ? "left" : null,
        ...sorts.get(id),
        ...(widths[id] && { width: widths[id] }),
      };
    });
    const runSort = sorts.get(columnId(["run", "id"])) ?? { sort: null };
    this.api.setGridOption("columnDefs", [{ ...RUN_DEFINITION, ...runSort }, ...definitions]);
  }

  fitColumns(widths) {
    const free = this.columns.map(({ column }) => columnId(column)).filter((id) => widths[id] === undefined);
    const fit = () => {
      this.api?.removeEventListener("modelUpdated", fit);
      this.api?.autoSizeColumns({ colIds: free, defaultMinWidth: 64, defaultMaxWidth: 260 });
    };
    if (free.length > 0 && free.length <= 60) {
      this.api.addEventListener("modelUpdated", fit);
    }
  }

  tellLayout() {
    const state = this.api.getColumnState().filter(({ colId }) => colId.startsWith("["));
    const own = new Map(this.columns.map(({ column }) => [columnId(column), column]));
    const shown = state.filter(({ colId }) => own.has(colId));
    this.events.onLayout({
      columns: shown.map(({ colId }) => own.get(colId)),
      widths: Object.fromEntries(shown.map(({ colId, width }) => [colId, Math.round(width)])),
      pinned: shown.filter(({ pinned }) => pinned === "left").map(({ colId }) => own.get(colId)),
    });
  }

  readSelection(source) {
    if (!SELECTED_BY_USER.has(source)) {
      return;
    }
    this.api.forEachNode((node) => {
      if (node.data !== undefined) {
        this.mark(node.data.id, node.isSelected());
      }
    });
    this.events.onSelect([...this.selected]);
  }

  mark(id, isSelected) {
    if (isSelected) {
      this.selected.add(id);
    } else {
      this.selected.delete(id);
    }
  }

  toggle(id) {
    this.mark(id, !this.selected.has(id));
    this.showSelection();
    this.events.onSelect([...this.selected]);
  }

  showSelection() {
    this.api?.forEachNode((node) => {
      const isSelected = node.data !== undefined && this.selected.has(node.data.id);
      if (node.data !== undefined && node.isSelected() !== isSelected) {
        node.setSelected(isSelected, false, "api");
      }
    });
  }

  handleKey({ event, data }) {
    if (event.key === "Enter" && data && !(event.target instanceof HTMLAnchorElement)) {
      event.preventDefault();
      this.events.onOpen(data.id);
    }
  }

  setBusy(change) {
    this.running += change;
    this.events.onBusy(this.running > 0);
  }
}

// The run's id has a column of its own.
function columnsOf(answer, query) {
  return shownColumns(answer, query).filter(({ column }) => columnId(column) !== columnId(["run", "id"]));
}

function idsOf(columns) {
  return JSON.stringify(columns.map(({ column }) => column));
}

/** Options of the table that select runs by boxes. */
export const SELECTION_OPTIONS = {
  mode: "multiRow",
  checkboxes: true,
  headerCheckbox: false,
  enableClickSelection: false,
  enableSelectionWithoutKeys: true,
};

/** Definition of the column of boxes. */
export const SELECTION_COLUMN = {
  headerName: "Selected",
  headerClass: "selected-heading",
  pinned: "left",
  lockPosition: "left",
  width: 38,
  minWidth: 38,
  suppressHeaderMenuButton: true,
  sortable: false,
  resizable: false,
};

/** Definition of the column of ids, which open runs. */
export const RUN_DEFINITION = {
  colId: RUN_COLUMN,
  headerName: "Run",
  pinned: "left",
  lockPosition: "left",
  lockPinned: true,
  resizable: true,
  initialWidth: 84,
  minWidth: 60,
  sortingOrder: ["desc", "asc", null],
  valueGetter: ({ data }) => data?.id,
  tooltipValueGetter: ({ data }) => data && `${data.status ?? ""} · ${data.experiment ?? ""}`,
  cellRenderer: ({ data }) => (data === undefined ? "" : Object.assign(runLink(data.id), { tabIndex: -1 })),
  comparator: () => 0,
};
