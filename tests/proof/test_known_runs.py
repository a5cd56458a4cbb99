"""What is kept of runs: their structure, shared by all, bounded, and without a tensor."""

from __future__ import annotations

import copy
import functools
import gc
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from calls import Counter
from torch import Tensor, nn
from verdicts import stack

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify
from captum_xdnn.recording import steps
from captum_xdnn.recording.steps import Step

X = torch.ones(2, 3)


def test_a_run_is_proved_once(proofs: Counter) -> None:
    model = stack()
    first = certify(model, X)
    assert proofs.since() == 1
    assert all(certify(model, torch.randn(2, 3)) == first for _ in range(5))
    assert proofs.since() == 0


def test_all_functions_and_copies_share_what_is_known(proofs: Counter) -> None:
    model, twin = stack(), stack()
    certify(model, X)
    proofs.since()
    for function in (
        model.forward,
        lambda x: model(x),
        functools.partial(model),
        twin,
        copy.deepcopy(model),
    ):
        assert certify(function, X).homogeneous
    XIntegratedGradients(model).attribute(X, target=0)
    assert proofs.since() == 0


def test_all_threads_share_what_is_known(proofs: Counter) -> None:
    model = stack()
    certify(model, X)
    verdicts: list[bool] = []
    threads = [
        threading.Thread(target=lambda: verdicts.append(certify(model, X).homogeneous))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True] * 6
    assert proofs.count == 1


def test_what_is_known_of_one_function_is_not_said_of_another(proofs: Counter) -> None:
    models = [stack(), stack(), nn.Sequential(*stack()[:2]), nn.Sequential(stack()[0], nn.GELU())]
    models[1][1] = nn.GELU()
    for _ in range(2):
        assert [certify(m, X).homogeneous for m in models] == [True, False, True, False]
    assert proofs.count == 4


def test_numbers_are_part_of_a_structure() -> None:
    for slope, shift in ((1.0, 0), (1, 0.5), (2.0, 0.0), (1, 0), (True, 0.5), (1.0, -0.0)):
        found = certify(lambda x, k=slope, s=shift: (k * x + s).relu(), X)
        assert found.homogeneous is (shift == 0)
    assert certify(lambda x: x**2.0, X).degree == certify(lambda x: x**2, X).degree == 2
    assert certify(lambda x: x**3, X).degree == 3


def test_autocast_around_the_call_is_part_of_what_is_known(proofs: Counter) -> None:
    model = stack()
    certify(model, X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(3):
            assert certify(model, X).homogeneous
    assert certify(model, X).homogeneous
    assert proofs.count == 3  # autocast casts the weights in the first of these runs alone


def test_a_refusal_is_remembered(proofs: Counter) -> None:
    function = lambda x: x if x.sum() > 0 else -x  # noqa: E731
    assert len({str(certify(function, X)) for _ in range(3)}) == 1
    assert proofs.count == 1


def test_weights_may_change_where_no_value_was_read(proofs: Counter) -> None:
    model = stack()
    certify(model, X)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(X).sum().backward()
        optimizer.step()
        assert certify(model, X).homogeneous
    model.load_state_dict(stack().state_dict())
    assert certify(model, X).homogeneous
    assert proofs.count == 1


BIAS_CHANGES: dict[str, Callable[[nn.Sequential], Any]] = {
    "under no_grad": lambda m: torch.no_grad()(m[0].bias.fill_)(1.0),
    "load_state_dict": lambda m: m.load_state_dict(
        {k: torch.ones_like(v) for k, v in m.state_dict().items()}
    ),
    "through .data": lambda m: setattr(m[0].bias, "data", torch.ones(4)),
    "into .data": lambda m: m[0].bias.data.fill_(1.0),
    "through numpy": lambda m: m[0].bias.detach().numpy().fill(1.0),
    "an optimizer": lambda m: _step(m, torch.optim.SGD(m.parameters(), 0.1)),
    "a fused optimizer": lambda m: _step(m, torch.optim.AdamW(m.parameters(), 0.1, fused=True)),
    "a slice": lambda m: torch.no_grad()(m[0].bias[1:].fill_)(1.0),
    "another parameter": lambda m: setattr(m[0], "bias", nn.Parameter(torch.ones(4))),
    "swapped": lambda m: torch.utils.swap_tensors(m[0].bias, nn.Parameter(torch.ones(4))),
}


def _step(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    (model(X).sum() + model[0].bias.sum()).backward()
    optimizer.step()


@pytest.mark.parametrize("change", BIAS_CHANGES)
def test_a_bias_that_becomes_something_is_noticed(change: str, proofs: Counter) -> None:
    model = stack(bias=True)
    xig = XIntegratedGradients(model)
    assert certify(model, X).relied == ("0.bias",)
    xig.attribute(X, target=0)
    assert xig.last_route == "single_pass"
    BIAS_CHANGES[change](model)
    assert model[0].bias.detach().any()
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "bias of 4 outputs is not zero"
    xig.attribute(X, target=0)
    assert xig.last_route != "single_pass"
    with torch.no_grad():
        model[0].bias.zero_()
    assert certify(model, X).homogeneous
    assert proofs.count == 2


def test_running_statistics_that_move_are_noticed(proofs: Counter) -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()).eval()
    for mean, good in ((0.0, True), (0.5, False), (0.0, True), (0.5, False)):
        model[0].running_mean.fill_(mean)
        certificate = certify(model, X)
        assert certificate.homogeneous is good
    assert certificate.blockers[0].reason == "shift of 3 channels is not zero at the baseline"
    assert proofs.count == 2


def test_many_forms_do_not_fill_the_memory(proofs: Counter) -> None:
    for n in range(1, 400):
        assert certify(lambda x: x.relu().exp().sum(1), torch.ones(n, 3)).blockers
    held = sum(root.size for root in steps._ROOTS.values())
    assert 0 < held <= steps.MOST_STEPS
    for n in range(600):
        assert certify(lambda x, n=n: (x * (n + 0.5)).relu(), X).homogeneous
    held = sum(map(_size, steps._ROOTS.values()))
    assert 0 < held <= steps.MOST_STEPS


def test_a_run_that_is_longer_than_the_memory_is_proved_all_the_same() -> None:
    def function(x: Tensor) -> Tensor:
        for _ in range(steps.MOST_STEPS + 100):
            x = x.relu()
        return x

    for _ in range(2):
        assert certify(function, X).homogeneous


def _size(root: Step) -> int:
    count, stack = 0, [root]
    while stack:
        step = stack.pop()
        following = [step.first] if step.first is not None else []
        following += list(step.others.values())
        count += len(following)
        stack += following
    return count


def test_no_tensor_and_no_module_is_kept() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Softmax(-1)).eval()
    nn.init.zeros_(model[0].bias)
    steps.forget()
    for function in (model, model[:3]):
        certify(function, X)
        xig = XIntegratedGradients(function)
        xig.attribute(X, target=0)
        xig.attribute(X, torch.full_like(X, 0.5), target=0)
    assert not [type(held) for held in _reachable(steps._ROOTS)]


def _reachable(start: Any) -> list[Any]:
    """The tensors and modules that something leads to, though not through code and classes."""
    code = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    found, seen, open_ = [], {id(start)}, [start]
    while open_:
        held = open_.pop()
        if isinstance(held, Tensor | nn.Module):
            found.append(held)
            continue
        for part in gc.get_referents(held):
            operation = type(part).__module__.startswith("torch._ops")
            if id(part) not in seen and not isinstance(part, code) and not operation:
                seen.add(id(part))
                open_.append(part)
    return found
