/** Names that a query can use at a place in its text: tables, columns, metrics, arguments and keywords. */

const KEYWORDS = (
  "SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET JOIN LEFT INNER CROSS ON USING AS AND OR NOT IN IS NULL LIKE " +
  "BETWEEN EXISTS CASE WHEN THEN ELSE END DISTINCT ASC DESC UNION ALL WITH RECURSIVE OVER PARTITION ROWS EXPLAIN VALUES"
).split(" ");
const FUNCTIONS =
  "COUNT SUM AVG MIN MAX ABS ROUND COALESCE NULLIF CAST LOWER UPPER LENGTH REPLACE ROW_NUMBER RANK LAG LEAD".split(" ");
const NAME = String.raw`"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*`;
const SOURCE = new RegExp(String.raw`\b(?:from|join)\s+(${NAME})(?:\s+(?:as\s+)?(${NAME}))?`, "giu");
const QUALIFIER = new RegExp(String.raw`(${NAME})\.\s*"?$`, "u");
const EXPECTS_TABLE = /\b(?:from|join)\s+"?$/i;

/** Return whether a line ends behind the name of a table or alias and a dot. */
export function endsWithQualifier(before) {
  return QUALIFIER.test(before);
}

/** Return the tables that a query names, by their alias or name: Map("m" -> "metrics"). */
export function findTables(text) {
  const found = new Map();
  for (const [, table, alias] of text.matchAll(SOURCE)) {
    const name = unquote(table);
    found.set(name.toLowerCase(), name);
    if (alias !== undefined && !KEYWORDS.includes(alias.toUpperCase())) {
      found.set(unquote(alias).toLowerCase(), name);
    }
  }
  return found;
}

/**
 * Return what can stand at a place in a query, the most likely first.
 *
 * @param {object} schema answer of the call `schema`
 * @param {string} text the whole query
 * @param {string} before the line up to the word that is being written
 * @returns {{name: string, sql: string, meta: string, score: number}[]} name to show, and text to insert
 */
export function findNames(schema, text, before) {
  const tables = findTables(text);
  const qualifier = QUALIFIER.exec(before);
  if (qualifier !== null) {
    const table = tables.get(unquote(qualifier[1]).toLowerCase()) ?? unquote(qualifier[1]);
    return columnsOf(schema, table, 1000);
  }
  const named = [...new Set(tables.values())];
  const sources = schema.tables.map(({ name, sql }) => ({ name, sql, meta: "table", score: 300 }));
  if (EXPECTS_TABLE.test(before)) {
    return sources.map((source) => ({ ...source, score: 1000 }));
  }
  const isRuns = named.includes("runs");
  return [
    ...named.flatMap((table) => columnsOf(schema, table, 800)),
    ...schema.args.map(({ name, sql }) => ({ name, sql, meta: "argument", score: isRuns ? 700 : 90 })),
    ...sources,
    ...(named.includes("metrics") ? [] : metricsOf(schema, 100)),
    ...KEYWORDS.map((word) => ({ name: word, sql: word, meta: "keyword", score: 60 })),
    ...FUNCTIONS.map((word) => ({ name: word, sql: word, meta: "function", score: 50 })),
  ];
}

function columnsOf(schema, table, score) {
  const known = schema.tables.find(({ name }) => name.toLowerCase() === table.toLowerCase());
  const columns = (known?.columns ?? []).map(({ name, sql }) => ({ name, sql, meta: table, score: score + 10 }));
  return known?.name === "metrics" ? [...columns, ...metricsOf(schema, score)] : columns;
}

function metricsOf(schema, score) {
  return schema.metrics.map(({ name, sql }) => ({ name, sql, meta: "metric", score }));
}

function unquote(name) {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}
