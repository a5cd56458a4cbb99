"""One call by the fastest route that is proved, else by Captum's code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from captum_xdnn._captum import IntegratedGradients, compute_gradients
from captum_xdnn.attr.base import Routed, is_captums, warn_if_contradicted
from captum_xdnn.attr.tolerating import UNKNOWN, Tolerating
from captum_xdnn.errors import NotHomogeneousError
from captum_xdnn.routes.captum import differentiable_quadrature
from captum_xdnn.routes.choice import fast_route
from captum_xdnn.routes.gradients import by_rows
from captum_xdnn.routes.known_functions import memory_of
from captum_xdnn.routes.passes import captums_sum
from captum_xdnn.routes.plan import now
from captum_xdnn.routes.refinement import Taken
from captum_xdnn.routes.request import Outcome, Quadrature, Request
from captum_xdnn.routes.sizes import Sizes, clock
from captum_xdnn.routes.tolerance import to_tolerance

TWO_STEPS = Quadrature(2, "gausslegendre")
NOT_KNOWN = "what it differentiates is not known: a function as selector, grad_kwargs, or a gradient function of its own"


class ByRoutes(Tolerating, Routed):
    """What of ``XIntegratedGradients`` comes between its arguments and its result."""

    forward_func: Any
    gradient_func: Any
    multiplies_by_inputs: bool

    def _taken(self) -> Taken | None:
        return self._calls_of().seen().taken

    def _by_any_route(self, request: Request, *, is_known: bool) -> tuple[Tensor, ...]:
        if self.strategy == "captum":
            self._note("captum", None)
            outcome = Outcome()
        else:
            outcome = self._try_fast_routes(request, is_known=is_known)
        attributions = outcome.attributions
        if attributions is None:
            timed, inputs, begun = outcome.timed, request.call.inputs, clock()
            start = 0.0 if timed is None else now(inputs[0].device)
            attributions = self._integrate(request, outcome.sizes, is_known=is_known)
            memory_of(request.forward_func).looks.took(clock() - begun)
            if timed is not None:
                timed(now(inputs[0].device) - start)
        return attributions

    def _integrate(
        self, request: Request, sizes: Sizes | None, *, is_known: bool
    ) -> tuple[Tensor, ...]:
        """The route ``captum``."""
        if request.tolerance is not None:
            if not is_known or not is_captums(self, ByRoutes, "_attribute"):
                raise NotImplementedError(UNKNOWN)
            attributions, taken = to_tolerance(request, request.tolerance, sizes)
            self._calls_of().here().taken = taken
            return attributions
        if request.create_graph:
            if self.gradient_func is not compute_gradients:
                message = "create_graph=True needs Captum's own gradient function"
                raise NotImplementedError(message)
            return differentiable_quadrature(
                request.forward_func,
                request.call,
                request.quadrature,
                multiply_by_inputs=request.multiply_by_inputs,
            )
        return captums_sum(self, request, sizes)

    def _attribute(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Captum's sum, with Captum's gradients by rows."""
        captum: Any = IntegratedGradients(self.forward_func, self.multiplies_by_inputs)
        captum.gradient_func = by_rows(self.gradient_func)
        return cast("tuple[Tensor, ...]", captum._attribute(*args, **kwargs))

    def _try_fast_routes(self, request: Request, *, is_known: bool) -> Outcome:
        """What came of the fast routes; without attributions, Captum's code must run."""
        call, quadrature = request.call, request.quadrature
        wrong = not (quadrature.is_plain() and call.is_plain())
        if wrong:
            outcome = Outcome(refusal="the call is of a form that Captum refuses or converts")
        elif not is_known:
            outcome = Outcome(refusal=NOT_KNOWN)
        elif not is_captums(self, ByRoutes, "_attribute"):
            outcome = Outcome(refusal="the class integrates in a way of its own")
        elif request.create_graph and call.starts_require_grad():
            outcome = Outcome(refusal="the derivative by a baseline is not that of a single pass")
        else:
            outcome = fast_route(request)
        last = self._calls_of().here()
        last.last, last.outputs = (outcome.route, outcome.certificate), outcome.returned
        last.taken = outcome.taken
        if outcome.attributions is None and not request.hoist:
            if wrong or not is_known or not outcome.ran:
                # A wrong call has an error of its own, which Captum's code raises.
                rule = quadrature if wrong else TWO_STEPS
                alone = replace(request, quadrature=rule, create_graph=False, tolerance=None)
                self._integrate(alone, None, is_known=is_known)
            raise NotHomogeneousError(outcome.reason)
        warn_if_contradicted(outcome)
        return outcome
