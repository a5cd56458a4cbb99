"""Every operator of PyTorch's own samples: no motion may be claimed that the numbers contradict."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from laws_in_numbers import fitted
from needlessly_unknown import NEEDLESSLY_UNKNOWN
from opinfo_subjects import Subject, name_of, operators, subjects
from opinfo_verdicts import Verdicts, judge

from captum_xdnn.proof import laws, registry
from captum_xdnn.proof.domain import SCALE_INVARIANT, Motion
from captum_xdnn.proof.operand import motion_of

FEW, MANY = 3, 60
UNWRITTEN = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "resize_as_",
}
"""Their results are memory that nobody has written: what is in it may look lawful."""

REAL = operators(torch.float64)
EXCUSED = UNWRITTEN | NEEDLESSLY_UNKNOWN.keys()
COMPLEX = operators(torch.complex128)


def sweep(op: Any, dtype: torch.dtype, most: int, *, in_place: bool = False) -> Verdicts:
    verdicts = Verdicts()
    for subject in subjects(op, dtype, most, in_place=in_place):
        judge(subject, verdicts)
    return verdicts


@pytest.mark.parametrize("op", REAL, ids=name_of)
def test_no_claim_is_contradicted(op: Any) -> None:
    verdicts = sweep(op, torch.float64, FEW)
    assert verdicts.unsound == []
    assert not verdicts.needless() or name_of(op) in EXCUSED, verdicts.needless()


@pytest.mark.parametrize("op", COMPLEX, ids=name_of)
def test_no_claim_is_contradicted_by_complex_numbers(op: Any) -> None:
    verdicts = Verdicts()
    for subject in subjects(op, torch.complex128, 1):
        if subject.moving == "first":
            judge(subject, verdicts)
    assert verdicts.unsound == []


@pytest.mark.slow
@pytest.mark.parametrize("op", REAL, ids=name_of)
def test_no_claim_is_contradicted_by_any_sample(op: Any) -> None:
    verdicts = sweep(op, torch.float64, MANY)
    assert verdicts.unsound == []
    assert not verdicts.needless() or name_of(op) in EXCUSED, verdicts.needless()


@pytest.mark.slow
@pytest.mark.parametrize("op", [op for op in REAL if op.inplace_variant], ids=name_of)
def test_no_claim_is_contradicted_in_place(op: Any) -> None:
    assert sweep(op, torch.float64, MANY, in_place=True).unsound == []


@pytest.mark.slow
@pytest.mark.parametrize("op", COMPLEX, ids=name_of)
def test_no_claim_is_contradicted_by_any_complex_sample(op: Any) -> None:
    assert sweep(op, torch.complex128, MANY).unsound == []


@pytest.mark.parametrize("degree", [-790, -1000, 790])
def test_memory_that_holds_anything_looks_like_a_law_at_most(degree: int) -> None:
    """Unwritten memory may look like any degree; a number out of range is no law, and no error."""
    ends = {1.0: torch.tensor([1e-150, 1.0]), 0.5: torch.tensor([1e-150, 2.0 ** (degree / -9)])}
    assert fitted(lambda a: ends.get(a, torch.ones(2)).double(), from_zero=True) is None


def test_most_that_is_lawful_is_claimed() -> None:
    """A sweep in which nothing was claimed would pass: it must not be that one."""
    familiar = set(FAMILIAR.split())
    chosen = [op for op in REAL if name_of(op) in familiar]
    claims = Counter({name_of(op): sweep(op, torch.float64, 2).claimed for op in chosen})
    assert {name for name in familiar if claims[name] == 0} == set()
    print("\nneedlessly unknown, by reason:")
    for reason, count in Counter(NEEDLESSLY_UNKNOWN.values()).most_common():
        print(f"{count:4} {reason}")
    assert len(NEEDLESSLY_UNKNOWN) <= KNOWN_TO_BE_MISSING


KNOWN_TO_BE_MISSING = 107  # one of them, qr, with older versions of torch alone
FAMILIAR = """
    abs add addbmm addmm amax amin argmax argsort baddbmm bmm cat cdist clamp constant_pad_nd
    cumsum div.no_rounding_mode einsum expand flip gather gt hypot index_add index_select linalg.norm
    linalg.vector_norm lt masked_fill masked_scatter matmul max.reduction_with_dim maximum mean
    median mul nn.functional.adaptive_avg_pool2d nn.functional.avg_pool2d nn.functional.bilinear
    nn.functional.conv1d nn.functional.conv2d nn.functional.conv_transpose2d
    nn.functional.grid_sample nn.functional.interpolate.bilinear nn.functional.interpolate.nearest
    nn.functional.leaky_relu nn.functional.linear nn.functional.max_pool2d
    nn.functional.max_unpool2d nn.functional.pad.circular nn.functional.pad.constant
    nn.functional.pad.reflect nn.functional.pixel_shuffle nn.functional.prelu nn.functional.relu
    permute prod reciprocal repeat reshape roll rsqrt scatter_add sign slice_scatter sort split
    sqrt square std sub sum topk transpose tril unfold var var_mean view where
"""


def _passes(self: Any, *_: Any, **__: Any) -> Motion:
    return motion_of(self)


MUTANTS = {
    "sigmoid": ("aten.sigmoid.default", lambda x: laws.homogeneous(x)),
    "exp": ("aten.exp.default", lambda x: laws.constant(x)),
    "round": ("aten.round.default", lambda x: laws.linear(x)),
    "nn.functional.relu": ("aten.relu.default", _passes),
    "add": ("aten.add.Tensor", lambda x, y, **_: motion_of(x)),
    "mul": ("aten.mul.Tensor", lambda x, y: laws.shared(x, y)),
    "square": ("aten.pow.Tensor_Scalar", lambda x, _: laws.homogeneous(x, 3)),
    "sqrt": ("aten.sqrt.default", lambda x: laws.homogeneous(x)),
    "nn.functional.linear": ("aten.addmm.default", lambda b, x, w, **_: laws.product(x, w)),
    "clamp": ("aten.clamp.Tensor", lambda x, low=None, high=None: laws.homogeneous(x)),
    "lt": ("aten.lt.Tensor", lambda x, y: laws.constant(x)),
    "amax": ("aten.amax.default", _passes),
    "sort": ("aten.sort.default", lambda x, *_, **__: (laws.linear(x), SCALE_INVARIANT)),
    "gather": ("aten.gather.default", lambda x, *_, **__: laws.constant(x)),
    "where": ("aten.where.self", lambda mask, x, y: laws.homogeneous(x)),
    "nn.functional.layer_norm": (
        "aten.native_layer_norm.default",
        lambda x, *_: (laws.homogeneous(x, 0),) * 3,
    ),
    "var": ("aten.var.correction", lambda x, *_, **__: laws.homogeneous(x)),
    "linalg.vector_norm": ("aten.linalg_vector_norm.default", lambda x, *_, **__: laws.linear(x)),
    "prod": ("aten.prod.default", lambda x, **_: laws.homogeneous(x)),
    "polar": ("aten.polar.default", lambda x, angle: laws.switched(angle, x)),
}
"""For each operator a rule that is wrong, as a person might write it."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overload, rule = MUTANTS[name]
    monkeypatch.setitem(registry.RULES, overload, rule)
    op = next(op for op in REAL if name_of(op) == name)
    assert sweep(op, torch.float64, 6).unsound != []


def test_a_random_function_that_is_claimed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RULES, "aten.bernoulli.p", lambda x, *_, **__: laws.constant(x))
    monkeypatch.delitem(registry.REFUSED, "aten.bernoulli.p")
    monkeypatch.delitem(registry.VOLATILE, "aten.bernoulli.p")
    verdicts = Verdicts()
    subject = Subject(
        "noise", "first", lambda x: [x * torch.bernoulli(x, 0.5)], (torch.ones(64),), (), True
    )
    judge(subject, verdicts)
    assert verdicts.unsound != []
