"""sqltrack link: add or remove links between runs or experiments."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import run_edit
from sqltrack.cli._edit_options import add_edit_options
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.link import plan_link

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "link",
        example="sqltrack link 13 resumes 12\n"
        "         sqltrack link 13 resumes 12 --remove\n"
        "         sqltrack link ablation continues baseline --experiments",
    )
    parser.add_argument("from_", metavar="FROM", help="id of the run where the link starts")
    parser.add_argument("kind", metavar="KIND", help="meaning of the link; 'resumes' joins the curves of the runs")
    parser.add_argument("to", metavar="TO", help="id of the run where the link ends")
    parser.add_argument("--remove", action="store_true", help="remove the link")
    parser.add_argument("--experiments", action="store_true", help="link experiments; FROM and TO are names or ids")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    chosen = {"experiments": options.experiments, "remove": options.remove}
    edit = plan_link(client, options.from_, options.kind, options.to, **chosen)
    return run_edit(options, client, edit, "remove the link" if options.remove else "add the link")
