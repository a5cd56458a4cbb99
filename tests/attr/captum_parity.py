"""How far hoisted attributions are from Captum's, and how far Captum's are from each other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import IntegratedGradients
from hoisted_networks import Example
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def gap(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """The sum of the absolute differences in parts of the sum of the absolute entries."""
    difference = sum(
        (f.double() - e.double()).detach().abs().sum() for f, e in zip(found, expected, strict=True)
    )
    return float(difference / sum(e.detach().double().abs().sum() for e in expected))


def theirs(example: Example, **more: Any) -> tuple[Tensor, ...]:
    method = IntegratedGradients(example.function)
    return method.attribute(example.inputs, **example.call, **more)


def ours(example: Example, **more: Any) -> tuple[tuple[Tensor, ...], str | None]:
    xig = XIntegratedGradients(example.function)
    return xig.attribute(example.inputs, **example.call, **more), xig.last_route


def in_double(example: Example) -> Example:
    """The same numbers in float64; a function that is no module computes in float32 all the same."""

    def wider(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(wider, value))
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    function = example.function
    if isinstance(function, nn.Module):
        function = copy.deepcopy(function).double()
    call = {name: wider(value) for name, value in example.call.items()}
    return Example(function, wider(example.inputs), call)


def noise(example: Example, **more: Any) -> float:
    """How far Captum's float32 numbers are from its own with other batches, and from float64's."""
    captum = theirs(example, **more)
    small = theirs(example, **more, internal_batch_size=2 * len(example.inputs[0]))
    found = gap(captum, small)
    if isinstance(example.function, nn.Module):
        found = max(found, gap(captum, theirs(in_double(example), **more)))
    return found
