"""What is proved because of values that a run shows: numbers that are finite, permutations, ranges, parts that are zero."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from captum_xdnn import XIntegratedGradients, certify

F = nn.functional
W = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(8, 6).sin()
X = torch.linspace(-2, 1, 18, dtype=torch.float64).reshape(3, 6).cos()
ORDER = torch.tensor([3, 1, 0, 2, 7, 6, 4, 5])


def h(x: Tensor) -> Tensor:
    return (x @ W.T).relu()


def of_zeros(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def scattered(x: Tensor) -> Tensor:
    inverse = torch.empty_like(ORDER)
    inverse.scatter_(0, ORDER, torch.arange(8))
    return h(x)[:, inverse] @ W


def put(x: Tensor) -> Tensor:
    out = torch.empty_like(h(x))
    out[:, ORDER] = h(x)
    return out @ W


BOUNDS = torch.tensor([math.inf, 0, math.inf, 0, math.inf, 0, 0, math.inf], dtype=torch.float64)

PROVED = {
    "nan_to_num": lambda x: torch.nan_to_num(h(x)) @ W,
    "nan_to_num_in_place": lambda x: h(x).clone().nan_to_num_(posinf=3.0) @ W,
    "nan_to_num_of_what_is_no_number": lambda x: torch.nan_to_num(h(x) ** 2 / h(x)) @ W,
    "one_hot": lambda x: (F.one_hot(h(x).argmax(1), 8) * h(x)) @ W,
    "one_hot_by_name": lambda x: (F.one_hot(h(x).argmax(1), num_classes=9)[:, :8] * h(x)) @ W,
    "scatter_by_a_permutation": scattered,
    "put_by_a_permutation": put,
    "rrelu_in_place": lambda x: F.rrelu(x @ W.T, inplace=True) @ W,
    "dist": lambda x: torch.stack([torch.dist(row, of_zeros((8,))) for row in h(x)]),
    "mse_of_zeros": lambda x: F.mse_loss(h(x), of_zeros(h(x).shape), reduction="none").sum(1),
    "cosine_without_eps": lambda x: F.cosine_similarity(h(x), h(x).flip(1), eps=0) * h(x).sum(1),
    "clamped_by_a_tensor": lambda x: (x @ W.T).clamp(max=BOUNDS) @ W,
    "the_third_root": lambda x: F.lp_pool1d(h(x)[:, None], 3.0, 2)[:, 0].sum(1) + h(x).sum(1),
    "an_embedding_bag": lambda x: F.embedding_bag(
        ORDER.expand(3, 8), W, mode="sum", per_sample_weights=h(x)
    ),
    "a_segment": lambda x: torch.segment_reduce(
        h(x), "max", lengths=torch.tensor([[3, 5]] * len(x)), axis=1
    ).sum(1),
}


def choose(function: Any) -> Any:
    """One number for each example."""

    def chosen(x: Tensor) -> Tensor:
        result = function(x)
        return result.flatten(1)[:, -1] if result.dim() > 1 else result

    return chosen


def integral(function: Any, x: Tensor, steps: int = 60) -> Tensor:
    """Integrated Gradients as a sum over the ray, without Captum."""
    total = torch.zeros_like(x)
    for step in range(steps):
        place = ((step + 0.5) / steps * x).requires_grad_()
        total += torch.autograd.grad(function(place * 1.0).sum(), place)[0]
    return x * total / steps


@pytest.mark.parametrize("name", PROVED)
def test_it_is_proved_and_the_integral(name: str) -> None:
    function = choose(PROVED[name])
    certificate = certify(function, X)
    assert certificate.homogeneous, certificate
    xig = XIntegratedGradients(function, strategy="single_pass")
    for x in (X, 3 * X.flip(0)):
        places = 400 if certificate.degree == 2 else 60
        torch.testing.assert_close(
            xig.attribute(x), integral(function, x, places), rtol=1e-4, atol=1e-9
        )


def _packed(rnn: nn.RNN, x: Tensor, lengths: Tensor, *, last: bool) -> Tensor:
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output, state = rnn(packed)
    if not last:
        return state[-1].sum(1)
    padded, ends = pad_packed_sequence(output, batch_first=True)
    return padded[torch.arange(len(x)), ends - 1].sum(1)


@pytest.mark.parametrize("last", [True, False])
def test_sequences_of_several_lengths(last: bool) -> None:
    words = torch.linspace(-1, 2, 72, dtype=torch.float64).reshape(3, 4, 6).sin()
    lengths = torch.tensor([2, 4, 1])
    plain, biased = (
        nn.RNN(6, 4, nonlinearity="relu", bias=bias, batch_first=True).double()
        for bias in (False, True)
    )
    function = lambda x: _packed(plain, x, lengths, last=last)  # noqa: E731
    assert certify(function, words).homogeneous
    assert not certify(lambda x: _packed(biased, x, lengths, last=last), words).homogeneous
    xig = XIntegratedGradients(function, strategy="single_pass")
    torch.testing.assert_close(
        xig.attribute(words), integral(function, words), rtol=1e-6, atol=1e-9
    )
    lengths.copy_(torch.tensor([4, 1, 3]))  # another order, another verdict on the same steps
    torch.testing.assert_close(
        xig.attribute(words), integral(function, words), rtol=1e-6, atol=1e-9
    )


def _indices_twice(x: Tensor) -> Tensor:
    out = torch.empty_like(h(x))
    out[:, torch.tensor([0, 1, 2, 3, 4, 5, 6, 6])] = h(x)
    return out.sum(1)


def _added_to_memory(x: Tensor) -> Tensor:
    out = torch.empty_like(h(x))
    out.index_put_((torch.arange(3)[:, None], ORDER[None]), h(x), accumulate=True)
    return out.sum(1)


def _scattered_in_part(x: Tensor) -> Tensor:
    kept = torch.empty(8, dtype=torch.float64)
    kept.scatter_(0, torch.arange(7), torch.ones(7, dtype=torch.float64))
    return (h(x) * kept).sum(1)


def _written_by_itself(x: Tensor) -> Tensor:
    kept = torch.empty(8, dtype=torch.float64)
    return (h(x) * kept.scatter_(0, ORDER, kept.clone())).sum(1)


def _out_of_range(x: Tensor) -> Tensor:
    try:
        F.one_hot(h(x).argmax(1), 3)
    except (RuntimeError, IndexError):
        return h(x).sum(1)
    return (x @ W.T).sum(1)


REFUSED = {
    "infinite": lambda x: torch.nan_to_num(h(x) * math.inf).sum(1) + h(x).sum(1),
    "replaced_by_one": lambda x: torch.nan_to_num(h(x), nan=1.0).sum(1),
    "one_hot_counted": lambda x: F.one_hot(h(x).argmax(1)).sum() * h(x).sum(1),
    "one_hot_out_of_range": _out_of_range,
    "indices_twice": _indices_twice,
    "added_to_memory": _added_to_memory,
    "scattered_in_part": _scattered_in_part,
    "written_by_itself": _written_by_itself,
    "dist_from_ones": lambda x: torch.dist(h(x), of_zeros((3, 8)) + 1) * h(x).sum(1),
    "a_bound_that_is_finite": lambda x: (x @ W.T).clamp(max=BOUNDS + 1).sum(1),
    "rrelu_in_training": lambda x: F.rrelu(x @ W.T, training=True, inplace=True).sum(1),
    "a_segment_of_ones": lambda x: torch.segment_reduce(
        h(x), "max", lengths=torch.tensor([[3, 5]] * len(x)), axis=1, initial=1
    ).sum(1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    assert not certify(REFUSED[name], X).homogeneous


def test_each_call_looks_whether_its_numbers_are_finite() -> None:
    """Without checks as well: another input may be infinite there."""
    function = lambda x: torch.nan_to_num(h(x) ** 2 / x[:, :1].abs()) @ W  # noqa: E731
    infinite = X.clone()
    infinite[0, 0] = 0
    for verify in (True, False):
        xig = XIntegratedGradients(function, verify=verify)
        routes = []
        for x in (X, infinite, X, X):
            xig.attribute(x, target=0)
            routes.append(xig.last_route)
        assert routes == ["single_pass", "captum", "single_pass", "single_pass"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, t: F.mse_loss(h(x), t.expand(len(x), 8), reduction="none").sum(1),
        lambda x, t: F.cosine_similarity(h(x), h(x).flip(1) + t, eps=0) * h(x).sum(1),
        lambda x, t: (x @ W.T).clamp(max=torch.where(t == 0, math.inf, t)).sum(1),
    ],
)
def test_each_call_asks_again_what_its_proof_rests_on(function: Any) -> None:
    """A tensor inside of an operation that is taken apart, and a bound that is infinite."""
    held = of_zeros((8,))
    xig = XIntegratedGradients(lambda x: function(x, held))
    routes = []
    for value in (0.0, 0.25, 0.0):
        held[2] = value
        xig.attribute(X)
        routes.append(xig.last_route)
    assert routes[0] == routes[2] == "single_pass" != routes[1]


def test_what_probabilities_choose_is_not_what_logits_choose() -> None:
    """They saturate: why no rule lets a softmax or a sigmoid pass under argmax alone."""
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = torch.tensor([[20.0, 30.0]])

    def function(z: Tensor) -> Tensor:
        logits = z @ weight
        return logits.gather(1, logits.sigmoid().argmax(1, keepdim=True))[:, 0]

    assert function(x) == 20  # both are 1, and the first one is taken
    assert function(x / 10) == 3
    assert not certify(function, x).homogeneous
    assert certify(lambda z: (z @ weight).amax(1), x).homogeneous


def test_how_many_boxes_stay_is_a_value() -> None:
    """Torch is not told so: the number would look like a constant."""
    vision = pytest.importorskip("torchvision.ops")

    def function(x: Tensor) -> Tensor:
        corners = h(x)[:, :4].cumsum(1) + 1
        kept = vision.nms(corners, h(x)[:, 5], 0.5)
        corners[kept].sum()
        return h(x).sum(1) / len(kept)

    assert not certify(function, X).homogeneous


LIBRARY = torch.library.Library("test_what_runs_show", "DEF")
LIBRARY.define("kept(Tensor x) -> Tensor")
LIBRARY.impl("kept", lambda x: x[x > 0.5], "CPU")
LIBRARY.define("doubled(Tensor x) -> Tensor")
LIBRARY.impl("doubled", lambda x: 2 * x, "CPU")
LIBRARY.impl("doubled", torch.empty_like, "Meta")


@torch.library.custom_op("test_what_runs_show::selected", mutates_args=())
def selected(x: Tensor) -> Tensor:
    return x[x > 0.5]


@selected.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(torch.library.get_ctx().new_dynamic_size())


OWN = torch.ops.test_what_runs_show
COUNTS = {
    "len": lambda found: len(found.sum() * 0 + found),
    "shape of what is made of it": lambda found: (2 * found).shape[0],
    "rows": lambda found: sum(1 for _ in found),
    "ones": lambda found: torch.ones_like(found).sum(),
}


@pytest.mark.parametrize("operator", ["kept", "selected"])
@pytest.mark.parametrize("count", COUNTS)
def test_how_much_an_operator_of_ones_own_returns_is_a_value(operator: str, count: str) -> None:
    def function(x: Tensor) -> Tensor:
        found = getattr(OWN, operator)(h(x).detach())
        return h(x).sum(1) / COUNTS[count](found)

    certificate = certify(function, X)
    assert not certificate.homogeneous
    assert "register_fake" in str(certificate)


def test_an_operator_that_says_its_form_lacks_a_rule_and_no_more() -> None:
    certificate = certify(lambda x: OWN.doubled((h(x) @ W).sum(1)), X)
    assert [b.reason.partition(" ")[0] for b in certificate.blockers] == ["there"]
    assert "no rule" in certificate.blockers[0].reason
