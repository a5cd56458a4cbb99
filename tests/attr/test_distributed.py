"""DistributedDataParallel over gloo: one process by default, two where time allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import needs_gloo, run_together

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from captum.attr import IntegratedGradients
from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import plan

plan.WORTH_IT = plan.CERTAIN = 0  # hoist what is too small to gain
torch.set_num_threads(1)
rank, size, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
torch.manual_seed(0)
for bias, route in ((False, "single_pass"), (True, "hoisted")):
    net = nn.Sequential(nn.Linear(6, 16, bias=bias), nn.ReLU(), nn.Linear(16, 3, bias=bias))
    net = net.double()
    wrapped = nn.parallel.DistributedDataParallel(net)
    torch.manual_seed(rank + 1)
    x = torch.randn(4 + rank, 6, dtype=torch.float64)
    xig = XIntegratedGradients(wrapped)
    for _ in range(3):
        ours = xig.attribute(x, target=1)
        assert xig.last_route == route, (xig.last_route, str(xig.certificate))
        theirs = IntegratedGradients(net).attribute(x, target=1)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert all(p.grad is None for p in wrapped.parameters())
    wrapped(x).sum().backward()
    assert all(p.grad is not None for p in wrapped.parameters())
    torch.testing.assert_close(xig.attribute(x, target=1), theirs, rtol=1e-6, atol=1e-9)
dist.barrier()
dist.destroy_process_group()
print("done", rank)
"""

pytestmark = needs_gloo


@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_distributed_data_parallel(size: int, tmp_path: Path) -> None:
    run_together(SCRIPT, size, tmp_path)
