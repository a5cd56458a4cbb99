"""Acceleration is in force, and then no more: nested, by exceptions, and among threads."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import captum.attr
import pytest
from accelerated_networks import BEFORE, CLOSE, NETWORKS, in_place, network, rows
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.testing import assert_close

from captum_xdnn import accelerate_captum


def test_nesting() -> None:
    method, x = IntegratedGradients(network()), rows()
    outer, inner = accelerate_captum(), accelerate_captum()
    with outer:
        method.attribute(x, target=1)
        with inner:
            method.attribute(x, target=1)
        changed = IntegratedGradients.attribute
        method.attribute(x, target=1)
        assert changed is not BEFORE["attribute"]
    method.attribute(x, target=1)
    assert (outer.routes, inner.routes) == (Counter(single_pass=3), Counter(single_pass=1))


def test_one_object_twice() -> None:
    method, x = IntegratedGradients(network()), rows()
    acceleration = accelerate_captum()
    with acceleration:
        with acceleration as again:
            assert again is acceleration
            method.attribute(x, target=1)
        method.attribute(x, target=1)
        assert acceleration.routes == Counter(single_pass=2)
    with acceleration:
        assert acceleration.routes == Counter()
        method.attribute(x, target=1)
    assert acceleration.routes == Counter(single_pass=1)


def test_objects_left_in_another_order() -> None:
    first, second = accelerate_captum().enable(), accelerate_captum().enable()
    first.disable()
    assert IntegratedGradients.attribute is not BEFORE["attribute"]
    second.disable()
    assert in_place() == BEFORE


def test_it_is_undone_on_an_exception() -> None:
    def leave() -> None:
        with accelerate_captum():
            assert IntegratedGradients.attribute is not BEFORE["attribute"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave()
    assert in_place() == BEFORE


def test_disabling_more_often_than_enabling_takes_nothing_from_others() -> None:
    never, once, other = accelerate_captum(), accelerate_captum(), accelerate_captum()
    never.disable()
    assert in_place() == BEFORE
    with other:
        never.disable()
        once.enable()
        for _ in range(3):
            once.disable()
        assert IntegratedGradients.attribute is not BEFORE["attribute"]
    once.disable()
    assert in_place() == BEFORE
    assert once.enable() is once
    assert IntegratedGradients.attribute is not BEFORE["attribute"]
    once.disable()


def test_an_object_that_was_never_enabled_counts_nothing() -> None:
    idle = accelerate_captum()
    with accelerate_captum():
        IntegratedGradients(network()).attribute(rows(), target=1)
    assert idle.routes == Counter()
    assert accelerate_captum().routes == Counter()


def test_routes_are_a_copy() -> None:
    with accelerate_captum() as acceleration:
        acceleration.routes["single_pass"] += 7
        IntegratedGradients(network()).attribute(rows(), target=1)
    acceleration.routes.clear()
    assert acceleration.routes == Counter(single_pass=1)


THREADS, ROUNDS = 6, 8


def test_threads_enter_and_leave_while_others_attribute() -> None:
    x = rows()
    methods = [IntegratedGradients(make()) for make in NETWORKS.values()]
    expected = [method.attribute(x, target=1) for method in methods]
    gate = threading.Barrier(2 * THREADS)

    def switch(number: int) -> None:
        gate.wait()
        for turn in range(10 * ROUNDS):
            acceleration = accelerate_captum().enable()
            if (number + turn) % 3 == 0:
                with acceleration:
                    assert acceleration.routes.total() >= 0
            acceleration.disable()

    def attribute(number: int) -> list[tuple[Tensor, Tensor]]:
        gate.wait()
        pairs = []
        for turn in range(ROUNDS):
            which = (number + turn) % len(methods)
            pairs.append((methods[which].attribute(x, target=1), expected[which]))
        return pairs

    with ThreadPoolExecutor(2 * THREADS) as pool:
        switching = [pool.submit(switch, number) for number in range(THREADS)]
        working = [pool.submit(attribute, number) for number in range(THREADS)]
        for future in switching:
            future.result()
        pairs = [pair for future in working for pair in future.result()]
    assert len(pairs) == THREADS * ROUNDS
    for found, right in pairs:
        assert_close(found, right, **CLOSE)
    assert captum.attr.IntegratedGradients.attribute is BEFORE["attribute"]


def test_every_call_of_many_threads_is_counted() -> None:
    x = rows()
    methods = [IntegratedGradients(NETWORKS[route]()) for route in ("single_pass", "hoisted")]
    with accelerate_captum() as acceleration, ThreadPoolExecutor(THREADS) as pool:
        for future in [
            pool.submit(methods[turn % 2].attribute, x, target=1)
            for turn in range(THREADS * ROUNDS)
        ]:
            future.result()
    assert acceleration.routes == Counter(
        single_pass=THREADS * ROUNDS // 2, hoisted=THREADS * ROUNDS // 2
    )
