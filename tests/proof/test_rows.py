"""That rows stay apart, by numbers: two batches side by side give the two results side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from program_hoisting import NO_GRADIENT
from program_runs import computed
from programs import THEMES, program_of
from recorder import leaf_of, record, record_all
from row_samples import ELSEWHERE, FLAT, LINE, SAMPLES, Function
from rows_that_meet import SIZED, WRONG
from torch import Tensor
from torch.testing import assert_close
from torch.utils import _pytree as pytree

from captum_xdnn.proof import registry
from captum_xdnn.proof.batch_dim import UNBATCHED, BatchDim, Unbatched
from captum_xdnn.proof.nodes import draws
from captum_xdnn.proof.rows import rows_of
from captum_xdnn.proof.watching import known_baseline, watch
from captum_xdnn.recording.node import Node
from captum_xdnn.routes.plan import plan_of
from captum_xdnn.routes.repeated_head import NO_START, Crossing
from captum_xdnn.routes.request import Call

pytestmark = pytest.mark.filterwarnings("ignore")

DISPATCHED = frozenset(torch._C._dispatch_get_all_op_names())
FIRST, SECOND = 5, 7
"""Batch sizes of what is laid side by side."""


class Batch:
    """A watched run of a function on one batch.

    Args:
        function: The function.
        x: The batch.
    """

    def __init__(self, function: Function, x: Tensor) -> None:
        run = record_all(
            lambda x: [
                leaf for leaf in pytree.tree_leaves(function(x)) if isinstance(leaf, Tensor)
            ],
            (x,),
            (),
        )
        self.size, self.graph, self.outputs = len(x), run.graph, run.outputs
        self._sources = {n: run.tape.sources[k].detach() for k, n in run.graph.sources.items()}
        self.nodes = [n for n in self.graph.nodes if n.op == "call_function"]
        known: dict[Node, Any] = dict.fromkeys(self.graph.sources.values(), UNBATCHED)
        known[self.graph.inputs[0]] = BatchDim(0)
        self.states = rows_of(self.nodes, known, self.size)
        self.x = x

    def values(self, x: Tensor) -> list[Any]:
        """What the operations give at another batch of this size, in order."""
        found = computed(self.graph.nodes, {**self._sources, self.graph.inputs[0]: x})
        return [found.get(node) for node in self.nodes]


def data(batch: int, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)


def opened(tensor: Tensor, place: BatchDim, size: int) -> Tensor:
    """A tensor with the batch in the first dimension."""
    shape = list(tensor.shape)
    shape[place.dim : place.dim + 1] = [place.outer, size, place.width]
    return tensor.reshape(shape).movedim(place.dim + 1, 0)


def parts_of(state: Any, value: Any) -> list[tuple[Any, Any]]:
    if isinstance(state, tuple):
        return list(zip(state, value, strict=True)) if value is not None else []
    return [(state, value)]


def judge(function: Function, shape: tuple[int, ...], *, sized: bool = False) -> int:
    """Compare every tensor of which something is proved; the number of those with rows.

    Args:
        function: The function.
        shape: The shape of an example.
        sized: Whether it takes the batch size as a number, so that no two sizes are alike.
    """
    x, y = data(FIRST, shape), data(SECOND, shape)
    whole = Batch(function, torch.cat([x, y]))
    count = _judge_one_size(whole)
    if not sized:
        _judge_side_by_side(whole, Batch(function, x), Batch(function, y))
    return count


def _judge_one_size(batch: Batch) -> int:
    """At one size: a row does not change with the others, and goes where its example goes."""
    size, x = batch.size, batch.x
    other = data(size, tuple(x.shape[1:]))
    mask = torch.arange(size) % 3 == 0
    order = torch.arange(size).roll(5)
    mixed = torch.where(mask.reshape(-1, *[1] * (x.dim() - 1)), x, other)
    tables = [batch.values(z) for z in (x, other, mixed, x[order])]
    count = 0
    for place, node in enumerate(batch.nodes):
        if draws(node) or tables[0][place] is None:
            continue
        columns = [parts_of(batch.states.get(node), table[place]) for table in tables]
        for (state, one), (_, two), (_, both), (_, turned) in zip(*columns, strict=True):
            if isinstance(state, BatchDim):
                count += 1
                rows = [opened(t, state, size) for t in (one, two, both, turned)]
                close = {"rtol": 1e-9, "atol": 1e-11, "equal_nan": True}
                assert_close(rows[2][mask], rows[0][mask], **close)
                assert_close(rows[2][~mask], rows[1][~mask], **close)
                assert_close(rows[3], rows[0][order], **close)
            elif isinstance(state, Unbatched):
                for tensor in (two, both, turned):
                    assert_close(tensor, one, rtol=0, atol=0)
    return count


def _judge_side_by_side(whole: Batch, first: Batch, second: Batch) -> None:
    """Two batches side by side give what they give one after the other."""
    assert [n.target for n in whole.nodes] == [n.target for n in first.nodes]
    tables = [batch.values(batch.x) for batch in (whole, first, second)]
    for place, node in enumerate(whole.nodes):
        if draws(node) or tables[0][place] is None:
            continue
        columns = [parts_of(whole.states.get(node), table[place]) for table in tables]
        for (state, both), (_, one), (_, two) in zip(*columns, strict=True):
            if isinstance(state, BatchDim):
                ends = [opened(one, state, FIRST), opened(two, state, SECOND)]
                joined = opened(both, state, FIRST + SECOND)
                assert_close(joined, torch.cat(ends), rtol=1e-9, atol=1e-11, equal_nan=True)


def samples_of(name: str) -> list[tuple[tuple[int, ...], Function]]:
    found = SAMPLES[name]
    return found if isinstance(found, list) else [found]


def names_in(batch: Batch) -> set[str]:
    targets = [n.target for n in batch.nodes if isinstance(n.target, torch._ops.OpOverload)]
    return {registry.operation_name(target).removeprefix("aten.") for target in targets}


def is_shown(name: str) -> bool:
    """Whether an operation is one that dispatch shows, and not made of others before."""
    packet = overload_of(name if "." in name else f"aten.{name}")
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    known = (getattr(packet, overload).name() for overload in packet.overloads())
    return not any(has(o, "CompositeImplicitAutograd") for o in known if o in DISPATCHED)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_rule_keeps_rows_apart(name: str) -> None:
    for shape, function in samples_of(name):
        batch = Batch(function, data(FIRST, shape))
        if is_shown(name):
            assert name in names_in(batch)
        assert judge(function, shape) > 0
        own = [n for n in batch.nodes if f".{name}." in str(n.target)] or batch.outputs[:1]
        found = [batch.states[node] for node in own]
        assert all(s[0] if isinstance(s, tuple) else s for s in found), found


def test_every_rule_has_a_sample() -> None:
    ruled = {name.removeprefix("aten.") for name, rule in registry.ROWS.items() if callable(rule)}
    assert sorted(ruled - SAMPLES.keys() - ELSEWHERE) == []
    assert not SAMPLES.keys() & ELSEWHERE


def test_every_law_says_where_rows_stay_or_why_not() -> None:
    silent = [
        name
        for name in registry.RULES
        if (overload := overload_of(name)) is not None
        and torch.Tag.pointwise not in overload.tags
        and not registry.ROWS.get(registry.operation_name(overload))
    ]
    assert silent == []


def overload_of(name: str) -> Any:
    found: Any = torch.ops
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


@pytest.mark.parametrize("name", WRONG)
def test_what_brings_rows_together_is_not_proved(name: str) -> None:
    shape, function = WRONG[name]
    batch = Batch(function, data(FIRST + SECOND, shape))
    assert batch.states[batch.outputs[0]] != BatchDim(0)
    judge(function, shape, sized=True)


@pytest.mark.parametrize("name", SIZED)
def test_the_batch_size_as_a_number_keeps_rows_of_one_size_apart(name: str) -> None:
    shape, function = SIZED[name]
    judge(function, shape, sized=True)


def test_nothing_is_proved_of_a_place_with_two_batches() -> None:
    assert None in Batch(lambda x: x[:, None] + x[None], data(FIRST, FLAT)).states.values()
    batch = Batch(lambda x: x.transpose(0, 1).flatten(0, 1), data(FIRST, LINE))
    assert BatchDim(0, 1, 4) in batch.states.values()


def outcome_of_program(program: Any) -> str:
    """Hoist a random program with all steps side by side, and one by one."""
    call = Call(program.inputs, program.baselines, program.target, program.arguments)
    first = record(program, program.inputs, program.baselines, program.arguments)
    if first.verdict is None:
        return "not run"
    first_plan = plan_of(first.verdict)
    if first_plan is None:
        return "no plan"
    leaves = tuple(map(leaf_of, program.inputs))
    starts = tuple(map(known_baseline, program.baselines))
    keep = first_plan.keep
    watched = watch(program, leaves, starts, program.arguments, keep=keep)
    plan = None if watched.verdict is None else plan_of(watched.verdict)
    if plan is None or plan.keep != keep:
        return "another run where its values are kept"
    points = ((0.25, 0.125), (0.5, 0.5), (0.25, 0.875))
    try:
        crossing = Crossing(plan, watched, leaves, graph=False)
        apart = crossing.hoisted(call, points, 1)
    except RuntimeError as error:
        if NO_START in str(error):
            return "no value at the baseline"
        if not any(reason in str(error) for reason in NO_GRADIENT):
            raise
        return "no gradient"
    for most in (2, 3):
        together = crossing.hoisted(call, points, most)
        for one, other in zip(together.mean_gradients, apart.mean_gradients, strict=True):
            scale = float(other.abs().nan_to_num(0, 0, 0).max())
            close = {"rtol": 1e-6, "atol": 1e-9 * max(scale, 1e-30), "equal_nan": True}
            assert_close(one, other, **close, msg=lambda text: f"{text}\n{program!r}")
    return "compared"


def sweep(theme: str, seeds: range) -> int:
    outcomes = [outcome_of_program(program_of(theme, 7919 * i + 5, 1 + i % 9)) for i in seeds]
    print(theme, {kind: outcomes.count(kind) for kind in sorted(set(outcomes))})
    return outcomes.count("compared")


@pytest.mark.parametrize("theme", THEMES)
def test_random_programs_side_by_side(theme: str) -> None:
    assert sweep(theme, range(100)) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
def test_many_random_programs_side_by_side(theme: str) -> None:
    assert sweep(theme, range(100, 5000)) >= 250
