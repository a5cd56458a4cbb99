"""Captum's sum: all steps at once, or in passes where memory asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from captum_xdnn._captum import integrate
from captum_xdnn.errors import is_out_of_memory, without_frames
from captum_xdnn.routes.divided import Passes, Way
from captum_xdnn.routes.request import Request
from captum_xdnn.routes.sizes import Sizes

OUT_OF_MEMORY = (
    "{}\nCaptum runs all steps at once, {} rows, and this call could not be divided by itself. "
    "internal_batch_size bounds the rows of a pass"
)


def captums_sum(method: Any, request: Request, sizes: Sizes | None) -> tuple[Tensor, ...]:
    """What Captum's ``attribute`` computes from arguments that are formatted and validated."""
    call, quadrature = request.call, request.quadrature
    arguments = {
        "inputs": call.inputs,
        "baselines": call.baselines,
        "target": call.target,
        "additional_forward_args": call.arguments or None,
        "n_steps": quadrature.n_steps,
        "method": quadrature.method,
    }
    bound = quadrature.internal_batch_size
    if bound is not None:
        attributions: tuple[Tensor, ...] = integrate(method, **arguments, internal_batch_size=bound)
        return attributions
    sum_at_once = partial(method._attribute, **arguments)
    return integrated(request, sizes, lambda: sum_at_once(step_sizes_and_alphas=quadrature.nodes()))


def integrated(
    request: Request,
    sizes: Sizes | None,
    at_once: Callable[[], tuple[Tensor, ...]],
    way: Way | None = None,
) -> tuple[Tensor, ...]:
    """Captum's attributions: in passes of the right size, or by Captum's code, all steps at once.

    Args:
        request: The call.
        sizes: What is known of passes through such a function; None where it may not be divided.
        at_once: Runs Captum's code.
        way: How some of the steps are computed, where that is not the weighted sum of gradients.

    Raises:
        torch.OutOfMemoryError: If the steps do not fit and may not be divided; the message names the
            argument that bounds a pass. On a CPU the types are torch's as well.
    """
    passes = None
    if sizes is not None:
        sizes.begin()
        passes = Passes(request, sizes, way)
        found = passes.result()
        if found is not None:
            return found
    try:
        return at_once() if passes is None else passes.at_once(at_once)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = error
    without_frames(failed)
    rows = request.quadrature.n_steps * request.call.size
    if sizes is not None and passes is not None:
        sizes.forbid(rows)
        found = passes.result()
        if found is not None:
            return found
    raise too_large(failed, rows) from failed


def too_large(error: Exception, rows: int) -> Exception:
    """An error that memory has run out, with the argument that bounds what goes through the function together."""
    return type(error)(OUT_OF_MEMORY.format(error, rows))
