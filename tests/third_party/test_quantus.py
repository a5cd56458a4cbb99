"""Quantus builds ``IntegratedGradients`` itself, with ten steps of the trapezoidal rule."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from captum.attr import IntegratedGradients
from in_two_ways import in_two_ways, installed
from torch import nn

from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import x_cnn_small

quantus = installed("quantus")

# Quantus says that a softmax layer is the last one, which it is.
pytestmark = pytest.mark.filterwarnings("ignore:The combination of the value:UserWarning")

IMAGES, LABELS, _ = load_fashion_mnist_samples()
X, Y = IMAGES.numpy(), LABELS.numpy()


def homogeneous() -> nn.Module:
    return x_cnn_small(weights="FASHION_MNIST").eval()


def with_softmax() -> nn.Module:
    """Its first part is homogeneous and runs once, the softmax at each of Captum's nodes."""
    return nn.Sequential(x_cnn_small(weights="FASHION_MNIST"), nn.Softmax(-1)).eval()


def explanation(model: nn.Module) -> np.ndarray:
    return quantus.explain(model, X, Y, method="IntegratedGradients")


def scores(metric: Any, model: nn.Module) -> np.ndarray:
    return np.asarray(
        metric(
            model=model,
            x_batch=X,
            y_batch=Y,
            explain_func=quantus.explain,
            explain_func_kwargs={"method": "IntegratedGradients"},
            channel_first=True,
            device="cpu",
        )
    )


def test_explain_a_network_with_a_softmax() -> None:
    model = with_softmax()
    captums, ours, routes = in_two_ways(lambda: explanation(model))
    assert routes == Counter(hoisted=1)
    assert (type(ours), ours.dtype, ours.shape) == (np.ndarray, np.float32, (10, 1, 28, 28))
    np.testing.assert_allclose(ours, captums, rtol=1e-5, atol=1e-6 * np.abs(captums).max())


def test_explain_a_homogeneous_network() -> None:
    """One pass gives the integral, of which the trapezoidal rule gives 0.85 with ten steps."""
    model = homogeneous()
    captums, ours, routes = in_two_ways(lambda: explanation(model))
    assert routes == Counter(single_pass=1)
    integral = IntegratedGradients(model).attribute(IMAGES, target=LABELS).numpy()
    close = {"rtol": 1e-5, "atol": 1e-6 * np.abs(integral).max()}
    np.testing.assert_allclose(ours, integral, **close)
    np.testing.assert_allclose(captums, 0.85 * integral, **close)


@pytest.mark.parametrize(
    ("make", "route"), [(homogeneous, "single_pass"), (with_softmax, "hoisted")]
)
def test_a_metric_that_explains_again_and_again(make: Any, route: str) -> None:
    """Relative to the explanation itself, so that a constant factor changes nothing."""
    model, samples = make(), 3
    captums, ours, routes = in_two_ways(
        lambda: scores(
            quantus.MaxSensitivity(
                nr_samples=samples, abs=False, normalise=False, disable_warnings=True
            ),
            model,
        )
    )
    assert routes == Counter({route: 1 + samples})
    assert ours.shape == (10,)
    np.testing.assert_allclose(ours, captums, rtol=1e-4)


def test_completeness() -> None:
    """Quantus asks for equality, so the difference is taken here: rounding, not fifteen percent."""
    model = homogeneous()
    outputs = model(IMAGES)[range(10), LABELS].detach().numpy()
    captums, ours, _ = in_two_ways(lambda: explanation(model).sum((1, 2, 3)))
    np.testing.assert_allclose(ours, outputs, rtol=1e-5)
    assert (np.abs(captums / outputs - 1) > 0.1).all()
    plain, exact, routes = in_two_ways(
        lambda: scores(
            quantus.Completeness(abs=False, normalise=False, disable_warnings=True), model
        )
    )
    assert routes == Counter(single_pass=1)
    assert plain.sum() == 0
    assert exact.shape == (10,)
