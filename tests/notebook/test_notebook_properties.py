"""For any data, formatted values contain only our own markup, and show the data's text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from sqltrack.notebook import (
    format_bool,
    format_dataframe,
    format_float,
    format_json,
    format_percentage,
    format_status,
    format_string,
    format_tags,
    to_html,
)

ATTRIBUTES = {
    "span": {"class", "hidden", "title", "role", "aria-label", "aria-hidden", "style"},
    "bdi": set(),
}
TABLE = {"table", "thead", "tbody", "tr", "th", "td"}
SPITEFUL = ["<script>", "</script>", '"><img src=x onerror=alert(1)>', "'", '"', "&lt;", "&", "<!--", "-->", "--", "a"]

# Characters that HTML can contain: no controls, surrogates or unassigned characters.
texts = st.one_of(
    st.text(st.characters(blacklist_categories=("Cc", "Cs", "Cn"))),
    st.lists(st.sampled_from(SPITEFUL)).map("".join),
)
any_text = st.one_of(texts, st.text())
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(any_text, inner, max_size=3)),
    max_leaves=8,
)


class Reader(HTMLParser):
    """Collects the visible text, and complains about foreign markup."""

    def __init__(self, markup: str, more: frozenset[str] | set[str] = frozenset()) -> None:
        super().__init__(convert_charrefs=True)
        self.more, self.text, self.hidden, self.titles, self.open = more, "", "", [], list[tuple[str, bool]]()
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag not in self.more:
            assert tag in ATTRIBUTES, tag
            assert set(names) <= ATTRIBUTES[tag], names
            assert len(names) == len(attrs)
        self.titles += [value for name, value in attrs if name in ("title", "aria-label")]
        self.open.append((tag, "hidden" in names))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if any(hidden for _, hidden in self.open):
            self.hidden += data
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = unknown_decl = handle_pi = handle_comment


@given(texts)
def test_text_is_shown_as_it_is(text: str) -> None:
    for ellipsis in ("left", "right", False):
        read = Reader(format_string(text, ellipsis))
        assert read.text == text
        assert set(read.titles) <= {text}


@given(texts)
def test_statuses_are_shown_as_they_are(text: str) -> None:
    assert Reader(format_status(text)).text == f"• {text}"


@given(st.dictionaries(texts, st.one_of(st.just(True), texts), max_size=4))
def test_tags_are_shown_as_they_are(tags: dict[str, Any]) -> None:
    expected = [name if value in (True, "") else f"{name}={value}" for name, value in tags.items()]
    assert Reader(format_tags(tags)).text == " ".join(expected)


@given(any_text)
def test_replacements_are_shown_as_they_are(text: str) -> None:
    for function in (format_bool, format_float, format_json, format_percentage, format_string):
        Reader(function(None, na_rep=text))


@given(json_values)
def test_any_value_makes_only_our_own_markup(value: Any) -> None:
    Reader(format_json(value))
    Reader(format_tags(value))
    Reader(format_status(value))
    for name in ("x", "status", "tags", " "):
        frame = pd.DataFrame({name: pd.Series([value, None], dtype=object)})
        for cell in format_dataframe(frame).iloc[:, 0]:
            Reader(cell)


@given(st.lists(texts, min_size=1, max_size=3), st.lists(texts, min_size=1, max_size=3), texts)
def test_a_table_shows_labels_and_cells_as_they_are(columns: list[str], rows: list[str], cell: str) -> None:
    frame = pd.DataFrame([[cell] * len(columns)] * len(rows), columns=columns, index=rows)
    frame.index.name = cell
    read = Reader(to_html(format_dataframe(frame, dict.fromkeys(columns, format_string))), TABLE)
    for text in (*columns, *rows, cell):
        # pandas puts only line breaks and blanks around cells.
        assert text.strip() in read.text


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(), st.booleans(), texts), max_size=20))
def test_keys_sort_like_values_as_text_and_are_of_one_length(values: list[Any]) -> None:
    """Numbers, then texts, then missing values; equal values have equal keys."""
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    keys = [cell.partition("</span>")[0].partition(">")[2] for cell in format_dataframe(frame)["x"]]
    order = [
        (2,)
        if value is None or value != value
        else (1, value.casefold(), value)
        if isinstance(value, str)
        else (0, value)
        for value in values
    ]
    assert len({len(key) for key in keys}) <= 1
    for first in range(len(values)):
        for second in range(len(values)):
            assert (keys[first] < keys[second]) == (order[first] < order[second])
