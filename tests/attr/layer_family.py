"""The five classes that explain a layer or a neuron, and networks to call them on, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import captum.attr
import pytest
import torch
from bias_free_networks import TwoInputs, Weighted, affine_output, biased_mlp, conv_net, images, mlp
from bias_free_networks import rows as rows
from torch import Tensor, nn

import captum_xdnn

LAYER = ("LayerIntegratedGradients", "LayerConductance", "InternalInfluence")
NEURON = ("NeuronIntegratedGradients", "NeuronConductance")
NAMES = (*LAYER, *NEURON)
WITH_DELTA = ("LayerIntegratedGradients", "LayerConductance")

CAPTUMS_WARNINGS = [
    pytest.mark.filterwarnings("ignore:This method computes finite differences:UserWarning"),
    pytest.mark.filterwarnings("ignore:The neuron_selector provided is a callable:UserWarning"),
    pytest.mark.filterwarnings("ignore:Internal batch size cannot be less:UserWarning"),
    pytest.mark.filterwarnings("ignore:Multiple layers provided:UserWarning"),
]
"""What Captum says of its own arguments."""


@dataclass(frozen=True)
class Case:
    """A network, its layer, and arguments of ``attribute`` that suit it."""

    model: nn.Module
    layer: Any
    inputs: Any
    selector: Any = 1
    more: dict[str, Any] = field(default_factory=dict)


def method_of(name: str, case: Case, *, ours: bool, **settings: Any) -> Any:
    kind = getattr(captum_xdnn, f"X{name}") if ours else getattr(captum.attr, name)
    return kind(case.model, case.layer, **settings)


def arguments_of(name: str, case: Case, *, at_input: bool = False, **more: Any) -> dict[str, Any]:
    """What to call ``attribute`` with: a target, or a neuron, or both."""
    call = {"n_steps": 7, "target": 1, **case.more, **more}
    if name in NEURON:
        call = {"neuron_selector": case.selector, "attribute_to_neuron_input": at_input, **call}
    else:
        call["attribute_to_layer_input"] = at_input
    if name == "NeuronIntegratedGradients":
        del call["target"]
    return call


def ours(name: str, case: Case, *, settings: Any = None, **more: Any) -> tuple[Any, str | None]:
    """This package's result, and the route that gave it."""
    method = method_of(name, case, ours=True, **(settings or {}))
    return method.attribute(case.inputs, **arguments_of(name, case, **more)), method.last_route


def theirs(name: str, case: Case, **more: Any) -> Any:
    """Captum's result."""
    return method_of(name, case, ours=False).attribute(
        case.inputs, **arguments_of(name, case, **more)
    )


def assert_same(found: Any, expected: Any, rtol: float = 1e-7) -> None:
    """Equal in kind, in shape and up to rounding in parts of the largest entry."""
    assert type(found) is type(expected)
    if not isinstance(found, Tensor):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, rtol)
        return
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=0, atol=rtol * size + 1e-15)


class Twins(nn.Module):
    """Gives two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 8, bias=False)
        self.two = nn.Linear(6, 8, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(x).relu(), self.two(x)


class OnTwins(nn.Module):
    def __init__(self, *, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.twins, self.head, self.bend = Twins(), nn.Linear(8, 3, bias=False), bend
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.twins(x)
        return self.bend(self.head(torch.maximum(one, two)))


class Skip(nn.Module):
    """The layer's value is added to what it takes."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.stem, self.inner = nn.Linear(6, 8, bias=False), nn.Linear(8, 8, bias=bias)
        self.head = nn.Linear(8, 3, bias=bias)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head((x + self.inner(x)).relu())


class SkipIdentity(nn.Module):
    """The layer gives the very tensor that it takes, which goes on beside it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Linear(6, 8, bias=False), nn.Identity()
        self.head = nn.Linear(8, 3, bias=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head((x + 2 * self.inner(x).roll(1, 1)).relu())


class Same(nn.Module):
    """The layer gives one tensor twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = Doubling(), nn.Linear(6, 3, bias=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.inner(x)
        return self.head((one - 2 * other.roll(1, 1)).relu())


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.relu()
        return x, x


class Twice(nn.Module):
    """The layer runs twice in one pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 6, bias=False), nn.Linear(6, 3, bias=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(self.inner(x).relu()).relu())


class Recurrent(nn.Module):
    """Reads rows of six numbers as three pairs."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer, self.head = kind(2, 5, batch_first=True), nn.Linear(5, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.unflatten(1, (3, 2)))[0][:, -1]).softmax(1)


def chain(*, inplace: bool, bias: bool = False, end: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 10, bias=bias),
        nn.ReLU(inplace=inplace),
        nn.Linear(10, 8, bias=bias),
        nn.ReLU(inplace=inplace),
        nn.Linear(8, 3, bias=bias),
        *(() if end is None else (end,)),
    ).double()


def biased_conv_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(16, 3),
        nn.Softmax(1),
    ).double().eval()  # fmt: skip


def of(model: nn.Module, layer: Callable[[Any], Any], inputs: Any = None, **more: Any) -> Case:
    return Case(model, layer(model), rows() if inputs is None else inputs, **more)


def two_inputs() -> Case:
    inputs = (rows(), torch.randn(4, 2, 4, dtype=torch.float64))
    return of(TwoInputs(), lambda m: m.first, inputs)


def weighted() -> Case:
    weight = torch.rand(4, 3, dtype=torch.float64)
    more = {"additional_forward_args": (weight, 2.0)}
    return of(Weighted(), lambda m: m.net[1], more=more)


CASES: dict[str, Callable[[], Case]] = {
    "no bias": lambda: of(mlp(), lambda m: m[1]),
    "no bias, last layer": lambda: of(mlp(), lambda m: m[4]),
    "biases": lambda: of(biased_mlp(), lambda m: m[2]),
    "affine output": lambda: of(affine_output(), lambda m: m[1]),
    "softmax": lambda: of(chain(inplace=False, end=nn.Softmax(1)), lambda m: m[2]),
    "biases, softmax": lambda: of(
        chain(inplace=False, bias=True, end=nn.Softmax(1)), lambda m: m[2]
    ),
    "conv": lambda: of(conv_net(), lambda m: m[3], images(), selector=(1, 2, 0)),
    "conv, biases": lambda: of(biased_conv_net(), lambda m: m[4], images(), selector=(1, 1, 0)),
    "in place after": lambda: of(chain(inplace=True), lambda m: m[2]),
    "in place itself": lambda: of(chain(inplace=True, bias=True), lambda m: m[3]),
    "in place, softmax": lambda: of(chain(inplace=True, end=nn.Softmax(1)), lambda m: m[1]),
    "skip": lambda: of(Skip(bias=False), lambda m: m.inner),
    "skip, biases": lambda: of(Skip(bias=True), lambda m: m.inner),
    "skip, identity": lambda: of(SkipIdentity(), lambda m: m.inner),
    "same twice": lambda: of(Same(), lambda m: m.inner),
    "twins": lambda: of(OnTwins(bend=torch.relu), lambda m: m.twins),
    "twins, softmax": lambda: of(OnTwins(bend=lambda x: x.softmax(1)), lambda m: m.twins),
    "twice": lambda: of(Twice(), lambda m: m.inner),
    "lstm": lambda: of(Recurrent(nn.LSTM), lambda m: m.layer),
    "gru": lambda: of(Recurrent(nn.GRU), lambda m: m.layer),
    "two inputs": two_inputs,
    "weighted": weighted,
    "data parallel": lambda: of(nn.DataParallel(mlp()), lambda m: m.module[1]),
    "data parallel, biases": lambda: of(nn.DataParallel(biased_mlp()), lambda m: m.module[1]),
}


def outcome(compute: Any) -> Any:
    """The result, or the kind of error."""
    try:
        return compute()
    except Exception as error:
        return type(error)


def assert_captums(name: str, case: Case, **more: Any) -> str | None:
    """The same as Captum: the same error, the same numbers, or the integral that it approximates."""
    expected = outcome(lambda: theirs(name, case, **more))
    found = outcome(lambda: ours(name, case, **more))
    if isinstance(expected, type):
        assert found is expected
        return None
    assert isinstance(found, tuple), found
    result, route = found
    if route != "single_pass":
        assert_same(result, expected)
    elif name != "LayerConductance":
        assert_same(result, theirs(name, case, **{"method": "gausslegendre", **more}), 1e-6)
    else:
        assert_same(result, theirs(name, case, **{**more, "n_steps": 300}), 1e-3)
    return route
