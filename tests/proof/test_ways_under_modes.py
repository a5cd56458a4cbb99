"""What torch computes in another way while a mode shows its operations (``isTensorSubclassLike`` in its C++).

The run that is watched is the one that is differentiated, so another way must not have another gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from captum_xdnn._torch import TorchDispatchMode
from captum_xdnn.recording.calls_of_torch import QUANTILES


class Showing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs what it is shown."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _tensors(values: Any) -> list[Tensor]:
    return [t for t in pytree.tree_leaves(values) if isinstance(t, Tensor)]


def _tied(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    copy = value.detach().mul(0.3).round() if value.is_floating_point() else value.detach()
    return copy.clone().requires_grad_(value.requires_grad)


def _computed(op: Any, sample: Any, *, shown: bool) -> list[Tensor | None]:
    """Results and gradients of an operation, of inputs with equal entries."""
    torch.manual_seed(0)
    first, args, kwargs = pytree.tree_map(_tied, (sample.input, sample.args, sample.kwargs))
    if shown:
        with Showing():
            given = _tensors(op(first, *args, **kwargs))
    else:
        given = _tensors(op(first, *args, **kwargs))
    outputs = [t for t in given if t.requires_grad]
    leaves = [t for t in _tensors((first, args, kwargs)) if t.requires_grad]
    seeds = [torch.linspace(1, 2, t.numel(), dtype=t.dtype).view(t.shape) for t in outputs]
    found = torch.autograd.grad(outputs, leaves, seeds, allow_unused=True) if outputs else ()
    return [*(t.detach() for t in given), *found]


def _differing(names: set[str] | None) -> Iterator[str]:
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        if names is not None and op.name not in names:
            continue
        if torch.float64 not in op.supported_dtypes("cpu") or not op.supports_autograd:
            continue
        try:
            samples = list(op.sample_inputs("cpu", torch.float64, requires_grad=True))
        except (RuntimeError, ImportError):
            continue
        for sample in samples[:80]:
            try:
                plain = _computed(op, sample, shown=False)
            except (RuntimeError, IndexError, TypeError, ValueError):
                continue  # it bears no entries that are equal
            pairs = zip(plain, _computed(op, sample, shown=True), strict=True)
            if not all(a is b or _alike(a, b) for a, b in pairs):
                yield op.name


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.layout is not torch.strided:
        return one is other or (one is not None and other is not None)
    return torch.allclose(one, other, rtol=1e-9, atol=1e-11, equal_nan=True)


@pytest.mark.filterwarnings("ignore")
def test_quantiles_alone_may_be_found_in_another_way() -> None:
    names = {*QUANTILES, "median", "sort", "topk", "kthvalue", "msort", "mode", "amax"}
    assert set(_differing(names)) in (set(QUANTILES), set())  # the latter in torch 2.13


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_other_operation_is() -> None:
    assert set(_differing(None)) in (set(QUANTILES), set())
