/** Files that the browser saves. */

/** Milliseconds after which the browser has begun to save a file. */
const SAVED = 10000;

/** Let the browser save a blob as a file. */
export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), SAVED);
}

/** Let the browser save a text as a file. */
export function saveText(text, type, name) {
  saveBlob(new Blob([text], { type }), name);
}
