"""The pictures of the metrics show the numbers, and leave pyplot alone."""

from __future__ import annotations

import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from captum_xdnn.metrics import convergence, masking_curve, masking_figure

FRACTIONS = (0.1, 0.5, 1.0)


def black(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x)


def test_convergence() -> None:
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU()).double()
    found = convergence(net, torch.randn(3, 4, dtype=torch.float64), target=1, steps=(1, 4, 16))
    before = plt.get_fignums()
    figure = found.plot()
    figure.canvas.draw()
    assert plt.get_fignums() == before
    (axes,) = figure.axes
    captums, ours = axes.lines
    assert list(captums.get_xdata()) == [1, 4, 16]
    assert list(captums.get_ydata()) == pytest.approx([max(float(v), 1e-17) for v in found.values])
    assert ours.get_ydata()[0] == pytest.approx(max(float(found.ours.mean()), 1e-17))
    assert "single_pass" in ours.get_label()
    assert axes.get_ylabel() == "difference to IG(300)"


def test_our_own_steps_are_said_where_there_are_some() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    found = convergence(net, torch.randn(3, 4), target=0, steps=(1, 4))
    assert (
        found.plot().axes[0].lines[1].get_label()
        == f"XIntegratedGradients ({found.route}, 50 steps)"
    )


@pytest.mark.parametrize("factor", [0.0, torch.nan])
def test_differences_that_an_axis_of_powers_of_ten_has_no_place_for(factor: float) -> None:
    found = convergence(lambda x: factor * x.sum(1), torch.rand(2, 3), steps=(4,))
    found.plot().canvas.draw()


def test_masking_curves() -> None:
    x = torch.rand(2, 1, 6, 6)
    curves = {
        name: [
            masking_curve(lambda x: x.flatten(1), x, a, 0, metric, fractions=FRACTIONS, blur=black)
            for metric in ("KPM", "RNM", "KAM", "RAM")
        ]
        for name, a in (("exact", x), ("noise", torch.randn_like(x)))
    }
    figure = masking_figure(curves)
    figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["KPM", "RNM", "KAM", "RAM"]
    line = shown[2].lines[1]
    assert list(line.get_ydata()) == pytest.approx(curves["noise"][2].values.tolist())
    assert line.get_label() == f"noise: {curves['noise'][2].area:.2f}"


def test_a_curve_at_the_fraction_zero_alone() -> None:
    x = torch.rand(2, 1, 6, 6)
    curve = masking_curve(lambda x: x.flatten(1), x, x, 0, "KPM", fractions=(0,), blur=black)
    masking_figure({"blurred": [curve]}).canvas.draw()


def test_curves_of_other_metrics() -> None:
    x = torch.rand(1, 1, 6, 6)
    (one, other) = (
        masking_curve(lambda x: x.flatten(1), x, x, 0, metric, fractions=FRACTIONS, blur=black)
        for metric in ("KPM", "KNM")
    )
    with pytest.raises(ValueError, match="same metrics"):
        masking_figure({"a": [one], "b": [other]})
    with pytest.raises(ValueError, match="same metrics"):
        masking_figure({})
