"""Batch norm without its shift: uncentred, folded into the layer before it, or left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._torch import BatchNorm, ConvNd, ConvTransposeNd
from captum_xdnn.nn import (
    ChannelScale,
    UncenteredBatchNorm,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
)
from captum_xdnn.proof.split import ancestors
from captum_xdnn.proof.watching import watch
from captum_xdnn.recording.node import Node

COUNTERPARTS: Mapping[type[nn.Module], type[UncenteredBatchNorm]] = {
    nn.BatchNorm1d: UncenteredBatchNorm1d,
    nn.BatchNorm2d: UncenteredBatchNorm2d,
    nn.BatchNorm3d: UncenteredBatchNorm3d,
}
"""Others, as SyncBatchNorm, have one that takes any number of dimensions."""

FOLDABLE = (nn.Linear, ConvNd)
"""Layers whose weights can take the factor of a batch norm."""


CONVOLUTIONS = ("aten.convolution", "aten.cudnn_convolution")
LINEAR = (*CONVOLUTIONS, "aten.addmm", "aten.mm")
"""Layers whose outputs have their channels in dimension 1."""

NORMS = ("aten.native_batch_norm", "aten.cudnn_batch_norm", "aten._native_batch_norm_legit")


def is_frozen(module: nn.Module) -> bool:
    """Whether it is torchvision's batch norm of detection models, whose parameters are buffers."""
    kind = type(module)
    return kind.__name__ == "FrozenBatchNorm2d" and kind.__module__ == "torchvision.ops.misc"


def unconvertible(module: nn.Module) -> str:
    """Why a batch norm cannot be converted; empty if it can."""
    if module.running_mean is None or module.running_var is None:
        return "it keeps no running statistics, so nothing is known of its scale"
    forwards = (BatchNorm.forward, nn.SyncBatchNorm.forward)
    if not is_frozen(module) and type(module).forward not in forwards:
        return "its class has a forward of its own, which may do more than normalise"
    return ""


def uncentred(module: Any, bias: Any = None) -> UncenteredBatchNorm:
    r"""The uncentred batch norm whose output is closest to a batch norm's.

    With the batch norm's mean :math:`\mu`, variance :math:`\sigma^2` (its ``eps`` included), factor
    :math:`\gamma` and shift :math:`\beta`, and :math:`\operatorname{E}[x^2] = \sigma^2 + \mu^2`, the
    factor without a shift that has the least mean square distance to its output is

    .. math:: w = \frac{\gamma \sigma + \beta \mu}{\sqrt{\sigma^2 + \mu^2}} .

    A batch norm without learned factors gets one that is not trained. ``bias`` is removed from the
    layer before: a part of the mean.
    """
    mean, variance, gamma, beta = _parameters(module)
    if bias is not None:
        mean = mean - bias.detach().to(mean)
    kind = next((c for t, c in COUNTERPARTS.items() if isinstance(module, t)), UncenteredBatchNorm)
    where = {"device": mean.device, "dtype": module.running_mean.dtype}
    made = kind(len(mean), eps=module.eps, momentum=module.momentum, **where)
    mean_square = variance + mean.square()
    factors = gamma * torch.sqrt(variance + module.eps) + beta * mean
    made.weight = _factors(module, factors / torch.sqrt(mean_square + module.eps))
    made.track_running_stats = module.track_running_stats
    made.get_buffer("running_mean_square").copy_(mean_square)
    if module.num_batches_tracked is not None:
        made.get_buffer("num_batches_tracked").copy_(module.num_batches_tracked)
    return made


def slope(module: Any) -> ChannelScale:
    r"""What a batch norm in evaluation mode is without its shift: :math:`y = \gamma x / \sigma`."""
    made = ChannelScale(len(module.running_mean), device=module.running_mean.device)
    made.weight = _factors(module, _slope(module))
    return made


def fold_into(layer: Any, module: Any) -> None:
    """Multiply the weights of a layer, in place, by the slope of the batch norm that follows it."""
    channels = 1 if isinstance(layer, ConvTransposeNd) else 0
    shape = [-1 if d == channels else 1 for d in range(layer.weight.dim())]
    factors = _slope(module).to(layer.weight.device).reshape(shape)
    with torch.no_grad():
        layer.weight.copy_(layer.weight * factors)


def can_take_a_factor(layer: nn.Module, model: nn.Module) -> bool:
    """Whether the weights of a layer can be multiplied without another effect on its network.

    They are plain (nothing computes them), each belongs to one channel of the output, and nothing
    else holds them, under another name or as a view.
    """
    if not isinstance(layer, FOLDABLE) or layer._forward_pre_hooks:
        return False
    if isinstance(layer, ConvTransposeNd) and layer.groups > 1:
        return False
    weight = layer._parameters.get("weight")
    if weight is None:
        return False
    tensors = (t for m in model.modules() for t in (*m._parameters.values(), *m._buffers.values()))
    holders = [t for t in tensors if t is not None and _memory(t) == _memory(weight)]
    return len(holders) == 1


def _memory(tensor: Tensor) -> Any:
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _parameters(module: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, variance, factor and shift, in single precision or better."""
    mean, variance = module.running_mean, module.running_var
    gamma = torch.ones_like(mean) if module.weight is None else module.weight
    beta = torch.zeros_like(mean) if module.bias is None else module.bias
    wide = torch.promote_types(mean.dtype, torch.float32)
    mean, variance, gamma, beta = (t.detach().to(wide) for t in (mean, variance, gamma, beta))
    return mean, variance, gamma, beta


def _slope(module: Any) -> Tensor:
    _, variance, gamma, _ = _parameters(module)
    return gamma * torch.rsqrt(variance + module.eps)


def _factors(module: Any, values: Tensor) -> nn.Parameter:
    """Factors of the dtype of a batch norm's own, trained if those are."""
    own = module.running_mean if module.weight is None else module.weight
    trained = module.weight is not None and module.weight.requires_grad
    return nn.Parameter(values.to(own.dtype), requires_grad=trained)


def layers_before_norms(
    model: nn.Module, inputs: Sequence[Tensor], arguments: Sequence[Any]
) -> dict[nn.Module, nn.Module]:
    """For each batch norm the layer whose only use is by it, where that is certain.

    Both run once; the layer applies its own weight and bias, which nothing computes, and nothing
    else reads the weight; the channels that the batch norm scales are those of the layer's output.
    """
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    watched = watch(model, leaves, [0] * len(leaves), arguments)
    watched.put_back()
    tape, verdict = watched.tape, watched.verdict
    if tape is None or verdict is None or verdict.graph.output is None:
        return {}
    if verdict.propagation.everywhere:  # Python decides by values: another run may go another way
        return {}
    needed = ancestors(verdict.graph.output)
    tensors = {node: tape.sources[number] for number, node in verdict.graph.sources.items()}
    modules: dict[Node, nn.Module] = {}
    for node in verdict.graph.nodes:
        place = tape.places[node.step] if node.step >= 0 else None
        if place is not None and place.module and _is(node, (*LINEAR, *NORMS)):
            modules[node] = place.module
    runs = Counter(modules.values())
    found: dict[nn.Module, nn.Module] = {}
    for node, norm in modules.items():
        before = node.args[0]
        if not (_is(node, NORMS) and _is(before, LINEAR) and before in modules):
            continue
        layer, users = modules[before], [n for n in before.users if n in needed or n.users]
        if runs[norm] == runs[layer] == len(users) == 1 and _plain(before, layer, tensors):
            found[norm] = layer
    return found


def _plain(node: Node, layer: nn.Module, tensors: dict[Node, Tensor]) -> bool:
    """Whether a layer applies its own weight, used once, and its own bias, and nothing else."""
    own = [layer._parameters.get(name) for name in ("weight", "bias")]
    if _is(node, CONVOLUTIONS):
        weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    else:
        transposed, bias = node.args[-1], node.args[0] if _is(node, ("aten.addmm",)) else None
        if str(transposed.target) != "aten.t.default" or len(transposed.users) != 1:
            return False
        weight = transposed.args[0]
    applied = [tensors.get(weight), None if bias is None else tensors.get(bias)]
    if any(a is not o for a, o in zip(applied, own, strict=True)) or len(weight.users) != 1:
        return False
    # Without a batch a convolution has its channels in dimension 0.
    return not _is(node, CONVOLUTIONS) or bool(node.value.dim() == weight.value.dim())


def _is(node: object, operations: tuple[str, ...]) -> bool:
    return (
        isinstance(node, Node)
        and node.op == "call_function"
        and str(node.target).startswith(operations)
    )
