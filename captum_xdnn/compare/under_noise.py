"""Random numbers of a comparison's own, and what Captum's metrics say of a method under noise."""

import random
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from captum_xdnn.compare.methods import Method, as_tuple
from captum_xdnn.compare.problem import Problem

SEED = 0
"""Of what methods draw, and of the noise in infidelity and max-sensitivity."""
NOISE = 0.1
"""Standard deviation of infidelity's noise, in parts of the inputs' own."""


@contextmanager
def seeded(problem: Problem) -> Iterator[None]:
    """The caller's random numbers stay as they are; methods draw the same ones at every comparison."""
    pythons, numpys = random.getstate(), np.random.get_state()  # GradientShap draws from numpy
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        with _forked(problem):
            torch.manual_seed(SEED)
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)


def _forked(problem: Problem) -> AbstractContextManager[None]:
    """What is drawn from torch inside changes nothing outside."""
    devices = [problem.device] if problem.device.type == "cuda" else []
    return torch.random.fork_rng(devices)


def under_noise(
    method: Method, problem: Problem, found: tuple[Tensor, ...], count: int
) -> dict[str, float]:
    """Captum's metrics, means over the examples, every method under the same noise."""
    inputs = problem.call.inputs
    if not any(x.is_floating_point() for x in inputs):
        return {}  # noise cannot be added to indices

    def perturbed(given: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        noise = tuple(
            NOISE * float(x.detach().std()) * torch.randn_like(x)
            if x.is_floating_point()
            else torch.zeros_like(x)
            for x in as_tuple(given)
        )
        return noise, tuple(x - n for x, n in zip(as_tuple(given), noise, strict=True))

    def explained(given: Any) -> tuple[Tensor, ...]:
        # Captum's noise is float32, and is added to indices too.
        moved = tuple(
            m.to(x.dtype) if x.is_floating_point() else x
            for m, x in zip(as_tuple(given), inputs, strict=True)
        )
        # What a method draws does not change the noise that comes after it.
        with _forked(problem):
            # Captum views them as rows.
            return tuple(f.contiguous() for f in method.explain(moved))

    many = {"n_perturb_samples": count, "max_examples_per_batch": problem.call.size}
    measured = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if problem.layer is None:  # it is the inputs that are disturbed
            with seeded(problem):
                wrong = infidelity(
                    problem.forward_func,
                    perturbed,
                    inputs,
                    tuple(f.contiguous() for f in found),
                    additional_forward_args=problem.call.arguments or None,
                    target=problem.call.target,
                    **many,
                )
            measured["infidelity"] = float(wrong.mean())
        with seeded(problem):
            sensitive = sensitivity_max(explained, inputs, **many)
    return {**measured, "max_sensitivity": float(sensitive.mean())}
