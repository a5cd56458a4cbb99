"""How many modules of the package one warm single pass of a perceptron enters, and how often it changes.

``python -m tests.benchmarks.modules_entered``; with ``-v`` it lists the calls in their order.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

import captum_xdnn
from captum_xdnn import XIntegratedGradients

PACKAGE = str(Path(captum_xdnn.__file__).parent)


def calls_of_one_pass() -> list[tuple[str, str]]:
    """Module and name of each function of the package that is called."""
    net = nn.Sequential(
        nn.Linear(30, 64, bias=False), nn.ReLU(), nn.Linear(64, 2, bias=False)
    ).eval()
    xig, x = XIntegratedGradients(net), torch.rand(1, 30)
    for _ in range(5):
        xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            module = str(Path(frame.f_code.co_filename).relative_to(PACKAGE))
            calls.append((module, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        xig.attribute(x, target=1)
    finally:
        sys.setprofile(None)
    return calls


if __name__ == "__main__":
    found = calls_of_one_pass()
    if "-v" in sys.argv:
        print(*(f"{module}: {name}" for module, name in found), sep="\n")
    modules = [module for module, _ in groupby(found, key=lambda call: call[0])]
    print(
        f"{len(set(modules))} modules entered, {len(modules) - 1} changes of module, {len(found)} calls"
    )
