"""``AttributionProgram``: an attribution as a graph, to be called, checked, saved and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from captum_xdnn.attr import XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.errors import XDNNError
from captum_xdnn.export.metadata import Facts
from captum_xdnn.export.targets import Target
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.routes.request import Route

Backend = Callable[..., Sequence[Tensor]]
"""Takes the tensors of a call, gives all results."""
AGREES = 1e-3
"""Relative difference, as norms, of attributions that are the same but for rounding: networks stand on
their kinks, and a sum in another order falls to the other side of one."""
TAKES = "the program takes {}, found {} tensors"
NO_FUNCTION = "a program from a file knows no function: check(inputs, forward_func=...)"
CHECKED = "the program does not give what attribute() gives"


class Explanation(NamedTuple):
    r"""What a program gives: ``attributions`` is a tuple where there are several inputs.

    ``completeness_gap`` is :math:`\sum_i \mathrm{IG}_i - (F(x) - F(b))` of each row, shape ``(B,)``;
    from ``.onnx`` it is infinite where a weight in the file is not the one that was exported.

    Example:
        >>> import torch
        >>> from captum_xdnn.export import export_attribution
        >>> program = export_attribution(lambda x: 2 * x, torch.rand(3, 1))
        >>> program(torch.ones(1, 1))
        Explanation(outputs=tensor([[2.]]), attributions=tensor([[2.]]), completeness_gap=tensor([0.]))
    """

    outputs: Tensor
    attributions: Any
    completeness_gap: Tensor


@dataclass(frozen=True)
class Function:
    """What a program explains, as Captum's classes take it."""

    forward_func: Callable[..., Any]
    layer: nn.Module | None
    n_steps: int
    baselines: Any
    arguments: tuple[Any, ...]

    def attribute(
        self, inputs: tuple[Tensor, ...], target: Any, arguments: tuple[Any, ...] | None = None
    ) -> tuple[tuple[Tensor, ...], Any]:
        """The attributions by this package's classes, and the object that gave them."""
        method: Any = XIntegratedGradients(self.forward_func)
        if self.layer is not None:
            method = XLayerIntegratedGradients(self.forward_func, self.layer)
        further = (self.arguments if arguments is None else arguments) or None
        found = method.attribute(inputs, self.baselines, target, further, n_steps=self.n_steps)
        return found if isinstance(found, tuple) else (found,), method


class AttributionProgram:
    """The attribution of a function as one plain graph.

    Made by :func:`export_attribution` or :func:`load`; called with the tensors of a call it gives an
    :class:`Explanation`: outputs, attributions, completeness gaps.

    Attributes:
        facts: What its file says of it.

    Example:
        >>> import torch
        >>> from captum_xdnn.export import export_attribution
        >>> program = export_attribution(lambda x: x[:, 0] * x[:, 1], torch.rand(2, 2), target=None)
        >>> program(torch.tensor([[2.0, 3.0]])).attributions
        tensor([[3., 3.]])
        >>> program.route, program.certificate.degree
        ('single_pass', Fraction(2, 1))
    """

    def __init__(
        self,
        backend: Backend,
        facts: Facts,
        function: Function | None = None,
        program: ExportedProgram | None = None,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self._backend, self.facts = backend, facts
        self._function, self._program = function, program
        self._places = places or {}

    @property
    def route(self) -> Route:
        """The way of the attributions: ``"single_pass"``, ``"hoisted"`` or ``"captum"``."""
        return self.facts.route

    @property
    def certificate(self) -> Certificate:
        """The proof, or what stands in the way of a single pass."""
        return self.facts.certificate

    def __call__(self, *tensors: Tensor, target: Tensor | None = None) -> Explanation:
        """Explain a batch.

        Args:
            tensors: The inputs, and further arguments that are tensors, in the order of ``facts.inputs``.
            target: The index of each row, shape ``(B,)``, where the program takes one with each call.

        Raises:
            TypeError: For another number of tensors than the program takes.
        """
        given = [*tensors] if target is None else [*tensors, target]
        found = sum(isinstance(t, Tensor) for t in given)
        if not len(given) == found == len(self.facts.inputs):
            raise TypeError(TAKES.format(", ".join(self.facts.inputs), found))
        with torch.no_grad():
            outputs, *attributions, gap = self._backend(*given)
        one = len(attributions) == 1
        return Explanation(outputs, attributions[0] if one else tuple(attributions), gap)

    def __repr__(self) -> str:
        facts = self.facts
        return (
            f"AttributionProgram({facts.route}, ({', '.join(facts.inputs)}) -> "
            f"({', '.join(facts.outputs)}), target {facts.target})"
        )

    def check(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        *,
        target: Tensor | None = None,
        additional_forward_args: Any = None,
        forward_func: Callable[..., Any] | None = None,
        tolerance: float = AGREES,
    ) -> float:
        """Compare the program with ``attribute``, the watched run.

        Args:
            inputs: The inputs, of any batch size that the program takes.
            target: The index of each row, where the program takes one with each call.
            additional_forward_args: Those of this call; None for those of the export.
            forward_func: The function, where the program comes from a file.
            tolerance: The difference that is allowed. Another runtime rounds otherwise, and of an example
                that stands on a kink of the network it may fall to the other side.

        Returns:
            The largest relative difference of the outputs and attributions, as norms.

        Raises:
            XDNNError: If it is above the tolerance.
        """
        function = self._function
        if forward_func is not None:
            function = self._of(forward_func)
        if function is None:
            raise XDNNError(NO_FUNCTION)
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        further = additional_forward_args
        if further is not None and not isinstance(further, tuple):
            further = (further,)
        arguments: tuple[Any, ...] = function.arguments if further is None else further
        with torch.no_grad():
            output = function.forward_func(*tensors, *arguments)
        expected, _ = function.attribute(
            tensors, self._target().of_captum(output, target), arguments
        )
        mine = self(*tensors, *(a for a in arguments if isinstance(a, Tensor)), target=target)
        return self.compare(mine, expected, output, CHECKED, tolerance)

    def compare(
        self,
        mine: Explanation,
        attributions: Sequence[Tensor],
        output: Tensor,
        said: str,
        tolerance: float = AGREES,
    ) -> float:
        """The largest relative difference; an XDNNError above the tolerance."""
        found = mine.attributions if isinstance(mine.attributions, tuple) else (mine.attributions,)
        pairs = zip([mine.outputs, *found], [output, *attributions], strict=True)
        difference = max(_difference(one, other.detach()) for one, other in pairs)
        if not difference <= tolerance:
            raise XDNNError(f"{said}: they differ by {difference:.2g} of their norm")
        return difference

    def save(self, path: str | Path, *, compiled: bool = False) -> None:
        """Write the program to a file, by the ending of its name: ``.pt2`` or ``.onnx``.

        Args:
            path: The file.
            compiled: Of ``.pt2``, whether to compile it now (AOTInductor), for this machine.

        Raises:
            ImportError: For ``.onnx`` where ``captum-xdnn[export]`` is not installed.
            TraceError: If an operation has no form in ONNX; the message names it.
            ValueError: For another ending.
            OSError: Where no such file can be.
        """
        from captum_xdnn.export.saving import save

        save(self._program, self.facts, Path(path), self._places, compiled=compiled)

    def compile(self) -> AttributionProgram:
        """The same program through ``torch.compile``, on CUDA with graphs for small batches.

        The first call of it compiles, which takes ten seconds to minutes; a call that cannot be
        compiled, and all after it, run as before.

        Raises:
            XDNNError: Of a program that is no graph of torch's any more (from ``.onnx``, or compiled).
        """
        from captum_xdnn.export.compiled import compiled

        if self._program is None:
            message = "the program is no graph of torch's: export it again, or load its .pt2"
            raise XDNNError(message)
        return AttributionProgram(
            compiled(self._program.module()), self.facts, self._function, None, self._places
        )

    def _target(self) -> Target:
        target = self.facts.target
        return Target("index", tuple(target)) if isinstance(target, list) else Target(target)

    def _of(self, forward_func: Callable[..., Any]) -> Function:
        known = self._function
        steps = self.facts.n_steps or 50
        if known is not None:
            return Function(forward_func, known.layer, steps, known.baselines, known.arguments)
        if "tensor" in self.facts.baseline:
            message = "the file knows that a baseline was a tensor, and not which one"
            raise XDNNError(message)
        return Function(forward_func, None, steps, tuple(self.facts.baseline), ())


def _difference(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return float("inf")
    norm = torch.linalg.vector_norm(other)
    gap = torch.linalg.vector_norm(one.to(other) - other)
    return float(gap / norm) if norm else float(gap)
