"""The command line: ``python -m captum_xdnn [demo]`` and ``python -m captum_xdnn certify``."""

from captum_xdnn.cli.main import main

__all__ = ["main"]
