"""Calls of a class on a function that was made for them, and all that can be seen of them."""

from __future__ import annotations

import gc
import random
import time
import warnings
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_xdnn.recording import steps

from .explained import CLASSES, Explained, Maker, default_dtype
from .state import live_tensors, of_process, references, state_of

CAPTUM, OURS = 0, 1


@dataclass
class Run:
    """What came of one call."""

    result: Any = None  # what was returned
    error: tuple[str, str] | None = None  # type and message of what was raised
    seconds: float = 0.0  # of the processor
    warned: list[str] = field(default_factory=list)
    route: str = ""
    detail: str = ""  # the degree of a single pass; the share that runs once of a hoisted call
    has_delta: bool = False  # whether the last tensor says how far completeness is missed


@dataclass
class Runs:
    """Calls of one function, one after the other, and what is there afterwards."""

    calls: list[Run]
    state: dict[str, Any]
    process: dict[str, Any]
    left: list[str]  # what outlived the function
    shapes: str
    method: str  # the name of Captum's class
    documented: str


def run(name: str, make: Maker, side: int, calls: int) -> Runs:
    """Make a function and explain it by Captum's class or by ours, as in a process that never did.

    The functions that were proved before are forgotten, so no first call gains from another.
    """
    steps.forget()
    alive = live_tensors()
    explained = seeded(name, make)
    method = made(explained, side)
    done = [_called(method, explained, side) for _ in range(calls)]
    process, given = of_process(), explained.tensors()
    method_name, documented = explained.method, explained.documented
    state = state_of(explained.function, explained.layer, *given, explained.call)
    shapes = " + ".join(map(_shape, given))
    held = references(explained.function, *given)
    del method, explained, given
    more = live_tensors() - alive - sum(len(tensors_of(r.result)) for r in done)
    left = [kind for kind, ref in held if ref() is not None]
    left += ["a tensor or module"] * more
    return Runs(done, state, process, left, shapes, method_name, documented)


def _shape(given: Any) -> str:
    return " x ".join(map(str, given.shape)) if hasattr(given, "shape") else type(given).__name__


def seeded(name: str, make: Maker) -> Explained:
    """The function, made as it is made each time, and the dice where they are before each call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _roll(name)
        explained = make()
        _roll(name)
    return explained


def _roll(name: str) -> None:
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _called(method: Any, explained: Explained, side: int) -> Run:
    run = Run()
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.process_time()
        try:
            result = method.attribute(explained.inputs, **explained.call)
        except Exception as error:
            said = str(error).replace(f"X{explained.method}", explained.method)
            result, run.error = None, (type(error).__name__, said)
        run.seconds = time.process_time() - start
    run.result = detached(result)
    run.has_delta = bool(explained.call.get("return_convergence_delta"))
    run.warned = sorted({f"{w.category.__name__}: {w.message}" for w in caught})
    if side == OURS and run.error is None:
        run.route = method.last_route
        if run.route == "single_pass":
            run.detail = f"degree {method.certificate.degree}"
        elif run.route == "hoisted":
            run.detail = f"{method.certificate.trunk_share:.0%} once"
    return run


def in_double(name: str, make: Maker, side: int, times: int = 1) -> tuple[Run, Explained]:
    """A call in float64, with so many times the steps that the function's own call has.

    Of ours the first that takes a fast route, if one of three does.
    """
    with default_dtype(torch.float64):
        explained = seeded(name, make)
        explained.call["n_steps"] = times * explained.call.get("n_steps", 50)
        if times > 1:  # all steps at once may not fit into memory
            least = 2 * explained.tensors()[0].shape[0]
            explained.call.setdefault("internal_batch_size", 64 * least)
        method = made(explained, side)
        for _ in range(3 if side == OURS else 1):
            done = _called(method, explained, side)
            if done.route != "captum":
                break
        return done, explained


def of_other_passes(name: str, make: Maker) -> Run:
    """Captum's own call in passes of another size."""
    explained = seeded(name, make)
    explained.call["internal_batch_size"] = 2 * explained.tensors()[0].shape[0]
    return _called(made(explained, CAPTUM), explained, CAPTUM)


def of_rounded_inputs(name: str, make: Maker) -> Run:
    """Captum's own call where every entry of the inputs is moved by a unit of its rounding."""
    explained = seeded(name, make)
    moved = tuple(x.nextafter(2 * x) if x.is_floating_point() else x for x in explained.tensors())
    explained.inputs = moved if isinstance(explained.inputs, tuple) else moved[0]
    return _called(made(explained, CAPTUM), explained, CAPTUM)


def made(explained: Explained, side: int) -> Any:
    """An object of Captum's class, or of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explained.explainer(CLASSES[explained.method][side])


def detached(result: Any) -> Any:
    """The same form without autograd's graph, which would hold the function's tensors."""
    if isinstance(result, tuple):
        return tuple(map(detached, result))
    if not isinstance(result, Tensor):
        return result
    plain = result.detach().clone()
    return plain.requires_grad_() if result.requires_grad else plain


def tensors_of(result: Any) -> list[Tensor]:
    """All tensors of a result, one after the other."""
    if isinstance(result, tuple):
        return [t for part in result for t in tensors_of(part)]
    return [result] if isinstance(result, Tensor) else []
