// Sort columns of format_dataframe by the key at the start of each cell, with missing values last in both directions.
// VERSION is replaced by the version of itables, which bundles DataTables.
(() => {
  const numbers = '<span class="sqltrack-key sqltrack-number';
  const any = '<span class="sqltrack-key';

  const key = (cell) => {
    const text = String(cell);
    const head = text.slice(0, text.indexOf("</span>"));
    return {missing: head.slice(0, head.indexOf(">")).includes("sqltrack-missing"), rank: head.slice(head.indexOf(">"))};
  };
  const compare = (sign) => (one, other) => {
    if (one.missing || other.missing) {
      return one.missing - other.missing;
    }
    return one.rank < other.rank ? -sign : one.rank > other.rank ? sign : 0;
  };
  const register = ({jQuery}) => {
    const DataTable = jQuery.fn.dataTable;
    const add = (name, begin, className) =>
      DataTable.type(name, {
        className,
        detect: (cell) => (typeof cell === "string" && cell.startsWith(begin) ? name : null),
        order: {pre: key, asc: compare(1), desc: compare(-1)},
        search: DataTable.ext.type.search.html,
      });
    add("sqltrack-text", any, "sqltrack-left");
    // Tried before the type above.
    add("sqltrack-number", numbers, "dt-type-numeric");
  };

  const start = () => window._itables_UNDERSCORES.then(register);
  if (window._itables_UNDERSCORES) {
    start();
  } else {
    window.addEventListener("itables-VERSION-ready", start, {once: true});
  }
})();
