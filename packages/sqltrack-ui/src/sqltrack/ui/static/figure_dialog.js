/** The dialog for figures: sizes, fonts and labels, a preview, and files for papers. */
import { get, isAbort } from "./api.js";
import { Dialog, ErrorNote, useDebounced } from "./components.js";
import { TextDialog } from "./export.js";
import { chooseColumns, countSeries, readChart, writeCsv } from "./figure_data.js";
import { FONTS, loadFont } from "./figure_fonts.js";
import { buildScene, withDashes } from "./figure_scene.js";
import { writeSvg } from "./figure_svg.js";
import { MOST_TEX_POINTS, writeTable, writeTex } from "./figure_tex.js";
import { escapeLabel, toMatplotlib } from "./figure_text.js";
import { saveBlob, saveText } from "./save_file.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm/standalone.module.js";

const KEY = "sqltrack-figure";
const DEFAULTS = {
  width: 8.5,
  height: 6,
  font: "serif",
  size: 9,
  lineWidth: 1,
  styles: "screen",
  legend: "best",
  grid: true,
  raw: true,
  resolution: 300,
};
const LIMITS = { width: [2, 100], height: [2, 100], size: [4, 40], lineWidth: [0.1, 10] };
const STYLES = { screen: "as on the page", solid: "all solid", dashed: "all different" };
const LEGENDS = ["best", "upper right", "upper left", "lower right", "lower left", "outside"];
const RESOLUTIONS = [150, 300, 600];
const TIME_LABEL = "time since start (s)";
/** More entries would cover the curves; without a legend, the reader needs another way to tell curves apart. */
const MOST_ENTRIES = 12;
const ALL_COLUMNS = 10000;

/** A dialog that turns a chart into a figure; `chart` as in `useFigure`. */
export function FigureDialog({ chart, onClose }) {
  const [look, setLook] = useState(() => startLook(chart));
  const [labels, setLabels] = useState({});
  const [text, setText] = useState(null);
  const [failure, setFailure] = useState(null);
  const set = (patch) => setLook((before) => remember({ ...before, ...patch }));
  const current = useValid(look);
  const valid = useDebounced(current, 150);
  const isRawDrawn = valid.raw && Boolean(chart.query?.smoothing);
  const columns = chooseColumns(countSeries(chart), { width: valid.width, isRawDrawn });
  const { data, error, isFontReady } = usePoints(chart, columns, valid.font);
  const named = useMemo(() => data && nameSeries(data, labels), [data, labels]);
  const scene = useMemo(() => named && isFontReady && buildScene(named, valid), [named, isFontReady, valid]);
  const make = { chart, look: current, named, labels };
  const save = (write) => async () => {
    setFailure(null);
    try {
      await write(make);
    } catch (problem) {
      setFailure(problem);
    }
  };
  const show = (title, write) => save(async () => setText({ title, text: await write(make) }));
  return html`<${Dialog} title=${`Figure of ${chart.title}`} onClose=${onClose} className="figure-dialog">
    <${ErrorNote} error=${error ?? failure} />
    <div class="figure-body">
      <${Preview} scene=${scene} title=${chart.title} />
      <form class="figure-form" onSubmit=${(event) => event.preventDefault()}>
        <${Sizes} look=${look} set=${set} />
        <${Choices} look=${look} set=${set} hasRaw=${Boolean(chart.query?.smoothing)} />
        <${Labels} look=${look} set=${set} data=${data} labels=${labels} setLabels=${setLabels} />
        <div class="figure-buttons" role="group" aria-label="Save the figure">
          <button type="button" class="button primary" disabled=${!scene} onClick=${save(savePdf)}>PDF</button>
          <button type="button" class="button primary" disabled=${!scene} onClick=${save(saveSvg)}>SVG</button>
          <button type="button" class="button" disabled=${!scene} onClick=${save(savePng)}>PNG</button>
          <${Select} label="at" value=${look.resolution} choices=${RESOLUTIONS.map((dpi) => [dpi, `${dpi} dpi`])} onChange=${(resolution) => set({ resolution: Number(resolution) })} />
        </div>
        <div class="figure-buttons" role="group" aria-label="Take the data or the code">
          <button type="button" class="button" disabled=${!scene} onClick=${save(saveCsv)}>Data as CSV</button>
          <button type="button" class="button" disabled=${!scene} onClick=${save(saveTable)}>Table for LaTeX</button>
          <button type="button" class="button" disabled=${!scene} onClick=${show("As LaTeX", texOf)}>As LaTeX</button>
          <button type="button" class="button" disabled=${!scene} onClick=${show("As Python", pythonOf)}>As Python</button>
        </div>
      </form>
    </div>
    ${text && html`<${TextDialog} ...${text} onClose=${() => setText(null)} />`}
  </${Dialog}>`;
}

function startLook(chart) {
  const xLabel = chart.x.kind === "time" ? TIME_LABEL : escapeLabel(chart.x.name);
  const look = { ...DEFAULTS, ...recall(), xLabel, yLabel: escapeLabel(chart.yName ?? chart.title) };
  return countSeries(chart) > MOST_ENTRIES ? { ...look, legend: null } : look;
}

function recall() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([name]) => Object.hasOwn(DEFAULTS, name)));
  } catch {
    return {};
  }
}

// The next figure of a paper has the same size and font, but other labels.
function remember(look) {
  const { xLabel, yLabel, ...kept } = look;
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // A browser may refuse to store anything; the choice then lasts until the dialog is closed.
  }
  return look;
}

// While a number is being typed, the last valid one counts.
function useValid(look) {
  const last = useRef(DEFAULTS);
  const numbers = Object.entries(LIMITS).map(([name, [low, high]]) => {
    const value = Number(look[name]);
    return [name, value >= low && value <= high ? value : last.current[name]];
  });
  const valid = { ...look, ...Object.fromEntries(numbers) };
  last.current = valid;
  const text = JSON.stringify(valid);
  return useMemo(() => valid, [text]);
}

function usePoints(chart, columns, font) {
  const [result, setResult] = useState({ data: null, error: null });
  const [ready, setReady] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    readChart(chart, columns, controller.signal).then(
      (data) => setResult({ data, error: null }),
      (error) => isAbort(error) || setResult((before) => ({ ...before, error })),
    );
    return () => controller.abort();
  }, [chart, columns]);
  useEffect(() => {
    loadFont(font).then(
      () => setReady(font),
      () => setResult((before) => ({ ...before, error: new Error("the fonts could not be loaded") })),
    );
  }, [font]);
  return { ...result, isFontReady: ready === font };
}

/** The key of a curve or group in the labels that the user has typed. */
const labelKey = ({ key, metric, name }) => JSON.stringify([key ?? name, metric]);

function nameSeries(data, labels) {
  const name = (item) => ({ ...item, label: labels[labelKey(item)] ?? escapeLabel(item.name) });
  return { ...data, lines: data.lines.map(name), bands: data.bands.map(name), dots: (data.dots ?? []).map(name) };
}

function Preview({ scene, title }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    if (!scene) return;
    const text = writeSvg(scene, { title, isPreview: true });
    const { documentElement } = new DOMParser().parseFromString(text, "image/svg+xml");
    element.current.replaceChildren(document.importNode(documentElement, true));
  }, [scene, title]);
  return html`<div class="figure-preview" ref=${element} aria-busy=${!scene}></div>`;
}

function Sizes({ look, set }) {
  const field = (name, label, unit, step) => {
    const [min, max] = LIMITS[name];
    return html`<label>${label} <span class="figure-number"><input class="field" type="number" min=${min} max=${max} step=${step} value=${look[name]} onInput=${(event) => set({ [name]: event.target.value })} /> ${unit}</span></label>`;
  };
  return html`<fieldset class="figure-fields">
    <legend>Size</legend>
    ${field("width", "Width", "cm", 0.1)}${field("height", "Height", "cm", 0.1)}
    ${field("size", "Font size", "pt", 0.5)}${field("lineWidth", "Line width", "pt", 0.1)}
  </fieldset>`;
}

function Choices({ look, set, hasRaw }) {
  const fonts = Object.entries(FONTS).map(([name, { label }]) => [name, label]);
  const legends = [...LEGENDS.map((place) => [place, place]), ["none", "none"]];
  const box = (name, label) =>
    html`<label class="control"><input type="checkbox" checked=${look[name]} onChange=${() => set({ [name]: !look[name] })} /> ${label}</label>`;
  return html`<fieldset class="figure-fields">
    <legend>Style</legend>
    <${Select} label="Font" value=${look.font} choices=${fonts} onChange=${(font) => set({ font })} />
    <${Select} label="Lines" value=${look.styles} choices=${Object.entries(STYLES)} onChange=${(styles) => set({ styles })} />
    <${Select} label="Legend" value=${look.legend ?? "none"} choices=${legends} onChange=${(place) => set({ legend: place === "none" ? null : place })} />
    <div>${box("grid", "grid")} ${hasRaw && box("raw", "raw curves")}</div>
  </fieldset>`;
}

function Select({ label, value, choices, onChange }) {
  return html`<label>${label} <select class="field" value=${String(value)} onChange=${(event) => onChange(event.target.value)}>
    ${choices.map(([name, text]) => html`<option value=${name} selected=${name === value}>${text}</option>`)}
  </select></label>`;
}

function Labels({ look, set, data, labels, setLabels }) {
  const all = data ? [...data.bands, ...data.lines, ...(data.dots ?? [])] : [];
  const series = all.filter(({ name, isFaint }) => name && !isFaint);
  const field = (label, value, change) =>
    html`<label>${label} <input class="field" type="text" value=${value} onInput=${(event) => change(event.target.value)} spellcheck="false" /></label>`;
  return html`<fieldset class="figure-fields figure-labels">
    <legend>Labels</legend>
    ${field("x axis", look.xLabel, (xLabel) => set({ xLabel }))}
    ${field("y axis", look.yLabel, (yLabel) => set({ yLabel }))}
    <p class="muted">Formulas as in LaTeX: <code>$\\mathcal{L}_\\text{val}$</code></p>
    ${
      look.legend !== null &&
      series.length <= MOST_ENTRIES &&
      series.map((item) =>
        field(item.name, labels[labelKey(item)] ?? escapeLabel(item.name), (label) =>
          setLabels((before) => ({ ...before, [labelKey(item)]: label })),
        ),
      )
    }
  </fieldset>`;
}

const fileName = (title) => title.replace(/[^\w.-]+/g, "_").slice(0, 100) || "figure";

const sceneOf = ({ named, look }) => buildScene(named, look);

function saveSvg(make) {
  const { chart } = make;
  saveText(writeSvg(sceneOf(make), { title: chart.title }), "image/svg+xml", `${fileName(chart.title)}.svg`);
}

async function savePdf(make) {
  const { chart } = make;
  const { writePdf } = await import("./figure_pdf.js");
  saveBlob(await writePdf(sceneOf(make), { title: chart.title }), `${fileName(chart.title)}.pdf`);
}

async function savePng(make) {
  const { chart, look } = make;
  const { writePng } = await import("./figure_png.js");
  saveBlob(await writePng(sceneOf(make), look.resolution), `${fileName(chart.title)}.png`);
}

// All rows, unless a run has more than the server sends.
async function saveCsv({ chart }) {
  saveText(writeCsv(await readChart(chart, ALL_COLUMNS)), "text/csv", `${fileName(chart.title)}.csv`);
}

const readForTex = ({ chart }) =>
  readChart(chart, chooseColumns(countSeries(chart), { width: 100, most: MOST_TEX_POINTS }));

async function saveTable(make) {
  saveText(writeTable(await readForTex(make)), "text/plain", `${fileName(make.chart.title)}.dat`);
}

async function texOf(make) {
  const data = nameSeries(await readForTex(make), make.labels);
  const dashed = withDashes([...data.bands, ...data.lines], make.look);
  const chart = { ...data, bands: dashed.slice(0, data.bands.length), lines: dashed.slice(data.bands.length) };
  // LaTeX cannot look for the best place, so it gets the one that was found here.
  return writeTex(chart, { ...make.look, legend: sceneOf(make).legend }, `${fileName(make.chart.title)}.dat`);
}

async function pythonOf({ chart, named, look }) {
  const shown = {
    width: look.width,
    height: look.height,
    font: look.font,
    size: look.size,
    line_width: look.lineWidth,
    legend: look.legend,
    x_label: toMatplotlib(look.xLabel),
    y_label: toMatplotlib(look.yLabel),
    log_x: chart.x.log,
    log_y: chart.y.log,
    grid: look.grid,
    file: fileName(chart.title),
  };
  const spec = chart.query ? curvesSpec(chart, named, look) : chart.python;
  return (await get("figure", { ...spec, look: shown })).python;
}

function curvesSpec({ query }, { lines, bands }, look) {
  const isGrouped = bands.length > 0;
  const series = withDashes(isGrouped ? bands : lines, look).map(
    ({ label, name, metric, color, dash, run, members }) => ({
      name,
      label: toMatplotlib(label),
      metric,
      color,
      // matplotlib multiplies dashes by the width of the line.
      dash: dash.map((length) => Number((length / look.lineWidth).toFixed(2))),
      ...(isGrouped ? { members } : { run }),
    }),
  );
  const { runs, x, range, smoothing, join, band } = query;
  const metrics = [...new Set(series.map(({ metric }) => metric))];
  const kind = isGrouped ? "groups" : "curves";
  const isFaint = lines.some((line) => line.isFaint);
  return { kind, runs, metrics, x, range, smoothing, join, band, raw: look.raw, is_faint: isFaint, series };
}
