"""What docstrings have in common, written once: of the layers' and neurons' classes, of losses, of differences."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
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
    "attributions": "Tensor or tuple of tensors of shape ``(B, ...)``.",
    "reference": "Of the same shapes.",
    "mask": "For each of them a tensor that broadcasts to its shape.",
    "target": "Index of the explained output, in any of Captum's forms.",
    "additional_forward_args": "Further arguments of the function, not attributed.",
    "n_steps": "Number of steps of the quadrature; a single pass needs none.",
    "method": "Quadrature rule of Captum; a single pass is the exact integral.",
    "internal_batch_size": "Bound of the batch in one pass; None leaves it to the package.",
    "return_convergence_delta": "Whether to return the deltas, too, shape ``(B,)``.",
    "attribute_to_layer_input": "Whether what the layer takes is meant.",
    "attribute_to_neuron_input": "Whether the neuron is of what the layer takes.",
    "tolerance": "As in :class:`XIntegratedGradients`: relative gap up to which points are added.",
    "max_steps": "As in :class:`XIntegratedGradients`: points of one example at most (1,000).",
    "grad_kwargs": "As in Captum; they are left to Captum.",
}
CLASS_RAISES = {
    "ValueError": "If ``strategy`` is none of the three, or ``max_memory`` no positive integer."
}
WRONG_INPUT = {
    "AssertionError": "For wrong input, as in Captum (and Captum's other types likewise)."
}
CALL_RAISES = {
    "NotHomogeneousError": 'With ``strategy="single_pass"``, where one pass is not proved exact.',
} | WRONG_INPUT


def described(
    raises: Mapping[str, str] | None = None, returns: str = "", **own: str
) -> Callable[[F], F]:
    """Write into a docstring what the arguments are, the result, and the errors.

    They come before ``Returns:``, or before ``Source:`` where there is none.

    Args:
        raises: The errors; None for those of the classes and their calls.
        returns: The result, where the docstring leaves it out.
        own: Arguments that are something else here.
    """

    def describe(described: F) -> F:
        names = [name for name in inspect.signature(described).parameters if name != "self"]
        usual = CLASS_RAISES if isinstance(described, type) else CALL_RAISES
        sections = {
            "Args": [f"{name}: {(ARGUMENTS | own)[name]}" for name in names],
            "Returns": [returns] if returns else [],
            "Raises": [f"{name}: {said}" for name, said in (raises or usual).items()],
        }
        added = "".join(
            "\n".join((f"\n{heading}:", *(f"    {line}" for line in lines), ""))
            for heading, lines in sections.items()
            if lines
        )
        # Without docstrings (python -OO) there is nothing to describe.
        words = inspect.cleandoc(described.__doc__ or "")
        heading = "\nReturns:\n" if "\nReturns:\n" in words else "\nSource:\n"
        described.__doc__ = words.replace(heading, added + heading)
        return described

    return describe
