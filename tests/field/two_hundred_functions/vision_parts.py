"""Parts of torchvision and ways to use its networks: wrappers, pieces, operations, settings."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained
from .vision_networks import images, made


def convolutional(*, bias: bool = True, width: int = 8) -> nn.Sequential:
    """A small network of the kind that tutorials train on CIFAR."""
    return nn.Sequential(
        nn.Conv2d(3, width, 5, bias=bias), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 5, bias=bias), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(25 * width, 16, bias=bias), nn.ReLU(), nn.Linear(16, 10, bias=bias),
    ).eval()  # fmt: skip


def of_images(compute: Any, *parts: nn.Module, batch: int = 2, **call: Any) -> Explained:
    """A function of images and modules, the fourth of its outputs."""
    return Explained(
        Apply(compute, *parts).eval(), images(batch=batch), {"target": 3, "n_steps": 20, **call}
    )


def small(*, bias: bool = True, inputs: Any = None, **call: Any) -> Explained:
    """The small network as it is."""
    net = convolutional(bias=bias)
    given = images(batch=2) if inputs is None else inputs
    return Explained(net, given, {"target": 3, "n_steps": 20, **call})


def operation(
    name: str, *, channels: int = 8, options: Any = None, train: bool = False
) -> Explained:
    """A layer of torchvision's between a convolution and a classifier."""
    from torchvision import ops

    layer = getattr(ops, name)(**(options or {}))
    net = nn.Sequential(
        nn.Conv2d(3, channels, 3, 2), layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    )
    with torch.no_grad():
        net(images(16))
    net = as_trained(net).train(train)
    return Explained(net, images(16, batch=2), {"target": 3, "n_steps": 20})


def deformed() -> Explained:
    """A deformable convolution, whose offsets another convolution computes."""
    from torchvision.ops import DeformConv2d

    parts = nn.Conv2d(3, 18, 3, padding=1), DeformConv2d(3, 8, 3, padding=1), nn.Linear(8, 5)
    return Explained(
        Apply(lambda x, f, g, h: h(g(x, f(x)).relu().mean((2, 3))), *parts),
        images(16),
        {"target": 3, "n_steps": 10},
    )


def boxes(loss: str) -> Explained:
    """A loss of predicted boxes against boxes that were drawn by hand."""
    from torchvision import ops

    truth = torch.tensor([[0.0, 0, 4, 4], [2, 2, 7, 8], [1, 0, 3, 9]]).to(torch.get_default_dtype())
    net, inputs = nn.Linear(6, 4), torch.randn(3, 6)

    def function(x: Tensor) -> Tensor:
        corner, size = net(x).split(2, 1)
        predicted = torch.cat([corner, corner + F.softplus(size) + 1], 1)
        return getattr(ops, loss)(predicted, truth.to(x.dtype).repeat(len(x) // 3, 1))

    return Explained(function, inputs)


def focal() -> Explained:
    from torchvision.ops import sigmoid_focal_loss

    wanted = torch.rand(1, 10) > 0.7
    return Explained(
        Apply(
            lambda x, f: sigmoid_focal_loss(f(x), wanted.to(x.dtype).expand(len(x), -1)).sum(1),
            convolutional(),
        ),
        images(batch=2),
        {"n_steps": 20},
    )


def extracted(*, trained: bool) -> Explained:
    """A layer in the middle by torchvision's extractor, averaged."""
    from torchvision.models.feature_extraction import create_feature_extractor

    net = made("resnet18")
    net = as_trained(net) if trained else net.eval()
    net = create_feature_extractor(net, {"layer2": "kept"})
    return Explained(
        Apply(lambda x, f: f(x)["kept"].mean((2, 3)), net), images(), {"target": 3, "n_steps": 12}
    )


def quantisable(name: str) -> Explained:
    """The network that is made to be quantised, in floating point."""
    from torchvision.models import quantization

    net = as_trained(getattr(quantization, name)(weights=None, quantize=False, num_classes=10))
    return Explained(net, images(), {"target": 3, "n_steps": 10})


def converted(*behind: nn.Module) -> Explained:
    """A ResNet-18 by ``to_xdnn``."""
    import warnings

    from captum_xdnn.convert import to_xdnn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has to be trained
        net, _ = to_xdnn(made("resnet18"))
    return Explained(nn.Sequential(net, *behind).eval(), images(), {"target": 3, "n_steps": 16})


def unbiased_alexnet(*behind: nn.Module) -> Explained:
    from captum_xdnn.models import x_alexnet

    net = nn.Sequential(x_alexnet(num_classes=10), *behind).eval()
    return Explained(net, images(64), {"target": 3, "n_steps": 8})


def fixup_resnet() -> Explained:
    from captum_xdnn.models import x_resnet18

    return Explained(as_trained(x_resnet18(num_classes=10)), images(), {"target": 3, "n_steps": 12})


def similar() -> Explained:
    """The cosine of two images' features, both explained."""
    net = as_trained(made("shufflenet_v2_x0_5", num_classes=16))
    compute = lambda a, b, f: F.cosine_similarity(f(a), f(b))  # noqa: E731
    return Explained(Apply(compute, net), (images(batch=2), images(batch=2)), {"n_steps": 10})


def per_class() -> Explained:
    """One explanation for each of four classes: the image repeated."""
    net = as_trained(made("squeezenet1_1"))
    return Explained(net, images().expand(4, -1, -1, -1), {"target": [0, 1, 2, 3], "n_steps": 12})


def pruned() -> Explained:
    """Half of a convolution's weights pruned, the mask applied before each pass."""
    from torch.nn.utils import prune

    net = convolutional(bias=False)
    prune.l1_unstructured(net[0], "weight", 0.5)
    return Explained(net, images(batch=2), {"target": 3, "n_steps": 20})


def augmented(x: Tensor, net: Any) -> Tensor:
    """The mean over four flips of an image."""
    views = [x, x.flip(3), x.flip(2), x.flip(2, 3)]
    return torch.stack([net(v) for v in views]).mean(0)


def normalised(x: Tensor, net: Any) -> Tensor:
    """Bytes' range and the data's statistics inside."""
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=x.dtype)[:, None, None]
    spread = torch.tensor([0.229, 0.224, 0.225], dtype=x.dtype)[:, None, None]
    return net((x / 255 - mean) / spread)


def photographed(*, bias: bool) -> Explained:
    """Images in bytes' range, normalised inside."""
    explained = of_images(normalised, convolutional(bias=bias))
    explained.inputs = 255 * torch.rand(2, 3, 32, 32)
    return explained


def occluded(x: Tensor, net: Any) -> Tensor:
    """A box of the image counts."""
    mask = torch.zeros(32, 32, dtype=x.dtype)
    mask[8:24, 8:24] = 1
    return net(x * mask)


def upsampled(x: Tensor, net: Any) -> Tensor:
    return net(F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False))


def cropped(x: Tensor, net: Any) -> Tensor:
    """A crop by grid_sample about the centre."""
    grid = F.affine_grid(
        torch.eye(2, 3, dtype=x.dtype)[None] * 0.8, (1, 3, 32, 32), align_corners=False
    )
    return net(F.grid_sample(x, grid.expand(len(x), -1, -1, -1), align_corners=False))


def without_mean(x: Tensor, net: Any) -> Tensor:
    """Grey values, centred image by image."""
    grey = x.mean(1, keepdim=True)
    return net((grey - grey.mean((2, 3), keepdim=True)).expand(-1, 3, -1, -1))


def of_layer(method: str, index: int, *, bias: bool = False, **call: Any) -> Explained:
    net = convolutional(bias=bias)
    return Explained(net, images(batch=2), {"n_steps": 20, **call}, method, net[index])


def parallel(*, bias: bool) -> Explained:
    return Explained(
        nn.DataParallel(convolutional(bias=bias)), images(batch=2), {"target": 3, "n_steps": 20}
    )


def called(*, bias: bool) -> Explained:
    """A network called with its parameters as a dictionary."""
    net = convolutional(bias=bias)
    parameters = {name: 0.9 * p.detach() for name, p in net.named_parameters()}
    function = lambda x: torch.func.functional_call(net, parameters, (x,))  # noqa: E731
    return Explained(function, images(batch=2), {"target": 3, "n_steps": 20})


def dense(name: str) -> Explained:
    """A DenseNet's or Inception's block without biases: concatenations."""

    def compute(x: Tensor, *parts: Any) -> Tensor:
        h = [parts[0](x).relu()]
        for part in parts[1:-1]:
            h.append(part(torch.cat(h, 1) if name == "dense" else h[0]).relu())
        return parts[-1](torch.cat(h, 1).amax((2, 3)))

    widths = (4, 8, 12) if name == "dense" else (4, 4, 4)
    layers = [nn.Conv2d(w, 4, 3, padding=1, bias=False) for w in widths]
    return of_images(compute, nn.Conv2d(3, 4, 3, bias=False), *layers, nn.Linear(16, 5, bias=False))


def squeezed(*, scale: bool) -> Explained:
    """Channels scaled by what their means say: by a sigmoid, or by ReLUs alone (degree two)."""

    def compute(x: Tensor, f: Any, g: Any, last: Any) -> Tensor:
        h = f(x).relu()
        gate = g(h.mean((2, 3)))
        gate = gate.sigmoid() if scale else gate.relu()
        return last((h * gate[:, :, None, None]).flatten(1))

    parts = (
        nn.Conv2d(3, 4, 5, 3, bias=False),
        nn.Linear(4, 4, bias=False),
        nn.LazyLinear(5, bias=False),
    )
    explained = of_images(compute, *parts)
    with torch.no_grad():
        explained.function(explained.inputs)
    return explained


FUNCTIONS: dict[str, Maker] = {
    "small CNN": small,
    "small CNN without biases": lambda: small(bias=False),
    "small CNN without biases, channels last": lambda: small(
        bias=False, inputs=images(batch=2).contiguous(memory_format=torch.channels_last)
    ),
    "small CNN without biases, images of zeros among them": lambda: small(
        bias=False, inputs=torch.cat([images(), torch.zeros(1, 3, 32, 32)])
    ),
    "small CNN without biases, internal_batch_size": lambda: small(
        bias=False, inputs=images(batch=5), internal_batch_size=2
    ),
    "small CNN, one image after the other": lambda: small(internal_batch_size=1, inputs=images()),
    "mean over flips": lambda: of_images(augmented, convolutional()),
    "mean over flips without biases": lambda: of_images(augmented, convolutional(bias=False)),
    "statistics of the data inside": lambda: photographed(bias=False),
    "a box of the image": lambda: of_images(occluded, convolutional(bias=False)),
    "enlarged image": lambda: of_images(upsampled, convolutional(bias=False)),
    "resampled image": lambda: of_images(cropped, convolutional(bias=False)),
    "centred grey values": lambda: of_images(without_mean, convolutional(bias=False)),
    "DataParallel": lambda: parallel(bias=True),
    "DataParallel without biases": lambda: parallel(bias=False),
    "parameters as a dictionary": lambda: called(bias=True),
    "parameters as a dictionary without biases": lambda: called(bias=False),
    "pruned weights": pruned,
    "dense block without biases": lambda: dense("dense"),
    "inception block without biases": lambda: dense("inception"),
    "squeeze and excitation without biases": lambda: squeezed(scale=True),
    "squeeze and excitation by ReLUs": lambda: squeezed(scale=False),
    "torchvision's squeeze and excitation": lambda: operation(
        "SqueezeExcitation", options={"input_channels": 8, "squeeze_channels": 2}
    ),
    "torchvision's convolution with norm": lambda: operation(
        "Conv2dNormActivation", options={"in_channels": 8, "out_channels": 8}
    ),
    "torchvision's frozen batch norm": lambda: operation(
        "FrozenBatchNorm2d", options={"num_features": 8}
    ),
    "stochastic depth in training mode": lambda: operation(
        "StochasticDepth", options={"p": 0.3, "mode": "row"}, train=True
    ),
    "dropped blocks in training mode": lambda: operation(
        "DropBlock2d", options={"p": 0.3, "block_size": 3}, train=True
    ),
    "deformable convolution": deformed,
    "generalised overlap of boxes": lambda: boxes("generalized_box_iou_loss"),
    "complete overlap of boxes": lambda: boxes("complete_box_iou_loss"),
    "focal loss": focal,
    "feature extractor": lambda: extracted(trained=True),
    "feature extractor before training": lambda: extracted(trained=False),
    "quantisable resnet18": lambda: quantisable("resnet18"),
    "quantisable mobilenet_v2": lambda: quantisable("mobilenet_v2"),
    "resnet18 by to_xdnn": converted,
    "resnet18 by to_xdnn, softmax": lambda: converted(nn.Softmax(1)),
    "alexnet without biases": unbiased_alexnet,
    "alexnet without biases, softmax": lambda: unbiased_alexnet(nn.Softmax(1)),
    "Fixup resnet18": fixup_resnet,
    "cosine of two images' features": similar,
    "an explanation for each of four classes": per_class,
    "layer IG of a pooling": lambda: of_layer("LayerIntegratedGradients", 5, target=3),
    "layer IG of a pooling, biases": lambda: of_layer(
        "LayerIntegratedGradients", 5, bias=True, target=3
    ),
    "layer conductance of a pooling": lambda: of_layer("LayerConductance", 5, target=3),
    "neuron IG of a convolution": lambda: of_layer(
        "NeuronIntegratedGradients", 3, neuron_selector=(2, 4, 4)
    ),
    "neuron conductance of a convolution": lambda: of_layer(
        "NeuronConductance", 3, neuron_selector=(2, 4, 4), target=3
    ),
    "internal influence of a convolution": lambda: of_layer("InternalInfluence", 3, target=3),
}
