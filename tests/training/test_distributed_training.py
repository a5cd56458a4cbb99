"""Two processes under DistributedDataParallel get the gradients of one with both batches."""

from __future__ import annotations

from pathlib import Path

from processes import needs_gloo, run_together

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from captum_xdnn import XIntegratedGradients
from captum_xdnn.priors import l1

torch.set_num_threads(1)
rank, size, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
torch.manual_seed(0)
data, labels = torch.randn(8, 6, dtype=torch.float64), torch.arange(8) % 3
mine = slice(rank * 4, rank * 4 + 4)


def build(bias):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 16, bias=bias), nn.ReLU(), nn.Linear(16, 3, bias=bias)
    ).double()


def loss(net, explained, x, y, shared=False):
    xig = XIntegratedGradients(explained)
    attributions = xig.attribute(x, target=y, n_steps=8, create_graph=True)
    return cross_entropy(xig.last_outputs if shared else net(x), y) + l1(attributions)


for bias in (False, True):
    for which in ("module", "wrapped", "shared"):
        if which == "shared" and bias:
            continue  # the other routes do not run the network at the inputs
        lone, net = build(bias), build(bias)
        wrapped = nn.parallel.DistributedDataParallel(net)
        explained = net if which == "module" else wrapped
        both = [torch.optim.SGD(n.parameters(), lr=0.1) for n in (lone, net)]
        for _ in range(3):
            for optimizer in both:
                optimizer.zero_grad()
            loss(lone, lone, data, labels).backward()
            loss(wrapped, explained, data[mine], labels[mine], which == "shared").backward()
            for expected, found in zip(lone.parameters(), net.parameters()):
                torch.testing.assert_close(found.grad, expected.grad, rtol=1e-10, atol=1e-12)
            for optimizer in both:
                optimizer.step()
dist.barrier()
dist.destroy_process_group()
print("done", rank)
"""

pytestmark = needs_gloo


def test_two_processes(tmp_path: Path) -> None:
    run_together(SCRIPT, 2, tmp_path)
