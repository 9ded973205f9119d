/** AG Grid in the colors of the page. It is large, so that it is loaded when a table is shown. */
import { columnId } from "./address.js";
import { columnTitle } from "./column_names.js";
import { exactText, formatAgo, formatValue, shownName } from "./format.js";
import { findGroup } from "./status.js";
import { scheme } from "./theme.js";

const SCRIPT = new URL("./vendor/ag-grid-community/ag-grid-community.min.noStyle.js", import.meta.url).href;
const WIDTHS = { number: 104, bool: 84, time: 120, text: 150, json: 180 };

let loading = null;

/** Load AG Grid once; resolves to its exports. */
export function loadGrid() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.onload = () => resolve(window.agGrid);
    script.onerror = () => {
      loading = null;
      reject(new Error("the table cannot be loaded; is `sqltrack ui` still running?"));
    };
    document.head.append(script);
  });
  return loading;
}

/** Return the options that all tables share. */
export function baseOptions(agGrid) {
  return {
    theme: agGrid.themeQuartz.withParams({
      browserColorScheme: "inherit",
      backgroundColor: "var(--surface)",
      foregroundColor: "var(--text)",
      accentColor: "var(--accent)",
      borderColor: "var(--line)",
      headerBackgroundColor: "var(--ground)",
      headerTextColor: "var(--muted)",
      headerFontWeight: 600,
      rowHoverColor: "var(--hover)",
      selectedRowBackgroundColor: "var(--selection)",
      menuBackgroundColor: "var(--raised)",
      checkboxCheckedBackgroundColor: "var(--accent)",
      checkboxCheckedShapeColor: "var(--on-accent)",
      checkboxUncheckedBorderColor: "var(--field-line)",
      fontFamily: "inherit",
      fontSize: 13,
      iconSize: 14,
      rowHeight: 30,
      headerHeight: 34,
      cellHorizontalPadding: 10,
      wrapperBorder: false,
      wrapperBorderRadius: 0,
      headerColumnBorder: false,
      columnBorder: false,
    }),
    styleNonce: document.querySelector('meta[name="csp-nonce"]')?.content,
    suppressNoRowsOverlay: true,
    suppressCellFocus: false,
    enableBrowserTooltips: true,
    animateRows: false,
    suppressDragLeaveHidesColumns: true,
    suppressColumnMoveAnimation: true,
    suppressMultiRangeSelection: true,
  };
}

/** Return the definition of a column; `read` gives its value from a row. */
export function columnDefinition({ column, kind }, read) {
  const { name, detail } = columnTitle(column);
  const isDuration = column[0] === "run" && column[1] === "duration";
  const shown = isDuration ? "duration" : kind;
  return {
    colId: columnId(column),
    headerName: detail === "" ? name : `${name} (${detail})`,
    headerComponentParams: { innerHeaderComponent: ColumnHeader, title: { name, detail } },
    headerTooltip: detail === "" ? name : `${name} (${detail})`,
    valueGetter: ({ data }) => (data === undefined ? undefined : read(data)),
    valueFormatter: ({ value }) => formatValue(value, shown),
    tooltipValueGetter: ({ value }) => exactText(value).slice(0, 1000),
    cellRenderer: renderer(column, kind),
    cellClass: kind === "number" ? "number" : "words",
    headerClass: kind === "number" ? "number" : "",
    sortingOrder: kind === "number" && bestIsLarge(column) ? ["desc", "asc", null] : ["asc", "desc", null],
    initialWidth: WIDTHS[kind] ?? WIDTHS.text,
    minWidth: 56,
    comparator: () => 0,
  };
}

function bestIsLarge(column) {
  return (column[0] === "metric" && column[1] !== "min") || (column[0] === "run" && column[1] !== "id");
}

function renderer(column, kind) {
  if (column[0] === "run" && column[1] === "status") {
    return ({ value }) => statusElement(value);
  }
  if (column[0] === "run" && column[1] === "tags") {
    return ({ value }) => tagsElement(value);
  }
  if (kind === "time") {
    return ({ value }) => text(value ? formatAgo(value) : "");
  }
  if (kind === "bool") {
    return ({ value }) => text(value === true ? "✓" : value === false ? "–" : "");
  }
  return undefined;
}

function text(content) {
  const element = document.createElement("span");
  element.textContent = content;
  return element;
}

/** Return the element that shows a status. */
export function statusElement(status) {
  const element = text("");
  if (!status) {
    return element;
  }
  const group = findGroup(status);
  const symbol = text(`${group.symbol}\ufe0e`);
  symbol.className = "symbol";
  symbol.setAttribute("aria-hidden", "true");
  element.className = "status";
  element.style.color = statusShade(group);
  element.append(symbol, status);
  return element;
}

// Follows the scheme without being drawn again.
function statusShade({ light, dark }) {
  return light === "currentcolor"
    ? ""
    : CSS.supports("color", "light-dark(red, red)")
      ? `light-dark(${light}, ${dark})`
      : scheme.get() === "dark"
        ? dark
        : light;
}

function tagsElement(tags) {
  const element = text("");
  element.className = "tags";
  const names = Array.isArray(tags) ? tags : Object.keys(tags ?? {});
  for (const name of names) {
    const tag = document.createElement("bdi");
    tag.className = "tag";
    tag.textContent = shownName(name);
    element.append(tag);
  }
  return element;
}

/** The text of a header: the name of the column, and small where it comes from. */
class ColumnHeader {
  init({ title }) {
    this.element = document.createElement("span");
    this.element.className = "column-title";
    const name = document.createElement("bdi");
    name.textContent = title.name;
    this.element.append(name);
    if (title.detail !== "") {
      const detail = document.createElement("small");
      detail.textContent = title.detail;
      this.element.append(" ", detail);
    }
  }

  getGui() {
    return this.element;
  }

  refresh() {
    return false;
  }
}
