"""Comparisons: what is measured, what is held against what, what is said of a method that fails."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, InputXGradient, IntegratedGradients, NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients
from captum_xdnn.compare import DEFAULT_METHODS, Comparison, compare
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.metrics import attribution_difference, rank_correlation
from captum_xdnn.models import x_cnn_small


def perceptron(*, bias: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 32, bias=bias), nn.ReLU(), nn.Linear(32, 3, bias=bias)
    ).double()


def rows(batch: int = 4) -> Tensor:
    return torch.randn(batch, 6, dtype=torch.float64)


def test_all_methods_on_a_network_without_biases() -> None:
    net, x, target = perceptron(), rows(), torch.tensor([0, 2, 1, 1])
    found = compare(net, x, target, rounds=1, perturbations=2)
    assert tuple(row.method for row in found.rows) == DEFAULT_METHODS
    assert (found.reference, found.speed_up_over) == ("IG(300)", "IG(50)")
    assert not any(row.failure for row in found.rows)
    ours = found["XIntegratedGradients"]
    assert (ours.route, ours.passes) == ("single_pass", 1)
    assert ours.gap < 1e-12
    assert ours.difference < 1e-6
    assert ours.rank_correlation == pytest.approx(1)
    assert found["IG(50)"].speed_up == 1
    assert found["IG(300)"].speed_up < 1 < ours.speed_up
    assert found["IG(50)"].passes == pytest.approx(50)
    assert found["InputXGradient"].difference < 1e-6  # on such a network it is the same number
    assert found["Saliency"].difference > 0.1
    for row in found.rows:
        assert row.seconds > 0
        assert row.memory > 0
        assert row.infidelity >= 0
        assert row.max_sensitivity >= 0
    assert ours.infidelity == pytest.approx(found["IG(300)"].infidelity, rel=1e-5)


def test_the_columns_are_what_they_say() -> None:
    net, x, target = perceptron(bias=True), rows(), 1
    found = compare(net, x, target, 0.3, methods=("IG(3)", "IG(40)"), rounds=1, perturbations=0)
    ig = IntegratedGradients(net)
    short, long = (ig.attribute(x, 0.3, target=target, n_steps=steps) for steps in (3, 40))
    (row, _), ends = found.rows, (net(x) - net(torch.full_like(x, 0.3)))[:, 1].detach()
    assert_close(found.attributions["IG(3)"][0], short)
    assert row.gap == pytest.approx(float((short.sum(1) - ends).abs().max()))
    assert row.difference == pytest.approx(float(attribution_difference(short, long).mean()))
    assert row.rank_correlation == pytest.approx(float(rank_correlation(short, long).mean()))
    assert (row.passes, row.route) == (pytest.approx(3), "")
    assert math.isnan(row.infidelity)
    assert found.speed_up_over == "IG(40)"


def _first(given: Any) -> Tensor:
    """A new tensor: Captum hands on tensors and tuples of one."""
    return (given[0] if isinstance(given, tuple) else given).detach()


def test_infidelity_and_sensitivity_are_captums() -> None:
    net, x = perceptron(), rows()
    (row,) = compare(net, x, 1, methods=("InputXGradient",), rounds=1, perturbations=6).rows
    method = InputXGradient(net)
    leaf = x.clone().requires_grad_()
    attributions = method.attribute(leaf, target=1).detach()

    def perturbed(given: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.1 * float(x.std()) * torch.randn_like(given)
        return noise, given - noise

    torch.manual_seed(0)
    wrong = infidelity(
        net, perturbed, x, attributions, target=1, n_perturb_samples=6, max_examples_per_batch=4
    )
    assert row.infidelity == pytest.approx(float(wrong.mean()), rel=1e-6)
    torch.manual_seed(0)
    sensitive = sensitivity_max(
        lambda given: (method.attribute(_first(given).requires_grad_(), target=1).detach(),),
        (x,),
        n_perturb_samples=6,
        max_examples_per_batch=4,
    )
    assert row.max_sensitivity == pytest.approx(float(sensitive.mean()), rel=1e-6)


def test_methods_of_ones_own() -> None:
    net, x = perceptron(), rows()

    def noise(inputs: Tensor, target: Any) -> Tensor:
        assert target == 1
        return torch.randn_like(inputs)

    methods = {
        "exact": XIntegratedGradients(net),
        "smooth": NoiseTunnel(InputXGradient(net)),
        "noise": noise,
        "short": "IG(5)",
    }
    found = compare(net, x, 1, methods=methods, reference="exact", rounds=1, perturbations=0)
    assert [row.method for row in found.rows] == list(methods)
    assert found["exact"].difference == 0
    assert found["short"].difference < 1e-6
    assert found["noise"].difference > 0.5
    assert found["noise"].passes == 0


def test_tuples_and_further_arguments() -> None:
    one, other = perceptron(), perceptron()

    def function(x: Tensor, y: Tensor, scale: float) -> Tensor:
        return scale * (one(x) + other(y))

    found = compare(
        function,
        (rows(), rows()),
        1,
        additional_forward_args=2.0,
        methods=("XIntegratedGradients", "IG(10)", "DeepLift"),
        rounds=1,
        perturbations=2,
    )
    ours = found["XIntegratedGradients"]
    assert ours.route == "single_pass"
    assert ours.difference < 1e-6
    assert len(found.attributions["IG(10)"]) == 2
    assert "nn.Module" in found["DeepLift"].failure
    assert "DeepLift" not in found.attributions
    assert "No attributions:\n\n- DeepLift: TypeError" in found.to_markdown()
    found.plot().canvas.draw()


def test_a_method_that_fails_does_not_stop_the_others() -> None:
    def broken(inputs: Tensor, target: Any) -> Tensor:
        message = "out of luck\nand more"
        raise RuntimeError(message)

    methods = {"broken": broken, "small": lambda x, target: x[:1], "IG": "IG(4)"}
    found = compare(perceptron(), rows(), 0, methods=methods, rounds=1, perturbations=0)
    assert found["broken"].failure == "RuntimeError: out of luck"
    assert "shapes" in found["small"].failure
    assert found.reference == "IG"


def test_a_function_without_counted_operations() -> None:
    found = compare(
        lambda x: x.square(),
        rows(),
        1,
        methods=("XIntegratedGradients",),
        rounds=1,
        perturbations=0,
    )
    (row,) = found.rows
    assert math.isnan(row.passes)
    assert "passes" not in found.to_markdown()


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "name": ({"methods": ("LIME",)}, ValueError, "LIME"),
    "twice": ({"methods": ("IG(5)", "IG(5)")}, ValueError, r"IG\(5\)"),
    "none": ({"methods": ()}, ValueError, "none"),
    "one": ({"methods": "IG(5)"}, TypeError, "collection"),
    "kind": ({"methods": (3,)}, TypeError, "found 3"),
    "reference": ({"methods": ("IG(5)",), "reference": "IG(9)"}, ValueError, r"IG\(9\)"),
    "rounds": ({"rounds": 0}, ValueError, "rounds must be positive"),
    "perturbations": ({"perturbations": -1}, ValueError, "not negative, found -1"),
    "target": ({"target": None}, AssertionError, "Target not provided"),
    "all fail": (
        {"methods": {"broken": lambda x, target: x[:1]}},
        ValueError,
        "broken: attributions of shapes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, kind, said = WRONG[name]
    given = {"target": 0, "rounds": 1, "perturbations": 0, **call}
    with pytest.raises(kind, match=said):
        compare(perceptron(), rows(), **given)


def test_nothing_is_left_changed(capfd: pytest.CaptureFixture[str]) -> None:
    net, x = perceptron(), rows()
    net(x).sum().backward()
    before = [p.grad.clone() for p in net.parameters()]
    state, seed = x.clone(), torch.random.get_rng_state()
    compare(net, x, 0, methods=("IG(4)", "DeepLift", "Saliency"), rounds=1, perturbations=2)
    assert not x.requires_grad
    assert torch.equal(x, state)
    assert torch.equal(torch.random.get_rng_state(), seed)
    assert all(torch.equal(p.grad, b) for p, b in zip(net.parameters(), before, strict=True))
    assert not any(module._forward_hooks for module in net.modules())
    assert capfd.readouterr().err == ""


def test_a_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    methods = ("IG(4)", "Saliency")
    compare(perceptron(), rows(), 0, methods=methods, rounds=1, perturbations=0, progress=True)
    assert "6/6" in capfd.readouterr().err


def test_random_methods_draw_from_a_state_of_their_own() -> None:
    net, x = perceptron(bias=True), rows()

    def found(seed: int) -> Comparison:
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
        # The timing calls a method as often as fills its rounds: other numbers are drawn there.
        result = compare(net, x, 0, methods=("GradientShap", "IG(4)"), rounds=seed)
        assert torch.equal(torch.random.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]
        return result

    one, other = found(1), found(2)
    assert torch.equal(one.attributions["GradientShap"][0], other.attributions["GradientShap"][0])
    assert one["GradientShap"].max_sensitivity == other["GradientShap"].max_sensitivity


def test_to_frame() -> None:
    pytest.importorskip("pandas")
    found = compare(perceptron(), rows(), 0, methods=("IG(4)", "IG(2)"), rounds=1, perturbations=0)
    frame = found.to_frame()
    assert list(frame.index) == ["IG(4)", "IG(2)"]
    assert frame.loc["IG(2)", "difference"] == found["IG(2)"].difference


@pytest.fixture(scope="module")
def of_images() -> Any:
    images, labels, _ = load_fashion_mnist_samples()
    net = x_cnn_small(weights="DEFAULT").eval()
    methods = ("XIntegratedGradients", "IG(8)", "Saliency")
    return compare(net, images, labels, methods=methods, rounds=1, perturbations=0)


def test_the_picture(of_images: Any) -> None:
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    figure = of_images.plot(examples=(0, 7), names=("shirt", "sneaker"))
    maps, below = figure.subfigs
    titles = [axes.get_title().replace("\n", "") for axes in maps.axes[:4]]
    assert titles == ["image", "XIntegratedGradients", "IG(8)", "Saliency"]
    assert [maps.axes[0].get_ylabel(), maps.axes[4].get_ylabel()] == ["shirt", "sneaker"]
    measures = [axes.get_xlabel() for axes in below.axes]
    assert measures == ["seconds a call", "difference to IG(8)", "completeness gap"]
    assert [label.get_text() for label in below.axes[0].get_yticklabels()] == titles[1:]
    assert [len(axes.texts) for axes in below.axes] == [
        3,
        2,
        3,
    ]  # none from the reference to itself
    figure.canvas.draw()
    assert plt.get_fignums() == before
    assert len(of_images.plot().subfigs[0].axes) == 4 * 4 + 1  # four examples, one colour bar


def test_examples_may_be_a_tensor(of_images: Any) -> None:
    shown = of_images.plot(examples=torch.tensor([0, 7])).subfigs[0].axes
    expected = of_images.plot(examples=(0, 7)).subfigs[0].axes
    for axes, others in zip(shown, expected, strict=True):
        for image, other in zip(axes.images, others.images, strict=True):
            assert np.array_equal(image.get_array(), other.get_array())


def test_examples_that_are_not_there(of_images: Any) -> None:
    with pytest.raises(IndexError, match="batch of 10"):
        of_images.plot(examples=(10,))
    with pytest.raises(ValueError, match="1 names for 2"):
        of_images.plot(examples=(0, 1), names=("one",))


def test_an_attribution_of_zeros_is_drawn() -> None:
    images, _, _ = load_fashion_mnist_samples()
    found = compare(
        x_cnn_small(weights="DEFAULT").eval(),
        images[:2],
        0,
        methods={"zeros": lambda x, target: torch.zeros_like(x), "IG": "IG(2)"},
        rounds=1,
        perturbations=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.plot().canvas.draw()


def test_deep_lift_is_captums() -> None:
    net, x = perceptron(bias=True), rows()
    found = compare(net, x, 1, methods=("DeepLift", "IG(4)"), rounds=1, perturbations=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DeepLift(net).attribute(x, torch.zeros_like(x), target=1)
    assert_close(found.attributions["DeepLift"][0], theirs.detach())


def test_rows_are_plain_data() -> None:
    found = compare(perceptron(), rows(), 0, methods=("IG(4)",), rounds=1, perturbations=0)
    assert json.loads(json.dumps(vars(found.rows[0])))["method"] == "IG(4)"
    with pytest.raises(KeyError):
        _: Callable[..., Any] = found["IG(5)"]
