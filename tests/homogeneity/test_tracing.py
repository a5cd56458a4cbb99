"""Tracing: which functions give a graph, for which batch sizes, and what it leaves untouched."""

from __future__ import annotations

import copy
import functools
import logging
import random
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F

from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import certify
from captum_xdnn.homogeneity.tracing import Traced, trace

X = torch.ones(2, 3)


def stack() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))


MODEL = stack()
SCALE = torch.tensor(2.0)


def ops(t: Traced) -> list[str]:
    return [str(n.target) for n in t.graph.nodes if n.op == "call_function"]


# -- batch sizes --------------------------------------------------------------------------------


def test_one_graph_serves_every_batch_size_but_one() -> None:
    t = trace(MODEL, (X,))
    assert all(t.holds_for(size) for size in (2, 3, 7, 64))
    assert not t.holds_for(1)


def test_a_batch_of_one_has_a_graph_of_its_own() -> None:
    t = trace(MODEL, (X[:1],))
    assert t.holds_for(1)
    assert not t.holds_for(2)


def test_a_decision_on_the_parity_of_the_batch_is_a_guard() -> None:
    def function(x: Tensor) -> Tensor:
        return x.relu() if x.shape[0] % 2 == 0 else x.exp()

    even, odd = trace(function, (torch.ones(4, 3),)), trace(function, (torch.ones(5, 3),))
    assert [even.holds_for(n) for n in (2, 4, 5, 8, 9)] == [True, True, False, True, False]
    assert [odd.holds_for(n) for n in (2, 3, 5, 7, 8)] == [False, True, True, True, False]
    assert "aten.exp.default" in ops(odd)
    assert "aten.exp.default" not in ops(even)


def test_a_decision_on_the_size_of_the_batch_is_a_guard() -> None:
    def function(x: Tensor) -> Tensor:
        return x.relu() if x.shape[0] > 4 else x.exp()

    small, large = trace(function, (torch.ones(3, 3),)), trace(function, (torch.ones(6, 3),))
    assert [small.holds_for(n) for n in (2, 3, 4, 5, 6)] == [True, True, True, False, False]
    assert [large.holds_for(n) for n in (2, 4, 5, 6, 60)] == [False, False, True, True, True]


def test_a_graph_whose_batch_cannot_vary_holds_for_its_own_size() -> None:
    t = trace(lambda x: x + torch.ones(3, 3), (torch.ones(3, 3),))
    assert [t.holds_for(n) for n in (1, 2, 3, 4)] == [False, False, True, False]


def test_certificates_follow_the_guards() -> None:
    def function(x: Tensor) -> Tensor:
        return x.relu() if x.shape[0] % 2 == 0 else x.exp()

    assert [certify(function, torch.ones(n, 3)).homogeneous for n in (4, 5, 2, 3, 1)] == [
        True, False, True, False, False,
    ]  # fmt: skip


def test_several_inputs_share_the_batch() -> None:
    t = trace(lambda x, y: torch.cat([x, y], 1), (X, torch.ones(2, 5)))
    assert len(t.inputs) == 2
    assert [t.holds_for(n) for n in (1, 2, 9)] == [False, True, True]


def test_a_dimension_that_happens_to_equal_the_batch_stays_fixed() -> None:
    t = trace(MODEL, (torch.ones(3, 3),))
    assert t.holds_for(7)


# -- kinds of functions -------------------------------------------------------------------------


class Holder:
    """A plain object whose method hides a module."""

    def __init__(self) -> None:
        self.model = stack()

    def score(self, x: Tensor) -> Tensor:
        return self.model(x).sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        return self.score(x)


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0] = 2 * y[:, 1]
        y.add_(x).relu_()
        return y.mul_(3.0)


class Skips(nn.Module):
    """A residual block that is called twice and returns one of several things."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3, bias=False)

    def forward(self, x: Tensor, *, twice: bool = True) -> Tensor:
        y = x + F.relu(self.inner(x), inplace=True)
        return y + F.relu(self.inner(y)) if twice else y


def _closure() -> Callable[[Tensor], Tensor]:
    model, scale = stack(), 2.0

    def inner(x: Tensor) -> Tensor:
        return model(x) * scale

    return lambda x: inner(x).sum(1)


def _doubled(x: Tensor, factor: Tensor, model: nn.Module | None = None) -> Tensor:
    return (model or MODEL)(x) * factor


def _hooked() -> nn.Module:
    model = stack()
    model[0].register_forward_hook(lambda module, args, output: 2 * output)
    model[1].register_forward_pre_hook(lambda module, args: (args[0].abs(),))
    return model


def _jit_traced() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(stack(), X)


def _shared() -> nn.Module:
    layer = nn.Linear(3, 3, bias=False)
    return nn.Sequential(layer, nn.ReLU(), layer)


def _parametrized() -> nn.Module:
    return torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, bias=False))


def _with_keyword_default(x: Tensor, *, model: nn.Module = MODEL) -> Tensor:
    return model(x)


FUNCTIONS: dict[str, Callable[[], Callable[..., Any]]] = {
    "module": stack,
    "lambda": lambda: lambda x: MODEL(x)[:, 0],
    "global": lambda: lambda x: MODEL(x) * SCALE,
    "closure": _closure,
    "bound method": lambda: Holder().score,
    "bound method of a module": lambda: stack().forward,
    "callable object": Holder,
    "partial": lambda: functools.partial(_doubled, factor=SCALE, model=stack()),
    "partial of a partial": lambda: functools.partial(
        functools.partial(_doubled, model=stack()), factor=SCALE
    ),
    "keyword default": lambda: _with_keyword_default,
    "forward hooks": _hooked,
    "in-place code": InPlace,
    "compiled": lambda: torch.compile(stack()),
    "compiled function": lambda: torch.compile(lambda x: F.relu(x)),
    "jit traced": _jit_traced,
    "data parallel": lambda: nn.DataParallel(stack()),
    "shared layers": _shared,
    "called twice": Skips,
    "weight norm": _parametrized,
    "module list": lambda: nn.ModuleList([stack()])[0],
    "checkpoint": lambda: lambda x: torch.utils.checkpoint.checkpoint(
        MODEL, x, use_reentrant=False
    ),
    "no_grad region": lambda: lambda x: x * torch.no_grad()(MODEL)(x)[:, :1].sign(),
    "view and expand": lambda: lambda x: x.view(-1, 3, 1).expand(-1, 3, 4).reshape(x.shape[0], -1),
    "einsum": lambda: lambda x: torch.einsum("bi,ij->bj", x, torch.eye(3)),
    "shape arithmetic": lambda: lambda x: x.reshape(x.size(0) * 3, -1) / x.shape[0],
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_of_this_kind_is_certified(kind: str) -> None:
    function = FUNCTIONS[kind]()
    certificate = certify(function, X)
    assert certificate.homogeneous, str(certificate)
    for batch in (1, 5):
        assert certify(function, torch.ones(batch, 3)).homogeneous


def test_an_autocast_region_is_certified() -> None:
    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return MODEL(x).float()

    certificate = certify(function, X)
    assert certificate.homogeneous
    assert trace(function, (X,)).coarsest == torch.finfo(torch.bfloat16).eps
    assert trace(MODEL, (X,)).coarsest == torch.finfo(torch.float32).eps


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def test_an_lstm_has_a_graph_and_is_refused_for_what_it_computes() -> None:
    certificate = certify(Recurrent(), torch.ones(2, 4, 3))
    assert "cannot be traced" not in str(certificate)
    assert {b.module for b in certificate.blockers} == {"cells"}


def test_a_hook_of_the_user_is_part_of_the_graph() -> None:
    model = stack()
    model[0].register_forward_hook(lambda module, args, output: output.exp())
    certificate = certify(model, X)
    assert certificate.blockers[0].op == "aten.exp.default"


def test_additional_arguments_are_placeholders_of_their_own() -> None:
    t = trace(lambda x, y, k, z: (x + y["a"]) * k + z, (X,), ({"a": torch.ones(3)}, 2.5, torch.ones(3)))
    assert len(t.inputs) == 1
    assert len(t.arguments) == 2


def test_constants_keep_their_names_in_the_model() -> None:
    t = trace(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval(), (X,))
    assert {name for name, _ in t.constants.values()} >= {
        "model.0.weight", "model.0.bias", "model.1.running_mean",
    }  # fmt: skip
    assert t.prefix == "model"


def test_constants_are_the_very_tensors_of_the_model() -> None:
    model = nn.Linear(3, 2)
    t = trace(model, (X,))
    held = {name: tensor for name, tensor in t.constants.values()}
    assert held["model.weight"].data_ptr() == model.weight.data_ptr()
    with torch.no_grad():
        model.bias.fill_(7.0)
    assert held["model.bias"][0] == 7


# -- refusals -----------------------------------------------------------------------------------


class Counting(nn.Module):
    """Keeps a tensor on itself at every call, as recurrent states and caches do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False)
        self.seen: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.layer(x)
        return self.seen


def _branch(x: Tensor) -> Tensor:
    return x.relu() if x.sum() > 0 else x


def _item(x: Tensor) -> Tensor:
    return x * float(x.max().item() > 0)


def _loop(x: Tensor) -> Tensor:
    while x.norm() > 1:
        x = x / 2
    return x


def _numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(np.maximum(x.detach().numpy(), 0))


def _dice(x: Tensor) -> Tensor:
    return x if random.random() < 0.5 else -x


def _raises(x: Tensor) -> Tensor:
    message = "the user's own mistake"
    raise ValueError(message)


def _mistake(x: Tensor) -> Tensor:
    return x @ torch.ones(5, 5)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "branch": (_branch, "data-dependent"),
    "item": (_item, ""),
    "loop": (_loop, "data-dependent"),
    "numpy": (_numpy, ""),
    "dice": (_dice, "the function draws random numbers in Python"),
    "exception": (_raises, "ValueError: the user's own mistake"),
    "wrong shapes": (_mistake, "RuntimeError"),
    "two outputs": (lambda x: (x, 2 * x), "returns 2 values"),
    "no output": (lambda x: None, "returns"),
    "a number": (lambda x: 3.0, ""),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_function_of_this_kind_is_refused_quietly_and_with_a_reason(
    kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    function, reason = REFUSED[kind]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = certify(function, X)
    assert not certificate.homogeneous
    (blocker,) = certificate.blockers
    assert blocker.op == "torch.export"
    assert blocker.reason.startswith("it cannot be traced: ")
    assert reason.lower() in blocker.reason.lower()
    assert "\n" not in blocker.reason
    assert len(blocker.reason) < 300
    assert "tensor operations" in blocker.remedy
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [r for r in caplog.records if r.name.startswith("torch")] == []


def test_the_error_names_its_kind() -> None:
    with pytest.raises(TraceError, match="^ValueError: the user's own mistake$"):
        trace(_raises, (X,))


def test_a_scripted_module_is_refused_with_what_to_use_instead() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(stack())
    certificate = certify(model, X)
    if not certificate.homogeneous:  # a later release may see through it
        assert "use the module it was scripted from" in certificate.blockers[0].reason


def test_others_may_speak_while_the_tracer_is_silenced(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def function(x: Tensor) -> Tensor:
        import sys

        speaker = threading.Thread(target=print, args=("from elsewhere",), kwargs={"file": sys.stderr})
        speaker.start()
        speaker.join()
        return x.relu()

    assert certify(function, X).homogeneous
    assert "from elsewhere" in capfd.readouterr().err


def test_state_that_the_function_keeps_is_refused_and_the_model_is_unharmed() -> None:
    model = Counting()
    model(X)
    before = model.seen
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert "stores state between calls" in certificate.blockers[0].reason
    assert model.seen is before
    _assert_real(model)


def _assert_real(model: nn.Module) -> None:
    held = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        held += [value for value in vars(module).values() if isinstance(value, Tensor)]
    assert not any(isinstance(tensor, FakeTensor) for tensor in held)


# -- what is left untouched ---------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_it_was(fails: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten())
    model[1].eval()
    model.train(False)
    model[3].train()
    if fails:
        model.append(nn.Linear(999, 2))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    flags = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    identities = [(id(t), t._version, t.requires_grad, t.grad) for t in model.state_dict(keep_vars=True).values()]
    values = copy.deepcopy(model.state_dict())
    generator, grad, default = torch.get_rng_state(), torch.is_grad_enabled(), torch.get_default_dtype()
    python, numpy = random.getstate(), repr(np.random.get_state())
    with torch.no_grad():
        assert not certify(model, torch.ones(2, 3, 6, 6)).homogeneous
        assert not torch.is_grad_enabled()
    assert flags == [(m.training, len(m._forward_hooks)) for m in model.modules()]
    assert identities == [
        (id(t), t._version, t.requires_grad, t.grad)
        for t in model.state_dict(keep_vars=True).values()
    ]
    torch.testing.assert_close(model.state_dict(), values, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), generator)
    assert (random.getstate(), repr(np.random.get_state())) == (python, numpy)
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (grad, default)
    _assert_real(model)


def test_inputs_are_as_they_were() -> None:
    leaf = torch.ones(2, 3, requires_grad=True)
    x = leaf * 2
    seen = (x._version, x.grad_fn, leaf.grad)
    assert certify(InPlace(), x).homogeneous
    assert (x._version, x.grad_fn, leaf.grad) == seen


def test_an_input_that_the_function_changes_is_refused_and_stays() -> None:
    x = torch.ones(2, 3)
    certificate = certify(lambda t: torch.no_grad()(t.mul_)(2).relu(), x)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "it changes its input in place"
    assert x.sum() == 6


def test_an_argument_that_the_function_changes_is_refused_and_stays() -> None:
    y = torch.ones(3)
    certificate = certify(lambda x, t: x * t.add_(1), X, additional_forward_args=y)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "it changes an argument in place"
    assert certificate.blockers[0].remedy == "work on a copy of the argument"
    assert y.sum() == 3


def test_a_buffer_that_the_function_writes_is_refused_and_stays() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            self.total += x.sum(0)
            return x * self.total

    model = Moving()
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "it writes to total at every call"
    assert not model.total.any()


def test_a_model_that_cannot_be_copied_is_traced_as_it_is() -> None:
    class Unique(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2, bias=False)

        def __deepcopy__(self, memo: Any) -> Any:
            message = "there is only one"
            raise TypeError(message)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).relu()

    model = Unique()
    weight = model.layer.weight
    assert certify(model, X).homogeneous
    assert model.layer.weight is weight
    _assert_real(model)


def test_functions_and_their_globals_are_as_they_were() -> None:
    inner = stack()

    def function(x: Tensor) -> Tensor:
        return inner(x)

    cell, scope = function.__closure__[0], dict(function.__globals__)
    assert certify(function, X).homogeneous
    assert function.__closure__[0] is cell
    assert cell.cell_contents is inner
    assert {k: id(v) for k, v in function.__globals__.items()} == {k: id(v) for k, v in scope.items()}


def test_the_model_runs_in_other_threads_while_it_is_traced() -> None:
    model = nn.Sequential(
        *[layer for _ in range(8) for layer in (nn.Linear(16, 16, bias=False), nn.ReLU())]
    )
    x = torch.randn(4, 16)
    expected = model(x).detach()
    stop, wrong = threading.Event(), []

    def run() -> None:
        while not stop.is_set():
            try:
                result = model(x.clone().requires_grad_())
                if isinstance(result, FakeTensor) or not torch.equal(result.detach(), expected):
                    wrong.append("another result")
                torch.autograd.grad(result.sum(), [*model.parameters()])
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        trace(model, (x,))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_several_threads_may_certify_at_once() -> None:
    models = [stack() for _ in range(4)]
    biased = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    verdicts: dict[int, bool] = {}

    def ask(i: int) -> None:
        function = models[i] if i < 4 else biased
        verdicts[i] = certify(function, X).homogeneous

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {0: True, 1: True, 2: True, 3: True, 4: False}


def test_an_instance_method_put_in_place_of_forward_is_traced() -> None:
    model = stack()
    model.forward = types.MethodType(lambda self, x: x.exp(), model)
    assert certify(model, X).blockers[0].op == "aten.exp.default"


def test_an_operation_of_a_library_that_is_loaded_later_is_taken_apart() -> None:
    """The table of decompositions is kept between traces, and must not outlive its contents."""
    assert certify(stack(), X).homogeneous
    library = torch.library.Library("captum_xdnn_late", "DEF")
    library.define("doubled(Tensor x) -> Tensor")
    library.impl("doubled", lambda x: x * 2, "CompositeImplicitAutograd")
    certificate = certify(lambda x: torch.ops.captum_xdnn_late.doubled(x).relu(), X)
    assert certificate.homogeneous, str(certificate)
