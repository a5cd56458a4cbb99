"""It looks like Captum's method: its signature, its errors, and what a call leaves behind."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from accelerated_networks import BEFORE, CLOSE, NETWORKS, SAME, assert_captums, network, rows
from captum.attr import IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients
from torch.testing import assert_close

import captum_xdnn
from captum_xdnn import accelerate_captum


def test_it_looks_like_captums_method() -> None:
    captums = BEFORE["attribute"]
    with accelerate_captum():
        now = captum.attr.IntegratedGradients.attribute
        assert now is not captums
        assert inspect.signature(now) == inspect.signature(captums)
        for name in ("__name__", "__qualname__", "__doc__"):
            assert getattr(now, name) == getattr(captums, name)
        assert callable(now.__wrapped__)
        assert now.__wrapped__ is not captums.__wrapped__
        assert list(inspect.signature(now.__wrapped__).parameters) == list(
            inspect.signature(captums.__wrapped__).parameters
        )


def test_calls_of_what_is_wrapped() -> None:
    method, x = IntegratedGradients(network()), rows()
    expected = method.attribute(x, target=1)
    with accelerate_captum() as acceleration:
        found = method.attribute.__wrapped__(method, x, target=1)
        kept = method.attribute
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found, expected, **CLOSE)
    # A bound method that somebody kept goes on as it was made.
    assert_close(kept(x, target=1), expected, **CLOSE)
    assert acceleration.routes == Counter(single_pass=1)


def test_all_arguments_by_position() -> None:
    net, x = network(), rows()
    method = IntegratedGradients(lambda z, scale: net(z) * scale)
    arguments = (x, torch.zeros(1, 6).double(), 1, (3.0,), 7, "riemann_middle", 8, True)
    expected = method.attribute(*arguments)
    with accelerate_captum() as acceleration:
        found = method.attribute(*arguments)
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found[0], expected[0], **CLOSE)
    assert_close(found[1], expected[1], rtol=0, atol=1e-7)


def test_a_tuple_of_inputs_gives_a_tuple() -> None:
    left, right = network(), network()
    method = IntegratedGradients(lambda a, b: left(a) + right(b))
    inputs = (rows(), rows())
    found = assert_captums(method, inputs, Counter(single_pass=1), target=1)
    assert type(found) is tuple


WRONG: dict[str, dict[str, Any]] = {
    "target too large": {"target": 3},
    "target missing": {},
    "target of text": {"target": "cat"},
    "targets too few": {"target": [0, 1]},
    "baseline of another shape": {"target": 1, "baselines": torch.zeros(4, 5)},
    "baseline of text": {"target": 1, "baselines": "zero"},
    "unknown rule": {"target": 1, "method": "simpson"},
    "no steps": {"target": 1, "n_steps": 0},
    "steps of text": {"target": 1, "n_steps": "50"},
    "one step of the left rule": {"target": 1, "n_steps": 1, "method": "riemann_left"},
    "a bound of text": {"target": 1, "internal_batch_size": "4"},
    "an array": {"inputs": np.zeros((4, 6)), "target": 1},
    "too many features": {"inputs": torch.zeros(4, 7).double(), "target": 1},
    "an argument too many": {"target": 1, "additional_forward_args": (3,)},
    "an unknown keyword": {"target": 1, "steps": 5},
    "a keyword of this package's classes": {"target": 1, "create_graph": True},
}


@pytest.mark.parametrize("route", ["single_pass", "hoisted"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_raises_captums_exception(name: str, route: str) -> None:
    method = IntegratedGradients(NETWORKS[route]())
    call = {"inputs": rows(), **WRONG[name]}
    with pytest.raises(Exception) as captums:  # noqa: PT011 - whichever it is
        method.attribute(**call)
    with accelerate_captum(), pytest.raises(captums.type) as found:
        method.attribute(**call)
    assert found.type is captums.type
    if captums.type is not TypeError:
        assert str(found.value) == str(captums.value)


@pytest.mark.parametrize(
    "again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy]
)
def test_objects_made_inside_pickle_and_copy(again: Callable[[Any], Any]) -> None:
    x = rows()
    with accelerate_captum() as acceleration:
        method = IntegratedGradients(network(), False)
        answer = method.attribute(x, target=1)
        twin = again(method)
        assert_close(twin.attribute(x, target=1), answer, **SAME)
    assert acceleration.routes == Counter(single_pass=2)
    assert type(again(method)) is IntegratedGradients
    assert_close(again(twin).attribute(x, target=1), answer, **CLOSE)
    assert vars(method).keys() == vars(IntegratedGradients(network())).keys()


def test_the_model_is_as_captum_leaves_it() -> None:
    net, x = network(), rows()
    calls = Counter[str]()
    net[0].register_forward_hook(lambda *_: calls.update(["forward"]))
    x.requires_grad_()
    with accelerate_captum():
        IntegratedGradients(net).attribute(x, target=1)
        LayerIntegratedGradients(net, net[2]).attribute(x, target=1)
        NeuronIntegratedGradients(net, net[2]).attribute(x, 1)
    assert x.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(not module._forward_hooks for module in list(net)[1:])
    assert all(not module._forward_pre_hooks for module in net.modules())
    assert calls["forward"] > 0


def test_it_is_exported() -> None:
    assert captum_xdnn.accelerate_captum is accelerate_captum
    assert "accelerate_captum" in captum_xdnn.__all__
