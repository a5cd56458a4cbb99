"""Completeness: Euler's identity, checked at every call on numbers that the pass has anyway.

If the output is homogeneous (or affine) along the ray, the attributions of an example add up to
``F(x) - F(b)``. A call in which they do not contradicts its certificate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import attrgetter

import torch
from torch import Tensor

SLACK, COARSE_SLACK = 64.0, 16.0
"""Units of rounding allowed in float32 and finer, and in coarser dtypes; see Architecture.

In bfloat16, 64 units are half of the numbers themselves. ``tests/attr/rounding_gaps.py`` measures
the gaps.
"""
COARSE = 2.0**-12
FLOAT32 = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Sizes:
    r"""What a gap is measured against."""

    precision: float  # the unit of rounding :math:`\epsilon` of the computation
    # gives :math:`\lVert x - b \rVert \, \lVert g \rVert` of each example, shape ``(B,)``; asked
    # for only where a smaller size does not do
    bounds: Callable[[], Tensor]
    lost: float = 0.0  # what may be missing because numbers were too small for their dtype

    @property
    def slack(self) -> float:
        """Units of rounding allowed."""
        return COARSE_SLACK if self.precision > COARSE else SLACK


def gap_exceeds(
    attributions: tuple[Tensor, ...], outputs: Tensor, start: Tensor | None, sizes: Sizes
) -> bool:
    r"""Whether completeness fails beyond rounding.

    .. math:: \bigl|\textstyle\sum_i A_i - (F(x) - F(b))\bigr| > c \, \epsilon \,
        \bigl(\lVert x - b \rVert \, \lVert g \rVert + |F(x)| + |F(b)|\bigr),
        \qquad A = (x - b) \, g

    The product of the norms is the Cauchy-Schwarz bound of :math:`\sum_i A_i`. The sum of
    :math:`|A_i|` is no measure: with one entry of the input that is not zero it is as small as
    the output itself where the paths through the network cancel, and the rounding is not.

    Checked per example where there is one output per example, else for the whole batch. This is
    the only place where a call waits for its device.
    ``outputs`` are ``F(x)``, of shape ``(B,)`` or of another number of outputs; ``start`` is ``F(b)`` in the
    same shape, None where it is zero.
    """
    rows, batched = _sums_and_ends(attributions, outputs, start)
    # The stricter, cheaper test first.
    if _within(rows, [0.0] * len(rows[0]), sizes):
        return False
    return not _within(rows, _numbers([sizes.bounds()], batched=batched)[0], sizes)


def _sums_and_ends(
    attributions: tuple[Tensor, ...], outputs: Tensor, start: Tensor | None
) -> tuple[list[list[float]], bool]:
    """The sums of the attributions, and what they lead to and from; whether for each example."""
    total = _added([entries(a).sum(1) for a in attributions])
    ends = [outputs.reshape(-1)] if start is None else [outputs.reshape(-1), start.reshape(-1)]
    batched = ends[0].shape == total.shape
    return _numbers([total, *ends], batched=batched), batched


@dataclass(frozen=True)
class Gap:
    """What the attributions miss in the example where they miss most; infinite for what is no number."""

    size: float
    example: int | None  # None where the examples are checked together

    def __str__(self) -> str:
        return f"{self.size:.3g}" + ("" if self.example is None else f" in example {self.example}")


def contradiction(
    attributions: tuple[Tensor, ...],
    outputs: Tensor,
    start: Tensor | None,
    bounds: Callable[[], Tensor],
    precision: float,
) -> Gap | None:
    """How a call contradicts its verdict, if it does.

    The unit of the dtypes first. Reading the switches by which torch computes products in TF32 or
    bfloat16 takes as long as the whole check on a small network.
    """
    if not gap_exceeds(
        attributions, outputs, start, Sizes(precision, bounds, lost_below(precision))
    ):
        return None
    reduced = loosest(precision, (*attributions, outputs))
    if reduced > precision and not gap_exceeds(
        attributions, outputs, start, Sizes(reduced, bounds)
    ):
        return None
    (totals, ends, *starts), batched = _sums_and_ends(attributions, outputs, start)
    origins = starts[0] if starts else [0.0] * len(ends)
    gaps = [abs(t - (end - o)) for t, end, o in zip(totals, ends, origins, strict=True)]
    gaps = [gap if math.isfinite(gap) else math.inf for gap in gaps]
    worst = max(range(len(gaps)), key=gaps.__getitem__)
    return Gap(gaps[worst], worst if batched and len(gaps) > 1 else None)


def relative_gaps(
    attributions: tuple[Tensor, ...], outputs: Tensor, start: Tensor | None
) -> Tensor:
    r"""What each example misses, :math:`|\sum_i A_i - (F(x) - F(b))| / |F(x) - F(b)|`; 0 where it is nothing.

    Where there is not one output for each example they all miss what the batch does.
    """
    (totals, ends, *starts), _ = _sums_and_ends(attributions, outputs, start)
    change = torch.tensor(ends, dtype=torch.float64)
    if starts:
        change = change - torch.tensor(starts[0], dtype=torch.float64)
    missed = (torch.tensor(totals, dtype=torch.float64) - change).abs()
    gaps = torch.where(missed == 0, 0.0, missed / change.abs())
    return gaps.expand(len(attributions[0])).clone()


def bounds_of(gradients: tuple[Tensor, ...], differences: tuple[Tensor, ...]) -> Tensor:
    r"""The Cauchy-Schwarz bound of each example, :math:`\lVert x - b \rVert \lVert g \rVert`."""
    pairs = zip(gradients, differences, strict=True)
    return _added([_norm(g) * _norm(d) for g, d in pairs])


def _norm(tensor: Tensor) -> Tensor:
    """The length of each row, in float64 where the device has it: squares overflow early."""
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    lengths: Tensor = torch.linalg.vector_norm(entries(tensor.detach()), dim=1, dtype=wide)
    return lengths


def entries(tensor: Tensor) -> Tensor:
    """The entries of each example in a row, shape ``(B, ...)`` to ``(B, D)``; ``D`` is 1 for ``(B,)``."""
    return tensor.flatten(1) if tensor.dim() > 1 else tensor.unsqueeze(1)


def _within(rows: list[list[float]], bounds: list[float], sizes: Sizes) -> bool:
    """Whether all gaps are within rounding.

    A loop over numbers: for the batches of a training step it is quicker than a dozen operations on
    arrays, and it stops at the first gap.
    """
    starts = rows[2] if len(rows) > 2 else [0.0] * len(bounds)
    unit, lost = sizes.slack * sizes.precision, sizes.lost
    for total, end, start, bound in zip(rows[0], rows[1], starts, bounds, strict=True):
        # Not the other way round: what is not a number is not within.
        if not abs(total - (end - start)) <= unit * (bound + abs(end) + abs(start)) + lost:
            return False
    return True


def _numbers(parts: list[Tensor], *, batched: bool) -> list[list[float]]:
    """The numbers of several tensors, per example or added up, with one wait for their device."""
    if not batched:
        parts = [part.sum().reshape(1) for part in parts]
    if any(part.device.type != "cpu" for part in parts):
        parts = list(torch.stack(_alike(parts)).cpu())
    return [part.tolist() for part in parts]


def _added(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(_alike(tensors)).sum(0)


def _alike(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors on one device and in one dtype; a model may be spread over devices."""
    device, dtype = tensors[0].device, tensors[0].dtype
    return [tensor.to(device, dtype) for tensor in tensors]


_BACKENDS = {
    "cuda": ("cuda.matmul", "cudnn.conv", "cudnn.rnn"),
    "cpu": ("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
}
_UNITS = {"tf32": 2.0**-10, "bf16": 2.0**-7}
_BY_BACKEND = hasattr(torch.backends.cuda.matmul, "fp32_precision")
"""Since 2.9 torch has one switch for each backend, and the older ones raise if both were used."""


def precision_of(inputs: tuple[Tensor, ...], coarsest: float) -> float:
    """The unit of rounding that dtypes set: the inputs', the coarsest of the run, autocast's."""
    device = inputs[0].device.type
    units = [coarsest, *(_unit_of(tensor.dtype) for tensor in inputs)]
    if device in _BACKENDS and torch.is_autocast_enabled(device):
        units.append(_unit_of(torch.get_autocast_dtype(device)))
    return max(units)


@cache
def _unit_of(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def lost_below(precision: float) -> float:
    """The smallest normal number of the dtype with a unit of rounding: smaller ones lose digits."""
    half = torch.finfo(torch.float16)
    return half.tiny if precision == half.eps else torch.finfo(torch.float32).tiny


def loosest(precision: float, tensors: tuple[Tensor, ...]) -> float:
    """The unit in which float32 may be computed where that is coarser; other dtypes' stays."""
    return max(precision, reduced_precision_of(tensors)) if precision >= FLOAT32 else precision


def reduced_precision_of(tensors: tuple[Tensor, ...]) -> float:
    """The unit in which torch may compute float32 products, TF32 or bfloat16; 0 if in float32 itself.

    On any device of the tensors: what goes in may be on a CPU and what comes out on a GPU.
    """
    devices = {tensor.device.type for tensor in tensors}
    return max((_reduced(device) for device in devices & _BACKENDS.keys()), default=0.0)


def _reduced(device: str) -> float:
    """The unit in which products of float32 numbers may be computed; 0 if in float32 itself."""
    if _BY_BACKEND:
        chosen = [attrgetter(name)(torch.backends).fp32_precision for name in _BACKENDS[device]]
        return max(_UNITS.get(name, 0.0) for name in chosen)
    if device == "cuda":
        faster = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        return _UNITS["tf32"] if faster else 0.0
    return _UNITS["bf16"] if torch.get_float32_matmul_precision() == "medium" else 0.0
