"""What a reader sees of a comparison: tables that hold text alone, pictures whose words do not overlap, reasons."""

from __future__ import annotations

import math
import warnings
from html.parser import HTMLParser
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.compare import LAYER_METHODS, Comparison, Row, compare
from captum_xdnn.compare.methods import methods_of
from captum_xdnn.compare.problem import Problem
from captum_xdnn.metrics import attribution_difference

LONG = "a very long name of a method, & with <b>HTML</b> and $formula_{i}$ in it | "
TWO = ("IG(3)", "Saliency")
ODD = "<script>alert('x')</script> | $a_b$"


def perceptron(features: int = 6, *, bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    hidden = nn.Linear(features, 16, bias=bias)
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(16, 3, bias=bias))


def quick(function: Any, inputs: Any, **given: Any) -> Comparison:
    return compare(function, inputs, given.pop("target", 0), rounds=1, perturbations=0, **given)


class Cells(HTMLParser):
    """The tags of a page, and the text of each cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, _attributes: Any) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_a_table_for_notebooks_holds_text_alone() -> None:
    def broken(inputs: Tensor, target: Any) -> Tensor:
        raise RuntimeError("<img src=x>")

    methods = {ODD: "IG(3)", "broken": broken, "XIntegratedGradients": "XIntegratedGradients"}
    found = quick(perceptron(), torch.randn(4, 6), methods=methods)
    page = Cells(found._repr_html_())
    assert ODD in page.cells
    assert set(page.tags) == {"div", "table", "thead", "tbody", "tr", "th", "td", "p", "ul", "li"}
    assert "<img" not in found._repr_html_()
    lines = [line for line in found.to_markdown().splitlines() if line.startswith("|")]
    counts = {line.replace(r"\|", "").count("|") for line in lines}
    assert len(counts) == 1  # no name ends a cell
    assert ODD.replace("|", r"\|") in lines[2]


def test_a_certificate_for_notebooks() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x)

    Odd.__name__ = "<b>Odd</b>"
    net = nn.Sequential(perceptron(), Odd())
    refused = certify(net, torch.randn(2, 6))
    page = Cells(refused._repr_html_())
    assert "b" not in page.tags
    assert {"1 x <b>Odd</b>", "bias of 16 outputs is not zero"} <= set(page.cells)
    assert "to_xdnn" in refused._repr_html_()
    proved = certify(perceptron(bias=False), torch.randn(2, 6))
    assert "CERTIFIED" in proved._repr_html_()
    assert Cells(proved._repr_html_()).tags == ["pre"]


def test_the_reason_the_first_call_and_captums_own_at_the_same_steps() -> None:
    net, x = perceptron(), torch.randn(4, 6)
    methods = ("XIntegratedGradients(7)", "IG(7)", "IG(60)")
    ours, same, _ = quick(net, x, methods=methods).rows
    assert ours.route == "captum"
    assert ours.reason == "1 x Linear, first 0 (Linear): bias of 16 outputs is not zero"
    assert ours.same_steps < 1e-6 < 1e-4 < ours.difference
    assert ours.difference == pytest.approx(same.difference, rel=1e-3)
    assert math.isnan(same.same_steps)
    assert min(ours.first_seconds, same.first_seconds) > 0
    (proved,) = quick(perceptron(bias=False), x, methods=methods[:1]).rows
    assert (proved.route, proved.reason) == ("single_pass", "")


def test_captums_own_is_made_of_the_same() -> None:
    net, x = perceptron(), torch.randn(4, 6)

    class Mine(XIntegratedGradients):
        pass

    method = Mine(net, multiply_by_inputs=False)
    (row,) = quick(net, x, methods={"mine": method}).rows
    theirs = IntegratedGradients(net, multiply_by_inputs=False).attribute(x, target=0)
    here = method.attribute(x, target=0)
    assert row.same_steps == pytest.approx(
        float(attribution_difference(here, theirs).mean()), abs=1e-7
    )
    (row,) = quick(net, x, methods=("XIntegratedGradients(tolerance=0.1)",)).rows
    assert not row.failure
    assert math.isnan(row.same_steps)  # Captum's class knows no tolerance


def test_methods_of_a_layer() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    x = torch.rand(2, 1, 8, 8)
    few = [name for name in LAYER_METHODS if name not in ("IG(10)", "IG(128)")]
    found = quick(net, x, layer=net[2], methods=few)
    assert not any(row.failure for row in found.rows)
    theirs = LayerIntegratedGradients(net, net[2]).attribute(x, target=0)
    torch.testing.assert_close(found.attributions["IG(50)"][0], theirs)
    assert found.reference == "IG(300)"
    assert found["XLayerIntegratedGradients"].same_steps < 1e-5
    assert math.isnan(found["LayerGradCam"].difference)  # of one channel
    assert len(found.plot().subfigs[0].axes) == 2 * 8 + 1
    noisy = compare(net, x, 0, layer=net[2], methods=("IG(4)",), rounds=1, perturbations=2)
    assert noisy["IG(4)"].max_sensitivity > 0
    assert math.isnan(noisy["IG(4)"].infidelity)
    bars = quick(net, x, layer=net[4], methods=("XLayerConductance", "IG(4)")).plot()
    assert len(bars.subfigs[0].axes) == 2 * 2
    assert [m.name for m in methods_of(None, Problem(net, x, 0, None, None, net[2]))] == [
        *LAYER_METHODS
    ]
    with pytest.raises(ValueError, match="Saliency explains inputs, and no layer"):
        quick(net, x, layer=net[2], methods=("Saliency",))


def test_a_layer_whose_batch_does_not_come_first() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            last: Tensor = self.head(self.inner(x.transpose(0, 1)))[-1]
            return last

    net = Steps()
    methods = ("LayerActivation", "LayerGradientXActivation")
    found = quick(net, torch.randn(2, 5, 3), layer=net.inner, methods=methods)
    assert not any(row.failure for row in found.rows)
    assert all(math.isnan(row.gap) for row in found.rows)
    found.plot().canvas.draw()


def test_arguments_in_brackets() -> None:
    net, x = perceptron(), torch.randn(4, 6)
    names = ("Occlusion(sliding_window_shapes=(2,))", "IG(4, method='riemann_left')", "IG")
    found = quick(net, x, methods=names)
    assert not any(row.failure for row in found.rows)
    theirs = IntegratedGradients(net).attribute(x, target=0, n_steps=4, method="riemann_left")
    torch.testing.assert_close(found.attributions[names[1]][0], theirs)
    assert "unexpected keyword" in quick(net, x, methods=("IG(2)", "Saliency(n=3)")).to_markdown()
    for name in ("Saliency(", "IG(1, 2)", "IG(n)", "os.system('ls')", "", "__import__('os')"):
        with pytest.raises(ValueError, match=r"captum\.attr has no method"):
            quick(net, x, methods=(name,))


def test_a_function_without_gradients_is_compared() -> None:
    @torch.no_grad()
    def function(x: Tensor) -> Tensor:
        return x.square()

    (row,) = quick(function, torch.rand(3, 4), methods=("FeatureAblation",)).rows
    assert not row.failure


@pytest.mark.parametrize(
    ("ratios", "shown"),
    [
        ((0.9, 1.2, 1.1), "about 1x"),
        ((1.2, 1.3, 1.25), "1.25x"),
        ((0.9, 0.92), "about 1x"),
        ((1.1, 1.3), "about 1x"),
        ((0.5, 0.7), "0.60x"),
        ((1.0,), "1.00x"),
    ],
)
def test_a_speed_up_that_is_noise_is_not_shown(ratios: tuple[float, ...], shown: str) -> None:
    row = Row("mine", speed_ups=ratios)
    found = Comparison((row,), "mine", "mine", {"mine": (torch.ones(1),)}, None)  # type: ignore[arg-type]
    assert f"| {shown} " in found.to_markdown().splitlines()[-1]


def test_speed_ups_are_of_the_same_round() -> None:
    found = compare(perceptron(), torch.randn(4, 6), 0, methods=TWO, rounds=3, perturbations=0)
    ours, theirs = found.rows
    assert ours.speed_ups == (1, 1, 1)
    assert len(theirs.speed_ups) == 3
    assert theirs.speed_up == sorted(theirs.speed_ups)[1]


def words(figure: Any) -> dict[Any, Any]:
    """What is written in a figure, and where."""
    figure.canvas.draw()
    found: list[Any] = []
    for axes in figure.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    return {t: t.get_window_extent() for t in found if t.get_text() and t.get_visible()}


def of_two(x: Tensor, y: Tensor) -> Tensor:
    return torch.relu(x[:, :1] + y - 0.3) * y.sum(1, keepdim=True)


def odd(x: Tensor, target: Any) -> Tensor:
    found = -torch.rand_like(x)
    found[0] = torch.nan
    return found


PICTURES: dict[str, Any] = {
    "one row": lambda: quick(perceptron(), torch.randn(1, 6), methods=TWO).plot(),
    "scalars": lambda: quick(lambda x: x**2, torch.rand(5), target=None, methods=TWO).plot(),
    "many rows": lambda: quick(perceptron(40), torch.randn(200, 40), methods=TWO).plot(),
    "many methods": lambda: quick(
        perceptron(),
        torch.randn(3, 6),
        methods={f"{LONG}{n}": f"IG({n})" for n in range(2, 12)},
    ).plot(names=[LONG] * 3),
    "long features": lambda: quick(perceptron(), torch.randn(2, 6), methods=TWO).plot(
        features=[f"{LONG}{n}" for n in range(6)], names=[ODD] * 2
    ),
    "several inputs": lambda: quick(
        of_two, (torch.rand(3, 2), torch.rand(3, 3)), methods=TWO
    ).plot(),
    "negative, zero, not finite": lambda: quick(
        perceptron(),
        torch.randn(2, 6),
        methods={"odd": odd, "zero": lambda x, target: 0 * x, "less": lambda x, target: -x.abs()},
        reference="less",
    ).plot(),
    "tiny": lambda: quick(
        perceptron(),
        torch.randn(2, 6),
        methods={"tiny": lambda x, target: x * 1e-30, "IG": "IG(2)"},
    ).plot(),
    "images": lambda: quick(
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)),
        torch.rand(2, 3, 8, 8),
        methods={
            LONG: "IG(3)",
            "XIntegratedGradients": "XIntegratedGradients",
            **{f"m{n}": "Saliency" for n in range(8)},
        },
    ).plot(names=[LONG, ODD]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_words_do_not_overlap(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = PICTURES[name]()
        said = words(figure)
    assert len(said) > 5
    for (one, here), (other, there) in combinations(said.items(), 2):
        width = min(here.x1, there.x1) - max(here.x0, there.x0)
        height = min(here.y1, there.y1) - max(here.y0, there.y0)
        assert min(width, height) < 1.5, (one.get_text(), other.get_text())
    for text, place in said.items():
        inside = place.x0 > -2 and place.y0 > -2
        inside = inside and place.x1 < figure.bbox.x1 + 2 and place.y1 < figure.bbox.y1 + 2
        assert inside, text.get_text()


def test_bars_are_the_attributions() -> None:
    net, x = perceptron(), torch.randn(3, 6)
    found = quick(net, x, methods=("IG(4)", "Saliency"))
    figure = found.plot(examples=(2,), features=list("abcdef"))
    (left, right), values = figure.subfigs[0].axes, found.attributions["IG(4)"][0][2].numpy()
    order = np.argsort(-np.abs(values))
    assert [t.get_text() for t in left.get_yticklabels()] == [*np.array(list("abcdef"))[order]]
    np.testing.assert_allclose([bar.get_width() for bar in left.patches], values[order], rtol=1e-6)
    theirs = found.attributions["Saliency"][0][2].numpy()
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], theirs[order], rtol=1e-6)
    with pytest.raises(ValueError, match="2 names for 6 features"):
        found.plot(features="ab")
