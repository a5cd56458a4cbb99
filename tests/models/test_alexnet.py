import pytest
import torch
from torch import nn

from captum_xdnn import certify
from captum_xdnn.models import X_AlexNet_Weights, XAlexNet, x_alexnet

KEYS = [f"features.{i}.weight" for i in (0, 3, 6, 8, 10)]
KEYS += [f"classifier.{i}.weight" for i in (1, 4, 6)]


def test_the_keys_and_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        model = x_alexnet()
    assert list(model.state_dict()) == KEYS
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_090_496


@pytest.mark.parametrize("weights", list(X_AlexNet_Weights))
def test_the_weights_state_the_number_of_parameters(weights: X_AlexNet_Weights) -> None:
    with torch.device("meta"):
        model = x_alexnet(bias=weights.meta["bias"])
    stated = weights.meta["num_params"]
    assert sum(parameter.numel() for parameter in model.parameters()) == stated


def test_with_biases_it_is_torchvisions() -> None:
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.alexnet().eval()
    with torch.device("meta"):
        ours = x_alexnet(bias=True).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    x = torch.rand(2, 3, 64, 80)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


def test_classes_and_dropout() -> None:
    with torch.device("meta"):
        model = x_alexnet(num_classes=7, dropout=0.25)
        assert model(torch.empty(5, 3, 224, 224)).shape == (5, 7)
    assert type(model) is XAlexNet
    assert model.training
    assert {layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)} == {0.25}


@pytest.mark.parametrize("size", [63, 64, 100])
def test_small_images(size: int) -> None:
    with torch.device("meta"):
        assert x_alexnet()(torch.empty(1, 3, size, size)).shape == (1, 1000)


def test_what_a_layer_returned_is_not_overwritten() -> None:
    with torch.device("meta"):
        model = x_alexnet()
    assert not any(layer.inplace for layer in model.modules() if isinstance(layer, nn.ReLU))


def test_nonnegatively_homogeneous() -> None:
    model = x_alexnet(num_classes=5).eval().double()
    x = torch.randn(2, 3, 63, 63, dtype=torch.float64)
    with torch.no_grad():
        for a in (0.0, 1e-3, 0.5, 7.0):
            torch.testing.assert_close(model(a * x), a * model(x))


def test_certified_without_biases_only() -> None:
    x = torch.zeros(1, 3, 63, 63)
    certificate = certify(x_alexnet().eval(), x)
    assert certificate.homogeneous
    assert certificate.degree == 1
    refused = certify(x_alexnet(bias=True).eval(), x)
    assert not refused.homogeneous
    assert len(refused.blockers) >= 2
