"""Functions of torch that run as one operation: what the watch looks at on the way is none of the run's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from captum_xdnn import XIntegratedGradients


@contextmanager
def company() -> Iterator[None]:
    """Another thread, which sleeps: as in every notebook and server."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Several(nn.Module):
    """Recurrent layers side by side, one after the other, under a layer of no rows' own."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.stack([layer(x)[0][:, -1] for layer in self.layers]).sum(0))


class Stacked(Several):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)[0]
        return self.head(x[:, -1])


class Padded(Several):
    """Two circular paddings between recurrent layers."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = pad(layer(x)[0].movedim(1, 2), (1, 2), mode="circular").movedim(1, 2)
        return self.head(x[:, -1])


def layers(width: int = 5) -> list[nn.Module]:
    return [
        nn.GRU(width, 3, batch_first=True),
        nn.LSTM(width, 3, batch_first=True),
        nn.RNN(width, 3, batch_first=True),
    ]


def as_captum(net: nn.Module, x: Tensor) -> None:
    for _ in range(4):
        expected = IntegratedGradients(net).attribute(x, target=1, n_steps=7)
        found = XIntegratedGradients(net).attribute(x, target=1, n_steps=7)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("kind", [Several, Stacked, Padded])
def test_recurrent_layers_beside_a_thread(kind: type[Several], alone: bool, rows: int) -> None:
    several = layers() if kind is Several else [layers(5)[0], layers(3)[1], layers(3)[2]]
    net = kind(*several).double().eval()
    x = torch.randn(rows, 4, 5, dtype=torch.float64)
    if alone:
        as_captum(net, x)
    else:
        with company():
            as_captum(net, x)


class Tries(nn.Module):
    """Falls back where a function of torch does not take what it is given."""

    def __init__(self, layer: nn.RNNBase, part: str) -> None:
        super().__init__()
        self.layer, self.part, self.head = layer, part, nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        try:
            if self.part == "layer":
                state, weights = x.new_zeros(1, 2, 4), self.layer._flat_weights  # of another size
                x = x + torch.gru(x, state, weights, True, 1, 0.0, False, False, True)[0].sum()
            elif self.part == "pad":
                x = pad(x, (40, 40), mode="circular")
            else:
                x = x + one_hot(torch.full((5,), 9), 5)
        except (RuntimeError, ValueError):
            pass
        return self.head(x * self.layer.weight_ih_l0.sum()).sum(1)


@pytest.mark.parametrize("part", ["layer", "pad", "one_hot"])
@pytest.mark.parametrize("alone", [True, False])
def test_one_that_raises(part: str, alone: bool) -> None:
    """The tensors that it was given are numbered where a later run finds them."""
    net = Tries(nn.GRU(5, 3, batch_first=True), part).double().eval()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    if alone:
        as_captum(net, x)
    else:
        with company():
            as_captum(net, x)
