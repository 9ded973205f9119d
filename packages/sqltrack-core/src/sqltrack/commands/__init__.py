"""Commands as functions: `setup` is part of core, sqltrack-cli adds the others and the program."""

__path__ = __import__("pkgutil").extend_path(__path__, __name__)

from sqltrack.commands.setup import setup

# The function hides the module of the same name; make both ways to reach it work.
setup.setup = setup  # type: ignore[attr-defined]

__all__ = ["main", "setup"]


def main() -> int:
    """Run the command line program, and return its exit status.

    Raises:
        MissingPackageError: sqltrack-cli is not installed.
    """
    from sqltrack.cli import main as cli_main

    return cli_main()
