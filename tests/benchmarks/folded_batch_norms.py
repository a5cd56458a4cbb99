"""What folding batch norms into convolutions would bring to Captum's sum, at most, and what it changes.

Captum's gradients at 50 steps, all at once, through torchvision networks as they are, and through copies whose
batch norms torch has folded (``torch.fx.experimental.optimization.fuse``): processor time in turn, least of the
rounds, and the relative L1 distance of the attributions.

    python -m tests.benchmarks.folded_batch_norms [PIXELS [STEPS]]
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import torch
from torch.fx.experimental.optimization import fuse

from captum_xdnn import XIntegratedGradients

from .cases import torchvisions

NAMES = ("resnet18", "resnet50", "mobilenet_v2", "densenet121", "efficientnet_b0")
ROUNDS = 3


def measured(name: str, pixels: int, steps: int) -> str:
    """The line of one network."""
    torch.manual_seed(0)
    model: Any = torchvisions(name)()
    inputs = torch.randn(1, 3, pixels, pixels)
    calls = {
        kind: partial(
            XIntegratedGradients(network, strategy="captum").attribute,
            inputs,
            target=1,
            n_steps=steps,
        )
        for kind, network in (("as it is", model), ("folded", fuse(model).eval()))
    }
    found = {kind: call() for kind, call in calls.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(ROUNDS):
        for kind, call in calls.items():
            start = time.process_time()
            call()
            seconds[kind].append(time.process_time() - start)
    apart = (found["folded"] - found["as it is"]).abs().sum() / found["as it is"].abs().sum()
    gain = min(seconds["as it is"]) / min(seconds["folded"])
    return (
        f"{name}, batch 1 at {pixels}, {steps} steps: {gain:.2f}x, attributions {apart:.1e} apart"
    )


def main() -> None:
    """Print a line for each network."""
    torch.set_num_threads(1)
    given = [int(word) for word in sys.argv[1:]]
    pixels, steps = (*given, *(224, 50)[len(given) :])
    for name in NAMES:
        print(measured(name, pixels, steps), flush=True)


if __name__ == "__main__":
    main()
