"""Masking: what a network still knows when only a part of an image is left sharp."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xdnn.metrics.batches import pass_size
from captum_xdnn.priors.attributions import parts_of
from captum_xdnn.routes.call import Call
from captum_xdnn.routes.single_pass import explained

Metric = Literal["KPM", "KNM", "KAM", "RPM", "RNM", "RAM"]
METRICS = ("KPM", "KNM", "KAM", "RPM", "RNM", "RAM")
KERNEL, SIGMA = 51, 41.0
BLURS = {"intended": SIGMA, "original": math.sqrt(2) * SIGMA}
"""Standard deviation of the Gaussian: as the paper states it, and as its code made it."""
FRACTIONS = tuple(float(f) for f in torch.logspace(-2, 0, 16, dtype=torch.float64))


@dataclass(frozen=True)
class MaskingCurve:
    """A masking curve.

    Attributes:
        metric: Which of the six.
        fractions: Fractions of the pixels, ascending, ``K`` of them.
        per_example: Shape ``(B, K)``, in float64: the explained output, or 1 where the class is
            still the target's and 0 elsewhere.

    Example:
        >>> import torch
        >>> curve = MaskingCurve("KPM", (0.0, 0.5, 1.0), torch.tensor([[0.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))
        >>> curve.values, curve.area
        (tensor([0., 1., 2.]), 1.0)
    """

    metric: Metric
    fractions: tuple[float, ...]
    per_example: Tensor

    @property
    def values(self) -> Tensor:
        """The mean over the examples: an output, or top-1 accuracy in per cent. Shape ``(K,)``."""
        mean = self.per_example.mean(0)
        return 100 * mean if self.metric.endswith("AM") else mean

    @property
    def area(self) -> float:
        """Area under the curve over the fraction, by the trapezoidal rule."""
        places = torch.tensor(self.fractions, dtype=torch.float64)
        return float(torch.trapezoid(self.values.cpu(), places))


def masking_curve(
    forward_func: Callable[..., Any],
    inputs: Tensor,
    attributions: Tensor,
    target: Any,
    metric: Metric,
    *,
    fractions: Sequence[float] = FRACTIONS,
    blur: Literal["intended", "original"] | Callable[[Tensor], Tensor] = "intended",
    batch_size: int | None = None,
) -> MaskingCurve:
    r"""The output, or the accuracy, against the fraction of pixels that are left sharp.

    With the mean attribution of each pixel over the channels, ``s``, or ``-s``, or ``|s|`` (the
    middle letter: positive, negative, absolute), and :math:`k = \min(f H W, \#\{s > 0\})`:

    - ``KPM``, ``KNM``, ``KAM`` *keep* the ``k`` pixels with the largest values,
    - ``RPM``, ``RNM``, ``RAM`` *remove* the largest: the ``k`` with the smallest positive values
      stay.

    All others are replaced by those of the blurred image, also the ones that are not positive. The
    curve is the mean explained output; for ``KAM`` and ``RAM`` the accuracy, in per cent. A good
    attribution has high ``KPM``, ``KAM``, ``RNM`` and low ``KNM``, ``RPM``, ``RAM``.

    Args:
        forward_func: The function, as in Captum.
        inputs: Images, shape ``(B, C, H, W)``.
        attributions: Shape ``(B, C, H, W)``, or with one channel.
        target: Index of the explained output, in any of Captum's forms; for ``KAM`` and ``RAM`` the
            class, which an output of shape ``(B, C)`` has to be chosen by.
        metric: Which of the six.
        fractions: Fractions of the pixels, ascending.
        blur: ``"intended"``: a Gaussian of 51 x 51 pixels with standard deviation 41 and reflected
            borders; ``"original"``: the research code's, wider by the root of 2; or a function.
        batch_size: How many images in one pass; None for all.

    Returns:
        The curve.

    Raises:
        AssertionError: If inputs or attributions are no tensors, or the target does not choose one
            output for each example, as in Captum.
        IndexError: If there is no such output, as in Captum.
        ValueError: If a shape, fraction, name or size is wrong, an attribution is NaN, or the image
            is smaller than 26 pixels, too small for the blur.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Section 4.2, after Lundberg et al. (2020).

    Example:
        >>> import torch
        >>> image = torch.rand(1, 1, 28, 28)
        >>> def brightness(x):
        ...     return x.sum((1, 2, 3))[:, None]
        >>> def black(x):
        ...     return torch.zeros_like(x)
        >>> curve = masking_curve(brightness, image, image, 0, "KPM", fractions=(0.5, 1), blur=black)
        >>> bool((curve.values[1] - image.sum()).abs() < 1e-3)
        True
    """
    scores = _scores(inputs, attributions, metric)
    chosen = _checked(fractions)
    smooth = blur if callable(blur) else _gaussian(blur)
    size = pass_size(batch_size, len(inputs))
    call = Call((inputs, scores), (0, 0), target, ())
    columns = []
    with torch.no_grad():
        for part in call.chunks(size):
            images, order = part.inputs
            blurred = smooth(images)
            if blurred.shape != images.shape:
                message = f"blur gave {tuple(blurred.shape)} for images of {tuple(images.shape)}"
                raise ValueError(message)
            both = (images, blurred)
            columns.append(_of_batch(forward_func, both, order, part.target, metric, chosen))
    return MaskingCurve(metric, chosen, torch.cat(columns))


def _of_batch(
    forward_func: Callable[..., Any],
    images: tuple[Tensor, Tensor],
    scores: Tensor,
    target: Any,
    metric: Metric,
    fractions: tuple[float, ...],
) -> Tensor:
    sharp, blurred = images
    order = scores.sort(dim=1, descending=True, stable=True).indices
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    positive = (scores > 0).sum(1, keepdim=True)
    values = []
    for fraction in fractions:
        count = torch.clamp(positive, max=math.floor(fraction * scores.shape[1] + 1e-9))
        if metric.startswith("K"):
            kept = ranks < count
        else:
            kept = (ranks >= positive - count) & (ranks < positive)
        kept = kept.reshape(len(sharp), 1, *sharp.shape[2:])
        output = forward_func(torch.where(kept, sharp, blurred))
        there = target.to(output.device) if isinstance(target, Tensor) else target
        value = _hits(output, there) if metric.endswith("AM") else explained(output, there)
        values.append(value.double().reshape(-1))
    return torch.stack(values, 1)


def _hits(output: Tensor, target: Any) -> Tensor:
    """Whether the largest score is the target's: Captum's choice of an entry, made of the indices."""
    if output.dim() != 2:
        message = f"KAM and RAM need scores of shape (B, C), found {tuple(output.shape)}"
        raise ValueError(message)
    indices = torch.arange(output.shape[1], device=output.device).expand_as(output)
    return output.argmax(1) == explained(indices, target).reshape(-1)


def _scores(inputs: Tensor, attributions: Tensor, metric: str) -> Tensor:
    """What the pixels of each image are ordered by, shape ``(B, H W)``."""
    (images,), (maps,) = parts_of(inputs, "inputs"), parts_of(attributions)
    if metric not in METRICS:
        message = f"metric must be one of {', '.join(METRICS)}, found {metric!r}"
        raise ValueError(message)
    fits = images.dim() == maps.dim() == 4 and maps.shape[1] in (1, images.shape[1])
    if not fits or (images.shape[0], images.shape[2:]) != (maps.shape[0], maps.shape[2:]):
        message = (
            f"images must be of shape (B, C, H, W) and attributions like them, or with one channel; "
            f"found {tuple(images.shape)} and {tuple(maps.shape)}"
        )
        raise ValueError(message)
    scores = maps.detach().to(images.device).mean(1).flatten(1)
    if scores.isnan().any():
        message = "attributions must have an order, found NaN"
        raise ValueError(message)
    return {"P": scores, "N": -scores, "A": scores.abs()}[metric[1]]


def _checked(fractions: Sequence[float]) -> tuple[float, ...]:
    chosen = tuple(float(f) for f in fractions)
    ascending = all(a < b for a, b in pairwise(chosen))
    if not chosen or not ascending or chosen[0] < 0 or chosen[-1] > 1:
        message = f"fractions must ascend between 0 and 1, found {chosen}"
        raise ValueError(message)
    return chosen


def _gaussian(name: str) -> Callable[[Tensor], Tensor]:
    if name not in BLURS:
        message = f"blur must be a function or one of {', '.join(BLURS)}, found {name!r}"
        raise ValueError(message)
    from torchvision.transforms.functional import gaussian_blur

    def blurred(images: Tensor) -> Tensor:
        if min(images.shape[2:]) <= KERNEL // 2:
            message = (
                f"images of {tuple(images.shape[2:])} are too small for a blur of {KERNEL} x {KERNEL} "
                "pixels with reflected borders; give a function as blur"
            )
            raise ValueError(message)
        smooth: Tensor = gaussian_blur(images, [KERNEL, KERNEL], [BLURS[name]] * 2)
        return smooth

    return blurred
