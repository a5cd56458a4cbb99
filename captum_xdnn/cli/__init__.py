"""The command line, ``python -m captum_xdnn``: the demo, ``certify``, ``compare``, ``attribute``."""

from captum_xdnn.cli.main import main

__all__ = ["main"]
