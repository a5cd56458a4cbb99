"""State behind names in code, in classes and in large containers: as after as many passes as Captum makes."""

from __future__ import annotations

import random
import types
from array import array
from collections.abc import Callable
from typing import Any

import helpers_of_a_function as helpers
import numpy as np
import outside
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

X = torch.tensor([[1.0, -2.0, 3.0, 4.0], [0.5, 1.0, -1.0, 2.0]], dtype=torch.float64)
MAKERS: dict[str, Callable[[bool], tuple[Any, Callable[[], Any]]]] = {}
"""Each gives a function, with a bias or without, and what it keeps."""


def maker(make: Any) -> Any:
    MAKERS[make.__name__] = make
    return make


class Layer(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(4, 3, bias=bias, dtype=torch.float64)

    def forward(self, x: Tensor, factor: float) -> Tensor:
        return torch.relu(self.line(x) * factor)


def largest(x: Tensor) -> float:
    return float(x.detach().abs().max())


@maker
def an_attribute_of_a_helper(bias: bool) -> Any:
    layer = Layer(bias)

    def calibrated(x: Tensor) -> float:
        if not hasattr(calibrated, "scale"):
            calibrated.scale = largest(x)  # type: ignore[attr-defined]
        return calibrated.scale  # type: ignore[attr-defined, no-any-return]

    return lambda x: layer(x, calibrated(x)), lambda: calibrated.scale  # type: ignore[attr-defined]


@maker
def a_class_method(bias: bool) -> Any:
    layer = Layer(bias)

    class Scale:
        value: float | None = None

        @classmethod
        def of(cls, x: Tensor) -> float:
            if cls.value is None:
                cls.value = largest(x)
            return cls.value

    return lambda x: layer(x, Scale.of(x)), lambda: Scale.value


@maker
def a_singleton(bias: bool) -> Any:
    layer = Layer(bias)

    class One:
        one: Any = None
        n = 0

        def __new__(cls) -> Any:
            if cls.one is None:
                cls.one = super().__new__(cls)
            return cls.one

    def function(x: Tensor) -> Tensor:
        One().n += 1
        return layer(x, One().n)

    return function, lambda: One().n


class Single(type):
    made: dict[Any, Any] = {}  # noqa: RUF012 - what people write

    def __call__(cls, *args: Any) -> Any:
        if cls not in cls.made:
            cls.made[cls] = super().__call__(*args)
        return cls.made[cls]


@maker
def a_singleton_of_a_metaclass(bias: bool) -> Any:
    layer = Layer(bias)

    class Scale(metaclass=Single):
        def __init__(self, x: Tensor) -> None:
            self.value = largest(x)

    return lambda x: layer(x, Scale(x).value), lambda: Scale(None).value


@maker
def a_new_attribute_of_the_class(bias: bool) -> Any:
    class Net(Layer):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            if not hasattr(type(self), "scale"):
                type(self).scale = largest(x)
            return super().forward(x, type(self).scale)

    return Net(bias), lambda: Net.scale  # type: ignore[attr-defined]


def state_of(kept: Any) -> Any:
    """What can be compared of a thing that is kept."""
    kept = next(iter(kept)) if isinstance(kept, frozenset) else kept
    kept = kept[1] if isinstance(kept, types.MappingProxyType) else kept
    bits = getattr(kept, "bit_generator", kept)
    state = getattr(bits, "state", None) or getattr(kept, "n", None)
    return repr(kept[:1] if isinstance(kept, np.ndarray) else state)


def with_in_class(held: Any, use: Callable[[Any], float]) -> Callable[[bool], Any]:
    def make(bias: bool) -> Any:
        kept = held()

        class Net(Layer):
            inside = kept

            def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
                return super().forward(x, use(self.inside))

        return Net(bias), lambda: state_of(kept)

    return make


def counted(meter: Any) -> float:
    meter.n += 1
    return float(meter.n)


def counted_array(numbers: Any) -> float:
    numbers[0] += 1
    return float(numbers[0])


MAKERS["an object in a class"] = with_in_class(lambda: types.SimpleNamespace(n=0), counted)
MAKERS["an array in a class"] = with_in_class(lambda: np.zeros(1), counted_array)
MAKERS["a large array in a class"] = with_in_class(lambda: np.zeros(300_000), counted_array)
MAKERS["numbers drawn in a class"] = with_in_class(
    lambda: np.random.default_rng(0), lambda rng: 1 + rng.random()
)
MAKERS["a source of bits"] = with_in_class(
    lambda: np.random.PCG64(0), lambda bits: 1 + np.random.Generator(bits).random()
)
MAKERS["in a frozen set"] = with_in_class(
    lambda: frozenset([helpers.Meter()]), lambda held: counted(next(iter(held)))
)
MAKERS["in a proxy"] = with_in_class(
    lambda: types.MappingProxyType({1: helpers.Meter()}), lambda held: counted(held[1])
)


def of_helpers(use: Callable[[Tensor], float]) -> Callable[[bool], Any]:
    def make(bias: bool) -> Any:
        helpers.clear()
        layer = Layer(bias)
        return lambda x: layer(x, use(x)), lambda: (dict(helpers.counts), helpers.scale)

    return make


def bound_in_the_module(x: Tensor) -> float:
    if not helpers.scale:
        helpers.scale = largest(x)
    return helpers.scale


def written_in_the_module(_: Tensor) -> float:
    helpers.counts["n"] += 1
    return float(helpers.counts["n"])


MAKERS["a function of a module"] = of_helpers(lambda _: helpers.tick())
MAKERS["an object of a module"] = of_helpers(lambda _: counted(helpers.meter))
MAKERS["a name of a module"] = of_helpers(bound_in_the_module)


@maker
def imported_within(bias: bool) -> Any:
    helpers.clear()
    layer = Layer(bias)

    def function(x: Tensor) -> Tensor:
        import helpers_of_a_function as within
        from helpers_of_a_function import tick

        within.scale += 1.0
        return layer(x, tick())

    return function, lambda: (dict(helpers.counts), helpers.scale)


MAKERS["a dictionary of a module"] = of_helpers(written_in_the_module)


@maker
def any_name(bias: bool) -> Any:
    layer = Layer(bias)
    globals().pop("_drawn_up", None)

    def function(x: Tensor) -> Tensor:
        globals().setdefault("_drawn_up", largest(x))
        return layer(x, globals()["_drawn_up"])

    return function, lambda: globals()["_drawn_up"]


@maker
def beside_a_long_list(bias: bool) -> Any:
    class Log(Layer):
        def __init__(self) -> None:
            super().__init__(bias)
            self.log, self.n = [0] * 30_000, 30_000

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            self.log.append(1)
            self.n += 1
            assert len(self.log) == self.n, "the log and its length differ"
            return super().forward(x, 1.0)

    net = Log()
    return net, lambda: (len(net.log), net.n)


@maker
def beside_a_vocabulary(bias: bool) -> Any:
    class Words(Layer):
        def __init__(self) -> None:
            super().__init__(bias)
            self.words, self.next, self.calls = {str(i): i for i in range(25_000)}, 25_000, 0

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            word = f"w{self.next}"
            self.words[word] = self.next
            self.next += 1
            assert len(self.words) == self.next, "a number is given twice"
            return super().forward(x, 1.0)

    net = Words()
    return net, lambda: (len(net.words), list(net.words)[-1], net.next)


@maker
def beside_an_array_that_grows(bias: bool) -> Any:
    class Log(Layer):
        def __init__(self) -> None:
            super().__init__(bias)
            self.log, self.bytes, self.n = array("d"), bytearray(), 0

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            self.log.append(1.0)
            self.bytes.append(1)
            self.n += 1
            assert len(self.log) == len(self.bytes) == self.n, "the log and its length differ"
            return super().forward(x, 1.0)

    net = Log()
    return net, lambda: (len(net.log), net.n)


@maker
def many_objects(bias: bool) -> Any:
    class Pool(Layer):
        def __init__(self) -> None:
            super().__init__(bias)
            self.blocks, self.free = [types.SimpleNamespace(used=False) for _ in range(1500)], 1500

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            self.free -= 1
            assert not self.blocks[self.free].used, "in use"
            self.blocks[self.free].used = True
            return super().forward(x, 1.0)

    net = Pool()
    return net, lambda: (net.free, sum(block.used for block in net.blocks))


@maker
def numbers_of_the_system(bias: bool) -> Any:
    class Net(Layer):
        def __init__(self) -> None:
            super().__init__(bias)
            self.rng = random.SystemRandom()

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x, 1.0)

    return Net(), lambda: None


@maker
def in_a_place_that_nobody_knows(bias: bool) -> Any:
    """It is not put back; but what it met first is the inputs, as with Captum, and nothing else."""
    layer = Layer(bias)
    outside.seen.clear()

    def function(x: Tensor) -> Tensor:
        if not outside.seen:
            outside.seen.append(largest(x))
        return layer(x, outside.seen[0])

    return function, lambda: outside.seen[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", list(MAKERS))
def test_as_with_captum(name: str, bias: bool) -> None:
    found = []
    for method in (IntegratedGradients, XIntegratedGradients):
        function, kept = MAKERS[name](bias)
        explainer = method(function)
        found.append([(explainer.attribute(X, target=1, n_steps=200), kept()) for _ in range(4)])
    for (theirs, left), (ours, leaves) in zip(*found, strict=True):
        size = theirs.abs().max()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2 * float(size))
        # A single pass meets the input itself, Captum's last step a place just before it.
        assert leaves == (pytest.approx(left, rel=1e-2) if isinstance(left, float) else left)


def test_hooks_of_all_modules() -> None:
    found = []
    for method in (IntegratedGradients, XIntegratedGradients):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
        state: dict[str, float] = {}

        def hook(module: nn.Module, given: Any, state: dict[str, float] = state) -> Any:
            if not isinstance(module, nn.ReLU):
                return None
            state.setdefault("scale", largest(given[0]))
            return (given[0] / state["scale"],)

        handle = nn.modules.module.register_module_forward_pre_hook(hook)
        try:
            explainer = method(net.double())
            found.append([explainer.attribute(X, target=1) for _ in range(3)])
        finally:
            handle.remove()
    torch.testing.assert_close(found[1], found[0], rtol=2e-2, atol=1e-6)
