"""The one place that knows what torch keeps private: its names, and attributes of its objects.

Torch promises none of them. Each says why it is needed, and since which release torch has it where
that is later than 2.6. Without any of them the import of this package ends with the one message
below, unless another consequence is named: a call never goes on with half of what it relies on.
``tests/test_private_names.py`` keeps every other file from reaching past this one.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import has_torch_function

MESSAGE = (
    "captum-xdnn relies on parts of torch that torch {version} has not, or has in another form: "
    "{parts}. Install a release of torch that captum-xdnn is tested with, or a newer captum-xdnn."
)

try:
    import torch.utils._pytree

    # How torch computes an operation by others: for operations without a rule of their own.
    from torch._decomp import core_aten_decompositions as core_aten_decompositions
    from torch._decomp import decomposition_table as decomposition_table

    # Custom operators: torch makes their derivative a kernel in Python, which is no user's code.
    from torch._library.custom_ops import OPDEFS as OPDEFS

    # What a mode is shown: operations, their families, and operators that take functions (`cond`).
    from torch._ops import HigherOrderOperator as HigherOrderOperator
    from torch._ops import OpOverload as OpOverload
    from torch._ops import OpOverloadPacket as OpOverloadPacket

    # Tensors without values, by which an attribution is traced for a batch size that stays open.
    from torch._subclasses import FakeTensorMode as FakeTensorMode

    # The mode that shows every operation.
    from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode

    # Tensors inside of nested lists, tuples and dictionaries.
    pytree = torch.utils._pytree
    # What layers of torch have in common whatever their number of dimensions.
    BatchNorm, NormBase = nn.modules.batchnorm._BatchNorm, nn.modules.batchnorm._NormBase
    ConvNd, ConvTransposeNd = nn.modules.conv._ConvNd, nn.modules.conv._ConvTransposeNd
    DropoutNd = nn.modules.dropout._DropoutNd
    InstanceNorm = nn.modules.instancenorm._InstanceNorm
    # What differentiates in `torch.autograd.grad`; not tried out at the import, as it starts threads
    # that a forked child would miss: in another form it raises at the first call.
    _run_backward: Any = torch.autograd.graph._engine_run_backward
    # Properties of tensors as a TorchFunctionMode is shown them.
    TensorBase: Any = torch._C.TensorBase
    # Packed sequences and `torch.nn.functional.pad`, as a mode is shown them.
    PACKING: tuple[Any, ...] = (torch._pack_padded_sequence, torch._pad_packed_sequence)
    pad: Any = torch._C._nn.pad
    # Looking at a tensor without being shown to a mode.
    DisableTorchFunction = torch._C.DisableTorchFunction
    DisableTorchDispatch = torch._C._DisableTorchDispatch
    # What a class of tensors has that changes no function of torch's, or no operation.
    disabled_torch_function: Any = torch._C._disabled_torch_function_impl
    disabled_torch_dispatch: Any = torch._C._disabled_torch_dispatch_impl
    # Whether the watch's mode is on, or another one, and whether torch traces.
    len_torch_dispatch_stack = torch._C._len_torch_dispatch_stack
    _get_dispatch_mode = torch._C._get_dispatch_mode
    current_dispatch_mode: Any = torch.utils._python_dispatch._get_current_dispatch_mode
    _TRACING = (torch._C._TorchDispatchModeKey.PROXY, torch._C._TorchDispatchModeKey.FUNCTIONAL)
    # Whether an operation runs under vmap, or is made of others by torch itself.
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    # Tensors inside of `torch.vmap`, which have no memory of their own.
    is_wrapped: Any = torch._C._functorch.is_functorch_wrapped_tensor
    # Kernels of operators that are written in Python, as "namespace/operator/key".
    python_kernels: Any = torch.library._impls
    # The frame of a module's call, which says in which module an operation ran.
    MODULE_CALL = nn.Module._call_impl.__code__
except (ImportError, AttributeError) as error:
    raise ImportError(MESSAGE.format(version=torch.__version__, parts=error)) from error


# Hooks on saved tensors that the function sets, which change a gradient unseen; since 2.8. Before,
# every run counts as one that may have set some: the law of its gradient is checked at each call.
top_hooks: Any = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: (object(),)
)


# What `torch.compile` does with each frame of this thread; None while it does nothing. Where torch does
# not tell, it keeps its compiler from every operation of the watch, which takes longer.
looking: Any = getattr(torch._C._dynamo.eval_frame, "get_eval_frame_callback", None)


def set_version_counter(tensor: Tensor, version: int) -> None:
    """Put back a count of writes, so that autograd does not take what a run wrote for a change."""
    put: Any = torch._C._autograd._unsafe_set_version_counter
    try:
        put((tensor,), (version,))
    except TypeError:  # before 2.7
        put(tensor, version)


_GRAD = torch.autograd.grad


def gradients_from(
    outputs: Sequence[Any],
    inputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """``torch.autograd.grad`` where each seed has the shape of its output.

    That function imports sympy to compare the two: half a second in the first call of a process.
    """
    # A class of tensors or a mode has a say in it, or somebody has put another function in its place:
    # without seeds, as Captum calls it, of sums that have the same gradients.
    if torch.autograd.grad is not _GRAD or has_torch_function((*outputs, *inputs)):
        with torch.enable_grad():
            pairs = zip(outputs, seeds, strict=True)
            sums = [torch.real(o * seed.conj()).sum() for o, seed in pairs]
        return torch.autograd.grad(
            sums,
            inputs,
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
        )
    kept = create_graph if retain_graph is None else retain_graph
    found: tuple[Any, ...] = _run_backward(
        tuple(outputs),
        tuple(seeds),
        kept,
        create_graph,
        tuple(inputs),
        allow_unused,
        accumulate_grad=False,
    )
    return found


_RELU: Any = torch.ops.aten.relu
_MODULE = nn.Module()
ATTRIBUTES: dict[str, Any] = {
    # Torch's count of a tensor's writes: memory that is written where the watch does not see it.
    "_version": Tensor,
    # Which memory a tensor lies in.
    "_cdata": torch.UntypedStorage,
    # A way to a tensor's memory, which is noted as one.
    "_typed_storage": Tensor,
    # An overload's function in C++, without the frame of a call in between.
    "_op": _RELU.default,
    # What an operation takes, writes and shows: the watch, the proof and the routes live on it.
    "_schema": _RELU.default,
    # An operator's name, by which its kernels in Python are found.
    "_qualified_op_name": _RELU,
    # What a module holds, without asking it: a subclass may answer anything.
    "_parameters": _MODULE,
    "_buffers": _MODULE,
    "_modules": _MODULE,
    # Hooks: read for the names that they use, and for what computes a weight.
    "_forward_hooks": _MODULE,
    "_forward_pre_hooks": _MODULE,
    # Hooks of all modules: what they keep is state of a run.
    "_global_forward_hooks": nn.modules.module,
    "_global_forward_pre_hooks": nn.modules.module,
    # How attention draws its parameters anew.
    "_reset_parameters": nn.MultiheadAttention,
}
"""Private attributes that other files use, each with what has it: a call for each would cost time."""

HOOKS = [
    name
    for name in vars(_MODULE)
    if name.startswith(("_forward_", "_backward_", "_is_full_backward_"))
]
"""A module's hooks on its passes, by torch's names, which the module in its place takes over; hooks
of state dicts belong to parameters that it has not."""

OVERRIDDEN = {
    # A watch that torch's compiler need not be kept from: else torch imports the compiler, for
    # seconds, at the first operation; since 2.11, and without it only that happens.
    "_should_skip_dynamo",
}
"""Private methods that classes of this package put in the place of torch's."""

ORIGINAL_MODULE = "_orig_mod"
"""A compiled module's name for what it was made of: else messages name its layers with this."""
NODE_OF_CPP, SCRIPTED = "CppFunction", "DifferentiableGraph"
"""Autograd's node of a TorchScript graph: the kind, and a part of the name. Else the derivative
that TorchScript made is not told from torch's own; the test tries it."""

_COMPILER = "torch._dynamo"
_COMPILER_FOLDER = Path(torch.__file__).parent / "_dynamo"


def ahead_of_time() -> tuple[Any, Any]:
    """What compiles an exported program into a package, and what loads one; imports the compiler."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    return aoti_compile_and_package, aoti_load_package


def compiler() -> Any:
    """The module of ``torch.compile`` if it is there, which takes seconds; None before, and while a thread imports it."""
    module = sys.modules.get(_COMPILER)
    if module is None or getattr(module.__spec__, "_initializing", False):
        return None
    return module


def compiled_frames() -> int:
    """How many frames ``torch.compile`` has compiled, by its own count."""
    return 0 if compiler() is None else int(compiler().utils.counters["frames"]["total"])


def compiled_from(function: FunctionType) -> Any:
    """The function that ``torch.compile`` or ``torch.compiler.disable`` wrapped; None of others."""
    is_compilers = function.__code__.co_filename.startswith(str(_COMPILER_FOLDER))
    return function.__dict__.get("__wrapped__") if is_compilers else None


def is_transformed() -> bool:
    """Whether a call is being traced, or differentiated in forward mode, which no run would carry."""
    return forward_ad._current_level >= 0 or any(map(_get_dispatch_mode, _TRACING))


def unfit() -> list[str]:
    """The attributes that torch has not, and the names above that are not what they were."""
    attributes = [
        f"{getattr(holder, '__name__', type(holder).__name__)}.{name}"
        for name, holder in ATTRIBUTES.items()
        if not hasattr(holder, name)
    ]
    if attributes:
        return attributes
    checks = {
        "forward_ad._current_level": lambda: isinstance(forward_ad._current_level, int),
        "_top_saved_tensors_default_hooks": lambda: top_hooks(False) or True,
        "_unsafe_set_version_counter": _counter_is_put,
        "_dispatch_has_kernel_for_dispatch_key": lambda: has_kernel("aten::relu", "CPU"),
        "_disabled_torch_dispatch_impl": lambda: (
            Tensor.__torch_dispatch__ is disabled_torch_dispatch
        ),
        "Module._backward_hooks": lambda: "_backward_hooks" in HOOKS,
        # What a leaf of autograd's graph belongs to: told by its name alone.
        "AccumulateGrad.variable": lambda: torch._C._functions.AccumulateGrad.variable,
        "library._impls": lambda: next(iter(python_kernels)).count("/") == 2,
        "OpOverloadPacket._qualified_op_name": lambda: _RELU._qualified_op_name == "aten::relu",
        "OpOverload._schema": lambda: torch.ops.aten.relu_.default._schema.is_mutable,
        _COMPILER: _COMPILER_FOLDER.is_dir,
    }
    return [name for name, holds in checks.items() if not _succeeds(holds)]


def _counter_is_put() -> bool:
    tensor = torch.empty(0)
    set_version_counter(tensor, 7)
    return tensor._version == 7


def _succeeds(check: Any) -> bool:
    try:
        return bool(check())
    except (AttributeError, TypeError, RuntimeError, StopIteration):
        return False


if parts := ", ".join(unfit()):
    raise ImportError(MESSAGE.format(version=torch.__version__, parts=parts))
