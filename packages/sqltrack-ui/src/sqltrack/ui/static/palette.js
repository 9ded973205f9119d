/** Colors and dashes of runs in charts. They can be told apart by color-blind readers, and stay with a run's id. */

// Okabe and Ito's colors, made darker or lighter until their contrast to the background is at least 3.
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
 * The color of a run depends on its id. Of runs that would share a color, the one with the smallest id gets it, and the
 * others take the next free ones. From the ninth run on, colors come again with the next dash.
 *
 * @param {number[]} ids of the runs
 * @param {"light"|"dark"} scheme of the page
 * @returns {Map<number, {color: string, dash: number[]}>}
 */
export function lineStyles(ids, scheme) {
  const sorted = [...new Set(ids)].sort((a, b) => a - b);
  const taken = new Map();
  const others = sorted.filter((id) => {
    const isFree = !taken.has(id % COUNT);
    if (isFree) {
      taken.set(id % COUNT, id);
    }
    return !isFree;
  });
  for (const id of others) {
    taken.set(freeIndex(id, taken), id);
  }
  return new Map([...taken].map(([index, id]) => [id, styleAt(index, scheme)]));
}

/** Return the style with a number, such as that of a group. */
export function styleAt(index, scheme) {
  const colors = COLORS[scheme] ?? COLORS.light;
  return { color: colors[index % colors.length], dash: DASHES[Math.floor(index / colors.length) % DASHES.length] };
}

/** Return the color of a line for white paper: that of the light scheme. */
export function onPaper(color) {
  return COLORS.light[COLORS.dark.indexOf(color)] ?? color;
}

/** Return the dash of a line as the value of `stroke-dasharray` in SVG, "none" if it is solid. */
export function dashArray(dash) {
  return dash.length === 0 ? "none" : dash.join(" ");
}

function freeIndex(id, taken) {
  for (let tries = 0; ; tries += 1) {
    const index = Math.floor(tries / COUNT) * COUNT + ((id + tries) % COUNT);
    if (!taken.has(index)) {
      return index;
    }
  }
}
