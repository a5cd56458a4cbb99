"""What the docstrings of the layers' and neurons' classes have in common, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ARGUMENTS = {
    "forward_func": "The function to explain, as in Captum.",
    "layer": "The layer.",
    "device_ids": "As in Captum; several devices are left to Captum.",
    "multiply_by_inputs": "Whether to multiply by ``x - b``.",
    "strategy": "As in :class:`XIntegratedGradients`.",
    "verify": "As in :class:`XIntegratedGradients`.",
    "max_memory": "As in :class:`XIntegratedGradients`.",
    "inputs": "Tensor or tuple of tensors of shape ``(B, ...)``.",
    "neuron_selector": "Index, tuple of indices or slices, or a function of the layer's value.",
    "baselines": "As in Captum.",
    "target": "Index of the explained output, in any of Captum's forms.",
    "additional_forward_args": "Further arguments of the function, not attributed.",
    "n_steps": "Number of steps of the quadrature; a single pass needs none.",
    "method": "Quadrature rule of Captum; a single pass is the exact integral.",
    "internal_batch_size": "Bound of the batch in one pass; None leaves it to the package.",
    "return_convergence_delta": "Whether to return the deltas, too, shape ``(B,)``.",
    "attribute_to_layer_input": "Whether what the layer takes is meant.",
    "attribute_to_neuron_input": "Whether the neuron is of what the layer takes.",
    "grad_kwargs": "As in Captum; they are left to Captum.",
}
CLASS_RAISES = {
    "ValueError": "If ``strategy`` is none of the three, or ``max_memory`` no positive integer."
}
CALL_RAISES = {
    "NotHomogeneousError": 'With ``strategy="single_pass"``, where one pass is not exact.',
    "AssertionError": "For wrong input, as in Captum (and Captum's other types likewise).",
}


def described(**own: str) -> Callable[[F], F]:
    """Write into a docstring what the arguments are, and the errors.

    They come before ``Source:`` of a class, and before ``Returns:`` of a method.

    Args:
        own: Arguments that are something else here.
    """

    def describe(described: F) -> F:
        is_class = isinstance(described, type)
        names = [name for name in inspect.signature(described).parameters if name != "self"]
        sections = (
            _section("Args", {name: (ARGUMENTS | own)[name] for name in names}),
            _section("Raises", CLASS_RAISES if is_class else CALL_RAISES),
        )
        # Without docstrings (python -OO) there is nothing to describe.
        words = inspect.cleandoc(described.__doc__ or "")
        heading = "\nSource:\n" if is_class else "\nReturns:\n"
        described.__doc__ = words.replace(heading, "\n" + "\n".join(sections) + heading)
        return described

    return describe


def _section(heading: str, entries: dict[str, str]) -> str:
    return "\n".join(
        (f"{heading}:", *(f"    {name}: {said}" for name, said in entries.items()), "")
    )
