/** Repeated calls while the page is visible. */

import { isAbort, isPassing } from "./api.js";
import { useEffect, useRef } from "./vendor/htm/standalone.module.js";

/** Milliseconds between two calls, and the longest pause after failures. */
const INTERVAL = 2000;
const LONGEST = 30000;
/** Milliseconds until a call is made again after the server or the database was away. */
const RETRY = 3000;

/**
 * Call a function every two seconds while a component is shown and the page is visible.
 *
 * The next call waits for the one before. Failures make the pauses longer, up to 30 seconds; when the page becomes
 * visible again, the call is made at once.
 *
 * @param {function(AbortSignal): Promise} call
 * @param {any[]} inputs values of which a new one starts anew
 * @param {{interval?: number, active?: boolean}} options milliseconds between calls, and whether to call at all
 */
export function usePoll(call, inputs = [], { interval = INTERVAL, active = true } = {}) {
  const latest = useRef(call);
  latest.current = call;
  useEffect(
    () => (active ? poll((signal) => latest.current(signal), interval) : undefined),
    [...inputs, interval, active],
  );
}

/** Call a function a while after an error that may pass, the last result of a call. */
export function useRetry(error, again) {
  useEffect(() => {
    const timer = isPassing(error) ? setTimeout(again, RETRY) : null;
    return () => clearTimeout(timer);
  }, [error]);
}

/** Start to call a function repeatedly, see `usePoll`; returns a function that ends it. */
export function poll(call, interval = INTERVAL) {
  const controller = new AbortController();
  let timer = null;
  let failures = 0;
  let isRunning = false;

  async function turn() {
    clearTimeout(timer);
    if (document.hidden || isRunning) {
      return;
    }
    isRunning = true;
    try {
      await call(controller.signal);
      failures = 0;
    } catch (error) {
      failures += isAbort(error) ? 0 : 1;
    }
    isRunning = false;
    wait();
  }

  function wait() {
    if (!controller.signal.aborted) {
      timer = setTimeout(turn, Math.min(LONGEST, interval * 2 ** failures));
    }
  }

  document.addEventListener("visibilitychange", turn, { signal: controller.signal });
  wait();
  return () => {
    controller.abort();
    clearTimeout(timer);
  };
}
