/** The forms of changes: what each asks for, and what it sends to the server. */

import { html } from "./vendor/htm/standalone.module.js";

/**
 * The changes by name. Each has `label`, `key` and `help` for the menu and the keys; `title` for the dialog; `start`, the
 * values of the fields at first; `Fields`, a component that gets {values, set, choices}; and `read`, which returns the
 * part of the spec for values, null while they are incomplete.
 */
export const FORMS = {
  tags: {
    label: "Tags…",
    key: "t",
    help: "add and remove tags",
    title: "Tags",
    start: { add: [], adding: "", remove: [], removing: "" },
    Fields: TagFields,
    read: ({ add, adding, remove, removing }) => {
      const spec = { add: withLast(add, adding), remove: withLast(remove, removing) };
      return spec.add.length + spec.remove.length > 0 ? spec : null;
    },
  },
  comment: {
    label: "Comment…",
    key: "c",
    help: "set the comment",
    title: "Comment",
    start: { text: "" },
    Fields: CommentField,
    read: ({ text }) => ({ text: text.trim() }),
  },
  status: {
    label: "Status…",
    key: "s",
    help: "set the status",
    title: "Status",
    start: { status: "" },
    Fields: (props) =>
      html`<${TextField} ...${props} name="status" label="New status" known=${props.choices.statuses} />`,
    read: ({ status }) => (status.trim() === "" ? null : { status: status.trim() }),
  },
  move: {
    label: "Move…",
    key: "m",
    help: "move to another experiment",
    title: "Move to an experiment",
    start: { to: "" },
    Fields: (props) =>
      html`<${TextField} ...${props} name="to" label="Experiment, which is created if it does not exist" known=${props.choices.experiments} />`,
    read: ({ to }) => (to.trim() === "" ? null : { to: to.trim(), create: true }),
  },
  rename: {
    label: "Rename…",
    key: "n",
    help: "rename the experiment",
    title: "Rename",
    start: { name: "" },
    Fields: (props) => html`<${TextField} ...${props} name="name" label="New name" />`,
    read: ({ name }) => (name.trim() === "" ? null : { name: name.trim() }),
  },
  link: {
    label: "Links…",
    key: "l",
    help: "add or remove a link",
    title: "Links",
    start: { kind: "", to: "", remove: false },
    Fields: LinkFields,
    read: ({ kind, to, remove }, isRun) => {
      const target = to.trim();
      const isReady = kind.trim() !== "" && (isRun ? /^\d{1,15}$/.test(target) : target !== "");
      return isReady ? { kind: kind.trim(), to: isRun ? Number(target) : target, remove } : null;
    },
  },
  delete: {
    label: "Delete…",
    key: "d",
    help: "delete",
    title: "Delete",
    start: { force: false },
    Fields: ({ values, set }) =>
      html`<${CheckField} values=${values} set=${set} name="force" label="Also delete runs that are still logging" />`,
    read: ({ force }) => ({ force }),
  },
};

function withLast(items, text) {
  const last = text.trim();
  return last === "" || items.includes(last) ? items : [...items, last];
}

function TagFields(props) {
  return html`<${TagField} ...${props} list="add" text="adding" label="Add tags" isFirst />
    <${TagField} ...${props} list="remove" text="removing" label="Remove tags" />
    <p class="muted">A comma begins another tag.</p>`;
}

function TagField({ values, set, choices, list, text, label, isFirst = false }) {
  const type = (event) => {
    const parts = event.target.value.split(",");
    const typed = parts.pop();
    set({ [list]: parts.reduce(withLast, values[list]), [text]: typed.trimStart() });
  };
  const drop = (tag) => set({ [list]: values[list].filter((other) => other !== tag) });
  const onKeyDown = (event) => {
    if (event.key === "Backspace" && values[text] === "" && values[list].length > 0) {
      drop(values[list].at(-1));
    }
  };
  const chip = (tag) =>
    html`<span class="chip" key=${tag}><bdi class="cut">${tag}</bdi><button type="button" aria-label=${`Without ${tag}`} onClick=${() => drop(tag)}>✕</button></span>`;
  return html`<div class="edit-field">
    <label for=${`edit-${list}`}>${label}</label>
    <div class="edit-tags">
      ${values[list].map(chip)}
      <input id=${`edit-${list}`} class="field" autocomplete="off" list=${`edit-${list}-known`} data-focus=${isFirst} value=${values[text]} onInput=${type} onKeyDown=${onKeyDown} />
    </div>
    <${Known} id=${`edit-${list}-known`} values=${choices.tags} />
  </div>`;
}

function CommentField({ values, set }) {
  return html`<div class="edit-field">
    <label for="edit-text">Comment; an empty one removes it</label>
    <textarea id="edit-text" class="field" rows="5" data-focus value=${values.text} onInput=${(event) => set({ text: event.target.value })}></textarea>
    <p class="muted">Ctrl-Enter in place of the button.</p>
  </div>`;
}

function TextField({ values, set, name, label, known, isFirst = true }) {
  return html`<div class="edit-field">
    <label for=${`edit-${name}`}>${label}</label>
    <input id=${`edit-${name}`} class="field" autocomplete="off" list=${known && `edit-${name}-known`} data-focus=${isFirst} value=${values[name]} onInput=${(event) => set({ [name]: event.target.value })} />
    ${known && html`<${Known} id=${`edit-${name}-known`} values=${known} />`}
  </div>`;
}

function LinkFields(props) {
  const { values, set, choices, isRun } = props;
  return html`<div class="edit-field">
      <label for="edit-what">What</label>
      <select id="edit-what" class="field" value=${String(values.remove)} onChange=${(event) => set({ remove: event.target.value === "true" })}>
        <option value="false">Add a link</option>
        <option value="true">Remove a link</option>
      </select>
    </div>
    <${TextField} ...${props} name="kind" label="Kind, such as resumes" known=${choices.kinds} />
    <${TextField} ...${props} name="to" label=${isRun ? "To the run with the id" : "To the experiment"} known=${isRun ? undefined : choices.experiments} isFirst=${false} />`;
}

function CheckField({ values, set, name, label }) {
  return html`<label class="edit-check">
    <input type="checkbox" checked=${values[name]} onChange=${(event) => set({ [name]: event.target.checked })} /> ${label}
  </label>`;
}

function Known({ id, values = [] }) {
  return html`<datalist id=${id}>${values.map((value) => html`<option key=${value} value=${value}></option>`)}</datalist>`;
}
