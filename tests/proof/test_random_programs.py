"""Random programs: no certificate may be wrong, and no motion that is proved inside of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import HealthCheck, Phase, given, settings
from program_builder import Program, Step
from program_hoisting import judge_hoisting
from program_runs import Run
from program_verdicts import Tally, judge
from programs import ALL_KINDS, MOST_STEPS, THEMES, program_of, programs
from recorder import record
from torch import Tensor

from captum_xdnn import certify
from captum_xdnn.proof import laws, outcomes, registry
from captum_xdnn.proof.domain import SCALE_INVARIANT, Motion
from captum_xdnn.proof.operand import Operand, motion_of
from captum_xdnn.recording import steps
from captum_xdnn.recording.watch import Tape
from captum_xdnn.routes.repeated_head import Crossing

# What a random program warns of (no degrees of freedom, complex parts) is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    """Verdicts that a wrong rule led to are not kept for other tests, nor right ones for it."""
    steps.forget()
    yield
    steps.forget()


QUICK = 2_000
MANY = int(os.environ.get("CAPTUM_XDNN_PROGRAMS", "100000"))
"""Number of programs in the slow run."""
FIRST = int(os.environ.get("CAPTUM_XDNN_FIRST_PROGRAM", "0"))
"""The first one of each theme: a long run can be made in parts."""

LEAST_CERTIFIED = 0.4
"""Share of the programs; if hardly any is certified, the test shows nothing."""

LEAST_HOISTED = {"networks": 0.15, "affine": 0.05, "algebra": 0.15, "selection": 0.1}
"""Share of the programs that are compared with Captum's numbers, by theme."""


def sweep(
    theme: str, count: int, *, phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink)
) -> Tally:
    """Judge ``count`` programs of a theme; the first wrong one is shortened and raised."""
    tally = Tally()

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        report_multiple_bugs=False,
    )
    @given(programs(theme))
    def hold(program: Any) -> None:
        known = len(tally.wrong)
        judge(program, tally)
        assert not tally.wrong[known:], tally.wrong[-1]

    hold()
    return tally


def assert_telling(theme: str, tally: Tally) -> None:
    counts = tally.counts
    share = counts["certified programs"] / counts["programs"]
    print(f"\n{theme}: {share:.0%} of {counts['programs']} certified, {dict(counts)}")
    print(f"kinds of steps: {len(tally.kinds)}, in certified programs {len(tally.certified_kinds)}")
    assert share >= LEAST_CERTIFIED
    assert len(tally.certified_kinds) >= 60
    assert counts["attributions"] >= 0.4 * counts["programs"]
    assert counts["affine"] >= 0.05 * counts["programs"]
    assert counts["not run"] <= 0.02 * counts["verdicts"]
    refused = sum(count for what, count in counts.items() if what.startswith("the route refuses"))
    assert refused <= 0.02 * counts["attributions"]
    assert counts["graphs"] >= 0.9 * counts["verdicts"]
    assert counts["claims without numbers"] <= 0.02 * counts["claims inside"]
    assert counts["torch's own gradient is wrong"] <= 1e-3 * counts["programs"]
    assert counts["hoisted"] >= LEAST_HOISTED[theme] * counts["programs"]


@pytest.mark.parametrize("theme", THEMES)
def test_no_certificate_is_wrong(theme: str) -> None:
    assert_telling(theme, sweep(theme, QUICK // len(THEMES)))


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
def test_no_certificate_of_very_many_is_wrong(theme: str) -> None:
    # Without Hypothesis, whose bookkeeping takes longer than the judging.
    tally = Tally()
    for i in range(FIRST, FIRST + MANY // len(THEMES)):
        judge(program_of(theme, 7919 * i + 11, 1 + i % MOST_STEPS), tally)
        assert not tally.wrong, tally.wrong[-1]
    assert_telling(theme, tally)


def test_a_wrong_gradient_of_torchs_is_told_from_a_wrong_certificate() -> None:
    """Found among a million: a batch norm before a transposition."""
    tally = Tally()
    judge(program_of("networks", 7919 * 43838 + 11, 1 + 43838 % MOST_STEPS), tally)
    assert not tally.wrong
    assert tally.counts["certified programs"] == 1


def test_every_kind_of_step_is_taken() -> None:
    taken: set[str] = set()
    for theme in THEMES:
        for seed in range(700):
            taken |= program_of(theme, seed, 9).kinds
    assert len(ALL_KINDS) >= 150
    assert ALL_KINDS - taken == set()


def test_a_program_begins_like_a_longer_one_of_its_seed() -> None:
    short, long = (program_of("algebra", 5, length) for length in (3, 7))
    shared = [step.text for step in short.steps[:-1]]
    assert [step.text for step in long.steps[: len(shared)]] == shared


def _passes(self: Any, *_: Any, **__: Any) -> Motion:
    return motion_of(self)


def _no_bias(bias: Any, x: Any, weight: Any, **_: Any) -> Motion:
    del bias
    return laws.product(x, weight)


MUTANTS = {
    "relu lets affine tensors pass": ("networks", "aten.relu.default", _passes),
    "a bias is overlooked": ("networks", "aten.addmm.default", _no_bias),
    "what is added is overlooked": ("networks", "aten.add.Tensor", _passes),
    "degrees do not add": ("algebra", "aten.mul.Tensor", lambda x, y: laws.shared(x, y)),
    "bounds are overlooked": ("selection", "aten.clamp.default", lambda x, *_: laws.homogeneous(x)),
    "any comparison is constant": ("selection", "aten.gt.Scalar", lambda x, y: SCALE_INVARIANT),
    "a branch is overlooked": ("selection", "aten.where.self", lambda m, x, y: motion_of(x)),
    "sigmoid is homogeneous": ("algebra", "aten.sigmoid.default", lambda x: laws.homogeneous(x)),
    "softmax is constant": ("algebra", "aten._softmax.default", lambda x, *_: laws.constant(x)),
    "eps is overlooked": (
        "algebra",
        "aten.native_layer_norm.default",
        lambda x, *_: (laws.constant(x),) * 3,
    ),
    "a shift is overlooked": (
        "networks",
        "aten.native_batch_norm.default",
        lambda x, *_: (motion_of(x), SCALE_INVARIANT, SCALE_INVARIANT),
    ),
}


RARE = {"eps is overlooked"}
"""Found after a thousand programs and more."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in RARE else []) for n in MUTANTS]
)
def test_a_wrong_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theme, overload, rule = MUTANTS[name]
    monkeypatch.setitem(registry.RULES, overload, rule)
    steps.forget()  # what the right rule has proved
    with pytest.raises(AssertionError, match="but"):
        sweep(theme, 2_000, phases=(Phase.generate,))


def test_an_overlooked_write_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "merged", lambda parts: motion_of(next(iter(parts))))
    with pytest.raises(AssertionError, match="but"):
        sweep("selection", 2_000, phases=(Phase.generate,))


def test_a_write_that_the_graph_misses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tape, "_write", lambda *_: None)
    with pytest.raises(AssertionError, match="the graph gives another output"):
        sweep("selection", 500, phases=(Phase.generate,))


def test_a_wrong_speed_at_the_cut_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    summed = Crossing._summed
    monkeypatch.setattr(
        Crossing, "_summed", lambda self, g, k, points: summed(self, g, 1.0, points)
    )
    with pytest.raises(AssertionError, match="hoisted"):
        sweep("algebra", 500, phases=(Phase.generate,))


def test_a_wrong_promotion_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Operand, "is_zero", lambda self: True)
    with pytest.raises(AssertionError, match="but"):
        sweep("networks", 500, phases=(Phase.generate,))


def _counts_by_ones(x: Tensor) -> Tensor:
    return x.sum(1) + torch.ones_like(x[x > 0]).sum()


def _counts_by_size(x: Tensor) -> Tensor:
    return x.sum(1) + x.new_full((torch.nonzero(x > 0).shape[0],), 3.0).sum()


def _overlaps(x: Tensor) -> Tensor:
    return torch.relu(x.as_strided((2, 4), (4, 1)) - torch.arange(4.0)).sum(1)


ONCE_WRONG = {
    "as many ones as entries are positive": (_counts_by_ones, 0),
    "as many numbers as entries are positive": (_counts_by_size, 0),
    "memory read across an expanded baseline": (_overlaps, torch.arange(4.0)[None] + 1),
    "passes every probe": (lambda x: 1 - torch.relu(1 - x).sum(1), 0),
}
"""Programs that were certified once, or that a weaker analysis would certify."""


@pytest.mark.parametrize("name", ONCE_WRONG)
def test_a_trap_is_avoided(name: str) -> None:
    function, baseline = ONCE_WRONG[name]
    assert not certify(function, torch.ones(2, 4), baseline).homogeneous


def _counts_in_place(x: Tensor) -> Tensor:
    """``gt_`` leaves the numbers 1.0, of which two are 2.0; truth values would be ``True``."""
    ones = torch.ones(4).gt_(0)
    return torch.relu(x + (ones + ones + (-1.0))).sum(1)


def test_what_is_written_in_place_has_the_dtype_of_its_memory() -> None:
    assert not certify(_counts_in_place, torch.ones(2, 4)).homogeneous


def _cosine(x: Tensor) -> Tensor:
    """Torch clamps the norms in place without gradients, which go through nevertheless."""
    return F.cosine_similarity(F.hardtanh(x + 0.1), torch.ones_like(x), dim=1)


def test_a_write_without_gradients_is_hoisted_as_autograd_sees_it() -> None:
    tally = Tally()
    program = Program((torch.tensor([[1.5, -2.0, 3.0]]).double(),), (0,), ())
    program.steps.append(Step("cosine", "cosine", (0,), _cosine))
    run = Run(program, program.inputs, program.baselines)
    judge_hoisting(run, record(program, program.inputs), tally)
    assert tally.counts["hoisted"] == 1
    assert tally.wrong == []
