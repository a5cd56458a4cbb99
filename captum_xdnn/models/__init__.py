"""Networks without biases, built as torchvision builds them, and weights to try them.

Where torchvision is installed, ``torchvision.models.get_model`` and its relatives know them.
"""

from captum_xdnn.models.alexnet import X_AlexNet_Weights, XAlexNet, x_alexnet
from captum_xdnn.models.checkpoints import CheckpointFacts, load_checkpoint
from captum_xdnn.models.resnet import (
    X_ResNet18_Weights,
    X_ResNet34_Weights,
    X_ResNet50_Weights,
    X_ResNet101_Weights,
    X_ResNet152_Weights,
    XResNet,
    x_resnet18,
    x_resnet34,
    x_resnet50,
    x_resnet101,
    x_resnet152,
)
from captum_xdnn.models.torchvision_registry import register
from captum_xdnn.models.vgg import (
    XVGG,
    X_VGG11_Weights,
    X_VGG13_Weights,
    X_VGG16_Weights,
    X_VGG19_Weights,
    x_vgg11,
    x_vgg13,
    x_vgg16,
    x_vgg19,
)
from captum_xdnn.models.x_cnn_small import X_CNN_Small_Weights, XCNNSmall, x_cnn_small

__all__ = [
    "XVGG",
    "CheckpointFacts",
    "XAlexNet",
    "XCNNSmall",
    "XResNet",
    "X_AlexNet_Weights",
    "X_CNN_Small_Weights",
    "X_ResNet18_Weights",
    "X_ResNet34_Weights",
    "X_ResNet50_Weights",
    "X_ResNet101_Weights",
    "X_ResNet152_Weights",
    "X_VGG11_Weights",
    "X_VGG13_Weights",
    "X_VGG16_Weights",
    "X_VGG19_Weights",
    "load_checkpoint",
    "x_alexnet",
    "x_cnn_small",
    "x_resnet18",
    "x_resnet34",
    "x_resnet50",
    "x_resnet101",
    "x_resnet152",
    "x_vgg11",
    "x_vgg13",
    "x_vgg16",
    "x_vgg19",
]

register({name: globals()[name] for name in __all__})
