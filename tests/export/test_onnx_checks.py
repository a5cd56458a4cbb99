"""A file that computes something else than its program is not left, on kinks and off them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.errors import TraceError
from captum_xdnn.export import export_attribution, load
from captum_xdnn.export.decompositions import TABLE

pytest.importorskip("onnxruntime")
aten = torch.ops.aten
IMAGE = (3, 8, 8)

FAMILIES: dict[str, tuple[nn.Module, Any]] = {
    "convolution": (nn.Conv2d(3, 4, 3, padding=1), aten.convolution_backward.default),
    "max pooling": (nn.MaxPool2d(3, 2), aten.max_pool2d_with_indices_backward.default),
    "average pooling": (nn.AvgPool2d(3, 2), aten.avg_pool2d_backward.default),
    "adaptive pooling": (nn.AdaptiveAvgPool2d(3), aten._adaptive_avg_pool2d_backward.default),
    "resizing": (nn.Upsample(scale_factor=2), aten.upsample_nearest2d_backward.default),
    "padding": (nn.ReflectionPad2d(2), aten.reflection_pad2d_backward.default),
    "activation": (nn.LeakyReLU(0.3), aten.leaky_relu_backward.default),
    "norm": (nn.LayerNorm(IMAGE), aten.native_layer_norm_backward.default),
    "softmax": (nn.Softmax(-1), aten._softmax_backward_data.default),
}


def wrong_everywhere(right: Tensor) -> Tensor:
    return right * 1.0001


def wrong_at_one_place(right: Tensor) -> Tensor:
    """Of the largest entry of each row, by a thousandth."""
    sizes = right.abs().flatten(1)
    at = (sizes == sizes.amax(1, keepdim=True)).reshape(right.shape)
    return torch.where(at, right * 1.001, right)


def off_by_one(right: Tensor) -> Tensor:
    return right.roll(1, -1)


def network(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    net(torch.rand(2, *IMAGE))
    return net


CHANGES = (wrong_everywhere, wrong_at_one_place, off_by_one)
FAST = ("convolution", "max pooling", "norm")
SABOTAGE = [
    pytest.param(name, change, marks=() if fast else pytest.mark.slow)
    for name in FAMILIES
    for change in CHANGES
    for fast in [name in FAST and change is wrong_at_one_place]
]


@pytest.mark.parametrize(("name", "change"), SABOTAGE)
def test_a_wrong_decomposition_is_refused(
    name: str, change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layer, op = FAMILIES[name]
    right = TABLE[op]

    def wrong(*args: Any, **kwargs: Any) -> Any:
        found = right(*args, **kwargs)
        return (change(found[0]), *found[1:]) if isinstance(found, tuple) else change(found)

    program = export_attribution(network(layer), torch.randn(2, *IMAGE), n_steps=2)
    monkeypatch.setitem(TABLE, op, wrong)
    with pytest.raises(TraceError, match=r"(?s)gives something else.*remedy: save it as .pt2"):
        program.save(tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()


class Sums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.logcumsumexp(-1)


@pytest.mark.parametrize(
    ("layer", "op"),
    [(nn.AvgPool2d(2, divisor_override=7), "avg_pool2d"), (Sums(), "logcumsumexp")],
    ids=["divisor", "logcumsumexp"],
)
def test_what_is_written_otherwise_than_torch_computes_it_is_named(
    layer: nn.Module, op: str, tmp_path: Path
) -> None:
    program = export_attribution(network(layer), torch.rand(3, *IMAGE), n_steps=2)
    kind = type(layer).__name__
    with pytest.raises(TraceError, match=rf"(?s)aten.{op}.*in 0 \({kind}\).*remedy"):
        program.save(tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_what_the_runtime_does_not_run_is_refused(tmp_path: Path) -> None:
    program = export_attribution(nn.Conv2d(1, 1, 2).double(), torch.rand(3, 1, 2, 2).double())
    with pytest.raises(
        TraceError, match=r"(?s)does not run the file.*Conv.*remedy: save it as .pt2"
    ):
        program.save(tmp_path / "double.onnx")
    assert not (tmp_path / "double.onnx").exists()


@pytest.mark.parametrize("entry", [0, 50])
def test_one_other_number_in_the_file_is_found(
    entry: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import onnx_ir as ir

    program = export_attribution(network(nn.Conv2d(3, 4, 3)), torch.rand(3, *IMAGE), n_steps=2)
    export = torch.onnx.export

    def other(*args: Any, **kwargs: Any) -> Any:
        made: Any = export(*args, **kwargs)
        for held in made.model.graph.initializers.values():
            value = held.const_value.numpy().copy()
            if value.shape == (4, 3, 3, 3):
                value.flat[entry] *= 1.01
                held.const_value = ir.tensor(value, name=held.name)
        return made

    monkeypatch.setattr(torch.onnx, "export", other)
    with pytest.raises(TraceError, match=r"aten.convolution.*in 0 \(Conv2d\).*otherwise"):
        program.save(tmp_path / "other.onnx")


@pytest.mark.parametrize("start", [torch.zeros, torch.ones])
def test_examples_on_kinks_are_no_reason_to_refuse(
    start: Callable[..., Tensor], tmp_path: Path
) -> None:
    """Equal entries under a maximum, and ReLUs at zero."""
    layers = [nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2, 1)]
    net = network(nn.Sequential(*layers))
    with torch.no_grad():
        net[0][1].weight[:2] = 0.0
    program = export_attribution(net, start(2, *IMAGE), n_steps=2)
    program.save(tmp_path / "kinks.onnx")
    x = start(3, *IMAGE)
    torch.testing.assert_close(load(tmp_path / "kinks.onnx")(x), program(x))
