"""Running a network, to see what is at its end, copying it, and leaving it as it was."""

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from captum_xdnn._torch import pytree

PROBABILITIES: tuple[type[nn.Module], ...] = (
    nn.Softmax,
    nn.Softmax2d,
    nn.LogSoftmax,
    nn.Sigmoid,
    nn.LogSigmoid,
)


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode for a while; each module's own mode is put back.

    The modes are set without calling ``train``, which a network may have made do more.
    """
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = training
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def run(model: nn.Module, arguments: Sequence[Any]) -> Any:
    """Call a network on copies of the arguments, in evaluation mode, without gradients."""
    copies = pytree.tree_map_only(Tensor, torch.clone, tuple(arguments))
    with in_mode(model, training=False), torch.no_grad():
        return model(*copies)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; a ``RuntimeError`` says what else to do where there can be none."""
    # torch can copy lazy parameters, but no lazy buffers.
    fresh: Any = UninitializedBuffer
    lazy = {
        id(buffer): fresh(device=buffer.device, dtype=buffer.dtype)
        for buffer in model.buffers()
        if isinstance(buffer, UninitializedBuffer)
    }
    try:
        return copy.deepcopy(model, lazy)
    except (RuntimeError, TypeError) as error:
        raise RuntimeError(
            f"the model cannot be copied ({error}); pass inplace=True, or use "
            "torch.nn.utils.parametrizations in place of what computes its weights in hooks"
        ) from error


def initialise(model: nn.Module, arguments: Sequence[Any] | None) -> None:
    """Let lazy modules learn their sizes from an input; a ``ValueError`` names those that cannot.

    A copy is run first, so that they are initialised all or not at all.
    """
    if not _lazy(model):
        return
    if arguments is None:
        unseen, why = _lazy(model), "give inputs, or run the model once"
    else:
        trial = copied(model)
        run(trial, arguments)
        unseen, why = _lazy(trial), "the model does not use them for these inputs"
        if not unseen:
            run(model, arguments)
    if unseen:
        raise ValueError(f"these lazy modules have no parameters yet: {', '.join(unseen)}; {why}")


def _lazy(model: nn.Module) -> list[str]:
    """The paths of the lazy modules that have no parameters yet."""
    return [
        path or "the model"
        for path, module in model.named_modules()
        if any(map(is_lazy, chain(module.parameters(recurse=False), module.buffers(recurse=False))))
    ]


@contextmanager
def unchanged_on_error(model: nn.Module, *, values: bool) -> Iterator[None]:
    """Put a network back as it was if an exception leaves the block.

    That is its modules, parameters, buffers, hooks, modes and attributes, but not what an attribute
    refers to, except for dicts and sets. With ``values`` parameters and buffers are copied, and get
    their values back too.
    """
    modules = [(module, type(module), dict(vars(module))) for module in model.modules()]
    held = [
        (value, value.copy())
        for _, _, attributes in modules
        for value in attributes.values()
        if isinstance(value, dict | set)
    ]
    tensors: list[Any] = list(chain(model.parameters(), model.buffers())) if values else []
    copies = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    except BaseException:
        for module, kind, attributes in modules:
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
        for value, before in held:
            # The same object, in another state: handles of hooks refer to it.
            value.clear()
            value.update(before)
        with torch.no_grad():
            for tensor, before in zip(tensors, copies, strict=True):
                tensor.copy_(before)
        raise


def last_softmax(model: nn.Module, arguments: Sequence[Any] | None) -> nn.Module | None:
    """The module that is called once, makes probabilities, and whose output the network returns.

    Without arguments to call the network with it is sought at the end of a ``Sequential`` alone.
    """
    if arguments is None:
        return _end_of_sequential(model)
    calls: dict[nn.Module, list[tuple[Any, int | None]]] = defaultdict(list)

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls[module].append((output, _writes(output)))

    candidates = [module for module in model.modules() if isinstance(module, PROBABILITIES)]
    handles = [module.register_forward_hook(note) for module in candidates]
    try:
        result = run(model, arguments)
    finally:
        for handle in handles:
            handle.remove()
    for module, ((output, writes), *more) in calls.items():
        untouched = writes is not None and writes == _writes(output)
        if output is result and untouched and not more:
            return module
    return None


def _end_of_sequential(model: nn.Module) -> nn.Module | None:
    module = model
    while type(module).forward is nn.Sequential.forward and isinstance(module, nn.Sequential):
        if not len(module):
            return None
        module = module[-1]
    places = [m for _, m in model.named_modules(remove_duplicate=False) if m is module]
    return module if isinstance(module, PROBABILITIES) and len(places) == 1 else None


def _writes(output: Any) -> int | None:
    """How often a tensor has been written to; None where that is not counted."""
    counted = isinstance(output, Tensor) and not output.is_inference()
    return output._version if counted else None
