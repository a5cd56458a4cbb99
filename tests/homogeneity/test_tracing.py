"""Tracing: for which batch sizes a graph holds, and what is in it."""

from __future__ import annotations

import torch
from small_networks import stack
from torch import Tensor, nn

from captum_xdnn.homogeneity import certify
from captum_xdnn.homogeneity.tracing import Traced, trace

X = torch.ones(2, 3)
MODEL = stack()


def ops(t: Traced) -> list[str]:
    return [str(n.target) for n in t.graph.nodes if n.op == "call_function"]


def test_one_graph_serves_every_batch_size_but_one() -> None:
    t = trace(MODEL, (X,))
    assert all(t.holds_for(size) for size in (2, 3, 7, 64))
    assert not t.holds_for(1)


def test_a_batch_of_one_has_a_graph_of_its_own() -> None:
    t = trace(MODEL, (X[:1],))
    assert t.holds_for(1)
    assert not t.holds_for(2)


def test_a_decision_on_the_parity_of_the_batch_is_a_guard() -> None:
    def function(x: Tensor) -> Tensor:
        return x.relu() if x.shape[0] % 2 == 0 else x.exp()

    even, odd = trace(function, (torch.ones(4, 3),)), trace(function, (torch.ones(5, 3),))
    assert [even.holds_for(n) for n in (2, 4, 5, 8, 9)] == [True, True, False, True, False]
    assert [odd.holds_for(n) for n in (2, 3, 5, 7, 8)] == [False, True, True, True, False]
    assert "aten.exp.default" in ops(odd)
    assert "aten.exp.default" not in ops(even)


def test_a_decision_on_the_size_of_the_batch_is_a_guard() -> None:
    def function(x: Tensor) -> Tensor:
        return x.relu() if x.shape[0] > 4 else x.exp()

    small, large = trace(function, (torch.ones(3, 3),)), trace(function, (torch.ones(6, 3),))
    assert [small.holds_for(n) for n in (2, 3, 4, 5, 6)] == [True, True, True, False, False]
    assert [large.holds_for(n) for n in (2, 4, 5, 6, 60)] == [False, False, True, True, True]


def test_a_graph_whose_batch_cannot_vary_holds_for_its_own_size() -> None:
    t = trace(lambda x: x + torch.ones(3, 3), (torch.ones(3, 3),))
    assert [t.holds_for(n) for n in (1, 2, 3, 4)] == [False, False, True, False]


def test_certificates_follow_the_guards() -> None:
    def function(x: Tensor) -> Tensor:
        return x.relu() if x.shape[0] % 2 == 0 else x.exp()

    assert [certify(function, torch.ones(n, 3)).homogeneous for n in (4, 5, 2, 3, 1)] == [
        True, False, True, False, False,
    ]  # fmt: skip


def test_several_inputs_share_the_batch() -> None:
    t = trace(lambda x, y: torch.cat([x, y], 1), (X, torch.ones(2, 5)))
    assert len(t.inputs) == 2
    assert [t.holds_for(n) for n in (1, 2, 9)] == [False, True, True]


def test_a_dimension_that_happens_to_equal_the_batch_stays_fixed() -> None:
    t = trace(MODEL, (torch.ones(3, 3),))
    assert t.holds_for(7)


def test_additional_arguments_are_placeholders_of_their_own() -> None:
    t = trace(
        lambda x, y, k, z: (x + y["a"]) * k + z, (X,), ({"a": torch.ones(3)}, 2.5, torch.ones(3))
    )
    assert len(t.inputs) == 1
    assert len(t.arguments) == 2


def test_constants_keep_their_names_in_the_model() -> None:
    t = trace(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval(), (X,))
    assert {name for name, _ in t.constants.values()} >= {
        "model.0.weight", "model.0.bias", "model.1.running_mean",
    }  # fmt: skip
    assert t.prefix == "model"


def test_constants_are_the_very_tensors_of_the_model() -> None:
    model = nn.Linear(3, 2)
    t = trace(model, (X,))
    held = dict(t.constants.values())
    assert held["model.weight"].data_ptr() == model.weight.data_ptr()
    with torch.no_grad():
        model.bias.fill_(7.0)
    assert held["model.bias"][0] == 7


def test_an_operation_of_a_library_that_is_loaded_later_is_taken_apart() -> None:
    """The table of decompositions is kept between traces, and must not outlive its contents."""
    assert certify(stack(), X).homogeneous
    library = torch.library.Library("captum_xdnn_late", "DEF")
    library.define("doubled(Tensor x) -> Tensor")
    library.impl("doubled", lambda x: x * 2, "CompositeImplicitAutograd")
    certificate = certify(lambda x: torch.ops.captum_xdnn_late.doubled(x).relu(), X)
    assert certificate.homogeneous, str(certificate)
