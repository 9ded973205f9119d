/** What SQLTrack captured about a run: commit, host, command, packages, and the rest of the extras. */
import { formatPlural } from "./format.js";
import { flatten, Value, ValueList } from "./values.js";
import { html } from "./vendor/htm/standalone.module.js";

/** Show the extras of a run, with the captured facts first. */
export function Extras({ extras }) {
  const { capture, ...others } = extras ?? {};
  return html`${capture && html`<${Capture} capture=${capture} />`}
    ${Object.keys(others).length > 0 && html`<section class="run-part"><h2>Extras</h2><${ValueList} object=${others} label="extras" /></section>`}`;
}

function Capture({ capture }) {
  const { git, command, packages, output, ...others } = capture;
  return html`<section class="run-part">
    <h2>Captured</h2>
    ${git && html`<${Git} git=${git} />`}
    ${command !== undefined && html`<${Command} command=${command} />`}
    ${Object.keys(others).length > 0 && html`<${ValueList} object=${others} label="captured values" />`}
    ${output && html`<${Texts} object=${output} name="output" text="text" />`}
    ${packages && html`<${Packages} packages=${packages} />`}
  </section>`;
}

function Git({ git }) {
  const { commit, branch, dirty, ...others } = git;
  return html`<p class="git">
      commit <${Value} value=${commit} path=${["commit"]} />${branch && html` on <bdi>${branch}</bdi>`}
      ${dirty && html` <span class="tag dirty" title="The working tree had changes that are in no commit">with changes</span>`}
    </p>
    <${Texts} object=${others} name="diff" text="diff" />`;
}

function Command({ command }) {
  const { argv, pid, ...others } = isObject(command) ? command : { argv: command };
  return html`<p class="command mono"><bdi>${formatCommand(argv ?? others.line ?? "")}</bdi></p>
    ${Object.keys(others).length > 0 && html`<${ValueList} object=${others} label="the command" />`}`;
}

// The values of an object, and its long text folded.
function Texts({ object, name, text }) {
  const { [text]: long, ...others } = isObject(object) ? object : { [text]: object };
  const count = String(long ?? "")
    .replace(/\n$/, "")
    .split("\n").length;
  return html`${Object.keys(others).length > 0 && html`<${ValueList} object=${others} label=${name} />`}
    ${long && html`<details><summary>${formatPlural(count, "line")} of ${name}</summary><pre class="code"><bdi>${long}</bdi></pre></details>`}`;
}

function Packages({ packages }) {
  return isObject(packages)
    ? html`<details><summary>${formatPlural(flatten(packages).length, "package")}</summary><${ValueList} object=${packages} label="packages" /></details>`
    : html`<p class="muted">List of packages <bdi>${String(packages)}</bdi>, which cannot be read</p>`;
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function formatCommand(command) {
  const words = Array.isArray(command) ? command : [command];
  return words.map((word) => (/[\s"'$]/.test(String(word)) ? JSON.stringify(String(word)) : String(word))).join(" ");
}
