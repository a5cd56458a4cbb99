"""One object shared by many threads answers right, also while the first of them is tracing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

THREADS = 8
ROUNDS = 6


def _network(*, bias: bool) -> nn.Module:
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 9, 5, bias=bias),
    )
    return layers.double().eval()


def _expected(model: nn.Module, inputs: Tensor, target: int) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, target].sum(), leaf)
    return gradient * inputs


def test_eight_threads_share_one_object_from_its_first_call() -> None:
    model = _network(bias=False)
    method = XIntegratedGradients(model)
    gate = threading.Barrier(THREADS)

    def work(number: int) -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(number)
        gate.wait()
        answers = []
        for turn in range(ROUNDS):
            size = 1 + (number + turn) % 3
            inputs = torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64)
            target = (number + turn) % 5
            answers.append(
                (method.attribute(inputs, target=target), _expected(model, inputs, target))
            )
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        results = [pair for pairs in pool.map(work, range(THREADS)) for pair in pairs]
    assert len(results) == THREADS * ROUNDS
    for ours, expected in results:
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert method.last_route == "single_pass"


def test_the_model_runs_in_other_threads_while_one_is_tracing() -> None:
    model = _network(bias=True)
    inputs = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    expected = model(inputs).detach()
    wrong: list[object] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                output = model(inputs).detach()
            except Exception as error:
                wrong.append(error)
                return
            if type(output) is not Tensor or not torch.equal(output, expected):
                wrong.append(output)
                return

    others = [threading.Thread(target=run) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for size in (1, 2, 3):
            XIntegratedGradients(model).attribute(inputs[:1].expand(size, -1, -1, -1), target=0)
            model.train(not model.training)
    finally:
        stop.set()
        for other in others:
            other.join()
    assert not wrong
