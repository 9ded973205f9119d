/** The tables of a report: order, search and selection of runs, and the comparison of those that are selected. */
import { Swatch } from "./chart_figure.js";
import { nameGroup } from "./chart_names.js";
import { decode, exactText, formatValue, isMissing } from "./format.js";
import { lineStyles } from "./palette.js";
import { groupStyles } from "./report_curves.js";
import { scheme } from "./theme.js";
import { html, render } from "./vendor/htm/standalone.module.js";

const LONGEST_TITLE = 1000;

const isFixed = ([source, name]) => source === "run" && ["id", "status"].includes(name);

// Write a number, a time or a truth value as the page does; other values have their text.
function showValue(cell, value, kind) {
  if (
    kind === "duration" ||
    kind?.startsWith("time") ||
    typeof decode(value) === "number" ||
    typeof value === "boolean"
  ) {
    cell.firstElementChild.textContent = formatValue(value, kind?.startsWith("time") ? "time" : kind);
    cell.title = exactText(value).slice(0, LONGEST_TITLE);
  }
}

/** The table of runs. A click on a heading sorts, and a box selects a run. */
export class RunsTable {
  /**
   * @param {HTMLTableElement} table the table, with a row for each of `data.rows`
   * @param {{columns: object[], rows: object[]}} data the values of the table
   * @param {{selected: object, highlight: object}} signals the ids of the selected runs, and the highlighted run
   */
  constructor(table, { columns, rows }, { selected, highlight }) {
    this.body = table.tBodies[0];
    this.selected = selected;
    this.highlight = highlight;
    const sorting = [...table.tHead.rows[0].cells].findIndex((cell) => cell.ariaSort);
    this.sorted = { index: sorting, descending: table.tHead.rows[0].cells[sorting]?.ariaSort === "descending" };
    this.shown = columns
      .map(({ column, kind }, index) => ({ column, kind, index }))
      .filter(({ column }) => !isFixed(column));
    const elements = [...this.body.rows];
    this.entries = rows.map((row, index) => ({ row, element: elements[index] }));
    for (const entry of this.entries) {
      this.#prepareRow(entry);
    }
    this.#prepareHead(table.tHead.rows[0]);
    this.#addBar(table);
    selected.subscribe(() => this.#showSelection());
    scheme.subscribe(() => this.#showSelection());
    this.#showSelection();
  }

  // The texts are those of the page.
  #prepareRow({ row, element }) {
    const cells = [...element.cells].slice(2);
    for (const [place, { column, kind, index }] of this.shown.entries()) {
      showValue(cells[place], row.values[index], column[0] === "run" && column[1] === "duration" ? "duration" : kind);
    }
    const box = document.createElement("input");
    box.type = "checkbox";
    box.setAttribute("aria-label", `Select run ${row.id}`);
    box.addEventListener("change", () => this.#toggle(row.id, box.checked));
    const swatch = document.createElement("span");
    swatch.className = "report-swatch";
    element.cells[0].prepend(swatch);
    element.insertCell(0).append(box);
    element.addEventListener("pointerenter", () => this.highlight.set(row.id));
    element.addEventListener("pointerleave", () => this.highlight.set(null));
  }

  #prepareHead(head) {
    const reads = [
      ({ row }) => row.id,
      ({ row }) => row.status,
      ...this.shown.map(
        ({ index }) =>
          ({ row }) =>
            row.values[index],
      ),
    ];
    [...head.cells].forEach((cell, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "report-sort";
      button.append(...cell.childNodes);
      button.addEventListener("click", () => this.#sort(head, cell, index, reads[index]));
      cell.append(button);
    });
    const all = document.createElement("th");
    all.scope = "col";
    this.all = document.createElement("input");
    this.all.type = "checkbox";
    this.all.setAttribute("aria-label", "Select all runs that are shown");
    this.all.addEventListener("change", () => this.#toggleAll(this.all.checked));
    all.append(this.all);
    head.prepend(all);
  }

  #addBar(table) {
    const bar = document.createElement("div");
    bar.className = "report-bar";
    const search = document.createElement("input");
    search.type = "search";
    search.className = "field";
    search.placeholder = "Search runs";
    search.setAttribute("aria-label", "Search runs");
    search.addEventListener("input", () => this.#search(search.value));
    this.count = document.createElement("span");
    this.count.className = "muted";
    this.count.setAttribute("role", "status");
    bar.append(search, this.count);
    table.closest(".report-table").before(bar);
  }

  #search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { element } of this.entries) {
      const content = element.textContent.toLowerCase();
      element.hidden = !words.every((word) => content.includes(word));
    }
    this.#showSelection();
  }

  #sort(head, cell, index, read) {
    const isSame = this.sorted.index === index;
    const descending = isSame ? !this.sorted.descending : this.#startsWithLargest(index - 2);
    this.sorted = { index, descending };
    for (const other of head.cells) {
      other.removeAttribute("aria-sort");
    }
    cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const ordered = [...this.entries].sort((one, other) => compareValues(read(one), read(other), descending));
    this.body.append(...ordered.map(({ element }) => element));
  }

  #startsWithLargest(place) {
    const column = this.shown[place]?.column ?? [];
    return column[0] === "metric" && column[1] !== "min";
  }

  #toggle(id, isChosen) {
    const others = this.selected.get().filter((other) => other !== id);
    this.selected.set(isChosen ? [...others, id] : others);
  }

  #toggleAll(areChosen) {
    const shown = new Set(this.entries.filter(({ element }) => !element.hidden).map(({ row }) => row.id));
    const others = this.selected.get().filter((id) => !shown.has(id));
    this.selected.set(areChosen ? [...others, ...shown] : others);
  }

  #showSelection() {
    const ids = this.selected.get();
    const styles = lineStyles(ids, scheme.get());
    for (const { row, element } of this.entries) {
      const style = styles.get(row.id);
      element.cells[0].firstElementChild.checked = style !== undefined;
      element.classList.toggle("selected", style !== undefined);
      render(style ? html`<${Swatch} ...${style} />` : null, element.cells[1].firstElementChild);
    }
    const shown = this.entries.filter(({ element }) => !element.hidden);
    const chosen = shown.filter(({ row }) => styles.has(row.id));
    this.all.checked = shown.length > 0 && chosen.length === shown.length;
    this.all.indeterminate = chosen.length > 0 && chosen.length < shown.length;
    const found = shown.length < this.entries.length ? `${shown.length} of ${this.entries.length} runs, ` : "";
    this.count.textContent = `${found}${ids.length} selected`;
  }
}

/** Order two values: numbers, NaN, texts, and in both directions missing values last. */
export function compareValues(one, other, descending) {
  const [first, second] = [rankOf(one), rankOf(other)];
  if (first.rank !== second.rank) {
    return first.rank - second.rank;
  }
  const order = first.value < second.value ? -1 : first.value > second.value ? 1 : 0;
  return descending ? -order : order;
}

function rankOf(value) {
  if (isMissing(value)) {
    return { rank: 3, value: 0 };
  }
  const decoded = decode(value);
  if (typeof decoded === "boolean" || typeof decoded === "bigint") {
    return { rank: 0, value: Number(decoded) };
  }
  if (typeof decoded === "number") {
    return Number.isNaN(decoded) ? { rank: 1, value: 0 } : { rank: 0, value: decoded };
  }
  const text = typeof decoded === "string" ? decoded : JSON.stringify(decoded);
  return { rank: 2, value: text.toLowerCase() };
}

/**
 * Show the colors of groups in their table, and highlight the group under the pointer.
 *
 * @param {HTMLTableElement} table the table of groups
 * @param {any[]} values values of the groups, in the order of the table
 * @param {object[]} groups curves of the groups
 * @param {object} highlight signal with the key of the highlighted curve
 */
export function decorateGroups(table, values, groups, highlight) {
  const rows = [...table.tBodies[0].rows].map((element, index) => ({ element, name: nameGroup(values[index]) }));
  for (const { element, name } of rows) {
    const swatch = document.createElement("span");
    swatch.className = "report-swatch";
    element.cells[0].prepend(swatch);
    element.addEventListener("pointerenter", () => highlight.set(name));
    element.addEventListener("pointerleave", () => highlight.set(null));
  }
  const draw = () => {
    const styles = groupStyles(groups, scheme.get());
    for (const { element, name } of rows) {
      render(styles.has(name) ? html`<${Swatch} ...${styles.get(name)} />` : null, element.cells[0].firstElementChild);
    }
  };
  scheme.subscribe(draw);
  draw();
}

/** The comparison, with the columns of the selected runs and the rows in which these differ. */
export class ComparedRuns {
  /**
   * @param {HTMLTableElement} table the table, with all runs
   * @param {object[]} rows rows of the query `compare`, in the order of the table
   * @param {object} selected signal with the ids of the selected runs
   */
  constructor(table, rows, selected) {
    this.table = table;
    this.ids = [...table.tHead.rows[0].cells].slice(1).map((cell) => Number(cell.dataset.run));
    const elements = [...table.tBodies].flatMap((body) => [...body.rows].slice(1));
    this.entries = elements.map((element, index) => this.#prepareRow(element, rows[index]));
    selected.subscribe(() => this.#show(selected.get()));
    this.#show(selected.get());
  }

  #prepareRow(element, { section, path, values }) {
    const kind = section === "run" ? path[0] : undefined;
    for (const [index, value] of values.entries()) {
      showValue(element.cells[index + 1], value, kind);
    }
    return { element, keys: values.map((value) => JSON.stringify(value)) };
  }

  #show(ids) {
    const chosen = new Set(ids);
    const some = [...this.ids.keys()].filter((index) => chosen.has(this.ids[index]));
    const shown = some.length > 1 ? some : [...this.ids.keys()];
    const isShown = new Set(shown);
    const showCells = (row) =>
      [...row.cells].slice(1).forEach((cell, index) => {
        cell.hidden = !isShown.has(index);
      });
    showCells(this.table.tHead.rows[0]);
    for (const { element, keys } of this.entries) {
      showCells(element);
      element.hidden = new Set(shown.map((index) => keys[index])).size < 2;
    }
    for (const body of this.table.tBodies) {
      body.hidden = [...body.rows].slice(1).every((row) => row.hidden);
    }
    document.getElementById("compare-note").firstChild.textContent =
      `What differs between ${shown.length === this.ids.length ? "all" : "the selected"} ${shown.length} runs. `;
  }
}
