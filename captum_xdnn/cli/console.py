"""How the commands speak: results on stdout; one line on stderr for a wrong command line."""

import argparse
from typing import NoReturn

__all__ = ["OneLineParser", "UsageError", "say"]


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message tells the user what."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def say(text: str = "") -> None:
    """Print at once, so that a slow step does not hold back what was found before it."""
    print(text, flush=True)
