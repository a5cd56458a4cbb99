"""An export leaves nothing behind in what is the user's, also where it fails."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.errors import TraceError
from captum_xdnn.export import export_attribution

TABLE: dict[int, Tensor] = {}
SEEN: list[Tensor] = []
COUNT = 0
net = nn.Linear(8, 2, bias=False)


@functools.lru_cache
def window(n: int) -> Tensor:
    return torch.hann_window(n)


def ramp(n: int) -> Tensor:
    if n not in TABLE:
        TABLE[n] = torch.linspace(0, 1, n)
    return TABLE[n]


@contextmanager
def may_fail(*, fails: bool) -> Iterator[None]:
    if fails:
        with pytest.raises(TraceError, match="draws random numbers"):
            yield
    else:
        yield


def failing(function: Callable[[Tensor], Tensor], *, fails: bool) -> Callable[[Tensor], Tensor]:
    """The function, or one that cannot be exported and does the same to what it keeps."""
    return (lambda x: torch.dropout(function(x), 0.5, True)) if fails else function


@pytest.mark.parametrize("fails", [False, True], ids=["", "failing"])
@pytest.mark.parametrize("helper", [window, ramp])
def test_a_cached_helper_goes_on_returning_tensors(
    helper: Callable[[int], Tensor], fails: bool
) -> None:
    helpers: Any = helper
    TABLE.clear()
    window.cache_clear()

    def score(x: Tensor) -> Tensor:
        return net(x * helpers(x.shape[1]))

    x = torch.rand(3, 8)
    with may_fail(fails=fails):
        export_attribution(failing(score, fails=fails), x, target=1)
    assert not TABLE
    assert type(helper(8)) is Tensor
    assert type(score(x)) is Tensor
    torch.testing.assert_close(score(x), net(x * helper(8)))


@pytest.mark.parametrize("fails", [False, True], ids=["", "failing"])
def test_what_hooks_and_functions_collect_is_as_it_was(fails: bool) -> None:
    global COUNT
    bank: list[Tensor] = []
    counts = {"calls": 0}
    hooked = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    hooked[1].register_forward_hook(lambda m, a, out: bank.append(out.detach()))
    SEEN.clear()
    COUNT = 5

    def score(x: Tensor) -> Tensor:
        global COUNT
        COUNT += 1
        counts["calls"] += 1
        SEEN.append(x)
        return hooked(x)

    with may_fail(fails=fails):
        export_attribution(failing(score, fails=fails), torch.rand(3, 8), target=1)
    assert (bank, SEEN, counts, COUNT) == ([], [], {"calls": 0}, 5)
    assert len(hooked[1]._forward_hooks) == 1


@pytest.mark.parametrize("fails", [False, True], ids=["", "failing"])
def test_modules_inputs_and_random_numbers_are_as_they_were(fails: bool) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 2)
            self.calls, self.last = 0, None

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = x
            return self.inner(x)

    counting = Counting().train()
    states = {name: value.clone() for name, value in counting.state_dict().items()}
    x = torch.rand(3, 4, requires_grad=True)
    before = x.detach().clone()
    rolls = (random.getstate(), torch.get_rng_state())
    with may_fail(fails=fails):
        export_attribution(failing(counting, fails=fails), x, target=1)
    assert (counting.calls, counting.last, counting.training) == (0, None, True)
    assert x.grad is None
    assert x.requires_grad
    torch.testing.assert_close(x.detach(), before, rtol=0, atol=0)
    for name, value in counting.state_dict().items():
        torch.testing.assert_close(value, states[name], rtol=0, atol=0)
    assert all(p.grad is None and p.requires_grad for p in counting.parameters())
    assert random.getstate() == rolls[0]
    assert torch.equal(torch.get_rng_state(), rolls[1])


def test_the_program_keeps_the_weights_that_it_was_exported_with() -> None:
    layer = nn.Linear(4, 2, bias=False)
    program = export_attribution(layer, torch.rand(3, 4), target=0)
    x = torch.rand(2, 4)
    before = program(x).attributions
    with torch.no_grad():
        layer.weight.zero_()
    torch.testing.assert_close(program(x).attributions, before, rtol=0, atol=0)


class Writing(nn.Module):
    """Writes into tensors that it keeps: none that the output is computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.last, self.by_name, self.bank = (
            torch.zeros(2),
            {"last": torch.zeros(2)},
            [torch.zeros(2)],
        )

    def held(self) -> list[Tensor]:
        return [self.get_buffer("calls"), self.last, self.by_name["last"], self.bank[0]]

    def forward(self, x: Tensor) -> Tensor:
        for tensor in self.held():
            tensor.add_(1)
        return self.inner(x)


@pytest.mark.parametrize("fails", [False, True], ids=["", "failing"])
def test_what_a_module_writes_into_tensors_is_put_back(fails: bool) -> None:
    writing = Writing()
    with may_fail(fails=fails):
        export_attribution(failing(writing, fails=fails), torch.rand(3, 4), target=1)
    assert not any(tensor.any() for tensor in writing.held())
    assert all(tensor._version == 0 for tensor in writing.held())


@pytest.mark.parametrize(
    "layer",
    [nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4)],
    ids=["spectral norm", "batch norm"],
)
def test_statistics_of_training_are_as_they_were(layer: nn.Module) -> None:
    net = nn.Sequential(layer, nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(TraceError, match=r"model\.eval"):
        export_attribution(net, torch.rand(3, 4), target=1)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_inputs_and_arguments_that_a_function_writes_into_are_as_they_were() -> None:
    x, factor = torch.rand(3, 8), torch.rand(3, 1)
    before = x.clone(), factor.clone()

    def score(x: Tensor, factor: Tensor) -> Tensor:
        x *= factor.mul_(2)
        return net(x)

    with pytest.raises(TraceError, match="remedy"):
        export_attribution(score, x, target=1, additional_forward_args=factor)
    torch.testing.assert_close((x, factor), before, rtol=0, atol=0)
