/** The dialog that lists the keys. */

import { Dialog } from "./components.js";
import { keyGroups } from "./keys.js";
import { useSignal } from "./signal.js";
import { html } from "./vendor/htm/standalone.module.js";

/** Show all keys that act in the current view. */
export function Help({ onClose }) {
  const groups = useSignal(keyGroups);
  return html`<${Dialog} title="Keys" onClose=${onClose}>
    <div class="help">
      ${groups.map(
        ({ title, keys }) => html`<section>
          <h3>${title}</h3>
          <dl>
            ${keys.map(
              ([key, text]) => html`<div>
                <dt>${key.split(" ").map((part) => html`<kbd>${part === "" ? "Space" : part}</kbd> `)}</dt>
                <dd>${text}</dd>
              </div>`,
            )}
          </dl>
        </section>`,
      )}
    </div>
  </${Dialog}>`;
}
