"""Hoisted attributions are Captum's: the same nodes, the same weights, the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum_parity import default_dtype, gap, noise, ours, theirs
from hoisted_examples import EXAMPLES, RECURRENT, example_of
from hoisted_networks import Example, bias_free, images, randomised, rows
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

pytestmark = pytest.mark.usefixtures("always_hoisted")

CLOSE, CLOSE_FLOAT = 1e-7, 1e-5
TIMES_NOISE = 4
"""In float32, units at a kink fall to one side or the other by rounding, in Captum's own batches of
another size as well. Where a difference is above 1e-5, it is held against what Captum differs from
itself: between two values of ``internal_batch_size``, and between float32 and float64."""


def assert_parity(build: Callable[[], Example], dtype: torch.dtype, **more: Any) -> None:
    with default_dtype(dtype):
        example = build()
    found, route = ours(example, **more)
    assert route == "hoisted"
    off = gap(found, theirs(example, **more))
    if dtype == torch.float64:
        print(f"float64 {off:.1e}")
        assert off <= CLOSE
    elif off <= CLOSE_FLOAT:
        print(f"float32 {off:.1e}")
    else:
        captums = noise(example, **more)
        print(f"float32 {off:.1e} where Captum differs from itself by {captums:.1e}")
        assert off <= TIMES_NOISE * captums


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
def test_float64(name: str, method: str) -> None:
    assert_parity(EXAMPLES[name], torch.float64, n_steps=7, method=method)


@pytest.mark.parametrize("name", EXAMPLES)
def test_float32(name: str) -> None:
    assert_parity(EXAMPLES[name], torch.float32, n_steps=7)


@pytest.mark.parametrize("name", ["softmax", "attention", "group norm", "several degrees"])
def test_captums_number_of_steps(name: str) -> None:
    assert_parity(EXAMPLES[name], torch.float64, n_steps=50)
    assert_parity(EXAMPLES[name], torch.float32, n_steps=50)


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_head_is_captums(name: str) -> None:
    with default_dtype(torch.float64):
        example = RECURRENT[name]()
    found, route = ours(example, n_steps=7)
    assert route == "captum"
    assert gap(found, theirs(example, n_steps=7)) == 0


def test_there_are_many() -> None:
    assert len(EXAMPLES) >= 55


@pytest.mark.parametrize("shape", [(6, 5), (5,), ()])
def test_an_argument_that_is_no_batch(shape: tuple[int, ...]) -> None:
    """Captum would repeat it for each step: it is compared with a function that holds it."""
    with default_dtype(torch.float64):
        net, weights, (x,) = bias_free(6, 8, 6), torch.randn(shape), rows()

    def function(x: Tensor, weights: Tensor) -> Tensor:
        h = net(x)
        return torch.sigmoid(h @ weights if weights.dim() == 2 else h[:, :5] * weights)

    arguments = {"target": 1, "n_steps": 7}
    expected = theirs(Example(lambda x: function(x, weights), (x,), {}), **arguments)
    found, route = ours(
        Example(function, (x,), {}), **arguments, additional_forward_args=(weights,)
    )
    assert route == "hoisted"
    assert gap(found, expected) <= CLOSE


@pytest.mark.parametrize("name", ["softmax", "attention", "closure", "batch norm", "two inputs"])
def test_a_batch_of_one(name: str) -> None:
    example = example_of(name)
    alone = Example(example.function, tuple(x[:1] for x in example.inputs), example.call)
    for _ in range(2):
        found, route = ours(alone, n_steps=7)
        assert route == "hoisted"
        assert gap(found, theirs(alone, n_steps=7)) <= CLOSE


def test_one_network_with_changing_baselines() -> None:
    """A plan is kept; what it computes at the baseline must be that of the call."""
    example = example_of("biased, GELU")
    (x,) = example.inputs
    baselines = [0, 0.5, x.flip(0), torch.zeros_like(x), x[:1], 0]
    for baseline in baselines:
        found, route = ours(example, n_steps=5, baselines=baseline)
        assert route == "hoisted"
        assert gap(found, theirs(example, n_steps=5, baselines=baseline)) <= CLOSE


def test_two_inputs_of_which_either_has_a_baseline() -> None:
    first, second = nn.Linear(6, 8).double(), nn.Linear(6, 8).double()

    def function(x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(first(x) + second(y))

    inputs = tuple(torch.randn(2, 3, 6, dtype=torch.float64).unbind(0))
    for baselines in ((0.5, 0), (0, 0.5), (0, 0), (0.25, 0.5)):
        example = Example(function, inputs)
        found, route = ours(example, n_steps=5, baselines=baselines)
        assert route == "hoisted"
        assert gap(found, theirs(example, n_steps=5, baselines=baselines)) <= CLOSE


def test_weights_that_are_trained_between_calls() -> None:
    example = example_of("biased, ReLU")
    for _ in range(3):
        found, route = ours(example, n_steps=5)
        assert route == "hoisted"
        assert gap(found, theirs(example, n_steps=5)) <= CLOSE
        with torch.no_grad():
            for parameter in example.function.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))


def test_a_network_that_pays_is_hoisted_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 3, bias=False),
        nn.Softmax(1),
    )
    example = Example(net, (torch.randn(2, 3, 16, 16),))
    found, route = ours(example, n_steps=20)
    assert route == "hoisted"
    assert gap(found, theirs(example, n_steps=20)) <= CLOSE_FLOAT


torchvision = pytest.importorskip("torchvision")

SMALL = {"squeezenet1_1": 48, "mobilenet_v3_small": 32, "shufflenet_v2_x0_5": 32, "resnet18": 32}
LARGE = {
    "alexnet": 64, "vgg11_bn": 32, "resnet50": 32, "resnext50_32x4d": 32, "wide_resnet50_2": 32,
    "densenet121": 32, "googlenet": 64, "inception_v3": 96, "mobilenet_v2": 32, "mnasnet0_5": 32,
    "efficientnet_b0": 32, "regnet_y_400mf": 32, "regnet_x_400mf": 32, "convnext_tiny": 32,
    "vit_b_32": 32, "swin_t": 32,
}  # fmt: skip


def classifier(name: str, size: int) -> Example:
    """A model with random biases and batch norms, so that no shift is zero by chance."""
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    more |= {"image_size": size} if name.startswith("vit") else {}
    net = randomised(torchvision.models.get_model(name, weights=None, **more)).eval()
    return Example(net, (torch.randn(2, 3, size, size),), {"target": 5})


def unspoilt(name: str, size: int, dtype: torch.dtype) -> None:
    assert_parity(lambda: classifier(name, size), dtype, n_steps=3)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_classifiers(name: str, dtype: torch.dtype) -> None:
    unspoilt(name, SMALL[name], dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_larger_classifiers(name: str, dtype: torch.dtype) -> None:
    unspoilt(name, LARGE[name], dtype)


def test_strategy_single_pass_does_not_hoist() -> None:
    from captum_xdnn import NotHomogeneousError

    example = example_of("softmax")
    xig = XIntegratedGradients(example.function, strategy="single_pass")
    with pytest.raises(NotHomogeneousError):
        xig.attribute(example.inputs, **example.call)
    assert images()[0].shape == (3, 3, 8, 8)
