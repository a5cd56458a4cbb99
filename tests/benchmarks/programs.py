"""Programs of a user's that explain with one class: its first calls, timed in a fresh process.

python -m tests.benchmarks.programs NAME captum|ours    # prints seconds of the processor, in JSON
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients, accelerate_captum

from .cases import perceptron, torchvisions, under
from .networks import x_resnet50

Explain = Callable[[type[IntegratedGradients]], None]
"""What is timed: a program that explains with a class."""


def _one(model: nn.Module, inputs: Tensor, **given: Any) -> Explain:
    def explain(kind: type[IntegratedGradients]) -> None:
        kind(model.eval()).attribute(inputs, target=1, **given)

    return explain


def _last_block(model: Any, layer: str, inputs: Tensor) -> Explain:
    """By the class for layers: Captum's or ours, as the one that is given."""

    def explain(kind: type[IntegratedGradients]) -> None:
        ours = kind is XIntegratedGradients
        by_layer = XLayerIntegratedGradients if ours else LayerIntegratedGradients
        by_layer(model.eval(), model.get_submodule(layer)).attribute(inputs, target=1)

    return explain


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on its last state."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer, self.head = kind(8, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(x)
        return torch.as_tensor(self.head(states[:, -1]))


class Text(nn.Module):
    """Convolutions over embeddings ``(B, T, 64)``, and a maximum over the text."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(64, 50, width, padding=2) for width in (3, 4, 5))
        self.head = nn.Linear(150, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = [layer(x.transpose(1, 2)).relu().amax(2) for layer in self.layers]
        return torch.as_tensor(self.head(torch.cat(found, 1)))


class Graph(nn.Module):
    """Two rounds of messages along edges."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            sent = layer(x)
            x = torch.zeros_like(sent).index_add(0, edges[1], sent[edges[0]]).relu()
        return x.mean(0, keepdim=True)


class Wrapper(nn.Module):
    """A model of the user's around another, made anew for each call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.model(x))


class Embedded(nn.Module):
    """BERT of six layers and 256 features, from embeddings to classes."""

    def __init__(self) -> None:
        super().__init__()
        import transformers

        config = transformers.BertConfig(
            hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=1024
        )
        self.model = transformers.BertForSequenceClassification(config)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.model(inputs_embeds=x).logits)


def _small_cnn() -> nn.Module:
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def _texts() -> Explain:
    model, texts = Text(), [torch.randn(1, length, 64) for length in range(10, 50, 2)]

    def explain(kind: type[IntegratedGradients]) -> None:
        method = kind(model)
        for text in texts:
            method.attribute(text, target=1)

    return explain


def _images() -> Explain:
    model, images = _small_cnn(), [torch.rand(1, 3, 40 + 4 * i, 48) for i in range(12)]

    def explain(kind: type[IntegratedGradients]) -> None:
        method = kind(model)
        for image in images:
            method.attribute(image, target=1)

    return explain


def _boxes() -> Explain:
    model, image = _small_cnn(), torch.rand(1, 3, 64, 64)

    def explain(kind: type[IntegratedGradients]) -> None:
        for box in range(10):
            kind(lambda x, box=box: model(x)[:, box]).attribute(image)

    return explain


def _heads() -> Explain:
    model, x = perceptron(64, 256, 256, 10), torch.rand(4, 64)

    def explain(kind: type[IntegratedGradients]) -> None:
        method = kind(lambda x, head: model(x)[:, head])
        for head in range(10):
            method.attribute(x, additional_forward_args=head)

    return explain


def _wrappers() -> Explain:
    model, image = _small_cnn(), torch.rand(1, 3, 64, 64)

    def explain(kind: type[IntegratedGradients]) -> None:
        for _ in range(12):
            kind(Wrapper(model)).attribute(image, target=1)

    return explain


def _graphs() -> Explain:
    model = Graph()
    graphs = [(torch.rand(n, 16), torch.randint(n, (2, 4 * n))) for n in range(20, 40)]

    def explain(kind: type[IntegratedGradients]) -> None:
        for x, edges in graphs:  # a graph is one example, whose nodes are its features
            method = kind(lambda x, edges: model(x[0], edges))
            method.attribute(
                x[None], target=1, additional_forward_args=edges, internal_batch_size=1
            )

    return explain


def _explainer() -> Explain:
    from torch_geometric.explain import CaptumExplainer, Explainer
    from torch_geometric.nn import GCNConv

    class Convolutions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = GCNConv(16, 32), GCNConv(32, 3)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            return torch.as_tensor(self.second(self.first(x, edges).relu(), edges))

    model, x, edges = Convolutions(), torch.rand(60, 16), torch.randint(60, (2, 240))
    settings = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}

    def explain(kind: type[IntegratedGradients]) -> None:
        if kind is XIntegratedGradients:
            accelerate_captum()
        explainer = Explainer(
            model,
            algorithm=CaptumExplainer("IntegratedGradients"),
            explanation_type="model",
            model_config=settings,
            node_mask_type="attributes",
        )
        for node in range(12):
            explainer(x, edges, index=node)

    return explain


def _picture() -> Tensor:
    return torch.rand(1, 3, 224, 224)


FIRST: dict[str, Callable[[], Explain]] = {
    "MLP 30-512-512-10, batch 64": lambda: _one(perceptron(30, 512, 512, 10), torch.rand(64, 30)),
    "a small CNN at 64": lambda: _one(_small_cnn(), torch.rand(4, 3, 64, 64)),
    "torchvision resnet50 at 224": lambda: _one(torchvisions("resnet50")(), _picture()),
    "torchvision densenet121 at 224": lambda: _one(torchvisions("densenet121")(), _picture()),
    "torchvision mobilenet_v3_large at 224": lambda: _one(
        torchvisions("mobilenet_v3_large")(), _picture()
    ),
    "torchvision vit_b_16 at 224": lambda: _one(torchvision.models.vit_b_16(), _picture()),
    "LSTM, 365 steps": lambda: _one(Recurrent(nn.LSTM), torch.rand(8, 365, 8)),
    "GRU, 365 steps": lambda: _one(Recurrent(nn.GRU), torch.rand(8, 365, 8)),
    "a text CNN": lambda: _one(Text(), torch.randn(4, 40, 64)),
    "BERT from a configuration, 64 tokens": lambda: _one(Embedded(), torch.randn(1, 64, 256)),
}
PROVED: dict[str, Callable[[], Explain]] = {
    "X-DNN: MLP 100-128-10, batch 8": lambda: _one(
        perceptron(100, 128, 10, bias=False), torch.rand(8, 100)
    ),
    "X-DNN: ResNet-50-sized at 224": lambda: _one(x_resnet50(), _picture()),
    "softmax on the same": lambda: _one(under(x_resnet50, nn.Softmax(-1))(), _picture()),
    "the last block of torchvision resnet50 at 224": lambda: _last_block(
        torchvisions("resnet50")(), "layer4", _picture()
    ),
}
SERIES: dict[str, Callable[[], Explain]] = {
    "texts of 20 lengths": _texts,
    "images of 12 sizes": _images,
    "a lambda for each of 10 boxes": _boxes,
    "a head index as Python number": _heads,
    "a new wrapper in each of 12 calls": _wrappers,
    "20 graphs": _graphs,
    "PyG's explainer, 12 nodes": _explainer,
}
NEEDS = {
    "BERT from a configuration, 64 tokens": "transformers",
    "PyG's explainer, 12 nodes": "torch_geometric",
}


def main(name: str, kind: str) -> None:
    """Print how long the program takes, in seconds of the processor; imports come before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    explain = {**FIRST, **PROVED, **SERIES}[name]()
    start = time.process_time()
    explain(IntegratedGradients if kind == "captum" else XIntegratedGradients)
    print(json.dumps(time.process_time() - start))


if __name__ == "__main__":
    main(*sys.argv[1:])
