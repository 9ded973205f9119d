/** What a change will do: how many runs get which value, and what else changes. */

import { capitalize } from "./components.js";
import { formatCount, formatPlural, shownName } from "./format.js";
import { html, useState } from "./vendor/htm/standalone.module.js";

/** Show the plan of a change. */
export function PlanTable({ answer }) {
  const { changes, groups, more, notes, python, refused, what } = answer;
  if (refused) {
    return html`<div class="note error" role="alert" tabindex="0">${capitalize(refused)}.</div>`;
  }
  if (changes === 0) {
    return html`<p class="muted">Nothing would change.</p>`;
  }
  const hasValues = groups.some(({ old, new: next }) => old !== null || next !== null);
  return html`<p><strong>${capitalize(what)}</strong></p>
    ${notes.map((note) => html`<p class="edit-note">${capitalize(note)}.</p>`)}
    ${
      hasValues &&
      html`<div class="panel edit-changes" tabindex="0" role="region" aria-label="Changes"><table class="table">
      <thead><tr><th scope="col">Number</th><th scope="col">Which</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
      <tbody>${groups.map((group) => html`<${Group} group=${group} />`)}</tbody>
    </table></div>`
    }
    ${!hasValues && groups.length > 0 && html`<p>Runs ${groups.map(({ ids }) => ids).join(", ")}</p>`}
    ${more > 0 && html`<p class="muted">And ${formatPlural(more, "other change")} like these.</p>`}
    ${python && html`<${AsPython} text=${python} />`}`;
}

function Group({ group }) {
  const { kind, count, ids, old, new: next } = group;
  const which = kind === "run" ? ids : kind;
  return html`<tr>
    <td class="number">${formatCount(count)}</td>
    <td>${which}</td>
    <td><${Value} value=${old} /></td>
    <td><${Value} value=${next} /></td>
  </tr>`;
}

function Value({ value }) {
  if (value === null || value.length === 0) {
    return html`<span class="muted">none</span>`;
  }
  if (Array.isArray(value)) {
    return value.map((tag) => html`<bdi class="tag" title=${tag}>${shownName(tag)}</bdi> `);
  }
  return html`<bdi class="edit-value" title=${String(value)}>${String(value)}</bdi>`;
}

// The code is made when the user opens it.
function AsPython({ text }) {
  const [isOpen, setOpen] = useState(false);
  return html`<details onToggle=${(event) => setOpen(event.target.open)}><summary>As Python</summary>${isOpen && html`<pre class="code" tabindex="0">${text}</pre>`}</details>`;
}
