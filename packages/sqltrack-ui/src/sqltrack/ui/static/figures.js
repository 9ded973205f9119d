/** Open the dialog for figures. It is loaded on first use, because few visits need it. */
import { html, useState } from "./vendor/htm/standalone.module.js";

/**
 * Return a function that opens the dialog for a chart, and the dialog.
 *
 * A chart has `title`, `x` and `y` (axes as in `ChartFigure`), and either `lines` and `bands` as in `ChartFigure` and
 * `query`, the query `curves` that they are from, or `dots`, a list of series with `name`, `color`, `x` and `y` (lists of
 * numbers) and optional `colors` (one for each dot), and `python`, the query `figure` without its look.
 *
 * @returns {[function(object), object|null]}
 */
export function useFigure() {
  const [opened, setOpened] = useState(null);
  const open = async (chart) => {
    const { FigureDialog } = await import("./figure_dialog.js");
    setOpened({ chart, FigureDialog });
  };
  const dialog = opened && html`<${opened.FigureDialog} chart=${opened.chart} onClose=${() => setOpened(null)} />`;
  return [open, dialog];
}
