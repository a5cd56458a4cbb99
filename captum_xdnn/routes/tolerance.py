"""Captum's integral at as many points as a tolerance needs: each example at its own, or all at the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from captum_xdnn._captum import expand_additional_forward_args, expand_target
from captum_xdnn._torch import gradients_from
from captum_xdnn.checks.completeness import COARSE, COARSE_SLACK, SLACK, loosest, precision_of
from captum_xdnn.errors import is_out_of_memory
from captum_xdnn.routes.apart import Apart, OutOfMemory, Together
from captum_xdnn.routes.captum import differentiable_quadrature, outputs_of
from captum_xdnn.routes.checked import attributed
from captum_xdnn.routes.gradients import gradient_of_each
from captum_xdnn.routes.passes import too_large
from captum_xdnn.routes.refinement import Evaluated, Refined, Taken, Tolerance, column, refined
from captum_xdnn.routes.request import Request, Weighted, of_examples
from captum_xdnn.routes.single_pass import widened
from captum_xdnn.routes.sizes import Sizes

NO_COMPLEX = "tolerance= is for real inputs, found {}"
NO_ROWS = (
    "tolerance= needs one output for each example, by which an interval's error is seen: {} rows gave "
    "outputs of shape {}"
)


def to_tolerance(
    request: Request, wanted: Tolerance, sizes: Sizes | None
) -> tuple[tuple[Tensor, ...], Taken]:
    """The attributions, and what they took.

    Where the examples are proved not to meet (``sizes``), each takes the points that it needs. Otherwise,
    and where the result is to be differentiated, a batch goes together, as in Captum; where its examples are
    seen to meet they are complete together, at one point after the other.

    Raises:
        NotImplementedError: For complex inputs, or outputs that are not one for each example.
    """
    call = request.call.on_the_ray()
    if any(x.is_complex() for x in call.inputs):
        raise NotImplementedError(NO_COMPLEX.format(call.inputs[0].dtype))
    request = replace(request, call=call)
    if sizes is not None and call.is_divisible() and not request.create_graph:
        sizes.begin()
        try:
            alone = refined(_Apart(request, sizes).evaluate, call.size, wanted)
        except Together:
            pass
        else:
            return _attributed(alone.integrals, request), alone.taken
    points = _Together(request)
    try:
        together = points.refined(wanted)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_large(error, points.rows) from error
    taken = together.taken.of(call.size)
    if not request.create_graph:
        return _attributed(together.integrals, request), taken
    bound = call.size if points.meet else request.quadrature.internal_batch_size
    found = tuple(together.points)
    quadrature = Weighted(len(found), request.quadrature.method, bound, found)
    attributions = differentiable_quadrature(
        request.forward_func, call, quadrature, multiply_by_inputs=request.multiply_by_inputs
    )
    return attributions, taken


def _attributed(integrals: tuple[Tensor, ...], request: Request) -> tuple[Tensor, ...]:
    """The attributions from the mean gradients of groups of examples."""
    gradients = tuple(i.flatten(0, 1) for i in integrals)
    return attributed(gradients, request.call, multiply_by_inputs=request.multiply_by_inputs)


class _Points:
    """Evaluates a function at points of the rays, in passes of as many rows as Captum's have at most."""

    def __init__(self, request: Request) -> None:
        self.request, self.call = request, request.call
        self._starts = self.call.starts()
        self._ways = tuple(
            x.detach() - b for x, b in zip(self.call.inputs, self._starts, strict=True)
        )
        bound = request.quadrature.internal_batch_size
        self.rows = request.quadrature.n_steps * self.call.size if bound is None else bound

    def evaluate(self, groups: Tensor, places: Tensor) -> Evaluated:
        """Evaluate, and put the passes together."""
        found: list[Evaluated] = []
        done = 0
        while done < len(places):
            count = self._count()
            found.append(self._pass(groups[done : done + count], places[done : done + count]))
            done += len(found[-1].outputs)
        parts = zip(*(f.parts for f in found), strict=True)
        return Evaluated(
            torch.cat([f.outputs for f in found]),
            torch.cat([f.slopes for f in found]),
            () if self.request.create_graph else tuple(map(torch.cat, parts)),
        )

    def _count(self) -> int:
        """How many points go through the function together."""
        raise NotImplementedError

    def _pass(self, groups: Tensor, places: Tensor) -> Evaluated:
        """Evaluate at some of the points, the first ones."""
        raise NotImplementedError

    def _evaluated(
        self, outputs: Tensor, gradients: tuple[Tensor, ...], ways: tuple[Tensor, ...], count: int
    ) -> Evaluated:
        """The outputs and gradients of rows, of which each point has as many as there are."""
        if outputs.numel() != len(gradients[0]):
            raise NotImplementedError(NO_ROWS.format(len(gradients[0]), tuple(outputs.shape)))
        parts = tuple(widened(g).reshape(count, -1, *g.shape[1:]) for g in gradients)
        pairs = zip(parts, ways, strict=True)
        slopes = [(g * w).reshape(*g.shape[:2], -1).sum(2) for g, w in pairs]
        return Evaluated(outputs.detach().reshape(count, -1), sum(slopes[1:], slopes[0]), parts)


class _Meet(Exception):  # noqa: N818 - control flow inside this room, never shown
    """The gradient of one row's output is not of that row alone."""


class _Together(_Points):
    """Every point is one of the whole batch.

    Attributes:
        meet: Whether rows meet: then what goes through the function together has to be the batch at one
            place, and completeness holds for its sum. None as long as nobody has looked.
    """

    meet: bool | None = None

    def refined(self, wanted: Tolerance) -> Refined:
        """The integrals at points of all examples."""
        try:
            return refined(self.evaluate, 1, wanted)
        except _Meet:
            self.meet = True
        return refined(self.evaluate, 1, wanted)

    def _count(self) -> int:
        return 1 if self.meet else max(1, self.rows // self.call.size)

    def _pass(self, groups: Tensor, places: Tensor) -> Evaluated:
        del groups
        count, call = len(places), self.call
        inputs = tuple(
            torch.cat([b + a * w for a in places.tolist()]).requires_grad_()
            for b, w in zip(self._starts, self._ways, strict=True)
        )
        with torch.enable_grad():
            outputs = outputs_of(
                self.request.forward_func,
                inputs,
                expand_target(call.target, count),
                expand_additional_forward_args(call.arguments or None, count),
            )
            unseen = self.meet is None and outputs.numel() == len(inputs[0]) > 1
            gradients = gradient_of_each(outputs, inputs, retain_graph=unseen)
            if unseen:
                self._look(outputs, inputs, gradients)
        found = self._evaluated(outputs, gradients, self._ways, count)
        if not self.meet:
            return found
        outputs, slopes = (t.sum(1, keepdim=True) for t in (found.outputs, found.slopes))
        return Evaluated(outputs, slopes, found.parts)

    def _look(
        self, outputs: Tensor, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]
    ) -> None:
        """Whether each row's gradient is that of its own output: with other factors it is so many times that."""
        factors = torch.linspace(1, 2, len(inputs[0])).to(outputs)
        again = gradients_from((outputs,), inputs, (factors.reshape(outputs.shape),))
        unit = loosest(precision_of(inputs, 0.0), (*inputs, outputs))
        allowed = (COARSE_SLACK if unit > COARSE else SLACK) * unit
        for gradient, scaled in zip(gradients, again, strict=True):
            expected = column(factors, gradient) * gradient
            gap = float(torch.linalg.vector_norm((scaled - expected).float()))
            if gap > allowed * float(torch.linalg.vector_norm(expected.float())):
                raise _Meet
        self.meet = False


class _Apart(_Points):
    """Every point is one of an example of its own."""

    def __init__(self, request: Request, sizes: Sizes) -> None:
        super().__init__(request)
        self._apart = Apart(request.forward_func, sizes)

    def _count(self) -> int:
        device = self.call.inputs[0].device
        most = self._apart.sizes.rows(device, self.request.max_memory)
        return max(1, self.rows if most is None else min(self.rows, most))

    def _pass(self, groups: Tensor, places: Tensor) -> Evaluated:
        count = len(places)
        try:
            return self._apart.run(count, lambda: self._of_rows(groups, places))
        except OutOfMemory as error:
            if count == 1:
                raise error.of_one_row() from error.error
            self._apart.sizes.forbid(count)
        count = min(self._count(), count - 1)
        return self._pass(groups[:count], places[:count])

    def _of_rows(self, groups: Tensor, places: Tensor) -> Evaluated:
        count, call = len(places), self.call
        chosen = groups.to(call.inputs[0].device)
        ways = tuple(w[chosen] for w in self._ways)
        inputs = tuple(
            (b[chosen] + column(places.to(w), w) * w).requires_grad_()
            for b, w in zip(self._starts, ways, strict=True)
        )
        target = of_examples(call.target, groups)
        arguments = tuple(
            a[groups.to(a.device)] if isinstance(a, Tensor) and a.dim() else a
            for a in call.arguments
        )
        if count not in self._apart.seen:
            outputs, gradients = self._apart.watched(inputs, target, arguments, count)
        else:
            with torch.enable_grad():
                outputs = outputs_of(self.request.forward_func, inputs, target, arguments)
                gradients = gradient_of_each(outputs, inputs)
        ways = tuple(w.unsqueeze(1) for w in ways)
        return self._evaluated(outputs, gradients, ways, count)
