/** The result of a query as a file. */
import { exactText } from "./format.js";
import { saveText } from "./save_file.js";

const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^-?\d/;

/** Return a result as CSV (RFC 4180). Texts that a spreadsheet would take for formulas begin with an apostrophe. */
export function writeCsv({ columns, rows }) {
  const lines = [columns.map(({ name }) => name), ...rows].map((row) => row.map(writeCell).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

/** Let the browser save a result as a file. */
export function saveCsv(answer) {
  saveText(writeCsv(answer), "text/csv", "query.csv");
}

function writeCell(value) {
  const text =
    value?.$number ?? (typeof value === "object" && value !== null ? JSON.stringify(value) : exactText(value));
  const safe = typeof value === "string" && FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
