"""``XIntegratedGradients``: Captum's Integrated Gradients, in one pass where that is exact."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, overload

from torch import Tensor

from captum_xdnn._captum import (
    BaselineType,
    IntegratedGradients,
    TargetType,
    TensorOrTupleOfTensorsGeneric,
    format_additional_forward_args,
    format_input_baseline,
    format_output,
    log_usage,
    validate_input,
)
from captum_xdnn.attr.base import LastCall, Strategy
from captum_xdnn.attr.by_routes import ByRoutes
from captum_xdnn.attr.layer_functions import differentiated_by
from captum_xdnn.attr.tolerating import tolerance_of, warn_if_missed
from captum_xdnn.checks.second_derivative import check_differentiable
from captum_xdnn.recording.compiling import not_compiled, uncompiled
from captum_xdnn.routes.refinement import Tolerance
from captum_xdnn.routes.request import Call, Quadrature, Request


class XIntegratedGradients(ByRoutes, IntegratedGradients):
    r"""Integrated Gradients that is exact in one pass wherever that is proved.

    .. math::
        \mathrm{IG}_i = (x_i - b_i) \int_0^1 \frac{\partial F}{\partial z_i}(z(a)) \, da,
        \qquad z(a) = b + a (x - b)

    The forward pass at the inputs is watched (see :func:`captum_xdnn.certify`): where
    :math:`F(z(a)) = a^k F(x)` is proved for every input, the integral is
    :math:`\tfrac{1}{k} \partial F / \partial x_i (x)`, one forward and one backward pass. Where
    that is proved of a part of the function only, that part runs once, the rest at Captum's nodes
    (``"hoisted"``), if it pays. In every other case Captum's own code runs. Each fast route is
    checked at every call.

    Args:
        forward_func: The function to explain, as in Captum.
        multiply_by_inputs: Whether to multiply the mean gradient by ``x - b``, as in Captum.
        strategy: ``"auto"``; ``"single_pass"`` (raise ``NotHomogeneousError`` where one pass is
            not proved exact); or ``"captum"`` (never a fast route).
        verify: Whether each fast route is checked: a single pass against completeness (one wait for
            the GPU), hoisting against Euler's identity and the function's output as well. With
            False a function that was proved for a call of the same form is not watched again, so
            its weights and code, and a baseline that is not zero, have to stay as they are.
        max_memory: Bytes that the results of one pass of Captum's steps may take (None: what is
            free). Steps, and at need examples, are divided where that is proved to be right.

    Raises:
        ValueError: If ``strategy`` is none of the three, or ``max_memory`` no positive integer.

    Source:
        Sundararajan, Taly, Yan (ICML 2017); Hesse, Schaub-Meyer, Roth (NeurIPS 2021),
        Proposition 3.2 and Corollary 3.4.

    Example:
        >>> import torch
        >>> from captum_xdnn import XIntegratedGradients
        >>> xig = XIntegratedGradients(lambda x: x[:, 0] * x[:, 1])
        >>> xig.attribute(torch.tensor([[2.0, 3.0], [1.0, 4.0]]))
        tensor([[3., 3.],
                [2., 2.]])
        >>> xig.last_route, xig.certificate.degree
        ('single_pass', Fraction(2, 1))
    """

    _wanted: Tolerance | None = None  # of one call, for the classes that make it through this one

    def __init__(
        self,
        forward_func: Callable[..., Any],
        multiply_by_inputs: bool = True,
        *,
        strategy: Strategy = "auto",
        verify: bool = True,
        max_memory: int | None = None,
    ) -> None:
        captums = (forward_func, multiply_by_inputs)
        super().__init__(*captums, strategy=strategy, verify=verify, max_memory=max_memory)

    @property
    def last_outputs(self) -> Tensor | None:
        """``forward_func(inputs)``, as it was returned on the way to the last attributions.

        None unless the last call took the route ``"single_pass"``. Each thread sees those of its own last
        call; one that has made none sees those of the thread that has, and None where several have.
        After a call with ``create_graph=True`` autograd's graph is kept with it until the thread's next
        call, and a training step that puts its loss on this saves a forward
        pass and its gradient. Under ``DistributedDataParallel``, ``forward_func`` has to be the
        wrapped network then.

        Example:
            >>> import torch
            >>> from captum_xdnn import XIntegratedGradients
            >>> net = torch.nn.Linear(3, 2, bias=False)
            >>> x = torch.ones(4, 3)
            >>> xig = XIntegratedGradients(net)
            >>> attributions = xig.attribute(x, target=0, create_graph=True)
            >>> bool((xig.last_outputs == net(x)).all())
            True
        """
        calls = self._calls_of()
        return calls.seen().outputs if calls.is_told_apart() else None

    @overload
    def attribute(
        self,
        inputs: TensorOrTupleOfTensorsGeneric,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        *,
        return_convergence_delta: Literal[True],
        create_graph: bool = False,
        tolerance: float | None = None,
        max_steps: int | None = None,
    ) -> tuple[TensorOrTupleOfTensorsGeneric, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: TensorOrTupleOfTensorsGeneric,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        create_graph: bool = False,
        tolerance: float | None = None,
        max_steps: int | None = None,
    ) -> TensorOrTupleOfTensorsGeneric: ...

    @log_usage
    @not_compiled
    def attribute(
        self,
        inputs: TensorOrTupleOfTensorsGeneric,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        create_graph: bool = False,
        tolerance: float | None = None,
        max_steps: int | None = None,
    ) -> TensorOrTupleOfTensorsGeneric | tuple[TensorOrTupleOfTensorsGeneric, Tensor]:
        r"""Attribute the chosen output to the inputs.

        Args:
            inputs: Tensor of shape ``(B, ...)`` or tuple of these.
            baselines: None (zero), a number, a tensor of the input's shape or of batch size 1,
                or a tuple of these.
            target: Index of the explained output, in any of Captum's forms.
            additional_forward_args: Further arguments of the function, not attributed.
            n_steps: Number of steps of the quadrature; a single pass needs none.
            method: Quadrature rule of Captum; a single pass is the exact integral.
            internal_batch_size: Bound of the batch in one pass. As in Captum none goes below ``B``, unless memory
                runs out. With None all steps run at once, as in Captum, or in passes that
                are faster or fit the memory, where the rows of a batch are proved not to meet.
            return_convergence_delta: Whether to return also
                :math:`\sum_i \mathrm{IG}_i - (F(x) - F(b))`, shape ``(B,)``.
            create_graph: Whether the attributions can be differentiated, for training with
                them; this holds on every route. What ``torch.compile`` compiled runs as written.
            tolerance: Relative gap of completeness, :math:`|\sum_i \mathrm{IG}_i - \Delta| / |\Delta|` with
                :math:`\Delta = F(x) - F(b)`, up to which points are added where they are needed, in place of
                ``method`` with its ``n_steps`` (see ``docs/how_it_works.md``, As many points as a tolerance needs);
                a pass has as many rows as ``n_steps`` give. A single pass needs none.
            max_steps: With ``tolerance``, points of one example at most (1,000).

        Returns:
            The attributions, tensor or tuple as the inputs, in the dtype that Captum returns
            (half precision gives float32); with ``return_convergence_delta`` also the deltas.

        Warns:
            UserWarning: With ``tolerance``, of the examples that do not reach it, with their gaps.

        Raises:
            ValueError: For a ``tolerance`` that is not positive, ``max_steps`` below 3 or without it.
            NotHomogeneousError: With ``strategy="single_pass"``, where one pass is not proved
                exact; the message names each kind of blocker with the first of its places.
            NotImplementedError: With ``create_graph=True``, where an operation has no second
                derivative; the message names it. With ``tolerance``, where what is differentiated is
                not known, inputs are complex, or examples have no output each.
            AssertionError: For wrong input, as in Captum (and Captum's other types likewise).
            torch.OutOfMemoryError: Where steps do not fit that are not divided.
        """
        wanted = self._wanted
        if not (tolerance is None and max_steps is None):
            wanted = tolerance_of(tolerance, max_steps)
        last = self._calls_of().here()
        last.outputs = last.taken = None
        formatted, starts = format_input_baseline(inputs, baselines)
        validate_input(formatted, starts, n_steps, method)
        arguments = format_additional_forward_args(additional_forward_args) or ()
        function = differentiated_by(self.gradient_func, self.forward_func)
        request = Request(
            self.forward_func if function is None else function,
            Call(formatted, starts, target, arguments),
            Quadrature(n_steps, method, internal_batch_size),
            multiply_by_inputs=self.multiplies_by_inputs,
            verify=self.verify,
            create_graph=create_graph,
            hoist=self.strategy != "single_pass",
            max_memory=self.max_memory,
            tolerance=wanted,
        )
        with uncompiled() if create_graph else nullcontext():
            attributions = self._by_any_route(request, is_known=function is not None)
        if wanted is not None and last.taken is not None:
            warn_if_missed(last.taken, wanted)
        if create_graph and not _is_checked(last):
            check_differentiable(attributions)
            last.checked = last.last
        is_tuple = isinstance(inputs, tuple)
        result: TensorOrTupleOfTensorsGeneric = format_output(is_tuple, attributions)
        if not return_convergence_delta:
            return result
        delta = self.compute_convergence_delta(
            attributions,
            baselines,
            inputs,
            additional_forward_args=additional_forward_args,
            target=target,
        )
        return result, delta


def _is_checked(last: LastCall) -> bool:
    """Whether attributions of this route and certificate were found to be differentiable."""
    route, certificate = last.last
    known = certificate is not None and last.checked[1] is certificate
    return known and last.checked[0] == route
