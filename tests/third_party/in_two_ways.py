"""The same call of another package twice: as it is, and with Captum accelerated."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from captum.attr._core.neuron import neuron_integrated_gradients as neuron_module

from captum_xdnn import accelerate_captum

T = TypeVar("T")


def installed(name: str) -> Any:
    """A module, whatever it warns of while it is imported; the tests are skipped without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def in_place() -> tuple[object, ...]:
    """What ``accelerate_captum`` changes in Captum."""
    return (
        IntegratedGradients.attribute,
        LayerIntegratedGradients.attribute,
        LayerIntegratedGradients._make_gradient_func,
        neuron_module.construct_neuron_grad_fn,
    )


@contextmanager
def undone() -> Iterator[None]:
    """Captum is afterwards as it was before."""
    before = in_place()
    yield
    assert in_place() == before


def seeded(call: Callable[[], T]) -> T:
    torch.manual_seed(3)
    np.random.seed(3)  # other packages draw from numpy's global state
    return call()


def in_two_ways(call: Callable[[], T]) -> tuple[T, T, Counter[str]]:
    """The result of a call as it is, the result with Captum accelerated, and the routes taken."""
    captums = seeded(call)
    with undone(), accelerate_captum() as acceleration:
        ours = seeded(call)
    return captums, ours, acceleration.routes
