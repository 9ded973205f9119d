/** Curves from the server: asked in parts, so that the first appear early, and asked again as runs grow. */
import { get, isAbort, isPassing } from "./api.js";
import { usePoll } from "./poll.js";
import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

const RUNS_PER_CALL = 50;
const METRICS_PER_CALL = 3;
const CALLS_AT_ONCE = 4;
/** Points of one chart. More take seconds to draw without a GPU; extremes are kept however few pixels are asked for. */
const MOST_POINTS = 160000;
const POINTS_PER_PIXEL = 4;
/** Milliseconds between two drawings while answers arrive: at least these, and longer if drawing takes long. */
const SHORTEST_PAUSE = 300;
const LONGEST_PAUSE = 2000;

/** Number of buckets to ask for, so that a chart of this many curves is drawn without delay. */
export function choosePixels(width, curves) {
  const affordable = MOST_POINTS / (POINTS_PER_PIXEL * Math.max(1, curves));
  const pixels = Math.max(50, Math.min(width, affordable));
  // Steps of 50, so that a few pixels more or less do not ask again.
  return Math.ceil(pixels / 50) * 50;
}

/** Split a list of runs and metrics into calls. Joined and grouped curves need all runs in one call. */
export function splitCalls(runs, metrics, whole) {
  const runParts = whole ? [runs] : split(runs, RUNS_PER_CALL);
  const metricParts = split(metrics, METRICS_PER_CALL);
  return metricParts.flatMap((part) => runParts.map((ids) => ({ runs: ids, metrics: part })));
}

function split(items, size) {
  const parts = [];
  for (let start = 0; start < items.length; start += size) {
    parts.push(items.slice(start, start + size));
  }
  return parts;
}

/**
 * Curves of runs, kept up to date.
 *
 * @param {object} spec as that of the query `curves`: `runs`, `metrics`, `x`, `range`, `pixels`, `smoothing`, `log_x`,
 *   `join`, `group`, `band`
 * @returns {{byMetric: Map<string, {curves: object[], groups: object[]}>, loading: boolean, error: Error|null,
 *   truncated: number[], sql: string, python: string}}
 *   while an answer is awaited, the curves before it remain, unless they have another x axis or other groups
 */
export function useCurves(spec) {
  const store = useRef(null);
  store.current ??= new CurveStore();
  const [, setCount] = useState(0);
  const text = JSON.stringify(spec);
  useLayoutEffect(() => store.current.subscribe(() => setCount((count) => count + 1)), []);
  // Before the charts are drawn, so that the server works meanwhile.
  useLayoutEffect(() => store.current.ask(spec), [text]);
  useEffect(() => () => store.current.stop(), []);
  usePoll((signal) => store.current.update(signal), [text], { active: spec.runs.length > 0 });
  return store.current.result;
}

class CurveStore {
  #spec = null;
  #controller = new AbortController();
  #subscribers = new Set();
  #timer = null;
  #pause = SHORTEST_PAUSE;
  // The states of runs that the curves have, and the runs some of whose curves have another or are missing.
  #known = new Map();
  #stale = new Set();
  #byMetric = new Map();
  #isChanged = false;
  result = { byMetric: new Map(), loading: false, error: null, truncated: [], sql: "", python: "" };

  subscribe(subscriber) {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  stop() {
    this.#controller.abort();
    clearTimeout(this.#timer);
  }

  /** Ask for curves, and give up the calls before. */
  ask(spec) {
    this.#controller.abort();
    this.#controller = new AbortController();
    if (!isAlike(this.#spec, spec)) {
      this.#byMetric = new Map();
      this.#isChanged = true;
    }
    if (JSON.stringify(this.#spec?.runs) !== JSON.stringify(spec.runs)) {
      this.#known = new Map();
    }
    this.#stale = new Set();
    this.#spec = spec;
    this.#forgetOthers(new Set(spec.runs));
    this.#load(spec.runs);
  }

  /** Ask again for the runs that have changed since the last time, and for curves that are missing. */
  async update(signal) {
    if (this.result.loading) {
      return;
    }
    const spec = this.#spec;
    const { runs } = await get("changes", { runs: spec.runs }, { signal });
    if (this.#spec !== spec || this.result.loading) {
      return;
    }
    for (const run of runs) {
      this.#compare(run);
    }
    const isGone = this.#dropGone(runs);
    if (this.#stale.size > 0 || (isGone && this.#isWhole())) {
      const stale = spec.runs.filter((id) => this.#stale.has(id));
      this.#stale = new Set();
      await this.#load(this.#isWhole() ? spec.runs : stale);
    } else if (isGone) {
      this.#publish();
    }
  }

  // A run whose state is not the known one is asked for again. Of several answers, any may be the older one.
  #compare(run) {
    const state = stateOf(run);
    if ((this.#known.get(run.id) ?? state) !== state) {
      this.#stale.add(run.id);
    }
    this.#known.set(run.id, state);
  }

  // Remove the curves of runs that exist no more; returns whether there are such runs.
  #dropGone(runs) {
    const present = new Set(runs.map(({ id }) => id));
    const gone = [...this.#known.keys()].filter((id) => !present.has(id));
    for (const id of gone) {
      this.#known.delete(id);
    }
    this.#forgetOthers(present);
    return gone.length > 0;
  }

  #isWhole() {
    return this.#spec.join || this.#spec.group !== null;
  }

  // Curves of other runs than these, and of metrics that are no longer wanted.
  #forgetOthers(runs) {
    const metrics = new Set(this.#spec.metrics);
    for (const [metric, entry] of this.#byMetric) {
      const curves = this.#isWhole() ? entry.curves : entry.curves.filter((curve) => runs.has(curve.run));
      if (!metrics.has(metric)) {
        this.#byMetric.delete(metric);
        this.#isChanged = true;
      } else if (curves.length < entry.curves.length) {
        this.#byMetric.set(metric, { ...entry, curves });
        this.#isChanged = true;
      }
    }
  }

  async #load(runs) {
    const { signal } = this.#controller;
    const spec = this.#spec;
    const calls = runs.length && spec.metrics.length ? splitCalls(runs, spec.metrics, this.#isWhole()) : [];
    this.result = { ...this.result, loading: calls.length > 0, error: null, truncated: [] };
    const queue = [...calls];
    const work = Array.from({ length: CALLS_AT_ONCE }, () => this.#work(queue, spec, signal));
    this.#publish();
    await Promise.all(work);
    if (!signal.aborted) {
      this.result = { ...this.result, loading: false };
      this.#publish();
    }
  }

  async #work(queue, spec, signal) {
    while (queue.length > 0 && !signal.aborted) {
      const call = queue.shift();
      try {
        this.#take(call, await get("curves", { ...spec, ...call }, { signal }));
      } catch (error) {
        if (isAbort(error)) {
          return;
        }
        this.result = { ...this.result, error };
        if (isPassing(error)) {
          this.#stale = new Set([...this.#stale, ...call.runs]);
        }
      }
      this.#publishSoon();
    }
  }

  #take(call, answer) {
    for (const run of answer.runs) {
      this.#compare(run);
    }
    const asked = new Set(call.runs);
    for (const metric of call.metrics) {
      const before = this.#byMetric.get(metric)?.curves ?? [];
      const kept = this.#isWhole() ? [] : before.filter((curve) => !asked.has(curve.run));
      this.#byMetric.set(metric, {
        curves: [...kept, ...answer.curves.filter((curve) => curve.metric === metric)],
        groups: (answer.groups ?? []).filter((group) => group.metric === metric),
      });
    }
    this.#isChanged = true;
    const truncated = [...new Set([...this.result.truncated, ...(answer.truncated ?? [])])];
    this.result = { ...this.result, truncated, sql: answer.sql, python: answer.python };
  }

  #publishSoon() {
    this.#timer ??= setTimeout(() => this.#publish(), this.#pause);
  }

  #publish() {
    clearTimeout(this.#timer);
    this.#timer = null;
    // A new map lets all charts draw again.
    const byMetric = this.#isChanged ? new Map(this.#byMetric) : this.result.byMetric;
    this.#isChanged = false;
    this.result = { ...this.result, byMetric };
    for (const subscriber of this.#subscribers) {
      subscriber();
    }
    this.#measureDrawing(performance.now());
  }

  // Charts are drawn in the next frame; the task after it tells how long that took.
  #measureDrawing(start) {
    requestAnimationFrame(() =>
      setTimeout(() => {
        this.#pause = Math.min(LONGEST_PAUSE, Math.max(SHORTEST_PAUSE, 2 * (performance.now() - start)));
      }),
    );
  }
}

// A text that changes when the rows of a run do.
function stateOf({ updated, rows, status, recent }) {
  return `${updated} ${rows} ${status} ${recent}`;
}

// Whether curves of one query may stand in for those of another until they arrive.
function isAlike(one, other) {
  const units = (spec) => JSON.stringify([spec.x, spec.join, spec.group, spec.band]);
  return one !== null && units(one) === units(other);
}
