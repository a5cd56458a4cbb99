"""Single deletion: does the attribution order the patches of an image as deleting them does?"""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.metrics.difference import rank_correlation
from captum_xdnn.metrics.masking import explained_of_each
from captum_xdnn.priors.attributions import images_and_maps, positive_integer


def single_deletion_score(
    forward_func: Callable[..., Any],
    inputs: Tensor,
    attributions: Tensor,
    target: Any,
    *,
    patches: int = 4,
    fill: float = 0.0,
) -> Tensor:
    r"""Rank correlation between a patch's attribution and the drop of the output without it.

    The image is divided into ``patches`` x ``patches`` parts. With :math:`x^{(p)}` the image in
    which part ``p`` is filled, the score of an example is Spearman's correlation, over all parts,
    between :math:`\sum_{i \in p} A_i` and :math:`F(x) - F(x^{(p)})`. For the *in-domain* score the
    network has to be trained, or fine-tuned, on images with parts deleted; that is the caller's.

    Args:
        forward_func: The function, as in Captum.
        inputs: Images, shape ``(B, C, H, W)``.
        attributions: Shape ``(B, C, H, W)``, or with one channel.
        target: Index of the explained output, in any of Captum's forms.
        patches: Number of parts along each side, 4 in the paper.
        fill: What a deleted part is filled with.

    Returns:
        Shape ``(B,)``, in float64, between -1 and 1; NaN where all parts are alike, or one is NaN.

    Raises:
        AssertionError: If inputs or attributions are no tensors, or the target does not choose one
            output for each example, as in Captum.
        IndexError: If there is no such output, as in Captum.
        ValueError: If their dtypes are not real and floating or their shapes do not match, or
            ``patches`` is not between 2 and the number of pixels along the shorter side.

    Source:
        Hesse, Schaub-Meyer, Roth, *Benchmarking the Attribution Quality of Vision Models*
        (NeurIPS 2024), Section 3.

    Example:
        >>> import torch
        >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> def brightness(x):
        ...     return x.sum((1, 2, 3))[:, None]
        >>> single_deletion_score(brightness, image, image, 0, patches=2)
        tensor([1.0000], dtype=torch.float64)
    """
    images, maps = images_and_maps(inputs, attributions)
    height, width = images.shape[2:]
    if not 1 < positive_integer(patches, "patches") <= min(height, width):
        raise ValueError(f"{patches} x {patches} patches of images of {height} x {width} pixels")
    bounds = ([length * i // patches for i in range(patches + 1)] for length in (height, width))
    parts = product(*([slice(*ends) for ends in pairwise(along)] for along in bounds))
    sums, drops = [], []
    with torch.no_grad():
        whole = explained_of_each(forward_func(images), target, len(images))
        for rows, columns in parts:
            deleted = images.clone()
            deleted[:, :, rows, columns] = fill
            left = explained_of_each(forward_func(deleted), target, len(images))
            drops.append(whole - left)
            sums.append(maps[:, :, rows, columns].double().flatten(1).sum(1))
    return rank_correlation(torch.stack(sums, 1), torch.stack(drops, 1).to(sums[0].device).double())
