/** Names of columns as people read them. A column is an array such as ["metric", "max", "val_acc"]. */

const RUN_NAMES = {
  id: "Run",
  status: "Status",
  comment: "Comment",
  time_created: "Created",
  time_started: "Started",
  time_updated: "Updated",
  time_ended: "Ended",
  duration: "Duration",
  tags: "Tags",
  steps: "Steps",
};

/** How the values of a metric become one. */
export const HOWS = ["max", "min", "last", "mean"];

/** Return the name of a column, and in `detail` where it comes from: {name: "val_acc", detail: "max"}. */
export function columnTitle(column) {
  const [source, ...path] = column;
  switch (source) {
    case "run":
      return { name: RUN_NAMES[path[0]] ?? path.join("."), detail: "" };
    case "experiment":
      return { name: path[0] === "id" ? "Experiment id" : "Experiment", detail: "" };
    case "metric":
      return path[0] === "at"
        ? { name: path[3], detail: `at ${path[2]} ${path[1]}` }
        : { name: path[1], detail: path[0] };
    default:
      return { name: path.join("."), detail: source };
  }
}

/** Return the name of a column in one text: "val_acc (max)". */
export function columnText(column) {
  const { name, detail } = columnTitle(column);
  return detail === "" ? name : `${name} (${detail})`;
}

/** Return the name of the metric that a column shows, null if it shows none. */
export function metricOf(column) {
  return column[0] === "metric" ? column.at(-1) : null;
}
