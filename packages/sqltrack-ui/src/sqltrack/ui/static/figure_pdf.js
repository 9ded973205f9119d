/** Write the scene of a figure as PDF with jsPDF: lines as vectors, text as text with embedded fonts. */
import { readFace } from "./figure_fonts.js";

const LIBRARY = new URL("./vendor/jspdf/jspdf.umd.min.js", import.meta.url);
/** Decimals of coordinates, in points. */
const PRECISION = 2;

let library = null;

// The package has no module that browsers can load alone; this file sets window.jspdf.
function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = LIBRARY;
    script.onload = () => resolve(window.jspdf.jsPDF);
    script.onerror = () => {
      library = null;
      reject(new Error("the library for PDF could not be loaded"));
    };
    document.head.append(script);
  });
  return library;
}

/**
 * Return a scene as the blob of a PDF file.
 *
 * @param {object} scene result of `buildScene`
 * @param {{title: string}} options title in the properties of the document
 */
export async function writePdf({ width, height, plot, items }, { title }) {
  const JsPdf = await loadLibrary();
  const document = new JsPdf({
    unit: "pt",
    format: [width, height],
    orientation: width > height ? "landscape" : "portrait",
    compress: true,
    putOnlyUsedFonts: true,
    floatPrecision: PRECISION,
  });
  document.setProperties({ title, creator: "SQLTrack" });
  await addFonts(document, items);
  for (const item of items) {
    document.saveGraphicsState();
    if (item.clip) {
      document.rect(plot.left, plot.top, plot.width, plot.height, null);
      document.clip();
      document.discardPath();
    }
    if (item.opacity !== undefined) {
      document.setGState(new document.GState({ opacity: item.opacity, "stroke-opacity": item.opacity }));
    }
    writers[item.kind](document, item);
    document.restoreGraphicsState();
  }
  return document.output("blob");
}

async function addFonts(document, items) {
  const faces = new Set(items.flatMap((item) => (item.pieces ?? []).map(({ face }) => face)));
  for (const face of faces) {
    const bytes = await readFace(face);
    let binary = "";
    for (let start = 0; start < bytes.length; start += 8192) {
      binary += String.fromCharCode(...bytes.subarray(start, start + 8192));
    }
    document.addFileToVFS(`${face}.ttf`, btoa(binary));
    document.addFont(`${face}.ttf`, face, "normal");
  }
}

const writers = { line: writeLine, dot: writeDot, text: writeText };

function writeLine(document, { points, stroke, width, dash, fill }) {
  document.moveTo(points[0], points[1]);
  for (let index = 2; index < points.length; index += 2) {
    document.lineTo(points[index], points[index + 1]);
  }
  if (fill) {
    document.setFillColor(fill);
    document.close();
    document.fill();
  }
  if (stroke) {
    document.setDrawColor(stroke);
    document.setLineWidth(width);
    document.setLineJoin("round");
    document.setLineDashPattern(dash ?? [], 0);
    document.stroke();
  }
}

function writeDot(document, { x, y, radius, fill }) {
  document.setFillColor(fill);
  document.circle(x, y, radius, "F");
}

function writeText(document, { pieces, turned }) {
  document.setTextColor("#000000");
  for (const { text, face, size, x, y } of pieces) {
    document.setFont(face, "normal");
    document.setFontSize(size);
    document.text(text, x, y, turned ? { angle: 90 } : {});
  }
}
