/** What SQLTrack captured about a run: commit, host, command, packages, and the rest of the extras. */
import { flatten, Value, ValueList } from "./values.js";
import { html } from "./vendor/htm/standalone.module.js";

/** Show the extras of a run, with the captured facts first. */
export function Extras({ extras }) {
  const { capture, ...others } = extras ?? {};
  return html`${capture && html`<${Capture} capture=${capture} />`}
    ${Object.keys(others).length > 0 && html`<section class="run-part"><h2>Extras</h2><${ValueList} object=${others} label="extras" /></section>`}`;
}

function Capture({ capture }) {
  const { git, command, packages, ...others } = capture;
  return html`<section class="run-part">
    <h2>Captured</h2>
    ${git && html`<${Git} git=${git} />`}
    ${command !== undefined && html`<p class="command mono"><bdi>${formatCommand(command)}</bdi></p>`}
    ${Object.keys(others).length > 0 && html`<${ValueList} object=${others} label="captured values" />`}
    ${packages && html`<details><summary>${countPackages(packages)}</summary><${ValueList} object=${packages} label="packages" /></details>`}
  </section>`;
}

function Git({ git }) {
  const { commit, branch, dirty, ...others } = git;
  return html`<p class="git">
      commit <${Value} value=${commit} path=${["commit"]} />${branch && html` on <bdi>${branch}</bdi>`}
      ${dirty && html` <span class="tag dirty" title="The working tree had changes that are in no commit">with changes</span>`}
    </p>
    ${Object.keys(others).length > 0 && html`<${ValueList} object=${others} label="git" />`}`;
}

function formatCommand(command) {
  const words = Array.isArray(command) ? command : (command?.argv ?? [command?.line ?? command]);
  return words.map((word) => (/[\s"'$]/.test(String(word)) ? JSON.stringify(String(word)) : String(word))).join(" ");
}

function countPackages(packages) {
  const count = flatten(packages).length;
  return count === 1 ? "1 package" : `${count} packages`;
}
