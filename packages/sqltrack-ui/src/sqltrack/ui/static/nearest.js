/** Which curve and which of its points lie nearest to the pointer. */

/** Index of the number in a sorted array that is nearest to `value`; -1 if it is empty. */
export function findNearestIndex(sorted, value) {
  if (!sorted.length) return -1;
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle;
    else high = middle;
  }
  return value - sorted[low] <= sorted[high] - value ? low : high;
}

/**
 * Points of the lines near a position, the nearest line first.
 *
 * @param {object[]} lines lines with `px` and `py`, the positions of their points in pixels, and `isSorted`, whether
 *   `px` grows; it may not if the x axis is a metric
 * @param {number} x position of the pointer in pixels
 * @param {number} y position of the pointer in pixels
 * @returns {{line: object, index: number, distance: number}[]} one point of each line that spans x, at most 30 pixels
 *   away from x
 */
export function findNearest(lines, x, y) {
  const found = [];
  for (const line of lines) {
    const index = line.isSorted ? findNearestIndex(line.px, x) : scanNearest(line, x, y);
    if (index >= 0 && Math.abs(line.px[index] - x) <= 30) {
      found.push({ line, index, distance: findDistance(line, index, x, y) });
    }
  }
  return found.sort((one, other) => one.distance - other.distance);
}

function scanNearest({ px, py }, x, y) {
  let nearest = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let index = 0; index < px.length; index += 1) {
    const distance = Math.hypot(px[index] - x, py[index] - y);
    if (distance < least) {
      least = distance;
      nearest = index;
    }
  }
  return nearest;
}

// The distance to the segments on both sides of the point, not to the point alone: a thin curve has few points.
function findDistance({ px, py }, index, x, y) {
  let distance = Math.hypot(px[index] - x, py[index] - y);
  for (const start of [index - 1, index]) {
    if (start >= 0 && start + 1 < px.length) {
      distance = Math.min(distance, findSegmentDistance(px[start], py[start], px[start + 1], py[start + 1], x, y));
    }
  }
  return distance;
}

function findSegmentDistance(x1, y1, x2, y2, x, y) {
  const [width, height] = [x2 - x1, y2 - y1];
  const along = ((x - x1) * width + (y - y1) * height) / (width * width + height * height || 1);
  const part = Math.min(1, Math.max(0, along));
  return Math.hypot(x1 + part * width - x, y1 + part * height - y);
}
