"""Format counts, sizes and durations for people, short enough for tables."""

from __future__ import annotations

__all__ = ["coarse_duration", "pluralize", "short_bytes", "short_duration"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_FRACTIONS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as "1 row" or "1,000 rows".

    Args:
        number: the number.
        noun: one or more words, in the singular.
        plural: the plural, default: the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def short_bytes(size: float) -> str:
    """Return a number of bytes in a suitable unit, such as "4.1 kB"; a kilobyte has 1000 bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:  # larger sizes would round to 1000 with three digits
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB" if size < 1000 else f"{size:,.0f} TB"


def short_duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as "2 h 13 min" or "1.5 s"."""
    if seconds < 0:
        return f"-{short_duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 59.95:
        size, unit = next((pair for pair in _FRACTIONS if seconds >= pair[0] * 0.9995), _FRACTIONS[-1])
        return f"{format(seconds / size, '.3g')} {unit}"
    # Rounded to the smaller unit first: 59 min 59.9 s are an hour.
    smallest = 1 if seconds < 3599.5 else 60 if seconds < 86370 else 3600
    rest = round(seconds / smallest) * smallest
    index = next(index for index, (size, _) in enumerate(_UNITS) if rest >= size)
    (large, large_unit), (small, small_unit) = _UNITS[index], _UNITS[index + 1]
    count = rest % large // small
    return f"{rest // large} {large_unit}" + (f" {count} {small_unit}" if count else "")


def coarse_duration(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down, such as "2 h" or "0 s"."""
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), _UNITS[-1])
    return f"{int(seconds // size)} {unit}"
