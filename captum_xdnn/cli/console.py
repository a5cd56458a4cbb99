"""How the commands speak: results on stdout; one line on stderr for a wrong command line."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from captum_xdnn.errors import first_line

T = TypeVar("T")
ONE_TENSOR = (
    "the model has to return one tensor; give a module that takes it out of what yours returns"
)
HINTS = {
    "Target not provided": "the model has several outputs, so choose one by --target",
    "object has no attribute 'shape'": ONE_TENSOR,
    "object has no attribute 'dim'": ONE_TENSOR,
    "argument #1 'indices'": "an embedding takes indices, whose attributions are those of its layer; "
    "`certify --dtype int64` names the class for it",
    "download=True": "nothing is downloaded here: put it there first",
}
"""What to do about an error of somebody else's, by words in it."""


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message tells the user what."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


say = partial(print, flush=True)
"""Print at once, so that a slow step does not hold back what was found before it."""


@contextmanager
def blaming(
    what: str, kinds: type[BaseException] | tuple[type[BaseException], ...] = Exception
) -> Iterator[None]:
    """Make a UsageError, ``what: the error's first line``, of what a user's code raises."""
    try:
        yield
    except kinds as error:
        said = first_line(error)
        hints = [hint for words, hint in HINTS.items() if words in said]
        raise UsageError(": ".join((what, said, *hints))) from error


def expecting(form: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Decorate the type of an option: where it raises a ValueError, the user is told the form."""

    def decorate(convert: Callable[[str], T]) -> Callable[[str], T]:
        def converted(text: str) -> T:
            try:
                return convert(text)
            except ValueError:
                raise argparse.ArgumentTypeError(f"expected {form}, got {text!r}") from None

        return converted

    return decorate


@contextmanager
def kept_if_done(folder: Path) -> Iterator[Path]:
    """Make a folder for what the block writes, and take it away again where that fails before."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield writable(folder)
    except BaseException:
        for path in new:
            with suppress(OSError):  # not made, or something has been written
                path.rmdir()
        raise


def writable(folder: Path) -> Path:
    """Make a folder, before the work rather than after it; a UsageError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write to the folder {folder}")
    return folder
