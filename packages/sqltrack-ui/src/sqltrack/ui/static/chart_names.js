/** Names in charts: of x axes and of groups. */
import { formatValue } from "./format.js";

const X_NAMES = { step: "step", progress: "progress", time: "time since start" };

/** Return the name of an x axis: "step", or that of a metric. */
export function nameX(x) {
  return Array.isArray(x) ? x.at(-1) : (X_NAMES[x] ?? String(x));
}

/** Return the value of a group as text: "0.1", or "lr=0.1, model=vit" for several arguments. */
export function nameGroup(value) {
  if (value !== null && typeof value === "object" && !Array.isArray(value) && value.$number === undefined) {
    const parts = Object.entries(value).map(([name, part]) => `${name}=${formatValue(part) || "none"}`);
    return parts.join(", ") || "no differing arguments";
  }
  return formatValue(value) || "none";
}
