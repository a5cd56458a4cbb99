"""What is kept of each function, what makes it be read anew, and what may support a claim."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.homogeneity import Certificate, knowledge, tracing
from captum_xdnn.homogeneity import certify as certify_anew
from captum_xdnn.homogeneity.knowledge import KEPT_ANALYSES, KEPT_CALLS, RESTLESS, knowledge_of

X = torch.ones(2, 3)


def certify(
    function: Callable[..., Any],
    inputs: Any,
    baselines: Any = None,
    additional_forward_args: Any = (),
) -> Certificate:
    """What an attribution asks, which trusts the values that it has read; see the last section."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    baselines = (0,) * len(inputs) if baselines is None else baselines
    baselines = baselines if isinstance(baselines, tuple) else (baselines,)
    more = additional_forward_args
    more = more if isinstance(more, tuple) else (more,)
    return knowledge_of(function).analyse(function, inputs, baselines, more).certificate


class Counter:
    """How often something was called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.count = function, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.function(*args, **kwargs)

    def since(self) -> int:
        """Calls since this was last asked."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter(tracing.trace)
    monkeypatch.setattr(tracing, "trace", counter)
    return counter


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter(knowledge.analyse)
    monkeypatch.setattr(knowledge, "analyse", counter)
    return counter


def stack(*, bias: bool = False) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 4, bias=bias), nn.ReLU(), nn.Linear(4, 2, bias=False))
    if bias:
        nn.init.zeros_(model[0].bias)
    return model


# -- one trace ----------------------------------------------------------------------------------


def test_a_function_is_traced_and_analysed_once(traces: Counter, analyses: Counter) -> None:
    model = stack()
    first = certify(model, X)
    assert (traces.since(), analyses.since()) == (1, 1)
    assert all(certify(model, torch.randn(n, 3)) == first for n in (2, 2, 5, 17))
    assert (traces.since(), analyses.since()) == (0, 0)


def test_a_batch_of_one_is_traced_for_itself(traces: Counter) -> None:
    model = stack()
    certify(model, X)
    certify(model, X[:1])
    certify(model, X)
    certify(model, X[:1])
    assert traces.count == 2


def test_all_who_ask_share_what_is_known(traces: Counter) -> None:
    model = stack()
    threads = [threading.Thread(target=certify, args=(model, X)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert traces.count == 1
    assert knowledge_of(model) is knowledge_of(model)
    assert knowledge_of(model) is not knowledge_of(stack())


def test_bound_methods_share_by_their_object(traces: Counter) -> None:
    model = stack()
    assert certify(model.forward, X).homogeneous
    assert certify(model.forward, X).homogeneous
    assert traces.count == 1
    assert knowledge_of(model.forward) is knowledge_of(model.forward)
    assert knowledge_of(model.forward) is not knowledge_of(model)
    assert knowledge_of(model.forward) is not knowledge_of(stack().forward)


@pytest.mark.parametrize(
    "other",
    [
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(2, 5, 3),
        torch.ones(3, 2).t(),
    ],
)
def test_other_shapes_dtypes_and_layouts_are_traced_anew(other: Tensor, traces: Counter) -> None:
    function = lambda x: x.relu()  # noqa: E731
    certify(function, X)
    certify(function, other)
    assert traces.since() == 2
    certify(function, X)
    certify(function, other)
    assert traces.since() == 0


def test_a_decision_on_the_layout_is_not_carried_over() -> None:
    function = lambda x: x.relu() if x.is_contiguous() else x.exp()  # noqa: E731
    assert certify(function, torch.ones(2, 3)).homogeneous
    assert not certify(function, torch.ones(3, 2).t()).homogeneous


def test_autocast_around_the_call_is_part_of_what_is_known(traces: Counter) -> None:
    model = stack()
    certify(model, X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert certify(model, X).homogeneous
        assert certify(model, X).homogeneous
    assert certify(model, X).homogeneous
    assert traces.count == 2


def test_a_refusal_to_trace_is_remembered(traces: Counter) -> None:
    function = lambda x: x if x.sum() > 0 else -x  # noqa: E731
    assert {str(certify(function, X)) for _ in range(3)} == {str(certify(function, X))}
    assert traces.count == 1


# -- what makes it be read anew -----------------------------------------------------------------


def test_weights_may_change_where_no_value_was_read(traces: Counter, analyses: Counter) -> None:
    model = stack()
    certify(model, X)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(X).sum().backward()
        optimizer.step()
        assert certify(model, X).homogeneous
    model.load_state_dict(stack().state_dict())
    assert certify(model, X).homogeneous
    assert (traces.count, analyses.count) == (1, 1)


BIAS_CHANGES: dict[str, Callable[[nn.Sequential], Any]] = {
    "under no_grad": lambda m: torch.no_grad()(m[0].bias.fill_)(1.0),
    "load_state_dict": lambda m: m.load_state_dict(
        {k: torch.ones_like(v) for k, v in m.state_dict().items()}
    ),
    "through .data": lambda m: setattr(m[0].bias, "data", torch.ones(4)),
    "an optimizer": lambda m: _step(m),
    "a slice": lambda m: torch.no_grad()(m[0].bias[1:].fill_)(1.0),
}


def _step(model: nn.Sequential) -> None:
    (model(X).sum() + model[0].bias.sum()).backward()
    torch.optim.SGD(model.parameters(), 0.1).step()


@pytest.mark.parametrize("change", BIAS_CHANGES)
def test_a_bias_that_becomes_something_is_noticed_without_another_trace(
    change: str, traces: Counter
) -> None:
    model = stack(bias=True)
    assert certify(model, X).relied == ("0.bias",)
    BIAS_CHANGES[change](model)
    assert model[0].bias.detach().any()
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "bias of 4 outputs is not zero"
    with torch.no_grad():
        model[0].bias.zero_()
    assert certify(model, X).homogeneous
    assert traces.count == 1


def test_a_bias_that_becomes_zero_is_noticed(traces: Counter, analyses: Counter) -> None:
    model = stack(bias=True)
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    assert not certify(model, X).homogeneous
    assert not certify(model, X).homogeneous
    assert analyses.since() == 1
    with torch.no_grad():
        model[0].bias.zero_()
    assert certify(model, X).homogeneous
    assert (traces.count, analyses.since()) == (1, 1)


def test_running_statistics_that_move_are_noticed(traces: Counter) -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()).eval()
    assert certify(model, X).homogeneous
    model[0].running_mean.fill_(0.5)
    certificate = certify(model, X)
    assert certificate.blockers[0].reason == "shift of 3 channels is not zero at the baseline"
    assert traces.count == 1


def test_a_constant_of_a_closure_that_changes_is_noticed() -> None:
    shift = torch.zeros(3)
    function = lambda x: (x + shift).relu()  # noqa: E731
    assert certify(function, X).homogeneous
    shift += 1
    assert not certify(function, X).homogeneous


def test_a_bias_inside_a_traced_module_is_noticed() -> None:
    model = stack(bias=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.jit.trace(model, X)
    assert certify(compiled, X).homogeneous
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    assert not certify(compiled, X).homogeneous


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.__setitem__(1, nn.GELU()),
        lambda m: m[0].register_forward_hook(lambda *_: None),
        lambda m: m.train(not m.training),
        lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(4, 3))),
    ],
)
def test_a_changed_function_is_traced_anew_once(
    change: Callable[[nn.Module], Any], traces: Counter
) -> None:
    model = stack()
    certify(model, X)
    kept = change(model)
    certify(model, X)
    certify(model, X)
    assert traces.count == 2
    del kept


def test_what_was_known_of_the_old_function_is_not_said_of_the_new() -> None:
    model = stack()
    assert certify(model, X).homogeneous
    model[1] = nn.GELU()
    assert not certify(model, X).homogeneous
    model[1] = nn.ReLU()
    assert certify(model, X).homogeneous


def test_a_restless_function_stops_being_traced_until_it_settles(traces: Counter) -> None:
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    model = Restless()
    reasons = []
    for _ in range(RESTLESS + 6):
        model.calls += 1
        reasons.append(str(certify(model, X)))
    assert traces.count == RESTLESS
    assert "change at every call" not in reasons[RESTLESS - 1]
    assert all("its modules or attributes change at every call" in r for r in reasons[RESTLESS:])
    certify(model, X)
    assert certify(model, X).homogeneous, "it has settled"
    assert traces.count == RESTLESS + 1


# -- the batch size, the baselines --------------------------------------------------------------


def test_a_value_that_depends_on_the_batch_size_holds_for_that_size(traces: Counter) -> None:
    """It is zero in a batch of one, and in no other."""
    function = lambda x: (x + torch.arange(x.shape[0], dtype=x.dtype)[:, None]).relu()  # noqa: E731
    assert certify(function, X[:1]).homogeneous
    assert not certify(function, torch.ones(2, 3)).homogeneous
    assert certify(function, X[:1]).homogeneous


def test_a_value_that_vanishes_at_one_size_of_several_is_computed_for_each(
    traces: Counter, analyses: Counter
) -> None:
    function = lambda x: (x + (x.shape[0] - 4) * torch.ones(3)).relu()  # noqa: E731
    verdicts = {n: certify(function, torch.ones(n, 3)).homogeneous for n in (2, 3, 4, 5, 4, 2)}
    assert verdicts == {2: False, 3: False, 4: True, 5: False}
    assert (traces.count, analyses.count) == (1, 4)


@pytest.mark.parametrize(
    "zero",
    [None, 0, 0.0, -0.0, torch.zeros(2, 3), torch.zeros(1, 3), -torch.zeros(2, 3), (torch.zeros(2, 3),)],
)
def test_a_baseline_is_zero_by_its_value(zero: Any) -> None:
    certificate = certify(stack(), X, baselines=zero)
    assert certificate.homogeneous
    assert certificate.degree == 1
    assert not certificate.affine


@pytest.mark.parametrize("baseline", [1, 1e-30, torch.full((2, 3), 0.5), float("nan")])
def test_any_other_baseline_is_refused_in_front_of_a_bend(baseline: Any) -> None:
    certificate = certify(lambda x: x.relu(), X, baselines=baseline)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "the baseline of input 0 is not zero"


def test_a_mean_image_is_read_by_value(analyses: Counter) -> None:
    mean = torch.tensor([[0.5, 0.25, 1.0]])
    function = lambda x: ((x - mean) / 0.2).relu()  # noqa: E731
    assert certify(function, X, baselines=mean.clone()).degree == 1
    assert certify(function, X, baselines=mean.expand(2, 3)).degree == 1
    other = mean.clone()
    other[0, 1] += 1e-7
    assert not certify(function, X, baselines=other).homogeneous
    assert not certify(function, X).homogeneous
    assert certify(function, X, baselines=mean.clone()).homogeneous


def test_a_baseline_that_changes_in_place_is_read_anew() -> None:
    mean = torch.tensor([[0.5, 0.25, 1.0]])
    baseline = mean.clone()
    function = lambda x: (x - mean).relu()  # noqa: E731
    assert certify(function, X, baselines=baseline).homogeneous
    baseline += 1
    assert not certify(function, X, baselines=baseline).homogeneous


def test_where_the_value_of_the_baseline_does_not_matter_it_is_not_kept(analyses: Counter) -> None:
    function = nn.Linear(3, 2)
    for _ in range(5):
        assert certify(function, X, baselines=torch.randn(2, 3)).affine
    assert analyses.count == 5
    assert len(next(iter(knowledge_of(function)._analyses.values()))) <= KEPT_ANALYSES


def test_baselines_of_several_inputs_are_told_apart() -> None:
    function = lambda x, y: x.relu() + y  # noqa: E731
    both = (X, X)
    assert certify(function, both).homogeneous
    assert certify(function, both, baselines=(0, 1.0)).affine
    certificate = certify(function, both, baselines=(1.0, 0))
    assert certificate.blockers[0].reason == "the baseline of input 0 is not zero"


# -- additional arguments -----------------------------------------------------------------------


def test_an_additional_argument_that_is_zero_supports_no_claim() -> None:
    function = lambda x, y: (x + y).relu()  # noqa: E731
    certificate = certify(function, X, additional_forward_args=torch.zeros(3))
    assert not certificate.homogeneous
    assert certificate.blockers[0].op == "aten.add.Tensor"


def test_an_additional_argument_that_only_scales_needs_no_value(traces: Counter) -> None:
    function = lambda x, y: (x * y).relu()  # noqa: E731
    for _ in range(3):
        assert certify(function, X, additional_forward_args=torch.randn(3)).degree == 1
    assert traces.count == 1


def test_numbers_and_texts_are_part_of_the_question(traces: Counter) -> None:
    function = lambda x, k, kind: (x + k).relu() if kind == "a" else x.exp()  # noqa: E731
    ask = lambda *args: certify(function, X, additional_forward_args=args).homogeneous  # noqa: E731
    assert [ask(0, "a"), ask(1, "a"), ask(0, "b"), ask(0, "a")] == [True, False, False, True]
    assert [ask(False, "a"), ask(0.0, "a"), ask(None, "b")] == [True, True, False]
    assert traces.count == 6


def test_an_argument_that_cannot_be_compared_is_refused_by_type() -> None:
    function = lambda x, y: x.relu()  # noqa: E731
    certificate = certify(function, X, additional_forward_args=(object(),))
    assert not certificate.homogeneous
    assert "an additional argument cannot be compared between calls" in str(certificate)
    assert "it is of type object" in str(certificate)


def test_arguments_in_containers_are_looked_into(traces: Counter) -> None:
    function = lambda x, d: (x * d["scale"]).relu() + d["list"][0] * x  # noqa: E731
    ask = lambda k: certify(function, X, additional_forward_args={"scale": X, "list": [k]})  # noqa: E731
    assert ask(1.0).homogeneous
    assert ask(1.0).homogeneous
    assert traces.count == 1
    assert ask(2.0).homogeneous
    assert traces.count == 2


def test_the_shape_of_an_argument_counts_and_its_batch_may_vary(traces: Counter) -> None:
    function = lambda x, y: x.relu() * y  # noqa: E731
    for n in (2, 5):
        assert certify(function, torch.ones(n, 3), additional_forward_args=torch.ones(n, 3)).degree == 1
    assert traces.since() == 1
    assert certify(function, torch.ones(5, 3), additional_forward_args=torch.ones(3)).degree == 1
    assert traces.since() == 1


# -- inputs that no certificate can be given for ------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (torch.ones(2, 3, dtype=torch.int64), "input 0 is of dtype torch.int64"),
        (torch.ones(2, 3, dtype=torch.complex64), "input 0 is of dtype torch.complex64"),
        (torch.tensor(1.0), "input 0 has no batch dimension"),
        (torch.ones(0, 3), "input 0 is an empty batch"),
        ((X, torch.ones(2, dtype=torch.bool)), "input 1 is of dtype torch.bool"),
        (torch.eye(3).to_sparse(), "input 0 has layout torch.sparse_coo"),
    ],
)
def test_unsuitable_inputs_are_refused_by_position(inputs: Any, reason: str) -> None:
    certificate = certify(lambda *args: args[0], inputs)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason.startswith(reason)
    assert "floating-point tensor of shape (B, ...)" in certificate.blockers[0].remedy


# -- contradictions -----------------------------------------------------------------------------


def test_a_contradicted_certificate_is_dropped_and_in_the_end_not_given_again(
    traces: Counter,
) -> None:
    model = stack()
    held = knowledge_of(model)
    for _ in range(knowledge.CONTRADICTIONS):
        assert certify(model, X).homogeneous
        held.drop("completeness failed by 0.5")
    assert traces.count == knowledge.CONTRADICTIONS
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert "contradicted by calls: completeness failed by 0.5" in certificate.blockers[0].reason
    assert "backward" in certificate.blockers[0].remedy
    model.train(not model.training)
    assert certify(model, X).homogeneous, "a changed function gets another chance"


# -- life ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["module", "function", "method"])
def test_what_is_known_goes_with_the_function(kind: str) -> None:
    model = stack()
    function = {"module": model, "function": lambda x: model(x), "method": model.forward}[kind]
    assert certify(function, X).homogeneous
    gone = [weakref.ref(model), weakref.ref(knowledge_of(function)), weakref.ref(model[0])]
    before = len(knowledge._KNOWN)
    del function, model
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]
    assert len(knowledge._KNOWN) < before


def test_callables_without_weak_references_are_kept_in_small_number() -> None:
    class Slotted:
        __slots__ = ("model",)

        def __call__(self, x: Tensor) -> Tensor:
            return x.relu()

    functions = [Slotted() for _ in range(knowledge.KEPT_FUNCTIONS + 3)]
    known = [knowledge_of(f) for f in functions]
    assert knowledge_of(functions[-1]) is known[-1]
    assert knowledge_of(functions[0]) is not known[0]
    assert len(knowledge._KEPT) <= knowledge.KEPT_FUNCTIONS


def test_memory_of_calls_is_bounded() -> None:
    model = stack()
    for n in range(KEPT_CALLS + 20):
        certify(model, torch.ones(2, 3).expand(2 + n, -1, -1)[:, 0] if n < 2 else torch.ones(n, 3))
    assert len(knowledge_of(model)._recent) <= KEPT_CALLS


def test_a_copy_of_a_model_knows_nothing_of_the_original(traces: Counter) -> None:
    model = stack()
    certify(model, X)
    twin = copy.deepcopy(model)
    twin[1] = nn.GELU()
    assert not certify(twin, X).homogeneous
    assert certify(model, X).homogeneous
    assert traces.count == 2


def test_a_person_who_asks_gets_an_answer_read_anew(traces: Counter, analyses: Counter) -> None:
    """Writes through ``.data`` are not counted by torch: only reading shows them."""
    model = stack(bias=True)
    assert certify_anew(model, X).homogeneous
    model[0].bias.data.fill_(1.0)
    assert not certify_anew(model, X).homogeneous
    model[0].bias.data.zero_()
    assert certify_anew(model, X).homogeneous
    assert (traces.count, analyses.count) == (1, 3)


# -- what is logged -----------------------------------------------------------------------------


def test_the_route_is_said_once_and_again_when_it_turns(caplog: pytest.LogCaptureFixture) -> None:
    model = stack(bias=True)
    with caplog.at_level(logging.INFO, logger="captum_xdnn"):
        for _ in range(3):
            certify(model, X)
        with torch.no_grad():
            model[0].bias.fill_(1.0)
        for _ in range(3):
            certify(model, X)
    said = [record.getMessage() for record in caplog.records if record.name == "captum_xdnn"]
    assert said == [
        "Sequential: single pass, exact (degree 1)",
        "Sequential: Captum's Integrated Gradients, because of 0 (Linear): bias of 4 outputs is "
        "not zero",
    ]


def test_nothing_is_said_below_info(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="captum_xdnn"):
        certify(stack(), X)
    assert [r for r in caplog.records if r.name.startswith("captum_xdnn")] == []
