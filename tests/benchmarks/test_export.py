"""The attribution as a graph: ONNX Runtime beside PyTorch's bare gradient, ``attribute`` and Captum's IG(50)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, models
from captum_xdnn.compare.measuring import in_turn
from captum_xdnn.convert import to_xdnn
from captum_xdnn.export import export_attribution, load

from .report import Report

SECTION = "The attribution as a graph, batch 1, over PyTorch's bare gradient"
STEPS, ROUNDS, CALLS, LONG = 50, 5, 3, 1.0


def untrained() -> nn.Module:
    """With a last layer, and branches, that do not begin at zero."""
    model = models.x_resnet18()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return model


def converted() -> nn.Module:
    images = torch.rand(1, 3, 64, 64)
    return to_xdnn(torchvision.models.resnet18().eval(), inputs=images)[0]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float | None]] = {
    "x_cnn_small, 28 x 28": (lambda: models.x_cnn_small(weights="DEFAULT"), (1, 1, 28, 28), None),
    "x_resnet18, 224 x 224": (untrained, (1, 3, 224, 224), 0.6),
    "torchvision resnet18 after to_xdnn, 224 x 224": (converted, (1, 3, 224, 224), 0.6),
    "x_alexnet, 224 x 224": (models.x_alexnet, (1, 3, 224, 224), 0.9),
}


def processor_time(function: Callable[[], object]) -> float:
    """Of a call among others of its kind, as one who serves makes them; of one alone where it takes long."""
    start = time.process_time()
    function()
    alone = time.process_time() - start
    if alone > LONG:
        return alone
    start = time.process_time()
    for _ in range(CALLS):
        function()
    return (time.process_time() - start) / CALLS


def bare_gradient(model: nn.Module, x: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)[0]


@pytest.mark.parametrize("name", CASES)
def test_a_graph_beside_pytorch(name: str, report: Report, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    build, shape, most = CASES[name]
    model, x = build().eval(), torch.rand(shape)
    program = export_attribution(model, x, target=0)
    program.save(tmp_path / "program.onnx")
    program.save(tmp_path / "program.pt2")
    served = load(tmp_path / "program.onnx")
    ours, captums = XIntegratedGradients(model), IntegratedGradients(model)
    timings = in_turn(
        {
            "bare": lambda: bare_gradient(model, x),
            "served": lambda: served(x),
            "program": lambda: program(x),
            "attribute": lambda: ours.attribute(x, target=0),
            "captum": lambda: captums.attribute(x, target=0, n_steps=STEPS),
        },
        ROUNDS,
        processor_time,
    )
    best = {name: min(seconds) for name, seconds in timings.items()}
    figures = {name: seconds / best["bare"] for name, seconds in best.items()}
    sizes = {s: (tmp_path / f"program.{s}").stat().st_size / 2**20 for s in ("onnx", "pt2")}
    said = (
        f"bare gradient {1e3 * best['bare']:.1f} ms; "
        "ONNX Runtime {served:.2f}x, the program in torch {program:.2f}x, `attribute` {attribute:.2f}x, "
        "Captum with 50 steps {captum:.1f}x".format(**figures)
    )
    files = f"; .onnx {sizes['onnx']:.1f} MiB, .pt2 {sizes['pt2']:.1f} MiB"
    held = most is None or figures["served"] <= most
    bound = "" if most is None else f"ONNX Runtime <= {most}x"
    report.add(SECTION, name, said + files, bound, held=held)
    assert held
