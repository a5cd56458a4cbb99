"""``export_attribution``: from a function and an example to a program that gives its attributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._captum import (
    format_additional_forward_args,
    format_input_baseline,
    validate_input,
)
from captum_xdnn.errors import TraceError
from captum_xdnn.export.left_alone import left_alone
from captum_xdnn.export.making import Making
from captum_xdnn.export.metadata import Facts, hash_of, versions
from captum_xdnn.export.program import AttributionProgram, Function
from captum_xdnn.export.targets import PREDICTED, fitting, target_of
from captum_xdnn.export.tracing import ONE_AT_A_TIME
from captum_xdnn.homogeneity import Certificate, certify
from captum_xdnn.proof.watching import unsuitable
from captum_xdnn.routes.request import Call

ONE_ROW = (
    "a baseline of {rows} rows is for a batch of that size: give one of batch size 1, or export with "
    "dynamic_batch=False"
)
UNSUITABLE = (
    "cannot export the attribution: {}\n    remedy: give floating-point tensors of shape (B, ...); of a "
    "function of indices export the attribution of a layer, layer=model.embedding"
)
NOT_FINITE = (
    "cannot export the attribution: inputs or baselines of the example are not finite\n"
    "    remedy: give an example of finite numbers"
)
ONE_LAYER = "`layer` must be one torch.nn.Module but found: {}"
NO_ROWS = (
    "cannot export the attribution: the function returns a tensor of shape {} for {} rows\n"
    "    remedy: return a row for each example"
)
REFUSED = "cannot export the attribution: its single pass is refused.\n{}"
EXPORTED = "the exported graph does not give what attribute() gives for the example"


def export_attribution(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    *,
    target: Any = PREDICTED,
    baselines: Any = None,
    additional_forward_args: Any = None,
    n_steps: int = 50,
    layer: nn.Module | None = None,
    dynamic_batch: bool = True,
) -> AttributionProgram:
    r"""Make of the attribution of a function one plain graph, which needs no autograd and no Python.

    .. math::
        \mathrm{IG}_i = (x_i - b_i) \int_0^1 \frac{\partial F}{\partial z_i}(z(a)) \, da,
        \qquad z(a) = b + a (x - b)

    The function runs a few times as always, watched, with tensors that have values: at other batch sizes
    and places of the ray. What is traced are its recorded operations. Where a single pass is proved
    exact the graph is one forward and one backward pass; where a part is proved and hoisting it
    pays, that part once and the rest at Captum's points; else Captum's sum, its points in
    passes of twenty-five. What the runs changed of yours is put back, also when the export fails.

    Args:
        forward_func: The function to explain, as in Captum. It has to return a tensor whose first
            dimension is the batch, and to do the same for all values and batch sizes.
        inputs: Example, tensor of shape ``(B, ...)`` or tuple of these.
        target: ``"argmax"`` (the predicted class of each row), an index or a tuple of indices,
            ``"given"`` or a tensor of indices of shape ``(B,)`` (one index for each row, given with each
            call), or None for a function of one output.
        baselines: As in Captum: None (zero), a number, a tensor of batch size 1, or a tuple of these.
        additional_forward_args: As in Captum. Tensors among them are given with each call, the others
            are part of the program.
        n_steps: Captum's steps, where the program needs any.
        layer: Attribute to the values of this layer, as ``XLayerIntegratedGradients``: an embedding.
        dynamic_batch: Whether the program takes any batch size, or that of the example alone.

    Returns:
        The program; ``program(inputs)`` gives outputs, attributions and completeness gaps.

    Raises:
        TraceError: If no graph does what the function does; the message names the operation, its
            module and what to do.
        XDNNError: If the program does not give what ``attribute`` gives for the example.
        AssertionError: For wrong input, as in Captum.

    Source:
        Sundararajan, Taly, Yan (ICML 2017); Hesse, Schaub-Meyer, Roth (NeurIPS 2021),
        Proposition 3.2 and Corollary 3.4.

    Example:
        >>> import torch
        >>> from captum_xdnn.export import export_attribution
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False)
        ... )
        >>> program = export_attribution(net, torch.rand(3, 4))
        >>> found = program(torch.rand(5, 4))
        >>> program.route, tuple(found.attributions.shape)
        ('single_pass', (5, 4))
        >>> bool(found.completeness_gap.abs().max() < 1e-5)
        True
    """
    tensors, starts = format_input_baseline(inputs, baselines)
    validate_input(tensors, starts, n_steps, "gausslegendre")
    arguments = format_additional_forward_args(additional_forward_args) or ()
    call = Call(tensors, starts, None, arguments)
    choice, given = target_of(target, call.size)
    for start in starts:
        if dynamic_batch and isinstance(start, Tensor) and start.dim() and len(start) > 1:
            raise AssertionError(ONE_ROW.format(rows=len(start)))
    if layer is not None and not isinstance(layer, nn.Module):
        raise AssertionError(ONE_LAYER.format(type(layer).__name__))
    refused = unsuitable(tensors) if layer is None else None
    if refused is not None:
        raise TraceError(UNSUITABLE.format(refused.blockers[0].reason))
    if not all(bool(torch.as_tensor(value).isfinite().all()) for value in (*tensors, *starts)):
        raise TraceError(NOT_FINITE)
    function = Function(forward_func, layer, n_steps, baselines, arguments)
    with ONE_AT_A_TIME, left_alone(forward_func, *tensors, *arguments):
        with torch.no_grad():
            output = forward_func(*tensors, *arguments)
        if isinstance(output, Tensor):
            if output.shape[:1] != (call.size,):
                raise TraceError(NO_ROWS.format(tuple(output.shape), call.size))
            choice = fitting(choice, output)
        making = Making(forward_func, call, choice, layer, n_steps, dynamic_batch=dynamic_batch)
        expected, method = function.attribute(tensors, choice.of_captum(output, given))
        certificate: Certificate = method.certificate or certify(
            forward_func, inputs, baselines, additional_forward_args
        )
        if making.verdict.homogeneous and method.last_route != "single_pass":
            raise TraceError(REFUSED.format(certificate))
        program, names = making.program(given)
    facts = Facts(
        route=making.route,
        certificate=certificate,
        target=choice.described,
        baseline=tuple("tensor" if isinstance(s, Tensor) else s for s in starts),
        n_steps=None if making.route == "single_pass" else n_steps,
        inputs=names,
        outputs=making.results,
        batch=None if dynamic_batch else call.size,
        weights_sha256=hash_of(program.state_dict.items()),
        versions=versions(),
    )
    made = AttributionProgram(program.module(), facts, function, program, making.places)
    made.compare(made(*making.example(given)), expected, output, EXPORTED)
    return made
