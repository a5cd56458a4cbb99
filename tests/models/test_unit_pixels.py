import numpy as np
import pytest
import torch
from PIL import Image

from captum_xdnn.models import X_CNN_Small_Weights
from captum_xdnn.models.x_cnn_small import UnitPixels

GREYS = torch.arange(28 * 28).remainder(256).to(torch.uint8).reshape(28, 28)


@pytest.mark.parametrize(
    "image",
    [GREYS, GREYS[None], GREYS.numpy(), Image.fromarray(GREYS.numpy())],
    ids=["tensor", "with channel", "array", "PIL"],
)
def test_one_image(image: object) -> None:
    torch.testing.assert_close(UnitPixels()(image), GREYS[None].float() / 255)


def test_batch() -> None:
    batch = GREYS.expand(3, 1, 28, 28)
    torch.testing.assert_close(UnitPixels()(batch), batch.float() / 255)


def test_black_stays_zero() -> None:
    assert not UnitPixels()(torch.zeros(28, 28, dtype=torch.uint8)).any()


def test_the_weights_name_it() -> None:
    assert isinstance(X_CNN_Small_Weights.DEFAULT.transforms(), UnitPixels)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(28, 28), "dtype uint8 in 0 ... 255, got dtype torch.float32"),
        (torch.zeros(32, 32, dtype=torch.uint8), r"got \(1, 32, 32\)"),
        (np.zeros((28, 28, 3), dtype=np.uint8), r"got \(28, 28, 3\)"),
        (torch.zeros(28, dtype=torch.uint8), r"got \(28,\)"),
    ],
)
def test_other_images_are_refused(image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnitPixels()(image)
