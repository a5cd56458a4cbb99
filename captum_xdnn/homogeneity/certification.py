"""``certify``: the verdict on a function, asked for by a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.remembered import knowledge_of


def certify(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    baselines: Any = None,
    additional_forward_args: Any = None,
) -> Certificate:
    r"""Analyse a function and say whether Integrated Gradients is exact in a single pass.

    Args:
        forward_func: The function, as given to ``captum.attr.IntegratedGradients``.
        inputs: Example input or tuple of inputs, shape ``(B, ...)``; only the shapes, dtypes and
            devices count: the verdict holds for every value.
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
    formatted, formatted_baselines = _formatted(inputs, baselines)
    arguments = additional_forward_args
    if arguments is None:
        arguments = ()
    elif not isinstance(arguments, tuple):
        arguments = (arguments,)
    knowledge = knowledge_of(forward_func)
    knowledge.forget_values()
    analysis = knowledge.analyse(
        forward_func, formatted, formatted_baselines, arguments, patient=True
    )
    return analysis.certificate


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
