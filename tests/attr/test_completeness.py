"""The guard's slack: no false alarm on real rounding, with room, and no blindness.

``python tests/attr/rounding_gaps.py`` prints how far rounding alone goes, on more networks.
"""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients
from rounding_gaps import NETWORKS, SCALES, inputs_of, largest
from torch import Tensor, nn

from captum_xdnn import HomogeneityWarning, XIntegratedGradients
from captum_xdnn.checks.completeness import Sizes, bounds_of, gap_exceeds

ROOM = 2.5
"""How many times larger the slack is, at least, than any gap measured here."""

# With one feature there is nothing but the output itself to measure a gap against.
SEVERAL_FEATURES = [name for name in NETWORKS if "1 feature" not in name]
QUICK = {"mlp, 2 features", "mlp, 20 features", "mlp, deep", "conv net, 50 layers", "degree 5"}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in SEVERAL_FEATURES],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rounding_stays_far_below_the_slack(name: str, dtype: torch.dtype) -> None:
    worst = float(largest(name, dtype, range(1))[-1])
    slack = Sizes(torch.finfo(dtype).eps, lambda: torch.ones(1)).slack
    print(f"{name}, {dtype}: largest gap {worst:.2f} of {slack:.0f} units")
    # Two features are few: now and then their gradients are small together.
    assert worst * (1 if name == "mlp, 2 features" else ROOM) <= slack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["mlp, deep", "conv net, 50 layers"])
def test_rounding_is_no_alarm(name: str, dtype: torch.dtype) -> None:
    build, shape, _ = NETWORKS[name]
    torch.manual_seed(0)
    xig = XIntegratedGradients(build().to(dtype))
    for x in inputs_of(shape):
        for scale in SCALES[dtype]:
            xig.attribute((x * scale).to(dtype), target=list(range(8)))
            assert xig.last_route == "single_pass"


def one_hot(batch: int, features: int) -> Tensor:
    x = torch.zeros(batch, features)
    x[torch.arange(batch), torch.arange(batch) % features] = 1.0
    return x


@pytest.mark.parametrize("make", [lambda: torch.randn(64, 20), lambda: one_hot(64, 20)])
@pytest.mark.parametrize("factor", [2.0, 1.001])
def test_a_wrong_gradient_is_an_alarm(make: object, factor: float) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 64, bias=False), nn.ReLU(), nn.Linear(64, 10, bias=False))
    x = make()  # type: ignore[operator]
    xig = XIntegratedGradients(net)
    xig.attribute(x, target=3)
    assert xig.last_route == "single_pass"
    net[1].register_full_backward_hook(lambda module, into, out: (factor * into[0],))
    with pytest.warns(HomogeneityWarning, match=r"miss F\(x\) - F\(b\) by"):
        xig.attribute(x, target=3)


def sizes(attributions: Tensor, precision: float, lost: float = 0.0) -> Sizes:
    """Sizes for attributions of inputs that are all 1."""
    return Sizes(precision, lambda: bounds_of((attributions,), (attributions * 0 + 1,)), lost)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gap_of_a_few_slacks_is_seen(dtype: torch.dtype) -> None:
    unit = torch.finfo(dtype).eps
    attributions = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    against = sizes(attributions, unit)
    part = against.slack * unit
    allowed = part * (1 + float(against.bounds())) / (1 + part)
    for factor, seen in ((0.9, False), (1.1, True)):
        end = torch.tensor([1.0 - allowed * factor], dtype=torch.float64)
        assert gap_exceeds((attributions,), end, None, against) is seen


def test_the_bound_is_that_of_cauchy_and_schwarz() -> None:
    pair = torch.randn(4, 3, 2), torch.randn(4, 5)
    deltas = torch.randn(4, 3, 2), torch.randn(4, 5)
    found = bounds_of(pair, deltas)
    for i in range(4):
        parts = zip(pair, deltas, strict=True)
        assert found[i] == pytest.approx(sum(float(g[i].norm() * d[i].norm()) for g, d in parts))
    huge = torch.full((1, 2), 1e30)
    assert bounds_of((huge,), (huge,)).isfinite().all()
    assert bounds_of((torch.ones(2),), (torch.ones(2),)).tolist() == [1.0, 1.0]
    assert bounds_of((torch.ones(2, 0),), (torch.ones(2, 0),)).tolist() == [0.0, 0.0]


def test_what_a_dtype_cannot_hold_is_no_gap() -> None:
    nothing = torch.zeros(1, 3)
    end = torch.tensor([1e-6])
    assert gap_exceeds((nothing,), end, None, sizes(nothing, 1e-3))
    assert not gap_exceeds((nothing,), end, None, sizes(nothing, 1e-3, lost=1e-5))


def test_one_example_among_many_is_seen() -> None:
    attributions = torch.rand(32, 5, dtype=torch.float64)
    outputs = attributions.sum(1)
    assert not gap_exceeds((attributions,), outputs, None, sizes(attributions, 1e-16))
    outputs[17] += 1e-3
    assert gap_exceeds((attributions,), outputs, None, sizes(attributions, 1e-16))


def test_a_start_that_is_not_zero_counts() -> None:
    attributions = torch.rand(3, 5, dtype=torch.float64)
    start = torch.full((3,), 2.0, dtype=torch.float64)
    outputs = attributions.sum(1) + start
    assert not gap_exceeds((attributions,), outputs, start, sizes(attributions, 1e-15))
    assert gap_exceeds((attributions,), outputs, None, sizes(attributions, 1e-15))


def test_a_number_that_is_none_is_a_gap() -> None:
    attributions = torch.tensor([[float("nan")]])
    assert gap_exceeds((attributions,), torch.zeros(1), None, sizes(attributions, 1.0))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_examples_that_meet_are_complete_together(kind: str) -> None:
    """A layer of a graph network: the rows are nodes, and each takes from its neighbours."""
    generator = torch.Generator().manual_seed(0)
    graph = (torch.rand(6, 6, generator=generator) > 0.5).float()
    weight = torch.randn(4, 3, generator=generator)
    neighbours = graph if kind == "dense" else graph.to_sparse()
    function = lambda x: neighbours @ (x @ weight).relu()  # noqa: E731
    x = torch.rand(6, 4, generator=generator)
    call = {"target": 1, "internal_batch_size": 6}
    explainer = XIntegratedGradients(function)
    for _ in range(3):
        ours = explainer.attribute(x, **call)
        assert explainer.last_route == "single_pass"
    theirs = IntegratedGradients(function).attribute(x, **call)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class Transposed(nn.Module):
    """A batch norm of images one pixel wide, whose gradient lies in memory as a transposed tensor does.

    For that its backward pass in eval mode is wrong on the CPU, in torch 2.13 and 2.14.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(4)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.amax(3, keepdim=True)).transpose(1, 3).contiguous().flatten(1).relu()


def test_a_wrong_gradient_of_torchs_own_is_an_alarm() -> None:
    model, x = Transposed().eval(), torch.rand(2, 4, 2, 3)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    right = torch.allclose((gradient * x).flatten(1).sum(1), model(x)[:, 1])
    xig = XIntegratedGradients(model)
    if right:
        pytest.skip("this torch differentiates it rightly")
    with pytest.warns(HomogeneityWarning, match=r"miss F\(x\) - F\(b\)"):
        xig.attribute(x, target=1)
    assert xig.last_route == "captum"
