"""Count calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Counter:
    """How often something was called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.count = function, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.function(*args, **kwargs)

    def since(self) -> int:
        """Calls since this was last asked."""
        count, self.count = self.count, 0
        return count
