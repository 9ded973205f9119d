/** The dialog that chooses the metrics of the charts, also among thousands. */
import { Dialog } from "./components.js";
import { html, useMemo, useState } from "./vendor/htm/standalone.module.js";

const MOST_SHOWN = 300;

/** Names that hold all words of a text, in any case. */
export function searchNames(names, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return names.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
}

/**
 * The dialog.
 *
 * @param {object} props
 * @param {{name: string, runs: number}[]} props.known metrics of the shown runs
 * @param {string[]} props.chosen names of the metrics that are shown
 * @param {number} props.runs number of the shown runs
 * @param {function(string[])} props.onChange gets the new names
 * @param {function} props.onClose
 */
export function MetricChooser({ known, chosen, runs, onChange, onClose }) {
  const [text, setText] = useState("");
  const found = useMemo(() => searchNames(known, text), [known, text]);
  const taken = new Set(chosen);
  const toggle = (name) => onChange(taken.has(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  const onKeyDown = (event) => {
    if (event.key === "Enter" && found.length > 0) {
      event.preventDefault();
      toggle(found[0].name);
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      event.target.closest("dialog").querySelector(".metric-list input")?.focus();
    }
  };
  const few = found.slice(0, MOST_SHOWN).map(({ name }) => name);
  return html`<${Dialog} title="Metrics" onClose=${onClose} className="metric-chooser">
    <input class="field metric-search" type="text" placeholder="Search metrics" aria-label="Search metrics" autofocus
      value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown} />
    <p class="metric-actions">
      <span class="muted">${found.length} of ${known.length}, ${chosen.length} shown</span>
      <button type="button" class="button quiet" disabled=${!text || few.length > 50} onClick=${() => onChange([...new Set([...chosen, ...few])])}>Add all found</button>
      <button type="button" class="button quiet" disabled=${!chosen.length} onClick=${() => onChange([])}>Clear</button>
    </p>
    <ul class="metric-list" onKeyDown=${moveFocus}>
      ${found.slice(0, MOST_SHOWN).map(
        ({ name, runs: count }) => html`<li key=${name}><label title=${name}>
          <input type="checkbox" checked=${taken.has(name)} onChange=${() => toggle(name)} />
          <bdi class="cut">${name}</bdi>${count < runs && html`<span class="muted">${count} of ${runs} runs</span>`}
        </label></li>`,
      )}
    </ul>
    ${found.length > MOST_SHOWN && html`<p class="muted">${found.length - MOST_SHOWN} more; type to find them.</p>`}
  </${Dialog}>`;
}

function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined) {
    return;
  }
  event.preventDefault();
  const fields = [...event.currentTarget.querySelectorAll("input")];
  fields[fields.indexOf(document.activeElement) + step]?.focus();
}
