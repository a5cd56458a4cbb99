"""``tolerance=``: as many points as each example needs, on every route, and what is said of them."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outside
import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients, NoiseTunnel
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import NotHomogeneousError, XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.recording import steps

TOLERANCE = 1e-3
"""Rows of each pass; outside of the networks, as what those hold is put back."""
Net = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _sizes_are_found_anew() -> None:
    steps.forget()


class Sharp(nn.Module):
    """A network that no route but Captum's serves: it bends nearest to the inputs, and is recurrent."""

    def __init__(self, steep: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.steep = nn.Linear(6, 32), nn.Linear(32, 3), steep
        self.inner = nn.GRU(32, 32, batch_first=True)

    def forward(self, x: Tensor, scale: Any = 1.0) -> Tensor:
        outside.seen.append(len(x))
        return torch.as_tensor(self.last(self.recur(self.first(torch.sin(self.steep * x))))) * scale

    def recur(self, x: Tensor) -> Tensor:
        given: Tensor = self.inner(x.unsqueeze(1))[0][:, 0]
        return given


def hoistable(width: int = 600) -> nn.Module:
    torch.manual_seed(1)
    layers = (nn.Linear(6, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False))
    return nn.Sequential(*layers, nn.Linear(width, 3, bias=False), nn.Softmax(1)).eval()


def meeting() -> nn.Module:
    """The examples of a batch meet."""

    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x - x.mean(0, keepdim=True) + x)

    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 8), Centred(), nn.Linear(8, 3))


def without_biases() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))


def inputs(rows: int = 4) -> Tensor:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def reference(function: Net, x: Any, **arguments: Any) -> Tensor:
    method = IntegratedGradients(function, arguments.pop("multiply_by_inputs", True))
    found: Tensor = method.attribute(x, n_steps=500, **arguments)
    return found


ON_EACH = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
ROUTES = {
    "captum": lambda: Sharp(2.0).double(),
    "hoisted": lambda: hoistable().double(),
    "single_pass": lambda: without_biases().double(),
}


@ON_EACH
@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("route", list(ROUTES))
def test_the_gap_is_what_was_asked_for(route: str, multiply: bool, device: str) -> None:
    function, x, target = ROUTES[route]().to(device), 3 * inputs().to(device), [0, 1, 2, 1]
    xig = XIntegratedGradients(function, multiply)
    found = xig.attribute(x, target=target, tolerance=TOLERANCE)
    assert xig.last_route == route
    points, gaps = xig.last_steps, xig.last_gap
    assert points is not None
    assert gaps is not None
    change = (function(x) - function(0 * x))[torch.arange(4), target]
    products = found if multiply else found * x
    missed = (products.sum(1) - change).abs() / change.abs()
    assert_close(missed.cpu(), gaps.cpu(), rtol=1e-6, atol=1e-9)
    assert gaps.max() <= TOLERANCE
    expected = reference(function, x, target=target, multiply_by_inputs=multiply)
    assert (found - expected).abs().sum() <= 0.01 * expected.abs().sum()
    assert points.dtype == torch.int64
    assert points.tolist() == [1] * 4 if route == "single_pass" else points.min() >= 9


@ON_EACH
def test_examples_that_are_done_leave_the_batch(device: str) -> None:
    function = Sharp().double().to(device)
    x = torch.stack([0.01 * inputs()[0], 30 * inputs()[1], 0.01 * inputs()[2]]).to(device)
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1, tolerance=1e-4)
    easy, hard, other = xig.last_steps.tolist()  # type: ignore[union-attr]
    assert hard > 5 * max(easy, other)
    outside.seen.clear()
    xig.attribute(x, target=1, tolerance=1e-4)
    # And the run that is watched, and half of the first pass, which is looked at again.
    assert sum(outside.seen) <= easy + hard + other + 2 * 3 + outside.seen[1] // 2
    alone = XIntegratedGradients(function)
    found = [alone.attribute(row[None], target=1, tolerance=1e-4) for row in x]
    assert_close(torch.cat(found), xig.attribute(x, target=1, tolerance=1e-4))


@ON_EACH
def test_in_a_head_as_well(device: str) -> None:
    function = hoistable().double().to(device)
    x = torch.stack([0.01 * inputs()[0], 300 * inputs()[1]]).to(device)
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1, tolerance=1e-6)
    assert xig.last_route == "hoisted"
    easy, hard = xig.last_steps.tolist()  # type: ignore[union-attr]
    assert hard > 2 * easy


@ON_EACH
def test_where_examples_meet_all_take_the_same_points(device: str) -> None:
    function, x = meeting().double().to(device), inputs().to(device)
    xig = XIntegratedGradients(function)
    found = xig.attribute(x, target=1, tolerance=TOLERANCE)
    assert xig.last_route == "captum"
    assert len(set(xig.last_steps.tolist())) == 1  # type: ignore[union-attr]
    change = (function(x) - function(0 * x))[:, 1]
    assert_close(found.sum(), change.sum(), rtol=TOLERANCE, atol=0)
    theirs = IntegratedGradients(function).attribute(
        x, target=1, n_steps=500, internal_batch_size=4
    )
    assert_close(found, theirs, rtol=0.01, atol=1e-3)


FORMS: dict[str, dict[str, Any]] = {
    "a target": {"target": 1},
    "a tensor": {"target": torch.tensor([2])},
    "a tensor for each": {"target": torch.tensor([0, 1, 2, 1])},
    "a list": {"target": [0, 1, 2, 1]},
    "tuples": {"target": [(0,), (1,), (2,), (1,)]},
    "an argument of each": {
        "target": 1,
        "additional_forward_args": torch.tensor([[1.0], [2.0], [3.0], [4.0]]).double(),
    },
    "a number": {"target": 1, "additional_forward_args": 2.0},
    "a 0-d tensor": {"target": 1, "additional_forward_args": torch.tensor(2.0).double()},
    "a baseline": {"target": 1, "baselines": 0.3},
    "a baseline for all": {"target": 1, "baselines": inputs()[:1] / 2},
    "a baseline of each": {"target": 1, "baselines": inputs() / 2 + 0.1},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_of_captums_arguments(form: str) -> None:
    function, x = Sharp().double(), inputs()
    xig = XIntegratedGradients(function)
    found = xig.attribute(x, **FORMS[form], tolerance=1e-6)
    assert_close(found, reference(function, x, **FORMS[form]), rtol=1e-3, atol=1e-5)


def test_several_inputs_and_the_form_of_the_result() -> None:
    def function(a: Tensor, b: Tensor) -> Tensor:
        return torch.sin(a).sum(1) * torch.exp(b).mean((1, 2))

    pair = (inputs(), inputs().reshape(4, 2, 3) / 2)
    xig = XIntegratedGradients(function)
    found = xig.attribute(pair, tolerance=1e-7)
    assert isinstance(found, tuple)
    assert_close(found, reference(function, pair), rtol=1e-4, atol=1e-6)
    lone = xig.attribute((pair[0], pair[1][:, :1]), tolerance=1e-3)
    assert [t.shape for t in lone] == [(4, 6), (4, 1, 3)]


def test_the_convergence_delta_keeps_its_meaning() -> None:
    function, x = Sharp().double(), inputs()
    xig = XIntegratedGradients(function)
    found, delta = xig.attribute(x, target=1, tolerance=1e-3, return_convergence_delta=True)
    assert_close(delta, found.sum(1) - (function(x) - function(0 * x))[:, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes_come_out_as_captums(dtype: torch.dtype) -> None:
    function, x = Sharp().to(dtype), inputs().to(dtype)
    found = XIntegratedGradients(function).attribute(x, target=1, tolerance=0.05)
    theirs = IntegratedGradients(function).attribute(x, target=1)
    assert found.dtype == theirs.dtype
    assert (found - theirs).abs().sum() <= 0.2 * theirs.abs().sum()


def test_whole_numbers() -> None:
    function, x = Sharp(), torch.arange(12).reshape(2, 6)
    found = XIntegratedGradients(function).attribute(x, target=1, tolerance=1e-5)
    expected = IntegratedGradients(function).attribute(x, target=1, n_steps=500)
    assert found.dtype == expected.dtype
    assert_close(found, expected, rtol=0.01, atol=0.001)


@pytest.mark.parametrize("bound", [1, 3, 4, 10])
@pytest.mark.parametrize("made", [lambda: Sharp(3.0), meeting])
def test_a_bound_of_the_rows(made: Callable[[], nn.Module], bound: int) -> None:
    function, x, seen = made().double(), inputs(), []
    function.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    xig = XIntegratedGradients(function)
    for _ in range(2):
        seen.clear()
        xig.attribute(x, target=1, tolerance=1e-2, internal_batch_size=bound)
    most = bound if isinstance(function, Sharp) else max(4, bound)
    assert max(seen) <= max(most, 4)  # the run that is watched is of the batch
    assert len(seen) >= 5


@ON_EACH
def test_a_bound_of_the_memory(device: str) -> None:
    function, x = Sharp(3.0).double().to(device), inputs().to(device)
    whole = XIntegratedGradients(function).attribute(x, target=1, tolerance=1e-4)
    xig = XIntegratedGradients(function, max_memory=20_000)
    outside.seen.clear()
    found = xig.attribute(x, target=1, tolerance=1e-4)
    assert max(outside.seen) < 40
    assert_close(found, whole)


@ON_EACH
@pytest.mark.parametrize("nth", range(6))
def test_memory_that_runs_out_at_any_pass(nth: int, device: str) -> None:
    function, x = Sharp(2.0).double().to(device), 2 * inputs().to(device)
    expected = XIntegratedGradients(function).attribute(x, target=1, tolerance=1e-4)
    outside.seen.clear()

    def fail(_: Any, given: Any) -> None:
        if len(outside.seen) == nth and len(given[0]) > 1:
            outside.seen.append(0)
            message = "CUDA out of memory. Tried to allocate 2.00 GiB."
            raise torch.OutOfMemoryError(message)

    with function.register_forward_pre_hook(fail):
        found = XIntegratedGradients(function).attribute(x, target=1, tolerance=1e-4)
    assert 0 in outside.seen
    assert_close(found, expected)


@pytest.mark.parametrize("limit", [7, 2])
def test_memory_for_a_few_rows(limit: int) -> None:
    function = Sharp(2.0).double()
    expected = XIntegratedGradients(function).attribute(2 * inputs(), target=1, tolerance=1e-4)

    outside.seen.clear()

    def fail(_: Any, given: Any) -> None:
        if len(given[0]) > limit and len(outside.seen) > 2:
            raise torch.OutOfMemoryError("out of memory")

    with function.register_forward_pre_hook(fail):
        found = XIntegratedGradients(function).attribute(2 * inputs(), target=1, tolerance=1e-4)
    assert_close(found, expected)


def test_memory_that_a_batch_which_goes_together_does_not_have() -> None:
    function = meeting().double()

    def fail(_: Any, given: Any) -> None:
        if len(given[0]) > 4:
            raise torch.OutOfMemoryError("out of memory")

    xig = XIntegratedGradients(function)
    expected = xig.attribute(inputs(), target=1, tolerance=1e-3)
    with function.register_forward_pre_hook(fail):
        with pytest.raises(torch.OutOfMemoryError, match="internal_batch_size bounds the rows"):
            xig.attribute(inputs(), target=1, tolerance=1e-3)
        found = xig.attribute(inputs(), target=1, tolerance=1e-3, internal_batch_size=4)
    assert_close(found, expected)


def test_what_is_not_reached_is_named() -> None:
    function = Sharp(40.0).double()
    x = torch.stack([1e-4 * inputs()[0], 30 * inputs()[1], torch.full((6,), torch.nan).double()])
    xig = XIntegratedGradients(function)
    with pytest.warns(
        UserWarning, match=r"by 2 of 3 examples: example 1 \(gap .*example 2 \(gap nan\)"
    ) as seen:
        found = xig.attribute(x, target=1, tolerance=1e-6, max_steps=41)
    assert [Path(w.filename).name for w in seen] == ["test_tolerance.py"]
    assert found[2].isnan().all()
    assert found[:2].isfinite().all()
    points = xig.last_steps.tolist()  # type: ignore[union-attr]
    assert points[1] == 41
    assert max(points) <= 41


INFINITE: dict[str, Net] = {
    "at_the_baseline": lambda x: x.log(),
    "at_the_inputs": lambda x: (100 * x).exp() ** 9,
    "at_both_ends": lambda x: x.log() - 1 / (1 - x).relu(),
    "of_examples_that_meet": lambda x: x.log() * x.sum(),
    "in_the_head": lambda x: ((x @ torch.ones(6, 64)).relu() @ torch.ones(64, 3)).log(),
}


@pytest.mark.parametrize("where", INFINITE)
@pytest.mark.parametrize("tolerance", [1e-3, 5.0])
def test_what_is_infinite_is_not_reached(where: str, tolerance: float) -> None:
    xig = XIntegratedGradients(INFINITE[where])
    for _ in range(3):
        with pytest.warns(UserWarning, match=r"by 2 of 2 examples: example 0 \(gap nan\)"):
            xig.attribute(torch.ones(2, 6), target=0, tolerance=tolerance)
        assert xig.last_gap is not None
        assert xig.last_gap.isnan().all()


@pytest.mark.parametrize("most", range(3, 12))
def test_few_points(most: int) -> None:
    function, x = Sharp(5.0).double(), inputs()
    xig = XIntegratedGradients(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xig.attribute(x, target=1, tolerance=1e-9, max_steps=most)
    assert most - 1 <= xig.last_steps.max() <= most  # type: ignore[union-attr]


WRONG = {
    "zero": {"tolerance": 0},
    "negative": {"tolerance": -1e-3},
    "infinite": {"tolerance": float("inf")},
    "no number": {"tolerance": float("nan")},
    "a word": {"tolerance": "1e-3"},
    "a truth": {"tolerance": True},
    "few steps": {"tolerance": 1e-3, "max_steps": 2},
    "half a step": {"tolerance": 1e-3, "max_steps": 50.0},
    "steps alone": {"max_steps": 100},
}


@pytest.mark.parametrize("kind", [XIntegratedGradients, None])
@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_wishes(case: str, kind: Any) -> None:
    function = without_biases().double()
    method: Any = XLayerIntegratedGradients(function, function[0])  # type: ignore[index]
    if kind is not None:
        method = kind(function)
    method.attribute(inputs(), target=1)
    before = method.last_route, method.certificate
    with pytest.raises(ValueError, match=r"tolerance|max_steps"):
        method.attribute(inputs(), target=1, **WRONG[case])
    assert (method.last_route, method.certificate) == before


def test_captums_errors_are_captums() -> None:
    function, x = Sharp().double(), inputs()
    ours, theirs = XIntegratedGradients(function), IntegratedGradients(function)
    wrong: list[dict[str, Any]] = [
        {},
        {"target": 7},
        {"target": [1, 2]},
        {"target": 1, "baselines": (0, 0)},
        {"target": 1, "method": "simpson"},
        {"target": 1, "n_steps": -1},
        {"target": torch.tensor([1.0])},
    ]
    for arguments in wrong:
        with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever Captum raises
            theirs.attribute(x, **arguments)
        with pytest.raises(expected.type):
            ours.attribute(x, **arguments, tolerance=1e-3)


def test_where_it_is_not_known_what_is_differentiated() -> None:
    class Other(XIntegratedGradients):
        def _attribute(self, *args: Any, **kwargs: Any) -> Any:
            return super()._attribute(*args, **kwargs)

    function, x = Sharp().double(), inputs()
    replaced = XIntegratedGradients(function)
    replaced.gradient_func = lambda *args, **kwargs: args
    for method in (Other(function), replaced):
        with pytest.raises(NotImplementedError, match="what is differentiated"):
            method.attribute(x, target=1, tolerance=1e-3)
    layered = XLayerIntegratedGradients(function, function.first)
    with pytest.raises(NotImplementedError, match="what is differentiated"):
        layered.attribute(x, target=1, grad_kwargs={"retain_graph": True}, tolerance=1e-3)
    layered.ig = IntegratedGradients(function)  # type: ignore[assignment]
    with pytest.raises(NotImplementedError, match="what is differentiated"):
        layered.attribute(x, target=1, tolerance=1e-3)
    with pytest.raises(NotImplementedError, match="complex64"):
        XIntegratedGradients(lambda z: z.abs().sum(1).sin()).attribute(
            torch.rand(2, 3, dtype=torch.complex64), tolerance=1e-3
        )
    with pytest.raises(NotImplementedError, match="one output for each example"):
        XIntegratedGradients(lambda z: z.exp().sum().reshape(1)).attribute(x, tolerance=1e-3)


def test_a_demanded_single_pass() -> None:
    strict = XIntegratedGradients(Sharp().double(), strategy="single_pass")
    with pytest.raises(NotHomogeneousError):
        strict.attribute(inputs(), target=1, tolerance=1e-3)
    exact = XIntegratedGradients(without_biases(), strategy="single_pass", verify=False)
    for _ in range(2):
        exact.attribute(inputs().float(), target=1, tolerance=1e-12)
        assert exact.last_steps.tolist() == [1] * 4  # type: ignore[union-attr]
        assert exact.last_gap.max() < 1e-5  # type: ignore[union-attr]
    captums = XIntegratedGradients(without_biases().double(), strategy="captum")
    captums.attribute(inputs(), target=1, tolerance=1e-3)
    assert captums.last_route == "captum"
    assert captums.last_gap.max() <= 1e-3  # type: ignore[union-attr]


def test_without_a_tolerance_nothing_is_said_of_it() -> None:
    xig = XIntegratedGradients(Sharp())
    assert (xig.last_steps, xig.last_gap) == (None, None)
    xig.attribute(inputs().float(), target=1, tolerance=1e-2)
    assert xig.last_steps is not None
    xig.attribute(inputs().float(), target=1)
    assert (xig.last_steps, xig.last_gap) == (None, None)


@ON_EACH
@pytest.mark.parametrize("made", [*ROUTES.values(), lambda: meeting().double()])
def test_it_can_be_differentiated(made: Callable[[], nn.Module], device: str) -> None:
    function, x = made().to(device), inputs().to(device)
    xig = XIntegratedGradients(function)
    found = xig.attribute(x, target=1, tolerance=1e-5, create_graph=True)
    many: Any = {"n_steps": 400, "internal_batch_size": 4}
    same = XIntegratedGradients(function).attribute(x, target=1, **many, create_graph=True)
    weights = list(function.parameters())
    ours, theirs = (
        torch.autograd.grad(a.square().sum(), weights, allow_unused=True, materialize_grads=True)
        for a in (found, same)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= 0.01 * other.norm() + 1e-9


LAYERS: dict[str, Callable[[Any], Any]] = {
    "a layer": lambda net: net.first,
    "two layers": lambda net: [net.first, net.side],
}


class Branched(Sharp):
    """Two layers that do not depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Linear(6, 32)

    def forward(self, x: Tensor, scale: Any = 1.0) -> Tensor:
        bent = torch.sin(2 * x)
        mixed = self.recur(self.first(bent)) * torch.cos(self.side(bent))
        return torch.as_tensor(self.last(mixed)) * scale


@ON_EACH
@pytest.mark.filterwarnings("ignore:Multiple layers")
@pytest.mark.parametrize(
    ("which", "at_input"), [("a layer", False), ("a layer", True), ("two layers", False)]
)
def test_layers(which: str, at_input: bool, device: str) -> None:
    function, x = Branched().double().to(device), inputs().to(device)
    layer = LAYERS[which](function)
    ours, theirs = (
        XLayerIntegratedGradients(function, layer),
        LayerIntegratedGradients(function, layer),
    )
    arguments = {"target": [0, 1, 2, 1], "attribute_to_layer_input": at_input}
    found = ours.attribute(x, **arguments, tolerance=1e-7)
    expected = theirs.attribute(x, **arguments, n_steps=1000)
    assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert ours.last_gap.max() <= 1e-7  # type: ignore[union-attr]
    assert (ours.last_steps.shape, ours.last_gap.shape) == ((4,), (4,))  # type: ignore[union-attr]
    ours.attribute(x, **arguments)
    assert ours.last_steps is None


def test_the_network_and_its_rows_are_left_as_they_were() -> None:
    function = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).eval()
    x = inputs().float().requires_grad_()
    before = {name: value.clone() for name, value in function.state_dict().items()}
    kept = x.detach().clone()
    with torch.no_grad():
        found = XIntegratedGradients(function).attribute(x, target=1, tolerance=1e-3)
    assert not found.requires_grad
    assert x.grad is None
    assert_close(x.detach(), kept, rtol=0, atol=0)
    assert_close(dict(function.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is None for p in function.parameters())


def test_it_keeps_nothing_alive() -> None:
    function, x = Sharp(), inputs().float()
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1, tolerance=1e-3)
    dead = weakref.ref(x)
    del x
    gc.collect()
    assert dead() is None


def test_through_captums_own_tools() -> None:
    function, x = Sharp().double(), inputs()
    xig = XIntegratedGradients(function)
    torch.manual_seed(0)
    found = NoiseTunnel(xig).attribute(x, nt_samples=3, stdevs=0.1, target=1, tolerance=1e-6)
    torch.manual_seed(0)
    theirs = NoiseTunnel(IntegratedGradients(function))
    expected = theirs.attribute(x, nt_samples=3, stdevs=0.1, target=1, n_steps=300)
    assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_several_threads() -> None:
    function, x = Sharp().double(), inputs()
    xig = XIntegratedGradients(function)
    expected = {t: xig.attribute(x, target=1, tolerance=t) for t in (1e-2, 1e-5)}
    taken: dict[float, Any] = {}
    wrong: list[float] = []

    def work(t: float) -> None:
        for _ in range(20):
            found = xig.attribute(x, target=1, tolerance=t)
            if not torch.allclose(found, expected[t], rtol=1e-9, atol=1e-12):
                wrong.append(t)
            taken[t] = xig.last_steps

    threads = [threading.Thread(target=work, args=(t,)) for t in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert (taken[1e-5] > taken[1e-2]).all()


def test_what_is_kept_outside_makes_all_go_together() -> None:
    """Rows that are not proved apart run as Captum's do."""
    seen: list[int] = []
    function = Sharp().double()
    function.register_forward_hook(lambda _, __, out: seen.append(len(out)))
    kept: list[Tensor] = []
    function.last.register_forward_hook(lambda _, __, out: kept.append(out))
    xig = XIntegratedGradients(function)
    xig.attribute(inputs(), target=1, tolerance=1e-4)
    assert len(set(xig.last_steps.tolist())) == 1  # type: ignore[union-attr]


def test_a_users_error_keeps_its_cause() -> None:
    cause = KeyError("what went wrong")
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) > 1:
            raise RuntimeError("of the user's") from cause
        return x.exp().sum(1)

    xig = XIntegratedGradients(function, strategy="captum")
    calls.append(0)
    with pytest.raises(RuntimeError, match="of the user's") as raised:
        xig.attribute(inputs(), tolerance=1e-3)
    assert raised.value.__cause__ is cause
