"""Mask credentials in the names and values of environments and arguments, according to a configuration."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqltrack._masking import MASK, masked, masked_text
from sqltrack._secret_names import holds_secrets, is_secret_name
from sqltrack._settings import text_setting, truth_setting

__all__ = ["masked_items"]


def masked_items(config: Mapping[str, Any], column: str, items: Mapping[str, Any]) -> dict[str, Any]:
    """Return names and values with all credentials masked, whether they are whole texts or parts.

    Numbers, truth values and None are never credentials.

    Args:
        config: `mask`, whether to mask anything, default true; `mask_names`, further names to mask, separated by
            commas, where * stands for any text, and ! at the beginning means never to mask. For the environment also
            `mask_env` and `mask_env_names`, which mean the same and take precedence.
        column: "env" for environment variables; for any other text, only `mask` and `mask_names` apply.
        items: names and values, of types that JSON knows.

    Raises:
        ConfigError: `mask` or `mask_env` is neither true nor false, or `mask_names` or `mask_env_names` is not text.
    """
    switches = ("mask_env", "mask") if column == "env" else ("mask",)
    if not next((truth_setting(config, name) for name in switches if config.get(name) is not None), True):
        return dict(items)
    settings = ("mask_names", "mask_env_names") if column == "env" else ("mask_names",)
    names = ",".join(text_setting(config, setting) for setting in settings)
    masker = _masker(names)
    return _renamed((name, masker.mask(name, value)) for name, value in items.items())


def _renamed(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return items whose names contain no credentials; a name that exists already gets a number."""
    renamed: dict[str, Any] = {}
    for name, value in items:
        new, number = masked_text(name), 1
        while new in renamed:
            number += 1
            new = f"{masked_text(name)} ({number})"
        renamed[new] = value
    return renamed


class _Masker:
    """Masks by the names of SQLTrack, and by those that a user has added or excluded."""

    def __init__(self, secret: re.Pattern[str], harmless: re.Pattern[str]) -> None:
        self._secret = secret
        self._harmless = harmless

    def mask(self, name: str, value: Any, is_secret: bool = False) -> Any:
        """Return a value, masked if its name or an outer name makes it a credential."""
        if isinstance(value, str):
            return self._mask_text(name, value, is_secret)
        if self._harmless.fullmatch(name):
            return value
        if isinstance(value, Mapping):
            is_secret = is_secret or holds_secrets(name) or bool(self._secret.fullmatch(name))
            return _renamed((key, self.mask(key, item, is_secret)) for key, item in value.items())
        if isinstance(value, list):
            hidden = _positions_of_credentials(value)
            return [self.mask(name, item, is_secret or index in hidden) for index, item in enumerate(value)]
        return value

    def _mask_text(self, name: str, value: str, is_secret: bool) -> str:
        if self._harmless.fullmatch(name):
            return value
        if is_secret or self._secret.fullmatch(name):
            return value and MASK
        return masked(name, value)


@functools.lru_cache(maxsize=16)
def _masker(names: str) -> _Masker:
    given = [name.strip() for name in names.split(",") if name.strip()]
    return _Masker(
        _name_pattern(name for name in given if not name.startswith("!")),
        _name_pattern(name[1:].strip() for name in given if name.startswith("!")),
    )


def _name_pattern(names: Iterable[str]) -> re.Pattern[str]:
    patterns = [re.escape(name).replace(r"\*", ".*") for name in names]
    return re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)


def _positions_of_credentials(arguments: Sequence[Any]) -> set[int]:
    """Return the positions of items of a command line that follow an option such as --password."""
    return {
        index
        for index, (option, value) in enumerate(itertools.pairwise(arguments), start=1)
        if isinstance(option, str) and _is_secret_option(option) and isinstance(value, str) and value[:1] != "-"
    }


def _is_secret_option(text: str) -> bool:
    # A single letter can mean anything: -p is a port as often as a password.
    return re.fullmatch(r"--?[A-Za-z][\w.-]+", text) is not None and is_secret_name(text)
