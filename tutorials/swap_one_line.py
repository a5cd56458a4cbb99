"""Swap one line in existing Captum code: the class that is imported. About ten seconds.

    python tutorials/swap_one_line.py

Attributes ten bundled Fashion-MNIST images once with Captum's Integrated Gradients and once with
``XIntegratedGradients``, each also inside of Captum's ``NoiseTunnel`` and under its ``infidelity``
metric, and shows that the numbers agree and what each took.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from captum.metrics import infidelity
from torch import Tensor

from captum_xdnn import XIntegratedGradients  # the line to add; everything below is Captum's API
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import X_CNN_Small_Weights, x_cnn_small


def seconds(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The result of a call, and how long a second call takes."""
    function()
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Noise on the image, for the infidelity metric."""
    noise = 0.05 * torch.randn_like(inputs)
    return noise, inputs - noise


def main() -> None:
    """Compare the two, and fail if they disagree."""
    model = x_cnn_small(weights=X_CNN_Small_Weights.FASHION_MNIST).eval()
    images, labels, _ = load_fashion_mnist_samples()
    theirs, ours = IntegratedGradients(model), XIntegratedGradients(model)

    slow, slow_seconds = seconds(lambda: theirs.attribute(images, target=labels, n_steps=50))
    fast, fast_seconds = seconds(lambda: ours.attribute(images, target=labels))
    gap = float((slow - fast).abs().sum() / fast.abs().sum())
    print(
        f"route {ours.last_route}; {slow_seconds / fast_seconds:.0f}x faster; differ by {gap:.1%}"
    )
    print(ours.certificate)
    assert ours.last_route == "single_pass"
    assert gap < 0.01

    results = []
    for method in (theirs, ours):
        torch.manual_seed(0)
        smooth = NoiseTunnel(method).attribute(
            images, nt_samples=5, nt_samples_batch_size=5, stdevs=0.1, target=labels
        )
        torch.manual_seed(0)
        score = infidelity(model, perturb, images, smooth, target=labels).mean()
        results.append((smooth, float(score)))
    (smooth_theirs, score_theirs), (smooth_ours, score_ours) = results
    gap = float((smooth_theirs - smooth_ours).abs().sum() / smooth_ours.abs().sum())
    print(f"NoiseTunnel: differ by {gap:.1%}; infidelity {score_theirs:.4f} and {score_ours:.4f}")
    assert gap < 0.01


if __name__ == "__main__":
    main()
