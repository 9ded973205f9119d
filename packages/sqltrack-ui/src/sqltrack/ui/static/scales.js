/** Axes of charts: from values to positions and back, linear or logarithmic, and where the ticks are. */

const LEADING_DIGITS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]];

/** An axis: `to` turns a value into a position, `from` a position into a value. Positions that do not exist are NaN. */
export function makeScale(log) {
  return log
    ? { log, to: (value) => (value > 0 ? Math.log10(value) : Number.NaN), from: (position) => 10 ** position }
    : { log, to: (value) => value, from: (position) => position };
}

/**
 * The extent of positions with a margin on both sides, so that no curve lies on the frame.
 *
 * @param {number} low the smallest position; Infinity without any
 * @param {number} high the largest position
 * @param {number} margin the margin as a part of the extent
 */
export function padExtent(low, high, margin) {
  if (!(low <= high)) return [0, 1];
  const size = high - low || Math.abs(high) * 0.1 || 1;
  return [low - size * margin, high + size * margin];
}

/** Positions of the ticks of an axis from `low` to `high` (positions), at most about `count`. */
export function findTicks(scale, [low, high], count) {
  return scale.log && high - low > 0.7 ? findLogTicks(low, high, count) : findLinearTicks(scale, low, high, count);
}

function findLogTicks(low, high, count) {
  const decades = Math.floor(high) - Math.floor(low) + 1;
  if (decades > count) {
    const every = Math.ceil(decades / count);
    return collect(Math.ceil(low / every) * every, high, every);
  }
  const digits = LEADING_DIGITS.filter((list) => list.length * decades <= count + 2).at(-1) ?? [1];
  const ticks = [];
  for (let decade = Math.floor(low); decade <= high; decade += 1) {
    ticks.push(...digits.map((digit) => decade + Math.log10(digit)));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function findLinearTicks(scale, low, high, count) {
  const [first, last] = [scale.from(low), scale.from(high)];
  const rough = (last - first) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
  return collect(Math.ceil(first / step), last / step, 1).map((index) => scale.to(index * step));
}

function collect(first, last, step) {
  const values = [];
  for (let value = first; value <= last && values.length < 100; value += step) values.push(value);
  return values;
}

/** Labels of ticks: as many digits as tell neighbors apart, with a power of ten if the numbers are large or small. */
export function labelTicks(scale, ticks) {
  const values = ticks.map(scale.from);
  if (scale.log && values.length && values.at(-1) / values[0] > 20) return values.map(labelAlone);
  const largest = Math.max(...values.map(Math.abs));
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) : largest;
  const digits = Math.max(0, -Math.floor(Math.log10(step || 1) + 1e-9));
  if (largest >= 1e6 || digits > 6) {
    return labelWithPowers(values, step);
  }
  return values.map((value) => value.toFixed(Math.min(digits, 6)));
}

// As few digits as give each value to a thousandth of the step.
function labelWithPowers(values, step) {
  const isExact = (digits) =>
    values.every((value) => Math.abs(Number(value.toExponential(digits)) - value) <= step / 1000);
  const digits = [0, 1, 2, 3, 4, 5].find(isExact) ?? 6;
  return values.map((value) => (value === 0 ? "0" : value.toExponential(digits).replace("e+", "e")));
}

function labelAlone(value) {
  return value >= 1e4 || value < 1e-3
    ? value.toExponential(0).replace("e+", "e")
    : String(Number(value.toPrecision(3)));
}
