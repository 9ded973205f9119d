/** The editor for SQL. Ace is large, so that it is loaded when the view is shown. */
import { endsWithQualifier, findNames } from "./sql_names.js";

const FOLDER = new URL("./vendor/ace-builds/", import.meta.url).href;
const SCRIPTS = ["ace.js", "mode-sql.js", "ext-language_tools.js"];
// These would load further files, or take keys of the browser.
const COMMANDS = [
  ...["find", "replace", "findnext", "findprevious", "selectOrFindNext", "selectOrFindPrevious", "gotoline"],
  ...["showSettingsMenu", "openCommandPallete", "openCommandPalette", "goToNextError", "goToPreviousError"],
  ...["replaymacro", "togglerecording", "toggleFoldWidget", "toggleParentFoldWidget"],
];
const WRITTEN = /"?[\p{L}\p{N}_$]*$/u;

let loading = null;

/** Load Ace once; resolves to its exports. */
export function loadAce() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load() {
  const sheet = addElement("link", { rel: "stylesheet", href: `${FOLDER}ace.css` });
  for (const script of SCRIPTS) {
    await addElement("script", { src: FOLDER + script });
    // Ace would otherwise add style elements, which the page does not allow.
    window.ace.config.set("useStrictCSP", true);
  }
  await sheet;
  window.ace.config.set("basePath", FOLDER);
  return window.ace;
}

function addElement(kind, properties) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(kind), properties);
    element.onload = resolve;
    element.onerror = () => reject(new Error("the editor cannot be loaded; is `sqltrack ui` still running?"));
    document.head.append(element);
  });
}

/** An editor in an element. Tab leaves it, as in other fields; Ctrl-Space completes. */
export class SqlEditor {
  /**
   * @param {object} ace exports of Ace
   * @param {HTMLElement} element element that becomes the editor
   * @param {{text: string, schema: function, onRun: function, onChange: function}} options `schema` returns the answer
   *   of the call `schema`, or null
   */
  constructor(ace, element, { text, schema, onRun, onChange }) {
    this.ace = ace;
    this.markers = [];
    this.editor = ace.edit(element, {
      mode: "ace/mode/sql",
      value: text,
      fontSize: 13,
      fontFamily: "var(--mono)",
      minLines: 7,
      maxLines: 18,
      tabSize: 4,
      wrap: true,
      useWorker: false,
      showPrintMargin: false,
      showFoldWidgets: false,
      highlightActiveLine: false,
      behavioursEnabled: false,
      enableBasicAutocompletion: true,
      enableLiveAutocompletion: true,
      textInputAriaLabel: "SQL query",
      placeholder: "SELECT … FROM runs",
    });
    this.editor.setTheme({ cssClass: "ace-sqltrack", cssText: "" });
    this.editor.completers = [makeCompleter(schema)];
    this.editor.commands.removeCommands(COMMANDS);
    for (const key of ["Tab", "Shift-Tab"]) {
      this.editor.commands.bindKey(key, null);
    }
    this.editor.commands.addCommand({
      name: "runQuery",
      bindKey: { win: "Ctrl-Enter", mac: "Command-Enter|Ctrl-Enter" },
      exec: onRun,
    });
    this.editor.session.on("change", ({ action, lines }) => {
      this.clearError();
      onChange(this.text);
      if (action === "insert" && lines.length === 1 && lines[0] === ".") {
        setTimeout(() => this.completeQualified());
      }
    });
  }

  get text() {
    return this.editor.getValue();
  }

  /** Replace the text; the change can be undone. */
  setText(text) {
    if (text !== this.text) {
      this.editor.setValue(text, 1);
    }
  }

  /** Insert a text in place of the selection. */
  insert(text) {
    this.editor.insert(text);
    this.editor.focus();
  }

  focus() {
    this.editor.focus();
  }

  /** List the columns of a table behind its name and a dot. Ace does not if it was listing other names before. */
  completeQualified() {
    const { row, column } = this.editor.getCursorPosition();
    if (this.editor.isFocused() && endsWithQualifier(this.editor.session.getLine(row).slice(0, column))) {
      this.editor.execCommand("startAutocomplete");
    }
  }

  /** Mark the place of an error, a line and a column from 1, and move the cursor there. */
  markError({ line, column }, message) {
    const { session } = this.editor;
    const row = Math.min(line, session.getLength()) - 1;
    // The database counts characters, the editor units of UTF-16.
    const start = [...session.getLine(row)].slice(0, column - 1).join("").length;
    const word = /^(?:[\p{L}\p{N}_$]+|"[^"]*"|.)/u.exec(session.getLine(row).slice(start))?.[0] ?? "";
    const range = new (this.ace.require("ace/range").Range)(row, start, row, start + Math.max(word.length, 1));
    this.markers.push(session.addMarker(range, "sql-error-mark", "text"));
    session.setAnnotations([{ row, column: start, text: message, type: "error" }]);
    this.editor.moveCursorTo(row, start);
    this.editor.clearSelection();
  }

  clearError() {
    const { session } = this.editor;
    for (const marker of this.markers.splice(0)) {
      session.removeMarker(marker);
    }
    session.clearAnnotations();
  }

  destroy() {
    this.editor.destroy();
  }
}

function makeCompleter(schema) {
  return {
    id: "sqltrack",
    getCompletions(_editor, session, position, prefix, callback) {
      const known = schema();
      if (known === null) {
        callback(null, []);
        return;
      }
      const before = session.getLine(position.row).slice(0, position.column - prefix.length);
      const names = findNames(known, session.getValue(), before);
      callback(
        null,
        names.map(({ name, sql, meta, score }) => ({ caption: name, value: sql, meta, score, completer: this })),
      );
    },
    // A name that needs quotes may have been begun with one.
    insertMatch(editor, { value }) {
      const { row, column } = editor.getCursorPosition();
      const line = editor.session.getLine(row);
      const written = WRITTEN.exec(line.slice(0, column))[0];
      const range = { start: { row, column: column - written.length }, end: { row, column } };
      editor.session.replace(range, value);
    },
  };
}
