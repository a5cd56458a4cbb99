"""Random numbers: a function is run once more than Captum runs it, and draws what it draws with Captum.

Two functions alike, each with sources of its own: one is attributed by ours, the other by Captum.
"""

from __future__ import annotations

import collections
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import known_functions

pytestmark = pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
CLOSE = 1e-7
CALLS = 5

Draw = Callable[[Any], float]


def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(3, 4, generator=generator, dtype=torch.float64) + 0.1


def layers() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return (
        nn.Linear(4, 4, bias=False).double(),
        nn.Linear(4, 2, bias=False).double(),
    )


def gap(explainer: XIntegratedGradients, other: Callable[..., Any], seed: Any) -> float:
    seed()
    ours = explainer.attribute(inputs(), target=1, n_steps=12)
    seed()
    theirs = IntegratedGradients(other).attribute(inputs(), target=1, n_steps=12)
    return float((ours - theirs).abs().max()) / (float(theirs.abs().max()) or 1.0)


def same_numbers(one: Any, two: Any, seed: Any = lambda: None, calls: int = CALLS) -> list[str]:
    """Asserts that calls of the two agree; gives the routes that were taken."""
    explainer, routes = XIntegratedGradients(one), []
    for _ in range(calls):
        assert gap(explainer, two, seed) <= CLOSE
        routes.append(explainer.last_route)
    return routes


def deep(draw: Draw, source: Any = None) -> Callable[[Tensor], Tensor]:
    """Of stochastic depth: one part is of degree 1, another none at all."""
    first, last = layers()

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        return last(z if draw(source) < 0.4 else (3 * z).tanh())

    return function


SHARED: dict[str, tuple[Draw, Any]] = {
    "random": (lambda _: random.random(), random.seed),
    "randint": (lambda _: random.randint(0, 1), random.seed),
    "gauss": (lambda _: random.gauss(0.4, 1), random.seed),  # keeps every second number
    "choice": (lambda _: random.choice([0, 1]), random.seed),
    "numpy": (lambda _: np.random.rand(), np.random.seed),
    "numpy_permutation": (lambda _: np.random.permutation(3)[0], np.random.seed),
    "torch": (lambda _: float(torch.rand(())), torch.manual_seed),
    "torch_whole": (lambda _: int(torch.randint(2, ())), torch.manual_seed),
    "both": (lambda _: (random.random() + np.random.rand()) / 2, None),
}


def _seed_both(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)


@pytest.mark.parametrize("kind", SHARED)
def test_shared_sources_seeded_before_each_call(kind, monkeypatch):
    monkeypatch.setattr(known_functions, "PATIENCE", 100)  # each call is looked at
    draw, seed = SHARED[kind]
    seed = seed or _seed_both
    function = deep(draw)
    explainer, routes = XIntegratedGradients(function), set()
    for number in (1, 1, *range(8), 1, 2):
        assert gap(explainer, function, lambda number=number: seed(number)) <= CLOSE
        routes.add(explainer.last_route)
        after = draw(None)
        seed(number)
        IntegratedGradients(function).attribute(inputs(), target=1, n_steps=2)
        assert draw(None) == after  # and whoever draws next draws what he would after Captum
    assert len(routes) > 1 or kind.startswith("torch")


HELD: dict[str, tuple[Any, Draw]] = {
    "random": (lambda: random.Random(3), lambda g: g.random()),
    "gauss": (lambda: random.Random(3), lambda g: g.gauss(0.4, 1)),
    "numpy": (lambda: np.random.default_rng(3), lambda g: g.random()),
    "numpy_whole": (lambda: np.random.default_rng(3), lambda g: g.integers(2)),
    "mersenne": (lambda: np.random.Generator(np.random.MT19937(3)), lambda g: g.random()),
    "philox": (lambda: np.random.Generator(np.random.Philox(3)), lambda g: g.random()),
    "sfc": (lambda: np.random.Generator(np.random.SFC64(3)), lambda g: g.random()),
    "old_numpy": (lambda: np.random.RandomState(3), lambda g: g.rand()),
    "old_numpy_normal": (lambda: np.random.RandomState(3), lambda g: g.randn()),
    "torch": (
        lambda: torch.Generator().manual_seed(3),
        lambda g: float(torch.rand((), generator=g)),
    ),
    "deque": (
        lambda: collections.deque([0.1, 0.9, 0.2, 0.8]),
        lambda q: (q.rotate(1), q[0])[1],
    ),
}


class Deep(nn.Module):
    def __init__(self, kind: str, *, below: bool) -> None:
        super().__init__()
        make, self.draw = HELD[kind]
        self.first, self.last = layers()
        self.below = nn.Identity()
        self.place = self.below if below else self
        self.place.dice = make()

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x).relu()
        return self.last(z if self.draw(self.place.dice) < 0.4 else (3 * z).tanh())


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("kind", HELD)
def test_sources_that_a_module_holds(kind, below):
    one, two = (Deep(kind, below=below) for _ in range(2))
    same_numbers(one, two)
    draw = HELD[kind][1]
    assert draw(one.place.dice) == draw(two.place.dice)


class Owner:
    """An object that is no module and has a method to be attributed."""

    def __init__(self, kind: str) -> None:
        make, self.draw = HELD[kind]
        self.dice = make()
        self.first, self.last = layers()

    def method(self, x: Tensor) -> Tensor:
        z = self.first(x).relu()
        return self.last(z if self.draw(self.dice) < 0.4 else (3 * z).tanh())

    __call__ = method


@pytest.mark.parametrize("part", ["method", "__call__"])
@pytest.mark.parametrize("kind", ["random", "numpy", "old_numpy", "torch"])
def test_sources_that_another_object_holds(kind, part):
    one, two = (Owner(kind) for _ in range(2))
    if part == "method":
        same_numbers(one.method, two.method)
    else:
        same_numbers(one, two)
    assert one.draw(one.dice) == two.draw(two.dice)


def _own(net: Any, z: Tensor, number: int = 0) -> Tensor:
    return z * torch.rand(4, generator=net.own[number], dtype=z.dtype)


def _own_normal(net: Any, z: Tensor) -> Tensor:
    return z + torch.empty_like(z).normal_(generator=net.own[1])


def _own_permuted(net: Any, z: Tensor) -> Tensor:
    return z[:, torch.randperm(4, generator=net.own[0])]


def _own_chosen(net: Any, z: Tensor) -> Tensor:
    chances = torch.ones(4, dtype=z.dtype)
    return z[:, chances.multinomial(4, replacement=True, generator=net.own[1])]


def _own_flags(net: Any, z: Tensor) -> Tensor:
    return z * torch.bernoulli(torch.full_like(z, 0.7), generator=net.own[0])


TORCHS: dict[str, Any] = {
    "default_and_own": lambda net, z: _own(net, F.dropout(z, 0.2)),
    "own_and_default": lambda net, z: F.dropout(_own(net, z), 0.2),
    "two_of_its_own": lambda net, z: _own(net, _own(net, z), 1),
    "by_turns": lambda net, z: _own(net, _own(net, F.dropout(_own(net, z), 0.2), 1)),
    "normal": lambda net, z: _own_normal(net, F.dropout(z, 0.2)),
    "permuted": lambda net, z: F.dropout(_own_permuted(net, z), 0.2),
    "chosen": lambda net, z: _own_chosen(net, _own_permuted(net, z)),
    "flags": lambda net, z: _own_flags(net, _own_chosen(net, z)),
    "three": lambda net, z: _own_normal(net, _own_flags(net, F.dropout(z, 0.2))),
}


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("kind", TORCHS)
def test_several_generators_of_torch(kind, bent):
    first, last = layers()
    nets = [
        types.SimpleNamespace(own=[torch.Generator().manual_seed(s) for s in (1, 2)])
        for _ in range(2)
    ]

    def function_of(net: Any) -> Any:
        def function(x: Tensor) -> Tensor:
            z = TORCHS[kind](net, first(x).relu())
            return last((3 * z).tanh() if bent else z)

        return function

    one, two = map(function_of, nets)
    explainer = XIntegratedGradients(one)
    for number in range(3):
        assert gap(explainer, two, lambda number=number: torch.manual_seed(number)) <= CLOSE
        assert explainer.last_route == "captum"
    for mine, theirs in zip(*(net.own for net in nets), strict=True):
        assert torch.equal(mine.get_state(), theirs.get_state())


def test_sources_that_are_not_used_cost_nothing():
    one = Deep("random", below=False)
    one.draw = lambda g: 0.0
    one.others = np.random.default_rng(0)
    explainer = XIntegratedGradients(one, strategy="single_pass")
    states = one.dice.getstate(), one.others.bit_generator.state, random.getstate()
    for _ in range(3):
        assert gap(explainer, one, lambda: None) <= CLOSE
    assert states == (one.dice.getstate(), one.others.bit_generator.state, random.getstate())


def by_fork(x: Tensor) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torch.rand(4, dtype=x.dtype)


def by_state(x: Tensor) -> Tensor:
    state = torch.get_rng_state()
    torch.manual_seed(3)
    drawn = torch.rand(4, dtype=x.dtype)
    torch.set_rng_state(state)
    return drawn


def by_generator(x: Tensor) -> Tensor:
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(3)
    drawn = torch.rand(4, dtype=x.dtype, generator=generator)
    generator.set_state(state)
    return drawn


REPLAYED = torch.Generator().manual_seed(9).get_state()


def by_replay(x: Tensor) -> Tensor:
    """As reversible networks draw the numbers of the way there again."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(REPLAYED)
        return F.dropout(torch.ones(4, dtype=x.dtype), 0.5)


@pytest.mark.parametrize("draw", [by_fork, by_state, by_generator, by_replay])
@pytest.mark.parametrize("later", [False, True], ids=["alone", "with dropout behind it"])
def test_a_seed_that_the_function_sets_and_takes_back(
    draw: Callable[[Tensor], Tensor], later: bool
) -> None:
    """What is drawn after a call is what is drawn after Captum's, and so are its own numbers."""
    first, second = layers()

    def function(x: Tensor) -> Tensor:
        return F.dropout(second(first(x * draw(x)).relu()), 0.5, training=later)

    found: list[list[Tensor]] = []
    for explainer in (IntegratedGradients(function), XIntegratedGradients(function)):
        torch.manual_seed(11)
        found.append([])
        for _ in range(CALLS):
            found[-1].append(explainer.attribute(inputs(), target=1, n_steps=12))
            found[-1].append(torch.rand(1))
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=CLOSE, atol=CLOSE)
