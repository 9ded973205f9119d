/** The lines of parallel coordinates on a canvas: thousands are drawn again at each move of a range. */
import { PARALLEL_MARGINS, spread } from "./sweep_option.js";

/** Above this many lines, each is thinner and lighter. */
const MANY = 150;
const SELECTED_WIDTH = 3.5;
/** Part of the distance between two places on an axis that equal runs are moved apart. */
const SPREAD = 0.16;

/** Return the points of each run in pixels: {run, points: [x, y, …]} with NaN where a run has no value. */
export function placeLines(runs, axes, { width, height }) {
  const { left, right, top, bottom } = PARALLEL_MARGINS;
  const step = axes.length > 1 ? (width - left - right) / (axes.length - 1) : 0;
  const toY = ({ extent: [low, high] }, position) => top + ((high - position) / (high - low)) * (height - top - bottom);
  return runs.map((run) => {
    const points = new Float64Array(2 * axes.length);
    for (const [index, axis] of axes.entries()) {
      points[2 * index] = left + index * step;
      points[2 * index + 1] = toY(axis, spread(axis, run, SPREAD));
    }
    return { run, points };
  });
}

/** Draw all lines in one color, behind those that pass; the style sheet makes them faint. */
export function drawBehind(context, lines, color) {
  stroke(context, lines, color, 1);
}

/** Draw lines, those of selected runs last. Lines of one color are one path, which is much faster. */
export function drawLines(context, lines, colorOf, selected) {
  const isMany = lines.length > MANY;
  const chosen = lines.filter(({ run }) => selected.has(run.id));
  context.globalAlpha = isMany ? 0.5 : 0.8;
  for (const [color, group] of groupByColor(lines, colorOf)) {
    stroke(context, group, color, isMany ? 1 : 1.5);
  }
  context.globalAlpha = 1;
  for (const [color, group] of groupByColor(chosen, colorOf)) {
    stroke(context, group, color, SELECTED_WIDTH);
  }
}

function groupByColor(lines, colorOf) {
  const groups = new Map();
  for (const line of lines) {
    const color = colorOf(line.run);
    const group = groups.get(color);
    if (group === undefined) {
      groups.set(color, [line]);
    } else {
      group.push(line);
    }
  }
  return groups;
}

// A line has a gap where a run has no value.
function stroke(context, lines, color, width) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.beginPath();
  for (const { points } of lines) {
    let isBroken = true;
    for (let index = 0; index < points.length; index += 2) {
      const y = points[index + 1];
      if (!Number.isNaN(y)) {
        if (isBroken) {
          context.moveTo(points[index], y);
        } else {
          context.lineTo(points[index], y);
        }
      }
      isBroken = Number.isNaN(y);
    }
  }
  context.stroke();
}
