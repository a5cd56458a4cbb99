"""``XIntegratedGradients``: Captum's Integrated Gradients, in one pass where that is exact."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, cast, overload

from torch import Tensor

from captum_xdnn._captum import (
    BaselineType,
    IntegratedGradients,
    TargetType,
    TensorOrTupleOfTensorsGeneric,
    compute_gradients,
    format_additional_forward_args,
    format_input_baseline,
    format_output,
    log_usage,
    validate_input,
)
from captum_xdnn.attr.base import LastCall, Routed, Strategy, is_captums, warn_if_contradicted
from captum_xdnn.attr.layer_functions import differentiated_by
from captum_xdnn.checks.second_derivative import check_differentiable
from captum_xdnn.errors import NotHomogeneousError
from captum_xdnn.recording.compiling import not_compiled, uncompiled
from captum_xdnn.routes.captum import differentiable_quadrature
from captum_xdnn.routes.choice import fast_route
from captum_xdnn.routes.gradients import by_rows
from captum_xdnn.routes.passes import captums_sum
from captum_xdnn.routes.plan import now
from captum_xdnn.routes.request import Call, Outcome, Quadrature, Request
from captum_xdnn.routes.sizes import Sizes


class XIntegratedGradients(Routed, IntegratedGradients):
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
        max_memory: Bytes that the results of one pass of Captum's steps may take (None: what is free
            on a GPU). Steps, and at need examples, are divided where that is proved to be right.

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
            internal_batch_size: Bound of the batch in one pass. Captum never goes below ``B``;
                the single pass does. With None all steps run at once, as in Captum, but where
                memory runs out and the rows of a batch are proved not to meet.
            return_convergence_delta: Whether to return also
                :math:`\sum_i \mathrm{IG}_i - (F(x) - F(b))`, shape ``(B,)``.
            create_graph: Whether the attributions can be differentiated, for training with
                them; this holds on every route. What ``torch.compile`` compiled runs as written.

        Returns:
            The attributions, tensor or tuple as the inputs, in the dtype that Captum returns
            (half precision gives float32); with ``return_convergence_delta`` also the deltas.

        Raises:
            NotHomogeneousError: With ``strategy="single_pass"``, where one pass is not proved
                exact; the message names each kind of blocker with the first of its places.
            NotImplementedError: With ``create_graph=True``, where an operation has no second
                derivative; the message names it.
            AssertionError: For wrong input, as in Captum (and Captum's other types likewise).
            torch.OutOfMemoryError: Where steps do not fit that are not divided.
        """
        last = self._calls_of().here()
        last.outputs = None
        formatted, starts = format_input_baseline(inputs, baselines)
        validate_input(formatted, starts, n_steps, method)
        arguments = format_additional_forward_args(additional_forward_args) or ()
        call = Call(formatted, starts, target, arguments)
        quadrature = Quadrature(n_steps, method, internal_batch_size)
        with uncompiled() if create_graph else nullcontext():
            attributions = self._by_any_route(call, quadrature, create_graph=create_graph)
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

    def _by_any_route(
        self, call: Call, quadrature: Quadrature, *, create_graph: bool
    ) -> tuple[Tensor, ...]:
        attributions, timed, sizes = None, None, None
        if self.strategy == "captum":
            self._note("captum", None)
        else:
            outcome = self._try_fast_routes(call, quadrature, create_graph=create_graph)
            attributions, timed, sizes = outcome.attributions, outcome.timed, outcome.sizes
        if attributions is None:
            start = 0.0 if timed is None else now(call.inputs[0].device)
            attributions = self._integrate(call, quadrature, sizes, create_graph=create_graph)
            if timed is not None:
                timed(now(call.inputs[0].device) - start)
        return attributions

    def _integrate(
        self, call: Call, quadrature: Quadrature, sizes: Sizes | None = None, *, create_graph: bool
    ) -> tuple[Tensor, ...]:
        """The route ``captum``."""
        if create_graph:
            if self.gradient_func is not compute_gradients:
                message = "create_graph=True needs Captum's own gradient function"
                raise NotImplementedError(message)
            return differentiable_quadrature(
                self.forward_func, call, quadrature, multiply_by_inputs=self.multiplies_by_inputs
            )
        function = differentiated_by(self.gradient_func, self.forward_func) or self.forward_func
        multiply = self.multiplies_by_inputs
        request = Request(function, call, quadrature, multiply_by_inputs=multiply)
        return captums_sum(self, request, sizes, self.max_memory)

    def _attribute(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Captum's sum, with Captum's gradients by rows."""
        captum: Any = IntegratedGradients(self.forward_func, self.multiplies_by_inputs)
        captum.gradient_func = by_rows(self.gradient_func)
        return cast("tuple[Tensor, ...]", captum._attribute(*args, **kwargs))

    def _try_fast_routes(
        self, call: Call, quadrature: Quadrature, *, create_graph: bool
    ) -> Outcome:
        """What came of the fast routes; without attributions, Captum's code must run."""
        only_single = self.strategy == "single_pass"
        function = differentiated_by(self.gradient_func, self.forward_func)
        wrong = not (quadrature.is_plain() and call.is_plain(quadrature.internal_batch_size))
        if wrong:
            outcome = Outcome(refusal="the call is of a form that Captum refuses or converts")
        elif function is None:
            outcome = Outcome(refusal=NOT_KNOWN)
        elif not is_captums(self, XIntegratedGradients, "_attribute"):
            outcome = Outcome(refusal="the class integrates in a way of its own")
        elif create_graph and call.starts_require_grad():
            outcome = Outcome(refusal="the derivative by a baseline is not that of a single pass")
        else:
            outcome = fast_route(
                Request(
                    function,
                    call,
                    quadrature,
                    multiply_by_inputs=self.multiplies_by_inputs,
                    verify=self.verify,
                    create_graph=create_graph,
                    hoist=not only_single,
                    max_memory=self.max_memory,
                )
            )
        last = self._calls_of().here()
        last.last, last.outputs = (outcome.route, outcome.certificate), outcome.returned
        if outcome.attributions is None and only_single:
            if wrong or function is None or not outcome.ran:
                # A wrong call has an error of its own, which Captum's code raises.
                self._integrate(call, quadrature if wrong else TWO_STEPS, create_graph=False)
            raise NotHomogeneousError(outcome.reason)
        warn_if_contradicted(outcome)
        return outcome


def _is_checked(last: LastCall) -> bool:
    """Whether attributions of this route and certificate were found to be differentiable."""
    route, certificate = last.last
    known = certificate is not None and last.checked[1] is certificate
    return known and last.checked[0] == route


TWO_STEPS = Quadrature(2, "gausslegendre")
NOT_KNOWN = "what it differentiates is not known: a function as selector, grad_kwargs, or a gradient function of its own"
