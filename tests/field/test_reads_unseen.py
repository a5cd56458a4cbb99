"""Values read where a mode does not look: an operation that raises, code that torch itself calls, C++.

As in ``test_thresholds.py`` what is read decides below the middle of the ray, so that only seeing the
reading helps. Each step is computed alone, as the examples meet in the sum.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from comparing import compare, inputs, linear
from torch import Tensor, nn
from torch.autograd import functional
from torch.nn.utils import rnn
from torch.overrides import TorchFunctionMode, wrap_torch_function
from torch.utils._python_dispatch import TorchDispatchMode

from captum_xdnn import XIntegratedGradients

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),
    pytest.mark.filterwarnings("ignore:Defining your `__torch_function__`:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quantiz:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning"),
]
D = torch.float64
LIMIT = 0.3 * float(linear()(inputs()).relu().sum().detach())
ERRORS = (AssertionError, IndexError, RuntimeError, ValueError)
STEPS = 12

Part = Callable[[Tensor], Any]


def one(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=D)


def is_over(z: Tensor) -> Tensor:
    return z.sum() > LIMIT


def whole(z: Tensor) -> Tensor:
    """A vector of 0 or 1."""
    return is_over(z).long().reshape(1)


def by_numpy(z: Tensor) -> float:
    return 2.0 if z.numpy().sum() > LIMIT else 1.0


def by_list(z: Tensor) -> float:
    return 2.0 if sum(z.flatten().tolist()) > LIMIT else 1.0


def by_array(z: Tensor) -> float:
    return 2.0 if np.asarray(z).sum() > LIMIT else 1.0


def decided(part: Part) -> Callable[[Tensor], Tensor]:
    first, last = linear(), linear(2, seed=1)

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        factor = part(z.detach())
        if isinstance(factor, Tensor):
            factor = factor.detach().reshape(()).double()
        return last(z * factor)

    return function


def assert_refused(part: Part) -> None:
    far, near = (float(part((linear()(s * inputs())).relu().detach())) for s in (0.1, 1.0))
    assert far != near  # the value does decide
    function = decided(part)
    explainer = XIntegratedGradients(function)
    for _ in range(2):
        compare(explainer, function, inputs(), internal_batch_size=3, n_steps=STEPS)
        assert explainer.last_route == "captum"


def assert_single_pass(part: Part) -> None:
    """Of a function that multiplies by what a part makes of a weight."""
    first, last, weight = linear(), linear(2, seed=1), linear(seed=2).weight.detach()

    def function(x: Tensor) -> Tensor:
        return last(first(x).relu() * part(weight))

    explainer = XIntegratedGradients(function, strategy="single_pass")
    for factor in (1.0, 1.0, 1.4):
        compare(explainer, function, factor * inputs())
        assert explainer.last_route == "single_pass"


def caught(work: Part) -> Part:
    def part(z: Tensor) -> float:
        try:
            work(z)
        except ERRORS:
            return 2.0
        return 1.0

    return part


def _matrix(z: Tensor) -> Tensor:
    """Of one entry: singular beyond the limit."""
    return (~is_over(z)).double().reshape(1, 1)


def _nan(z: Tensor) -> Tensor:
    return torch.where(is_over(z), torch.nan, 1.0).double()


def scripted(function: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        return torch.jit.script(function)


@scripted
def _scripted_selection(values: Tensor, index: Tensor) -> Tensor:
    return values.index_select(0, index)


RAISING: dict[str, Part] = {
    "cholesky": lambda z: torch.linalg.cholesky((LIMIT - z.sum()).reshape(1, 1)),
    "cholesky_checked": lambda z: torch.linalg.cholesky_ex(_matrix(z) - 0.5, check_errors=True),
    "inv": lambda z: torch.linalg.inv(_matrix(z)),
    "solve": lambda z: torch.linalg.solve(_matrix(z), one(1, 1)),
    "lu_factor": lambda z: torch.linalg.lu_factor(_matrix(z)),
    "svd": lambda z: torch.linalg.svd(_nan(z).expand(2, 2)),
    "embedding": lambda z: F.embedding(5 * whole(z), one(1, 1)),
    "embedding_bag": lambda z: F.embedding_bag(5 * whole(z), one(1, 1), whole(z) * 0),
    "index_select": lambda z: one(1).index_select(0, 5 * whole(z)),
    "index_select_out": lambda z: torch.index_select(one(1), 0, 5 * whole(z), out=one(1)),
    "gather": lambda z: one(1).gather(0, 5 * whole(z)),
    "take": lambda z: one(1).take(5 * whole(z)),
    "indexed": lambda z: one(1)[5 * whole(z)],
    "scatter": lambda z: one(1).scatter(0, 5 * whole(z), 1.0),
    "scatter_reduce": lambda z: one(1).scatter_reduce(0, 5 * whole(z), one(1), "amax"),
    "index_add": lambda z: one(1).index_add(0, 5 * whole(z), one(1)),
    "index_fill": lambda z: one(1).index_fill(0, 5 * whole(z), 1.0),
    "index_put": lambda z: one(1).index_put((5 * whole(z),), one(1)),
    "masked_scatter": lambda z: one(1).masked_scatter(is_over(z).reshape(1), one(0)),
    "multinomial": lambda z: torch.multinomial(torch.stack([one(), LIMIT - z.sum()]), 1),
    "bernoulli": lambda z: torch.bernoulli(2 * is_over(z).double()),
    "normal": lambda z: torch.normal(one(1), (LIMIT - z.sum()).reshape(1)),
    "poisson": lambda z: torch.poisson((LIMIT - z.sum()).reshape(1)),
    "cross_entropy": lambda z: F.cross_entropy(one(1, 2), 5 * whole(z)),
    "multi_margin": lambda z: F.multi_margin_loss(one(1, 2), 5 * whole(z)),
    "binary_cross_entropy": lambda z: F.binary_cross_entropy(2.0 * whole(z), torch.ones(1)),
    "gaussian_nll": lambda z: F.gaussian_nll_loss(one(1), one(1), (LIMIT - z.sum()).reshape(1)),
    "one_hot": lambda z: F.one_hot(5 * whole(z), 2),
    "bincount": lambda z: torch.bincount(-whole(z)),
    "repeat_interleave": lambda z: one(1).repeat_interleave(-whole(z)),
    "histc": lambda z: torch.histc(torch.where(is_over(z), torch.inf, 1.0).reshape(1)),
    "integer_division": lambda z: whole(z) // (1 - whole(z)),
    "integer_remainder": lambda z: whole(z) % (1 - whole(z)),
    "max_unpool": lambda z: F.max_unpool2d(one(1, 1, 1), (9 * whole(z)).reshape(1, 1, 1), 1),
    "segment_reduce": lambda z: torch.segment_reduce(one(1), "sum", lengths=1 - whole(z)),
    "packed": lambda z: rnn.pack_padded_sequence(one(1, 1, 1), 1 - whole(z)),
    "searchsorted": lambda z: torch.searchsorted(one(1), one(1), sorter=5 * whole(z)),
    "lu_unpack": lambda z: torch.lu_unpack(one(1, 1), 5 * whole(z).int() + 1),
    "quantile": lambda z: torch.quantile(one(3), 2 * is_over(z).double()),
    "assert": lambda z: torch._assert(~is_over(z), ""),
    "assert_async": lambda z: torch._assert_async(~is_over(z)),
    "assert_close": lambda z: torch.testing.assert_close(whole(z), whole(z) * 0),
    "categorical": lambda z: torch.distributions.Categorical(
        torch.stack([one(), LIMIT - z.sum()]), validate_args=True
    ),
    "sparse": lambda z: torch.sparse_coo_tensor(
        5 * whole(z).reshape(1, 1), one(1), (1,), check_invariants=True
    ),
    "scripted": lambda z: _scripted_selection(one(1), 5 * whole(z)),
}


@pytest.mark.parametrize("kind", RAISING)
def test_an_operation_that_raises_has_told_something(kind):
    assert_refused(caught(RAISING[kind]))


def _reshaped(z: Tensor) -> Tensor:
    try:
        flat = z.t().view(-1)
    except RuntimeError:
        flat = z.t().reshape(-1)
    return flat.view(4, -1).t()


def _viewed_otherwise(z: Tensor) -> Tensor:
    with contextlib.suppress(RuntimeError):
        return z.flatten().view(5, -1)
    return z.flatten()


def _expanded(z: Tensor) -> Tensor:
    with contextlib.suppress(RuntimeError):
        return z.expand(7, 7)
    return z.flatten()


def _selected(z: Tensor) -> Tensor:
    with contextlib.suppress(IndexError):
        return z.select(1, 9)
    return z.flatten()


def _unfolded(z: Tensor) -> Tensor:
    with contextlib.suppress(RuntimeError):
        return z.unfold(1, 9, 1)
    return z.flatten()


@pytest.mark.parametrize("form", [_reshaped, _viewed_otherwise, _expanded, _selected, _unfolded])
def test_a_view_that_raises_tells_only_shapes(form):
    first, last = linear(), linear(2, seed=1)
    function = lambda x: last(form(first(x).relu().view(-1, 4)).reshape(x.shape))  # noqa: E731
    explainer = XIntegratedGradients(function, strategy="single_pass")
    for factor in (1.0, 1.4):
        compare(explainer, function, factor * inputs(), internal_batch_size=3)
    assert explainer.last_route == "single_pass"


def _by_distance(read: Part, call: Callable[..., Any]) -> Part:
    def part(z: Tensor) -> float:
        found: list[float] = []

        def distance(p: Tensor, q: Tensor) -> Tensor:
            found.append(read(z))
            return (p - q).abs().sum(-1)

        call(distance)(one(1, 2), one(1, 2), one(1, 2))
        return found[0]

    return part


def _triplet(distance: Any) -> Any:
    return lambda *given: F.triplet_margin_with_distance_loss(*given, distance_function=distance)


def _triplet_module(distance: Any) -> Any:
    return nn.TripletMarginWithDistanceLoss(distance_function=distance)


def _activation(z: Tensor) -> float:
    found: list[float] = []

    def activation(t: Tensor) -> Tensor:
        found.append(by_numpy(z))
        return t.relu()

    nn.TransformerEncoderLayer(2, 1, 2, activation=activation, batch_first=True)(
        torch.ones(1, 1, 2)
    )
    return found[0]


class _ForwardReads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, c: Tensor, z: Tensor) -> Tensor:
        return c * by_numpy(z)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g, None


def _gradient_by_hook(z: Tensor) -> Tensor:
    with torch.enable_grad():
        c = one(1).requires_grad_()
        c.register_hook(lambda g: g * by_numpy(z))
        return torch.autograd.grad((c * 1).sum(), c)[0]


def _saved(z: Tensor) -> float:
    found: list[float] = []

    def pack(t: Tensor) -> Tensor:
        found.append(by_numpy(z))
        return t

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        one(1).requires_grad_().square()
    return found[0]


class _Functions(TorchFunctionMode):
    seen = 1.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.cumsum:
            self.seen = by_numpy(args[0])
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    seen = 1.0
    read = staticmethod(by_numpy)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.cumsum.default:
            self.seen = self.read(args[0])
        return func(*args, **(kwargs or {}))


class _OperationsToLists(_Operations):
    read = staticmethod(by_list)


def _under(*modes: Any) -> Part:
    def part(z: Tensor) -> float:
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(mode()) for mode in modes]
            z.cumsum(0)
        return max(mode.seen for mode in held)

    return part


def _by_keyword(*, z: Tensor) -> Any:
    return (z,)


CALLED: dict[str, Part] = {
    "distance": _by_distance(by_numpy, _triplet),
    "distance_to_list": _by_distance(by_list, _triplet),
    "distance_to_array": _by_distance(by_array, _triplet),
    "distance_of_a_module": _by_distance(by_numpy, _triplet_module),
    "activation": _activation,
    "apply_": lambda z: one(1).apply_(lambda value: by_numpy(z)),
    "map_": lambda z: one(1).map_(one(1), lambda value, other: by_numpy(z)),
    "own_forward": lambda z: _ForwardReads.apply(one(1), z),
    "hook": _gradient_by_hook,
    "saved": _saved,
    "jacobian": lambda z: functional.jacobian(lambda c: c * by_numpy(z), one(1)),
    "vmap": lambda z: torch.vmap(lambda c: c * by_numpy(z))(one(1)),
    "function_mode": _under(_Functions),
    "dispatch_mode": _under(_Operations),
    "dispatch_mode_to_lists": _under(_OperationsToLists),
    "both_modes": _under(_Operations, _Functions),
    "wrapped": wrap_torch_function(lambda z: (z,))(by_numpy),
    "wrapped_to_list": wrap_torch_function(lambda z: (z,))(by_list),
    "wrapped_to_array": wrap_torch_function(lambda z: (z,))(by_array),
    "wrapped_for_another": wrap_torch_function(lambda z: (one(1),))(by_numpy),
    "wrapped_by_keyword": lambda z: wrap_torch_function(_by_keyword)(lambda *, z: by_numpy(z))(z=z),
    "subclass_turned_off": lambda z: _with_subclasses_off(z),
}


def _with_subclasses_off(z: Tensor) -> float:
    with torch._C.DisableTorchFunctionSubclass():
        return by_numpy(z)


@pytest.mark.parametrize("kind", CALLED)
def test_code_that_torch_calls(kind):
    assert_refused(CALLED[kind])


@pytest.mark.parametrize("mode", [_Functions, _Operations])
def test_a_mode_of_the_callers(mode):
    function = decided(lambda z: z.cumsum(0)[0, 0] * 0 + current[0].seen)
    explainer = XIntegratedGradients(function)
    with mode() as held:
        current = [held]
        compare(explainer, function, inputs(), internal_batch_size=3, n_steps=STEPS)
    assert explainer.last_route == "captum"


HARMLESS_CALLS: dict[str, Any] = {
    "no_distance": lambda w: F.triplet_margin_with_distance_loss(w[:1], w[1:2], w[2:3]) + 1,
    "triplet": lambda w: F.triplet_margin_loss(w[:1], w[1:2], w[2:3]) + 1,
    "legacy_type": lambda w: w.type(torch.DoubleTensor),
    "to_dtype": lambda w: w.to(torch.float64)[:1],
    "softmax_dtype": lambda w: F.softmax(w[:1], 1, dtype=D),
    "scripted": lambda w: _scripted_selection(w, torch.tensor([0])),
}


@pytest.mark.parametrize("kind", HARMLESS_CALLS)
def test_functions_of_torch_that_call_nobody(kind):
    assert_single_pass(lambda w: HARMLESS_CALLS[kind](w).abs().sum())


def test_torchs_own_device_mode():
    def part(w: Tensor) -> Tensor:
        with torch.device("cpu"):
            return torch.ones(4) * w.sum(0)

    assert_single_pass(part)


def of_class(function: Any, read: Part = by_numpy, base: type[Tensor] = Tensor) -> type[Tensor]:
    """A class of tensors that reads in one of torch's functions."""

    class Reading(base):  # type: ignore[misc, valid-type]
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is function:
                return read(args[0].as_subclass(Tensor))
            return super().__torch_function__(func, types, args, kwargs or {})

    return Reading


class _Wrapper(Tensor):
    @staticmethod
    def __new__(cls, inner: Tensor) -> _Wrapper:
        return Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return one() * by_numpy(args[0].inner)


class _Holding(Tensor):
    held: Any = None

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.add:
            return by_numpy(cls.held)
        return super().__torch_function__(func, types, args, kwargs or {})


def _held_by_the_class(z: Tensor) -> Any:
    _Holding.held = z
    return torch.add(one(1).as_subclass(_Holding), 1)


class _Duck:
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> float:
        return by_numpy(args[1])


class _StaticDuck:
    @staticmethod
    def __torch_function__(func: Any, types: Any, args: Any = (), kwargs: Any = None) -> float:
        return by_list(args[1])


class _Level(Tensor):
    @property
    def level(self) -> float:
        return by_array(self.as_subclass(Tensor))


class _Off(Tensor):
    __torch_function__ = torch._C._disabled_torch_function_impl


CLASSES: dict[str, Part] = {
    "sum": lambda z: z.as_subclass(of_class(Tensor.sum)).sum(),
    "torch_sum": lambda z: torch.sum(z.as_subclass(of_class(torch.sum, by_list))),
    "product": lambda z: z.as_subclass(of_class(Tensor.mul, by_array)) * 2,
    "indexed": lambda z: z.as_subclass(of_class(Tensor.__getitem__))[0],
    "relu": lambda z: F.relu(z.as_subclass(of_class(F.relu, by_list))),
    "parameter": lambda z: of_class(Tensor.sum, base=nn.Parameter)(z, requires_grad=False).sum(),
    "wrapper": lambda z: _Wrapper(z).sum(),
    "held_by_the_class": _held_by_the_class,
    "no_tensor": lambda z: torch.add(_Duck(), z),
    "static": lambda z: torch.add(_StaticDuck(), z),
    "property": lambda z: z.as_subclass(_Level).level,
    "turned_off": lambda z: by_numpy(z.as_subclass(_Off)),
    "turned_off_list": lambda z: by_list(z.as_subclass(_Off)),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_of_tensors_that_read(kind):
    assert_refused(CLASSES[kind])


class _Named(Tensor):
    """A class of tensors that adds nothing but a name."""


@pytest.mark.parametrize("kind", [nn.Parameter, nn.Buffer, _Named, _Off])
def test_classes_that_do_nothing_of_their_own(kind):
    held = torch.rand(4, dtype=D)
    named = kind in (_Named, _Off)
    held = held.as_subclass(kind) if named else kind(held)
    first, last = linear(), linear(2, seed=1)
    function = lambda x: last((first(x).relu() * held).as_subclass(Tensor))  # noqa: E731
    if not named:
        function = lambda x: last(first(x).relu() * held)  # noqa: E731
    explainer = XIntegratedGradients(function)
    for factor in (1.0, 1.4):
        compare(explainer, function, factor * inputs())
    assert named or explainer.last_route == "single_pass"


LIBRARY = torch.library.Library("test_reads_unseen", "DEF")


def is_above(t: Tensor) -> bool:
    return by_numpy(t.detach()) == 2.0


def operator(schema: str, kernel: Any, key: str = "CPU") -> Any:
    LIBRARY.define(schema)
    name = schema.partition("(")[0]
    LIBRARY.impl(name, kernel, key)
    return getattr(torch.ops.test_reads_unseen, name)


def custom(name: str, kernel: Any, mutates: Any = ()) -> Any:
    return torch.library.custom_op(f"test_reads_unseen::{name}", kernel, mutates_args=mutates)


def _total(t: Tensor) -> tuple[Tensor, float]:
    return t.clone(), float(t.sum())


def _level(t: Tensor) -> tuple[Tensor, int]:
    return t.clone(), 1 + is_above(t)


def _flag(t: Tensor) -> bool:
    return is_above(t)


def _fill(t: Tensor, y: Tensor) -> None:
    y.fill_(1.0 + is_above(t))


OPERATORS: dict[str, Any] = {
    "float": operator("a(Tensor x) -> (Tensor, float)", lambda t: (t * 1, 1.0 + is_above(t))),
    "int": operator("b(Tensor x) -> (Tensor, int)", lambda t: (t * 1, 1 + is_above(t))),
    "bool": operator("c(Tensor x) -> (Tensor, bool)", lambda t: (t * 1, is_above(t))),
    "str": operator("d(Tensor x) -> str", lambda t: "12"[is_above(t)]),
    "str_beside": operator("e(Tensor x) -> (Tensor, str)", lambda t: (t * 1, "12"[is_above(t)])),
    "ints": operator("f(Tensor x) -> (Tensor, int[])", lambda t: (t * 1, [1 + is_above(t)])),
    "floats": operator("g(Tensor x) -> float[]", lambda t: [1.0 + is_above(t)]),
    "scalar": operator("h(Tensor x) -> (Tensor, Scalar)", lambda t: (t * 1, 1 + is_above(t))),
    "alone": operator("i(Tensor x) -> float", lambda t: 1.0 + is_above(t)),
    "composite": operator(
        "j(Tensor x) -> Tensor",
        lambda t: one() * by_numpy(t.detach()),
        "CompositeImplicitAutograd",
    ),
    "composite_number": operator(
        "k(Tensor x) -> float", lambda t: by_list(t.detach()), "CompositeImplicitAutograd"
    ),
    "explicit": operator(
        "l(Tensor x) -> float", lambda t: by_list(t.detach()), "CompositeExplicitAutograd"
    ),
    "custom_int": custom("m", _level),
    "custom_float": custom("n", _total),
    "custom_bool": custom("o", _flag),
}
MADE_OF = {"bool": float, "custom_bool": float, "custom_float": lambda v: float(v > LIMIT)}


def _last_number(value: Any, kind: str) -> Any:
    while isinstance(value, tuple | list):
        value = value[-1]
    return MADE_OF.get(kind, lambda v: v if isinstance(v, Tensor) else float(v))(value) + 1.0


@pytest.mark.parametrize("overload", [False, True])
@pytest.mark.parametrize("kind", OPERATORS)
def test_operators_that_return_numbers(kind, overload):
    called = OPERATORS[kind]
    if overload:
        called = called._opoverload if kind.startswith("custom") else called.default
    assert_refused(lambda z: _last_number(called(z), kind))


@pytest.mark.parametrize("kind", [k for k in OPERATORS if "composite" not in k])
def test_numbers_of_a_weight_harm_nothing(kind):
    assert_single_pass(lambda w: _last_number(OPERATORS[kind](w), kind))


_fills = custom("p", _fill, mutates=("y",))


@pytest.mark.parametrize("make", [torch.ones, torch.zeros, torch.empty])
def test_operators_that_write(make):
    def part(z: Tensor) -> Tensor:
        y = make(1, dtype=D)
        _fills(z, y)
        return y

    assert_refused(part)


_gate = operator("q(Tensor x) -> Tensor", lambda t: t.clone() if is_above(t) else t + LIMIT)


def _quantized(z: Tensor) -> Tensor:
    scale = (whole(z)[0] + 1).float()
    return torch.quantize_per_tensor(torch.ones(1), scale, torch.tensor(0), torch.quint8)


STATES = torch.stack([torch.Generator().manual_seed(s).get_state() for s in (1, 2)])


def _probability(z: Tensor, loss: Any) -> Tensor:
    chances = torch.arange(6, dtype=D).reshape(3, 1, 2).log_softmax(-1)
    weights = torch.arange(1, 4, dtype=D).reshape(3, 1, 1)
    targets, lengths = torch.ones(1, 1, dtype=torch.long), torch.ones(1, dtype=torch.long)
    return loss(chances * weights, targets, whole(z) + 2, lengths)


@scripted
def _scripted_item(z: Tensor, limit: float) -> float:
    if z.sum().item() > limit:
        return 2.0
    return 1.0


@scripted
def _scripted_size(n: Tensor) -> Tensor:
    return torch.ones(int(n))


READERS: dict[str, Part] = {
    "tensor_split": lambda z: torch.tensor_split(one(4), whole(z) + 1)[0].sum(),
    "tensor_split_method": lambda z: one(4).tensor_split(whole(z) + 1)[0].sum(),
    "tensor_split_keyword": lambda z: torch.tensor_split(
        one(4), tensor_indices_or_sections=whole(z) + 1
    )[0].sum(),
    "tensor_split_sections": lambda z: len(torch.tensor_split(one(4), whole(z)[0] + 1)),
    "tensor_split_list": lambda z: torch.tensor_split(one(4), [whole(z)[0] + 1])[0].sum(),
    "split": lambda z: torch.split(one(4), whole(z)[0] + 1)[0].sum(),
    "split_list": lambda z: torch.split(one(4), [whole(z)[0] + 1, 3 - whole(z)[0]])[0].sum(),
    "hsplit": lambda z: torch.hsplit(one(4), [whole(z)[0] + 1])[0].sum(),
    "chunk": lambda z: len(one(4).chunk(whole(z)[0] + 1)),
    "ctc": lambda z: _probability(z, F.ctc_loss),
    "ctc_operator": lambda z: _probability(z, torch.ops.aten.ctc_loss.Tensor),
    "coo": lambda z: torch.sparse_coo_tensor([[0]], [is_over(z) + 1.0], (1,)).to_dense(),
    "coo_index": lambda z: torch.sparse_coo_tensor([[whole(z)[0]]], [2.0], (2,)).to_dense()[1] + 1,
    "coo_keyword": lambda z: torch.sparse_coo_tensor(
        indices=[[0]], values=[is_over(z) + 1.0], size=(1,)
    ).to_dense(),
    "csr": lambda z: torch.sparse_csr_tensor([0, 1], [0], [is_over(z) + 1.0]).to_dense(),
    "csr_rows": lambda z: (
        torch.sparse_csr_tensor([0, whole(z)[0], 1], [0], [1.0], size=(2, 1)).to_dense()[0] + 1
    ),
    "csc": lambda z: torch.sparse_csc_tensor([0, 1], [0], [is_over(z) + 1.0]).to_dense(),
    "bsr": lambda z: torch.sparse_bsr_tensor([0, 1], [0], [[[is_over(z) + 1.0]]]).to_dense(),
    "compressed": lambda z: torch.sparse_compressed_tensor(
        [0, 1], [0], [is_over(z) + 1.0], layout=torch.sparse_csr
    ).to_dense(),
    "full": lambda z: torch.full((1,), is_over(z).double() + 1),
    "full_size": lambda z: torch.full((whole(z)[0] + 1,), 1.0).sum(),
    "arange": lambda z: torch.arange(whole(z)[0] + 1).numel(),
    "linspace": lambda z: torch.linspace(0, is_over(z).double() + 1, 2)[-1],
    "linspace_steps": lambda z: torch.linspace(0, 1, whole(z)[0] + 2).numel(),
    "narrow": lambda z: torch.arange(4).narrow(0, whole(z)[0] + 1, 1),
    "roll": lambda z: torch.arange(1, 4).roll(whole(z)[0])[0],
    "select": lambda z: torch.arange(1, 4).select(0, whole(z)[0]),
    "index": lambda z: torch.arange(1, 4)[whole(z)[0]],
    "slice": lambda z: one(4)[: whole(z)[0] + 1].sum(),
    "view": lambda z: one(4).view(whole(z)[0] + 1, -1).shape[0],
    "expand": lambda z: one(1).expand(whole(z)[0] + 1).sum(),
    "alpha": lambda z: torch.add(one(1), one(1), alpha=is_over(z).double()),
    "pad": lambda z: F.pad(one(1), (0, whole(z)[0])).numel(),
    "interpolate": lambda z: F.interpolate(one(1, 1, 1), size=whole(z)[0] + 1).sum(),
    "pooled": lambda z: F.adaptive_avg_pool1d(one(1, 4), whole(z)[0] + 1).numel(),
    "is_nonzero": lambda z: 1.0 + torch.is_nonzero(is_over(z)),
    "state_of_a_generator": lambda z: 1 + _drawn(STATES.index_select(0, whole(z))[0]),
    "scale": lambda z: _quantized(z).q_scale(),
    "int_repr": lambda z: _quantized(z).int_repr(),
    "chosen_scale": lambda z: (
        1.0 + (torch.ops.aten._choose_qparams_per_tensor(z.float().sum())[0] * 255 > LIMIT)
    ),
    "scripted_item": lambda z: _scripted_item(z, LIMIT),
    "scripted_size": lambda z: _scripted_size(whole(z)[0] + 1).sum(),
    "gate": lambda z: _gate(z).sum(),
}


def _drawn(state: Tensor) -> Tensor:
    generator = torch.Generator()
    generator.set_state(state)
    return torch.rand(1, generator=generator)


@pytest.mark.parametrize("kind", READERS)
def test_what_torch_reads_itself(kind):
    assert_refused(READERS[kind])


FIXED_READERS: dict[str, Part] = {
    "tensor_split": lambda w: torch.tensor_split(w, torch.tensor([1, 2]))[1].abs().sum(),
    "tensor_split_of_a_weight": lambda w: torch.tensor_split(w, (w > 0).sum(1))[0].shape[0] + 1,
    "coo": lambda w: torch.sparse_coo_tensor([[0]], [w[0, 0].abs()], (1,)).to_dense(),
    "csr": lambda w: torch.sparse_csr_tensor([0, 1], [0], [w[0, 0].abs()]).to_dense(),
    "packed": lambda w: rnn.pack_padded_sequence(w.unsqueeze(1), torch.tensor([2])).data.sum(),
    "cholesky": lambda w: caught(torch.linalg.cholesky)(w),
    "index": lambda w: w[torch.tensor(1), 0],
    "mask": lambda w: w[w > 0].numel() + 1,
    "scripted_item": lambda w: _scripted_item(w, 0.0),
}


@pytest.mark.parametrize("kind", FIXED_READERS)
def test_of_what_stays_torch_may_read(kind):
    assert_single_pass(FIXED_READERS[kind])


def test_a_split_by_a_constant_of_what_moves():
    first, last = linear(), linear(2, seed=1)

    def function(x: Tensor) -> Tensor:
        left, right = torch.tensor_split(first(x).relu(), torch.tensor([2]), dim=1)
        return last(torch.cat([right, left], 1))

    explainer = XIntegratedGradients(function, strategy="single_pass")
    for factor in (1.0, 1.4):
        compare(explainer, function, factor * inputs())
    assert explainer.last_route == "single_pass"


def _packed(z: Tensor) -> rnn.PackedSequence:
    return rnn.pack_padded_sequence(one(1, 2, 1), whole(z) + 1, batch_first=True)


def _last_state(z: Tensor, kind: Any) -> Tensor:
    torch.manual_seed(1)
    state = kind(1, 1).double()(_packed(z))[1]
    return (state[0] if kind is nn.LSTM else state).detach() + 1


def _lengths_of_three(z: Tensor) -> Tensor:
    return torch.cat([whole(z) + 1, torch.ones(1, dtype=torch.long)])


def _flagged(z: Tensor) -> Tensor:
    """So many entries as the value decides: one or none."""
    return is_over(z).reshape(1).nonzero()


SHAPES: dict[str, Part] = {
    "packed": lambda z: len(_packed(z).batch_sizes),
    "packed_data": lambda z: _packed(z).data.numel(),
    "packed_sum": lambda z: _packed(z).data.sum(),
    "packed_operation": lambda z: torch._pack_padded_sequence(one(1, 2, 1), whole(z) + 1, True)[
        0
    ].shape[0],
    "packed_unsorted": lambda z: rnn.pack_padded_sequence(
        one(2, 2, 1), _lengths_of_three(z), batch_first=True, enforce_sorted=False
    ).data.shape[0],
    "unpacked": lambda z: rnn.pad_packed_sequence(_packed(z))[0].numel(),
    "unpacked_list": lambda z: len(rnn.unpack_sequence(_packed(z))[0]),
    "lstm": lambda z: _last_state(z, nn.LSTM),
    "gru": lambda z: _last_state(z, nn.GRU),
    "rnn": lambda z: _last_state(z, nn.RNN),
    "mask": lambda z: 1 + one(1)[is_over(z).reshape(1)].numel(),
    "mask_later": lambda z: 1 + (one(1)[is_over(z).reshape(1)] * 2).numel(),
    "mask_of_ones": lambda z: 1 + torch.ones_like(one(1)[is_over(z).reshape(1)]).sum(),
    "nonzero": lambda z: 1 + len(_flagged(z) + 1),
    "nonzero_parts": lambda z: 1 + len(_flagged(z).unbind()),
    "nonzero_iterated": lambda z: 1 + sum(1 for _ in _flagged(z)),
    "nonzero_bytes": lambda z: 1 + _flagged(z).nbytes,
    "nonzero_zeros": lambda z: 1 + (torch.zeros_like(_flagged(z)) + 1).sum(),
    "nonzero_new": lambda z: 1 + z.new_ones(_flagged(z).shape).sum(),
    "nonzero_expanded": lambda z: 1 + one(1).expand_as(_flagged(z)).sum(),
    "nonzero_joined": lambda z: torch.cat([one(1), torch.ones_like(_flagged(z)[:, 0])]).sum(),
    "unique": lambda z: torch.unique(torch.cat([whole(z), torch.zeros(1)])).numel(),
    "segment": lambda z: torch.segment_reduce(
        one(2), "sum", lengths=torch.cat([whole(z) + 1, 1 - whole(z)])
    )[0],
    "sparse": lambda z: 1 + (z.sum() - LIMIT).relu().reshape(1).to_sparse()._nnz(),
    "sparse_rows": lambda z: (
        1 + (z.sum() - LIMIT).relu().reshape(1, 1).to_sparse_csr().values().numel()
    ),
    "histogram": lambda z: (
        torch.histogram(one(1), torch.stack([one() * 0, 2 * is_over(z) + one() / 2]))[0] + 1
    ),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_that_values_decide_below_the_middle(kind):
    assert_refused(SHAPES[kind])
