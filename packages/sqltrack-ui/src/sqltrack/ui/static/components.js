/** Parts that several views use: dialogs, menus, errors. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Pixels between a menu and the edge of the window. */
const MARGIN = 8;

/** A dialog that covers the page until it is closed; Escape closes it. */
export function Dialog({ title, onClose, children, actions, className = "" }) {
  const element = useRef(null);
  // Before the browser paints, so that no key is lost.
  useLayoutEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    element.current.querySelector("[data-focus], [autofocus]")?.focus();
    return () => before?.focus?.();
  }, []);
  const closeOutside = (event) => {
    if (event.target === element.current) {
      onClose();
    }
  };
  // A search field would only empty itself.
  const closeByKey = (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onClose();
    }
  };
  return html`<dialog ref=${element} class=${className} aria-label=${title} onClose=${onClose} onClick=${closeOutside} onKeyDown=${closeByKey}>
    <div class="dialog-head">
      <h2>${title}</h2>
      ${actions}
      <button type="button" class="button quiet" onClick=${onClose} aria-label="Close">✕</button>
    </div>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}

/** A button that opens a list of buttons and links. Arrow keys move, Escape closes. */
export function Menu({ label, title, side = "right", children, onOpen, quiet = false }) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef(null);
  useEffect(() => {
    if (!isOpen) {
      return undefined;
    }
    const closeOutside = (event) => {
      if (!root.current.contains(event.target)) {
        setOpen(false);
      }
    };
    document.addEventListener("pointerdown", closeOutside);
    root.current.querySelector(".menu-list :is(button, a, input)")?.focus();
    return () => document.removeEventListener("pointerdown", closeOutside);
  }, [isOpen]);
  // At a narrow window, a list that ends below its button would begin beyond the edge.
  useLayoutEffect(() => {
    const list = isOpen && side === "right" ? root.current.querySelector(".menu-list") : null;
    const left = list?.getBoundingClientRect().left ?? MARGIN;
    if (left < MARGIN) {
      list.style.right = `${left - MARGIN}px`;
    }
  }, [isOpen]);
  const toggle = () => {
    if (!isOpen) {
      onOpen?.();
    }
    setOpen(!isOpen);
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape" && isOpen) {
      event.stopPropagation();
      setOpen(false);
      root.current.querySelector("button").focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      moveFocus(root.current, event);
    }
  };
  const onClick = (event) => {
    if (event.target.closest("button, a") !== null && event.target.closest("[data-stay]") === null) {
      setOpen(false);
    }
  };
  return html`<div class="menu" ref=${root} onKeyDown=${onKeyDown}>
    <button type="button" class=${`button ${quiet ? "quiet" : ""}`} title=${title} aria-haspopup="true" aria-expanded=${isOpen} onClick=${toggle}>
      ${label}
    </button>
    ${isOpen && html`<div class=${`menu-list ${side === "left" ? "left" : ""}`} onClick=${onClick}>${children}</div>`}
  </div>`;
}

function moveFocus(root, event) {
  const items = [...root.querySelectorAll(".menu-list :is(button, a, input):not(:disabled)")];
  if (items.length === 0) {
    return;
  }
  event.preventDefault();
  const step = event.key === "ArrowDown" ? 1 : -1;
  const index = items.indexOf(document.activeElement);
  items.at((index + step + items.length) % items.length).focus();
}

/** Show an error as a sentence; nothing if there is none. */
export function ErrorNote({ error, retry }) {
  if (!error) {
    return null;
  }
  const text = error.message ?? String(error);
  return html`<div class="note error" role="alert" tabindex="0">
    ${capitalize(text)}${" "}${retry && html`<button type="button" class="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

/** Return a text with a capital first letter. */
export function capitalize(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return a value that follows another one after some milliseconds without change. */
export function useDebounced(value, delay = 200) {
  const [shown, setShown] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setShown(value), delay);
    return () => clearTimeout(timer);
  }, [value, delay]);
  return shown;
}
