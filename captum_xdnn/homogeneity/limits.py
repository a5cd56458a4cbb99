"""Values at the baseline: the limit of a tensor as the ray shrinks to its start.

Only what does not depend on the input has one: ``Fixed`` and ``Affine`` tensors have a
concrete value, ``Power(k)`` with ``k > 0`` is zero there, and ``Power(k <= 0)`` has none (a
mask at the baseline is not the mask on the ray). Values are computed when a rule asks, and
every answer records what it was read from: a certificate that leaned on a zero bias is void
once that bias moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from captum_xdnn.homogeneity.motion import Motion, Power, Unknown
from captum_xdnn.homogeneity.nodes import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = "batch size"
ARGUMENT = "argument "
"""Prefix of the sources whose values belong to one call and may not support a claim."""


OF_A_KIND = ("aten.new_zeros.default", "aten.new_ones.default", "aten.new_full.default")
"""They take the dtype and the device of their first argument, and neither its values nor its shape."""
SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


class Unavailable(Exception):  # noqa: N818 - control flow inside this room, never shown
    """A value at the baseline does not exist or is not known."""


class Limits:
    """Computes values at the baseline, and remembers what the answers depended on.

    Args:
        values: For each placeholder that has one, its value at the baseline.
        sources: For each placeholder, the name of where its value comes from; absent for a
            literal zero, which nothing can change.
        sizes: The number that stands for each symbol of a shape.

    Attributes:
        relied: Sources of the values that were found to be zero: a positive verdict needs them.
        seen: Sources of the values that were found not to be zero.
    """

    def __init__(
        self,
        values: Mapping[Node, Any],
        sources: Mapping[Node, str],
        sizes: Mapping[Any, int],
    ) -> None:
        self._values: dict[Node, Any] = dict(values)
        self._sources: dict[Node, frozenset[str]] = {
            node: frozenset((sources[node],) if node in sources else ()) for node in values
        }
        self._sizes = dict(sizes)
        self._motions: dict[Node, Motion] = {}
        self.relied: set[str] = set()
        self.seen: set[str] = set()

    def track(self, node: Node, motion: Motion) -> None:
        """Let the motion of a node be known, so that values behind it can be computed."""
        self._motions[node] = motion

    def vanishes(self, function: Callable[..., Tensor], nodes: Sequence[Node]) -> bool:
        """Whether ``function`` of the nodes' values is exactly zero; see ``Operand.vanishes``."""
        try:
            values = [self.value(node) for node in nodes]
        except Unavailable:
            return False
        sources = frozenset().union(*(self._sources[node] for node in nodes))
        if any(source.startswith(ARGUMENT) for source in sources):
            return False
        with _plain_arithmetic():
            result = torch.as_tensor(function(*values))
            zero = not bool(result.any())
        (self.relied if zero else self.seen).update(sources)
        return zero

    def value(self, node: Node) -> Any:
        """The concrete value of a node at the baseline.

        Raises:
            Unavailable: If it has none.
        """
        stack = [node]
        while stack:
            current = stack[-1]
            if current in self._values:
                stack.pop()
                continue
            waiting = [n for n in self._needs(current) if n not in self._values]
            if waiting:
                stack.extend(waiting)
                continue
            self._values[current] = self._compute(current)
            stack.pop()
        return self._values[node]

    def _needs(self, node: Node) -> list[Node]:
        """The nodes whose values the value of this node is computed from."""
        value = node.meta.get("val")
        if isinstance(value, SYMBOLIC) or isinstance(self._motions.get(node), Power):
            return []
        kind = _kind_of(node)
        return [n for n in node.all_input_nodes if n is not kind]

    def _compute(self, node: Node) -> Any:
        value, motion = node.meta.get("val"), self._motions.get(node)
        if isinstance(value, SYMBOLIC):
            self._sources[node] = frozenset((BATCH,))
            return self._number(value)
        if isinstance(motion, Power) and isinstance(value, Tensor):
            if motion.degree <= 0:
                raise Unavailable(node.name)
            self._sources[node] = frozenset()
            shape = [self._number(size) for size in value.shape]
            return torch.zeros(shape, dtype=value.dtype, device=value.device)
        if isinstance(motion, Unknown) or node.op != "call_function" or _reads_memory(node):
            raise Unavailable(node.name)
        known, kind = self._values, _kind_of(node)
        if kind is not None:  # the tensor itself may have a size that nobody knows
            of = kind.meta["val"]
            known = {**known, kind: torch.empty(0, dtype=of.dtype, device=of.device)}
        args = map_arg(node.args, known.__getitem__)
        kwargs = map_arg(node.kwargs, known.__getitem__)
        sources = (self._sources[n] for n in self._needs(node))
        self._sources[node] = frozenset().union(*sources)
        with torch.no_grad(), _plain_arithmetic():
            try:
                return node.target(*args, **kwargs)  # type: ignore[operator]
            except (RuntimeError, NotImplementedError, ValueError, IndexError) as error:
                raise Unavailable(node.name) from error

    def _number(self, value: Any) -> Any:
        """The number that a symbolic size stands for at this batch size."""
        number = number_of(value, self._sizes)
        if number is None:
            raise Unavailable(str(value))
        return number


def _kind_of(node: Node) -> Node | None:
    """The argument that a new tensor is of the kind of, unless it is needed otherwise as well."""
    if str(node.target) not in OF_A_KIND or not isinstance(node.args[0], Node):
        return None
    kind = node.args[0]
    again = [n for n in pytree.tree_leaves((node.args[1:], node.kwargs)) if n is kind]
    return None if again else kind


def _reads_memory(node: Node) -> bool:
    """Whether a result depends on the layout of the arguments, which values here do not keep."""
    return str(node.target).startswith("aten.as_strided")


@contextmanager
def _plain_arithmetic() -> Iterator[None]:
    """No autocast: the graph holds the casts that autocast made, explicitly."""
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
