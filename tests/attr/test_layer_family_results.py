"""Layers and neurons: what comes back is Captum's in dtype, in memory and in autograd's graph."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import captum.attr
import pytest
import torch
from layer_family import (
    CAPTUMS_WARNINGS,
    CASES,
    NAMES,
    Case,
    arguments_of,
    chain,
    method_of,
    of,
    ours,
    outcome,
    rows,
    theirs,
)
from torch import Tensor, nn

import captum_xdnn
from captum_xdnn import NotHomogeneousError

pytestmark = [
    *CAPTUMS_WARNINGS,
    # Where gradients are detached or changed; what comes back is Captum's all the same.
    pytest.mark.filterwarnings("ignore::captum_xdnn.HomogeneityWarning"),
]


def net_of(*, bias: bool = False, end: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return chain(inplace=False, bias=bias, end=end).float()


INPUTS: dict[str, Any] = {
    "int64": lambda: torch.arange(24).view(4, 6),
    "int32": lambda: torch.arange(24).view(4, 6).int(),
    "uint8": lambda: torch.arange(24).view(4, 6).byte(),
    "bool": lambda: torch.arange(24).view(4, 6) > 9,
    "complex": lambda: torch.rand(4, 6) + 0j,
    "sparse": lambda: torch.rand(4, 6).to_sparse(),
    "meta": lambda: torch.rand(4, 6, device="meta"),
    "no batch": lambda: torch.tensor(1.0),
}


def told(name: str, case: Case, *, mine: bool, **more: Any) -> Any:
    def compute() -> Any:
        method = method_of(name, case, ours=mine)
        result = method.attribute(case.inputs, **arguments_of(name, case, **more))
        return result.shape, result.dtype, result.device.type, result.requires_grad, result

    return outcome(compute)


def assert_told_the_same(name: str, case: Case, **more: Any) -> None:
    expected, found = told(name, case, mine=False, **more), told(name, case, mine=True, **more)
    if isinstance(expected, type):
        assert found is expected
        return
    assert found[:-1] == expected[:-1]
    if expected[-1].device.type != "meta":
        torch.testing.assert_close(found[-1], expected[-1], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_that_have_no_gradient(kind: str, name: str, bias: bool) -> None:
    net = net_of(bias=bias)
    if kind == "meta":
        net = net.to("meta")
    for at_input in (False, True):
        assert_told_the_same(name, Case(net, net[1], INPUTS[kind]()), at_input=at_input)


class Sum(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, counts: Tensor) -> Any:
        return self.net(x + counts)


@pytest.mark.parametrize("name", NAMES)
def test_one_of_two_inputs_is_of_integers(name: str) -> None:
    net = net_of()
    inputs = (torch.rand(4, 6), torch.arange(24).view(4, 6))
    case = Case(Sum(net), net[1], inputs)
    assert outcome(lambda: ours(name, case)[0]) is outcome(lambda: theirs(name, case)) or (
        [t.shape for t in ours(name, case)[0]] == [t.shape for t in theirs(name, case)]
    )


class Cast(nn.Module):
    """Computes the layer in another dtype than its inputs have."""

    def __init__(self, inside: torch.dtype, outside: torch.dtype) -> None:
        super().__init__()
        net = net_of()
        self.stem, self.layer, self.head = net[0].to(inside), net[1], net[2:].to(outside)
        self.inside, self.outside = inside, outside

    def forward(self, x: Tensor) -> Any:
        return self.head(self.layer(self.stem(x.to(self.inside))).to(self.outside))


HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}
DTYPES: dict[str, Any] = {
    **{n: lambda d=d: of(net_of().to(d), lambda m: m[1], rows().to(d)) for n, d in HALF.items()},
    **{
        f"{n}, softmax": lambda d=d: of(
            net_of(end=nn.Softmax(1)).to(d), lambda m: m[1], rows().to(d)
        )
        for n, d in HALF.items()
    },
    "bfloat16, biases": lambda: of(net_of(bias=True).bfloat16(), lambda m: m[0], rows().bfloat16()),
    "bfloat16 inside": lambda: of(
        Cast(torch.bfloat16, torch.float32), lambda m: m.layer, rows().float()
    ),
    "float64 inside": lambda: of(
        Cast(torch.float64, torch.float32), lambda m: m.layer, rows().float()
    ),
    "float32 inside": lambda: of(Cast(torch.float32, torch.float64), lambda m: m.layer),
}


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("strategy", ["auto", "captum"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", DTYPES)
def test_dtypes(kind: str, name: str, strategy: Any) -> None:
    case = DTYPES[kind]()
    expected = theirs(name, case, n_steps=50)
    found, _ = ours(name, case, n_steps=50, settings={"strategy": strategy})
    assert found.dtype == expected.dtype
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * size + 1e-6)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", [None, nn.Softmax(1)])
@pytest.mark.parametrize("bias", [False, True])
def test_autocast(name: str, end: nn.Module | None, bias: bool) -> None:
    case = of(net_of(bias=bias, end=end), lambda m: m[0], rows().float())
    with torch.autocast("cpu", torch.bfloat16):
        expected, (found, _) = theirs(name, case, n_steps=50), ours(name, case, n_steps=50)
    assert found.dtype == expected.dtype
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * size + 1e-6)


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, -1)).transpose(1, 2)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", [None, nn.Softmax(1)])
@pytest.mark.parametrize("turned", [False, True])
def test_memory(name: str, end: nn.Module | None, turned: bool) -> None:
    head = [] if end is None else [end]
    net = nn.Sequential(nn.Linear(6, 8, bias=False), Turned(), nn.ReLU(), nn.Flatten()).double()
    net = nn.Sequential(*net, nn.Linear(8, 3, bias=False).double(), *head)
    x = rows().t().contiguous().t() if turned else rows()
    case = Case(net, net[1], x, selector=(1, 0))
    expected, (found, _) = theirs(name, case), ours(name, case)
    assert found.stride() == expected.stride()
    assert found.is_contiguous() == expected.is_contiguous()


def affine_then_softmax() -> Case:
    return of(chain(inplace=False, bias=True, end=nn.Softmax(1)), lambda m: m[0])


class Normed(nn.Module):
    """The layer's value has a constant beside a part whose gradient is not a number at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shift = nn.Linear(6, 8, bias=False), nn.Parameter(torch.rand(8))
        self.layer, self.head = nn.Identity(), nn.Linear(8, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        norm = (x**2).sum(1, keepdim=True).sqrt()
        return self.head(self.layer(x + norm + self.shift).relu())


class Frozen(nn.Module):
    """The layer's value is a constant to autograd."""

    def __init__(self) -> None:
        super().__init__()
        net = chain(inplace=False)
        self.stem, self.layer, self.head = net[0], net[1], net[2:]

    def forward(self, x: Tensor) -> Any:
        return self.head(self.layer(self.stem(x).detach()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at_input", [False, True])
def test_a_layer_behind_what_has_no_gradient(name: str, at_input: bool) -> None:
    case = of(Frozen(), lambda m: m.layer)
    assert_told_the_same(name, case, at_input=at_input, n_steps=400)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * gradient


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return Double.apply(x)


def bent(place: int) -> Case:
    net = chain(inplace=False)
    parts = [*net[:place], Doubled(), *net[place:]]
    return of(nn.Sequential(*parts), lambda m: m[2])


def zero_biases(case: str = "biases") -> Case:
    found = CASES[case]()
    with torch.no_grad():
        for name, parameter in found.model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return found


GRAPHS: dict[str, Any] = {
    **{n: CASES[n] for n in ("no bias", "no bias, last layer", "affine output", "conv")},
    **{n: CASES[n] for n in ("biases", "softmax", "in place after", "two inputs", "weighted")},
    **{n: CASES[n] for n in ("data parallel", "lstm", "skip", "twins", "in place, softmax")},
    "affine layer": affine_then_softmax,
    "normed": lambda: of(Normed(), lambda m: m.layer),
    "frozen": lambda: of(Frozen(), lambda m: m.layer),
    "own gradient before": lambda: bent(1),
    "own gradient after": lambda: bent(4),
    "zero biases": zero_biases,
    "zero biases, softmax": lambda: zero_biases("biases, softmax"),
    "zero bias, conv": lambda: zero_biases("conv, biases"),
}


def gradients_of(case: Case, *, mine: bool, delta: bool, **more: Any) -> Any:
    """The gradients by the parameters and the inputs, after a sum of squares of the result."""

    def compute() -> Any:
        method = method_of("LayerConductance", case, ours=mine)
        arguments = arguments_of("LayerConductance", case, **more)
        result = method.attribute(case.inputs, **arguments, return_convergence_delta=delta)
        result = result[0] if delta else result
        (result**3).sum().backward()
        inputs = case.inputs if isinstance(case.inputs, tuple) else (case.inputs,)
        leaves = (*case.model.parameters(), *inputs)
        found = [None if t.grad is None else t.grad.clone() for t in leaves]
        for leaf in leaves:
            leaf.grad = None
        return found

    return outcome(compute)


def asking(case: Case) -> Case:
    """The same case with inputs that require gradients."""
    single = isinstance(case.inputs, Tensor)
    inputs = tuple(x.detach().clone() for x in ((case.inputs,) if single else case.inputs))
    for x in inputs:
        x.requires_grad_()
    return Case(case.model, case.layer, inputs[0] if single else inputs, more=case.more)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("at_input", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_of_conductance(name: str, at_input: bool, asked: bool) -> None:
    case = asking(GRAPHS[name]()) if asked else GRAPHS[name]()
    settings = {"at_input": at_input, "delta": asked, "n_steps": 400}
    expected = gradients_of(case, mine=False, **settings)
    found = gradients_of(case, mine=True, **settings)
    if isinstance(expected, type):
        assert found is expected
        return
    assert [g is None for g in found] == [g is None for g in expected]
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            # A single pass has no steps: their factor, cubed, is what differs.
            size = float(other.abs().max())
            torch.testing.assert_close(one, other, rtol=0, atol=2e-3 * size + 1e-12)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("graded", [False, True])
def test_what_requires_a_gradient(name: str, graded: bool) -> None:
    case = GRAPHS[name]()
    with nullcontext() if graded else torch.no_grad():
        for more in ({}, {"return_convergence_delta": True}, {"internal_batch_size": 8}):
            expected = outcome(lambda m=more: theirs("LayerConductance", case, **m))
            found = outcome(lambda m=more: ours("LayerConductance", case, **m)[0])
            assert_alike_graphs(expected, found)


def assert_alike_graphs(expected: Any, found: Any) -> None:
    if isinstance(expected, type):
        assert found is expected
        return
    if isinstance(expected, tuple):
        for one, other in zip(expected, found, strict=True):
            assert_alike_graphs(one, other)
        return
    assert found.requires_grad == expected.requires_grad
    assert found.is_leaf == expected.is_leaf


@pytest.mark.parametrize(
    ("name", "route"),
    [("no bias", "single_pass"), ("softmax", "hoisted"), ("affine layer", "hoisted")],
)
@pytest.mark.usefixtures("always_hoisted")
def test_a_result_with_a_graph_takes_the_fast_routes(name: str, route: str) -> None:
    found, taken = ours("LayerConductance", GRAPHS[name]())
    assert found.requires_grad
    assert taken == route


def test_biases_that_happen_to_be_zero() -> None:
    single = {"settings": {"strategy": "single_pass"}}
    with pytest.raises(NotHomogeneousError, match="no_grad"):
        ours("LayerConductance", zero_biases(), **single)
    with torch.no_grad():
        assert ours("LayerConductance", zero_biases(), **single)[1] == "single_pass"
    frozen = zero_biases()
    frozen.model.requires_grad_(False)
    assert ours("LayerConductance", frozen, **single)[1] == "single_pass"


def test_the_line_of_a_warning_about_several_layers() -> None:
    net = net_of()
    layers = [net[0], net[2]]
    said = []
    for kind in (captum.attr.LayerIntegratedGradients, captum_xdnn.XLayerIntegratedGradients):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            method = kind(net, layers)
            kind(net, [net[0]])
        said.append([(str(w.message), w.category, w.filename, w.lineno) for w in caught])
        assert method.layer is layers
    assert said[0] == said[1]
    assert said[0][0][2] == __file__


def kind_of(name: str, *, mine: bool) -> Any:
    return getattr(captum_xdnn, f"X{name}") if mine else getattr(captum.attr, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_subclass_with_attributes_of_its_own(name: str) -> None:
    net = net_of()
    case = Case(net, net[1], rows().float())
    results = []
    for mine in (False, True):
        base = kind_of(name, mine=mine)

        class Own(base):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                self.forward_func, self.layer, self.device_ids = net, net[1], None
                self._multiply_by_inputs = True
                self.ig = captum.attr.IntegratedGradients(net)

        method = Own()
        results.append(method.attribute(case.inputs, **arguments_of(name, case, n_steps=400)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-2, atol=1e-4)
    assert method.last_route in ("single_pass", None)


@pytest.mark.parametrize("of_object", [False, True])
@pytest.mark.parametrize("name", ["LayerConductance", "InternalInfluence", "NeuronConductance"])
def test_another_integration(name: str, of_object: bool) -> None:
    net = net_of()
    case = Case(net, net[1], rows().float())
    results = []
    for mine in (False, True):
        base = kind_of(name, mine=mine)

        def twice(self: Any, *args: Any, base: Any = base, **kwargs: Any) -> Any:
            found = base._attribute(self, *args, **kwargs)
            return tuple(2 * f for f in found) if isinstance(found, tuple) else 2 * found

        if of_object:
            method = base(net, net[1])
            method._attribute = twice.__get__(method)
        else:
            method = type("Twice", (base,), {"_attribute": twice})(net, net[1])
        results.append(method.attribute(case.inputs, **arguments_of(name, case)))
    torch.testing.assert_close(results[1], results[0])
    assert method.last_route == "captum"
