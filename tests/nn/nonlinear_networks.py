"""Networks that are not homogeneous, in float64 and evaluation mode, with biases everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gelu_net() -> nn.Module:
    """Biases, layer norm and softmax; inputs (B, 6), outputs (B, 3)."""
    return _double(
        nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3), nn.Softmax(-1))
    )


def conv_net() -> nn.Module:
    """Batch norm that shifts, sigmoid gates; inputs (B, 2, 5, 5), outputs (B, 3)."""
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.bias)
    return _double(
        nn.Sequential(
            nn.Conv2d(2, 4, 3), norm, nn.SiLU(), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(36, 3)
        )
    )


def transformer() -> nn.Module:
    """Attention; inputs (B, 3, 8) and outputs alike."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return _double(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False))


class TwoInputs(nn.Module):
    """Inputs (B, 6) and (B, 2, 4), and a temperature; outputs (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(4, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor, temperature: float = 1.0) -> Tensor:
        hidden = torch.tanh(self.first(x) + self.second(y).flatten(1))
        return torch.softmax(self.head(hidden) / temperature, -1)


def two_inputs() -> nn.Module:
    return _double(TwoInputs())


class Nested(nn.Module):
    """Scores, hidden values and the winning class, as people return them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, object]:
        hidden = torch.tanh(self.body(x))
        scores = self.head(hidden)
        return {"scores": scores, "hidden": [hidden, (scores.argmax(-1), None)]}


def nested() -> nn.Module:
    return _double(Nested())


EXAMPLES = {
    "rows": (gelu_net, (6,)),
    "images": (conv_net, (2, 5, 5)),
    "sequences": (transformer, (3, 8)),
}
"""A builder and the shape of an input of it, for each kind of input."""


def _double(network: nn.Module) -> nn.Module:
    return network.double().eval()
