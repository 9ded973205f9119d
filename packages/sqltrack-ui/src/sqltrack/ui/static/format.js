/** Values as text: numbers, times, durations and JSON. */

const SIGNIFICANT = 5;
/** Larger integers are shown as other numbers are. */
const LARGEST_INTEGER = 1e15;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

let offset = 0;

/** Tell the time of the server, so that "3 minutes ago" is right when the two clocks differ. */
export function setServerTime(iso) {
  const time = Date.parse(iso);
  if (!Number.isNaN(time)) {
    offset = time - Date.now();
  }
}

/** Return the server's time in milliseconds. */
export function serverNow() {
  return Date.now() + offset;
}

/** Return a JSON value with {"$number": …} replaced by a number, or by a BigInt if it is beyond 2^53. */
export function decode(value) {
  const text = value?.$number;
  if (text === undefined) {
    return value;
  }
  const number = Number(text);
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(text) ? number : BigInt(text);
}

/** Return whether a value says that there is none. */
export function isMissing(value) {
  return value === null || value === undefined || value?.$missing === true;
}

/** Return a number with at most five significant digits; integers in full. */
export function formatNumber(value) {
  const number = decode(value);
  if (typeof number === "bigint" || (Number.isInteger(number) && Math.abs(number) < LARGEST_INTEGER)) {
    return String(number);
  }
  if (typeof number !== "number") {
    return String(number);
  }
  if (!Number.isFinite(number)) {
    return Number.isNaN(number) ? "NaN" : number > 0 ? "∞" : "−∞";
  }
  const size = Math.abs(number);
  if (size < 1e-4 || size >= 1e7) {
    return number
      .toExponential(SIGNIFICANT - 1)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  }
  return String(Number(number.toPrecision(SIGNIFICANT)));
}

/** Return seconds as text with two units: "2 h 5 min". */
export function formatDuration(value) {
  const decoded = decode(value);
  const seconds = Number(decoded);
  if (isMissing(decoded) || !Number.isFinite(seconds)) {
    return "";
  }
  if (Math.abs(seconds) < 10) {
    return `${Number(seconds.toFixed(Math.abs(seconds) < 1 ? 2 : 1))} s`;
  }
  const size = Math.round(Math.abs(seconds));
  if (size < MINUTE) {
    return `${Math.round(seconds)} s`;
  }
  if (size < HOUR) {
    return twoUnits(seconds, MINUTE, "min", 1, "s");
  }
  return size < DAY ? twoUnits(seconds, HOUR, "h", MINUTE, "min") : twoUnits(seconds, DAY, "d", HOUR, "h");
}

/** Return a time of the server as text in the reader's time zone: "2026-11-28 14:05". */
export function formatTime(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) {
    return isMissing(iso) ? "" : String(iso);
  }
  const day = [date.getFullYear(), pad(date.getMonth() + 1), pad(date.getDate())].join("-");
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** Return how long ago a time was: "3 min ago". */
export function formatAgo(iso) {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) {
    return "";
  }
  const seconds = Math.max(0, (serverNow() - time) / 1000);
  if (seconds < 5) {
    return "now";
  }
  const [size, unit] =
    seconds < MINUTE ? [1, "s"] : seconds < HOUR ? [MINUTE, "min"] : seconds < DAY ? [HOUR, "h"] : [DAY, "d"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** Return an integer with thin spaces between thousands: "100 000". */
export function formatCount(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Return how many things there are: "1 run", "2 runs". */
export function formatPlural(count, name) {
  return `${formatCount(count)} ${name}${count === 1 ? "" : "s"}`;
}

/** Return any value as one line of text, "" if it is missing. `kind` is that of its column. */
export function formatValue(value, kind) {
  if (isMissing(value)) {
    return "";
  }
  if (kind === "time") {
    return formatTime(value);
  }
  if (kind === "duration") {
    return formatDuration(value);
  }
  if (typeof value === "number" || value?.$number !== undefined) {
    return formatNumber(value);
  }
  if (typeof value === "boolean") {
    return value ? "yes" : "no";
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Return a name as text that can be seen: an empty one as two quotes. */
export function shownName(name) {
  return String(name).trim() === "" ? `"${name}"` : name;
}

/** Return the exact text of a value, for titles and copies. */
export function exactText(value) {
  if (isMissing(value)) {
    return "";
  }
  const decoded = decode(value);
  return typeof decoded === "object" ? JSON.stringify(decoded, null, 1) : String(decoded);
}

function twoUnits(seconds, size, unit, smallSize, smallUnit) {
  const sign = seconds < 0 ? "−" : "";
  const total = Math.round(Math.abs(seconds) / smallSize) * smallSize;
  const rest = Math.round((total % size) / smallSize);
  return `${sign}${Math.floor(total / size)} ${unit}${rest === 0 ? "" : ` ${rest} ${smallUnit}`}`;
}

function pad(number) {
  return String(number).padStart(2, "0");
}
