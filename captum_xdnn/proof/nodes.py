"""What a node of a run's graph says about itself: mutable, random, never read, left unwritten."""

from typing import Any

import torch

from captum_xdnn._torch import OpOverload, has_kernel
from captum_xdnn.proof import registry
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.operations import Operation, operation_of
from captum_xdnn.recording.run import overwritten, written_beside
from captum_xdnn.recording.steps import TensorInfo, forms_in
from captum_xdnn.recording.tensors import infos_of


def is_operation(target: Any) -> bool:
    """Whether a target is an operation of torch, and no stand-in for a write or a choice."""
    return isinstance(target, OpOverload)


def is_mutable(target: Any) -> bool:
    """Whether an operation writes into its arguments."""
    return is_operation(target) and bool(operation_of(target).writes)


def draws(node: Node) -> bool:
    """Whether an operation draws random numbers with the arguments that it was given."""
    if not is_operation(node.target) or not operation_of(node.target).is_random:
        return False
    arguments = arguments_of(node)
    if any(arguments.get(flag) is False for flag in ("train", "training")):
        return False
    shares = [arguments[name] for name in ("dropout", "dropout_p", "p") if name in arguments]
    return not shares or any(share != 0 for share in shares)


def arguments_of(node: Node) -> dict[str, Any]:
    """All arguments of an operation by name, with the defaults of those that are not given."""
    schema = operation_of(node.target).overload._schema.arguments
    arguments = {a.name: a.default_value for a in schema}
    arguments.update(zip((a.name for a in schema), node.args, strict=False))
    arguments.update(node.kwargs)
    return arguments


def is_never_read(node: Node) -> bool:
    """Whether whatever takes this tensor, or a view of it, takes it to write over it."""
    for user in node.users:
        taken = [i for i, argument in enumerate(user.args) if argument is node]
        if user.target is overwritten and taken == [0]:
            continue
        if user.target is written_beside and taken == [1] and user.args[0] in node.users:
            continue  # whether what writes it reads it, is seen there
        if is_operation(user.target) and operation_of(user.target).shows and is_never_read(user):
            continue
        position = registry.OVERWRITES.get(registry.name_of(user.target))
        if taken != [position] or node in user.kwargs.values():
            return False
    return True


def leaves_unwritten(node: Node) -> bool:
    """Whether torch returns memory that it has not written."""
    does = registry.UNWRITTEN.get(registry.name_of(node.target))
    return does is not None and does(arguments_of(node))


def hands_out(node: Node) -> bool:
    """Whether an operation shows Python a value, or a shape that values decide."""
    if not is_operation(node.target):
        return node.value is None
    operation = operation_of(node.target)
    unknown = not registry.is_known(operation.name)
    return node.value is None or operation.sized_by_values or unknown or tells(operation, node)


def tells(operation: Operation, node: Node) -> bool:
    """Whether an operation hands Python a value; those with a rule return numbers that are sizes."""
    if operation.reads or (node.value is None and not operation.writes):
        return True
    return (operation.tells or node.value is None) and not registry.is_known(operation.name)


def decides_size(node: Node, operand: Node) -> bool:
    """Whether the values of an operand decide how many entries a result has."""
    name = node.target._schema.name
    if name == "aten::bincount":
        return operand is node.args[0]
    if name in ("aten::index", "aten::masked_select"):
        return operand.value.dtype in (torch.bool, torch.uint8) and operand is not node.args[0]
    return True


def has_open_form(node: Node, *, read: bool) -> bool:
    """Whether Python may see a form that depends on values, of an operation nobody says that of."""
    if not is_operation(node.target) or registry.is_known(registry.name_of(node.target)):
        return False
    infos = forms_in(node.value)
    return read or any(info.strides is None for info in infos) or not _is_told_by_forms(node)


def _is_told_by_forms(node: Node) -> bool:
    """Whether the forms of an operation's arguments say that of its result; torch says so of its own."""
    if not operation_of(node.target).is_foreign:
        return True
    if not has_kernel(node.target.name(), "Meta"):
        return False
    try:
        args, kwargs = map_nodes(node.args, _on_meta), map_nodes(node.kwargs, _on_meta)
        told = infos_of(node.target(*args, **kwargs))
    except Exception:  # it says itself that values decide, or fails
        return False
    return [info.shape for info in forms_in(told)] == [i.shape for i in forms_in(node.value)]


def _on_meta(node: Node) -> Any:
    """What stands for a node's results, without values."""
    if isinstance(node.value, tuple):
        return tuple(_empty(info) for info in node.value)
    return _empty(node.value)


def _empty(info: TensorInfo) -> torch.Tensor:
    return torch.empty_strided(info.shape, info.strides or (), dtype=info.dtype, device="meta")
