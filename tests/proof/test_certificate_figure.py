"""The strip of a certificate: every operation once, in order, trunk and blockers where they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from captum_xdnn import certify
from captum_xdnn.homogeneity import Certificate

IMAGES = torch.zeros(2, 3, 32, 32)


def resnet() -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    model: nn.Module = torchvision.models.resnet18().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    return model


def with_softmax() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(7200, 5, bias=False),
        nn.Softmax(-1),
    )


def perceptron() -> nn.Module:
    layers = [nn.Flatten(), nn.Linear(3072, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 5))


def homogeneous() -> nn.Module:
    return with_softmax()[:-1]


NETWORKS = [resnet, with_softmax, perceptron, homogeneous]


@pytest.mark.parametrize("build", NETWORKS)
def test_the_shares_are_those_of_the_certificate(build: Callable[[], nn.Module]) -> None:
    found = certify(build(), IMAGES)
    assert sum(s.share for s in found.strip) == pytest.approx(1)
    assert sum(s.share for s in found.strip if s.runs_once) == pytest.approx(found.trunk_share)


@pytest.mark.parametrize("build", NETWORKS)
def test_the_blocking_segments_are_those_of_the_blockers(build: Callable[[], nn.Module]) -> None:
    found = certify(build(), IMAGES)
    marked = [(s.module, s.module_type) for s in found.strip if s.blocks]
    assert marked == list(dict.fromkeys((b.module, b.module_type) for b in found.blockers))


def test_the_order_is_that_of_the_computation() -> None:
    strip = certify(with_softmax(), IMAGES).strip
    kinds = [s.module_type for s in strip if s.share or s.blocks]
    assert kinds == ["Conv2d", "Linear", "Softmax"]
    conv, linear = (2 * 8 * 27 * 900, 2 * 7200 * 5)
    assert strip[0].share == pytest.approx(conv / (conv + linear))
    assert [s.runs_once for s in strip] == [True] * (len(strip) - 1) + [False]


def test_a_share_does_not_depend_on_the_size_of_the_batch() -> None:
    net = homogeneous()
    assert certify(net, IMAGES).strip == certify(net, IMAGES[:1].expand(7, -1, -1, -1)).strip


def test_what_has_no_counted_operations() -> None:
    found = certify(torch.exp, torch.zeros(2, 3))
    (segment,) = found.strip
    assert (segment.share, segment.blocks, segment.runs_once) == (0, True, False)
    assert segment.operations == ("aten.exp.default",)


def test_an_output_that_stays_as_it_is_is_marked_at_its_end() -> None:
    found = certify(lambda x: torch.sign(x), torch.zeros(2, 3))
    assert [s.blocks for s in found.strip] == [False] * (len(found.strip) - 1) + [True]


def test_a_module_that_writes_is_marked() -> None:
    net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3, affine=False))
    found = certify(net.train(), torch.rand(2, 4))
    assert "BatchNorm1d" in {s.module_type for s in found.strip if s.blocks}


def test_the_strip_is_not_part_of_the_verdict() -> None:
    found = certify(with_softmax(), IMAGES)
    assert found.strip
    assert (
        Certificate(False, None, False, found.blockers, (), found.trunk_share, found.speed_up)
        == found
    )
    again = pickle.loads(pickle.dumps(copy.deepcopy(found)))
    assert (again, again.strip) == (found, found.strip)


@pytest.mark.parametrize("build", NETWORKS)
def test_the_picture(build: Callable[[], nn.Module]) -> None:
    found = certify(build(), IMAGES)
    before = plt.get_fignums()
    figure = found.plot()
    figure.canvas.draw()
    assert plt.get_fignums() == before
    strip, text = figure.axes
    assert len(strip.patches) == len(found.strip)
    places = [patch.get_x() + patch.get_width() / 2 for patch in strip.patches]
    (marks,) = strip.lines
    blocking = [place for place, s in zip(places, found.strip, strict=True) if s.blocks]
    assert list(marks.get_xdata()) == pytest.approx(blocking)
    colours = {
        s.runs_once: p.get_facecolor() for s, p in zip(found.strip, strip.patches, strict=True)
    }
    assert len(set(colours.values())) == len(colours)
    (legend,) = text.texts
    kinds = {blocker.module_type for blocker in found.blockers}
    assert all(f" x {kind}: " in legend.get_text() for kind in kinds)


def labels(figure: plt.Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_the_legend_says_what_becomes_of_the_trunk() -> None:
    def of(build: Callable[[], nn.Module]) -> list[str]:
        return labels(certify(build(), IMAGES).plot())

    mark = "prevents a single pass"
    assert of(homogeneous) == ["one pass"]
    assert of(with_softmax) == ["trunk: runs once", "head: runs at every step", mark]
    assert of(resnet)[0] == "proved, but not hoisted: at every step, too"


def test_without_a_run() -> None:
    def fails(x: Tensor) -> Tensor:
        return x @ torch.ones(5, 5)

    found = certify(fails, torch.zeros(2, 3))
    assert found.strip == ()
    strip, text = found.plot().axes
    assert [t.get_text() for t in strip.texts] == ["there is no graph to draw"]
    assert "cannot be watched" in text.texts[0].get_text()


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(30, 64, bias=False), nn.Linear(20, 64)
        self.last = nn.Linear(64, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.last(torch.relu(self.one(x) + self.other(y)))


def that_meet(x: Tensor) -> Tensor:
    """Rows meet: the trunk can be hoisted for one row only."""
    return torch.softmax(x @ torch.ones(30, 8), 0)


def of_zero_bias() -> nn.Module:
    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 3))
    nn.init.zeros_(model[0].bias)
    return model


DRAWN = {
    "two inputs": (Joined(), (30, 20)),
    "rows that meet": (that_meet, (30,)),
    "a bias that is zero": (of_zero_bias(), (30,)),
    "a softmax": (nn.Sequential(nn.Linear(30, 8, bias=False), nn.Softmax(-1)), (30,)),
}


@pytest.mark.parametrize("baseline", [0.0, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 17, 400])
@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_agrees_with_its_title(name: str, rows: int, baseline: float) -> None:
    function, widths = DRAWN[name]
    inputs = tuple(torch.rand(rows, width) for width in widths)
    found = certify(function, inputs, baselines=(baseline,) * len(inputs))
    figure = found.plot()
    title = figure.get_suptitle().replace("\n", " ")
    said = labels(figure)
    assert title == str(found).partition("\n")[0]
    (marks,) = figure.axes[0].lines
    assert (
        ("prevents a single pass" in said) == bool(len(marks.get_xdata())) == bool(found.blockers)
    )
    assert ("one pass" in said) == title.startswith("CERTIFIED")
    hoisted = "hoists the trunk" in title
    assert ("trunk: runs once" in said) == hoisted == (found.speed_up > 1)
    assert hoisted == (f"for {rows} row" in title)
    once = sum(s.share for s in found.strip if s.runs_once)
    assert not hoisted or f"{once:.1%} of the operations run once" in title
