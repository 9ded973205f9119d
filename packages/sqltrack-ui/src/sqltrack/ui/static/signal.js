/** Values that components share: a signal tells its subscribers when its value changes. */
import { useEffect, useState } from "./vendor/htm/standalone.module.js";

/** Return a signal, which holds one value. Setting the same value again has no effect. */
export function createSignal(initial) {
  let value = initial;
  const subscribers = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) {
        return;
      }
      value = next;
      for (const subscriber of [...subscribers]) {
        subscriber(value);
      }
    },
    subscribe(subscriber) {
      subscribers.add(subscriber);
      return () => subscribers.delete(subscriber);
    },
  };
}

/** Return the value of a signal, and render the component again when it changes. */
export function useSignal(signal) {
  const [, setCount] = useState(0);
  useEffect(() => signal.subscribe(() => setCount((count) => count + 1)), [signal]);
  return signal.get();
}
