"""A certificate travels with its function, and is taken over by nothing but that function."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import stack
from torch import Tensor, nn

import captum_xdnn
from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import SealedCertificate, adopt, certify, seal, tracing
from captum_xdnn.models import x_cnn_small

X = torch.zeros(4, 3)


def sent(*things: Any) -> Any:
    """As they arrive in another process."""
    arrived = pickle.loads(pickle.dumps(things))
    return arrived[0] if len(things) == 1 else arrived


@pytest.fixture
def never_traced(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse() -> None:
        def trace(*_: Any, **__: Any) -> Any:
            pytest.fail("the function was traced")

        monkeypatch.setattr(tracing, "trace", trace)

    return refuse


def sealed_of(net: Callable[..., Any], inputs: Tensor = X, **more: Any) -> SealedCertificate:
    sealed = seal(net, inputs, **more)
    assert sealed is not None
    return sealed


def route_of(net: Callable[..., Any], inputs: Tensor, **more: Any) -> str | None:
    xig = XIntegratedGradients(net)
    xig.attribute(inputs, target=1, n_steps=3, **more)
    return xig.last_route


class Scaled(nn.Module):
    """A network with an attribute that its code reads."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.power = stack(), 1

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) ** self.power


def test_it_is_used_without_a_trace(never_traced: Callable[[], None]) -> None:
    net, sealed = sent(stack(), sealed_of(stack()))
    never_traced()
    assert adopt(net, sealed)
    for size in (4, 2, 9, 1024):
        assert route_of(net, torch.randn(size, 3)) == "single_pass"


def test_the_numbers_are_those_of_the_proof_made_here() -> None:
    net = x_cnn_small(weights="DEFAULT").eval()
    images = torch.rand(5, 1, 28, 28)
    there, sealed = sent(net, sealed_of(net, images))
    assert adopt(there, sealed)
    found = XIntegratedGradients(there).attribute(images, target=3)
    assert torch.equal(found, XIntegratedGradients(net).attribute(images, target=3))


def test_in_another_process(tmp_path: Path) -> None:
    net, sealed = x_cnn_small(weights="DEFAULT").eval(), tmp_path / "sealed"
    sealed.write_bytes(pickle.dumps((net, seal(net, torch.zeros(2, 1, 28, 28)))))
    script = f"""
import pickle, pathlib, torch
from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import adopt, tracing
net, sealed = pickle.loads(pathlib.Path({str(sealed)!r}).read_bytes())
tracing.trace = None
assert adopt(net, sealed)
xig = XIntegratedGradients(net)
xig.attribute(torch.rand(7, 1, 28, 28), target=2)
print(xig.last_route)
"""
    root = str(Path(captum_xdnn.__file__).parents[1])
    for seed in ("1", "2"):  # sets and dictionaries of names in another order
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "single_pass\n", done.stderr


def hooked(net: nn.Module) -> None:
    net.inner[0].register_forward_hook(lambda module, given, result: result + 1)


def trained(net: nn.Module) -> None:
    net.train()


def raised(net: nn.Module) -> None:
    net.power = 2


def another_activation(net: nn.Module) -> None:
    net.inner[1] = nn.Tanh()


def doubled(net: nn.Module) -> None:
    net.double()


def patched(net: nn.Module) -> None:
    net.forward = lambda x: net.inner(x) + 1


CHANGES = [hooked, trained, raised, another_activation, doubled, patched]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_function_that_differs_does_not_take_it_over(change: Callable[..., None]) -> None:
    net = Scaled().eval()
    sealed = sealed_of(net)
    other = copy.deepcopy(net)
    assert adopt(other, sealed)
    changed = copy.deepcopy(net)
    change(changed)
    assert not adopt(changed, sealed)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_afterwards_is_seen(change: Callable[..., None]) -> None:
    net, sealed = Scaled().eval(), sealed_of(Scaled().eval())
    assert adopt(net, sealed)
    x = torch.rand(4, 3)
    assert route_of(net, x) == "single_pass"
    change(net)
    x = x.double() if change is doubled else x
    expected = certify(copy.deepcopy(net) if change is not patched else net, x)
    assert (route_of(net, x) == "single_pass") == expected.homogeneous


def test_code_counts() -> None:
    one, other = Scaled().eval(), Scaled().eval()
    source = "def forward(self, x):\n    return self.inner(x) {} self.power\n"
    for net, sign in ((one, "*"), (other, "+")):
        names: dict[str, Any] = {}
        exec(source.format(sign), names)
        net.__class__ = type("Made", (Scaled,), {"forward": names["forward"]})
    assert sealed_of(one).certificate.homogeneous
    assert not adopt(other, sealed_of(one))


def test_values_that_the_proof_read_are_compared() -> None:
    net = stack(bias=True)
    sealed = sealed_of(net)
    assert [name for name, _ in sealed.values] == ["model.0.bias"]
    learnt = copy.deepcopy(net)
    with torch.no_grad():
        learnt[0].bias += 0.5
    assert not adopt(learnt, sealed)
    net = copy.deepcopy(net)
    assert adopt(net, sealed)
    assert route_of(net, torch.rand(2, 3)) == "single_pass"
    with torch.no_grad():
        net[0].bias += 0.5
    assert route_of(net, torch.rand(2, 3)) != "single_pass"


def test_weights_that_it_did_not_read_do_not_count() -> None:
    sealed = sealed_of(stack())
    assert adopt(stack(), sealed)


def test_the_bias_of_the_last_layer(never_traced: Callable[[], None]) -> None:
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    x = torch.rand(4, 3)
    expected = XIntegratedGradients(net).attribute(x, target=1)
    there, sealed = sent(net, sealed_of(net))
    never_traced()
    assert adopt(there, sealed)
    xig = XIntegratedGradients(there)
    torch.testing.assert_close(xig.attribute(x, target=1), expected)
    assert xig.last_route == "single_pass"


def test_a_refusal_travels(never_traced: Callable[[], None]) -> None:
    net = nn.Sequential(nn.Tanh(), nn.Linear(3, 2))
    there, sealed = sent(net, sealed_of(net))
    never_traced()
    assert adopt(there, sealed)
    assert route_of(there, torch.rand(4, 3)) == "captum"


def test_it_is_of_its_baseline_and_shape_alone() -> None:
    net = stack()
    sealed = sealed_of(net, X, largest_batch=16)
    traces: list[int] = []
    trace = tracing.trace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "trace", lambda *a, **k: traces.append(1) or trace(*a, **k))
        for inputs, baselines, expected in (
            (torch.rand(16, 3), None, 0),
            (torch.rand(17, 3), None, 1),
            (torch.rand(4, 5, 3), None, 1),
            (torch.rand(4, 3), 1.0, 1),
        ):
            there = copy.deepcopy(net)
            assert adopt(there, sealed)
            traces.clear()
            XIntegratedGradients(there).attribute(
                inputs, baselines, target=1 if inputs.dim() == 2 else (1, 1), n_steps=2
            )
            assert len(traces) == expected


def test_a_call_that_contradicts_it_drops_it() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            return gradient * 3

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Wrong.apply(x)

    net = Net()
    sealed = sealed_of(net)
    there = copy.deepcopy(net)
    assert adopt(there, sealed)
    with pytest.warns(captum_xdnn.HomogeneityWarning):
        assert route_of(there, torch.rand(4, 3)) == "captum"


def test_what_does_not_travel() -> None:
    hoisted = nn.Sequential(nn.Linear(3, 300), nn.ReLU(), nn.Linear(300, 2), nn.Sigmoid())
    assert seal(hoisted, torch.zeros(64, 3)) is None

    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = {i: i for i in range(1000)}  # noted by its address alone

        def forward(self, x: Tensor) -> Tensor:
            return x * self.table[2]

    assert certify(Opaque(), X).homogeneous
    assert seal(Opaque(), X) is None
