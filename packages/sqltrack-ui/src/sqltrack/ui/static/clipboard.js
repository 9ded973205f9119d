/** Copy texts. */

/**
 * Copy a text; returns whether that worked. If it did not, the text of `element` is selected, to be copied by keyboard.
 *
 * Browsers offer the clipboard only to pages of this machine or with https.
 */
export async function copyText(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    window.getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
