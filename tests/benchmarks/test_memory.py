"""Peak memory of the single pass beside the bare gradient's."""

from __future__ import annotations

import pytest
import torch

from captum_xdnn import XIntegratedGradients

from .memory import peak_bytes
from .report import Report
from .test_speed import LARGE, TARGET, bare_gradient


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", list(LARGE))
def test_peak_memory(name: str, batch: int, report: Report, device: torch.device) -> None:
    torch.manual_seed(0)
    model, inputs = LARGE[name]().to(device), torch.randn(batch, 3, 224, 224).to(device)
    method = XIntegratedGradients(model, strategy="single_pass")
    ours = peak_bytes(lambda: method.attribute(inputs, target=TARGET), device)
    bare = peak_bytes(lambda: bare_gradient(model, inputs), device)
    ratio = ours / bare
    figure = f"{ratio:.3f}x ({ours / 2**20:.0f} / {bare / 2**20:.0f} MiB)"
    report.add(
        "Peak memory over the bare gradient",
        f"{name} X-DNN, batch {batch}",
        figure,
        "<= 1.10x",
        held=ratio <= 1.10,
    )
    assert ratio <= 1.10
