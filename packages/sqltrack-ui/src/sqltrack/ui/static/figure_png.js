/** Draw the scene of a figure as PNG. */
import { canvasFont } from "./figure_fonts.js";

const POINTS_PER_INCH = 72;

/**
 * Return a scene as the blob of a PNG file.
 *
 * @param {object} scene result of `buildScene`
 * @param {number} resolution in pixels per inch
 */
export async function writePng({ width, height, plot, items }, resolution) {
  const scale = resolution / POINTS_PER_INCH;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.lineJoin = "round";
  for (const item of items) {
    context.save();
    if (item.clip) {
      context.beginPath();
      context.rect(plot.left, plot.top, plot.width, plot.height);
      context.clip();
    }
    context.globalAlpha = item.opacity ?? 1;
    painters[item.kind](context, item);
    context.restore();
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) {
    throw new Error("the picture is too large for the browser; choose a smaller size");
  }
  return blob;
}

const painters = { line: paintLine, dot: paintDot, text: paintText };

function paintLine(context, { points, stroke, width, dash, fill }) {
  context.beginPath();
  context.moveTo(points[0], points[1]);
  for (let index = 2; index < points.length; index += 2) {
    context.lineTo(points[index], points[index + 1]);
  }
  if (fill) {
    context.fillStyle = fill;
    context.fill();
  }
  if (stroke) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.setLineDash(dash ?? []);
    context.stroke();
  }
}

function paintDot(context, { x, y, radius, fill }) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
}

function paintText(context, { pieces, turned }) {
  context.fillStyle = "#000000";
  for (const { text, face, size, x, y } of pieces) {
    context.save();
    context.translate(x, y);
    if (turned) context.rotate(-Math.PI / 2);
    context.font = canvasFont(face, size);
    context.fillText(text, 0, 0);
    context.restore();
  }
}
