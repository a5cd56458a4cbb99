"""Nested tensors within a function: their lengths are symbols, which nobody can add up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients, certify

torch.manual_seed(0)
LINEAR = nn.Linear(4, 4).double()
WIDE = nn.Sequential(
    *(nn.Linear(4, 256, bias=False), nn.ReLU(), nn.Linear(256, 256, bias=False)),
    *(nn.ReLU(), nn.Linear(256, 4, bias=False)),
).double()


def jagged(x: Tensor) -> Tensor:
    return torch.nested.as_nested_tensor(list(x), layout=torch.jagged)


def padded(x: Tensor) -> Tensor:
    return x.to_padded_tensor(0.0).sum(1)


def attention(x: Tensor) -> Tensor:
    q = jagged(x).unflatten(-1, (2, 2)).transpose(1, 2)
    return padded(scaled_dot_product_attention(q, q, q).transpose(1, 2)).flatten(1)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: padded(LINEAR(jagged(x))),
    "behind a trunk": lambda x: padded(torch.softmax(jagged(WIDE(x)), -1)),
    "before a trunk": lambda x: torch.tanh(WIDE(padded(LINEAR(jagged(x))))),
    "attention": attention,
    "strided": lambda x: padded(torch.nested.as_nested_tensor([LINEAR(r) for r in x])),
}


@pytest.mark.filterwarnings("ignore:.*nested tensors")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("size", [1, 3])
def test_functions_of_nested_tensors(name: str, size: int) -> None:
    function, x = FUNCTIONS[name], torch.rand(size, 3, 4, dtype=torch.float64)
    expected = IntegratedGradients(function).attribute(x, target=0)
    xig = XIntegratedGradients(function)
    for _ in range(3):
        torch.testing.assert_close(xig.attribute(x, target=0), expected)
    certificate = certify(function, x)
    assert not certificate.homogeneous
    assert str(certificate)
    assert certificate.speed_up >= 1


class Sentences(nn.Module):
    """Lengths of sentences as a jagged tensor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.score = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        rows = zip(self.words(words), lengths, strict=True)
        nested = torch.nested.as_nested_tensor([r[: int(n)] for r, n in rows], layout=torch.jagged)
        return padded(torch.relu(self.score(nested)))


@pytest.mark.parametrize("size", [1, 3])
def test_a_layer_before_nested_tensors(size: int) -> None:
    net, words = Sentences(), torch.randint(0, 9, (size, 5))
    methods = [
        kind(net, net.words) for kind in (LayerIntegratedGradients, XLayerIntegratedGradients)
    ]
    for _ in range(3):
        theirs, ours = (
            m.attribute(
                words, target=1, additional_forward_args=(torch.arange(3, 3 + size) % 5 + 1,)
            )
            for m in methods
        )
        torch.testing.assert_close(ours, theirs)
