"""One object shared by many threads answers right, also while the first of them is tracing."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import captum_xdnn
from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients, acceleration
from captum_xdnn.recording import steps
from captum_xdnn.routes import announcement, known_functions

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


def in_a_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class Interrupted(nn.Module):
    """Another thread works in the middle of a pass of the one that is told."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.of, self.work = nn.Linear(3, 2, bias=False), 0, None

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        if self.of == threading.get_ident():
            in_a_thread(self.work)
        return output


def test_each_thread_sees_its_own_last_call() -> None:
    net = Interrupted()
    xig, mine, others = XIntegratedGradients(net), torch.rand(4, 3), torch.rand(4, 3)
    seen: list[Any] = []

    def work() -> None:
        xig.strategy = "captum"
        xig.attribute(others, target=0, n_steps=2)
        seen.append((xig.last_route, xig.certificate, xig.last_outputs))
        xig.strategy = "auto"
        xig.attribute(others, target=0, create_graph=True)
        seen.append(xig.last_outputs)

    xig.attribute(mine, target=0, create_graph=True)
    net.of, net.work = threading.get_ident(), work
    xig.attribute(mine, target=0, create_graph=True)
    net.of = 0
    assert seen[0] == ("captum", None, None)
    assert torch.equal(seen[1], net(others))
    in_a_thread(lambda: xig.attribute(others, target=0, create_graph=True))
    assert xig.last_outputs is not None
    assert torch.equal(xig.last_outputs, net(mine))
    assert xig.last_route == "single_pass"


def test_a_thread_that_made_no_call_is_given_no_outputs_of_one_among_several() -> None:
    net = nn.Linear(3, 2, bias=False)
    xig, x = XIntegratedGradients(net), torch.rand(4, 3)
    in_a_thread(lambda: xig.attribute(x, target=0))
    assert torch.equal(xig.last_outputs, net(x))
    in_a_thread(lambda: xig.attribute(2 * x, target=0))
    assert xig.last_outputs is None
    assert xig.last_route == "single_pass"
    assert pickle.loads(pickle.dumps(xig)).last_route is None
    xlig = XLayerIntegratedGradients(net, net)
    in_a_thread(lambda: xlig.attribute(x, target=0))
    assert xlig.last_route == "single_pass"


def test_tasks_of_asyncio() -> None:
    net = nn.Linear(3, 2, bias=False)
    xig = XIntegratedGradients(net)

    async def request(number: int, pool: ThreadPoolExecutor) -> None:
        x = torch.full((4, 3), float(number + 1))
        loop = asyncio.get_running_loop()
        with captum_xdnn.accelerate_captum():
            found, outputs = await loop.run_in_executor(
                pool, lambda: (xig.attribute(x, target=1), xig.last_outputs)
            )
            captums = captum.attr.IntegratedGradients(net)
            again = await asyncio.to_thread(lambda: captums.attribute(x, target=1))
        assert torch.equal(outputs, net(x))
        torch.testing.assert_close(found, x * net.weight[1])
        torch.testing.assert_close(again, found)

    async def serve() -> None:
        with ThreadPoolExecutor(4) as pool:
            await asyncio.gather(*(request(number, pool) for number in range(12)))

    before = captum.attr.IntegratedGradients.attribute
    asyncio.run(serve())
    assert captum.attr.IntegratedGradients.attribute is before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("holder", [steps, known_functions, acceleration])
def test_a_child_forked_while_another_thread_holds_a_lock(holder: Any) -> None:
    method, x = XIntegratedGradients(nn.Linear(3, 2, bias=False)), torch.rand(4, 3)
    method.attribute(x, target=0)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with holder._LOCK:
            held.set()
            go_on.wait(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends it if it waits for a thread that it has not
        with captum_xdnn.accelerate_captum():
            XIntegratedGradients(nn.Linear(3, 2, bias=False)).attribute(x, target=0)
        os._exit(0)
    go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_many_threads_register_and_unregister() -> None:
    def work(_: int) -> None:
        for _turn in range(30):
            captum_xdnn.unregister()
            captum_xdnn.register()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    captum_xdnn.register()
    names = [name for name in captum.attr.__all__ if name.startswith("XI")]
    assert len(names) == len(set(names)) > 0


def test_threads_that_come_at_once_are_given_one_notice(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement, "_noticed", {})
    gate = threading.Barrier(THREADS)

    class Kind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sin() * x.cos()

    def work(number: int) -> None:
        method = XIntegratedGradients(Kind())
        gate.wait()
        method.attribute(torch.rand(1 + number, 3), target=1, n_steps=2)

    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_runs_left_is_forgotten_by_several_threads_at_once() -> None:
    """As many tensors as are remembered at most, kept by the caller, from each of the threads."""
    memory, kept = known_functions.Memory(), [torch.zeros(1) for _ in range(600)]
    gate = threading.Barrier(THREADS)

    def work(_: int) -> None:
        gate.wait()
        memory.leave([lambda t=t: t for t in kept])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert len(memory.left) == known_functions.MOST_LEFT
