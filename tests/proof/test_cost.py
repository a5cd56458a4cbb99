"""What operations cost, by torch's own formulas, which are not imported for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from recorder import record
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from captum_xdnn.recording.cost import flops_of

torch.manual_seed(0)
W, V = torch.randn(6, 5), torch.randn(6)
CASES: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...]]] = {
    "matrix": (lambda x: x @ W, (3, 6)),
    "linear": (nn.Linear(6, 4), (3, 6)),
    "linear of a sequence": (nn.Linear(6, 4), (3, 7, 6)),
    "batched": (lambda x: x @ x.transpose(1, 2), (3, 7, 6)),
    "added to": (lambda x: torch.baddbmm(x[:, :, :7], x, x.transpose(1, 2)), (3, 7, 8)),
    "convolution": (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 9, 8)),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, dilation=2), (2, 4, 19, 18)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 9, 8)),
    "of a line": (nn.Conv1d(4, 6, 5), (2, 4, 9)),
    "of a volume": (nn.Conv3d(2, 3, (1, 2, 3)), (2, 2, 4, 5, 6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 6)),
    "transposed and grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 6)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), (2, 3, 7, 8)),
    "nothing": (lambda x: F.relu(x) * 2 + x.sum(), (3, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_are_counted_as_torch_counts_them(name: str) -> None:
    function, shape = CASES[name]
    x = torch.randn(shape)
    with FlopCounterMode(display=False) as counter:
        function(x)
    counted = sum(_counted(function, x))
    assert counted == counter.get_total_flops()
    assert (counted > 0) == (name not in ("nothing", "attention"))


def test_a_vector_counts_as_a_matrix_of_one_column() -> None:
    """Torch has no formula for these."""
    function = lambda x: torch.mv(x, V) + torch.addmv(x[:, 0], x, V)  # noqa: E731
    assert [flops for flops in _counted(function, torch.randn(3, 6)) if flops] == [36, 36]


def _counted(function: Callable[[Tensor], Any], x: Tensor) -> list[int]:
    verdict = record(function, (x,)).verdict
    assert verdict is not None
    return list(map(flops_of, verdict.graph.nodes))
