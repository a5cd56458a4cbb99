"""What is kept of each function, and what makes it be read anew."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from calls import Counter, certify
from small_networks import stack
from torch import Tensor, nn

from captum_xdnn.homogeneity.knowledge import RESTLESS
from captum_xdnn.homogeneity.remembered import knowledge_of

X = torch.ones(2, 3)


def test_a_function_is_traced_and_analysed_once(traces: Counter, analyses: Counter) -> None:
    model = stack()
    first = certify(model, X)
    assert (traces.since(), analyses.since()) == (1, 1)
    assert all(certify(model, torch.randn(n, 3)) == first for n in (2, 2, 5, 17))
    assert (traces.since(), analyses.since()) == (0, 0)


def test_a_batch_of_one_is_traced_for_itself(traces: Counter) -> None:
    model = stack()
    certify(model, X)
    certify(model, X[:1])
    certify(model, X)
    certify(model, X[:1])
    assert traces.count == 2


def test_all_who_ask_share_what_is_known(traces: Counter) -> None:
    model = stack()
    threads = [threading.Thread(target=certify, args=(model, X)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert traces.count == 1
    assert knowledge_of(model) is knowledge_of(model)
    assert knowledge_of(model) is not knowledge_of(stack())


def test_bound_methods_share_by_their_object(traces: Counter) -> None:
    model = stack()
    assert certify(model.forward, X).homogeneous
    assert certify(model.forward, X).homogeneous
    assert traces.count == 1
    assert knowledge_of(model.forward) is knowledge_of(model.forward)
    assert knowledge_of(model.forward) is not knowledge_of(model)
    assert knowledge_of(model.forward) is not knowledge_of(stack().forward)


@pytest.mark.parametrize(
    "other",
    [
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(2, 5, 3),
        torch.ones(3, 2).t(),
    ],
)
def test_other_shapes_dtypes_and_layouts_are_traced_anew(other: Tensor, traces: Counter) -> None:
    function = lambda x: x.relu()  # noqa: E731
    certify(function, X)
    certify(function, other)
    assert traces.since() == 2
    certify(function, X)
    certify(function, other)
    assert traces.since() == 0


def test_a_decision_on_the_layout_is_not_carried_over() -> None:
    function = lambda x: x.relu() if x.is_contiguous() else x.exp()  # noqa: E731
    assert certify(function, torch.ones(2, 3)).homogeneous
    assert not certify(function, torch.ones(3, 2).t()).homogeneous


def test_autocast_around_the_call_is_part_of_what_is_known(traces: Counter) -> None:
    model = stack()
    certify(model, X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert certify(model, X).homogeneous
        assert certify(model, X).homogeneous
    assert certify(model, X).homogeneous
    assert traces.count == 2


def test_a_refusal_to_trace_is_remembered(traces: Counter) -> None:
    function = lambda x: x if x.sum() > 0 else -x  # noqa: E731
    assert {str(certify(function, X)) for _ in range(3)} == {str(certify(function, X))}
    assert traces.count == 1


def test_weights_may_change_where_no_value_was_read(traces: Counter, analyses: Counter) -> None:
    model = stack()
    certify(model, X)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(X).sum().backward()
        optimizer.step()
        assert certify(model, X).homogeneous
    model.load_state_dict(stack().state_dict())
    assert certify(model, X).homogeneous
    assert (traces.count, analyses.count) == (1, 1)


BIAS_CHANGES: dict[str, Callable[[nn.Sequential], Any]] = {
    "under no_grad": lambda m: torch.no_grad()(m[0].bias.fill_)(1.0),
    "load_state_dict": lambda m: m.load_state_dict(
        {k: torch.ones_like(v) for k, v in m.state_dict().items()}
    ),
    "through .data": lambda m: setattr(m[0].bias, "data", torch.ones(4)),
    "an optimizer": lambda m: _step(m),
    "a slice": lambda m: torch.no_grad()(m[0].bias[1:].fill_)(1.0),
}


def _step(model: nn.Sequential) -> None:
    (model(X).sum() + model[0].bias.sum()).backward()
    torch.optim.SGD(model.parameters(), 0.1).step()


@pytest.mark.parametrize("change", BIAS_CHANGES)
def test_a_bias_that_becomes_something_is_noticed_without_another_trace(
    change: str, traces: Counter
) -> None:
    model = stack(bias=True)
    assert certify(model, X).relied == ("0.bias",)
    BIAS_CHANGES[change](model)
    assert model[0].bias.detach().any()
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "bias of 4 outputs is not zero"
    with torch.no_grad():
        model[0].bias.zero_()
    assert certify(model, X).homogeneous
    assert traces.count == 1


def test_a_bias_that_becomes_zero_is_noticed(traces: Counter, analyses: Counter) -> None:
    model = stack(bias=True)
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    assert not certify(model, X).homogeneous
    assert not certify(model, X).homogeneous
    assert analyses.since() == 1
    with torch.no_grad():
        model[0].bias.zero_()
    assert certify(model, X).homogeneous
    assert (traces.count, analyses.since()) == (1, 1)


def test_running_statistics_that_move_are_noticed(traces: Counter) -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()).eval()
    assert certify(model, X).homogeneous
    model[0].running_mean.fill_(0.5)
    certificate = certify(model, X)
    assert certificate.blockers[0].reason == "shift of 3 channels is not zero at the baseline"
    assert traces.count == 1


def test_a_constant_of_a_closure_that_changes_is_noticed() -> None:
    shift = torch.zeros(3)
    function = lambda x: (x + shift).relu()  # noqa: E731
    assert certify(function, X).homogeneous
    shift += 1
    assert not certify(function, X).homogeneous


def test_a_bias_inside_a_traced_module_is_noticed() -> None:
    model = stack(bias=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.jit.trace(model, X)
    assert certify(compiled, X).homogeneous
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    assert not certify(compiled, X).homogeneous


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.__setitem__(1, nn.GELU()),
        lambda m: m[0].register_forward_hook(lambda *_: None),
        lambda m: m.train(not m.training),
        lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(4, 3))),
    ],
)
def test_a_changed_function_is_traced_anew_once(
    change: Callable[[nn.Module], Any], traces: Counter
) -> None:
    model = stack()
    certify(model, X)
    kept = change(model)
    certify(model, X)
    certify(model, X)
    assert traces.count == 2
    del kept


def test_what_was_known_of_the_old_function_is_not_said_of_the_new() -> None:
    model = stack()
    assert certify(model, X).homogeneous
    model[1] = nn.GELU()
    assert not certify(model, X).homogeneous
    model[1] = nn.ReLU()
    assert certify(model, X).homogeneous


def test_a_restless_function_stops_being_traced_until_it_settles(traces: Counter) -> None:
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    model = Restless()
    reasons = []
    for _ in range(RESTLESS + 6):
        model.calls += 1
        reasons.append(str(certify(model, X)))
    assert traces.count == RESTLESS
    assert "change at every call" not in reasons[RESTLESS - 1]
    assert all("its modules or attributes change at every call" in r for r in reasons[RESTLESS:])
    certify(model, X)
    assert certify(model, X).homogeneous, "it has settled"
    assert traces.count == RESTLESS + 1
