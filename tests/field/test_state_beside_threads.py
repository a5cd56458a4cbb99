"""What other threads change while a call runs stays; what the watched run changed is taken back."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import outside
import pytest
import torch
from captum.attr import IntegratedGradients
from comparing import inputs, network
from torch import nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.proof.watching import watch
from captum_xdnn.recording.state import Noted


class Served(nn.Module):
    """Its own code counts; what comes in is noted by another thread only."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(bias=True)
        self.requests: list[Any] = []
        self.answers: dict[Any, Any] = {}
        self.seen: set[Any] = set()
        self.last: collections.deque[Any] = collections.deque()
        self.version = 0
        self.count, self.log, self.table = 0, [], {"n": 0}

    def forward(self, x):
        self.count += 1
        self.log.append("run")
        self.table["n"] += 1
        return self.net(x)


def noting(net: Served, step: int) -> None:
    net.requests.append(step)
    net.answers[step] = "answer"
    net.seen.add(step)
    net.last.append(step)
    net.version = step


@contextmanager
def beside(work: Callable[[int], Any]) -> Iterator[list[Any]]:
    """Another thread that works all the time."""
    stop, begun, done = threading.Event(), threading.Event(), []

    def run() -> None:
        while not stop.wait(0.0003):
            done.append(work(len(done)))
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(10)
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def test_what_another_thread_notes_on_the_network_is_kept() -> None:
    net = Served()
    with beside(lambda step: noting(net, step)) as done:
        for rows in range(1, 9):
            XIntegratedGradients(net).attribute(inputs(rows), target=1, n_steps=4)
    steps = list(range(len(done)))
    assert net.requests == steps
    assert list(net.last) == steps
    assert list(net.answers) == steps
    assert net.seen == set(steps)
    assert net.version == steps[-1]


@pytest.mark.parametrize("busy", [False, True])
def test_what_the_run_counts_is_captums_beside_other_threads(busy: bool) -> None:
    counts = []
    for kind in (IntegratedGradients, XIntegratedGradients):
        net = Served()
        work = (lambda step: sum(range(1000))) if busy else (lambda step: threading.Event().wait(1))
        with beside(work):
            for rows in (1, 2, 3):
                kind(net).attribute(inputs(rows), target=1, n_steps=4)
        counts.append((net.count, len(net.log), net.table["n"]))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("draws", ["nothing", "python", "numpy"])
def test_random_numbers_are_handed_out_once(draws: str) -> None:
    net = network(bias=True)
    sources = {"nothing": lambda: 1.0, "python": random.random, "numpy": np.random.random}
    source = sources[draws]
    random.seed(0)
    np.random.seed(0)
    mine = []

    def function(x):
        mine.append(source())
        return net(x)

    with beside(lambda step: (random.getrandbits(64), np.random.random())) as done:
        for rows in range(1, 9):
            XIntegratedGradients(function).attribute(inputs(rows), target=1, n_steps=4)
    assert len(set(done)) == len(done)
    assert len({n for n, _ in done}) == len({n for _, n in done}) == len(done)


@pytest.mark.parametrize("asleep", [0, 3])
def test_random_numbers_of_the_run_are_captums_while_others_sleep(asleep: int) -> None:
    """A notebook has threads, which sleep."""
    stop = threading.Event()
    sleepers = [threading.Thread(target=stop.wait) for _ in range(asleep)]
    for thread in sleepers:
        thread.start()
    answers = []
    try:
        for kind in (IntegratedGradients, XIntegratedGradients):
            net = network(bias=True)
            random.seed(3)
            np.random.seed(3)

            def function(x, net=net):
                return net(x) * random.random() + np.random.random()

            values = [kind(function).attribute(inputs(), target=1, n_steps=4) for _ in range(3)]
            answers.append((values, random.random(), np.random.random()))
    finally:
        stop.set()
        for thread in sleepers:
            thread.join()
    for one, two in zip(*(a[0] for a in answers), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)
    assert answers[0][1:] == answers[1][1:]


class Written(nn.Module):
    """Holds one of each kind, which ``write`` changes."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.deque, self.set = ["a"], collections.deque(["a"]), {"a"}
        self.table, self.ordered = {"a": 1}, collections.OrderedDict(a=1, b=2)
        self.number, self.name = 0, "before"

    def write(self, what: Any) -> None:
        for held in (self.items, self.deque):
            held.append(what)
        self.set.add(what)
        self.table[what] = self.ordered[what] = what

    def forward(self, x):
        self.write("run")
        self.table["a"] = self.ordered["a"] = 5
        self.number, self.late = 1, 2
        return x

    def state(self) -> list[Any]:
        held = [list(self.items), list(self.deque), set(self.set), dict(self.table)]
        return [*held, list(self.ordered.items()), self.number, self.name, hasattr(self, "late")]


def others(net: Written) -> None:
    net.write("other")
    net.name = "other"


def in_a_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _falls_asleep(thread: threading.Thread) -> None:
    """Wait until a thread does nothing, which takes long on a busy machine."""
    clock, before = time.pthread_getcpuclockid(thread.ident or 0), -1.0
    while (now := time.clock_gettime(clock)) != before:
        before = now
        time.sleep(0.05)


@contextmanager
def a_sleeper(on: bool) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    if on:
        thread.start()
        _falls_asleep(thread)
    yield
    stop.set()
    if on:
        thread.join()


@pytest.mark.parametrize("company", [False, True])
def test_what_nobody_else_changed_is_put_back_whole(company: bool) -> None:
    net = Written()
    before = net.state()
    with a_sleeper(company):
        noted = Noted(net)
        net(1)
        noted.close()
        net(1)  # a later run, of ours too
        noted.put_back()
        assert net.state() == before
        noted.put_back()
        assert net.state() == before


def test_what_others_changed_since_is_left() -> None:
    net = Written()
    expected = Written()
    others(expected)
    noted = Noted(net)
    net(1)
    noted.close()
    stop = threading.Event()
    thread = threading.Thread(target=lambda: (others(net), stop.wait()))
    thread.start()
    while net.name != "other":
        pass
    noted.put_back()
    noted.put_back()
    stop.set()
    thread.join()
    assert net.state() == expected.state()


def test_what_others_changed_meanwhile_is_left_where_no_code_of_the_networks_names_it() -> None:
    net = Served()
    stop, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (noting(net, 7), done.set(), stop.wait()))
    noted = Noted(net)
    thread.start()
    done.wait()
    net(inputs())
    noted.close()
    noted.put_back()
    stop.set()
    thread.join()
    assert (net.requests, net.answers, net.seen) == ([7], {7: "answer"}, {7})
    assert (list(net.last), net.version) == ([7], 7)
    assert (net.count, net.log, net.table) == (0, [], {"n": 0})


class Asking(nn.Module):
    """Asks another thread, which lives longer than the run, for something in its first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.drop, self.late = network(bias=True), 0.5, None

    def forward(self, x):
        # Reads `training` and binds nothing.
        y = torch.nn.functional.dropout(self.net(x), self.drop if self.training else 0.0)
        if outside.seen:
            POOL.submit(outside.seen.pop()).result()
        return y


POOL = ThreadPoolExecutor(1)


@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("how", ["train", "attribute", "of a part"])
def test_a_mode_that_another_thread_sets_meanwhile_stays(how: str, begin: bool) -> None:
    modes = []
    for kind in (IntegratedGradients, XIntegratedGradients):
        net = Asking().double().train(begin)
        wishes: dict[str, Callable[[], Any]] = {
            "train": lambda net=net: net.train(not begin),
            "attribute": lambda net=net: setattr(net, "training", not begin),
            "of a part": lambda net=net: net.net.train(not begin),
        }
        outside.seen[:] = [wishes[how]]
        kind(net).attribute(inputs().double(), target=1, n_steps=4)
        modes.append([module.training for module in net.modules()])
    assert modes[0] == modes[1]
    assert (not begin) in modes[1]


def test_a_mode_that_the_function_sets_itself_is_put_back_beside_others() -> None:
    class Switching(Asking):
        def forward(self, x):
            self.train()
            POOL.submit(sum, range(10**5)).result()
            return super().forward(x).sin()

    net = Switching().eval()
    noted = Noted(net)
    net(inputs())
    noted.close()
    noted.put_back()
    assert not net.training


@pytest.mark.parametrize("when", ["in the run", "after it"])
@pytest.mark.parametrize("own", [False, True])
def test_torchs_random_numbers_are_handed_out_once(when: str, own: bool) -> None:
    generator = torch.Generator().manual_seed(7) if own else None
    torch.manual_seed(7)
    outside.seen.clear()

    def draw() -> None:
        outside.seen.append(float(torch.rand((), generator=generator)))

    def function(x):
        factor = torch.rand((), generator=generator)
        outside.seen.append(float(factor))
        if when == "in the run":
            POOL.submit(draw).result()
        return x * factor

    watched = watch(function, [inputs().requires_grad_()], [0])
    if when == "after it":
        POOL.submit(draw).result()
    watched.put_back()
    draw()
    assert len(set(outside.seen)) == len(outside.seen) == 3


@pytest.mark.parametrize("own", [False, True])
def test_torchs_random_numbers_are_put_back_beside_a_busy_thread_that_draws_none(own: bool) -> None:
    generator = torch.Generator() if own else torch.default_generator
    generator.manual_seed(7)
    before = generator.get_state()

    def function(x):
        for _ in range(3):
            x = x * torch.rand((), generator=generator if own else None)
            POOL.submit(sum, range(10**5)).result()
        return x

    watched = watch(function, [inputs().requires_grad_()], [0])
    assert not torch.equal(generator.get_state(), before)
    POOL.submit(sum, range(10**5)).result()
    watched.put_back()
    assert torch.equal(generator.get_state(), before)


def test_what_another_thread_writes_into_a_buffer_since_the_run_stays() -> None:
    class Averaging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.mean.mul_(0.9).add_(1)
            self.count += 1
            return x.sin()

    net = Averaging()
    watched = watch(net, [inputs().requires_grad_()], [0])
    POOL.submit(lambda: net.mean.fill_(5)).result()
    version = net.mean._version
    watched.put_back()
    watched.put_back()
    assert (net.mean == 5).all()
    assert net.mean._version == version  # autograd of the other thread counts on it
    assert net.count == 0
