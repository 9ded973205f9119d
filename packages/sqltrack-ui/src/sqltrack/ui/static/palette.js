/** Colours and dashes of runs in charts. They can be told apart by colour-blind readers, and stay with a run's id. */

// Okabe and Ito's colours, made darker or lighter until their contrast to the background is at least 3.
const COLORS = {
  light: ["#0072b2", "#d55e00", "#00876a", "#b3508c", "#a87200", "#3a8fcb", "#4d4d4d", "#7a4fc4"],
  dark: ["#56b4e9", "#ff8a3d", "#2fc79c", "#e59ac4", "#f0b429", "#8fc7ff", "#d0d0d0", "#b79df0"],
};

const COUNT = COLORS.light.length;

/** Dashes in pixels, the second cue; [] is a solid line. */
const DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3]];

/**
 * Return the style of each run's line.
 *
 * The color of a run depends on its id alone, unless an earlier run has it: then it takes the next free one. The ninth
 * run and those after it have the same colors with the next dash, and so on.
 *
 * @param {number[]} ids of the runs
 * @param {"light"|"dark"} scheme of the page
 * @returns {Map<number, {color: string, dash: number[]}>}
 */
export function lineStyles(ids, scheme) {
  const styles = new Map();
  let taken = new Set();
  for (const id of [...new Set(ids)].sort((a, b) => a - b)) {
    if (taken.size === COUNT) {
      taken = new Set();
    }
    const color = freeColor(id % COUNT, taken);
    taken.add(color);
    styles.set(id, styleAt(Math.floor(styles.size / COUNT) * COUNT + color, scheme));
  }
  return styles;
}

/** Return the style with a number, such as that of a group. */
export function styleAt(index, scheme) {
  const colors = COLORS[scheme] ?? COLORS.light;
  return { color: colors[index % colors.length], dash: DASHES[Math.floor(index / colors.length) % DASHES.length] };
}

/** Return the dash of a line as the value of `stroke-dasharray` in SVG, "none" if it is solid. */
export function dashArray(dash) {
  return dash.length === 0 ? "none" : dash.join(" ");
}

function freeColor(wanted, taken) {
  let color = wanted;
  while (taken.has(color)) {
    color = (color + 1) % COUNT;
  }
  return color;
}
