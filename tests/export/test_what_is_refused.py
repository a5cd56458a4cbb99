"""What no graph would show is refused: by the operation, its module, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.errors import TraceError, XDNNError
from captum_xdnn.export import export_attribution


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Layer(nn.Module):
    """One layer of a network, which does something to what it is given."""

    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Tensor) -> Tensor:
        return self.does(x)


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(x.detach().mean(0))
        return x - self.mean


def hooked(x: Tensor) -> Tensor:
    y = x * 2
    if y.requires_grad:
        y.register_hook(lambda gradient: gradient * 3)
    return y


def by_size(x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] > 2 else x.exp()


def by_value(x: Tensor) -> Tensor:
    return x * 2 if x.sum() > 0 else x * 3


def mean_of_python(x: Tensor) -> Tensor:
    return torch.tanh(x) * (1.0 / x.shape[0])


def several_roots(x: Tensor) -> Tensor:
    return x[:, torch.nonzero(x[0] > 0.0).flatten()].sum(1, keepdim=True) * torch.ones(1, 2)


def solved(x: Tensor) -> Tensor:
    return torch.linalg.inv(x.unsqueeze(2) * x.unsqueeze(1) + torch.eye(4)).sum(1)


CASES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "values decide": (by_value, "(?s)hands Python a value.*torch.where"),
    "values decide a shape": (several_roots, "(?s)hands Python a value or a shape"),
    "an inverse": (solved, "(?s)hands Python a value or a shape"),
    "a number of the batch size": (mean_of_python, "(?s)other batch sizes.*dynamic_batch=False"),
    "the batch size decides": (by_size, "(?s)other batch sizes.*dynamic_batch=False"),
    "random": (lambda x: x * torch.rand_like(x), "(?s)rand_like.*draws random numbers"),
    "dropout": (lambda x: torch.dropout(x, 0.5, True), "(?s)draws random numbers.*model.eval"),
    "an autograd.Function": (Twice.apply, "(?s)autograd.Function.*remedy"),
    "a hook on a tensor": (hooked, "(?s)code of its own acts on the gradient.*remedy"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_graph_would_not_show_is_refused(name: str) -> None:
    function, message = CASES[name]
    net = nn.Sequential(
        nn.Linear(4, 4), Layer(function), nn.Linear(4, 2) if "shape" not in name else nn.Identity()
    )
    with pytest.raises(TraceError, match=message):
        export_attribution(net, torch.rand(3, 4), target=0)


def test_a_hook_of_a_module_on_gradients_is_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net[1].register_full_backward_hook(lambda module, given, gradient: None)
    with pytest.raises(TraceError, match=r"(?s)acts on the gradient.*remedy"):
        export_attribution(net, torch.rand(3, 4), target=0)


@pytest.mark.parametrize("name", [n for n in CASES if "Function" not in n and "hook" not in n])
def test_a_refusal_names_the_operation_and_its_module(name: str) -> None:
    function, _ = CASES[name]
    net = nn.Sequential(
        nn.Linear(4, 4), Layer(function), nn.Linear(4, 2) if "shape" not in name else nn.Identity()
    )
    with pytest.raises(TraceError) as raised:
        export_attribution(net, torch.rand(3, 4), target=0)
    said = str(raised.value)
    assert "aten." in said
    assert "in 1 (Layer)" in said or "in 2 (Linear)" in said
    assert "remedy:" in said


def test_state_that_a_call_changes_is_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 4), Remembering(), nn.Linear(4, 2))
    with pytest.raises(TraceError, match=r"(?s)1 \(Remembering\).*remedy: "):
        export_attribution(net, torch.rand(3, 4), target=0)


def test_batch_norm_in_training_is_refused_and_in_evaluation_exported() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(TraceError, match=r"(?s)1 \(BatchNorm1d\).*model.eval"):
        export_attribution(net.train(), torch.rand(3, 4), target=0)
    assert export_attribution(net.eval(), torch.rand(3, 4), target=0).route != "single_pass"


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda x: torch.fft.rfft(x).abs(), "aten._fft_r2c.default"),
        (lambda x: nn.functional.unfold(x.reshape(-1, 1, 2, 2), 2).flatten(1), "im2col"),
    ],
    ids=["fft", "unfold"],
)
def test_what_torch_traces_for_one_batch_size_is_named_and_exported_for_one(
    function: Callable[[Tensor], Tensor], op: str
) -> None:
    net = nn.Sequential(nn.Linear(4, 4), Layer(function), nn.Tanh())
    with pytest.raises(TraceError, match=rf"(?s){op}.*in 1 \(Layer\).*dynamic_batch=False"):
        export_attribution(net, torch.rand(3, 4), target=0)
    program = export_attribution(net, torch.rand(3, 4), target=0, dynamic_batch=False)
    assert program.check(torch.rand(3, 4)) < 1e-5


def test_what_the_batch_size_decides_is_exported_for_one_batch_size() -> None:
    net = nn.Sequential(nn.Linear(4, 4), Layer(by_size), nn.Linear(4, 2))
    program = export_attribution(net, torch.rand(3, 4), target=0, dynamic_batch=False)
    assert program.check(torch.rand(3, 4)) < 1e-5


def test_a_graph_that_gives_something_else_than_attribute_is_refused() -> None:
    # Captum divides by the number of rows of all its steps.
    net = nn.Sequential(nn.Linear(4, 4), Layer(mean_of_python), nn.Linear(4, 2))
    with pytest.raises(XDNNError, match="does not give what attribute"):
        export_attribution(net, torch.rand(3, 4), target=0, dynamic_batch=False)


def test_inputs_and_outputs_without_rows_are_refused() -> None:
    with pytest.raises(TraceError, match=r"(?s)int64.*layer=model.embedding"):
        export_attribution(nn.Embedding(5, 2), torch.ones(3, 4, dtype=torch.int64), target=0)
    with pytest.raises(TraceError, match=r"(?s)shape \(\) for 3 rows.*remedy"):
        export_attribution(lambda x: x.sum(), torch.rand(3, 4), target=None)
    with pytest.raises(TraceError, match=r"(?s)something other than one tensor.*remedy"):
        export_attribution(lambda x: (x, x), torch.rand(3, 4), target=0)


def test_under_autocast_the_casts_are_those_of_the_runs() -> None:
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))

    def cast(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x).float()

    program = export_attribution(cast, torch.rand(3, 4), target=0)
    assert program.check(torch.rand(5, 4)) < 1e-5


def test_a_function_that_raises_is_named_with_what_it_raises() -> None:
    def function(x: Tensor) -> Tensor:
        if x.shape[0] == 2:
            raise ValueError("not two")
        return x

    with pytest.raises(TraceError, match="for 2 rows it raises ValueError: not two") as raised:
        export_attribution(function, torch.rand(3, 4), target=0)
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (nn.BatchNorm1d(2, track_running_stats=False), "for one row it raises ValueError"),
        (Layer(torch.squeeze), "one row the function does something else"),
        (Layer(lambda x: x[:, :1].squeeze()), "one row the function does something else"),
    ],
    ids=["raises", "row", "number"],
)
def test_a_function_that_one_row_is_not_like_several_for(last: nn.Module, said: str) -> None:
    net = nn.Sequential(nn.Linear(4, 2), last).eval()
    with pytest.raises(TraceError, match=rf"(?s){said}.*dynamic_batch=False"):
        export_attribution(net, torch.rand(3, 4))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("best", AssertionError),
        (1.5, AssertionError),
        (7, IndexError),
        ((0, 1), AssertionError),
        (None, AssertionError),
    ],
)
def test_a_wrong_target_is_refused(target: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        export_attribution(nn.Linear(4, 2), torch.rand(3, 4), target=target)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_example_that_is_not_finite_is_refused(number: float) -> None:
    x = torch.rand(3, 4)
    x[0, 1] = number
    with pytest.raises(TraceError, match=r"(?s)not finite.*remedy"):
        export_attribution(nn.Linear(4, 2), x)
    with pytest.raises(TraceError, match=r"(?s)not finite.*remedy"):
        export_attribution(nn.Linear(4, 2), torch.rand(3, 4), baselines=number)


@pytest.mark.parametrize("layer", ["0", [nn.Linear(4, 2)]])
def test_what_is_no_layer_is_refused(layer: Any) -> None:
    with pytest.raises(AssertionError, match=r"one torch\.nn\.Module"):
        export_attribution(nn.Sequential(nn.Linear(4, 2)), torch.rand(3, 4), layer=layer)


def test_wrong_input_raises_captums_errors() -> None:
    with pytest.raises(AssertionError):
        export_attribution(nn.Linear(4, 2), [[1.0]], target=0)  # type: ignore[arg-type]
    with pytest.raises((AssertionError, RuntimeError)):
        export_attribution(nn.Linear(4, 2), torch.rand(3, 4), baselines=torch.rand(1, 5), target=0)
    with pytest.raises(AssertionError):
        export_attribution(nn.Linear(4, 2), torch.rand(3, 4), n_steps=-1, target=0)
