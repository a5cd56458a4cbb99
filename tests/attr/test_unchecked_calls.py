"""``verify=False`` goes by the form of a call: what may decide the proof has to be part of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

pytestmark = pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
CLOSE = 1e-7
D = torch.float64


def inputs(seed: int = 5, rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, 4, generator=generator, dtype=D) + 0.1


def layer(outputs: int = 4, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(4, outputs, bias=False).double()


FIRST, LAST = layer(), layer(2, seed=1)


def check(explainer: XIntegratedGradients, function: Any, x: Any, **call: Any) -> None:
    call = {"target": 1, "n_steps": 30, **call}
    ours = explainer.attribute(x, **call)
    theirs = IntegratedGradients(function).attribute(x, **call)
    scale = float(theirs.detach().abs().max())
    assert float((ours - theirs).detach().abs().max()) <= CLOSE * (scale or 1.0)


def z_of(x: Tensor) -> Tensor:
    return FIRST(x).relu()


class Kind(enum.Enum):
    PLAIN = 1
    BENT = 2


class Settings:
    """Compared by what it is, not by what it holds."""

    def __init__(self, power: int) -> None:
        self.power = power


ROWS = torch.full((3, 4), 0.3, dtype=D)
PLACES = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 0, 0]])


def bent(z: Tensor, how: Any) -> Tensor:
    return (3 * z).tanh() if how else z


ARGUMENTS: dict[str, tuple[Callable[..., Tensor], list[Any]]] = {
    "power": (lambda z, power: z**power, [2, 3, 1]),
    "power_float": (lambda z, power: z**power, [2.0, 3.0, 1.0]),
    "power_of_either": (lambda z, power: z ** (power if power is True else 3), [1, True, 1.0]),
    "shift": (lambda z, shift: z + shift, [0.0, 0.3, -0.2]),
    "flag": (bent, [False, True, False]),
    "word": (lambda z, how: getattr(torch, how)(z), ["relu", "tanh", "square"]),
    "nothing": (lambda z, how: bent(z, how is not None), [None, 1, None]),
    "kind": (lambda z, how: bent(z, how is Kind.BENT), [Kind.PLAIN, Kind.BENT]),
    "list": (lambda z, powers: z ** sum(powers), [[1, 1], [1, 2], [1]]),
    "tuple_in_a_list": (lambda z, powers: z ** powers[0][0], [[(1,)], [(2,)], [(3,)]]),
    "dict": (lambda z, how: z ** how["power"], [{"power": 2}, {"power": 3}]),
    "dict_key": (lambda z, how: bent(z, "bent" in how), [{"plain": 1}, {"bent": 1}]),
    "set": (lambda z, how: bent(z, "bent" in how), [{"plain"}, {"bent"}]),
    "settings": (lambda z, how: z**how.power, [Settings(2), Settings(3)]),
    "function": (lambda z, f: f(z), [torch.relu, torch.tanh, torch.square]),
    "module": (lambda z, f: f(z), [nn.ReLU(), nn.Tanh(), nn.Softplus()]),
    "dtype": (lambda z, dtype: bent(z, dtype is torch.float32), [torch.float64, torch.float32]),
    "size": (lambda z, size: z ** size[0], [torch.Size([2]), torch.Size([3])]),
    "slice": (lambda z, where: z**where.stop, [slice(2), slice(3)]),
    "complex": (lambda z, number: z + number.imag, [1 + 0j, 1 + 1j]),
    "array": (lambda z, array: z + torch.from_numpy(array), [np.zeros((3, 4)), np.ones((3, 4))]),
    "numpy_number": (lambda z, power: z ** int(power), [np.int64(2), np.int64(3)]),
    "tensor": (lambda z, shift: z - shift, [ROWS * 0, ROWS, ROWS * 2]),
    "tensor_power": (lambda z, power: z**power, [ROWS * 0 + 2, ROWS * 0 + 3, ROWS]),
    "tensor_flag": (lambda z, flag: torch.where(flag, z.tanh(), z), [ROWS > 1, ROWS < 1]),
    "tensor_places": (lambda z, places: z.gather(1, places) * z, [PLACES, 3 - PLACES]),
    "tensor_dtype": (lambda z, t: bent(z, t.dtype is torch.long), [ROWS, ROWS.long()]),
    "tensor_shape": (lambda z, t: bent(z, t.dim() == 3), [ROWS, ROWS.unsqueeze(2)]),
    "tensors_in_a_list": (lambda z, ts: z + ts[0][: len(z)], [[ROWS[:1] * 0], [ROWS[:1]]]),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_another_argument(kind):
    form, arguments = ARGUMENTS[kind]
    function = lambda x, argument: LAST(form(z_of(x), argument))  # noqa: E731
    explainer = XIntegratedGradients(function, verify=False)
    for argument in (arguments[0], *arguments, *arguments[::-1]):
        # Captum repeats tensors for its steps, and arrays it does not.
        steps = {"internal_batch_size": 3} if kind == "array" else {}
        check(explainer, function, inputs(), additional_forward_args=(argument,), **steps)


@pytest.mark.parametrize("kind", ["list", "dict", "set", "settings", "array"])
def test_an_argument_that_is_changed(kind):
    held = {
        "list": [2],
        "dict": {"power": 2},
        "set": {2},
        "settings": Settings(2),
        "array": np.array([2]),
    }[kind]

    def power() -> Any:
        return {
            "list": lambda: held[0],
            "dict": lambda: held["power"],
            "set": lambda: max(held),
            "settings": lambda: held.power,
            "array": lambda: int(held[0]),
        }[kind]()

    def set_power(value: int) -> None:
        if kind == "set":
            held.add(value)
        elif kind == "settings":
            held.power = value
        else:
            held["power" if kind == "dict" else 0] = value

    function = lambda x, argument: LAST(z_of(x) ** power())  # noqa: E731
    explainer = XIntegratedGradients(function, verify=False)
    for value in (2, 2, 3, 4):
        set_power(value)
        check(
            explainer,
            function,
            inputs(),
            additional_forward_args=(held,),
            internal_batch_size=3,
        )


def test_several_arguments_of_which_one_changes():
    function = lambda x, a, b, c: LAST(bent(z_of(x) ** a, b) + c)  # noqa: E731
    explainer = XIntegratedGradients(function, verify=False)
    for given in ((2, False, None), (2, False, None), (3, False, None), (2, True, None)):
        given = tuple(0.0 if g is None else g for g in given)
        check(explainer, function, inputs(), additional_forward_args=given)
    check(explainer, function, inputs(), additional_forward_args=(2, False, 1.0))
    check(explainer, function, inputs(), additional_forward_args=(0.0, 2, False))


class _Masked(nn.Module):
    """Otherwise in training."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.last = layer(), layer(2, seed=1)
        self.norm = nn.BatchNorm1d(4, affine=False).double() if kind == "norm" else nn.Identity()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(self.first(x).relu())
        if self.kind == "bent":
            z = bent(z, self.training)
        if self.kind == "dropout":
            z = F.dropout(z, 0.5, self.training)
        if self.kind == "power":
            z = z ** (2 + self.training)
        return self.last(z)


@pytest.mark.parametrize("kind", ["bent", "dropout", "power", "norm"])
def test_training_and_back(kind):
    net = _Masked(kind)
    explainer = XIntegratedGradients(net, verify=False)
    for training in (False, False, True, True, False, True):
        net.train(training)
        state = {n: t.clone() for n, t in net.state_dict().items()}
        torch.manual_seed(3)
        ours = explainer.attribute(inputs(), target=1, n_steps=12)
        net.load_state_dict(state)
        torch.manual_seed(3)
        theirs = IntegratedGradients(net).attribute(inputs(), target=1, n_steps=12)
        assert float((ours - theirs).abs().max()) <= CLOSE * float(theirs.abs().max())


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net[0].weight.mul_(-1.5),
        lambda net: net[2].weight.add_(0.1),
        lambda net: net[0].load_state_dict(layer(seed=7).state_dict()),
        lambda net: setattr(net[0], "weight", nn.Parameter(layer(seed=8).weight.detach())),
        lambda net: net.__setitem__(2, layer(2, seed=9)),
        lambda net: net.__setitem__(1, nn.LeakyReLU(0.2)),
    ],
    ids=["scaled", "shifted", "loaded", "replaced", "layer", "slope"],
)
def test_other_weights_of_the_same_homogeneous_network(change):
    net = nn.Sequential(layer(), nn.ReLU(), layer(2, seed=1))
    explainer = XIntegratedGradients(net, verify=False)
    for _ in range(2):
        check(explainer, net, inputs())
        assert explainer.last_route == "single_pass"
    with torch.no_grad():
        change(net)
    for _ in range(2):
        check(explainer, net, inputs())
        assert explainer.last_route == "single_pass"


CALLS: dict[str, list[dict[str, Any]]] = {
    "target": [
        {"target": 0},
        {"target": 1},
        {"target": [0, 1, 0]},
        {"target": torch.tensor([1, 0, 1])},
    ],
    "baseline": [
        {},
        {"baselines": 0.3},
        {"baselines": ROWS},
        {"baselines": 0},
        {"baselines": -0.0},
    ],
    "tensor_baseline": [{"baselines": ROWS * 0}, {"baselines": ROWS}, {"baselines": ROWS[:1]}],
    "steps": [{"n_steps": 5}, {"n_steps": 50}],
    "method": [{"method": m} for m in ("gausslegendre", "riemann_middle")],
    "batches": [{}, {"internal_batch_size": 3}, {"internal_batch_size": 7}],
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", CALLS)
def test_calls_that_differ_otherwise(kind, bias):
    net = nn.Sequential(layer(), nn.ReLU(), layer(2, seed=1))
    if bias:
        net[0] = nn.Linear(4, 4).double()
    explainer = XIntegratedGradients(net, verify=False)
    for call in (*CALLS[kind], *CALLS[kind][::-1]):
        ours = explainer.attribute(inputs(), **{"target": 1, **call})
        theirs = IntegratedGradients(net).attribute(inputs(), **{"target": 1, **call})
        coarse = explainer.last_route == "single_pass" and "baselines" in call
        if not coarse:
            assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-9)
            continue
        # Exact where Captum's steps are not: completeness is the measure.
        held = call["baselines"]
        start = held + torch.zeros_like(inputs())
        gained = (net(inputs()) - net(start))[:, 1]
        assert torch.allclose(ours.sum(1), gained, rtol=1e-9, atol=1e-12)


def test_other_rows_and_other_widths():
    function = lambda x: z_of(x[:, :4]).sum(1, keepdim=True) * LAST(z_of(x[:, :4]))  # noqa: E731
    explainer = XIntegratedGradients(function, verify=False)
    for rows in (3, 3, 1, 5, 3):
        check(explainer, function, inputs(rows=rows))
    check(explainer, function, torch.cat([inputs(), inputs()], 1))


def test_what_is_plain_stays_unwatched():
    """It is for this that one asks for no checks."""
    runs = []

    def function(x: Tensor, power: int, how: str, shift: float) -> Tensor:
        runs.append(torch._C._len_torch_dispatch_stack())
        return LAST(getattr(torch, how)(z_of(x)) ** power + shift)

    explainer = XIntegratedGradients(function, verify=False)
    for _ in range(4):
        explainer.attribute(inputs(), target=1, additional_forward_args=(2, "relu", 0.0))
        assert explainer.last_route == "single_pass"
    assert runs[-3:] == [0, 0, 0]
