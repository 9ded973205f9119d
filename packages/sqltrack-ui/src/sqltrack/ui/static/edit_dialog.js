/** The dialog of a change: a form, what it will change, and the button that applies it. */

import { get, isAbort, post } from "./api.js";
import { capitalize, Dialog, ErrorNote } from "./components.js";
import { FORMS } from "./edit_forms.js";
import { PlanTable } from "./edit_plan.js";
import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Milliseconds without a change of the form before its plan is asked for. */
const PATIENCE = 300;
/** Runs that are deleted without typing their number. */
const FEW = 20;
const NO_CHOICES = { tags: [], statuses: [], kinds: [], experiments: [] };

/**
 * Show the form of an action with its plan.
 *
 * @param {string} action name of the form
 * @param {{label: string, spec: object, values?: object}[]} targets what can be changed; the user chooses one
 * @param {function(object, object)} onDone called with the answer and the spec after the change
 */
export function EditDialog({ action, targets, onDone, onClose }) {
  const form = FORMS[action];
  const [index, setIndex] = useState(0);
  const target = targets[index];
  const [values, setValues] = useState({ ...form.start, ...pick(target.values ?? {}, form.start) });
  const [typed, setTyped] = useState("");
  const choices = useChoices();
  const isRun = target.spec.experiment === undefined;
  const part = form.read(values, isRun);
  const spec = part && { action, ...target.spec, ...part };
  const { answer, error, ask, isBusy, apply } = usePlan(spec, onDone);
  const mustType = action === "delete" && answer !== null && answer.changes > FEW;
  const isReady = answer?.plan && (!mustType || typed.replace(/\D/g, "") === String(answer.changes));
  const submit = (event) => {
    event.preventDefault();
    if (answer === null) {
      ask();
    } else if (isReady) {
      apply();
    }
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      submit(event);
    }
  };
  const set = (patch) => setValues((before) => ({ ...before, ...patch }));
  return html`<${Dialog} title=${form.title} onClose=${onClose} className="edit-dialog">
    <form onSubmit=${submit} onKeyDown=${onKeyDown}>
      <${TargetChoice} targets=${targets} index=${index} onChoose=${setIndex} />
      <${form.Fields} values=${values} set=${set} choices=${choices} isRun=${isRun} />
      <div class="edit-plan" aria-live="polite" aria-busy=${isBusy}>
        <${ErrorNote} error=${error} />
        ${answer && html`<${PlanTable} answer=${answer} />`}
      </div>
      ${mustType && html`<div class="edit-field"><label for="edit-number">Type ${answer.changes} to confirm</label><input id="edit-number" class="field" inputmode="numeric" autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></div>`}
      <div class="edit-buttons">
        <button type="button" class="button" data-focus=${action === "delete"} onClick=${onClose}>Cancel</button>
        <button type="submit" class=${`button primary ${action === "delete" ? "danger" : ""}`} disabled=${spec === null || isBusy || (answer !== null && !isReady)}>
          <bdi class="cut">${answer?.what ? capitalize(answer.what) : "Show what changes"}</bdi>
        </button>
      </div>
    </form>
  </${Dialog}>`;
}

/** Return the entries of an object whose names another one has. */
function pick(object, names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => Object.hasOwn(names, name)));
}

function TargetChoice({ targets, index, onChoose }) {
  if (targets.length === 1) {
    return html`<p class="edit-target"><bdi>${targets[0].label}</bdi></p>`;
  }
  return html`<div class="edit-field">
    <label for="edit-target">Change</label>
    <select id="edit-target" class="field" value=${index} onChange=${(event) => onChoose(Number(event.target.value))}>
      ${targets.map(({ label }, number) => html`<option value=${number}>${label}</option>`)}
    </select>
  </div>`;
}

// Known values; without them the form works as well.
function useChoices() {
  const [choices, setChoices] = useState(NO_CHOICES);
  useEffect(() => {
    const controller = new AbortController();
    get("choices", {}, { signal: controller.signal }).then(setChoices, () => {});
    return () => controller.abort();
  }, []);
  return choices;
}

// The plan of a spec, which is asked for when the user pauses. `answer` is null unless it is that of the current spec.
function usePlan(spec, onDone) {
  const [result, setResult] = useState({ text: null, answer: null, error: null });
  const [isBusy, setBusy] = useState(false);
  const controller = useRef(new AbortController());
  const timer = useRef(null);
  const text = JSON.stringify(spec);
  const run = async (call) => {
    controller.current.abort();
    const own = new AbortController();
    controller.current = own;
    setBusy(true);
    try {
      await call(own.signal);
    } catch (error) {
      if (!isAbort(error)) {
        setResult({ text, answer: null, error });
      }
    }
    if (controller.current === own) {
      setBusy(false);
    }
  };
  const ask = () => {
    clearTimeout(timer.current);
    return run(async (signal) => {
      const answer = await post("plan", spec, { signal });
      setResult({ text, answer, error: null });
    });
  };
  // Not given up when the dialog is closed: the server may be at it already.
  const apply = () => run(async () => onDone(await post("apply", { plan: result.answer.plan }), spec));
  useEffect(() => {
    controller.current.abort();
    setBusy(false);
    if (spec === null) {
      return undefined;
    }
    timer.current = setTimeout(ask, PATIENCE);
    return () => clearTimeout(timer.current);
  }, [text]);
  useEffect(() => () => controller.current.abort(), []);
  const isCurrent = result.text === text;
  return { answer: isCurrent ? result.answer : null, error: isCurrent ? result.error : null, ask, isBusy, apply };
}
