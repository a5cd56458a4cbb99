"""One machine's Ray for all tests here, which are skipped where it is not installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore_glob: list[str] = []
try:
    import ray.data
except ImportError:
    collect_ignore_glob = ["test_*.py"]

HERE = Path(__file__).parent
SHARED = (HERE, HERE.parent / "dataset")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two actors find a processor each; workers import what the tests define."""
    paths = os.pathsep.join(map(str, SHARED))
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


for path in SHARED:
    sys.path.insert(0, str(path))
