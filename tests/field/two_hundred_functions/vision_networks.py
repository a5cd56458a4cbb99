"""torchvision's networks at small sizes: classification, segmentation, detection, video."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained


def made(name: str, **options: Any) -> nn.Module:
    """A network of torchvision's with ten classes, as it is before a training."""
    from torchvision.models import get_model

    return get_model(name, weights=None, **{"num_classes": 10, **options})


def images(size: int = 32, batch: int = 1) -> Tensor:
    """Standardised images."""
    return torch.randn(batch, 3, size, size)


def classified(
    name: str, *behind: nn.Module, size: int = 32, batch: int = 1, options: Any = None, **call: Any
) -> Explained:
    """A trained network, the fourth class."""
    net = as_trained(made(name, **(options or {})))
    call = {"target": 3, "n_steps": 16, **call}
    return Explained(nn.Sequential(net, *behind) if behind else net, images(size, batch), call)


def fresh(name: str, *behind: nn.Module, **options: Any) -> Explained:
    """A network before any training: no bias is but zero, and batch norms shift nothing."""
    net = nn.Sequential(made(name, **options).eval(), *behind)
    return Explained(net, images(), {"target": 3, "n_steps": 16})


def vision_transformer(**call: Any) -> Explained:
    from torchvision.models import VisionTransformer

    net = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10)
    nn.init.normal_(net.heads.head.weight)
    return Explained(as_trained(net), images(batch=2), {"target": 3, "n_steps": 20, **call})


def small_swin(version: int) -> Explained:
    from torchvision.models import SwinTransformer
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    more = (
        {}
        if version == 1
        else {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
    )
    net = SwinTransformer([4, 4], 12, [2, 2], [2, 4], [4, 4], num_classes=10, **more)
    return Explained(as_trained(net), images(), {"target": 3, "n_steps": 12})


def small_maxvit() -> Explained:
    from torchvision.models import MaxVit

    net = MaxVit((32, 32), 8, 4, [8, 16], [1, 1], 8, 0.0, num_classes=10)
    return Explained(as_trained(net), images(), {"target": 3, "n_steps": 12})


def vgg_features() -> Explained:
    """VGG-11's convolutions and a small classifier of its own."""
    from torchvision.models.vgg import cfgs, make_layers

    features = make_layers(cfgs["A"], batch_norm=False)
    net = nn.Sequential(features, nn.Flatten(), nn.Linear(512, 10))
    return Explained(as_trained(net), images(), {"target": 3, "n_steps": 16})


def segmented(name: str, **call: Any) -> Explained:
    """A class's score over all pixels."""
    options = {"weights_backbone": None, "num_classes": 4}
    net = as_trained(made(name, **options))
    call = {"target": 1, "n_steps": 8, **call}
    return Explained(Apply(lambda x, f: f(x)["out"].sum((2, 3)), net), images(64), call)


def segmented_where_it_wins() -> Explained:
    """As Captum's tutorial: a class's score over the pixels where it is the largest."""
    net = as_trained(made("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=4))

    def compute(x: Tensor, f: Any) -> Tensor:
        found = f(x)["out"]
        won = torch.zeros_like(found).scatter_(1, found.argmax(1, keepdim=True), 1)
        return (found * won).sum((2, 3))

    return Explained(Apply(compute, net), images(64), {"target": 1, "n_steps": 8})


def pyramid() -> Explained:
    """The levels of a feature pyramid on ResNet-18, their means."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    net = as_trained(resnet_fpn_backbone(backbone_name="resnet18", weights=None))
    return Explained(
        Apply(lambda x, f: torch.stack([y.mean((1, 2, 3)) for y in f(x).values()], 1), net),
        images(64),
        {"target": 1, "n_steps": 8},
    )


def proposals() -> Explained:
    """How sure the network of proposals is of its best anchor."""
    from torchvision.models.detection.rpn import RPNHead

    net = as_trained(nn.ModuleList([nn.Conv2d(3, 16, 3, 2), RPNHead(16, 3)]))

    def compute(x: Tensor, f: Any) -> Tensor:
        (scores,), _ = f[1]([f[0](x).relu()])
        return scores.flatten(1).amax(1).sigmoid()

    return Explained(Apply(compute, net), images(batch=2), {"n_steps": 20})


def given_boxes(*, bias: bool) -> Explained:
    """The class of a given box: pooled features, two layers, a predictor."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import roi_align

    box = torch.tensor([[2.0, 2.0, 20.0, 24.0]])
    parts = nn.Conv2d(3, 8, 3, 2, bias=bias), TwoMLPHead(8 * 16, 16), FastRCNNPredictor(16, 5)
    if not bias:
        for layer in (parts[1].fc6, parts[1].fc7):
            layer.register_parameter("bias", None)

    def compute(x: Tensor, body: Any, head: Any, predictor: Any) -> Tensor:
        boxes = [box.to(x.dtype)] * len(x)
        return predictor(head(roi_align(body(x).relu(), boxes, 4, 0.5)))[0]

    return Explained(Apply(compute, *parts).eval(), images(batch=2), {"target": 2, "n_steps": 20})


def retina_head() -> Explained:
    """A class's score over all anchors of a RetinaNet's head."""
    from torchvision.models.detection.retinanet import RetinaNetClassificationHead

    head = RetinaNetClassificationHead(8, 2, 4)
    nn.init.normal_(head.cls_logits.weight, std=0.1)
    return Explained(
        Apply(lambda x, f, g: g([f(x).relu()]).sigmoid().amax(1), nn.Conv2d(3, 8, 3, 4), head),
        images(),
        {"target": 1, "n_steps": 12},
    )


def detected() -> Explained:
    """The sum of the scores that a whole detector gives, one image after the other."""
    options = {"weights_backbone": None, "num_classes": 4, "min_size": 64, "max_size": 64}
    net = as_trained(made("ssdlite320_mobilenet_v3_large", weights_backbone=None, num_classes=4))
    del options

    def compute(x: Tensor, f: Any) -> Tensor:
        return torch.stack([found["scores"][:5].sum() for found in f(list(x))])

    return Explained(Apply(compute, net), torch.rand(1, 3, 64, 64), {"n_steps": 3})


def video(name: str) -> Explained:
    net = as_trained(made(name))
    return Explained(net, torch.randn(1, 3, 4, 32, 32), {"target": 3, "n_steps": 8})


def of_layer(method: str, path: str, *, trained: bool = True, **call: Any) -> Explained:
    """A layer of a ResNet-18."""
    net = made("resnet18")
    net = as_trained(net) if trained else net.eval()
    return Explained(net, images(), {"n_steps": 12, **call}, method, net.get_submodule(path))


def training(name: str, batch: int = 2) -> Explained:
    net = as_trained(made(name)).train()
    return Explained(net, images(batch=batch), {"target": 3, "n_steps": 8})


FUNCTIONS: dict[str, Maker] = {
    "alexnet": lambda: classified("alexnet", size=64),
    "squeezenet, dropout in training mode": lambda: _trains(classified("squeezenet1_1")),
    "VGG-11's convolutions": vgg_features,
    "resnet18": lambda: classified("resnet18"),
    "resnet18, softmax, four images": lambda: classified(
        "resnet18", nn.Softmax(1), batch=4, target=[0, 1, 2, 3]
    ),
    "resnet18, sigmoid, a mean image as baseline": lambda: classified(
        "resnet18", nn.Sigmoid(), baselines=0.2 * torch.ones(1, 3, 32, 32)
    ),
    "resnet18, internal_batch_size": lambda: classified("resnet18", internal_batch_size=4),
    "resnet18, riemann_middle, delta": lambda: classified(
        "resnet18", method="riemann_middle", return_convergence_delta=True
    ),
    "resnet18 in training mode": lambda: training("resnet18"),
    "resnet18 before training": lambda: fresh("resnet18"),
    "resnet18 before training, softmax": lambda: fresh("resnet18", nn.Softmax(1)),
    "resnet18, layer IG of the last stage": lambda: of_layer(
        "LayerIntegratedGradients", "layer4", target=3
    ),
    "resnet18 before training, layer IG of the last stage": lambda: of_layer(
        "LayerIntegratedGradients", "layer4", trained=False, target=3
    ),
    "resnet18, layer conductance": lambda: of_layer("LayerConductance", "layer3", target=3),
    "resnet18, internal influence": lambda: of_layer("InternalInfluence", "layer3", target=3),
    "resnet18, neuron IG": lambda: of_layer(
        "NeuronIntegratedGradients", "layer2", neuron_selector=(5, 1, 1)
    ),
    "resnet18, neuron conductance": lambda: of_layer(
        "NeuronConductance", "layer4", neuron_selector=(7, 0, 0), target=3
    ),
    "resnet50": lambda: classified("resnet50", n_steps=8),
    "resnext50": lambda: classified("resnext50_32x4d", n_steps=8),
    "mobilenet_v2": lambda: classified("mobilenet_v2"),
    "mobilenet_v2 before training": lambda: fresh("mobilenet_v2"),
    "mobilenet_v3_small": lambda: classified("mobilenet_v3_small"),
    "shufflenet_v2": lambda: classified("shufflenet_v2_x0_5"),
    "shufflenet_v2 before training": lambda: fresh("shufflenet_v2_x0_5"),
    "squeezenet": lambda: classified("squeezenet1_1"),
    "squeezenet before training": lambda: fresh("squeezenet1_1"),
    "mnasnet": lambda: classified("mnasnet0_5"),
    "efficientnet_b0": lambda: classified("efficientnet_b0", n_steps=10),
    "regnet_y_400mf": lambda: classified("regnet_y_400mf", n_steps=10),
    "densenet121": lambda: classified("densenet121", n_steps=6),
    "googlenet": lambda: classified(
        "googlenet", options={"init_weights": False, "aux_logits": False}, n_steps=8
    ),
    "inception_v3": lambda: classified(
        "inception_v3", size=80, options={"init_weights": False, "aux_logits": False}, n_steps=4
    ),
    "convnext_tiny": lambda: classified("convnext_tiny", n_steps=8),
    "vision transformer": vision_transformer,
    "vision transformer, softmax of a class for each": lambda: vision_transformer(
        target=torch.tensor([1, 2])
    ),
    "swin transformer": lambda: small_swin(1),
    "swin transformer, version 2": lambda: small_swin(2),
    "maxvit": small_maxvit,
    "fcn_resnet50": lambda: segmented("fcn_resnet50", n_steps=4),
    "deeplabv3_mobilenet_v3_large": lambda: segmented("deeplabv3_mobilenet_v3_large"),
    "lraspp, the pixels where a class wins": segmented_where_it_wins,
    "feature pyramid": pyramid,
    "proposals of regions": proposals,
    "class of a given box": lambda: given_boxes(bias=True),
    "class of a given box without biases": lambda: given_boxes(bias=False),
    "RetinaNet's head": retina_head,
    "ssdlite, the sum of its best scores": detected,
    "r3d_18": lambda: video("r3d_18"),
    "mc3_18": lambda: video("mc3_18"),
    "r2plus1d_18": lambda: video("r2plus1d_18"),
}


def _trains(explained: Explained) -> Explained:
    explained.function.train()
    return explained
