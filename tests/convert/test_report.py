"""The report: what was changed, what was left and why, and what is proved."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import Change, to_xdnn

from .networks import conv_net, images, mlp, rows


def test_of_a_certified_network() -> None:
    _, report = to_xdnn(conv_net(bias=True), inputs=images())
    assert str(report).splitlines()[:7] == [
        "7 modules changed",
        "  2 x Conv2d: bias removed (first: 0)",
        "  2 x BatchNorm2d: became UncenteredBatchNorm2d (first: 1)",
        "  1 x SiLU: became ReLU (first: 2)",
        "  1 x ReLU6: became ReLU (first: 5)",
        "  1 x Linear: bias removed (first: 8)",
        "CERTIFIED: the output is homogeneous of degree 1 along the ray from the baseline.",
    ]
    assert report.changes == (
        Change("0", "Conv2d", "bias removed"),
        Change("1", "BatchNorm2d", "became UncenteredBatchNorm2d"),
        Change("2", "SiLU", "became ReLU"),
        Change("3", "Conv2d", "bias removed"),
        Change("4", "BatchNorm2d", "became UncenteredBatchNorm2d"),
        Change("5", "ReLU6", "became ReLU"),
        Change("8", "Linear", "bias removed"),
    )
    assert report.kept == ()
    assert report.homogeneous


def test_of_a_network_in_whose_way_something_stands() -> None:
    network = nn.Sequential(
        nn.BatchNorm1d(4, track_running_stats=False), mlp(), nn.LayerNorm(3), nn.Softmax(-1)
    )
    with pytest.warns(HomogeneityWarning):
        _, report = to_xdnn(network, inputs=rows(), softmax="keep")
    lines = str(report).splitlines()
    reason = "it keeps no running statistics, so nothing is known of its scale"
    assert lines[:8] == [
        "4 modules changed",
        "  2 x Linear: bias removed (first: 1.0)",
        "  1 x GELU: became ReLU (first: 1.1)",
        "  1 x LayerNorm: bias removed (first: 2)",
        "2 modules left in the way",
        f"  1 x BatchNorm1d: {reason} (first: 0)",
        "  1 x Softmax: kept, as asked for (first: 3)",
        "The converted network is not homogeneous.",
    ]
    assert lines[8].startswith("NOT CERTIFIED")
    assert any(line.strip() == "first: 2 (LayerNorm)" for line in lines)
    assert [c.module for c in report.kept] == ["0", "3"]


def test_without_inputs() -> None:
    with pytest.warns(HomogeneityWarning):
        _, report = to_xdnn(nn.Linear(2, 2))
    assert str(report).splitlines() == [
        "1 module changed",
        "  1 x Linear: bias removed (first: the model)",
        "The converted network has not been certified: give inputs to analyse it with.",
    ]
    assert str(report.changes[0]) == "the model (Linear): bias removed"


def test_it_cannot_be_changed() -> None:
    _, report = to_xdnn(mlp(), inputs=torch.zeros(1, 4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.changes = ()  # type: ignore[misc]
    assert isinstance(hash(report.changes), int)
