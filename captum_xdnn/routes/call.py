"""One call of ``attribute``, formatted as Captum formats it, and whether it is of a plain form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Call:
    """The arguments that decide the value of an attribution.

    Attributes:
        inputs: The inputs, each of shape ``(B, ...)``.
        baselines: For each input a number or a tensor.
        target: As in Captum.
        arguments: The additional forward arguments, as a tuple.
    """

    inputs: tuple[Tensor, ...]
    baselines: tuple[Any, ...]
    target: Any
    arguments: tuple[Any, ...]

    @property
    def size(self) -> int:
        """The batch size."""
        return self.inputs[0].shape[0]

    def is_plain(self, bound: int | None = None) -> bool:
        """Whether this is a call that a fast route serves; every other one is left to Captum.

        That includes wrong calls: Captum's own code then raises Captum's own error.
        """
        size = 0
        for tensor, baseline in zip(self.inputs, self.baselines, strict=True):
            length = tensor.shape[0] if tensor.dim() else 0
            if not length or length != (size or length):
                return False
            size = length
            if isinstance(baseline, Tensor) and not _alike(tensor, baseline):
                return False
        target = self.target
        if isinstance(target, Tensor) and (target.is_floating_point() or target.is_complex()):
            return False
        return size > 0 and (bound is None or bound >= size or self._is_divisible())

    def _is_divisible(self) -> bool:
        """Whether there is one target for all examples, or one for each."""
        if isinstance(self.target, Tensor):
            return self.target.numel() == 1 or self.target.shape == (self.size,)
        return not isinstance(self.target, list) or len(self.target) == self.size

    def starts_require_grad(self) -> bool:
        """Whether a baseline requires a gradient."""
        return any(isinstance(b, Tensor) and b.requires_grad for b in self.baselines)

    def chunks(self, most: int) -> Iterator[Call]:
        """The same call in consecutive parts of at most ``most`` examples, of like size."""
        size = self.size
        if size <= most:
            yield self
            return
        count = -(-size // most)
        bounds = [size * i // count for i in range(count + 1)]
        for start, stop in pairwise(bounds):

            def part(value: Any, start: int = start, stop: int = stop) -> Any:
                batched = isinstance(value, Tensor) and value.dim() and len(value) == size
                return value[start:stop] if batched else value

            target = self.target
            if isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1):
                target = target[start:stop]
            yield replace(
                self,
                inputs=tuple(map(part, self.inputs)),
                baselines=tuple(map(part, self.baselines)),
                target=target,
                arguments=tuple(map(part, self.arguments)),
            )

    def differences(self) -> tuple[Tensor, ...]:
        """``x - b`` for each input, with the caller's autograd graph."""
        return tuple(
            x if type(b) is int and b == 0 else x - b
            for x, b in zip(self.inputs, self.baselines, strict=True)
        )

    def leaves(self, *, keep_graph: bool, copied: bool = False) -> tuple[Tensor, ...]:
        """Tensors to differentiate by, with the inputs' values; the caller's stay as they are.

        They share the inputs' memory (a copy would be a good part of a small network's memory);
        what the function writes into them is seen, and put back after the run. Of an input that
        requires a gradient they are no leaves, as with Captum: hooks tell them apart.

        Args:
            keep_graph: Whether those of inputs that require a gradient stay connected to them.
            copied: Whether they have memory of their own, for a function that is known to write.
        """
        found = []
        for x in self.inputs:
            if keep_graph and x.requires_grad:
                leaf = x
            else:
                leaf = (_detached(x).clone() if copied else _detached(x)).requires_grad_()
            found.append(leaf.view_as(leaf) if x.requires_grad else leaf)
        return tuple(found)


def _alike(tensor: Tensor, baseline: Tensor) -> bool:
    """Whether a baseline is of an input's kind and shape; its batch may be of another size."""
    return (
        baseline.dtype == tensor.dtype
        and baseline.device == tensor.device
        and baseline.dim() == tensor.dim()
        and baseline.shape[1:] == tensor.shape[1:]
    )


def _detached(tensor: Tensor) -> Tensor:
    """The tensor without its graph; a copy where it was made in inference mode."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()
