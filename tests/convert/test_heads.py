"""A softmax or sigmoid at the end: removed or kept; one elsewhere is no end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning, XIntegratedGradients
from captum_xdnn.convert import Change, to_xdnn

from .networks import mlp, rows

HEADS = {
    "Softmax": nn.Softmax(-1),
    "LogSoftmax": nn.LogSoftmax(-1),
    "Sigmoid": nn.Sigmoid(),
    "LogSigmoid": nn.LogSigmoid(),
}


class Classifier(nn.Module):
    """The modules stand in another order than they are called in."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.net = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x))


@pytest.mark.parametrize(
    ("name", "build"), [*((name, Classifier) for name in HEADS), ("Softmax", mlp)]
)
def test_removed_from_the_end(name: str, build: Any) -> None:
    made, report = to_xdnn(build(HEADS[name]), inputs=rows())
    kinds = [type(m) for m in made.modules()]
    assert nn.Identity in kinds
    assert type(HEADS[name]) not in kinds
    (removed,) = [c for c in report.changes if c.module_type == name]
    assert removed.what == "removed from the end"
    assert report.homogeneous


def test_removed_from_the_end_for_images() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Softmax2d())
    made, report = to_xdnn(network, inputs=torch.zeros(2, 2, 3, 3))
    assert isinstance(made[1], nn.Identity)
    assert report.homogeneous


@pytest.mark.parametrize("build", [mlp, Classifier])
def test_kept_if_asked_for(build: Any) -> None:
    with pytest.warns(HomogeneityWarning, match="softmax compares exponentials"):
        made, report = to_xdnn(build(nn.Softmax(-1)), inputs=rows(), softmax="keep")
    (kept,) = report.kept
    assert kept.module_type == "Softmax"
    assert kept.what == "kept, as asked for"
    assert isinstance(made.get_submodule(kept.module), nn.Softmax)
    assert report.certificate is not None
    assert {b.module for b in report.certificate.blockers} == {kept.module}
    xig = XIntegratedGradients(made)
    xig.attribute(rows(), target=0)
    assert xig.last_route != "single_pass"


def test_nothing_is_noted_where_there_is_none() -> None:
    for choice in ("remove", "keep"):
        _, report = to_xdnn(mlp(), inputs=rows(), softmax=choice)
        assert report.kept == ()


@pytest.mark.parametrize("network", [mlp(nn.Softmax(-1)), nn.Sequential(mlp(nn.Softmax(-1)))])
def test_without_inputs_it_is_found_at_the_end_of_a_sequential(network: nn.Module) -> None:
    with pytest.warns(HomogeneityWarning, match="give inputs"):
        made, report = to_xdnn(network)
    assert report.changes[-1].what == "removed from the end"
    assert not any(isinstance(m, nn.Softmax) for m in made.modules())


def test_without_inputs_nothing_is_known_of_other_networks() -> None:
    class Backwards(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for module in reversed(self):
                x = module(x)
            return x

    networks = (Classifier(nn.Softmax(-1)), Backwards(nn.Linear(4, 4), nn.Softmax(-1)))
    for network in (*networks, nn.Sequential(), mlp(nn.Softmax(-1), nn.Linear(3, 3))):
        with pytest.warns(HomogeneityWarning, match="give inputs"):
            _, report = to_xdnn(network)
        assert "removed from the end" not in [c.what for c in report.changes]


class Gated(Classifier):
    """Used in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.head(self.net(x)))


class Twice(Classifier):
    """Used in the middle and at the end."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x) * self.head(x))


class Sharpened(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class SharpenedInPlace(Classifier):
    """The tensor is returned that the softmax gave, but not its values."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mul_(2)


class Labels(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten()[: len(x)]


@pytest.mark.parametrize("build", [Gated, Twice, Sharpened, SharpenedInPlace, Labels])
def test_one_that_is_not_the_end_is_left(build: type[Classifier]) -> None:
    network, x = build(nn.Softmax(-1)), rows()
    nn.init.zeros_(network.net.bias)
    with pytest.warns(HomogeneityWarning, match=r"head \(Softmax\)"):
        made, report = to_xdnn(network, inputs=x)
    assert report.changes == (Change("net", "Linear", "bias removed"),)
    assert_close(made(x), network(x))


def test_in_a_dict_of_outputs_it_is_left() -> None:
    class Probabilities(Classifier):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"probabilities": super().forward(x)}

    with pytest.warns(HomogeneityWarning, match="something other than one tensor"):
        made, _ = to_xdnn(Probabilities(nn.Softmax(-1)), inputs=rows())
    assert isinstance(made.head, nn.Softmax)


def test_a_softmax_that_stands_twice_in_a_sequential_is_left_without_inputs() -> None:
    softmax = nn.Softmax(-1)
    with pytest.warns(HomogeneityWarning):
        made, _ = to_xdnn(nn.Sequential(softmax, nn.Linear(4, 4), softmax))
    assert made[0] is made[2]
    assert isinstance(made[0], nn.Softmax)


def test_a_function_at_the_end_is_named() -> None:
    class Functional(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(self.net(x), -1)

    with pytest.warns(HomogeneityWarning, match=r"return torch\.softmax\(self\.net\(x\), -1\)"):
        to_xdnn(Functional(nn.Identity()), inputs=rows())


def test_in_inference_mode_writes_are_not_counted_so_it_is_left() -> None:
    class Inferring(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                return super().forward(x)

    with pytest.warns(HomogeneityWarning, match=r"head \(Softmax\)"):
        made, _ = to_xdnn(Inferring(nn.Softmax(-1)), inputs=rows())
    assert isinstance(made.head, nn.Softmax)
