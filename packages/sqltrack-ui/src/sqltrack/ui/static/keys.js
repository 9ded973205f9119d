/** Keys: views register them, one listener runs them, and the help lists them. */

import { createSignal } from "./signal.js";
import { useEffect, useRef } from "./vendor/htm/standalone.module.js";

/** Milliseconds in which the second key of a sequence such as "g r" must follow. */
const SEQUENCE = 1500;

const groups = new Map();
let nextId = 0;
let prefix = "";
let prefixTime = 0;

/** All keys that act now: [{title, keys: [[key, text]]}]. */
export const keyGroups = createSignal([]);

/**
 * Register keys while a component is shown.
 *
 * @param {string} title of the group in the help, such as "Runs"
 * @param {Object<string, [string, function]>} keys key or sequence ("g r"), its description and its function
 */
export function useKeys(title, keys) {
  const current = useRef(keys);
  current.current = keys;
  useEffect(() => {
    nextId += 1;
    const id = nextId;
    groups.set(id, { title, current });
    tell();
    return () => {
      groups.delete(id);
      tell();
    };
  }, [title]);
}

/** Listen to the keys of the page; call it once at the start. */
export function startKeys() {
  document.addEventListener("keydown", handle);
}

function tell() {
  const shown = [...groups.values()].map(({ title, current }) => ({
    title,
    keys: Object.entries(current.current).map(([key, [text]]) => [key, text]),
  }));
  keyGroups.set(shown);
}

function handle(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) {
    return;
  }
  const isSecond = prefix !== "" && Date.now() - prefixTime < SEQUENCE;
  const name = isSecond ? `${prefix} ${event.key}` : event.key;
  prefix = "";
  const action = findAction(name);
  if (action !== undefined) {
    event.preventDefault();
    action(event);
  } else if (!isSecond && isPrefix(event.key)) {
    event.preventDefault();
    prefix = event.key;
    prefixTime = Date.now();
  }
}

// The group that was registered last comes first, so that a view may replace a key of the page.
function findAction(name) {
  for (const { current } of [...groups.values()].reverse()) {
    if (Object.hasOwn(current.current, name)) {
      return current.current[name][1];
    }
  }
  return undefined;
}

function isPrefix(key) {
  return [...groups.values()].some(({ current }) =>
    Object.keys(current.current).some((name) => name.startsWith(`${key} `)),
  );
}

// A field takes its keys itself, and so do buttons and links with Enter and Space. An open dialog keeps all keys.
function isTyping(event) {
  const { target, key } = event;
  if (!(target instanceof Element)) {
    return false;
  }
  if (
    target.closest("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]") !==
    null
  ) {
    return true;
  }
  if (document.querySelector("dialog[open]") !== null) {
    return true;
  }
  const isControl =
    target.closest("a[href], button, summary, input, [role=button], [role=menuitem], [role=tab]") !== null;
  return isControl && (key === "Enter" || key === " ");
}
