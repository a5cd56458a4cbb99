"""What an operation costs under modes of torch that do nothing, and under the watch.

Run ``python -m tests.benchmarks.cost_of_watching``. Between two convolutions Python's own code and
data have left the processor's caches, so an operation costs more there than in a perceptron.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from captum_xdnn.proof.watching import watch

from .cases import perceptron
from .networks import x_densenet121, x_resnet50

ROUNDS = 25


class Nothing(TorchDispatchMode):
    """Runs every operation as it is."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class NoFunctions(TorchFunctionMode):
    """Calls every function as it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def main() -> None:
    torch.set_num_threads(1)
    networks = {
        "ResNet-50-sized at 224": (x_resnet50(), torch.randn(1, 3, 224, 224)),
        "DenseNet-121 after `to_xdnn` at 224": (x_densenet121(), torch.randn(1, 3, 224, 224)),
        "perceptron of 40 layers": (perceptron(*[64] * 41, bias=False), torch.randn(8, 64)),
    }
    for name, (net, x) in networks.items():
        x.requires_grad_()
        report(name, net, x)


def report(name: str, net: nn.Module, x: Tensor) -> None:
    """Print the microseconds for each operation above the bare forward pass."""

    def empty() -> None:
        with NoFunctions(), Nothing():
            net(x)

    ways: list[Callable[[], Any]] = [
        lambda: net(x),
        empty,
        lambda: watch(net, (x,), (0,), placed=False),
    ]
    least = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for place, way in enumerate(ways):
            start = time.process_time()
            way()
            least[place] = min(least[place], time.process_time() - start)
    tape = watch(net, (x,), (0,)).tape
    assert tape is not None
    each = [1e6 * (seconds - least[0]) / len(tape.path) for seconds in least[1:]]
    print(f"{name}: {len(tape.path)} operations, {each[0]:.1f} us empty, {each[1]:.1f} us watched")


if __name__ == "__main__":
    main()
