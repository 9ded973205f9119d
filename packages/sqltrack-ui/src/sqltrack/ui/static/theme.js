/** The color scheme: as the system prefers, or as the user chose in this browser. */
import { createSignal } from "./signal.js";

const KEY = "sqltrack-theme";
const preference = window.matchMedia("(prefers-color-scheme: dark)");

/** The scheme that is shown, "light" or "dark". */
export const scheme = createSignal(currentScheme());

preference.addEventListener("change", show);

/** Show the scheme; call it once at the start. */
export function show() {
  scheme.set(currentScheme());
  document.documentElement.dataset.theme = scheme.get();
}

/** Change from light to dark or back, and remember that in this browser. */
export function toggleScheme() {
  const next = scheme.get() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // A browser may refuse to store anything; the choice then lasts until the page is closed.
  }
  scheme.set(next);
  document.documentElement.dataset.theme = next;
}

function currentScheme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // See above.
  }
  return chosen ?? (preference.matches ? "dark" : "light");
}

/** Return a color of the theme, such as "--text", as a text that a canvas understands. */
export function themeColor(name) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Return colors of the theme by the names of an object whose values are those of the theme. */
export function themeColors(names) {
  return Object.fromEntries(Object.entries(names).map(([name, variable]) => [name, themeColor(variable)]));
}

/** Return the colors that charts take from the theme. */
export function chartColors() {
  const border = "--line-strong";
  return themeColors({ text: "--text", muted: "--muted", border, surface: "--surface", accent: "--accent" });
}
