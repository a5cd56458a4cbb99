"""AlexNet without biases, and with them."""

from functools import partial

import torch
from torch import Tensor, nn

from captum_xdnn.models.builders import build, described
from captum_xdnn.models.pretrained import OfficialWeights, XWeightsEnum, official_url


class XAlexNet(nn.Module):
    """Five convolutions, three max-poolings and three linear layers, as in torchvision.

    Without biases every layer satisfies ``f(a x) = a f(x)`` for ``a >= 0``, hence so does the
    network in evaluation mode. With biases its state dicts are those of
    ``torchvision.models.alexnet``.

    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks";
    without biases Hesse et al. 2021, "Fast Axiomatic Attribution for Neural Networks", Sec. 4.1.

    Args:
        bias: Whether the convolutions and the linear layers have biases.
        num_classes: Number of logits.
        dropout: Probability with which dropout zeroes an input of the first two linear layers.

    Example:
        >>> model = XAlexNet(num_classes=10).eval()
        >>> x = torch.rand(1, 3, 63, 63)
        >>> torch.testing.assert_close(model(2 * x), 2 * model(x))
    """

    def __init__(
        self, *, bias: bool = False, num_classes: int = 1000, dropout: float = 0.5
    ) -> None:
        super().__init__()
        # Not in place, unlike torchvision's: Captum's layer methods read what a layer returned.
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096, bias=bias),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096, bias=bias),
            nn.ReLU(),
            nn.Linear(4096, num_classes, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of normalised images ``(N, 3, H, W)``, ``H, W >= 63``."""
        pooled = self.avgpool(self.features(x))
        logits: Tensor = self.classifier(torch.flatten(pooled, 1))
        return logits


class X_AlexNet_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_alexnet`` that the authors of the paper published.

    ``IMAGENET1K_V1`` is the X-DNN, ``IMAGENET1K_V1_BIAS`` the network with biases that they trained
    in the same way. The accuracies in ``meta["_metrics"]`` are the authors'.

    Example:
        >>> X_AlexNet_Weights.IMAGENET1K_V1.meta["num_params"]
        61090496
    """

    IMAGENET1K_V1 = OfficialWeights(
        official_url("xalexnet"), bias=False, num_params=61_090_496, acc5=78.54, min_size=(63, 63)
    )
    IMAGENET1K_V1_BIAS = OfficialWeights(
        official_url("alexnet"), bias=True, num_params=61_100_840, acc5=79.21, min_size=(63, 63)
    )
    DEFAULT = IMAGENET1K_V1


@described(params=61_090_496)
def x_alexnet(
    *,
    weights: X_AlexNet_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> XAlexNet:
    """Build X-AlexNet, or with ``bias=True`` the ordinary AlexNet."""
    network = partial(XAlexNet, dropout=dropout)
    chosen = X_AlexNet_Weights.verify(weights)
    return build(network, chosen, progress=progress, bias=bias, num_classes=num_classes)
