"""Killed at random moments and started again, a run writes each sample once, and the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from killed_run import differences, ids_in, run_killed
from small_data import BAD

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
import torch
from small_data import bad_rows, network
from torch.utils.data import DataLoader
from captum_xdnn import XIntegratedGradients
from captum_xdnn.dataset import ParquetShards, attribute_dataset
torch.set_num_threads(1)
loader = DataLoader(bad_rows(600), 4)  # half of the time goes into writing shards
attribute_dataset(
    XIntegratedGradients(network()), loader, ParquetShards(sys.argv[1], shard_size=4)
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_each_sample_once_and_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "whole"), str(Path(__file__).parent)]
    run_killed(command, 0, 0)
    command[3] = str(tmp_path / "killed")
    assert run_killed(command, 6, 0.3) >= 3
    times = ids_in(tmp_path / "killed")
    assert sorted(times) == list(range(600))
    assert set(times.values()) == {1}
    assert differences(tmp_path / "whole", tmp_path / "killed") == []
    rejects = (tmp_path / "killed" / "rejects.csv").read_text()
    assert rejects == (tmp_path / "whole" / "rejects.csv").read_text()
    assert len(rejects.splitlines()) == 1 + len(BAD)
    assert not list((tmp_path / "killed").glob(".*.tmp"))
