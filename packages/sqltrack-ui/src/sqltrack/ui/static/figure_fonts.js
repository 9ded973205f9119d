/** The fonts of figures: files that are embedded in PDF, and that the preview is drawn with. */

const FOLDER = "./vendor/";
/** Faces by name: file, name in SVG with its replacements, and the characters that the file has. */
const FACES = {
  times: {
    file: "@expo-google-fonts/tinos/Tinos_400Regular.ttf",
    family: "Tinos, 'Times New Roman', Times, serif",
    has: () => true,
  },
  sans: {
    file: "pdfjs-dist/LiberationSans-Regular.ttf",
    family: "'Liberation Sans', Arial, Helvetica, sans-serif",
    has: () => true,
  },
  sansSlanted: {
    file: "pdfjs-dist/LiberationSans-Italic.ttf",
    family: "'Liberation Sans', Arial, Helvetica, sans-serif",
    isSlanted: true,
    has: () => true,
  },
  latex: {
    file: "katex/KaTeX_Main-Regular.ttf",
    family: "KaTeX_Main, 'Latin Modern Roman', 'CMU Serif', serif",
    has: (character) => /[ -~ΓΔΘΛΞΠΣΥΦΨΩ…–∞±×≤≥≠≈∼−→↑↓∈∂ℓ′√∑]/.test(character),
  },
  math: {
    file: "katex/KaTeX_Math-Italic.ttf",
    family: "KaTeX_Math, 'Latin Modern Math', serif",
    isSlanted: true,
    has: (character) => /[A-Za-zα-ωϑ]/.test(character),
  },
};

/** Fonts to choose from: their names, and their faces in the order in which they are tried. */
export const FONTS = {
  serif: { label: "Times", upright: ["times"], slanted: ["math", "times"] },
  sans: { label: "Helvetica, Arial", upright: ["sans"], slanted: ["sansSlanted"] },
  latex: { label: "Computer Modern (LaTeX)", upright: ["latex", "math", "times"], slanted: ["math", "latex", "times"] },
};

const address = (face) => new URL(FOLDER + FACES[face].file, import.meta.url);
const loaded = new Map();
// Names of its own, so that no font of the machine takes its place.
const nameIn = (face) => `SQLTrack ${face}`;

/** Load the faces of a font, and return when text can be measured with them. */
export async function loadFont(font) {
  const faces = new Set([...FONTS[font].upright, ...FONTS[font].slanted]);
  await Promise.all([...faces].map(loadFace));
}

async function loadFace(face) {
  if (!loaded.has(face)) {
    const font = new FontFace(nameIn(face), `url("${address(face)}")`);
    loaded.set(
      face,
      font.load().then(() => document.fonts.add(font)),
    );
  }
  await loaded.get(face);
}

/** Split the parts of a label into pieces of one face each. */
export function splitFaces(parts, font) {
  return parts.flatMap((part) => {
    const faces = FONTS[font][part.slanted ? "slanted" : "upright"];
    const pieces = [];
    for (const character of part.text) {
      const face = faces.find((name) => FACES[name].has(character)) ?? faces.at(-1);
      if (pieces.at(-1)?.face === face) {
        pieces.at(-1).text += character;
      } else {
        pieces.push({ ...part, face, text: character });
      }
    }
    return pieces;
  });
}

let canvas = null;

/** Return the width of a text in points. */
export function measureText(text, face, size) {
  canvas ??= document.createElement("canvas").getContext("2d");
  // At a large size, so that hinting and rounding of small ones do not count.
  canvas.font = canvasFont(face, 100);
  return (canvas.measureText(text).width * size) / 100;
}

/** Return a face as the font of a canvas. */
export function canvasFont(face, size) {
  return `${size}px "${nameIn(face)}"`;
}

/** Return a face as attributes of a text in SVG. */
export function svgFont(face, { isPreview = false } = {}) {
  const { family, isSlanted } = FACES[face];
  return { family: isPreview ? `'${nameIn(face)}'` : family, style: isSlanted && !isPreview ? "italic" : null };
}

/** Return the bytes of the file of a face. */
export async function readFace(face) {
  const response = await fetch(address(face));
  if (!response.ok) {
    throw new Error(`the font ${FACES[face].file} could not be loaded`);
  }
  return new Uint8Array(await response.arrayBuffer());
}
