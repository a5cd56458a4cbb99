"""What the library runs beside Captum's runs changes nothing of the user's, raises nothing and loses nothing.

Each function was found by somebody who tried to do harm with one of its kind.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.recording import steps
from captum_xdnn.routes import sizes

STEPS, CALLS = 40, 6


@pytest.fixture(autouse=True)
def _passes_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small calls, too; by a clock that says that smaller passes are faster."""
    steps.forget()
    monkeypatch.setattr(sizes, "WORTH_DIVIDING", 0)
    monkeypatch.setattr(sizes.Sizes, "_is_faster", lambda self: self._tried > 0 or None)


def layers(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8, bias=bias), nn.Tanh(), nn.Linear(8, 3, bias=bias))


def inputs(size: int = 2) -> Tensor:
    return torch.randn(size, 4, generator=torch.Generator().manual_seed(1))


def calls_of(method: Any, function: Any, x: Tensor, **call: Any) -> list[Tensor]:
    explainer = method(function)
    return [explainer.attribute(x, target=1, n_steps=STEPS, **call) for _ in range(CALLS)]


def both(make: Callable[[], Any], x: Tensor | None = None, arguments: Any = None) -> list[Any]:
    """Asserts that calls of two functions alike agree; gives the two functions."""
    x, made, found = inputs() if x is None else x, [], []
    for method in (captum.attr.IntegratedGradients, XIntegratedGradients):
        function = make()
        given = {} if arguments is None else {"additional_forward_args": arguments()}
        found.append(calls_of(method, function, x, **given))
        made.append((function, given))
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    return made


def by_data(given: Tensor) -> None:
    given.data = given.data * 1.1


def by_numpy(given: Tensor) -> None:
    array = given.numpy()
    array *= 1.1


def by_form(given: Tensor) -> None:
    given.resize_(len(given) + 1, *given.shape[1:]).fill_(1.0)


def by_dimension(given: Tensor) -> None:
    given.unsqueeze_(0)


def by_turning(given: Tensor) -> None:
    given.t_()


def by_memory(given: Tensor) -> None:
    given.set_(torch.full_like(given, 1.5))


CHANGES = [by_data, by_numpy, by_form, by_dimension, by_turning, by_memory]


@pytest.mark.parametrize("change", CHANGES)
def test_a_buffer_that_the_function_changes(change: Callable[[Tensor], None]) -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = layers()
            self.register_buffer("kept", torch.ones(1, 3))

        def forward(self, x: Tensor) -> Tensor:
            if self.kept.dim() == 2 or change is by_dimension:
                change(self.kept)
            return self.net(x) * self.kept.sum()

    theirs, ours = (function.kept for function, _ in both(Changes))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("change", [*CHANGES, Tensor.requires_grad_])
def test_an_argument_that_the_function_changes(change: Callable[[Tensor], None]) -> None:
    net = layers()

    def function(x: Tensor, given: Tensor) -> Tensor:
        change(given)
        return net(x) * given.sum()

    for _, call in both(lambda: function, arguments=lambda: (torch.ones(2, 3),)):
        (given,) = call["additional_forward_args"]
        assert given.shape == (2, 3)
        assert not given.requires_grad
        assert bool((given == 1).all())


def test_a_second_model_of_the_same_structure() -> None:
    """The numbers that rows keep in smaller passes are those of one function."""

    class Net(nn.Module):
        def __init__(self, large: bool) -> None:
            super().__init__()
            self.net, self.large, self.head = layers(), large, nn.Linear(3, 3)
            self.other = nn.Linear(3, 3) if large else None

        def forward(self, x: Tensor) -> Tensor:
            head = self.other if self.other is not None and len(x) > 32 else self.head
            return head(self.net(x))

    for large in (False, True):
        net = Net(large)
        both(lambda net=net: net)


def of_a_tensor(x: Tensor) -> Tensor:
    return torch.tensor(float(len(x)))


def of_a_table(x: Tensor) -> Tensor:
    return TABLE[len(x)]


def of_a_list(x: Tensor) -> Tensor:
    return ROWS_OF_TABLE[len(x)]


def of_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(torch.full((1,), float(len(x))).numpy())


TABLE = torch.arange(1.0, 400.0)
ROWS_OF_TABLE = [*TABLE]


@pytest.mark.parametrize("reads", [of_a_tensor, of_a_table, of_a_list, of_numpy])
@pytest.mark.parametrize("begins", [2, 3, 4, 5])
def test_a_function_that_begins_to_read_the_batch_size(
    reads: Callable[[Tensor], Tensor], begins: int
) -> None:
    """By the same operations: what it was seen to do in an earlier call says nothing."""
    net, reading = layers(), [False]

    def function(x: Tensor) -> Tensor:
        return net(x) / reads(x if reading[0] else x[:1])

    ours, theirs = XIntegratedGradients(function), captum.attr.IntegratedGradients(function)
    for call in range(2 * CALLS):
        reading[0] = call >= begins
        found, expected = (m.attribute(inputs(), target=1, n_steps=STEPS) for m in (ours, theirs))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def blocks_only(net: Any, x: Tensor) -> Tensor:
    if len(x) % 16:
        raise ValueError("batches of 16 only")
    return net(x)  # type: ignore[no-any-return]


def for_attribution_only(net: Any, x: Tensor) -> Tensor:
    assert x.requires_grad
    assert torch.is_grad_enabled()
    return net(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("function", [blocks_only, for_attribution_only])
@pytest.mark.parametrize("bias", [True, False])
def test_a_function_that_takes_only_what_captum_gives_it(
    function: Callable[[Any, Tensor], Tensor], bias: bool
) -> None:
    net = layers(bias)
    both(lambda: lambda x: function(net, x), x=inputs(16))


def test_a_sparse_argument_that_is_not_used() -> None:
    net = layers()
    words = (torch.rand(2, 50) > 0.9).float().to_sparse()
    both(lambda: lambda x, words: net(x), arguments=lambda: (words,))


def test_a_baseline_that_has_a_run_of_its_own() -> None:
    layer = nn.Linear(4, 3)

    def function(x: Tensor) -> Tensor:
        assert x.requires_grad
        return layer(torch.as_strided(x, (len(x), 4), (4, 1)))

    expected = captum.attr.IntegratedGradients(function).attribute(inputs(), 0.5, target=1)
    found = XIntegratedGradients(function).attribute(inputs(), 0.5, target=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


class KeepsOutsideOfTraining(nn.Module):
    """Captum never runs it without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.bank, self.served = layers(), [], 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        if not torch.is_grad_enabled():
            self.bank.append(y)
            self.served += len(x)
            self.seen += len(x)
            torch.rand(1)
        return y  # type: ignore[no-any-return]


def test_what_is_kept_outside_of_training() -> None:
    before = torch.get_rng_state()
    ours = both(KeepsOutsideOfTraining)[1][0]
    assert (ours.bank, ours.served, ours.seen.item()) == ([], 0, 0)
    torch.manual_seed(0)
    assert before.shape == torch.get_rng_state().shape


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(4), nn.InstanceNorm1d(4, track_running_stats=True)]
)
def test_statistics_inside_of_inference_mode(norm: nn.Module) -> None:
    class Tracks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = layers()
            self.norm = type(norm)(4, track_running_stats=True)

        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                self.norm(x.detach().clone()[..., None].expand(-1, -1, 2))
            return self.net(x)  # type: ignore[no-any-return]

    (theirs, _), (ours, _) = both(Tracks)
    for name, buffer in theirs.norm.named_buffers():
        torch.testing.assert_close(ours.norm.get_buffer(name), buffer)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.parametrize("bias", [True, False])
def test_a_time_limit_of_the_users(bias: bool) -> None:
    """It falls into the watched run, which passes on what its handler raises."""
    net = layers(bias)

    def function(x: Tensor) -> Tensor:
        time.sleep(0.3)
        return net(x)  # type: ignore[no-any-return]

    def late(*_: Any) -> None:
        raise TimeoutError("time limit")

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with pytest.raises(TimeoutError, match="time limit"):
            XIntegratedGradients(function).attribute(inputs(), target=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
