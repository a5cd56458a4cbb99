"""What is asked of a fast route, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.routes.call import Call
from captum_xdnn.routes.captum import Quadrature

Route = Literal["single_pass", "hoisted", "captum"]


@dataclass(frozen=True)
class Request:
    """A call, and what is wanted of it.

    Attributes:
        forward_func: The function to explain.
        call: The call.
        quadrature: Captum's integration rule.
        multiply_by_inputs: Whether to multiply the mean gradient by ``x - b``.
        verify: Whether to check each fast route.
        create_graph: Whether the attributions can be differentiated.
        hoist: Whether hoisting will do where a single pass is not exact.
        shifts: The first of the inputs that are added to a layer's value; None without any.
    """

    forward_func: Callable[..., Any]
    call: Call
    quadrature: Quadrature
    multiply_by_inputs: bool = True
    verify: bool = True
    create_graph: bool = False
    hoist: bool = True
    shifts: int | None = None

    def parts(self) -> list[Call]:
        """The call in consecutive parts of at most ``internal_batch_size`` examples."""
        bound = self.quadrature.internal_batch_size
        most = self.call.size if bound is None else max(1, bound)
        return [self.call] if self.call.size <= most else list(self.call.chunks(most))


@dataclass(frozen=True)
class Outcome:
    """What came of trying a fast route.

    Attributes:
        certificate: The certificate that was asked for; None if none was.
        attributions: The attributions; None where Captum's code has to run.
        returned: What the function returned on the way, with its graph where the attributions
            can be differentiated; None where it did not run at the inputs themselves.
        route: The route that gave them.
        refusal: Why there are none, where it is not the certificate that refuses.
        contradicted: Whether a proof allowed the route and a check refused it.
        ran: Whether the function ran to its end; where it did not, the call may be wrong.
        timed: Takes the seconds that Captum's code needs for the call; None where nobody asks.
    """

    certificate: Certificate | None = None
    attributions: tuple[Tensor, ...] | None = None
    returned: Tensor | None = None
    route: Route = "captum"
    refusal: str = ""
    contradicted: bool = False
    ran: bool = True
    timed: Callable[[float], None] | None = None

    @property
    def reason(self) -> str:
        """Why there are no attributions; written only when asked for, it is a whole report."""
        return self.refusal or str(self.certificate)


NOT_FINITE = "the output or a gradient is not finite"


def rows(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The tensors of consecutive parts of a call as those of one batch."""
    return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
