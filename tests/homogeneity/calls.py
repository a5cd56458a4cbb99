"""Count calls, and ask as an attribution asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum_xdnn.homogeneity import Certificate
from captum_xdnn.homogeneity.remembered import knowledge_of


def certify(
    function: Callable[..., Any],
    inputs: Any,
    baselines: Any = None,
    additional_forward_args: Any = (),
) -> Certificate:
    """What an attribution asks, which trusts the values that it has read."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    baselines = (0,) * len(inputs) if baselines is None else baselines
    baselines = baselines if isinstance(baselines, tuple) else (baselines,)
    more = additional_forward_args
    more = more if isinstance(more, tuple) else (more,)
    return knowledge_of(function).analyse(function, inputs, baselines, more).certificate


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
