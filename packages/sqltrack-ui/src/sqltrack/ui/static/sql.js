/** The view of SQL: an editor, the result as a table or chart, and lists of names, examples and past queries. */
import { ApiError, get, isAbort, post } from "./api.js";
import { capitalize } from "./components.js";
import { ExportMenu } from "./export.js";
import { decode, formatCount, formatPlural } from "./format.js";
import { useKeys } from "./keys.js";
import { createSignal, useSignal } from "./signal.js";
import { ResultChart } from "./sql_chart.js";
import { saveSvg, writePython } from "./sql_chart_export.js";
import { saveCsv } from "./sql_csv.js";
import { loadAce, SqlEditor } from "./sql_editor.js";
import { findRunColumn, ResultGrid } from "./sql_grid.js";
import { Side } from "./sql_side.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

const FIRST = "SELECT status, COUNT(*) AS runs FROM runs GROUP BY status ORDER BY runs DESC";
const NO_RESULT = { text: null, answer: null, error: null, isRunning: false };

// These outlive the view, so that users can look at another one and come back.
const draft = createSignal(null);
const result = createSignal(NO_RESULT);
const schema = createSignal(null);
const historyCount = createSignal(0);
let running = null;
/** The query that the user wanted to run, and not the address alone. */
let wanted = null;

/** Show the editor and the result of the last query. */
export function View({ state, setState }) {
  const query = state.sql ?? {};
  const shown = useSignal(result);
  const names = useSignal(schema);
  const [isSideOpen, openSide] = useState(false);
  const [problem, setProblem] = useState(null);
  const set = (patch, options) => setState({ sql: { ...query, ...patch } }, options);
  const run = () => {
    const text = draft.get() ?? "";
    wanted = text;
    if (text === query.text) {
      runQuery(text);
    } else {
      // The effect below runs it.
      set({ text, chart: undefined });
    }
  };
  const editor = useEditor({ text: draft.get() ?? query.text ?? FIRST, onRun: () => latest.current.run(), setProblem });
  const latest = useRef({ run });
  latest.current = { run };
  useEffect(() => {
    get("schema").then(schema.set, setProblem);
  }, []);
  useEffect(() => {
    if (query.text !== undefined && query.text !== result.get().text) {
      draft.set(query.text);
      editor.current?.setText(query.text);
      runQuery(query.text);
    }
  }, [query.text]);
  useEffect(() => {
    if (shown.error?.details?.line && editor.current?.text === shown.text) {
      editor.current.markError(shown.error.details, shown.error.message);
    }
  }, [shown.error]);
  useKeys("SQL", {
    i: ["write in the editor; Ctrl-Enter runs the query, Tab leaves", () => editor.current?.focus()],
    r: ["run the query", run],
    t: ["show the result as a table", () => set({ show: undefined }, { replace: true })],
    c: ["show the result as a chart", () => set({ show: "chart" }, { replace: true })],
  });
  const insert = (text) => editor.current?.insert(text);
  const write = (text) => {
    openSide(false);
    editor.current?.setText(text);
    editor.current?.focus();
  };
  return html`<div class="sql-view">
    <h1 class="visually-hidden">SQL</h1>
    <div class="sql-main">
      <div class="sql-editor" ref=${editor.element}></div>
      <div class="bar">
        <button type="button" class="button primary" title="Run the query (Ctrl-Enter in the editor)" onClick=${run}>Run</button>
        ${shown.isRunning && html`<button type="button" class="button" onClick=${stop}>Stop</button>`}
        <${Status} shown=${shown} limits=${names?.limits} />
        <span class="space"></span>
        <${Actions} answer=${shown.answer} text=${shown.text} query=${query} selected=${state.selected} onSelect=${(ids) => setState({ selected: ids })} />
        <span class="choice" role="group" aria-label="Result">
          <button type="button" class="button" aria-pressed=${query.show !== "chart"} title="t" onClick=${() => set({ show: undefined }, { replace: true })}>Table</button>
          <button type="button" class="button" aria-pressed=${query.show === "chart"} title="c" onClick=${() => set({ show: "chart" }, { replace: true })}>Chart</button>
        </span>
        <button type="button" class="button sql-side-toggle" aria-expanded=${isSideOpen} onClick=${() => openSide(!isSideOpen)}>Names</button>
      </div>
      <${Problem} error=${shown.error ?? problem} />
      <${Cut} answer=${shown.answer} />
      <${Result} answer=${shown.answer} isHint=${!(shown.error ?? problem)} query=${query} onChart=${(chart) => set({ chart }, { replace: true })} onError=${setProblem} />
    </div>
    <${Side} schema=${names} signal=${historyCount} isOpen=${isSideOpen} onClose=${() => openSide(false)} onInsert=${insert} onWrite=${write} />
  </div>`;
}

/** Keep an editor in an element; returns a reference to it, with the reference to its element in `element`. */
function useEditor({ text, onRun, setProblem }) {
  const editor = useRef(null);
  const element = useRef(null);
  editor.element = element;
  useEffect(() => {
    let isGone = false;
    loadAce().then((ace) => {
      if (isGone) {
        return;
      }
      draft.set(draft.get() ?? text);
      const options = { text: draft.get(), schema: schema.get, onRun, onChange: draft.set };
      editor.current = new SqlEditor(ace, element.current, options);
      editor.current.focus();
    }, setProblem);
    return () => {
      isGone = true;
      editor.current?.destroy();
      editor.current = null;
    };
  }, []);
  return editor;
}

/** Run a query, and remember it if the user wanted it. */
async function runQuery(text) {
  const remember = wanted === text ? addToHistory : () => {};
  wanted = null;
  running?.abort();
  const controller = new AbortController();
  running = controller;
  result.set({ ...result.get(), text, error: null, isRunning: true });
  try {
    const answer = await get("sql", { sql: text }, { signal: controller.signal });
    result.set({ text, answer, error: null, isRunning: false });
    remember({ sql: text, rows: answer.rows.length, seconds: answer.seconds, failed: false });
  } catch (error) {
    if (isAbort(error)) {
      return;
    }
    result.set({ text, answer: null, error, isRunning: false });
    remember({ sql: text, failed: true });
  }
}

function stop() {
  running?.abort();
  result.set({ ...NO_RESULT, text: result.get().text, error: new ApiError("the query was stopped", "request") });
}

// A folder that cannot be written is told where the history is shown.
async function addToHistory(entry) {
  if (entry.sql.trim() !== "") {
    await post("history", entry).catch(() => {});
    historyCount.set(historyCount.get() + 1);
  }
}

function Status({ shown, limits }) {
  const { answer, isRunning } = shown;
  const limit = limits && `read-only, at most ${formatCount(limits.rows)} rows and ${limits.seconds} s`;
  const text = isRunning
    ? "running …"
    : answer &&
      `${formatPlural(answer.rows.length, "row")} in ${answer.seconds < 0.01 ? "less than 0.01" : answer.seconds} s`;
  return html`<span class="sql-status" role="status"><b class="number">${text}</b> <span class="muted sql-limits">${limit}</span></span>`;
}

function Actions({ answer, text, query, selected, onSelect }) {
  if (answer === null) {
    return null;
  }
  const column = findRunColumn(answer.columns);
  const ids =
    column < 0 ? [] : [...new Set(answer.rows.map((row) => decode(row[column])).filter(Number.isSafeInteger))];
  const isSelected = ids.length > 0 && ids.length === selected.length && ids.every((id) => selected.includes(id));
  const isDrawn = query.show === "chart" && isDrawable(answer);
  const items = [
    { label: "Result as CSV", act: () => saveCsv(answer) },
    ...(isDrawn ? [{ label: "Chart as SVG", act: () => saveSvg(answer, query.chart) }] : []),
  ];
  const python = isDrawn ? writePython(answer, query.chart) : answer.python;
  return html`${ids.length > 0 && html`<button type="button" class="button" disabled=${isSelected} title="Select the runs of this result in all views" onClick=${() => onSelect(ids)}>${isSelected ? "Selected" : `Select ${formatPlural(ids.length, "run")}`}</button>`}
    <${ExportMenu} sql=${text} python=${python} items=${items} />`;
}

function Problem({ error }) {
  if (!error) {
    return null;
  }
  const { line, column } = error.details ?? {};
  const place = line === undefined ? "" : ` (line ${line}, column ${column})`;
  return html`<div class="note error" role="alert" tabindex="0">${capitalize(error.message)}${place}</div>`;
}

function Cut({ answer }) {
  const reasons = {
    rows:
      answer && `These are the first ${formatCount(answer.limit)} rows; there are more. Add a condition, or aggregate.`,
    size:
      answer &&
      `These are the first ${formatCount(answer.rows.length)} rows; all would be too large. Select fewer columns.`,
  };
  return answer?.cut ? html`<p class="note warning">${reasons[answer.cut]}</p>` : null;
}

function isDrawable({ columns, rows }) {
  return rows.length > 0 && columns.some(({ kind }) => kind === "number");
}

function Result({ answer, isHint, query, onChart, onError }) {
  if (answer === null) {
    return isHint && html`<p class="muted sql-hint">Write a query, and press <kbd>Ctrl</kbd> <kbd>Enter</kbd>.</p>`;
  }
  if (answer.columns.length === 0 || answer.rows.length === 0) {
    return html`<p class="muted sql-hint">The query returned no rows.</p>`;
  }
  if (query.show === "chart") {
    return isDrawable(answer)
      ? html`<${ResultChart} key=${answer.version + answer.sql} answer=${answer} choice=${query.chart} onChoose=${onChart} />`
      : html`<p class="muted sql-hint">A chart needs a column with numbers.</p>`;
  }
  return html`<${ResultGrid} answer=${answer} onError=${onError} />`;
}
