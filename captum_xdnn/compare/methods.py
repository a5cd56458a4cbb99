"""From what a caller names to methods that can be run."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from captum.attr import (
    Attribution,
    DeepLift,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    Saliency,
)
from torch import Tensor, nn

from captum_xdnn.attr import XIntegratedGradients
from captum_xdnn.compare.problem import Problem

DEFAULT_METHODS = (
    "XIntegratedGradients",
    "IG(10)",
    "IG(50)",
    "IG(128)",
    "IG(300)",
    "InputXGradient",
    "Saliency",
    "DeepLift",
    "GradientShap",
)
_STEPS = re.compile(r"(IG|XIntegratedGradients)\((\d+)\)")
TOGETHER = 50
"""So many steps of Captum's Integrated Gradients share a batch: its default number."""
Explain = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Method:
    """A way to attribute.

    Attributes:
        name: Its name in the comparison.
        explain: Attributions of inputs of the problem's shapes, a tuple of tensors.
        route: Says after a call how the numbers were computed; empty where there is one way.
    """

    name: str
    explain: Explain
    route: Callable[[], str]


def methods_of(given: Any, problem: Problem) -> list[Method]:
    """The methods that a caller asks for.

    Args:
        given: An iterable of names, objects of Captum's ``Attribution``, and callables that take
            the inputs and the target; or a mapping of names to these.
        problem: What they attribute.

    Raises:
        ValueError: If a name is not known, or there is no method or two of one name.
        TypeError: If something else is given.
    """
    if isinstance(given, str | Attribution) or not isinstance(given, Iterable | Mapping):
        message = f"methods must be a collection of methods, found {given!r}"
        raise TypeError(message)
    pairs = given.items() if isinstance(given, Mapping) else ((None, method) for method in given)
    found = [_method(name, method, problem) for name, method in pairs]
    names = [method.name for method in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not found:
        message = f"methods must have names of their own, found {', '.join(repeated) or 'none'}"
        raise ValueError(message)
    return found


def _method(name: str | None, given: Any, problem: Problem) -> Method:
    if isinstance(given, str):
        return _named(name or given, given, problem)
    if isinstance(given, Attribution):
        return _captums(name or type(given).__name__, given, problem, {})
    if callable(given):
        label = name or str(getattr(given, "__name__", type(given).__name__))

        def explain(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            found = given(problem.unformatted(inputs), target=problem.call.target)
            return found if isinstance(found, tuple) else (found,)

        return Method(label, explain, lambda: "")
    message = (
        f"a method is a name, an object of captum.attr.Attribution, or a callable; found {given!r}"
    )
    raise TypeError(message)


def _named(name: str, given: str, problem: Problem) -> Method:
    function: Any = problem.forward_func
    steps = _STEPS.fullmatch(given)
    if steps:
        ours = steps.group(1) == "XIntegratedGradients"
        method = (XIntegratedGradients if ours else IntegratedGradients)(function)
        # More steps take more time, and not more memory.
        bound = {"internal_batch_size": TOGETHER * problem.call.size}
        long = {"n_steps": int(steps.group(2)), **({} if ours else bound)}
        return _captums(name, method, problem, long)
    known: dict[str, Callable[[], Attribution]] = {
        "XIntegratedGradients": lambda: XIntegratedGradients(function),
        "InputXGradient": lambda: InputXGradient(function),
        "Saliency": lambda: Saliency(function),
        "DeepLift": lambda: DeepLift(_module(function)),
        "GradientShap": lambda: GradientShap(function),
    }
    if given not in known:
        message = f"methods are IG(n), XIntegratedGradients(n), {', '.join(known)}; found {given!r}"
        raise ValueError(message)
    if given == "DeepLift" and not isinstance(function, nn.Module):

        def explain(_: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            _module(function)
            return ()

        return Method(name, explain, lambda: "")
    more: dict[str, Any] = {"n_samples": 5, "stdevs": 0.0} if given == "GradientShap" else {}
    return _captums(name, known[given](), problem, more)


def _module(function: Any) -> nn.Module:
    if isinstance(function, nn.Module):
        return function
    message = "DeepLift explains an nn.Module, not another function"
    raise TypeError(message)


def _captums(name: str, method: Any, problem: Problem, more: dict[str, Any]) -> Method:
    """A method with Captum's ``attribute``, given what of the call it takes."""
    taken = inspect.signature(method.attribute).parameters
    call = problem.arguments(**more)
    if "baselines" in taken:
        call["baselines"] = problem.unformatted(problem.starts())
    call = {key: value for key, value in call.items() if key in taken}

    def explain(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # Captum's gradient methods make the inputs require gradients, and say so in a warning.
        leaves = problem.leaves(inputs)
        with warnings.catch_warnings():
            # DeepLift and GuidedBackprop say at every call that they set hooks, and remove them.
            warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks")
            found = method.attribute(problem.unformatted(leaves), **call)
        return tuple(f.detach() for f in (found if isinstance(found, tuple) else (found,)))

    return Method(name, explain, lambda: str(getattr(method, "last_route", "") or ""))
