/** The links to runs in tables. */
import { href, navigate } from "./state.js";

/** Return a link to a run, which stays within the page unless the user asks for a new tab or window. */
export function runLink(id) {
  const link = document.createElement("a");
  link.href = href(`run/${id}`);
  link.className = "run-link";
  link.textContent = String(id);
  link.addEventListener("click", (event) => {
    if (!(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      navigate(`run/${id}`);
    }
  });
  return link;
}
