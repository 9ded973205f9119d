/** Text of figures: formulas between dollar signs as in LaTeX, and the fonts of each part. */

/** How far a subscript is lowered and a superscript raised, and their size, as parts of the size of the text. */
const SUBSCRIPT = 0.18;
const SUPERSCRIPT = -0.36;
const SCRIPT_SIZE = 0.7;

const SYMBOLS = {
  ...greek(),
  times: "×",
  cdot: "·",
  pm: "±",
  leq: "≤",
  le: "≤",
  geq: "≥",
  ge: "≥",
  neq: "≠",
  approx: "≈",
  sim: "∼",
  infty: "∞",
  to: "→",
  rightarrow: "→",
  uparrow: "↑",
  downarrow: "↓",
  sum: "∑",
  sqrt: "√",
  partial: "∂",
  ell: "ℓ",
  in: "∈",
  ldots: "…",
  dots: "…",
  prime: "′",
  circ: "°",
  quad: "\u2003",
  ",": "\u2009",
  ";": "\u2004",
  " ": " ",
  "!": "",
};
const UPRIGHT = new Set(["text", "mathrm", "textrm", "operatorname", "mathbf", "textbf", "mathsf", "textsf"]);
const SLANTED = new Set(["mathit", "textit", "emph", "mathcal"]);
/** Commands that set only the spacing or the size of brackets. */
const IGNORED = new Set(["left", "right", "displaystyle"]);

function greek() {
  const names =
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau upsilon phi chi psi omega";
  const lower = names.split(" ").map((name, index) => [name, String.fromCodePoint(0x3b1 + index)]);
  const upper = lower
    .filter(([name]) => name !== "varsigma")
    .map(([name, letter]) => [name.charAt(0).toUpperCase() + name.slice(1), letter.toUpperCase()]);
  return { ...Object.fromEntries([...lower, ...upper]), varepsilon: "ε", varphi: "φ", vartheta: "ϑ" };
}

/**
 * Split a label into parts: `loss $\mathcal{L}_\text{val}$` has a text, a slanted L and a subscript.
 *
 * Commands that are not known are shown by their names. A dollar sign without a second one is a dollar sign.
 *
 * @param {string} label text, with formulas between dollar signs; `\$` is a dollar sign
 * @returns {{text: string, slanted: boolean, shift: number, scale: number}[]} `shift` is down and `scale` the size, both
 *   as parts of the size of the text
 */
export function parseLabel(label) {
  const parts = [];
  for (const [index, text] of splitFormulas(label).entries()) {
    if (index % 2 === 0) {
      push(parts, text.replace(/\\([$%_&#{}\\])/g, "$1"), { slanted: false, shift: 0, scale: 1 });
    } else {
      parseFormula(tokenize(text), { slanted: true, shift: 0, scale: 1 }, parts);
    }
  }
  return parts;
}

function splitFormulas(label) {
  const parts = label.split(/(?<!\\)\$/);
  if (parts.length % 2 === 1) {
    return parts;
  }
  const last = parts.pop();
  parts.push(`${parts.pop()}$${last}`);
  return parts;
}

function tokenize(formula) {
  return formula.match(/\\[a-zA-Z]+|\\.|[{}^_]|[^\\{}^_]/gu) ?? [];
}

function parseFormula(tokens, style, parts) {
  while (tokens.length > 0 && tokens[0] !== "}") {
    parseItem(tokens, style, parts);
  }
}

// Digits and signs are upright in formulas; a hyphen is a minus.
function parseItem(tokens, style, parts) {
  const token = tokens.shift();
  if (token === "{") {
    parseFormula(tokens, style, parts);
    tokens.shift();
  } else if (token === "_" || token === "^") {
    const turn = token === "_" ? SUBSCRIPT : SUPERSCRIPT;
    const script = { ...style, shift: style.shift + turn * style.scale, scale: style.scale * SCRIPT_SIZE };
    if (tokens.length > 0) parseItem(tokens, script, parts);
  } else if (token.startsWith("\\")) {
    parseCommand(token.slice(1), tokens, style, parts);
  } else if (/\s/.test(token)) {
    if (!style.slanted) push(parts, " ", style);
  } else {
    const isLetter = /\p{L}/u.test(token);
    push(parts, token === "-" && style.slanted ? "−" : token, { ...style, slanted: style.slanted && isLetter });
  }
}

function parseCommand(name, tokens, style, parts) {
  if (UPRIGHT.has(name) || SLANTED.has(name)) {
    if (tokens.length > 0) parseItem(tokens, { ...style, slanted: SLANTED.has(name) }, parts);
  } else if (name === "frac") {
    parseItem(tokens, style, parts);
    push(parts, "/", { ...style, slanted: false });
    if (tokens.length > 0) parseItem(tokens, style, parts);
  } else if (!IGNORED.has(name)) {
    const symbol = SYMBOLS[name] ?? name;
    const isLetter = Object.hasOwn(SYMBOLS, name) && /\p{Ll}/u.test(symbol);
    push(parts, symbol, { ...style, slanted: style.slanted && isLetter });
  }
}

function push(parts, text, style) {
  const last = parts.at(-1);
  if (last && last.slanted === style.slanted && last.shift === style.shift && last.scale === style.scale) {
    last.text += text;
  } else if (text !== "") {
    parts.push({ text, ...style });
  }
}

/** Return a text from the data as a label: its dollar signs and backslashes begin no formula. */
export function escapeLabel(text) {
  return text.replace(/[\\$]/g, "\\$&");
}

/** Return the label of a number in LaTeX: "2e-5" as "$2 \cdot 10^{-5}$", "-3" with a minus sign. */
export function numberLabel(text) {
  const [, sign, digits, exponent] = /^(-?)([\d.]+)(?:e(-?\d+))?$/.exec(text) ?? [];
  if (digits === undefined) {
    return escapeLabel(text);
  }
  if (exponent === undefined) {
    return sign ? `$-${digits}$` : digits;
  }
  return digits === "1" ? `$${sign}10^{${exponent}}$` : `$${sign}${digits} \\cdot 10^{${exponent}}$`;
}

/** Return a label as matplotlib reads it: formulas as they are, other text without backslashes. */
export function toMatplotlib(label) {
  return splitFormulas(label)
    .map((text, index) =>
      index % 2 === 1 ? `$${text}$` : text.replace(/\\([%_&#{}\\])/g, "$1").replace(/(?<!\\)\$/g, "\\$"),
    )
    .join("");
}

/** Return a label for LaTeX: formulas and commands as they are, and signs that LaTeX reserves as text. */
export function toTex(label) {
  return splitFormulas(label)
    .map((text, index) =>
      index % 2 === 1 ? `$${text}$` : text.replace(/(?<!\\)[_%&#$]/g, "\\$&").replace(/\\\\/g, "\\textbackslash{}"),
    )
    .join("");
}
