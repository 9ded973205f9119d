"""Values of arguments get the type that their names and texts suggest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqltrack import args
from sqltrack.args import convert_argument, make_conversion, register_conversion


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "90", 90),
        ("lr", "0.1", 0.1),
        ("z", "1+2j", 1 + 2j),
        ("betas", "[0.9, 0.999]", [0.9, 0.999]),
        ("model", "resnet18", "resnet18"),
        ("shapes", "[1, 2", "[1, 2"),
        ("versionstr", "3.0", "3.0"),
        ("datapath", "/data", Path("/data")),
        ("sizefloat", "3", 3.0),
        ("sizeint", "3", 3),
        ("sizeint", "three", "three"),
        ("optionsjson", "null", None),
    ],
)
def test_conversions_by_name_come_before_trials(name: str, value: str, expected: Any) -> None:
    converted = convert_argument(name, value)
    assert converted == expected
    assert type(converted) is type(expected)


def test_conversions_can_be_added_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(args, "_conversions", dict(args._conversions))
    register_conversion("list", make_conversion("*list", lambda value: value.split(",")))
    assert convert_argument("layerlist", "1,2") == ["1", "2"]
    order = list(args._conversions)
    register_conversion("int", make_conversion("*int", float))
    assert convert_argument("nint", "1") == 1.0
    assert list(args._conversions) == order
