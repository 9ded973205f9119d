"""Find an existing name that a new metric's name may be a misspelling of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["similar_name"]

# Letters that a word must have for one more or less to be a typo, and for another one: mse and mae are both right.
_SHORTEST = 3
_SHORTEST_REPLACED = 5

# Terms of the field that look like typos of each other.
_TERMS = frozenset(
    {
        *("mae", "mape", "smape", "mase", "mse", "msle", "rmse", "rmsle", "nmse", "nrmse"),
        *("wer", "wder", "cer", "der", "ter", "per", "micro", "macro", "map", "mar"),
        *("auc", "acc", "bacc", "bce", "nll", "ece", "mce", "psnr", "ssim", "msssim"),
        *("fid", "kid", "iou", "miou", "giou", "dice", "ndcg", "mrr", "bleu", "chrf"),
        *("loss", "losses"),
    }
)


def similar_name(name: str, known: Iterable[str]) -> str | None:
    """Return a known name of which a new one may be a misspelling, or None.

    A misspelling has one letter too many, too few, or another one, or two swapped letters, in one word of the name; or
    other separators or capitals. Names with different numbers belong to a family, and do not count.

    Args:
        name: the new name.
        known: names in use.
    """
    numbers, length = _numbers(name), len(name)
    alike = (other for other in known if -1 <= len(other) - length <= 1 and _numbers(other) == numbers)
    return next((other for other in alike if _is_slip(name, other)), None)


def _is_slip(name: str, other: str) -> bool:
    first, second = _words(name), _words(other)
    letters = "".join(first).casefold()
    if len(letters) >= _SHORTEST and letters == "".join(second).casefold():
        return True
    if len(first) != len(second):
        return False
    different = [(a, b) for a, b in zip(first, second) if a != b]
    return len(different) == 1 and _is_misspelled(*different[0])


# Cached, because each new name is compared with all columns, up to 2,000 in a table.
@lru_cache(maxsize=4096)
def _numbers(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", name))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name)


def _is_misspelled(first: str, second: str) -> bool:
    """Return whether two words differ by one typo that is not in their first letter."""
    if first[0] != second[0] or min(len(first), len(second)) < _SHORTEST or _TERMS.issuperset((first, second)):
        return False
    shorter, longer = sorted((first, second), key=len)
    begin = next((index for index, (a, b) in enumerate(zip(shorter, longer)) if a != b), len(shorter))
    if len(shorter) != len(longer):
        return shorter[begin:] == longer[begin + 1 :]
    if shorter[begin + 2 :] == longer[begin + 2 :] and shorter[begin : begin + 2] == longer[begin : begin + 2][::-1]:
        return True
    return len(shorter) >= _SHORTEST_REPLACED and shorter[begin + 1 :] == longer[begin + 1 :]
