"""From the command line to the command."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from captum_xdnn._version import __version__
from captum_xdnn.cli import attribute, certify, compare, demo, export
from captum_xdnn.cli.console import OneLineParser, UsageError

_COMMANDS = {
    "demo": demo,
    "certify": certify,
    "compare": compare,
    "attribute": attribute,
    "export": export,
}
_GLOBAL_OPTIONS = ("-h", "--help", "--version")
_SCRIPT = "captum-xdnn"
BROKEN_PIPE = 128 + 13
"""The exit code of a program that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names, the demo if it names none; give its exit code.

    A command line that is wrong exits with code 2, and one line on stderr. Where whoever reads the output
    has seen enough (``| head``), it ends as other programs do then.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain at its end that it cannot write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in _GLOBAL_OPTIONS):
        given = ["demo", *given]

    parser = OneLineParser(
        # The name it was called by, which the examples of the help show as well.
        prog=_SCRIPT if Path(sys.argv[0]).stem == _SCRIPT else "python -m captum_xdnn",
        usage="%(prog)s [-h] [--version] [COMMAND] ...",
        description=(
            "Exact Integrated Gradients in one forward and one backward pass. "
            "Without a command, the demo runs."
        ),
    )
    parser.add_argument("--version", action="version", version=f"captum-xdnn {__version__}")
    commands = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(added)
        added.set_defaults(run=command.run)

    options = parser.parse_args(given)
    if options.run is not attribute.run:  # the others say themselves which route is taken
        logging.getLogger("captum_xdnn").setLevel("ERROR")
    try:
        exit_code: int = options.run(options)
    except UsageError as error:
        parser.error(str(error))
    return exit_code
