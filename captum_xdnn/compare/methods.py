"""From what a caller names to methods that can be run."""

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from captum import attr
from captum.attr import Attribution, DeepLift, IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import attr as ours
from captum_xdnn.attr import XIntegratedGradients
from captum_xdnn.compare.problem import Problem, copies_of, leaves_of

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


@dataclass(frozen=True)
class Method:
    """A way to attribute inputs of the problem's shapes."""

    name: str
    explain: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    # Says after a call how the numbers were computed; empty where there is one way.
    route: Callable[[], str] = str


def methods_of(given: Any, problem: Problem) -> list[Method]:
    """The methods that a caller asks for, in one of the forms that ``compare`` takes."""
    if isinstance(given, str | Attribution) or not isinstance(given, Iterable | Mapping):
        raise TypeError(f"methods must be a collection of methods, found {given!r}")
    pairs = given.items() if isinstance(given, Mapping) else ((None, method) for method in given)
    found = [_method(name, method, problem) for name, method in pairs]
    names = [method.name for method in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not found:
        raise ValueError(
            f"methods must have names of their own, found {', '.join(repeated) or 'none'}"
        )
    return found


def _method(name: str | None, given: Any, problem: Problem) -> Method:
    if isinstance(given, str):
        return _named(name or given, given, problem)
    if isinstance(given, type) and issubclass(given, Attribution):
        return _made(name or given.__name__, given, problem)
    if isinstance(given, Attribution):
        return _captums(name or type(given).__name__, given, problem)
    if callable(given):
        label = name or str(getattr(given, "__name__", type(given).__name__))
        return Method(
            label,
            lambda inputs: as_tuple(
                given(problem.unformatted(copies_of(inputs)), target=problem.call.target)
            ),
        )
    message = (
        f"a method is a name, an object of captum.attr.Attribution, or a callable; found {given!r}"
    )
    raise TypeError(message)


def _named(name: str, given: str, problem: Problem) -> Method:
    kind: Any
    steps = _STEPS.fullmatch(given)
    more = {"n_steps": int(steps[2])} if steps else {}
    if steps and steps[1] == "IG":
        kind = IntegratedGradients
        # More steps take more time, and not more memory.
        more["internal_batch_size"] = TOGETHER * problem.call.size
    elif steps:
        kind = XIntegratedGradients
    else:
        kind = getattr(ours, given, None) or getattr(attr, given, None)
        if not (isinstance(kind, type) and issubclass(kind, Attribution)):
            raise ValueError(
                "methods are IG(n), XIntegratedGradients(n) and the classes of captum.attr, such as "
                f"Saliency; found {given!r}"
            )
    return _made(name, kind, problem, **more)


def _made(name: str, kind: Any, problem: Problem, **more: Any) -> Method:
    """A method of a class of Captum's that is made of the function alone."""
    try:
        method = kind(problem.forward_func)
    except TypeError as error:
        message = f"{kind.__name__} takes more than a function: give an object of it ({error})"
        raise ValueError(message) from error
    except Exception as error:
        return Method(name, partial(_raise, error.with_traceback(None)))
    return _captums(name, method, problem, **more)


def _raise(error: Exception, _inputs: Any) -> Any:
    """What a method does that could not be made."""
    raise error.with_traceback(None)


def _captums(name: str, method: Any, problem: Problem, **more: Any) -> Method:
    """A method with Captum's ``attribute``, given what of the call it takes."""
    call = {
        "target": problem.call.target,
        "additional_forward_args": problem.call.arguments or None,
        "baselines": problem.unformatted(problem.call.starts()),
        **more,
    }
    taken = inspect.signature(method.attribute).parameters
    call = {key: value for key, value in call.items() if key in taken}

    def explain(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if isinstance(method, DeepLift) and not isinstance(method.model, nn.Module):
            raise TypeError("DeepLift explains an nn.Module, not another function")
        # Captum's gradient methods make the inputs require gradients, and say so in a warning.
        leaves = leaves_of(inputs)
        with warnings.catch_warnings():
            # DeepLift and GuidedBackprop say at every call that they set hooks, and remove them.
            warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks")
            found = method.attribute(problem.unformatted(leaves), **call)
        return tuple(f.detach() for f in as_tuple(found))

    return Method(name, explain, lambda: str(getattr(method, "last_route", "") or ""))


def as_tuple(found: Any) -> tuple[Tensor, ...]:
    """A tensor or a tuple of tensors, as a tuple."""
    return found if isinstance(found, tuple) else (found,)
