"""Certificates: a verdict on a run in the terms of the user's own model, and ``certify``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from captum_xdnn.checks.gradient_law import custom_functions_of
from captum_xdnn.errors import first_line
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.certificate_figure import strip_of
from captum_xdnn.proof.findings import Blocker
from captum_xdnn.proof.remedies import of_returned, of_whole_numbers, remedy_of
from captum_xdnn.proof.verdict import WRITES
from captum_xdnn.proof.watching import Watched, known_baseline, unsuitable, watch
from captum_xdnn.recording.places import Names, Place
from captum_xdnn.routes.plan import is_certain, plan_of, worthwhile
from captum_xdnn.routes.request import Call

STEPS = 50
"""Captum's number of steps, for which the gain of hoisting is stated."""


def certificate_of(function: Callable[..., Any], watched: Watched) -> Certificate:
    """The verdict on a run, with the places of the user's that it speaks of."""
    verdict, tape = watched.verdict, watched.tape
    if verdict is None or tape is None:
        return Certificate.untraceable(str(watched.error))
    names = Names(function)
    places: list[Place | None] = list(tape.places)
    modules = [names.of(place) for place in places]
    tensors = names.tensors(function) if verdict.answers or verdict.form[2] else {}

    def name_of(number: int) -> str:
        held = tape.sources.get(number)
        known = tensors.get(id(held), "") if held is not None else ""
        return known or f"a tensor of shape {tuple(held.shape) if held is not None else ()}"

    if verdict.homogeneous:
        return Certificate(
            homogeneous=True,
            degree=verdict.degree,
            affine=verdict.affine,
            trunk_share=1.0,
            relied=tuple(name_of(node.number) for node in verdict.relied),
            segments=lambda: strip_of(verdict, modules, ()),
        )
    blockers: dict[Any, Blocker] = {}
    for obstacle in verdict.obstacles:
        node, reason = obstacle.node, obstacle.reason
        at = node.step if 0 <= node.step < len(places) else -1
        module, kind = modules[at] if at >= 0 else ("", "")
        place = places[at] if at >= 0 else None
        key: Any = node
        if obstacle.source is not None and reason == WRITES.format(obstacle.source.name):
            reason = WRITES.format(name_of(obstacle.source.number).rsplit(".", 1)[-1])
            key = (module, kind, obstacle.remedy)
        op, remedy = str(node.target), remedy_of(obstacle, verdict.graph)
        if node.op == "placeholder":
            op = "input"
            if node in verdict.graph.inputs and not node.flaw:
                reason, remedy = getattr(function, "shift", None) or (reason, remedy)
        if verdict.graph.output is None and node.target == "return":
            reason, remedy = of_returned(watched.output)
        location = "" if place is None else place.location()
        blocker = Blocker(op, module, kind, location, reason, remedy)
        blockers.setdefault((key, obstacle.reason if key is node else ""), blocker)
    plan = plan_of(verdict)
    hoisted = worthwhile(verdict, STEPS)
    if hoisted is not None and (tape.touches or custom_functions_of(watched.output)):
        hoisted = None
    trunk = () if plan is None else plan.split.trunk
    return Certificate(
        homogeneous=False,
        degree=None,
        blockers=tuple(blockers.values()),
        trunk_share=0.0 if plan is None else plan.trunk_share(),
        speed_up=1.0 if hoisted is None else hoisted.speed_up(STEPS),
        rows=verdict.graph.size,
        timed=hoisted is not None
        and not is_certain(hoisted.gain(STEPS), verdict.graph.inputs[0].value.device),
        segments=lambda: strip_of(verdict, modules, trunk),
    )


def certify(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    baselines: Any = None,
    additional_forward_args: Any = None,
) -> Certificate:
    r"""Watch one forward pass and say whether Integrated Gradients is exact in a single pass.

    Args:
        forward_func: The function, as given to ``captum.attr.IntegratedGradients``. It runs once.
        inputs: Example input or tuple of inputs, shape ``(B, ...)``. The verdict holds for every
            value of inputs of these shapes, dtypes and devices.
        baselines: As in Captum: None (zero), a number, a tensor of the input's shape or of batch
            size 1, or a tuple of these.
        additional_forward_args: As in Captum: further arguments, not attributed.

    Returns:
        The certificate; ``print`` it for a report.

    Raises:
        AssertionError: If the inputs are no tensor or tuple of tensors, or the baselines do not
            match them, as in Captum.

    Example:
        >>> import torch
        >>> from captum_xdnn import certify
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU())
        >>> certify(net, torch.zeros(2, 4)).degree
        Fraction(1, 1)
        >>> certify(torch.nn.Softmax(-1), torch.zeros(2, 4)).blockers[0].reason
        'softmax compares exponentials, which do not scale'
    """
    given, starts = _formatted(inputs, baselines)
    call = Call(given, starts, None, ()).on_the_ray()
    tensors, starts = call.inputs, call.baselines
    refused = unsuitable(tensors)
    if refused is not None:
        whole = any(not (x.is_floating_point() or x.is_complex()) for x in tensors)
        return refused.remedied(of_whole_numbers(forward_func)) if whole else refused
    arguments = additional_forward_args
    if arguments is None:
        arguments = ()
    elif not isinstance(arguments, tuple):
        arguments = (arguments,)
    leaves = tuple(x.detach().clone().requires_grad_() for x in tensors)
    zeros = tuple(known_baseline(b) for b in starts)
    watched = watch(forward_func, leaves, zeros, arguments)
    watched.put_back()
    if isinstance(watched.error, BaseException):
        raised = Certificate.untraceable(f"it raises {first_line(watched.error)}")
        indices = unsuitable(given)  # whole numbers that are no numbers
        return indices.remedied(of_whole_numbers(forward_func)) if indices else raised
    return certificate_of(forward_func, watched)


def _formatted(
    inputs: Any, baselines: Any
) -> tuple[tuple[Tensor, ...], tuple[Tensor | float, ...]]:
    tensors: Sequence[Any] = inputs if isinstance(inputs, tuple) else (inputs,)
    wrong = [type(t).__name__ for t in tensors if not isinstance(t, Tensor)]
    if wrong or not tensors:
        message = f"inputs must be a tensor or a tuple of tensors, found {', '.join(wrong) or '()'}"
        raise AssertionError(message)
    if baselines is None:
        baselines = (0,) * len(tensors)
    starts = baselines if isinstance(baselines, tuple) else (baselines,)
    if len(starts) != len(tensors):
        message = f"{len(tensors)} inputs, but {len(starts)} baselines"
        raise AssertionError(message)
    for index, (tensor, start) in enumerate(zip(tensors, starts, strict=True)):
        matches = isinstance(start, int | float) or (
            isinstance(start, Tensor)
            and start.shape[1:] == tensor.shape[1:]
            and start.shape[:1] in (tensor.shape[:1], (1,))
        )
        if not matches:
            message = (
                f"baseline {index} must be a number or a tensor of shape {tuple(tensor.shape)} "
                f"or of batch size 1, found {getattr(start, 'shape', type(start).__name__)}"
            )
            raise AssertionError(message)
    return tuple(tensors), tuple(starts)
