"""PyTorch's own operator samples as functions of the tensors among their arguments that move."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Subject:
    """An operator with some of its arguments held fixed.

    Attributes:
        name: The operator, the sample and what moves, for people.
        moving: Which arguments move: "first", "all" or their number.
        function: From the moving and the fixed tensors to the list of the tensors that come out.
        inputs: The moving tensors of the sample.
        fixed: The tensors that do not move.
        differentiable: Whether the operator has a gradient.
    """

    name: str
    moving: str
    function: Callable[..., list[Tensor]]
    inputs: tuple[Tensor, ...]
    fixed: tuple[Tensor, ...]
    differentiable: bool


def operators(dtype: torch.dtype) -> list[Any]:
    """The operators of ``op_db`` for this dtype on the CPU."""
    return [op for op in op_db if op.supports_dtype(dtype, "cpu")]


def name_of(op: Any) -> str:
    """The operator's name with its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def subjects(
    op: Any, dtype: torch.dtype, most: int, *, in_place: bool = False
) -> Iterator[Subject]:
    """Functions made of an operator's samples.

    Args:
        op: An ``OpInfo``.
        dtype: Dtype of the samples.
        most: So many samples at most, spread evenly over all.
        in_place: Whether to call the in-place variant, on a copy.
    """
    call = _in_place(op) if in_place else op
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(op.sample_inputs("cpu", dtype))
    chosen = samples if len(samples) <= most else _spread(samples, most)
    for index, sample in enumerate(chosen):
        leaves, spec = pytree.tree_flatten(((sample.input, *sample.args), sample.kwargs))
        places = [i for i, leaf in enumerate(leaves) if _can_move(leaf)]
        tensors = [i for i, leaf in enumerate(leaves) if _is_plain(leaf)]
        for moving, selected in _choices(places):
            still = [i for i in tensors if i not in selected]
            yield Subject(
                name=f"{name_of(op)} sample {index}, moving {moving}",
                moving=moving,
                function=_function(call, leaves, spec, selected + still),
                inputs=tuple(leaves[i].detach().clone() for i in selected),
                fixed=tuple(leaves[i].detach() for i in still),
                differentiable=bool(op.supports_autograd),
            )


def _spread(samples: list[Any], most: int) -> list[Any]:
    step = (len(samples) - 1) / max(most - 1, 1)
    return [samples[round(i * step)] for i in range(most)]


def _is_plain(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided


def _can_move(leaf: Any) -> bool:
    scales = _is_plain(leaf) and (leaf.is_floating_point() or leaf.is_complex())
    return bool(scales and leaf.numel())


def _choices(places: list[int]) -> Iterator[tuple[str, list[int]]]:
    """The first, each further one, and all."""
    for rank, place in enumerate(places):
        yield ("first" if rank == 0 else str(rank + 1)), [place]
        if rank == 3:
            break
    if len(places) > 1:
        yield "all", places


def _function(
    call: Callable[..., Any], leaves: list[Any], spec: Any, places: list[int]
) -> Callable[..., list[Tensor]]:
    def function(*tensors: Tensor) -> list[Tensor]:
        given = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        args, kwargs = pytree.tree_unflatten(given, spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(*args, **kwargs)
        return [leaf for leaf in pytree.tree_leaves(result) if _is_plain(leaf)]

    return function


def _in_place(op: Any) -> Callable[..., Any]:
    def call(first: Any, *args: Any, **kwargs: Any) -> Any:
        return op.inplace_variant(first.clone(), *args, **kwargs)

    return call
