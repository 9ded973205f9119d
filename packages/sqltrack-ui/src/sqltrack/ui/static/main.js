/** The start of the page, its header, and the choice of the view. */

import { connection, get } from "./api.js";
import { capitalize, ErrorNote } from "./components.js";
import { EditNotice } from "./edit.js";
import { setServerTime } from "./format.js";
import { Help } from "./help.js";
import { startKeys, useKeys } from "./keys.js";
import { poll } from "./poll.js";
import { createSignal, useSignal } from "./signal.js";
import { href, navigate, place, setState, startState, stateError } from "./state.js";
import { setStatusGroups } from "./status.js";
import { scheme, show, toggleScheme } from "./theme.js";
import { html, render, useEffect, useErrorBoundary, useState } from "./vendor/htm/standalone.module.js";
import { ViewNotice } from "./view_notice.js";
import { ViewsMenu } from "./views.js";

const CURVES = { path: "curves", name: "Curves", key: "c", counts: true, load: () => import("./curves.js") };
const VIEWS = [
  { path: "", name: "Runs", key: "r", load: () => import("./runs.js") },
  CURVES,
  { path: "compare", name: "Compare", key: "x", counts: true, load: () => import("./compare.js") },
  { path: "sweep", name: "Sweep", key: "w", load: () => import("./sweep.js") },
  { path: "live", name: "Live", key: "l", load: () => import("./live.js") },
  { path: "experiments", name: "Experiments", key: "e", load: () => import("./experiments.js") },
  { path: "sql", name: "SQL", key: "q", load: () => import("./sql.js") },
];
const RUN = { path: "run", name: "Run", load: () => import("./run.js") };
const CONNECTIONS = {
  ok: null,
  offline: "the server does not answer; the page shows the last state, and tries again",
  unknown:
    "the server does not know this browser, perhaps because it was started again; open the address that it printed",
  database: "the database does not answer; the page shows the last state, and tries again",
};

const whenIdle = window.requestIdleCallback ?? ((act) => setTimeout(act, 1000));

const LOGO = new URL("./logo.svg", import.meta.url).href;

const about = createSignal(null);
const aboutError = createSignal(null);
const isHelpOpen = createSignal(false);
/** Milliseconds between two looks at an empty database, and at a server that is away. */
const LOOK = 3000;

async function readAbout() {
  try {
    const answer = await get("about");
    setServerTime(answer.time);
    setStatusGroups(answer.statuses);
    about.set(answer);
    aboutError.set(null);
  } catch (error) {
    aboutError.set(error);
    throw error;
  }
}

function findView(path) {
  const [name, id] = path.split("/");
  // The server tells what is wrong with another id.
  return name === "run"
    ? { view: RUN, id: /^\d{1,15}$/.test(id) ? Number(id) : id }
    : { view: VIEWS.find((view) => view.path === name) ?? null };
}

// Who selects runs opens their curves next, and the modules of that view are the largest.
function usePreload(isSelected) {
  useEffect(() => {
    if (isSelected) {
      whenIdle(() => CURVES.load().catch(() => {}));
    }
  }, [isSelected]);
}

function Page() {
  const { path, state } = useSignal(place);
  const shownAbout = useSignal(about);
  const { view, id } = findView(path);
  usePreload(state.selected.length > 0);
  useKeys("Everywhere", {
    "?": ["show this help", () => isHelpOpen.set(true)],
    ...Object.fromEntries(VIEWS.map(({ path: to, name, key }) => [`g ${key}`, [`go to ${name}`, () => navigate(to)]])),
    "g t": ["change between light and dark", toggleScheme],
  });
  useEffect(() => {
    const title = view === RUN ? `Run ${id}` : (view?.name ?? "Not found");
    document.title = `${title} · ${shownAbout?.name ?? "SQLTrack"}`;
  }, [view, id, shownAbout?.name]);
  return html`<a class="skip" href=${`${location.href.split("#")[0]}#view`}>Skip to the content</a>
    <${Header} view=${view} about=${shownAbout} selected=${state.selected} />
    <${Messages} />
    ${shownAbout && html`<${ViewNotice} />`}
    <main id="view" tabindex="-1">
      ${shownAbout && html`<${Content} key=${view?.name} view=${view} id=${id} about=${shownAbout} state=${state} />`}
    </main>
    <${HelpSlot} />`;
}

function HelpSlot() {
  return useSignal(isHelpOpen) ? html`<${Help} onClose=${() => isHelpOpen.set(false)} />` : null;
}

function Messages() {
  const state = useSignal(connection);
  const problem = useSignal(stateError);
  const error = useSignal(aboutError);
  const shown = CONNECTIONS[state] ?? problem ?? error?.message;
  return html`<div aria-live="polite">${shown && html`<p class="note warning">${capitalize(shown)}.</p>`}<${EditNotice} /></div>`;
}

function Header({ view, about: info, selected }) {
  const link = ({ path: to, name, key, counts }) => html`<a
    href=${href(to)}
    class="nav-link"
    title=${`g ${key}`}
    aria-current=${view?.path === to ? "page" : null}
    onClick=${(event) => follow(event, to)}
    >${name}${counts && selected.length > 0 && html` <span class="badge">${selected.length}</span>`}</a
  >`;
  return html`<header class="head">
    <a class="brand" href=${href("")} onClick=${(event) => follow(event, "")} aria-label="SQLTrack, all runs">
      <img src=${LOGO} alt="" width="22" height="22" /><span>SQLTrack</span>
    </a>
    <nav class="nav" aria-label="Views">${VIEWS.map(link)}</nav>
    <div class="head-end">
      ${info && html`<${DatabaseName} about=${info} />`}
      <${ViewsMenu} />
      <${ThemeButton} />
      <button type="button" class="button quiet icon" title="Keys (?)" aria-label="Keys" onClick=${() => isHelpOpen.set(true)}>?</button>
    </div>
  </header>`;
}

function DatabaseName({ about: info }) {
  const state = useSignal(connection);
  const text = CONNECTIONS[state] ?? "connected";
  const title = `${info.database} (${text})`;
  return html`<span class="database" title=${title}>
    <span class=${`dot ${state}`} role="img" aria-label=${text}></span><bdi class="cut">${info.name ?? info.database}</bdi>
  </span>`;
}

function ThemeButton() {
  const isDark = useSignal(scheme) === "dark";
  const text = isDark ? "Light colors" : "Dark colors";
  return html`<button type="button" class="button quiet icon" title=${`${text} (g t)`} aria-label=${text} onClick=${toggleScheme}>
    ${isDark ? "☀" : "☾"}\ufe0e
  </button>`;
}

/** Follow a link within the page, unless the user asks for a new tab or window. */
function follow(event, path) {
  if (!(event.ctrlKey || event.metaKey || event.shiftKey || event.button > 0)) {
    event.preventDefault();
    navigate(path);
  }
}

function Content({ view, id, about: info, state }) {
  const [module, setModule] = useState(null);
  const [failure, setFailure] = useState(null);
  const [error, reset] = useErrorBoundary();
  useEffect(() => {
    view?.load().then((loaded) => setModule(() => loaded.View), setFailure);
  }, [view]);
  if (view === null) {
    return html`<div class="empty"><h2>Unknown view</h2><p>The address does not name one of the views above.</p></div>`;
  }
  if (info.runs === 0 && info.experiments === 0) {
    return html`<${EmptyDatabase} about=${info} />`;
  }
  if (failure || error) {
    return html`<${ErrorNote} error=${failure ?? error} retry=${failure ? () => location.reload() : reset} />`;
  }
  return (
    module &&
    html`<${module} state=${state} setState=${setState} about=${info} readAbout=${readAbout} navigate=${navigate} id=${id} />`
  );
}

function EmptyDatabase({ about: info }) {
  useEffect(() => poll(readAbout, LOOK), []);
  return html`<div class="empty">
    <h2>No runs yet</h2>
    <p>The <bdi>${info.database}</bdi> holds no experiments. Log a run, and it appears here:</p>
    <pre class="code">
import sqltrack

with sqltrack.track("first") as run:
    for step in range(100):
        run.add_metrics({"loss": 1 / (step + 1)}, step=step)</pre
    >
  </div>`;
}

async function start() {
  show();
  startKeys();
  await startState();
  // The view loads while the server answers; it tells itself if that fails.
  findView(place.get().path)
    .view?.load()
    .catch(() => {});
  const root = document.getElementById("page");
  root.textContent = "";
  render(html`<${Page} />`, root);
  try {
    await readAbout();
  } catch {
    const end = poll(async () => {
      await readAbout();
      end();
    }, LOOK);
  }
}

start();
