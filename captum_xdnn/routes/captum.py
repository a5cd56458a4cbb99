"""Captum's own integration, in a form that can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import IntegratedGradients, approximation_parameters, run_forward
from captum_xdnn.routes.call import Call


@dataclass(frozen=True)
class Quadrature:
    """How Captum integrates.

    Attributes:
        n_steps: Number of steps.
        method: Name of the rule.
        internal_batch_size: Bound of the batch in one forward pass, as Captum bounds it.
    """

    n_steps: int
    method: str
    internal_batch_size: int | None = None

    def is_plain(self) -> bool:
        """Whether Captum takes these numbers without complaint."""
        bound = self.internal_batch_size
        fewest = 1 if self.method == "gausslegendre" else 2
        # The exact type first: asking an abstract class takes as long as the rest of a refusal.
        counted = type(self.n_steps) is int or isinstance(self.n_steps, Integral)
        return counted and self.n_steps >= fewest and (bound is None or isinstance(bound, Integral))

    def nodes(self) -> tuple[list[float], list[float]]:
        """Captum's step sizes and alphas, or Captum's error.

        Captum computes them anew at every call, by an eigenvalue problem for Gauss-Legendre
        nodes; here they are kept (see docs/benchmarks.md, refused models).
        """
        found = _kept_nodes if self.is_plain() else _nodes
        return found(self.method, self.n_steps)

    def applied(self) -> list[tuple[float, float]]:
        """Weights and places, the weights rounded to float32 as Captum does when it multiplies."""
        found = _kept_applied if self.is_plain() else _applied
        return found(self.method, self.n_steps)


@dataclass(frozen=True)
class Weighted(Quadrature):
    """Captum's places on the ray, with other weights.

    Attributes:
        pairs: A weight for each place.
    """

    pairs: tuple[tuple[float, float], ...] = ()

    def nodes(self) -> tuple[list[float], list[float]]:
        """The weights and the places."""
        return [weight for weight, _ in self.pairs], [place for _, place in self.pairs]

    def applied(self) -> list[tuple[float, float]]:
        """Weights and places, as they are."""
        return list(self.pairs)


def _nodes(method: str, n_steps: int) -> tuple[list[float], list[float]]:
    sizes, alphas = approximation_parameters(method)
    return sizes(n_steps), alphas(n_steps)


def _applied(method: str, n_steps: int) -> list[tuple[float, float]]:
    weights, places = _nodes(method, n_steps)
    rounded = torch.tensor(weights, dtype=torch.float32).tolist()
    return list(zip(rounded, places, strict=True))


_kept_nodes = lru_cache(maxsize=64)(_nodes)
_kept_applied = lru_cache(maxsize=64)(_applied)


def differentiable_quadrature(
    forward_func: Callable[..., Any],
    call: Call,
    quadrature: Quadrature,
    *,
    multiply_by_inputs: bool,
) -> tuple[Tensor, ...]:
    """Captum's Integrated Gradients with ``create_graph=True``.

    The steps, weights and sums are Captum's; only its gradient function is replaced. With
    ``internal_batch_size`` the chunks are added with their graphs, which Captum would cut, so the
    memory for the graph grows with ``n_steps`` all the same.
    """
    n_steps, bound = quadrature.n_steps, quadrature.internal_batch_size
    captum = IntegratedGradients(forward_func, multiply_by_inputs)
    captum.gradient_func = _gradients_with_graph
    sizes, alphas = quadrature.nodes()
    steps = n_steps if bound is None else max(1, bound // call.size)
    total: tuple[Tensor, ...] | None = None
    with torch.enable_grad():
        for start in range(0, n_steps, steps):
            stop = min(start + steps, n_steps)
            part = captum._attribute(
                inputs=call.inputs,
                baselines=call.baselines,
                target=call.target,
                additional_forward_args=call.arguments or None,
                n_steps=stop - start,
                method=quadrature.method,
                step_sizes_and_alphas=(sizes[start:stop], alphas[start:stop]),
            )
            total = part if total is None else tuple(map(torch.add, total, part))
    if total is None:
        message = f"n_steps must be a positive integer, found {n_steps}"
        raise RuntimeError(message)
    return total


def gradients_at(
    forward_func: Callable[..., Any],
    call: Call,
    nodes: Sequence[tuple[float, float]],
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Captum's weighted sum of the gradients at some places of the ray, one pass for each.

    Args:
        forward_func: The function.
        call: The call.
        nodes: Pairs of a weight and a place ``a``, the baseline at 0 and the input at 1.
        create_graph: Whether the sum can be differentiated.
    """
    captum = IntegratedGradients(forward_func, multiply_by_inputs=False)
    if create_graph:
        captum.gradient_func = _gradients_with_graph
    total: tuple[Tensor, ...] = ()
    for weight, place in nodes:
        part = captum._attribute(
            inputs=call.inputs,
            baselines=call.baselines,
            target=call.target,
            additional_forward_args=call.arguments or None,
            n_steps=1,
            step_sizes_and_alphas=([weight], [place]),
        )
        total = tuple(map(torch.add, total, part)) if total else part
    return total


def _gradients_with_graph(
    forward_fn: Callable[..., Any],
    inputs: Any,
    target_ind: Any = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """``captum._utils.gradient.compute_gradients`` with ``create_graph=True``."""
    outputs: Any = run_forward(forward_fn, inputs, target_ind, additional_forward_args)
    if outputs[0].numel() != 1:
        message = (
            "Target not provided when necessary, cannot take gradient with respect to multiple "
            "outputs."
        )
        raise AssertionError(message)
    gradients: tuple[Tensor, ...] = torch.autograd.grad(
        torch.unbind(outputs), inputs, create_graph=True
    )
    return gradients
