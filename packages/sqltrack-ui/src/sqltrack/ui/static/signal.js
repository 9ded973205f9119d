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
  const shown = signal.get();
  useEffect(() => {
    const again = () => setCount((count) => count + 1);
    const end = signal.subscribe(again);
    // Effects run after the next frame, and the value may have changed until then.
    if (!Object.is(signal.get(), shown)) {
      again();
    }
    return end;
  }, [signal]);
  return shown;
}
