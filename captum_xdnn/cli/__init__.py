"""The command line, ``python -m captum_xdnn`` or ``captum-xdnn``: the demo, ``certify`` and the others."""

from captum_xdnn.cli.main import main

__all__ = ["main"]
