"""Captum's infidelity and max-sensitivity of a method, every method under the same noise."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from captum_xdnn.compare.methods import Method
from captum_xdnn.compare.problem import Problem

NOISE = 0.1
"""Standard deviation of infidelity's noise, in parts of the inputs' own."""


def under_noise(
    method: Method, problem: Problem, found: tuple[Tensor, ...], count: int, seed: int
) -> tuple[float, float]:
    """Infidelity and max-sensitivity, means over the examples.

    Returns:
        Both numbers; NaN where no input is of floating point: noise cannot be added to indices.
    """
    call = problem.call
    if not any(x.is_floating_point() for x in call.inputs):
        return float("nan"), float("nan")

    def perturbed(*inputs: Any) -> tuple[Any, Any]:
        tensors = inputs[0] if isinstance(inputs[0], tuple) else (inputs[0],)
        noise = tuple(map(_noise, tensors))
        moved = tuple(x - n for x, n in zip(tensors, noise, strict=True))
        return (noise, moved) if isinstance(inputs[0], tuple) else (noise[0], moved[0])

    def explained(given: Any) -> tuple[Tensor, ...]:
        moved = given if isinstance(given, tuple) else (given,)
        # Captum's noise is float32, and is added to indices too.
        inputs = tuple(
            m.to(x.dtype) if x.is_floating_point() else x
            for m, x in zip(moved, call.inputs, strict=True)
        )
        # What a method draws does not change the noise that comes after it.
        with torch.random.fork_rng(problem.random_devices):
            # Captum views them as rows.
            return tuple(f.contiguous() for f in method.explain(inputs))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        wrong = infidelity(
            problem.forward_func,
            perturbed,
            problem.unformatted(call.inputs),
            problem.unformatted(tuple(f.contiguous() for f in found)),
            additional_forward_args=call.arguments or None,
            target=call.target,
            n_perturb_samples=count,
            max_examples_per_batch=call.size,
        )
        torch.manual_seed(seed)
        sensitive = sensitivity_max(
            explained, call.inputs, n_perturb_samples=count, max_examples_per_batch=call.size
        )
    return float(wrong.mean()), float(sensitive.mean())


def _noise(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        return torch.zeros_like(x)
    return NOISE * float(x.detach().std()) * torch.randn_like(x)
