"""What is written for a batch is what the method and the network say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from small_data import CLASSES, FEATURES, network, rows
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import NotHomogeneousError, XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.dataset import Records, SumChannels
from captum_xdnn.dataset.attributing import HOPELESS, Attributing
from captum_xdnn.dataset.loading import Batch, Fetched
from captum_xdnn.dataset.settings import Settings

SIZE = 7
LABELS = torch.arange(SIZE) % CLASSES


def batch(inputs: Any = None, labels: Any = LABELS, size: int = SIZE) -> Fetched:
    data = (rows(size) if inputs is None else inputs, labels)
    return Fetched((Batch(tuple(range(size)), data),))


def attributed(method: Any, given: Fetched | None = None, **settings: Any) -> dict[str, Any]:
    records, rejects = Attributing(Settings(method, **settings))(given or batch())
    assert rejects == []
    return Records.joined(records).columns


METHODS: dict[str, tuple[Callable[[nn.Module], Any], dict[str, Any], bool]] = {
    "ours": (XIntegratedGradients, {}, True),
    "Captum's": (IntegratedGradients, {"n_steps": 20}, True),
    "Saliency": (Saliency, {}, False),
    "InputXGradient": (InputXGradient, {}, False),
    "DeepLift": (DeepLift, {}, True),
    "NoiseTunnel": (lambda net: NoiseTunnel(XIntegratedGradients(net)), {"stdevs": 0.0}, True),
    "a layer": (lambda net: XLayerIntegratedGradients(net, net[0]), {}, True),
    "mean gradient": (lambda net: XIntegratedGradients(net, multiply_by_inputs=False), {}, False),
}


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")  # DeepLift's own
@pytest.mark.parametrize("name", METHODS)
def test_the_attributions_are_the_methods(name: str) -> None:
    build, arguments, complete = METHODS[name]
    net = network()
    found = attributed(build(net), arguments=arguments)
    torch.manual_seed(0)
    expected = build(net).attribute(rows(SIZE).requires_grad_(), target=LABELS, **arguments)
    assert_close(torch.from_numpy(found["attribution"]), expected.detach())
    outputs = net(rows(SIZE)).detach()
    assert_close(torch.from_numpy(found["output"]), outputs[torch.arange(SIZE), LABELS].double())
    assert found["prediction"].tolist() == outputs.argmax(1).tolist()
    assert found["target"].tolist() == LABELS.tolist()
    assert found["id"].tolist() == list(range(SIZE))
    gaps = torch.from_numpy(found["completeness_gap"])
    assert gaps.isnan().all() if not complete else (gaps.abs() < 1e-5).all()


@pytest.mark.parametrize("baseline", [None, 0.3, torch.full((1, FEATURES), 0.2)])
def test_the_gap_is_captums_delta(baseline: Any) -> None:
    net = nn.Sequential(nn.Linear(FEATURES, 8), nn.Sigmoid(), nn.Linear(8, CLASSES))
    arguments = {"n_steps": 2, "method": "riemann_left"}
    method = IntegratedGradients(net)
    found = attributed(method, baselines=baseline, arguments=arguments)
    _, delta = method.attribute(
        rows(SIZE), baseline, LABELS, return_convergence_delta=True, **arguments
    )
    assert delta.abs().max() > 1e-4
    assert_close(torch.from_numpy(found["completeness_gap"]), delta.double(), rtol=1e-3, atol=1e-6)


def test_a_distribution_of_baselines_has_no_gap() -> None:
    found = attributed(GradientShap(network()), baselines=rows(4))
    assert np.isnan(found["completeness_gap"]).all()
    assert found["route"].tolist() == ["GradientShap"] * SIZE


def test_routes() -> None:
    net = network()
    assert set(attributed(XIntegratedGradients(net))["route"]) == {"single_pass"}
    assert set(attributed(XIntegratedGradients(net, strategy="captum"))["route"]) == {"captum"}

    class Deciding(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    deciding = Deciding(FEATURES, CLASSES)
    assert set(attributed(XIntegratedGradients(deciding))["route"]) == {"captum"}


def test_targets() -> None:
    net, x = network(), rows(SIZE)
    outputs = net(x).detach()
    found = attributed(XIntegratedGradients(net), target="predicted")
    assert found["target"].tolist() == outputs.argmax(1).tolist()
    assert_close(torch.from_numpy(found["output"]), outputs.amax(1).double())
    found = attributed(XIntegratedGradients(net), batch(labels=None), target=2)
    assert found["target"].tolist() == [2] * SIZE
    assert_close(torch.from_numpy(found["output"]), outputs[:, 2].double())
    one = nn.Linear(FEATURES, 1, bias=False)
    found = attributed(XIntegratedGradients(one), batch(labels=None), target=None)
    assert found["target"].tolist() == found["prediction"].tolist() == [-1] * SIZE
    assert_close(torch.from_numpy(found["output"]), one(x)[:, 0].double().detach())


def test_several_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x * 2 + y[:, 0]

    x, y = rows(SIZE), rows(2 * SIZE).reshape(SIZE, 2, FEATURES)
    found = attributed(XIntegratedGradients(Two()), batch((x, y)), target="predicted")
    assert found["attribution_0"].shape == x.shape
    assert found["attribution_1"].shape == y.shape
    assert np.abs(found["completeness_gap"]).max() < 1e-6
    with_baselines = attributed(
        XIntegratedGradients(Two()), batch((x, y)), target=0, baselines=(0.5, 1.0)
    )
    assert_close(torch.from_numpy(with_baselines["attribution_0"][:, 0]), 2 * (x[:, 0] - 0.5))


def test_further_arguments_of_the_function() -> None:
    found = attributed(
        XIntegratedGradients(lambda x, factor: x * factor),
        arguments={"additional_forward_args": torch.tensor(3.0)},
    )
    assert_close(torch.from_numpy(found["output"]), 3 * rows(SIZE)[range(SIZE), LABELS].double())
    assert np.abs(found["completeness_gap"]).max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype: torch.dtype) -> None:
    net = network()
    found = attributed(XIntegratedGradients(net), autocast=dtype)
    with torch.autocast("cpu", dtype):
        expected = XIntegratedGradients(net).attribute(rows(SIZE), target=LABELS)
    assert_close(torch.from_numpy(found["attribution"]), expected)
    assert not torch.equal(expected, XIntegratedGradients(net).attribute(rows(SIZE), target=LABELS))


def test_one_forward_pass_a_batch() -> None:
    net, passes = network(), []
    net.register_forward_hook(lambda *_: passes.append(1))
    attributing = Attributing(Settings(XIntegratedGradients(net)))
    for _ in range(3):  # the first traces, counts the outputs, looks at the baseline
        passes.clear()  # what the hook holds is a part of the function
        attributing(batch())
    assert passes == [1]


class Picky(nn.Module):
    """Fails where the first feature is above a bound."""

    def __init__(self, most: float, error: type[Exception] = ValueError) -> None:
        super().__init__()
        self.net, self.most, self.error = network(), most, error

    def forward(self, x: Tensor) -> Tensor:
        if bool((x[:, 0] > self.most).any()):
            raise self.error("out of range")
        return self.net(x)


def test_a_sample_that_the_network_fails_for_is_set_aside() -> None:
    x = rows(SIZE)
    bad = [i for i in range(SIZE) if x[i, 0] > 0.5]
    assert 0 < len(bad) < SIZE
    records, rejects = Attributing(Settings(IntegratedGradients(Picky(0.5))))(batch())
    assert [r.id for r in rejects] == bad
    assert {r.reason for r in rejects} == {"ValueError: out of range"}
    assert Records.joined(records).ids == [i for i in range(SIZE) if i not in bad]
    kept = [i for i in range(SIZE) if i not in bad]
    expected = IntegratedGradients(network()).attribute(x[kept], target=LABELS[kept])
    assert_close(torch.from_numpy(records[0].columns["attribution"]), expected)


def test_an_attribution_that_is_not_finite_is_set_aside() -> None:
    x = rows(SIZE)
    x[4] = 0
    records, rejects = Attributing(Settings(IntegratedGradients(lambda x: 1 / x), target=0))(
        batch(x)
    )
    assert [r.id for r in rejects] == [4]
    assert "not finite" in rejects[0].reason
    assert 4 not in Records.joined(records).ids


def test_inputs_of_one_number_are_looked_at_too() -> None:
    x = torch.tensor([1.0, 0.0, 4.0])
    root = IntegratedGradients(lambda x: x.sqrt())  # its slope at zero is infinite
    settings = Settings(root, target=None, baselines=0.0, arguments={"n_steps": 3})
    records, rejects = Attributing(settings)(batch(x, None, 3))
    assert [r.id for r in rejects] == [1]
    assert Records.joined(records).ids == [0, 2]


def test_where_nothing_works_the_error_is_raised() -> None:
    many = HOPELESS + 1
    labels = torch.zeros(many, dtype=torch.int64)
    with pytest.raises(ValueError, match="out of range"):
        Attributing(Settings(IntegratedGradients(Picky(-1))))(batch(labels=labels, size=many))
    attributing = Attributing(Settings(IntegratedGradients(Picky(-1))))
    for _ in range(HOPELESS - 1):
        records, rejects = attributing(batch(labels=LABELS[:1], size=1))
        assert (len(records), len(rejects)) == (0, 1)
    with pytest.raises(ValueError, match="out of range"):
        attributing(batch(labels=LABELS[:1], size=1))


def in_words(said: str) -> Callable[..., Exception]:
    return lambda *_: RuntimeError(said)


DEVICES_FAULTS: dict[str, Any] = {
    "MemoryError": MemoryError,
    "torch": torch.OutOfMemoryError,
    "CUDA": in_words("CUDA error: out of memory"),
    "cuBLAS": in_words(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
    "no more work": in_words("CUDA error: an illegal memory access was encountered"),
}


@pytest.mark.parametrize("name", DEVICES_FAULTS)
def test_what_is_no_fault_of_a_sample_is_raised(name: str) -> None:
    error = DEVICES_FAULTS[name]
    with pytest.raises(type(error(""))):
        Attributing(Settings(IntegratedGradients(Picky(0.5, error))))(batch())
    with pytest.raises(NotHomogeneousError):
        Attributing(Settings(XIntegratedGradients(nn.Tanh(), strategy="single_pass")))(batch())


def wrong(**settings: Any) -> Callable[[], Any]:
    method = settings.pop("method", None) or XIntegratedGradients(network())
    given = settings.pop("given", batch())

    def call() -> None:
        attributing = Attributing(Settings(method, **settings))
        for _ in range(HOPELESS):
            attributing(given)

    return call


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no method": (wrong(method=network()), TypeError, "Captum's kind"),
    "target": (wrong(target="labels"), ValueError, "'label', 'predicted' or an index"),
    "no labels": (wrong(given=batch(labels=None)), ValueError, "target='predicted'"),
    "labels": (wrong(given=batch(labels=["a"] * SIZE)), TypeError, "labels must be a tensor"),
    "shape of labels": (wrong(given=batch(labels=LABELS[:3])), TypeError, "found (3,)"),
    "inputs": (wrong(given=batch("text")), TypeError, "found ['str']"),
    "rows": (wrong(given=batch(rows(3))), ValueError, "7 samples"),
    "batch": (wrong(given=Fetched((Batch((0,), {"x": 1}),))), TypeError, "unpack="),
    "no channels": (wrong(reduce=SumChannels()), ValueError, "(B, C, ...)"),
    "training": (
        wrong(method=XIntegratedGradients(nn.Sequential(network(), nn.Dropout()))),
        ValueError,
        "model.eval()",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_settings(name: str) -> None:
    call, kind, said = WRONG[name]
    with pytest.raises(kind) as raised:
        call()
    assert said in str(raised.value)


def test_what_is_given_is_left_as_it_was() -> None:
    net, x = network(), rows(SIZE)
    before = {name: p.clone() for name, p in net.named_parameters()}
    attributed(XIntegratedGradients(net), batch(x))
    assert not x.requires_grad
    assert torch.equal(x, rows(SIZE))
    assert all(
        torch.equal(p, before[name]) and p.grad is None for name, p in net.named_parameters()
    )
