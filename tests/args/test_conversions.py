"""Values of arguments get the types that their names and texts suggest."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import docopt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqltrack.args import (
    ParsedOptions,
    _conversions,
    convert_argument,
    convert_arguments,
    make_conversion,
    register_conversion,
)

SAME = object()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        # The attempted types: int, float, complex, JSON, each as Python reads it.
        ("n", "90", 90),
        ("n", "-90", -90),
        ("n", "+5", 5),
        ("n", " 5 ", 5),
        ("n", "007", 7),
        ("n", "1_000", 1000),
        ("n", "1__0", SAME),
        ("n", "0x10", SAME),
        ("n", "0b1", SAME),
        ("n", "٤٢", 42),
        ("n", "²", SAME),
        ("n", "9" * 30, int("9" * 30)),
        ("n", "0.1", 0.1),
        ("n", ".5", 0.5),
        ("n", "1.", 1.0),
        ("n", "1e5", 1e5),
        ("n", "1e-400", 0.0),
        ("n", "inf", math.inf),
        ("n", "-Infinity", -math.inf),
        ("n", "nan", math.nan),
        ("n", "NaN", math.nan),
        ("n", "1+2j", 1 + 2j),
        ("n", "(1-0.5j)", 1 - 0.5j),
        ("n", "2j", 2j),
        ("n", "infj", SAME),
        ("n", "true", True),
        ("n", "false", False),
        ("n", "null", None),
        ("n", "[0.9, 0.999]", [0.9, 0.999]),
        ("n", '{"a": [1, null]}', {"a": [1, None]}),
        ("n", '"5"', "5"),
        # Python's own constants are not JSON.
        ("n", "True", SAME),
        ("n", "False", SAME),
        ("n", "None", SAME),
        ("n", "[1, 2", SAME),
        ("n", "[1, 2],", SAME),
        ("n", "{'a': 1}", SAME),
        ("n", "[" * 100_000, SAME),
        ("n", "", SAME),
        ("n", " ", SAME),
        ("n", "resnet18", SAME),
        ("n", "3.0.1", SAME),
        ("n", "2024-05-07", SAME),
        ("n", "1:30", SAME),
        ("n", "-", SAME),
        # A commit hash may look like a number that is too large for a float, a letter like a complex number.
        ("n", "1234e567", SAME),
        ("n", "-1234e567", SAME),
        ("n", "1234e567+1j", SAME),
        ("n", "[1234e567]", SAME),
        ("n", "9" * 5000, SAME),
        ("n", "j", SAME),
        ("n", "-J", SAME),
        # Names are checked before these types, and only the end of a name counts.
        ("zipstr", "01234", SAME),
        ("commit_str", "1e5", SAME),
        ("versionstr", "3.0", SAME),
        ("str", "null", SAME),
        ("strength", "3.0", 3.0),
        ("datapath", "/data/7", Path("/data/7")),
        ("path", "7", Path("7")),
        ("pathology", "7", 7),
        ("sizefloat", "3", 3.0),
        ("sizefloat", "1234e567", math.inf),
        ("zcomplex", "3", 3 + 0j),
        ("sizeint", "3", 3),
        ("optionsjson", "null", None),
        ("optionsjson", "3", 3),
        ("optionsjson", "NaN", math.nan),
        # Values that do not fit their name are tried with all types.
        ("sizeint", "three", SAME),
        ("sizeint", "3.5", 3.5),
        ("checkpoint", "model.pt", SAME),
        ("sizefloat", "[1]", [1]),
        ("optionsjson", "{", SAME),
    ],
)
def test_each_rule_has_its_type(name: str, value: str, expected: Any) -> None:
    converted = convert_argument(name, value)
    expected = value if expected is SAME else expected
    assert type(converted) is type(expected)
    assert converted == expected or (converted != converted and expected != expected)


@given(st.text(), st.text())
def test_any_text_has_a_value(name: str, value: str) -> None:
    convert_argument(name, value)


@given(st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False, allow_infinity=False))
def test_numbers_survive(number: Any) -> None:
    converted = convert_argument("n", str(number))
    assert converted == number
    assert type(converted) is type(number)


@pytest.fixture
def _own_conversions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_conversions, "_conversions", dict(_conversions._conversions))


@pytest.mark.usefixtures("_own_conversions")
def test_conversions_can_be_added_and_replaced_in_their_places() -> None:
    register_conversion("list", make_conversion("*list", lambda value: value.split(",")))
    assert convert_argument("layerlist", "1,2") == ["1", "2"]
    order = list(_conversions._conversions)
    register_conversion("int", make_conversion("*int", float))
    assert convert_argument("nint", "1") == 1.0
    assert list(_conversions._conversions) == order


@pytest.mark.usefixtures("_own_conversions")
def test_a_conversion_that_refuses_leaves_the_value_to_the_next() -> None:
    register_conversion("activation", make_conversion("*activation", {"relu": max}.__getitem__))
    assert convert_argument("activation", "relu") is max
    assert convert_argument("activation", "gelu") == "gelu"
    register_conversion("ratio", make_conversion("*ratio", lambda value: 1 / int(value)))
    assert convert_argument("ratio", "4") == 0.25
    assert convert_argument("ratio", "0") == 0


def test_lists_are_converted_item_by_item_and_the_rest_stays() -> None:
    raw = {"--lr": ["0.1", "x"], "--datapath": ["a", "b"], "-v": 2, "--amp": True, "--none": None}
    assert convert_arguments(raw) == {
        "lr": [0.1, "x"],
        "datapath": [Path("a"), Path("b")],
        "v": 2,
        "amp": True,
        "none": None,
    }


@pytest.mark.parametrize(
    ("name", "simple"),
    [
        ("--batch-size", "batch_size"),
        ("-b", "b"),
        ("<input-file>", "input_file"),
        ("FILE", "FILE"),
        ("train", "train"),
        ("-", "-"),
        ("--", "--"),
        ("--no-amp", "no_amp"),
    ],
)
def test_names_are_simplified(name: str, simple: str) -> None:
    assert list(convert_arguments({name: None})) == [simple]
    assert list(convert_arguments({name: None}, simplify_names=False)) == [name]


def test_names_that_would_become_the_same_stay_as_they_are() -> None:
    raw = {"train": True, "--train": "3", "--a-b": "1", "--lr": "2"}
    assert convert_arguments(raw) == {"train": True, "--train": 3, "a_b": 1, "lr": 2}


def test_rules_by_name_hold_for_names_that_are_not_simplified() -> None:
    assert convert_arguments({"<zip-str>": "01234", "--data-path": "x"}, simplify_names=False) == {
        "<zip-str>": "01234",
        "--data-path": Path("x"),
    }


def test_options_are_attributes_of_a_dict() -> None:
    options = ParsedOptions(epochs=90, items=1)
    assert isinstance(options, docopt.ParsedOptions)
    assert options.epochs == 90
    options.epochs = 3
    options.amp = True
    assert options == {"epochs": 3, "items": 1, "amp": True}
    del options.amp
    assert "amp" not in options
    assert {"epochs", "keys"} <= set(dir(options))
    assert callable(options.items)
    assert not hasattr(options, "epoch")
    with pytest.raises(AttributeError, match="no argument 'epoch', expected one of 'epochs', 'items'"):
        options.epoch  # noqa: B018
    with pytest.raises(AttributeError, match="method of dicts"):
        options.items = 2
    with pytest.raises(AttributeError, match="no argument 'amp'"):
        del options.amp


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])  # noqa: S301
def test_options_can_be_copied(duplicate: Any) -> None:
    options = ParsedOptions(epochs=90, lr=[0.1])
    assert duplicate(options) == options
    assert type(duplicate(options)) is ParsedOptions
