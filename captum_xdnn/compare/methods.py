"""From what a caller names to methods that can be run."""

import ast
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from captum import attr
from captum.attr import Attribution, DeepLift
from torch import Tensor, nn

from captum_xdnn import attr as ours
from captum_xdnn.compare.problem import Problem, copies_of, leaves_of
from captum_xdnn.proof.findings import count_of, kinds_of

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
LAYER_METHODS = (
    "XLayerIntegratedGradients",
    "IG(10)",
    "IG(50)",
    "IG(128)",
    "IG(300)",
    "LayerConductance",
    "LayerGradientXActivation",
    "LayerDeepLift",
    "LayerGradCam",
)
TOGETHER = 50
"""So many steps of Captum's Integrated Gradients share a batch: its default number."""


@dataclass(frozen=True)
class Method:
    """A way to attribute inputs of the problem's shapes."""

    name: str
    explain: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    # Says after a call how the numbers were computed; empty where there is one way.
    route: Callable[[], str] = str
    # And why not in a single pass.
    reason: Callable[[], str] = str
    # Captum's own class with the same arguments; None where the method is Captum's itself.
    captums: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None


def methods_of(given: Any, problem: Problem) -> list[Method]:
    """The methods that a caller asks for, in one of the forms that ``compare`` takes."""
    if given is None:
        given = DEFAULT_METHODS if problem.layer is None else LAYER_METHODS
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


def named(text: str, layer: bool = False) -> tuple[type[Attribution], dict[str, Any]]:
    """The class that a name says, and the arguments of its ``attribute`` that stand in brackets.

    Raises:
        ValueError: If ``captum.attr`` has no such class, or the brackets are not understood.
    """
    try:
        given = ast.parse(text.strip(), mode="eval").body
        call = given if isinstance(given, ast.Call) else ast.Call(given, [], [])
        further = dict(zip(["n_steps"], map(ast.literal_eval, call.args), strict=False))
        further |= {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        name = call.func.id if isinstance(call.func, ast.Name) and len(call.args) < 2 else ""
    except (SyntaxError, ValueError):
        name = ""
    if name == "IG":
        name = "LayerIntegratedGradients" if layer else "IntegratedGradients"
    kind = getattr(ours, name, None) or getattr(attr, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Attribution)):
        raise ValueError(
            f"captum.attr has no method {text}; methods are IG(n) and its classes, such as Saliency, "
            "KernelShap(n_samples=200) or XIntegratedGradients(20)"
        )
    return kind, further


def made(kind: Any, forward_func: Any, layer: nn.Module | None = None) -> Any:
    """An object of a class of Captum's that is made of a function, and of a layer if it explains one.

    Raises:
        ValueError: If the class takes something else.
    """
    takes = "layer" in inspect.signature(kind).parameters
    if takes != (layer is not None):
        more = "needs more than a model: a layer" if takes else "explains inputs, and no layer"
        raise ValueError(f"{kind.__name__} {more}")
    try:
        return kind(forward_func, layer) if takes else kind(forward_func)
    except TypeError as error:
        raise ValueError(f"{kind.__name__} needs more than a model ({error})") from error


def _named(name: str, given: str, problem: Problem) -> Method:
    kind, more = named(given, problem.layer is not None)
    if given.startswith("IG("):
        # More steps take more time, and not more memory.
        more.setdefault("internal_batch_size", TOGETHER * problem.call.size)
    return _made(name, kind, problem, more)


def _made(
    name: str, kind: Any, problem: Problem, more: Mapping[str, Any] = MappingProxyType({})
) -> Method:
    """A method of a class of Captum's that is made of the function, and of the layer if there is one."""
    try:
        method = made(kind, problem.forward_func, problem.layer)
    except ValueError:
        raise
    except Exception as error:
        return Method(name, partial(_raise, error.with_traceback(None)))
    return _captums(name, method, problem, more)


def _raise(error: Exception, _inputs: Any) -> Any:
    """What a method does that could not be made."""
    raise error.with_traceback(None)


def _captums(
    name: str, method: Any, problem: Problem, more: Mapping[str, Any] = MappingProxyType({})
) -> Method:
    """A method with Captum's ``attribute``, given what of the call it takes."""
    if not hasattr(method, "attribute"):
        raise ValueError(f"{type(method).__name__} is a base of methods, without an attribute()")
    call = {
        "target": problem.call.target,
        "additional_forward_args": problem.call.arguments or None,
        "baselines": problem.unformatted(problem.call.starts()),
    }
    taken = inspect.signature(method.attribute).parameters
    call = {key: value for key, value in call.items() if key in taken} | dict(more)
    explain = partial(_explained, method, call, problem)
    if not hasattr(method, "last_route"):
        return Method(name, explain)
    own, theirs = _captums_own(method), None
    if call.keys() <= inspect.signature(own.attribute).parameters.keys():  # no tolerance
        # As many steps at once as IG(n) takes.
        together = {"internal_batch_size": TOGETHER * problem.call.size, **call}
        theirs = partial(_explained, own, together, problem)
    return Method(
        name, explain, lambda: str(method.last_route or ""), partial(_why, method), theirs
    )


def _explained(
    method: Any, call: Mapping[str, Any], problem: Problem, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if isinstance(method, DeepLift) and not isinstance(method.model, nn.Module):
        raise TypeError("DeepLift explains an nn.Module, not another function")
    # Captum's gradient methods make the inputs require gradients, and say so in a warning.
    leaves = leaves_of(inputs)
    with warnings.catch_warnings():
        # DeepLift and GuidedBackprop say at every call that they set hooks, and remove them.
        warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks")
        found = method.attribute(problem.unformatted(leaves), **call)
    return tuple(f.detach() for f in as_tuple(found))


def _captums_own(method: Any) -> Any:
    """An object of the class of Captum's that one of ours derives from, made of the same."""
    kind: Any = next(k for k in type(method).__mro__ if k.__module__.startswith("captum."))
    stored = {"multiply_by_inputs": "multiplies_by_inputs"}
    names = inspect.signature(kind).parameters
    return kind(**{name: getattr(method, stored.get(name, name)) for name in names})


def _why(method: Any) -> str:
    """Why the last call of one of ours was no single pass, in a line; empty if it was."""
    certificate = method.certificate
    if method.last_route == "single_pass" or certificate is None:
        return ""
    kinds = "; ".join(
        f"{count_of(members)}, first {members[0].where}: {members[0].reason}"
        for members in kinds_of(certificate.blockers)
    )
    return "; ".join(filter(None, (certificate.refusal, kinds)))


def as_tuple(found: Any) -> tuple[Tensor, ...]:
    """A tensor or a tuple of tensors, as a tuple."""
    return found if isinstance(found, tuple) else (found,)
