"""Benchmarks: ratios in one process, with their bounds; a report for the documentation.

pytest tests/benchmarks                                # measure and check the bounds
pytest tests/benchmarks --report docs/benchmarks.md    # and write the tables
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


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    return request.config.stash[_REPORT]


@pytest.fixture(autouse=True)
def _threads(request: pytest.FixtureRequest) -> None:
    torch.set_num_threads(request.config.getoption("--threads"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--report")
    if path:
        Path(path).write_text(session.config.stash[_REPORT].markdown(), encoding="utf-8")
