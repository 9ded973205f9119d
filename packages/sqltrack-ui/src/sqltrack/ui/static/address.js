/** The texts in an address: columns, lists of ids and the state of all views, as short and readable as they can be. */

/** The state of the address if it says nothing. */
export const DEFAULTS = Object.freeze({
  filter: Object.freeze({ facets: [], where: null, search: null, ids: null }),
  columns: null,
  widths: {},
  pinned: [],
  sort: [],
  selected: [],
  metrics: [],
  x: "step",
  log: Object.freeze({ x: false, y: false }),
  smoothing: 0,
  join: false,
  group: null,
  band: "std",
  rowGroup: null,
  groupSort: [],
  value: "best",
  range: null,
});

const ESCAPES = { "!": "!!", "~": "!t", ",": "!c", ":": "!d" };
const UNESCAPES = { "!": "!", t: "~", c: ",", d: ":" };

/** Return the id of a column, which is its JSON text. */
export function columnId(column) {
  return JSON.stringify(column);
}

/** Pack ids of runs as ranges: "1-5,9". The order of the ids is kept. */
export function packIds(ids) {
  const parts = [];
  for (let start = 0; start < ids.length; ) {
    let end = start;
    while (end + 1 < ids.length && ids[end + 1] === ids[end] + 1) {
      end += 1;
    }
    parts.push(end === start ? `${ids[start]}` : `${ids[start]}-${ids[end]}`);
    start = end + 1;
  }
  return parts.join(",");
}

/** Unpack the ids of `packIds`, at most `limit`. Other text gives no ids. */
export function unpackIds(text, limit = 100000) {
  const ids = [];
  for (const part of text.split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (match === null) {
      continue;
    }
    const last = Number(match[2] ?? match[1]);
    for (let id = Number(match[1]); id <= last && ids.length < limit; id += 1) {
      ids.push(id);
    }
  }
  return ids;
}

/** Write a column in short: `args~lr`. */
export function packColumn(column) {
  return column.map((part) => escapePart(part)).join("~");
}

/** Read the text of `packColumn`. */
export function unpackColumn(text) {
  return text.split("~").map((part) => unescapePart(part));
}

function escapePart(part) {
  return String(part).replace(/[!~,:]/g, (character) => ESCAPES[character]);
}

function unescapePart(part) {
  return part.replace(/!(.)/g, (_, character) => UNESCAPES[character] ?? character);
}

// Texts stand as they are, other values as JSON behind "=".
function packValue(value) {
  return escapePart(typeof value === "string" && !value.startsWith("=") ? value : `=${JSON.stringify(value)}`);
}

function unpackValue(text) {
  const value = unescapePart(text);
  return value.startsWith("=") ? JSON.parse(value.slice(1)) : value;
}

const list = (pack, unpack) => ({
  write: (items) => items.map(pack).join(","),
  read: (text) => text.split(",").filter(Boolean).map(unpack),
});
const json = { write: (value) => JSON.stringify(value), read: (text) => JSON.parse(text) };
const plain = { write: String, read: String };
const number = { write: String, read: Number };
const flag = { write: () => "1", read: () => true };
const columns = list(packColumn, unpackColumn);
const facets = list(
  ({ column, values, exclude }) => [`${exclude ? "-" : ""}${packColumn(column)}`, ...values.map(packValue)].join(":"),
  (text) => {
    const [column, ...values] = text.split(":");
    return {
      column: unpackColumn(column.replace(/^-/, "")),
      values: values.map(unpackValue),
      ...(column.startsWith("-") && { exclude: true }),
    };
  },
);
const sort = list(
  ({ column, descending }) => `${descending ? "-" : ""}${packColumn(column)}`,
  (text) => ({ column: unpackColumn(text.replace(/^-/, "")), descending: text.startsWith("-") }),
);
const axes = {
  write: ({ x, y }) => `${x ? "x" : ""}${y ? "y" : ""}`,
  read: (text) => ({ x: text.includes("x"), y: text.includes("y") }),
};
const widths = {
  write: (byColumn) =>
    Object.entries(byColumn)
      .map(([id, width]) => `${packColumn(JSON.parse(id))}:${width}`)
      .join(","),
  read: (text) =>
    Object.fromEntries(
      text
        .split(",")
        .filter(Boolean)
        .map((part) => {
          const [column, width] = part.split(":");
          return [columnId(unpackColumn(column)), Number(width)];
        }),
    ),
};
const axis = {
  write: (x) => (Array.isArray(x) ? packColumn(x) : x),
  read: (text) => (text.includes("~") ? unpackColumn(text) : text),
};
// A text, a column, several columns, or "-" and the paths of arguments to ignore.
const group = {
  write: (value) => {
    if (typeof value === "string") {
      return value;
    }
    return Array.isArray(value)
      ? columns.write(Array.isArray(value[0]) ? value : [value])
      : `-${columns.write(value.all_but)}`;
  },
  read: (text) => {
    if (text.startsWith("-")) {
      return { all_but: columns.read(text.slice(1)) };
    }
    const found = columns.read(text);
    return found.length > 1 ? found : text.includes("~") ? found[0] : text;
  },
};
const names = list(escapePart, unescapePart);
const range = { write: (ends) => ends.join(","), read: (text) => text.split(",").map(Number) };
const ids = { write: packIds, read: unpackIds };

// Name in the state (a dot leads into an object), name in the address, and how its value is written and read.
const FIELDS = [
  ["filter.where", "q", plain],
  ["filter.search", "s", plain],
  ["filter.facets", "f", facets],
  ["filter.ids", "ids", ids],
  ["selected", "sel", ids],
  ["sort", "sort", sort],
  ["metrics", "m", names],
  ["x", "x", axis],
  ["range", "range", range],
  ["log", "log", axes],
  ["smoothing", "smooth", number],
  ["join", "join", flag],
  ["group", "group", group],
  ["band", "band", plain],
  ["rowGroup", "by", group],
  ["groupSort", "bysort", sort],
  ["value", "val", axis],
  ["columns", "c", columns],
  ["pinned", "pin", columns],
  ["widths", "w", widths],
];
const KNOWN = new Set(FIELDS.map(([path]) => path.split(".")[0]));
// Fields of single views that this table does not name.
const OTHERS = "o";

/** Return the query of an address for a state, "" if all is as by default. */
export function writeState(state) {
  const parts = [];
  for (const [path, name, codec] of FIELDS) {
    const value = lookUp(state, path);
    if (!isDefault(path, value)) {
      parts.push(`${name}=${encodeValue(codec.write(value))}`);
    }
  }
  const others = Object.fromEntries(
    Object.entries(state).filter(([name, value]) => !KNOWN.has(name) && value !== undefined),
  );
  if (Object.keys(others).length > 0) {
    parts.push(`${OTHERS}=${encodeValue(JSON.stringify(others))}`);
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

/** Return the state that the query of an address holds. A part that cannot be read is as by default. */
export function readState(query) {
  const parameters = new URLSearchParams(query);
  const state = complete({});
  for (const [path, name, codec] of FIELDS) {
    const value = readField(parameters, name, codec);
    if (value !== undefined) {
      place(state, path, value);
    }
  }
  return { ...(readField(parameters, OTHERS, json) ?? {}), ...state };
}

/** Add the defaults of all fields that a state, such as a saved one, does not name. */
export function complete(state) {
  return {
    ...DEFAULTS,
    ...state,
    filter: { ...DEFAULTS.filter, ...state.filter },
    log: { ...DEFAULTS.log, ...state.log },
  };
}

function readField(parameters, name, codec) {
  const text = parameters.get(name);
  if (text === null) {
    return undefined;
  }
  try {
    return codec.read(text);
  } catch {
    return undefined;
  }
}

function lookUp(object, path) {
  return path.split(".").reduce((value, name) => value?.[name], object);
}

function place(state, path, value) {
  const [name, inner] = path.split(".");
  state[name] = inner === undefined ? value : { ...state[name], [inner]: value };
}

function isDefault(path, value) {
  return value === undefined || JSON.stringify(value) === JSON.stringify(lookUp(DEFAULTS, path));
}

// Commas, colons and slashes need no escape in a query, and are easier to read without.
function encodeValue(text) {
  return encodeURIComponent(text).replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%20/g, "+");
}
