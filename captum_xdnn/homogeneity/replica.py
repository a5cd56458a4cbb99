"""A copy of a function's modules that shares every tensor, for the tracer to work on.

``torch.export`` swaps the parameters of the module that it traces, in place, and whatever the
forward pass stores on its modules would be a fake tensor afterwards. A copy keeps both away
from the caller's model, also while other threads run it.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.homogeneity.derived import Derived


class Root(nn.Module):
    """What is handed to the tracer: calls a function whose modules are registered here."""

    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], modules: dict[str, nn.Module]) -> None:
        super().__init__()
        object.__setattr__(self, "function", function)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args: Any) -> Any:
        """Call the function."""
        return self.function(*args)


COMPILED = "_torchdynamo_orig_callable"
"""Where ``torch.compile`` keeps the function that it compiles."""

MODEL = "model"
"""The name under which a module that is itself the function is registered."""


def replicate(function: Callable[..., Any]) -> Root:
    """A root module over copies of the function's modules; the tensors are the originals.

    Modules are found where a forward function keeps them: the function itself, the object of a
    bound method, closures, defaults, the arguments of ``functools.partial`` and globals. What
    cannot be copied is traced as it is.
    """
    modules = Copies()
    return Root(_rebuild(unwrapped(function), modules), modules)


class Copies(dict[str, nn.Module]):
    """The copies of modules by the name under which each is registered.

    Attributes:
        twins: The copy of each module, by the address of the original.
    """

    def __init__(self) -> None:
        super().__init__()
        self.twins: dict[int, Any] = {}


def unwrapped(function: Any) -> Any:
    """The module inside wrappers that change how it runs but not what it computes."""
    inner = function
    while True:
        wraps = isinstance(
            inner, nn.DataParallel | nn.parallel.DistributedDataParallel
        ) and not has_hooks(inner)
        if wraps:
            inner = inner.module
        elif hasattr(inner, "_orig_mod") and isinstance(inner, nn.Module) and not has_hooks(inner):
            inner = inner._orig_mod
        elif isinstance(inner, types.FunctionType) and hasattr(inner, COMPILED):
            inner = getattr(inner, COMPILED)
        else:
            return inner


def has_hooks(module: nn.Module) -> bool:
    """Whether hooks are registered on the module itself."""
    return any(
        getattr(module, name, None)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    )


def _rebuild(value: Any, modules: Copies, name: str = MODEL) -> Any:
    """A function like this one over copies of its modules, which are entered in ``modules``."""
    value = unwrapped(value)
    if isinstance(value, Derived):
        base = _rebuild(value.base, modules, name)
        return value.over(base, [modules.twins.get(id(layer), layer) for layer in value.layers])
    if isinstance(value, nn.Module):
        twin = modules.twins.get(id(value))
        if twin is not None and any(twin is part for m in modules.values() for part in m.modules()):
            return twin
        twin = _copied(value, modules.twins)
        modules[_unused(name, modules)] = twin
        return twin
    if isinstance(value, types.MethodType):
        owner = value.__self__
        if isinstance(owner, nn.Module) and not isinstance(owner, torch.jit.ScriptModule):
            return types.MethodType(value.__func__, _rebuild(owner, modules, name))
    if isinstance(value, functools.partial):
        return functools.partial(
            _rebuild(value.func, modules),
            *(_rebuild_held(arg, modules, f"arg{i}") for i, arg in enumerate(value.args)),
            **{key: _rebuild_held(arg, modules, key) for key, arg in value.keywords.items()},
        )
    if isinstance(value, types.FunctionType):
        return _rebuild_function(value, modules)
    return value


def _rebuild_function(function: types.FunctionType, modules: Copies) -> types.FunctionType:
    cells = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            content = cell.cell_contents
        except ValueError:
            cells.append(cell)
            continue
        held = _rebuild_held(content, modules, name)
        cells.append(cell if held is content else types.CellType(held))
    scope = function.__globals__
    changed = {
        name: held
        for name in function.__code__.co_names
        if name in scope and (held := _rebuild_held(scope[name], modules, name)) is not scope[name]
    }
    if changed:
        scope = {**scope, **changed}
    if scope is function.__globals__ and not function.__closure__:
        return function
    twin = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, tuple(cells)
    )
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _rebuild_held(value: Any, modules: Copies, name: str) -> Any:
    """Like ``_rebuild``, for what a function holds: only modules and their methods."""
    method = isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module)
    return _rebuild(value, modules, name) if method or isinstance(value, nn.Module) else value


def _unused(name: str, modules: dict[str, nn.Module]) -> str:
    candidate, count = name, 1
    while candidate in modules or hasattr(nn.Module, candidate):
        count += 1
        candidate = f"{name}{count}"
    return candidate


def _copied(module: nn.Module, twins: dict[int, Any]) -> nn.Module:
    """A deep copy that shares the tensors; the module itself if it cannot be copied.

    Args:
        module: The module.
        twins: What was copied before, by address; the new copies are entered.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return module
    memo = dict(twins)
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):  # its copy would hold copies of the tensors
            memo[id(part)] = part
            continue
        for held in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            if isinstance(held, Tensor):
                memo[id(held)] = held
    try:
        twin: nn.Module = copy.deepcopy(module, memo)
    except Exception:
        return module
    twins.update({id(part): memo[id(part)] for part in module.modules() if id(part) in memo})
    return twin
