"""The same on a CPU and on a CUDA device: gradients at once, passes, routes, layers and neurons, random numbers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import captum.attr
import pytest
import torch
from layer_family import NAMES, arguments_of, chain, method_of, of, rows
from torch import Tensor, nn
from torch.nn import functional

import captum_xdnn
from captum_xdnn import XIntegratedGradients
from captum_xdnn.compare.measuring import peak_bytes
from captum_xdnn.routes import plan, sizes
from captum_xdnn.routes.gradients import gradient_of_each
from captum_xdnn.routes.repeated_head import _attention
from captum_xdnn.routes.sizes import ROOM, Sizes

on_any_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
)


@pytest.fixture
def never_hoisted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", float("inf"))


@pytest.fixture(autouse=True)
def _in_float32() -> Any:
    """No TF32, and kernels that give the same twice."""
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False):
        yield


class Recurrent(nn.Module):
    """Reads rows of six numbers as three pairs."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer, self.head = kind(2, 5, batch_first=True), nn.Linear(5, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.layer(x.unflatten(1, (3, 2)))[0][:, -1]))


class Cells(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.head = kind(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = self.cell(x)
        return torch.as_tensor(self.head(state[0] if isinstance(state, tuple) else state))


class Attention(nn.Module):
    """Rows of six numbers as three tokens of eight, in two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.put_in, self.out = nn.Linear(2, 24, bias=False), nn.Linear(24, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.put_in(x.unflatten(1, (3, 2))).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts)
        return torch.as_tensor(self.out(mixed.transpose(1, 2).flatten(1)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.put_in, self.out = nn.Linear(2, 8), nn.Linear(8, 3)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.out(self.layer(self.put_in(x.unflatten(1, (3, 2)))).mean(1)))


class Sampled(nn.Module):
    """Bilinear samples of an image of 4 x 4, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.put_in, self.out = nn.Linear(6, 16, bias=False), nn.Linear(9, 3, bias=False)
        self.register_buffer("places", torch.rand(1, 3, 3, 2) * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        image = self.put_in(x).relu().unflatten(1, (1, 4, 4))
        places = self.places.expand(len(x), -1, -1, -1)
        return torch.as_tensor(
            self.out(functional.grid_sample(image, places, align_corners=True).flatten(1))
        )


def images(*, bias: bool, end: nn.Module | None = None) -> nn.Sequential:
    """Rows of six numbers as one channel of 2 x 3: convolutions, a batch norm, pools, an upsampling."""
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.running_mean if bias else norm.weight, std=0.5)
    layers: list[nn.Module] = [
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 2, padding=1, bias=bias),
        norm,
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=bias),
        nn.MaxPool2d(2, 2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(4, 2, 2, bias=bias),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3, bias=bias),
    ]
    return nn.Sequential(*layers, *([] if end is None else [end]))


def foreach(x: Tensor) -> Tensor:
    one, two = torch._foreach_mul([x[:, :3], x[:, 3:]], 2.0)
    return torch.maximum(one, two)


NETWORKS: dict[str, tuple[Callable[[], Callable[[Tensor], Tensor]], str]] = {
    "perceptron": (lambda: chain(inplace=False).float(), "single_pass"),
    "images": (lambda: images(bias=False), "single_pass"),
    "images, softmax": (lambda: images(bias=False, end=nn.Softmax(1)), "hoisted"),
    "images, biases": (lambda: nn.Sequential(nn.Tanh(), images(bias=True)), "hoisted"),
    "perceptron, softmax": (lambda: chain(inplace=True, end=nn.Softmax(1)).float(), "hoisted"),
    "group norm": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Linear(8, 3)),
        "captum",
    ),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)), "hoisted"),
    "samples": (Sampled, "single_pass"),
    "attention": (Attention, "hoisted"),
    "encoder": (Encoder, "hoisted"),
    "lstm": (lambda: Recurrent(nn.LSTM), "captum"),
    "gru": (lambda: Recurrent(nn.GRU), "captum"),
    "lstm cell": (lambda: Cells(nn.LSTMCell), "captum"),
    "gru cell": (lambda: Cells(nn.GRUCell), "captum"),
    "foreach": (lambda: foreach, "captum"),
}


def made(name: str, device: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    function, x = NETWORKS[name][0](), rows().to(device, dtype)
    return (function.to(device, dtype).eval() if isinstance(function, nn.Module) else function), x


def gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().sum() / expected.detach().abs().sum())


@on_any_device
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("always_hoisted")
def test_routes_and_numbers(name: str, device: str) -> None:
    """Operations that only a GPU has are proved as those of a CPU are."""
    function, x = made(name, device)
    # cuDNN differentiates recurrent layers only in training mode; these have no dropout.
    function = function.train() if name in ("lstm", "gru") else function
    xig = XIntegratedGradients(function)
    found = xig.attribute(x, target=1)
    assert xig.last_route == NETWORKS[name][1], xig.certificate
    assert gap(found, captum.attr.IntegratedGradients(function).attribute(x, target=1)) < 1e-4


@on_any_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_at_once(name: str, dtype: torch.dtype, device: str) -> None:
    function, x = made(name, device, dtype)
    function = function.train() if name in ("lstm", "gru") else function
    x.requires_grad_()
    outputs = function(x)[:, 1]
    (found,) = gradient_of_each(outputs, (x,), retain_graph=True)
    (expected,) = torch.autograd.grad(torch.unbind(outputs), (x,))
    # Some kernels add up in no fixed order on a GPU.
    loose = 4 * torch.finfo(dtype).eps if device == "cuda" else 0.0
    torch.testing.assert_close(
        found, expected, rtol=loose, atol=loose * float(expected.abs().max())
    )


@on_any_device
@pytest.mark.parametrize(
    "target", [1, [0, 2, 1, 1], [(0,), (2,), (1,), (1,)], torch.tensor([0, 2, 1, 1])], ids=str
)
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.usefixtures("never_hoisted")
def test_captums_route(target: Any, autocast: torch.dtype | None, device: str) -> None:
    net, x = made("layer norm", device)
    target = target.to(device) if isinstance(target, Tensor) else target
    with nullcontext() if autocast is None else torch.autocast(device, autocast):
        expected = captum.attr.IntegratedGradients(net).attribute(x, target=target)
        for _ in range(3):
            found = XIntegratedGradients(net).attribute(x, target=target)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@on_any_device
@pytest.mark.parametrize("share", [2, 5, 12])
@pytest.mark.usefixtures("never_hoisted")
def test_a_bound_of_the_memory(share: int, device: str) -> None:
    """As the allocator counts it."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(64, 512), nn.GELU(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 3)
    ).to(device)
    x, where, call = (
        torch.randn(8, 64, device=device),
        torch.device(device),
        {"target": 1, "n_steps": 64},
    )
    whole = XIntegratedGradients(net)
    expected = whole.attribute(x, **call)
    most = int(peak_bytes(lambda: whole.attribute(x, **call), where)) // share
    bounded = XIntegratedGradients(net, max_memory=most)
    assert gap(bounded.attribute(x, **call), expected) < 1e-5
    assert peak_bytes(lambda: bounded.attribute(x, **call), where) <= 1.2 * most


@on_any_device
@pytest.mark.usefixtures("always_hoisted")
def test_a_bound_of_the_memory_of_a_hoisted_head(device: str) -> None:
    """The trunk runs once, at all rows, whatever the bound; steps go through the head as it allows."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 512), nn.GELU(), nn.Linear(512, 512), nn.Tanh()).to(device)
    net.append(nn.Linear(512, 3, device=device))
    x, where = torch.randn(4, 16, device=device), torch.device(device)
    call: dict[str, Any] = {"target": 1, "n_steps": 64}
    expected = captum.attr.IntegratedGradients(net).attribute(x, **call)
    peaks = []
    for most in (2**24, 2**19):
        xig = XIntegratedGradients(net, max_memory=most)
        assert gap(xig.attribute(x, **call), expected) < 1e-5
        assert xig.last_route == "hoisted"
        peaks.append(peak_bytes(lambda xig=xig: xig.attribute(x, **call), where))
    assert peaks[1] <= 1.2 * 2**19 < peaks[0]


def test_as_much_as_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "mem_get_info": (9000, 80000),
        "memory_reserved": 2000,
        "memory_allocated": 1000,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert Sizes(100).rows(torch.device("cuda"), None) == int(ROOM * 10000) // 100
    assert Sizes(100).rows(torch.device("cuda"), 1200) == 12
    assert Sizes(100).rows(torch.device("meta"), None) is None


@pytest.mark.skipif(not sizes.MEMORY.exists(), reason="Linux says what is free")
def test_as_much_as_is_free_of_a_cpu() -> None:
    host = torch.device("cpu")
    free = sizes.MEMORY.read_text().partition("MemAvailable:")[2].split()
    expected = ROOM * 1024 * int(free[0]) / 100
    assert 0.5 * expected < (Sizes(100).rows(host, None) or 0) < 2 * expected
    assert Sizes(100).rows(host, 1200) == 12


def test_a_prediction_for_a_cpu_is_not_believed_elsewhere() -> None:
    assert plan.is_certain(plan.CERTAIN, torch.device("cpu"))
    assert not plan.is_certain(100 * plan.CERTAIN, torch.device("cuda"))


@on_any_device
@pytest.mark.parametrize("route", ["single_pass", "hoisted", "captum"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("always_hoisted")
def test_layers_and_neurons(name: str, route: str, device: str) -> None:
    torch.manual_seed(0)
    ends = {"single_pass": None, "hoisted": nn.Softmax(1), "captum": nn.Softplus()}
    net = chain(inplace=False, bias=route == "captum", end=ends[route]).to(device)
    case = of(net, lambda m: m[2], rows().to(device), selector=3)
    call = arguments_of(name, case, **({"n_steps": 400} if name.endswith("Conductance") else {}))
    found = method_of(name, case, ours=True).attribute(case.inputs, **call)
    expected = method_of(name, case, ours=False).attribute(case.inputs, **call)
    assert found.device == expected.device
    assert gap(found, expected) < (0.02 if name.endswith("Conductance") else 1e-9)


@on_any_device
@pytest.mark.parametrize("name", ["perceptron", "layer norm"])
def test_in_others(name: str, device: str) -> None:
    net, x = made(name, device)
    results = []
    for method in (XIntegratedGradients(net), captum.attr.IntegratedGradients(net)):
        torch.manual_seed(1)
        tunnel = captum.attr.NoiseTunnel(method)
        results.append(tunnel.attribute(x, target=1, nt_samples=3, stdevs=0.1))
    assert gap(*results) < 1e-4
    theirs = captum.attr.IntegratedGradients(net)
    with captum_xdnn.accelerate_captum():
        found = theirs.attribute(x, target=1)
    assert gap(found, theirs.attribute(x, target=1)) < 1e-4


@on_any_device
def test_random_numbers_are_drawn_as_by_captum(device: str) -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3)).to(device)
    x, results = rows().float().to(device), []
    for kind in (captum.attr.IntegratedGradients, XIntegratedGradients):
        torch.manual_seed(1)
        found = kind(net).attribute(x, target=1)
        results.append((found, torch.rand(5, device=device), torch.rand(5)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


ATTENTIONS: dict[str, tuple[Any, ...]] = {
    "flash_attention": (),
    "flash_attention_for_cpu": (),
    "efficient_attention": (None, True),
    "cudnn_attention": (None, True),
    "fused_attention_overrideable": (None,),
    "attention_math": (None,),
}


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [4, 2])
def test_attention_of_any_device_is_taken_apart(name: str, causal: bool, heads: int) -> None:
    overload = getattr(torch.ops.aten, f"_scaled_dot_product_{name}").default
    query, key, value = (torch.randn(2, n, 3, 8) for n in (4, heads, heads))
    args = (query, key, value, *ATTENTIONS[name], *((0.0, True) if causal else ()))
    found, _ = _attention(args, {"scale": 0.3}, overload._schema)
    expected = functional.scaled_dot_product_attention(
        query, key, value, is_causal=causal, scale=0.3, enable_gqa=heads != 4
    )
    torch.testing.assert_close(found, expected)


@on_any_device
def test_several_threads(device: str) -> None:
    def attribute(name: str) -> tuple[Tensor, Tensor]:
        function, x = nets[name]
        xig, stream = XIntegratedGradients(function), nullcontext()
        if device == "cuda":
            torch.cuda.synchronize()
            stream = torch.cuda.stream(torch.cuda.Stream())  # type: ignore[assignment]
        with stream:
            found = [xig.attribute(x, target=1) for _ in range(5)]
            expected = captum.attr.IntegratedGradients(function).attribute(x, target=1)
        if device == "cuda":
            torch.cuda.synchronize()
        return torch.stack(found), expected

    nets = {name: made(name, device) for name in ("perceptron", "images", "layer norm", "encoder")}
    with ThreadPoolExecutor(4) as pool:
        for found, expected in pool.map(attribute, nets):
            assert all(gap(f, expected) < 1e-4 for f in found)
