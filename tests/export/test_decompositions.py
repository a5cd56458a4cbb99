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
from captum_xdnn.export.decompositions import choosing, table_of
from captum_xdnn.export.decompositions.table import OURS

WORDS = (
    "conv",
    "pool",
    "nn.functional.interpolate",
    "upsample",
    "functional.pad",
    "unfold",
    "diagonal",
)
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
        (1, 1, 2, 2, False),
        (1, 3, 1, 4, False),
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


THRESHOLD = torch.ops.aten.threshold_backward.default
POLES: dict[str, Callable[[Tensor], Tensor]] = {
    "root of a sum": lambda x: torch.relu(x).sum((1, 2, 3)).sqrt(),
    "p-norm pooling": lambda x: functional.lp_pool2d(torch.relu(x), 2.0, 2).sum((1, 2, 3)),
    "roots of means": lambda x: (
        functional.adaptive_avg_pool2d(torch.relu(x), 2).sqrt().sum((1, 2, 3))
    ),
    "roots of windows": lambda x: torch.relu(x).unfold(-1, 2, 2).sum(-1).sqrt().sum((1, 2, 3)),
}


@pytest.mark.parametrize("name", POLES)
def test_an_infinite_gradient_stays_where_torch_has_it(name: str) -> None:
    """Of a blank half: torch's ReLU passes nothing on of it, and the other half has its numbers."""
    convolution = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    net = Through(lambda x: POLES[name](convolution(x)))
    program = export_attribution(net, torch.rand(3, 1, 8, 8), target=None)
    graph: Any = program._program
    table = table_of(graph)
    assert table[THRESHOLD] is not choosing.threshold_backward
    x = torch.rand(2, 1, 8, 8)
    x[0, :, :, :5], x[1] = 0.0, 0.0
    with torch.no_grad():
        _, found, _ = graph.run_decompositions(table).module()(x)
    expected = program(x).attributions
    assert expected.isfinite().all()
    assert expected[0].any()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("target", ["argmax", "given", 1])
def test_products_stand_for_choices_where_all_gradients_are_finite(target: Any) -> None:
    layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2)]
    net, images = nn.Sequential(*layers), torch.rand(3, 1, 8, 8)
    program: Any = export_attribution(net, images, target=target)._program
    assert table_of(program)[THRESHOLD] is choosing.threshold_backward


POOLS = [
    *(
        {"stride": 2, "padding": 1},
        {"ceil_mode": True},
        {"stride": 3, "padding": 1, "ceil_mode": True},
    ),
    {"stride": 1, "padding": 1, "dilation": 2, "ceil_mode": True},
]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "one"])
def test_maxima_and_their_places_in_onnx_runtime(dims: int, batched: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    import onnxruntime

    from captum_xdnn.export.onnx_pooling import translations

    pool = (functional.max_pool2d_with_indices, functional.max_pool3d_with_indices)[dims - 2]
    x = torch.randn(*([2] if batched else []), 3, *[10, 8, 6][:dims]).mul(2).round() - 9  # ties

    def pooled(x: Tensor) -> Any:
        return [part for options in POOLS for part in pool(x, 2, **options)]

    path = tmp_path / "pools.onnx"
    tables = {"custom_translation_table": translations(), "verbose": False}
    torch.onnx.export(Through(pooled).eval(), (x,), path, dynamo=True, **tables)
    found = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
    for mine, theirs in zip(found, pooled(x), strict=True):
        torch.testing.assert_close(torch.from_numpy(mine), theirs, rtol=0, atol=0)


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
