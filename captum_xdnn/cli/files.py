"""Folders that commands write to."""

import os
from pathlib import Path

from captum_xdnn.cli.console import UsageError

__all__ = ["writable"]


def writable(folder: Path) -> Path:
    """Make a folder, before the work rather than after it.

    Returns:
        The folder.

    Raises:
        UsageError: If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write to the folder {folder}")
    return folder
