"""Benchmarks: ratios in one process, with their bounds; a report for the documentation.

pytest tests/benchmarks                                # measure and check the bounds
pytest tests/benchmarks --report docs/benchmarks.md    # and write the tables and plots
pytest tests/benchmarks --data ROOT                    # with the real Fashion-MNIST
pytest tests/benchmarks --device cuda                  # on a GPU
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .report import Report

_REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", help="write the measured tables to this Markdown file")
    parser.addoption("--threads", type=int, default=1, help="threads of torch (1)")
    parser.addoption("--data", help="ROOT with FashionMNIST/raw, for the section on data sets")
    parser.addoption("--device", type=torch.device, default="cpu", help="cpu or cuda (cpu)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    return request.config.stash[_REPORT]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def _threads(request: pytest.FixtureRequest) -> None:
    torch.set_num_threads(request.config.getoption("--threads"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--report")
    if path:
        device = torch.device(session.config.getoption("--device"))
        data = session.config.getoption("--data") is not None
        session.config.stash[_REPORT].write(Path(path), device, data=data)
