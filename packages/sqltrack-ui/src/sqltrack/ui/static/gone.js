/** Names in a state that the database no longer has: as a sentence, and how to take them out of the state. */
import { packIds } from "./address.js";
import { columnText } from "./column_names.js";

/** Return whether a state names anything that could be gone. */
export function namesAnything(state) {
  const { filter, ...others } = state;
  const isFiltered = filter.facets.length > 0 || filter.where !== null || filter.ids !== null;
  return (
    isFiltered || Object.values(others).some((value) => value !== null && typeof value === "object" && hasItems(value))
  );
}

function hasItems(value) {
  return Array.isArray(value) ? value.length > 0 : Object.values(value).some((item) => typeof item !== "boolean");
}

/** Return what is gone as parts of a sentence, none if all is there. `gone` is the answer of the call. */
export function goneParts({ runs, experiments, metrics, columns, where }) {
  return [
    ...metrics.map(({ name }) => `metric ${name}`),
    ...columns.map(({ column }) => `column ${columnText(column)}`),
    ...experiments.map((experiment) => `experiment ${experiment}`),
    ...(runs.length > 0
      ? [`${runs.length === 1 ? "run" : "runs"} ${packIds([...runs].sort((a, b) => a - b)).replaceAll(",", ", ")}`]
      : []),
    ...(where === null ? [] : [`a name in the SQL condition (${where})`]),
  ];
}

/** Return a state without what is gone. */
export function prune(state, gone) {
  const runs = new Set(gone.runs);
  const keep = (ids) => (Array.isArray(ids) ? ids.filter((id) => !runs.has(id)) : ids);
  const isGone = makeTest(gone);
  const experiments = new Set(gone.experiments);
  const facets = state.filter.facets
    .filter(({ column }) => !isGone(column))
    .map((facet) =>
      facet.column[0] === "experiment"
        ? { ...facet, values: facet.values.filter((value) => !experiments.has(value)) }
        : facet,
    )
    .filter(({ values }) => values.length > 0);
  const metrics = new Set(gone.metrics.map(({ name }) => name));
  const { filter, selected, hidden, metrics: chosen, x, ...others } = state;
  return {
    ...dropColumns(others, isGone),
    filter: { ...filter, facets, ids: keep(filter.ids), where: gone.where === null ? filter.where : null },
    selected: keep(selected),
    ...(hidden && { hidden: keep(hidden) }),
    metrics: chosen.filter((name) => !metrics.has(name)),
    x: Array.isArray(x) && metrics.has(x.at(-1)) ? "step" : x,
  };
}

/** Return a state that shows another metric in place of one. */
export function replaceMetric(value, from, to) {
  if (Array.isArray(value)) {
    const isNamed = value[0] === "metric" || (value[0] === "at" && value.length === 3);
    return value.map((item, index) => (isNamed && index > 0 && item === from ? to : replaceMetric(item, from, to)));
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      name === "metrics" && Array.isArray(item)
        ? [...new Set(item.map((metric) => (metric === from ? to : metric)))]
        : replaceMetric(item, from, to),
    ]),
  );
}

function makeTest({ metrics, columns }) {
  const names = new Set(metrics.map(({ name }) => name));
  const ids = new Set(columns.map(({ column }) => JSON.stringify(column)));
  return (value) => {
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
      return false;
    }
    const shown =
      value[0] === "metric" && value[1] === "at" ? [value[2], value[4]] : value[0] === "metric" ? value.slice(-1) : [];
    const by = value[0] === "at" && value.length === 3 ? [value[1]] : [];
    return ids.has(JSON.stringify(value)) || [...shown, ...by].some((name) => names.has(name));
  };
}

// Columns in lists, or under a name, such as those that sort or group; what they belong to goes with them.
function dropColumns(value, isGone) {
  if (Array.isArray(value)) {
    return value.filter((item) => !isGone(item) && !isGone(item?.column)).map((item) => dropColumns(item, isGone));
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => !isGone(item))
      .map(([name, item]) => [name, dropColumns(item, isGone)]),
  );
}
