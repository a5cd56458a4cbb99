"""The operations of backward passes against autograd, in float64, and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, SideBySide, named
from torch import Tensor, nn
from torch.nn import functional
from torch.testing._internal.common_methods_invocations import op_db

from captum_xdnn._torch import TorchDispatchMode, pytree
from captum_xdnn.errors import TraceError
from captum_xdnn.export import export_attribution, load
from captum_xdnn.export.decompositions.table import OURS

WORDS = ("conv", "pool", "nn.functional.interpolate", "upsample", "functional.pad", "unfold")
SUBJECTS = [op for op in op_db if any(w in op.name for w in WORDS) and op.supports_autograd]
UNSEEN = ("_adaptive_avg_pool", "unfold_backward")
"""Of what torch's samples do not reach under these names."""


class Compared(TorchDispatchMode):
    """Computes each operation of the table a second time, by its decomposition."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[Any] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in OURS:
            self.seen.add(func)
            with torch.no_grad():
                ours = OURS[func](*args, **(kwargs or {}))
            pairs = zip(pytree.tree_leaves([result]), pytree.tree_leaves([ours]), strict=True)
            for theirs, mine in pairs:
                assert (mine is None) == (theirs is None)
                if theirs is not None:
                    torch.testing.assert_close(mine, theirs)
        return result


def gradients(op: Any, sample: Any) -> Iterator[Tensor]:
    found = op(sample.input, *sample.args, **sample.kwargs)
    output = found[0] if isinstance(found, tuple) else found
    given = [t for t in pytree.tree_leaves([sample.input, sample.args]) if isinstance(t, Tensor)]
    by = [t for t in given if t.requires_grad]
    if output.requires_grad and by:
        yield from torch.autograd.grad(output, by, torch.rand_like(output), allow_unused=True)


def compared(op: Any) -> set[Any]:
    with Compared() as mode:
        for sample in op.sample_inputs("cpu", torch.float64, requires_grad=True):
            list(gradients(op, sample))
    return mode.seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_is_what_autograd_computes_over_torchs_samples() -> None:
    seen: set[Any] = set().union(*map(compared, SUBJECTS))
    missing = [str(op) for op in OURS if op not in seen and not any(u in str(op) for u in UNSEEN)]
    assert not missing


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "transposed"),
    [
        (1, 0, 1, 1, False),
        (2, 1, 2, 2, False),
        (3, 2, 1, 4, False),
        (2, 1, 3, 2, True),
        (3, 0, 1, 1, True),
    ],
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions(
    dims: int, stride: int, padding: int, dilation: int, groups: int, transposed: bool
) -> None:
    kinds = {
        1: (nn.Conv1d, nn.ConvTranspose1d),
        2: (nn.Conv2d, nn.ConvTranspose2d),
        3: (nn.Conv3d, nn.ConvTranspose3d),
    }
    options: dict[str, Any] = (
        {"output_padding": 1} if transposed and max(stride, dilation) > 1 else {}
    )
    layer = kinds[dims][transposed](
        4,
        8,
        2,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        dtype=torch.float64,
        **options,
    )
    x = torch.rand(3, 4, *[8, 7, 6][:dims], dtype=torch.float64, requires_grad=True)
    with Compared() as mode:
        torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    assert torch.ops.aten.convolution_backward.default in mode.seen


@pytest.mark.parametrize(("dim", "size", "step"), [(1, 2, 1), (-1, 3, 2), (1, 3, 3)])
def test_windows(dim: int, size: int, step: int) -> None:
    x = torch.rand(2, 6, 7, dtype=torch.float64, requires_grad=True)
    with Compared() as mode:
        torch.autograd.grad(x.unfold(dim, size, step).square().sum(), x)
    assert torch.ops.aten.unfold_backward.default in mode.seen


@pytest.mark.parametrize("count", [(1, 1), (2, 3), (5, 4), (7, 9)])
def test_adaptive_means(count: tuple[int, int]) -> None:
    x = torch.rand(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    with Compared():
        torch.autograd.grad(torch.nn.functional.adaptive_avg_pool2d(x, count).square().sum(), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_layers_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    layers, shape = FAMILIES[name]
    net = SideBySide(named(*layers), shape)
    program = export_attribution(net, torch.rand(3, *shape), target=1, n_steps=2)
    program.save(tmp_path / "family.onnx")
    opened = load(tmp_path / "family.onnx")
    for rows in (1, 4):
        x = torch.rand(rows, *shape)
        assert program.check(x) < 1e-5
        mine, theirs = opened(x).attributions, program(x).attributions
        gap = torch.linalg.vector_norm(mine - theirs)
        assert gap <= 1e-5 * torch.linalg.vector_norm(theirs)


def sampled(x: Tensor) -> Tensor:
    places = torch.tensor([[1.0, 0.1, 0.0], [0.0, 0.9, 0.1]]).expand(len(x), 2, 3)
    grid = functional.affine_grid(places, [len(x), 1, 2, 5], align_corners=False)
    return functional.grid_sample(x.unsqueeze(1), grid, align_corners=False)


def smoothed(x: Tensor) -> Tensor:
    return functional.interpolate(x.unsqueeze(1), size=(2, 3), mode="bilinear", antialias=True)


ONNX_HAS_NOT: dict[str, Callable[[], nn.Module]] = {
    "output padding as large as its stride": lambda: nn.ConvTranspose1d(
        2, 3, 2, dilation=3, output_padding=2
    ),
    "special_i0e": lambda: Through(torch.special.i0e),
    "prod.dim_int": lambda: Through(lambda x: x.prod(-1)),
    "adaptive_max_pool2d": lambda: nn.AdaptiveMaxPool1d(3),
    "cumprod": lambda: Through(lambda x: x.cumprod(-1)),
    "cdist": lambda: Through(lambda x: torch.cdist(x, x.flip(1))),
    "median": lambda: Through(lambda x: x.median(-1).values),
    "kthvalue": lambda: Through(lambda x: x.kthvalue(2, -1).values),
    "grid_sampler_2d": lambda: Through(sampled),
    "bilinear2d_aa": lambda: Through(smoothed),
}
AS_EXAMPLES = [*ONNX_HAS_NOT][:2]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=() if words in AS_EXAMPLES else pytest.mark.slow)
        for words in ONNX_HAS_NOT
    ],
)
def test_what_onnx_has_not_is_refused_by_name_and_module(words: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    layer = ONNX_HAS_NOT[words]()
    net = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(2))
    net(torch.rand(2, 2, 5))
    program = export_attribution(net, torch.rand(3, 2, 5), n_steps=2)
    said = rf"(?s){words}.*in 0 \({type(layer).__name__}\).*remedy: save it as .pt2"
    with pytest.raises(TraceError, match=said):
        program.save(tmp_path / "refused.onnx")
    assert not (tmp_path / "refused.onnx").exists()


class Through(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
