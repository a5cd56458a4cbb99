"""Masking: what a network still knows when only a part of an image is left sharp."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from matplotlib.figure import Figure
from torch import Tensor

from captum_xdnn.figures import new_figure
from captum_xdnn.priors.attributions import images_and_maps, positive_integer
from captum_xdnn.routes.request import Call
from captum_xdnn.routes.single_pass import explained

Metric = Literal["KPM", "KNM", "KAM", "RPM", "RNM", "RAM"]
METRICS: tuple[str, ...] = get_args(Metric)
KERNEL, SIGMA = 51, 41.0
BLURS = {"intended": SIGMA, "original": math.sqrt(2) * SIGMA}
"""Standard deviation of the Gaussian: as the paper states it, and as its code made it."""
FRACTIONS = tuple(float(f) for f in torch.logspace(-2, 0, 16, dtype=torch.float64))
WIDEST = 3.5
"""Width of the first method's line in a figure: of equal curves each shows beneath the next."""


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
        ValueError: If a dtype, shape, fraction, name or size is wrong, an attribution is NaN, or the
            image is smaller than 26 pixels, too small for the blur.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Section 4.2, after Lundberg et al. (2020).

    Example:
        >>> import torch
        >>> image = torch.rand(1, 1, 28, 28)
        >>> def brightness(x):
        ...     return x.sum((1, 2, 3))[:, None]
        >>> black = torch.zeros_like
        >>> curve = masking_curve(brightness, image, image, 0, "KPM", fractions=(0.5, 1), blur=black)
        >>> bool((curve.values[1] - image.sum()).abs() < 1e-3)
        True
    """
    whole, scores = _images_and_scores(inputs, attributions, metric)
    chosen = tuple(float(f) for f in fractions)
    ascending = all(a < b for a, b in pairwise(chosen))
    if not chosen or not ascending or not all(0 <= f <= 1 for f in chosen):
        raise ValueError(f"fractions must ascend between 0 and 1, found {chosen}")
    smooth = blur if callable(blur) else partial(_gaussian, name=blur)
    size = len(whole) if batch_size is None else positive_integer(batch_size, "batch_size")
    call = Call((whole, scores), (0, 0), target, ())
    rows = []
    with torch.no_grad():
        for part in call.chunks(size):
            images, order = part.inputs
            blurred = smooth(images)
            if blurred.shape != images.shape:
                raise ValueError(
                    f"blur gave {tuple(blurred.shape)} for images of {tuple(images.shape)}"
                )
            values = []
            for kept in _kept(order, metric, chosen):
                sharp = kept.reshape(len(images), 1, *images.shape[2:])
                output = forward_func(torch.where(sharp, images, blurred))
                values.append(_value(output, part.target, metric, len(images)))
            rows.append(torch.stack(values, 1))
    return MaskingCurve(metric, chosen, torch.cat(rows))


def _kept(scores: Tensor, metric: str, fractions: tuple[float, ...]) -> Iterator[Tensor]:
    """For each fraction which pixels stay sharp, shape ``(B, H W)``."""
    ranks = scores.argsort(dim=1, descending=True, stable=True).argsort(1)
    positive = (scores > 0).sum(1, keepdim=True)
    places = ranks if metric.startswith("K") else positive - 1 - ranks
    for fraction in fractions:
        count = positive.clamp(max=math.floor(fraction * scores.shape[1] + 1e-9))
        yield (places >= 0) & (places < count)


def explained_of_each(output: Any, target: Any, count: int) -> Tensor:
    """The explained output of so many examples, shape ``(B,)``."""
    chosen = explained(output, target).reshape(-1)
    if len(chosen) != count:
        raise AssertionError(f"forward_func gave {len(chosen)} outputs for {count} images")
    return chosen


def _value(output: Tensor, target: Any, metric: str, count: int) -> Tensor:
    """The explained output, or whether the largest score is the target's, shape ``(B,)``."""
    target = target.to(output.device) if isinstance(target, Tensor) else target
    if not metric.endswith("AM"):
        return explained_of_each(output, target, count).double()
    if output.dim() != 2:
        raise ValueError(f"KAM and RAM need scores of shape (B, C), found {tuple(output.shape)}")
    # Captum's choice of an entry, made of the indices.
    indices = torch.arange(output.shape[1], device=output.device).expand_as(output)
    return (output.argmax(1) == explained_of_each(indices, target, count)).double()


def _images_and_scores(inputs: Any, attributions: Any, metric: str) -> tuple[Tensor, Tensor]:
    """The images, and what the pixels of each are ordered by, shape ``(B, H W)``."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, found {metric!r}")
    images, maps = images_and_maps(inputs, attributions)
    scores = maps.detach().to(images.device).mean(1).flatten(1)
    if scores.isnan().any():
        raise ValueError("attributions must have an order, found NaN")
    return images, {"P": scores, "N": -scores, "A": scores.abs()}[metric[1]]


def _gaussian(images: Tensor, name: str) -> Tensor:
    if name not in BLURS:
        raise ValueError(f"blur must be a function or one of {', '.join(BLURS)}, found {name!r}")
    if min(images.shape[2:]) <= KERNEL // 2:
        raise ValueError(
            f"images of {tuple(images.shape[2:])} are too small for a blur of {KERNEL} x {KERNEL} "
            "pixels with reflected borders; give a function as blur"
        )
    from torchvision.transforms.functional import gaussian_blur

    blurred: Tensor = gaussian_blur(images, [KERNEL, KERNEL], [BLURS[name]] * 2)
    return blurred


def masking_figure(curves: Mapping[str, Sequence[MaskingCurve]]) -> Figure:
    """Masking curves of several methods, one picture for each metric.

    Args:
        curves: For each method its curves, of the same metrics for all.

    Returns:
        A matplotlib figure that belongs to no window.

    Raises:
        ValueError: If there are no curves, or the methods have other metrics.

    Example:
        >>> import torch
        >>> curve = MaskingCurve("KPM", (0.1, 1.0), torch.rand(3, 2))
        >>> masking_figure({"one pass": [curve]}).axes[0].get_title()
        'KPM'
    """
    metrics = {tuple(curve.metric for curve in of_method) for of_method in curves.values()}
    if len(metrics) != 1 or not next(iter(metrics)):
        raise ValueError(f"each method needs curves of the same metrics, found {sorted(metrics)}")
    (names,) = metrics
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = new_figure(3.6 * columns, (2.8 + 0.16 * len(curves)) * lines)
    for place, metric in enumerate(names):
        axes = figure.add_subplot(lines, columns, place + 1)
        for order, (method, of_method) in enumerate(curves.items()):
            curve = of_method[place]
            label = f"{method}: {curve.area:.2f}"
            width = WIDEST - (WIDEST - 1) * order / len(curves)
            axes.plot(curve.fractions, curve.values.cpu(), label=label, linewidth=width)
        # There is no place for 0 on an axis of powers of ten.
        scale = "log" if any(of[place].fractions[-1] for of in curves.values()) else "linear"
        shown = "accuracy in %" if metric.endswith("AM") else "mean output"
        axes.set(xscale=scale, title=metric, xlabel="fraction of the pixels", ylabel=shown)
        small = {"fontsize": 7, "title_fontsize": 7, "frameon": False, "title": "area"}
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), **small)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
