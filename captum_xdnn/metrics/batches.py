"""How many examples go through the network in one pass."""

from __future__ import annotations

from typing import Any


def pass_size(batch_size: Any, examples: int) -> int:
    """The size of one pass.

    Raises:
        ValueError: If it is not a positive integer.
    """
    if batch_size is None:
        return examples
    if not isinstance(batch_size, int) or batch_size < 1:
        message = f"batch_size must be a positive integer, found {batch_size!r}"
        raise ValueError(message)
    return batch_size
