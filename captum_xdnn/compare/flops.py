"""Counting the floating-point operations of a call, backward passes included."""

from collections.abc import Callable
from typing import Any

from torch.utils.flop_counter import flop_registry

from captum_xdnn._torch import TorchDispatchMode

__all__ = ["count_flops"]


def count_flops(call: Callable[[], object]) -> int:
    """Add up the operations of the convolutions and matrix products that a call runs.

    ``FlopCounterMode`` of torch counts by the same formulas, but also follows modules by hooks in
    the autograd graph, and those refuse the way in which Captum asks for gradients.

    Returns:
        Number of floating-point operations.
    """
    with _FlopCounter() as counter:
        call()
    total: int = counter.flops
    return total


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result
