"""The networks that are measured: X-DNNs of the size of AlexNet and ResNet-50, and small ones."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from captum_xdnn.convert import to_xdnn


def without_biases(model: nn.Module) -> nn.Module:
    """The model with the bias of every convolution and linear layer taken away, in eval mode."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_parameter("bias", None)
    return model.eval()


def x_alexnet() -> nn.Module:
    """AlexNet without biases: 61,090,496 parameters, as in Hesse et al. 2021."""
    return without_biases(torchvision.models.alexnet())


class _NoNorm(nn.Identity):
    """In place of a batch norm: keeps no parameters and no statistics."""


def x_resnet50() -> nn.Module:
    """ResNet-50 without batch norm and biases: 25,502,912 parameters, as in Hesse et al. 2021.

    The last convolution of each branch is scaled down, so that fifty layers neither vanish nor
    explode at random weights; speed does not depend on the weights.
    """
    model = torchvision.models.resnet50(norm_layer=_NoNorm)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("conv3.weight"):
                parameter.mul_(0.25)
    return without_biases(model)


def x_densenet121() -> nn.Module:
    """DenseNet-121 as `to_xdnn` makes it: no biases, uncentred batch norms."""
    model = torchvision.models.densenet121().eval()
    return to_xdnn(model, inputs=torch.randn(1, 3, 64, 64), inplace=True)[0]


def mlp(*, bias: bool) -> nn.Module:
    """Two linear layers, 100-128-10."""
    return nn.Sequential(nn.Linear(100, 128, bias=bias), nn.ReLU(), nn.Linear(128, 10, bias=bias))
