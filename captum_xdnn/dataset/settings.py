"""What decides the attributions of a run: checked when it is made, and told from another run's."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import CellType, CodeType, FunctionType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from captum_xdnn._torch import BatchNorm, DropoutNd, InstanceNorm
from captum_xdnn.dataset.reductions import Dense, Reduction
from captum_xdnn.nn import UncenteredBatchNorm

Target: TypeAlias = Literal["label", "predicted"] | int | tuple[int, ...] | None
Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]


def input_and_label(data: Any) -> tuple[Any, Any]:
    """What most data sets give: a pair of inputs and label, or inputs alone."""
    if isinstance(data, Tensor):
        return data, None
    if isinstance(data, list | tuple) and len(data) in (1, 2):
        return data[0], data[1] if len(data) == 2 else None
    kind = f"{type(data).__name__} of {len(data)}" if hasattr(data, "__len__") else type(data)
    raise TypeError(
        f"a batch is a pair of inputs and labels, or inputs alone, found a {kind}; "
        "unpack= takes a function that makes (inputs, labels) of it"
    )


class Settings:
    """How samples are attributed: arguments of ``attribute_dataset``, and of ``attribute``."""

    def __init__(
        self,
        method: Any,
        target: Target = "label",
        baselines: Any = None,
        reduce: Reduction | None = None,
        autocast: torch.dtype | None = None,
        device: torch.device | str | None = None,
        unpack: Unpack = input_and_label,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        if not (hasattr(method, "attribute") and hasattr(method, "forward_func")):
            raise TypeError(f"method must be an object of Captum's kind, found {type(method)}")
        if isinstance(target, str) and target not in ("label", "predicted"):
            raise ValueError(f"target must be 'label', 'predicted' or an index, found {target!r}")
        self.method, self.target, self.baselines = method, target, baselines
        self.reduce: Reduction = Dense() if reduce is None else reduce
        self.autocast, self.unpack, self.arguments = autocast, unpack, arguments or {}
        self.device = None if device is None else torch.device(device)
        model = model_of(method.forward_func)
        if model is not None:
            _refuse_training(model)
            if self.device is None:
                self.device = next((p.device for p in model.parameters()), None)

    def precision(self) -> AbstractContextManager[Any]:
        """The context of mixed precision, where it is wanted."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast((self.device or torch.device("cpu")).type, self.autocast)

    def at_device(self, value: Any) -> Any:
        """A tensor, or a tuple of what may be one, where it is computed with."""
        if isinstance(value, tuple):
            return tuple(map(self.at_device, value))
        return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

    def unpacked(self, data: Any, size: int) -> tuple[tuple[Tensor, ...], Any]:
        """The inputs of a batch and its labels."""
        inputs, labels = self.unpack(data)
        tensors = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
        wrong = [type(x).__name__ for x in tensors if not isinstance(x, Tensor)]
        if wrong or not tensors:
            message = f"inputs must be a tensor or a tuple of tensors, found {wrong or 'none'}"
            raise TypeError(message)
        sizes = {tuple(x.shape[:1]) for x in tensors}
        if sizes != {(size,)}:
            raise ValueError(f"{size} samples, but inputs of {sorted(sizes)} rows")
        return tensors, labels

    def described(self) -> dict[str, Any]:
        """What has to be the same where a run goes on, in words and digests.

        Weights count by their digest, so a run does not go on with another checkpoint. A function
        that is no module counts by its code and by what it has of values and networks around it.
        """
        method = self.method
        model = model_of(method.forward_func)
        layer = getattr(method, "layer", None)
        modules = () if model is None else model.named_modules()
        return {
            "method": _kind(method),
            "strategy": getattr(method, "strategy", None),
            "multiply_by_inputs": getattr(method, "multiplies_by_inputs", None),
            "function": _name(method.forward_func if model is None else model),
            "code": None if method.forward_func is model else _code(method.forward_func),
            "weights": None if model is None else _digest(sorted(model.state_dict().items())),
            "layer": next((name for name, m in modules if m is layer), None),
            "target": _said(self.target),
            "baselines": _said(self.baselines),
            "reduce": _setting(self.reduce, repr),
            "unpack": _code(self.unpack),
            "autocast": _said(self.autocast),
            "arguments": {n: _setting(value, _said) for n, value in sorted(self.arguments.items())},
        }


def model_of(forward_func: Any) -> nn.Module | None:
    """The module that a function is, or is a method of; None where that is not known."""
    owner = getattr(forward_func, "__self__", forward_func)
    return owner if isinstance(owner, nn.Module) else None


def _refuse_training(model: nn.Module) -> None:
    """Refuse what is random, or changes, while it is attributed."""
    found = [name for name, m in model.named_modules() if m.training and _draws_or_learns(m)]
    if found:
        message = f"the model is in training mode ({', '.join(found[:3])}): call model.eval()"
        raise ValueError(message)


def _draws_or_learns(module: Any) -> bool:
    """Whether a module does in training mode what differs from call to call, or from batch to batch."""
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return bool(module.dropout)
    if isinstance(module, InstanceNorm):
        return module.track_running_stats
    return isinstance(module, BatchNorm | UncenteredBatchNorm | DropoutNd | nn.RReLU)


def _kind(method: Any) -> str:
    """The class of a method, with that of the method that it smooths or otherwise makes use of."""
    inner = getattr(method, "attribution_method", None)
    return type(method).__name__ + ("" if inner is None else f"({_kind(inner)})")


def _setting(value: Any, otherwise: Callable[[Any], Any]) -> Any:
    """A setting, in words; of a function the digest: its address says nothing in another process."""
    return _code(value) if isinstance(value, FunctionType) else otherwise(value)


def _name(function: Any) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _code(function: Any) -> str:
    """A digest of a function: its code, what it encloses, and the networks that it names."""
    found: list[tuple[str, Any]] = []
    left, seen = [function], set[int]()
    while left:
        each = left.pop()
        if isinstance(each, nn.Module):
            found += sorted(each.state_dict().items())
        elif isinstance(each, CodeType):
            found += [("code", each.co_code), ("names", each.co_names)]
            left += each.co_consts
        elif not callable(each) or isinstance(each, type):
            found.append(("value", each if isinstance(each, Tensor) else _said(each)))
        elif id(each) not in seen:  # a function may enclose itself
            seen.add(id(each))
            left += _parts(each)
    # The same text has another code in another Python.
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}: {_digest(found)}"


def _parts(function: Any) -> Iterator[Any]:
    """What decides what a callable gives."""
    if isinstance(function, partial):
        yield from (function.func, *function.args, *function.keywords.values())
        return
    owner = getattr(function, "__self__", function)
    yield from (v for v in getattr(owner, "__dict__", {}).values() if isinstance(v, nn.Module))
    name = getattr(function, "__qualname__", "")
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    if not hasattr(function, "__code__"):  # it is written in C
        yield name
        return
    yield function.__code__
    yield from function.__defaults__ or ()
    # A cell that is empty yet is equal to a new one.
    yield from (c.cell_contents for c in function.__closure__ or () if c != CellType())
    named = (function.__globals__.get(name) for name in function.__code__.co_names)
    yield from (value for value in named if isinstance(value, nn.Module))


def _said(value: Any) -> Any:
    """A value as JSON holds it; a tensor by its digest."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {_digest([('', value)])}"
    if isinstance(value, list | tuple):
        return [_said(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, torch.dtype) else type(value).__name__


def _digest(tensors: Iterable[tuple[str, Any]]) -> str:
    total = hashlib.sha256()
    for name, tensor in tensors:
        total.update(name.encode())
        if isinstance(tensor, Tensor):
            bare = tensor.detach().cpu().contiguous()
            total.update(f"{bare.dtype}{tuple(bare.shape)}".encode())
            total.update(bare.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            total.update(repr(tensor).encode())
    return total.hexdigest()[:16]
