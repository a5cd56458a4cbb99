"""What every builder does once its weights are chosen, its documentation, and further depths."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast, get_args

from torch import nn

from captum_xdnn.models.checkpoints import load_state
from captum_xdnn.models.pretrained import XWeightsEnum

_Arguments = ParamSpec("_Arguments")
_Network = TypeVar("_Network", bound=nn.Module)
_Builder = TypeVar("_Builder", bound=Callable[..., Any])

ARGUMENTS = {
    "weights": "A member of ``{enum}``, its name, or None for random weights.",
    "progress": "Whether a download shows a progress bar.",
    "bias": "Whether there are biases (of a ResNet: Fixup's, and its scales).",
    "num_classes": "Number of logits.",
    "dropout": "Probability of dropout, which only a network in training mode does.",
}
REST = """
Returns:
    The network, in training mode as torchvision's builders return it.

Raises:
    ValueError: If the weights were trained with another ``bias`` or ``num_classes``.
    KeyError: If ``weights`` names no member.
    TypeError: If ``weights`` is of another type.
    ConnectionError: If the weights cannot be downloaded.
    RuntimeError: If the file of the weights is damaged.

Example:
    >>> import torch
    >>> with torch.device("meta"):  # the architecture alone
    ...     model = {name}()
    >>> sum(parameter.numel() for parameter in model.parameters())
    {params}
"""


def described(*, params: int) -> Callable[[_Builder], _Builder]:
    """Write into a builder's docstring what all have in common; ``params`` is for its example."""

    def describe(builder: _Builder) -> _Builder:
        parameters = inspect.signature(builder).parameters
        enum = get_args(parameters["weights"].annotation)[0].__name__
        said = (f"    {name}: {ARGUMENTS[name].format(enum=enum)}\n" for name in parameters)
        rest = REST.format(name=builder.__name__, params=params)
        own = inspect.cleandoc(builder.__doc__ or "")
        builder.__doc__ = f"{own}\n\nArgs:\n{''.join(said)}{rest}"
        return builder

    return describe


def build(
    network: Callable[..., _Network],
    weights: XWeightsEnum | None,
    *,
    progress: bool,
    bias: bool,
    num_classes: int,
    **options: Any,
) -> _Network:
    """Build a network and load its weights."""
    if weights is not None:
        _refuse_mismatch(weights, {"bias": bias, "num_classes": num_classes})
    model = network(bias=bias, num_classes=num_classes, **options)
    if weights is not None:
        load_state(model, weights.get_state_dict(progress=progress), source=repr(weights))
    return model


def _refuse_mismatch(weights: XWeightsEnum, asked: dict[str, Any]) -> None:
    trained = {"bias": weights.value.bias, "num_classes": weights.value.num_classes}
    differences = [
        f"they were trained with {name}={trained[name]}, and {name}={value} was asked for"
        for name, value in asked.items()
        if value != trained[name]
    ]
    if differences:
        advice = [", ".join(f"{name}={value}" for name, value in trained.items())]
        advice += [
            f"weights={other!r} with bias={other.value.bias}"
            for other in type(weights)
            if other is not weights
        ]
        raise ValueError(
            f"{weights!r} cannot be loaded: {'; '.join(differences)}. Pass {', or '.join(advice)}."
        )


def other_depth(
    builder: Callable[_Arguments, _Network],
    depth: int,
    network: Callable[..., _Network],
    *,
    params: int,
) -> tuple[type[XWeightsEnum], Callable[_Arguments, _Network]]:
    """What a depth needs that nobody has published weights of: an empty enum and a builder.

    They are named and documented after ``builder``, whose arguments the builder takes.
    """
    renumbered = partial(re.sub, "[0-9]+", str(depth))
    signature = inspect.signature(builder)
    weights = signature.parameters["weights"]
    defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
    name = renumbered(builder.__name__)
    enum_name = renumbered(get_args(weights.annotation)[0].__name__)
    enum = cast(Any, XWeightsEnum)(enum_name, [], module=builder.__module__)
    enum.__doc__ = f"""Weights of ``{name}``: nobody has published any.

    Example:
        >>> list({enum_name})
        []
    """

    def build_depth(**options: Any) -> _Network:
        chosen = defaults | options
        return build(network, enum.verify(chosen.pop("weights")), **chosen)

    parameters = {**signature.parameters, "weights": weights.replace(annotation=enum | str | None)}
    vars(build_depth)["__signature__"] = signature.replace(parameters=list(parameters.values()))
    build_depth.__name__ = build_depth.__qualname__ = name
    build_depth.__module__ = builder.__module__
    build_depth.__doc__ = renumbered((builder.__doc__ or "").partition("\n\nArgs:")[0])
    return enum, cast(Callable[_Arguments, _Network], described(params=params)(build_depth))
