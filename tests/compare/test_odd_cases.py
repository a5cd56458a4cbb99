"""Comparisons of what fails, of inputs without gradients, of odd precisions and memory layouts."""

from __future__ import annotations

import math
import re
import sys
import warnings
from typing import Any

import pytest
import torch
from captum.attr import Deconvolution, FeatureAblation, GuidedBackprop, LayerConductance, Saliency
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn.compare import Row, compare
from captum_xdnn.compare.comparison import Comparison

IG = {"IG": "IG(4)"}


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3)).double()


def rows(batch: int = 4) -> Tensor:
    return torch.randn(batch, 6, dtype=torch.float64)


class FailsAfter:
    """The inputs themselves, so many times."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, x: Tensor, target: Any) -> Tensor:
        self.calls -= 1
        if self.calls < 0:
            message = "no longer\nand more"
            raise RuntimeError(message)
        return x.detach().clone()


def test_a_method_that_fails_in_the_timing() -> None:
    methods = {"once": FailsAfter(1), **IG}
    found = compare(
        perceptron(), rows(), 0, methods=methods, reference="IG", rounds=2, perturbations=1
    )
    once, ig = found.rows
    assert once.failure == "called again: RuntimeError: no longer"
    assert once.difference > 0
    assert math.isnan(once.seconds)
    assert math.isnan(once.speed_up)
    assert not ig.failure
    assert ig.speed_up == 1
    table = found.to_markdown()
    assert re.search(r"^\| once ", table, re.MULTILINE)
    assert table.endswith(
        "\n\nNot all of it measured:\n\n- once: called again: RuntimeError: no longer"
    )
    found.plot().canvas.draw()


def test_a_method_that_fails_under_noise() -> None:
    x = rows()

    def only_there(given: Tensor, target: Any) -> Tensor:
        if not torch.equal(given, x):
            message = "elsewhere"
            raise ValueError(message)
        return x.clone()

    found = compare(perceptron(), x, 0, methods={"there": only_there, **IG}, rounds=1)
    there, ig = found.rows
    assert there.failure == "under noise: ValueError: elsewhere"
    assert there.seconds > 0
    assert there.memory > 0
    assert math.isnan(there.max_sensitivity)
    assert ig.max_sensitivity > 0


def test_a_speed_up_over_a_method_that_fails_in_the_timing() -> None:
    methods = {"once": FailsAfter(1), **IG}
    found = compare(
        perceptron(), rows(), 0, methods=methods, speed_up_over="once", rounds=1, perturbations=0
    )
    assert found["IG"].seconds > 0
    assert math.isnan(found["IG"].speed_up)


class OfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(30, 4), nn.Linear(4, 3)

    def forward(self, words: Tensor, weights: Tensor | None = None) -> Tensor:
        vectors = self.words(words)
        if weights is not None:
            vectors = vectors * weights[..., None]
        return self.head(vectors.sum(1))


def test_inputs_without_gradients() -> None:
    net, words = OfWords(), torch.randint(1, 30, (4, 5))
    found = compare(net, words, 0, methods=(FeatureAblation(net), "IG(4)"), rounds=1)
    ablation = found["FeatureAblation"]
    assert not ablation.failure
    assert ablation.passes == pytest.approx(6)  # forward passes, and there is no backward one
    assert math.isnan(ablation.infidelity)
    assert math.isnan(ablation.max_sensitivity)
    assert found["IG(4)"].failure


def test_noise_leaves_indices_alone() -> None:
    net, words = OfWords(), torch.randint(1, 30, (4, 5))
    seen: list[tuple[Tensor, Tensor]] = []

    def method(given: tuple[Tensor, Tensor], target: Any) -> tuple[Tensor, Tensor]:
        seen.append(given)
        return torch.zeros(4, 5), given[1].clone()

    inputs = (words, torch.rand(4, 5))
    (row,) = compare(net, inputs, 0, methods={"mine": method}, rounds=1, perturbations=3).rows
    assert not row.failure
    assert row.max_sensitivity > 0
    assert all(torch.equal(given, words) for given, _ in seen)
    assert any(not torch.equal(weights, inputs[1]) for _, weights in seen)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_precisions(dtype: torch.dtype) -> None:
    found = compare(perceptron().to(dtype), rows().to(dtype), 0, methods=("IG(4)",), rounds=1)
    (row,) = found.rows
    assert not row.failure
    assert row.max_sensitivity > 0


def test_attributions_that_are_not_contiguous() -> None:
    def method(given: Tensor, target: Any) -> Tensor:
        return given.detach().clone().t().contiguous().t()

    (row,) = compare(perceptron(), rows(), 0, methods={"mine": method}, rounds=1).rows
    assert not row.failure


def test_what_a_method_draws_does_not_change_the_noise() -> None:
    x = rows()

    def moved(draws: int) -> list[Tensor]:
        seen: list[Tensor] = []

        def method(given: Tensor, target: Any) -> Tensor:
            torch.randn(draws)
            if not torch.equal(given, x):
                seen.append(given)
            return given.detach().clone()

        compare(perceptron(), x, 0, methods={"mine": method}, rounds=1, perturbations=3)
        return seen

    one, other = moved(0), moved(7)
    assert len(one) == 3
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_captums_words_on_hooks_are_not_repeated() -> None:
    net = perceptron()
    methods = (GuidedBackprop(net), Deconvolution(net))
    found = compare(
        net, rows(), 0, methods=methods, rounds=1, perturbations=1
    )  # warnings are errors
    assert not any(row.failure for row in found.rows)


def test_the_bar_says_what_is_done(capfd: pytest.CaptureFixture[str]) -> None:
    methods = ("IG(4)", "Saliency")
    compare(perceptron(), rows(), 0, methods=methods, rounds=1, perturbations=0, progress=True)
    said = re.findall(r"(IG\(4\)|Saliency|timing):", capfd.readouterr().err)
    assert list(dict.fromkeys(said)) == ["IG(4)", "Saliency", "timing"]
    assert said.index("timing") < len(said) - 1 - said[::-1].index("Saliency")


@pytest.mark.parametrize(
    ("seconds", "memory", "shown"),
    [
        (0.00001234, 2**10, "| mine   | 1.23e-05 | 0.000977 |"),
        (0.01234, 2**20, "| mine   | 0.0123  | 1   |"),
        (1234.5, 1234 * 2**20, "| mine   | 1234    | 1234 |"),
    ],
)
def test_three_digits_of_seconds_and_memory(seconds: float, memory: float, shown: str) -> None:
    row = Row("mine", seconds=seconds, memory=memory)
    found = Comparison((row,), "mine", "mine", {"mine": (torch.ones(1),)}, None)  # type: ignore[arg-type]
    assert found.to_markdown().splitlines()[-1] == shown


def test_odd_pictures() -> None:
    images = torch.rand(3, 3, 8, 8)
    images[0] = 0  # black
    images[1, :, 0, 0] = torch.nan
    net = nn.Sequential(nn.Conv2d(3, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    cancels = torch.ones(3, 3, 8, 8)
    cancels[:, 0] = -2
    methods = {
        "tiny": lambda x, target: torch.full_like(x, 1e-30),
        "cancels": lambda x, target: cancels,
        "infinite": lambda x, target: torch.full_like(x, torch.inf),
        **IG,
    }
    found = compare(net, images, 0, methods=methods, rounds=1, perturbations=0)
    figure = found.plot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    said = [[text.get_text() for text in axes.texts] for axes in figure.subfigs[0].axes[:15]]
    black, broken, plain = said[:5], said[5:10], said[10:]
    assert black == [[], [], ["all zero"], ["not finite"], ["all zero"]]
    assert broken == [[], [], ["all zero"], ["not finite"], ["not finite"]]
    assert plain == [[], [], ["all zero"], ["not finite"], []]


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.int32], ids=str)
def test_attributions_that_are_no_fractions(kind: torch.dtype) -> None:
    """Ranks or a mask: there is no difference to them, and no other method pays for it."""
    methods: Any = {"IG": "IG(4)", "mask": lambda x, target: (x > 0).to(kind)}
    for reference in methods:
        found = compare(perceptron(), rows(), 0, methods=methods, reference=reference, rounds=1)
        assert found["mask"].seconds > 0
        assert math.isnan(found["mask"].difference)
        assert "mask" in found.to_markdown()
        found.plot()


@pytest.mark.parametrize("progress", [True, False])
def test_a_program_without_a_console(progress: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    found = compare(perceptron(), rows(), 0, methods=IG, rounds=1, progress=progress)
    assert found["IG"].memory > 0
    assert not found["IG"].failure


def test_any_method_of_captum_by_its_name() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    names = ["Deconvolution", "FeatureAblation", "GuidedBackprop", "XInternalInfluence"]
    found = compare(net, torch.rand(2, 3), 1, methods=names[:3], rounds=1, perturbations=0)
    assert [row.method for row in found.rows] == names[:3]
    for name, message in (
        ("Attribution", "a base of methods"),
        ("PerturbationAttribution", "a base of methods"),
        (names[3], "needs more than a model: a layer"),
        ("Nothing", "captum.attr"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(net, torch.rand(2, 3), 1, methods=[name], rounds=1)


def test_a_class_is_made_of_the_function() -> None:
    model, x = perceptron(), rows()
    found = compare(model, x, 0, methods=(Saliency,), perturbations=0, rounds=1)
    named = compare(model, x, 0, methods=("Saliency",), perturbations=0, rounds=1)
    assert list(found.attributions) == ["Saliency"]
    assert_close(found.attributions["Saliency"], named.attributions["Saliency"])
    with pytest.raises(ValueError, match="LayerConductance needs more than a model"):
        compare(model, x, 0, methods=(LayerConductance,))
