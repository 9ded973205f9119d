/** The runs and metrics that a view of curves shows. */
import { get, isAbort } from "./api.js";
import { usePoll, useRetry } from "./poll.js";
import { useEffect, useState } from "./vendor/htm/standalone.module.js";

/** Runs that are shown while none is selected. */
const NEWEST = 10;
const MOST_ROWS = 1000;
/** Metrics that are shown while none is chosen. */
const FIRST_METRICS = 4;
const VALIDATION = /(^|[^a-z])(val|valid|validation|test|eval|dev)([^a-z]|$)/i;

/**
 * Return the answer of a query, null until it is there, and its error.
 *
 * It is asked again when the spec or `turn` changes, and not at all while `isNeeded` is false.
 */
export function useQuery(name, spec, isNeeded = true, turn = 0) {
  const [result, setResult] = useState({ answer: null, error: null, isLoading: isNeeded });
  const [tries, setTries] = useState(0);
  const text = JSON.stringify(spec);
  useRetry(result.error, () => setTries((count) => count + 1));
  useEffect(() => {
    if (!isNeeded) {
      return undefined;
    }
    const controller = new AbortController();
    setResult((before) => ({ ...before, isLoading: true }));
    get(name, spec, { signal: controller.signal }).then(
      (answer) => setResult({ answer, error: null, isLoading: false }),
      (error) => isAbort(error) || setResult((before) => ({ ...before, error, isLoading: false })),
    );
    return () => controller.abort();
  }, [name, text, isNeeded, turn, tries]);
  return result;
}

/**
 * The selected runs, or the newest of the filter while none is selected.
 *
 * @returns {{runs: number[], isChosen: boolean, answer: object|null, error: Error|null}} `answer` is that of `runs`
 */
export function useShownRuns(state) {
  const isChosen = state.selected.length > 0;
  const newest = useQuery(
    "runs",
    {
      filter: state.filter,
      columns: [["run", "id"]],
      sort: [{ column: ["run", "id"], descending: true }],
      offset: 0,
      limit: NEWEST,
    },
    !isChosen,
  );
  const runs = isChosen ? state.selected : (newest.answer?.rows ?? []).map((row) => row.id);
  const table = useRows(runs);
  return { runs, isChosen, answer: table.answer, error: newest.error ?? table.error };
}

/** Return what is shown while no runs are selected: "these are the newest 10". */
export function newestText(runs) {
  return runs.length === 1 ? "this is the newest" : `these are the newest ${runs.length}`;
}

// The rows of the legend, which change while runs go on.
function useRows(runs) {
  const spec = {
    filter: { facets: [], where: null, search: null, ids: runs },
    columns: null,
    sort: [{ column: ["run", "id"], descending: false }],
    offset: 0,
    limit: MOST_ROWS,
  };
  const isNeeded = runs.length > 0;
  const first = useQuery("runs", spec, isNeeded);
  const [later, setLater] = useState(null);
  const text = String(runs);
  useEffect(() => setLater(null), [text]);
  usePoll(
    async (signal) => {
      const answer = await get("runs", spec, { signal });
      const before = later ?? first.answer;
      if (answer.version === undefined || answer.version !== before?.version) {
        setLater(answer);
      }
    },
    [text],
    { interval: 5000, active: isNeeded },
  );
  return { ...first, answer: later ?? first.answer };
}

/** Return whether a metric can be drawn as a curve. */
export function isDrawn({ kind }) {
  return kind !== "time" && kind !== "text" && kind !== "json";
}

/**
 * The metrics that the runs have, and those to show: the chosen, or the first, of which those of validation come first.
 *
 * While the metrics are chosen and `isLater` is true, the others are not asked for.
 *
 * @returns {{known: {name: string, runs: number}[], shown: string[], error: Error|null}}
 */
export function useMetrics(runs, chosen, { count = FIRST_METRICS, isLater = false } = {}) {
  const { answer, error } = useQuery("metrics", { runs }, runs.length > 0 && !(chosen.length > 0 && isLater));
  const known = (answer?.metrics ?? []).filter(isDrawn);
  const shown = chosen.length > 0 ? chosen : chooseFirst(known).slice(0, count);
  return { known, shown, error };
}

// A metric that only few of the runs have says little about the others.
function chooseFirst(known) {
  const most = Math.max(0, ...known.map(({ runs }) => runs));
  const common = known.filter(({ runs }) => 2 * runs >= most).map(({ name }) => name);
  const isValidation = (name) => VALIDATION.test(name);
  return [...common.filter(isValidation), ...common.filter((name) => !isValidation(name))];
}
