/** Write the scene of a figure as SVG. */
import { svgFont } from "./figure_fonts.js";
import { POINTS_PER_CM } from "./figure_scene.js";

const CHARACTERS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
/** A tenth of a point is 0.035 mm. */
const round = (value) => Math.round(value * 10) / 10;
const precise = (value) => Math.round(value * 1000) / 1000;

/**
 * Return a scene as the text of an SVG file, whose size is in centimeters.
 *
 * @param {object} scene result of `buildScene`
 * @param {{title: string, isPreview?: boolean}} options title for screen readers; a preview takes the fonts of the page
 */
export function writeSvg({ width, height, plot, items }, { title, isPreview = false }) {
  const size = `width="${precise(width / POINTS_PER_CM)}cm" height="${precise(height / POINTS_PER_CM)}cm"`;
  const box = `viewBox="0 0 ${precise(width)} ${precise(height)}"`;
  const clip = ["x", "y"].map((axis) => `${axis}="${precise(axis === "x" ? plot.left : plot.top)}"`).join(" ");
  const body = items.map((item) => writers[item.kind](item, isPreview)).join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${box} role="img">
<title>${escapeXml(title)}</title>
<defs><clipPath id="plot"><rect ${clip} width="${precise(plot.width)}" height="${precise(plot.height)}"/></clipPath></defs>
${body}
</svg>
`;
}

const writers = { line: writeLine, dot: writeDot, text: writeText };

function escapeXml(text) {
  // XML cannot hold most of the control characters.
  return text.replace(/[\p{Cc}\ufffe\uffff]/gu, " ").replace(/[&<>"]/g, (character) => CHARACTERS[character]);
}

function writeLine({ points, stroke, width, dash, fill, opacity, clip }) {
  const attributes = [
    `d="${path(points)}${fill ? "z" : ""}"`,
    `fill="${fill ?? "none"}"`,
    stroke && `stroke="${stroke}" stroke-width="${precise(width)}" stroke-linejoin="round"`,
    dash?.length && `stroke-dasharray="${dash.join(" ")}"`,
    opacity !== undefined && `${fill ? "fill" : "stroke"}-opacity="${opacity}"`,
    clip && `clip-path="url(#plot)"`,
  ];
  return `<path ${attributes.filter(Boolean).join(" ")}/>`;
}

// Relative to the point before, so that most numbers are short.
function path(points) {
  let [x, y] = [round(points[0]), round(points[1])];
  const parts = [`M${x} ${y}`];
  for (let index = 2; index < points.length; index += 2) {
    const [nextX, nextY] = [round(points[index]), round(points[index + 1])];
    const [dx, dy] = [round(nextX - x), round(nextY - y)];
    if (dx !== 0 || dy !== 0) {
      parts.push(`l${short(dx)}${dy < 0 ? "" : " "}${short(dy)}`);
      [x, y] = [nextX, nextY];
    }
  }
  return parts.join("");
}

const short = (value) => String(value).replace(/^(-?)0\./, "$1.");

function writeDot({ x, y, radius, fill, opacity, clip }) {
  const more = `${opacity === undefined ? "" : ` fill-opacity="${opacity}"`}${clip ? ' clip-path="url(#plot)"' : ""}`;
  return `<circle cx="${round(x)}" cy="${round(y)}" r="${precise(radius)}" fill="${fill}"${more}/>`;
}

function writeText({ pieces, turned }, isPreview) {
  return pieces
    .map(({ text, face, size, x, y }) => {
      const { family, style } = svgFont(face, { isPreview });
      const turn = turned ? ` transform="rotate(-90 ${precise(x)} ${precise(y)})"` : "";
      const font = `font-family="${escapeXml(family)}" font-size="${precise(size)}"${style ? ` font-style="${style}"` : ""}`;
      return `<text x="${precise(x)}" y="${precise(y)}"${turn} ${font} xml:space="preserve">${escapeXml(text)}</text>`;
    })
    .join("\n");
}
