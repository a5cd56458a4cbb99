"""One call in Captum's form, its rule of integration, what is asked of a fast route, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xdnn._captum import approximation_parameters
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.routes.refinement import Taken, Tolerance
from captum_xdnn.routes.sizes import Sizes


@dataclass(frozen=True)
class Quadrature:
    """How Captum integrates."""

    n_steps: int
    method: str
    # bound of the batch in one forward pass, as Captum bounds it
    internal_batch_size: int | None = None

    def is_plain(self) -> bool:
        """Whether Captum takes these numbers without complaint."""
        bound = self.internal_batch_size
        fewest = 1 if self.method == "gausslegendre" else 2
        # The exact type first: asking an abstract class takes as long as the rest of a refusal.
        counted = type(self.n_steps) is int or isinstance(self.n_steps, Integral)
        return counted and self.n_steps >= fewest and (bound is None or isinstance(bound, Integral))

    def nodes(self) -> tuple[list[float], list[float]]:
        """Captum's step sizes and alphas, or Captum's error.

        Captum computes them anew at every call, by an eigenvalue problem for Gauss-Legendre
        nodes; here they are kept (see docs/benchmarks.md, refused models).
        """
        found = _kept_nodes if self.is_plain() else _nodes
        return found(self.method, self.n_steps)

    def applied(self) -> list[tuple[float, float]]:
        """Weights and places, the weights rounded to float32 as Captum does when it multiplies."""
        found = _kept_applied if self.is_plain() else _applied
        return found(self.method, self.n_steps)


@dataclass(frozen=True)
class Weighted(Quadrature):
    """Captum's places on the ray, with other weights."""

    pairs: tuple[tuple[float, float], ...] = ()  # a weight for each place

    def nodes(self) -> tuple[list[float], list[float]]:
        """The weights and the places."""
        return [weight for weight, _ in self.pairs], [place for _, place in self.pairs]

    def applied(self) -> list[tuple[float, float]]:
        """Weights and places, as they are."""
        return list(self.pairs)


def _nodes(method: str, n_steps: int) -> tuple[list[float], list[float]]:
    sizes, alphas = approximation_parameters(method)
    return sizes(n_steps), alphas(n_steps)


def _applied(method: str, n_steps: int) -> list[tuple[float, float]]:
    weights, places = _nodes(method, n_steps)
    rounded = torch.tensor(weights, dtype=torch.float32).tolist()
    return list(zip(rounded, places, strict=True))


_kept_nodes = lru_cache(maxsize=64)(_nodes)
_kept_applied = lru_cache(maxsize=64)(_applied)


Route = Literal["single_pass", "hoisted", "captum"]


@dataclass(frozen=True)
class Request:
    """A call, and what is wanted of it."""

    forward_func: Callable[..., Any]
    call: Call
    quadrature: Quadrature  # Captum's integration rule
    multiply_by_inputs: bool = True  # whether to multiply the mean gradient by ``x - b``
    verify: bool = True  # whether to check each fast route
    create_graph: bool = False  # whether the attributions can be differentiated
    hoist: bool = True  # whether hoisting will do where a single pass is not exact
    max_memory: int | None = None  # bytes that the results of one pass may take
    # the first of the inputs that are added to a layer's value; None without any
    shifts: int | None = None
    # what completeness is to reach, by points of its own; None for the rule's
    tolerance: Tolerance | None = None

    def makes_several_passes(self) -> bool:
        """Whether Captum's code runs the function more than once, on some of the steps each time."""
        bound = self.quadrature.internal_batch_size
        return bound is not None and max(1, bound // self.call.size) < self.quadrature.n_steps


@dataclass(frozen=True)
class Outcome:
    """What came of trying a fast route."""

    certificate: Certificate | None = None  # the certificate that was asked for; None if none was
    # the attributions; None where Captum's code has to run
    attributions: tuple[Tensor, ...] | None = None
    # what the function returned on the way, with its graph where the attributions can be
    # differentiated; None where it did not run at the inputs themselves
    returned: Tensor | None = None
    route: Route = "captum"  # the route that gave them
    refusal: str = ""  # why there are none, where it is not the certificate that refuses
    contradicted: bool = False  # whether a proof allowed the route and a check refused it
    ran: bool = True  # whether the function ran to its end; where it did not, the call may be wrong
    # the sizes of passes through the function; None where all steps have to run at once
    sizes: Sizes | None = None
    taken: Taken | None = None  # what a tolerance took, where one was asked for
    # takes the seconds that Captum's code needs for the call; None where nobody asks
    timed: Callable[[float], None] | None = None

    @property
    def reason(self) -> str:
        """Why there are no attributions; written only when asked for, it is a whole report."""
        return self.refusal or ("" if self.certificate is None else self.certificate.demanded())


SLOWER = "both were timed, and hoisting took longer"
NOT_FINITE = "the output or a gradient is not finite"


def rows(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The tensors of consecutive parts of a call as those of one batch."""
    return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))


def of_examples(target: Any, examples: Tensor) -> Any:
    """The targets of some examples, one for each of the numbers."""
    if isinstance(target, list):
        return [target[i] for i in examples.tolist()]
    if isinstance(target, Tensor) and target.numel() > 1:
        return target[examples.to(target.device)]
    return target


@dataclass(frozen=True)
class Call:
    """The arguments that decide the value of an attribution."""

    inputs: tuple[Tensor, ...]  # the inputs, each of shape ``(B, ...)``
    baselines: tuple[Any, ...]  # for each input a number or a tensor
    target: Any
    arguments: tuple[Any, ...]  # the additional forward arguments, as a tuple

    @property
    def size(self) -> int:
        """The batch size."""
        return self.inputs[0].shape[0]

    def numel(self) -> int:
        """How many numbers the inputs have."""
        return sum(x.numel() for x in self.inputs)

    def is_plain(self) -> bool:
        """Whether this is a call that a fast route serves; every other one is left to Captum.

        That includes wrong calls: Captum's own code then raises Captum's own error.
        """
        size = 0
        for tensor, baseline in zip(self.inputs, self.baselines, strict=True):
            length = tensor.shape[0] if tensor.dim() else 0
            if not length or length != (size or length):
                return False
            size = length
            if isinstance(baseline, Tensor) and not _alike(tensor, baseline):
                return False
        target = self.target
        if isinstance(target, Tensor) and (target.is_floating_point() or target.is_complex()):
            return False
        return size > 0

    def is_divisible(self) -> bool:
        """Whether there is one target for all examples, or one for each."""
        if isinstance(self.target, Tensor):
            return self.target.numel() == 1 or self.target.shape == (self.size,)
        return not isinstance(self.target, list) or len(self.target) == self.size

    def on_the_ray(self) -> Call:
        """The call with whole numbers as they stand on Captum's ray: in a floating dtype."""
        pairs = tuple(zip(self.inputs, self.baselines, strict=True))
        if not any(map(_is_whole, self.inputs)):
            return self
        inputs = tuple(b + 1.0 * (x - b) if _is_whole(x) else x for x, b in pairs)
        starts = tuple(1.0 * b if _is_whole(b) else b for b in self.baselines)
        return replace(self, inputs=inputs, baselines=starts)

    def starts(self) -> tuple[Tensor, ...]:
        """The baselines in the shapes of the inputs."""
        pairs = zip(self.inputs, self.baselines, strict=True)
        return tuple((torch.zeros_like(x) + b).detach() for x, b in pairs)

    def starts_require_grad(self) -> bool:
        """Whether a baseline requires a gradient."""
        return any(isinstance(b, Tensor) and b.requires_grad for b in self.baselines)

    def chunks(self, most: int) -> Iterator[Call]:
        """The same call in consecutive parts of at most ``most`` examples, of like size."""
        size = self.size
        if size <= most:
            yield self
            return
        count = -(-size // most)
        bounds = [size * i // count for i in range(count + 1)]
        for start, stop in pairwise(bounds):

            def part(value: Any, start: int = start, stop: int = stop) -> Any:
                batched = isinstance(value, Tensor) and value.dim() and len(value) == size
                return value[start:stop] if batched else value

            target = self.target
            if isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1):
                target = target[start:stop]
            yield replace(
                self,
                inputs=tuple(map(part, self.inputs)),
                baselines=tuple(map(part, self.baselines)),
                target=target,
                arguments=tuple(map(part, self.arguments)),
            )

    def differences(self) -> tuple[Tensor, ...]:
        """``x - b`` for each input, with the caller's autograd graph."""
        return tuple(
            x if type(b) is int and b == 0 else x - b
            for x, b in zip(self.inputs, self.baselines, strict=True)
        )

    def leaves(self, *, keep_graph: bool) -> tuple[Tensor, ...]:
        """Tensors to differentiate by: copies of the inputs.

        Captum's function never meets the caller's memory, and may keep, or write into, what it is
        given. Of an input that requires a gradient they are no leaves, as with Captum: hooks tell them
        apart. With ``keep_graph`` those of inputs that require a gradient stay connected to them.
        """
        found = []
        for x in self.inputs:
            if keep_graph and x.requires_grad:
                found.append(x.clone())
            else:
                leaf = x.detach().clone().requires_grad_()
                found.append(leaf.view_as(leaf) if x.requires_grad else leaf)
        return tuple(found)

    def further(self) -> tuple[Any, ...]:
        """The further arguments as the function is given them: copies, as Captum's, that keep their graph."""
        with torch.enable_grad() if self.arguments else nullcontext():
            return tuple([a.clone() if isinstance(a, Tensor) else a for a in self.arguments])


def _alike(tensor: Tensor, baseline: Tensor) -> bool:
    """Whether a baseline is of an input's kind and shape; its batch may be of another size."""
    return (
        baseline.dtype == tensor.dtype
        and baseline.device == tensor.device
        and baseline.dim() == tensor.dim()
        and baseline.shape[1:] == tensor.shape[1:]
    )


def _is_whole(value: Any) -> bool:
    """Whether it is a tensor of whole numbers, which Captum multiplies by places on the ray; no truth values."""
    fractional = not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex()
    return not fractional and value.dtype != torch.bool
