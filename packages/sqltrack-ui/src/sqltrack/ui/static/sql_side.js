/** The lists next to the editor for SQL: names of this database, examples, and past queries. */
import { getPath, remove } from "./api.js";
import { ErrorNote } from "./components.js";
import { formatAgo, formatPlural, shownName } from "./format.js";
import { useSignal } from "./signal.js";
import { html, useEffect, useMemo, useState } from "./vendor/htm/standalone.module.js";

const PARTS = { names: "Names", examples: "Examples", history: "History" };
/** Names of a list that are shown; more are found by searching. */
const MOST = 200;

/** Show the parts; `onInsert` gets a name for the place of the cursor, `onWrite` a whole query. */
export function Side({ schema, signal, isOpen, onClose, onInsert, onWrite }) {
  const [part, setPart] = useState("names");
  const count = useSignal(signal);
  return html`<aside class=${`sql-side ${isOpen ? "open" : ""}`} aria-label="Names, examples and history">
    <div class="sql-parts choice" role="group" aria-label="Lists">
      ${Object.entries(PARTS).map(([name, text]) => html`<button type="button" class="button" aria-pressed=${name === part} onClick=${() => setPart(name)}>${text}</button>`)}
      <button type="button" class="button sql-side-done" onClick=${onClose}>Done</button>
    </div>
    ${part === "names" && schema && html`<${Names} schema=${schema} onInsert=${onInsert} />`}
    ${part === "examples" && schema && html`<${Examples} examples=${schema.examples} onWrite=${onWrite} />`}
    ${part === "history" && html`<${History} count=${count} onWrite=${onWrite} />`}
  </aside>`;
}

function Names({ schema, onInsert }) {
  const [text, setText] = useState("");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const lists = useMemo(() => listNames(schema), [schema]);
  const find = (items) => items.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  const shown = lists
    .map((list) => ({ ...list, found: find(list.items) }))
    .filter(({ found, name }) => words.length === 0 || found.length > 0 || find([{ name }]).length > 0);
  return html`<input class="field sql-search" type="search" placeholder="Search names" aria-label="Search names" value=${text} onInput=${(event) => setText(event.target.value)} />
    <p class="muted sql-note">Click on a name to insert it. The editor completes them, too: <kbd>Ctrl</kbd> <kbd>Space</kbd>.</p>
    ${shown.map((list) => html`<${NameList} key=${list.name + list.kind} list=${list} isOpen=${words.length > 0 || list.isOpen} onInsert=${onInsert} />`)}
    ${shown.length === 0 && html`<p class="muted sql-note">Nothing found</p>`}
    <${Notes} />`;
}

// The tables with their columns; the metrics and the arguments, which are many, have lists of their own.
function listNames({ tables, metrics, args }) {
  const table = ({ name, sql, columns, is_own: isOwn }) => ({
    name,
    sql,
    kind: isOwn ? "table" : "another table",
    items: columns,
    isOpen: false,
  });
  const [own, others] = [tables.filter((item) => item.is_own), tables.filter((item) => !item.is_own)];
  return [
    { name: "metrics of this database", kind: "columns", items: metrics, isOpen: true },
    {
      name: "arguments",
      kind: "of runs",
      items: args.map((item) => ({ ...item, type: item.runs && formatPlural(item.runs, "run") })),
      isOpen: false,
    },
    ...own.map(table),
    ...others.map(table),
  ];
}

function NameList({ list: { name, sql, kind, items, found }, isOpen, onInsert }) {
  const own = sql === undefined ? [] : [{ name, sql, type: "the table" }];
  return html`<details class="sql-names" open=${isOpen}>
    <summary><b>${name}</b> <small class="muted">${kind} · ${items.length}</small></summary>
    <ul>
      ${[...own, ...found.slice(0, MOST)].map((item) => html`<${Name} key=${item.sql} ...${item} onInsert=${onInsert} />`)}
    </ul>
    ${found.length > MOST && html`<p class="muted sql-note">${found.length - MOST} more; search to find them.</p>`}
  </details>`;
}

function Name({ name, sql, type, onInsert }) {
  return html`<li>
    <button type="button" title=${sql} onClick=${() => onInsert(sql)}><bdi class="cut">${shownName(name)}</bdi><small class="muted">${type?.toLowerCase()}</small></button>
  </li>`;
}

function Notes() {
  return html`<dl class="sql-notes muted">
    <div><dt>status</dt><dd>PLANNED, RUNNING, COMPLETED, FAILED, CANCELLED, …</dd></div>
    <div><dt>tags</dt><dd><code>tags ->> 'paper' IS NOT NULL</code></dd></div>
    <div><dt>args, env, extras</dt><dd>JSON objects: <code>args ->> 'lr'</code></dd></div>
    <div><dt>metrics</dt><dd>a column each, quoted if needed: <code>"train/loss"</code>; NaN: <code>loss ${"<>"} 'NaN'</code></dd></div>
  </dl>`;
}

function Examples({ examples, onWrite }) {
  return html`<ul class="sql-queries">
    ${examples.map(({ title, sql }) => html`<li key=${title}><button type="button" onClick=${() => onWrite(sql)}><b>${title}</b><code>${sql}</code></button></li>`)}
  </ul>`;
}

function History({ count, onWrite }) {
  const [queries, setQueries] = useState(null);
  const [error, setError] = useState(null);
  const load = async () => {
    try {
      setQueries((await getPath("api/history")).queries);
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => {
    load();
  }, [count]);
  const forget = async (id) => {
    try {
      await remove(`history${id === undefined ? "" : `?id=${encodeURIComponent(id)}`}`);
      await load();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${ErrorNote} error=${error} />
    ${queries?.length === 0 && html`<p class="muted sql-note">No queries yet. Those that you run are kept in a file of yours.</p>`}
    <ul class="sql-queries">
      ${queries?.map((query) => html`<${PastQuery} key=${query.id} query=${query} onWrite=${onWrite} onForget=${() => forget(query.id)} />`)}
    </ul>
    ${queries?.length > 0 && html`<button type="button" class="button sql-forget" onClick=${() => forget()}>Forget all</button>`}`;
}

function PastQuery({ query: { sql, rows, seconds, failed, time }, onWrite, onForget }) {
  const outcome = failed ? "failed" : rows !== null && `${formatPlural(rows, "row")} in ${seconds} s`;
  return html`<li>
    <button type="button" onClick=${() => onWrite(sql)}><code>${sql}</code><small class="muted">${[formatAgo(time), outcome].filter(Boolean).join(" · ")}</small></button>
    <button type="button" class="drop" aria-label="Forget this query" title="Forget" onClick=${onForget}>✕</button>
  </li>`;
}
