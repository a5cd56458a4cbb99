"""``Homogenized``: any network made nonnegatively homogeneous by the length of its input."""

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._torch import pytree


class Homogenized(nn.Module):
    r"""Evaluate a network on the direction of its input, and scale its output by the length.

    .. math:: y(x) = \frac{\lVert x \rVert}{r} \, f\!\left(r \frac{x}{\lVert x \rVert}\right),
        \qquad y(0) = 0

    For every :math:`a \ge 0`, :math:`y(a x) = a \, y(x)`, whatever :math:`f` does for a fixed
    input: Integrated Gradients from the zero baseline is :math:`x \, \partial y / \partial x`, in
    one pass. The class that scores highest for :math:`x` is the one of :math:`f` for the input of
    length :math:`r` in the same direction. The gradient at :math:`x = 0` is zero.

    Args:
        module: The network :math:`f`; its output is a tensor, or any nesting of tensors in tuples,
            lists, dicts and what else is registered with torch's pytree. Tensors of another than a
            floating or complex dtype (class indices) are handed on as they are. It is evaluated at
            0, too, and has to be finite there.
        radius: The length :math:`r > 0` at which the network is evaluated. For a network that has
            been trained on inputs of a typical length, that length: inputs of length ``r`` give
            the network's own output.
        n_inputs: So many of the first arguments are inputs, whose joint length counts; further
            arguments are handed on as they are. Inputs are given by position.

    Shapes:
        Inputs ``(B, ...)`` of a real floating dtype; outputs as those of ``module``, dimension 0 the
        batch, of their dtypes. Lengths are computed in single precision or better, in which their
        squares have to be numbers: in single precision lengths from about 1e-18 to 1e19, and 0.

    Raises:
        TypeError: If it is called with fewer than ``n_inputs`` floating-point tensors, or its output
            holds what is no tensor and no integer, string or None.
        ValueError: If ``radius`` is not a positive number, or ``n_inputs`` not a positive integer;
            if dimension 0 of the inputs or of an output is not the batch.

    Source:
        Nonnegative homogeneity: Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Definition 3.3.

    Example:
        >>> import torch
        >>> from captum_xdnn import certify
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
        >>> certify(net, torch.zeros(2, 4)).homogeneous
        False
        >>> certify(Homogenized(net), torch.zeros(2, 4)).degree
        Fraction(1, 1)
    """

    def __init__(self, module: nn.Module, radius: float = 1.0, n_inputs: int = 1) -> None:
        super().__init__()
        if not (isinstance(radius, int | float | Real) and 0 < radius < math.inf):
            raise ValueError(f"radius must be a positive number, found {radius!r}")
        if not isinstance(n_inputs, int | Integral) or n_inputs < 1:
            raise ValueError(f"n_inputs must be a positive integer, found {n_inputs!r}")
        self.module = module
        self.radius = float(radius)
        self.n_inputs = int(n_inputs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate the network; the first ``n_inputs`` arguments are its inputs."""
        inputs, further = args[: self.n_inputs], args[self.n_inputs :]
        real = [isinstance(x, Tensor) and x.is_floating_point() for x in inputs]
        if not all(real) or len(real) < self.n_inputs:
            found = ", ".join(str(getattr(x, "dtype", type(x).__name__)) for x in inputs) or "none"
            raise TypeError(
                "Homogenized takes floating-point tensors by position, as many as n_inputs = "
                f"{self.n_inputs}; found {found}"
            )
        square = _square_length(inputs)
        # Divided by infinity, an input of length zero has the direction 0, and all its gradients
        # are 0; the root of a square of 0 would have none.
        divisor = square.masked_fill(square == 0, math.inf).sqrt() / self.radius
        length = divisor.masked_fill(square == 0, 0)
        directions = [(x / _beside(divisor, x)).to(x.dtype) for x in inputs]
        output = self.module(*directions, *further, **kwargs)
        return pytree.tree_map(lambda y: _scaled(y, length), output)

    def extra_repr(self) -> str:
        """The radius, and the number of inputs if there are several."""
        several = f", n_inputs={self.n_inputs}" if self.n_inputs > 1 else ""
        return f"radius={self.radius:g}{several}"


def _square_length(inputs: tuple[Tensor, ...]) -> Tensor:
    """The joint squared length of each example, shape ``(B,)``, in single precision or better."""
    first, *others = inputs
    if not all(x.dim() for x in inputs) or any(len(x) != len(first) for x in others):
        found = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(f"dimension 0 of the inputs must be the batch, found the shapes {found}")
    flat = [x.reshape(x.shape[0], math.prod(x.shape[1:])) for x in inputs]
    joint = flat[0] if len(flat) == 1 else torch.cat(flat, 1)
    return joint.to(torch.promote_types(joint.dtype, torch.float32)).square().sum(1)


def _scaled(output: Any, length: Tensor) -> Any:
    """An output times the lengths, in its own dtype."""
    if output is None or isinstance(output, int | str):
        return output
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise TypeError(f"the output has to be a tensor, or a nesting of tensors; found a {kind}")
    if not (output.is_floating_point() or output.is_complex()):
        return output
    if output.shape[:1] != length.shape:
        raise ValueError(
            f"dimension 0 of the output must be the batch of {length.shape[0]}, "
            f"found the shape {tuple(output.shape)}"
        )
    return (output * _beside(length, output)).to(output.dtype)


def _beside(length: Tensor, tensor: Tensor) -> Tensor:
    """One number for each example, in a shape that multiplies the tensor."""
    return length.reshape(-1, *(1,) * (tensor.dim() - 1))
