"""The certificate: a verdict about a function, a baseline and a kind of input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor

from captum_xdnn.homogeneity import report
from captum_xdnn.homogeneity.blocker import Blocker


@dataclass(frozen=True)
class Certificate:
    r"""Whether Integrated Gradients is exact in a single pass, proved from the traced graph.

    With baseline :math:`b` and :math:`z(a) = b + a (x - b)`, a positive verdict states that for
    *every* input :math:`x` the output obeys :math:`F(z(a)) = a^k F(x)` (``affine`` is false), or
    :math:`F(z(a)) = F(b) + a (F(x) - F(b))` (``affine`` is true, :math:`k = 1`), and hence

    .. math:: \mathrm{IG}_i = \tfrac{1}{k} (x_i - b_i) \, \partial F / \partial x_i (x).

    Attributes:
        homogeneous: Whether a single pass is exact.
        degree: The degree :math:`k`; None if ``homogeneous`` is false.
        affine: Whether a constant stands beside a part of degree 1.
        blockers: What stands in the way, in the order of the computation.
        relied: Names of the tensors whose values the proof read (a bias that is zero).

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Proposition 3.2 and Corollary 3.4; the affine
        case is derived in the documentation.
    """

    homogeneous: bool
    degree: Fraction | None
    affine: bool = False
    blockers: tuple[Blocker, ...] = ()
    relied: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.homogeneous and self.degree is not None:
            return report.positive(self.degree, self.relied, offset=self.affine)
        return report.negative(self.blockers)

    @classmethod
    def refused(cls, *blockers: Blocker) -> Certificate:
        """A negative verdict."""
        return cls(homogeneous=False, degree=None, blockers=blockers)

    @classmethod
    def untraceable(cls, reason: str) -> Certificate:
        """The verdict on a function of which there is no graph."""
        remedy = (
            "write the function in tensor operations, without Python decisions on values of "
            "tensors (if, while, .item()) and without state that it changes"
        )
        blocker = Blocker("torch.export", "", "", "", f"it cannot be traced: {reason}", remedy)
        return cls.refused(blocker)

    @classmethod
    def contradicted(cls, reason: str) -> Certificate:
        """The verdict on a function whose certificates kept failing in use."""
        remedy = (
            "look for what the graph does not show: a custom backward pass, a backward hook, a "
            "function that is replaced during the call"
        )
        text = f"earlier certificates were contradicted by calls: {reason}"
        return cls.refused(Blocker("autograd", "", "", "", text, remedy))


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
    from captum_xdnn.homogeneity.knowledge import knowledge_of

    formatted, formatted_baselines = _formatted(inputs, baselines)
    arguments = additional_forward_args
    if arguments is None:
        arguments = ()
    elif not isinstance(arguments, tuple):
        arguments = (arguments,)
    knowledge = knowledge_of(forward_func)
    knowledge.forget_values()
    return knowledge.analyse(forward_func, formatted, formatted_baselines, arguments).certificate


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
