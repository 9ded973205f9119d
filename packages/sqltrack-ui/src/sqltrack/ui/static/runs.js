/** The view of all runs: facets at the left, a filter, and one table across experiments. */

import { columnId } from "./address.js";
import { get } from "./api.js";
import { columnText, metricOf } from "./column_names.js";
import { ColumnPicker } from "./column_picker.js";
import { ColumnChooser } from "./columns.js";
import { Dialog, ErrorNote } from "./components.js";
import { EditRuns, lastEdit } from "./edit.js";
import { ExportMenu } from "./export.js";
import { Facets } from "./facets.js";
import { FilterBar, isEmptyFilter } from "./filter_bar.js";
import { formatCount, formatPlural } from "./format.js";
import { GroupChoice } from "./group_choice.js";
import { GroupTable, SpreadChoice } from "./group_table.js";
import { useKeys } from "./keys.js";
import { usePoll, useRetry } from "./poll.js";
import { reportSpec } from "./report_download.js";
import { RunsGrid, shownColumns } from "./runs_grid.js";
import { useSignal } from "./signal.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Runs that the key `b` selects. */
const BEST = 3;
/** Runs of which a poll tells changes; those on the screen are fewer. */
const WATCHED = 200;
const RUN_ID = ["run", "id"];

/** Show the runs. */
export function View({ state, setState, about, readAbout, navigate }) {
  const { filter, sort, selected } = state;
  const extra = state.facetColumns ?? [];
  const [info, setInfo] = useState(null);
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(true);
  const [dialog, setDialog] = useState(null);
  const [version, setVersion] = useState(null);
  const [areFacetsOpen, openFacets] = useState(false);
  const [groups, setGroups] = useState(null);
  const [isGrouping, setGrouping] = useState(false);
  const isGrouped = state.rowGroup !== null;
  const grid = useRunsGrid({ state, setState, navigate, setInfo, setError, setBusy });
  useLive({ grid, info, setVersion, readAbout });
  useEdits({ grid, setVersion });
  useRetry(error, () => grid.current.show(state));

  // The state knows earlier than the answer which columns the user chose.
  const shown = state.columns ?? (info === null ? [] : shownColumns(info, state).map(({ column }) => column));
  const setFilter = (next) => setState({ filter: next });
  const best = findBestColumn(sort, info?.columns ?? []);
  const metric = best && metricOf(best);
  const openCurves = () =>
    navigate("curves", {
      ...(metric !== null && state.metrics.length === 0 && { metrics: [metric] }),
      ...(isGrouped && { group: state.rowGroup }),
    });
  const selectBest = async () => {
    if (best === null) {
      return;
    }
    try {
      setState({ selected: await findBest(filter, best, sort) }, { replace: true });
    } catch (failure) {
      setError(failure);
    }
  };
  const toggleOnly = () => {
    const ids = filter.ids === null && selected.length > 0 ? selected : null;
    setFilter({ ...filter, ids });
  };
  useKeys("Runs", {
    // The table of groups has the same keys.
    ...(!isGrouped && {
      j: ["next run", () => grid.current.move(1)],
      k: ["previous run", () => grid.current.move(-1)],
      x: ["select the run, or no longer", () => grid.current.toggleFocused()],
      Enter: ["open the run", () => grid.current.focusedId() !== null && navigate(`run/${grid.current.focusedId()}`)],
    }),
    b: ["select the three best by the first metric, or by the one that sorts", selectBest],
    v: ["curves of the selected runs", openCurves],
    d: ["compare the selected runs", () => navigate("compare")],
    o: ["show only the selected runs, or all again", toggleOnly],
    u: ["select no run", () => setState({ selected: [] }, { replace: true })],
    "/": ["filter by an SQL condition", () => focusField("where")],
    c: ["columns", () => setDialog("columns")],
    y: ["group the runs", () => setGrouping(true)],
    s: ["sort", () => setDialog("sort")],
  });

  // The runs that the menu "Edit" can change: those that the user pointed at come first.
  const findTargets = () => {
    const focused = state.rowGroup ? null : grid.current.focusedId();
    const all = `${isEmptyFilter(filter) ? "all" : "all of the filter:"} ${formatPlural(info?.total ?? 0, "run")}`;
    return [
      selected.length > 0 && { label: formatPlural(selected.length, "selected run"), spec: { runs: selected } },
      focused !== null && { label: `run ${focused}, which has the focus`, spec: { runs: [focused] } },
      { label: all, spec: { filter } },
    ].filter(Boolean);
  };
  const dropDeleted = (action, { runs }) => {
    if (action === "delete") {
      const gone = new Set(runs ?? selected);
      setState({ selected: selected.filter((id) => !gone.has(id)) }, { replace: true });
    }
  };
  const whereError = error?.kind === "where" ? error : null;
  const onColumns = ({ columns, pinned }) => setState({ columns, pinned }, { replace: true });
  return html`<div class="runs">
    <h1 class="visually-hidden">Runs</h1>
    <aside class=${`facets-side ${areFacetsOpen ? "open" : ""}`} aria-label="Facets">
      <button type="button" class="button facets-done" onClick=${() => openFacets(false)}>Done</button>
      <${Facets} filter=${filter} extra=${extra} version=${version} isReady=${info !== null || error !== null} onFilter=${setFilter} onAdd=${() => setDialog("facet")} onRemove=${(column) => setState({ facetColumns: extra.filter((known) => columnId(known) !== columnId(column)) })} />
    </aside>
    <section class="runs-main" aria-label="Runs">
      <${FilterBar} filter=${filter} error=${whereError} onFilter=${setFilter}>
        <button type="button" class="button facets-toggle" aria-expanded=${areFacetsOpen} onClick=${() => openFacets(!areFacetsOpen)}>Facets</button>
      </${FilterBar}>
      <div class="bar">
        <${Count} info=${info} about=${about} filter=${filter} isBusy=${isBusy} />
        <${GroupChoice} group=${state.rowGroup} onChange=${(rowGroup) => setState({ rowGroup })} filter=${filter} columns=${shown} label="group by" isAsking=${isGrouping} onAsk=${setGrouping} />
        ${isGrouped && html`<${SpreadChoice} band=${state.band} onChange=${(band) => setState({ band })} />`}
        <span class="space"></span>
        <${SelectionButtons} selected=${selected} isOnly=${filter.ids !== null} onOnly=${toggleOnly} metric=${metric} onBest=${selectBest} onCurves=${openCurves} onCompare=${() => navigate("compare")} onClear=${() => setState({ selected: [] }, { replace: true })} />
        <button type="button" class="button" title="Columns (c)" onClick=${() => setDialog("columns")}>Columns</button>
        ${!isGrouped && html`<button type="button" class="button sort-button" title="Sort (s)" onClick=${() => setDialog("sort")}>Sort</button>`}
        <${EditRuns} about=${about} findTargets=${findTargets} onDone=${dropDeleted} />
        <${ExportMenu} sql=${(isGrouped ? groups : info)?.sql} python=${(isGrouped ? groups : info)?.python} spec=${exportSpec(state, shown)} report=${reportSpec(state, null, shown.length > 0 ? shown : null)} />
      </div>
      ${!whereError && html`<${ErrorNote} error=${error} retry=${() => grid.current.show(state)} />`}
      ${isGrouped && html`<${GroupTable} state=${state} setState=${setState} columns=${state.columns} version=${version} onAnswer=${setGroups} />`}
      <div class="grid" ref=${grid.element} hidden=${isGrouped}></div>
      ${info?.total === 0 && html`<${NoRuns} filter=${filter} onClear=${() => setFilter({ facets: [], where: null, search: null, ids: null })} />`}
    </section>
    ${dialog === "columns" && html`<${ColumnChooser} columns=${shown} pinned=${state.pinned} filter=${filter} onChange=${onColumns} onReset=${() => setState({ columns: null, pinned: [], widths: {} })} onClose=${() => setDialog(null)} />`}
    ${dialog === "facet" && html`<${ColumnPicker} title="Add a facet" filter=${filter} onChoose=${(column) => setState({ facetColumns: [...extra, column] })} onClose=${() => setDialog(null)} />`}
    ${dialog === "sort" && html`<${SortDialog} columns=${[RUN_ID, ...shown.filter((column) => columnId(column) !== columnId(RUN_ID))]} sort=${sort} onSort=${(next) => setState({ sort: next })} onClose=${() => setDialog(null)} />`}
  </div>`;
}

/** Keep a grid in step with the state; returns a reference to it, with the reference to its element in `element`. */
function useRunsGrid({ state, setState, navigate, setInfo, setError, setBusy }) {
  const grid = useRef(null);
  const element = useRef(null);
  const isReady = useRef(null);
  grid.element = element;
  useEffect(() => {
    const events = {
      onInfo: setInfo,
      onError: setError,
      onBusy: setBusy,
      onSelect: (ids) => setState({ selected: ids }, { replace: true }),
      onSort: (next) => setState({ sort: next }),
      onLayout: (layout) => setState(layout, { replace: true }),
      onOpen: (id) => navigate(`run/${id}`),
    };
    grid.current = new RunsGrid(element.current, events);
    isReady.current = grid.current.start();
    isReady.current.catch(setError);
    return () => grid.current.destroy();
  }, []);
  const { filter, columns, sort, widths, pinned, selected } = state;
  const layout = useRef(null);
  useEffect(() => {
    // The table made this layout itself, when the user moved or pinned a column.
    const isOwn = layout.current !== null && layout.current === JSON.stringify([filter, columns, pinned]);
    if (!isOwn) {
      isReady.current.then(
        () => grid.current.show({ filter, columns, sort, widths, pinned }),
        () => {},
      );
    }
  }, [JSON.stringify([filter, columns, pinned])]);
  useEffect(() => {
    isReady.current.then(
      () => grid.current.setSort(sort),
      () => {},
    );
  }, [JSON.stringify(sort)]);
  useEffect(() => grid.current.select(selected), [selected]);
  return grid;
}

/** Follow changes of the data: rows and counts are asked for again. */
function useLive({ grid, info, setVersion, readAbout }) {
  const seen = useRef(null);
  usePoll(
    async (signal) => {
      if (info === null) {
        return;
      }
      const runs = grid.current.visibleIds().slice(0, WATCHED);
      const known = seen.current ?? info.version;
      const { version } = await get("changes", { runs, version: known }, { signal });
      seen.current = version;
      if (known === version) {
        return;
      }
      setVersion(version);
      grid.current.refresh();
      await readAbout();
    },
    [info === null],
  );
}

/** Show changes that the user made in the page at once. */
function useEdits({ grid, setVersion }) {
  const edit = useSignal(lastEdit);
  const seen = useRef(edit);
  useEffect(() => {
    if (edit !== seen.current) {
      seen.current = edit;
      setVersion(edit.version);
      grid.current.refresh();
    }
  }, [edit]);
}

function Count({ info, about, filter, isBusy }) {
  const all = formatPlural(Math.max(about.runs, info?.total ?? 0), "run");
  const shown =
    info && (isEmptyFilter(filter) ? formatPlural(info.total, "run") : `${formatCount(info.total)} of ${all}`);
  return html`<span class="count-line" role="status"><b class="number">${shown}</b><span class=${`busy ${isBusy ? "on" : ""}`} aria-hidden="true"></span></span>`;
}

function SelectionButtons({ selected, isOnly, metric, onBest, onOnly, onCurves, onCompare, onClear }) {
  if (selected.length === 0) {
    return (
      metric !== null &&
      html`<button type="button" class="button" title=${`The three best by ${metric} (b)`} onClick=${onBest}>Select best</button>`
    );
  }
  return html`<span class="selection">
    <span class="chip">${formatCount(selected.length)} selected<button type="button" aria-label="Select no run" title="Select no run (u)" onClick=${onClear}>✕</button></span>
    <button type="button" class="button only-button" aria-pressed=${isOnly} title="Show only the selected runs, or all again (o)" onClick=${onOnly}>Only these</button>
    <button type="button" class="button primary" title="Curves of the selected runs (v)" onClick=${onCurves}>Curves</button>
    <button type="button" class="button" title="Compare the selected runs (d)" onClick=${onCompare}>Compare</button>
  </span>`;
}

function NoRuns({ filter, onClear }) {
  return html`<div class="empty over">
    <h2>No runs</h2>
    ${
      isEmptyFilter(filter)
        ? html`<p>The experiments of this database have no runs yet.</p>`
        : html`<p>No run passes the filter.</p><button type="button" class="button" onClick=${onClear}>Clear the filter</button>`
    }
  </div>`;
}

function SortDialog({ columns, sort, onSort, onClose }) {
  const current = new Map(sort.map(({ column, descending }) => [columnId(column), descending]));
  const choose = (column) => {
    const known = current.get(columnId(column));
    const next = known === undefined ? [{ column, descending: true }] : known ? [{ column, descending: false }] : [];
    onSort(next);
  };
  return html`<${Dialog} title="Sort" onClose=${onClose}>
    <p class="muted">Missing values come last in both directions. In the table, Shift-click a header to sort by several columns.</p>
    <ul class="choices sort-list">
      ${columns.map((column, index) => {
        const descending = current.get(columnId(column));
        const arrow = descending === undefined ? "" : descending ? "↓ descending" : "↑ ascending";
        return html`<li><button type="button" aria-pressed=${descending !== undefined} data-focus=${index === 0} onClick=${() => choose(column)}><bdi class="cut">${columnText(column)}</bdi><span class="count">${arrow}</span></button></li>`;
      })}
    </ul>
  </${Dialog}>`;
}

/** Return the query of all rows for the export: runs, or groups. */
function exportSpec({ filter, sort, rowGroup, groupSort }, shown) {
  const columns = shown.length > 0 ? shown : null;
  return rowGroup === null ? { filter, columns, sort } : { filter, columns, group: rowGroup, sort: groupSort };
}

/** Return the column with a metric that sorts, or else the first one with numbers; null if there is none. */
function findBestColumn(sort, columns) {
  const numbers = columns.filter(({ kind }) => kind === "number");
  return [...sort, ...numbers].map(({ column }) => column).find((column) => metricOf(column) !== null) ?? null;
}

/** Return the ids of the three best runs: by the best value, or the first three as sorted. */
async function findBest(filter, column, sort) {
  const [, how] = column;
  if (how === "max" || how === "min" || sort.length === 0) {
    return (await get("best", { filter, column, k: BEST })).ids;
  }
  const { rows } = await get("runs", { filter, columns: [column], sort, offset: 0, limit: BEST });
  return rows.map(({ id }) => id);
}

function focusField(id) {
  const field = document.getElementById(id);
  field.focus();
  field.select();
}
