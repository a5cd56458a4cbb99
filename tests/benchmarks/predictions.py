"""What a certificate predicts of hoisting, beside what is measured: a table in Markdown.

Run ``OMP_NUM_THREADS=1 python -m tests.benchmarks.predictions``. Ratios are of processor time: the least of
some calls of each in turn, by either way, after the calls in which a route is chosen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_xdnn import XIntegratedGradients, certify

from .cases import HEADS, NETWORKS, PERCEPTRONS, Case, perceptron, under
from .networks import mlp, x_alexnet

CPU = torch.device("cpu")
UNTIL_CHOSEN = 4
"""Calls until the route is chosen by what was timed."""


def _convolutional() -> nn.Module:
    layers = [nn.Conv2d(1, 16, 5, bias=False), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))


CASES: dict[str, Case] = {
    **HEADS,
    **PERCEPTRONS,
    "MLP 100-128-10, batch 1": Case(lambda: mlp(bias=True), (1, 100), 15),
    "MLP 100-128-10, batch 8": Case(lambda: mlp(bias=True), (8, 100), 15),
    "MLP 100-128-10, batch 256": Case(lambda: mlp(bias=True), (256, 100), 5),
    "sigmoid on a bias-free MLP 118-512-128-10, batch 1": Case(
        lambda: perceptron(118, 512, 128, 10, bias=False, last=nn.Sigmoid()), (1, 118), 15
    ),
    "one convolution and an MLP, batch 16 of 28 x 28": Case(_convolutional, (16, 1, 28, 28), 5),
    "softmax on an AlexNet-sized X-DNN, batch 2 of 64 x 64": Case(
        under(x_alexnet, nn.Softmax(-1)), (2, 3, 64, 64), 3
    ),
    "AlexNet-sized X-DNN, batch 1 of 64 x 64": Case(x_alexnet, (1, 3, 64, 64), 3),
    "MLP 100-128-10 without biases, batch 8": Case(lambda: mlp(bias=False), (8, 100), 15),
    **NETWORKS,
}


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measured(case: Case) -> tuple[str, float, str, float]:
    """The route and the speed-up that a certificate predicts, and those that calls show."""
    model, inputs = case.made(CPU)
    certificate = certify(model, inputs)
    ours, captum = XIntegratedGradients(model), IntegratedGradients(model)
    calls = [
        lambda method=method: method.attribute(inputs, target=case.target)
        for method in (ours, captum)
    ]
    for _ in range(UNTIL_CHOSEN):
        calls[0]()
    rounds = [[seconds(call) for call in calls] for _ in range(max(3, case.rounds // 2))]
    mine, theirs = map(min, zip(*rounds, strict=True))
    predicted = "captum"
    if certificate.homogeneous:
        predicted = "single_pass"
    elif certificate.speed_up > 1:
        predicted = "hoisted or captum" if certificate.timed else "hoisted"
    return predicted, certificate.speed_up, str(ours.last_route), theirs / mine


def main() -> None:
    """Print the table, a line as soon as it is known."""
    logging.getLogger("captum_xdnn").setLevel("ERROR")
    torch.set_num_threads(1)
    print("| network | route predicted | taken | speed-up predicted | measured |")
    print("|---|---|---|---|---|")
    for name, case in CASES.items():
        predicted, expected, taken, found = measured(case)
        said = f"{expected:.1f}x" if predicted.startswith("hoisted") else ""
        line = f"| {name} | `{predicted}` | `{taken}` | {said} | {found:.1f}x |"
        print(line.replace(" or ", "` or `"), flush=True)


if __name__ == "__main__":
    main()
