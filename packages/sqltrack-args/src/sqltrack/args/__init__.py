"""Parse a script's arguments by its help text, and convert them to types, without running the script."""

from sqltrack.args._conversions import (
    Conversion,
    ParsedOptions,
    convert_argument,
    convert_arguments,
    make_conversion,
    register_conversion,
)
from sqltrack.args._decorators import docopt_arguments, docopt_main
from sqltrack.args._detection import detect_args
from sqltrack.args._docstrings import UsageError, docopt_parse_docstrings

__all__ = [
    "Conversion",
    "ParsedOptions",
    "UsageError",
    "convert_argument",
    "convert_arguments",
    "detect_args",
    "docopt_arguments",
    "docopt_main",
    "docopt_parse_docstrings",
    "make_conversion",
    "register_conversion",
]
