"""What every test runs under: one thread, one seed, one hypothesis profile; and how many workers."""

from __future__ import annotations

import os
import random

import pytest
import torch
from hypothesis import HealthCheck, settings

from captum_xdnn.routes import kinds

_MOST_WORKERS = 4

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "slow", parent=settings.get_profile("ci"), derandomize=False, max_examples=10_000
)


def _load_hypothesis_profile(config: pytest.Config) -> None:
    settings.load_profile(config.getoption("--hypothesis-profile", default=None) or "ci")


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers for `-n auto`: none where the benchmarks are named, since a neighbour falsifies a timing."""
    if any("benchmarks" in argument for argument in config.args):
        return 0
    return min(
        _MOST_WORKERS,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def pytest_collectstart(collector: pytest.Collector) -> None:
    # Importing torch.testing._internal, as some test modules do, loads a profile of PyTorch's own.
    _load_hypothesis_profile(collector.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _load_hypothesis_profile(item.config)
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    random.seed(0)
    torch.manual_seed(0)
    kinds.forget()  # what other tests have cost of the time that looks may take
