"""What a rule sees in place of a tensor: its motion, its shape, and what is known of its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from captum_xdnn.proof.domain import FIXED, Motion

if TYPE_CHECKING:
    from captum_xdnn.proof.baseline_values import BaselineValues
    from captum_xdnn.recording.node import Node


class Operand:
    """A tensor of a run, as the rules see it.

    Attributes:
        motion: Its motion.
        node: Its node in the graph of the run.

    Example:
        >>> import torch
        >>> from captum_xdnn.homogeneity import Operand, Power, Unknown
        >>> def rule(x: Operand):  # see captum_xdnn.register_rule
        ...     return Power(2) if x.motion == Power(1) else Unknown("it is not homogeneous")
    """

    __slots__ = ("_baseline_values", "motion", "node")

    def __init__(self, motion: Motion, node: Node, baseline_values: BaselineValues) -> None:
        self.motion = motion
        self.node = node
        self._baseline_values = baseline_values

    @property
    def fake(self) -> Any:
        """The form of the tensor: ``shape``, ``dtype``, ``device``, ``numel()``; no values."""
        return self.node.value

    @property
    def bounded(self) -> bool:
        """Whether the tensor was seen to have no infinite entry in the run."""
        return self.node.bounded

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self.fake.dim())

    def is_zero(self) -> bool:
        """Whether the value at the baseline is known and exactly zero."""
        return self.vanishes(itself)

    def vanishes(self, function: Callable[..., Tensor], *others: Operand) -> bool:
        """Whether ``function`` of the values at the baseline is known and exactly zero.

        The question is asked again in each call that the verdict is used in.

        Args:
            function: Takes the values of this operand and of ``others``, in order.
            others: Further operands whose values the function takes.
        """
        return self._baseline_values.vanishes(function, [o.node for o in (self, *others)])


@dataclass(frozen=True)
class Bound:
    """A function with its first arguments: equal to another one of the same, as a ``partial`` is not."""

    function: Callable[..., Any]
    given: tuple[Any, ...]

    def __call__(self, *rest: Any) -> Any:
        """Call it with the others."""
        return self.function(*self.given, *rest)


def itself(value: Tensor) -> Tensor:
    """The value."""
    return value


def motion_of(argument: Any) -> Motion:
    """The motion of an argument; literals and absent tensors are fixed."""
    if isinstance(argument, Operand):
        return argument.motion
    return argument if isinstance(argument, Motion) else FIXED


def is_zero(argument: Any) -> bool:
    """Whether an argument of a sum is known to be zero and so changes nothing."""
    if argument is None:
        return True
    if isinstance(argument, Operand):
        return argument.motion == FIXED and argument.is_zero()
    return not isinstance(argument, Motion) and argument == 0
